//! Serves the fixtures of the MCP conformance suite: `mcp-conformance [ADDRESS]`, by default on a free port of the
//! loopback interface. Prints `listening on URL`, ends when its standard input does.

use std::net::SocketAddr;
use tokio::task::spawn_blocking;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let listen: SocketAddr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned()).parse()?;
    let server = testkit::conformance::server(listen).await?;
    println!("listening on {}", server.url());
    let ended = async {
        // Whatever ends the input, its end is the signal.
        let _ = spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await;
    };
    server.run(ended).await;
    Ok(())
}

//! Serves the fixtures of the MCP conformance suite: `mcp-conformance [ADDRESS]`, by default on a free port of the
//! loopback interface. Prints `listening on URL`, ends when its standard input does.

use std::net::SocketAddr;
use tokio::io::AsyncReadExt as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let listen: SocketAddr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned()).parse()?;
    let server = testkit::conformance::server(listen).await?;
    println!("listening on {}", server.url());
    let ended = async {
        let mut rest = Vec::new();
        // Whatever ends the input, its end is the signal.
        let _ = tokio::io::stdin().read_to_end(&mut rest).await;
    };
    server.run(ended).await;
    Ok(())
}

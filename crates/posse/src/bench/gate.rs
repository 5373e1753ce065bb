//! The gate's speed: this very binary is started as a server in a throw-away folder and called over loopback.

use super::served::{Served, request, text_field};
use super::{decision, load};
use anyhow::{Context as _, anyhow, bail};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// How long the server is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(2);

struct Options {
    json: bool,
    secs: u64,
    clients: usize,
    peer: Option<String>,
}

fn options(words: &[&str]) -> anyhow::Result<Options> {
    let mut options = Options { json: false, secs: 5, clients: 64, peer: None };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut value = || rest.next().copied().with_context(|| format!("`{word}` needs a value"));
        match *word {
            "--json" => options.json = true,
            "--secs" => options.secs = value()?.parse()?,
            "--clients" => options.clients = value()?.parse()?,
            "--peer" => options.peer = Some(value()?.to_owned()),
            other => bail!("`{other}` is no option of `posse bench gate`"),
        }
    }
    Ok(options)
}

/// Measure and print.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let options = options(words)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let figures = runtime.block_on(async {
        match &options.peer {
            Some(peer) => measure_peer(peer, &options).await,
            None => measure(&options).await,
        }
    })?;
    if options.json {
        let pairs: Vec<String> = figures.iter().map(|(key, value)| format!("\"{key}\":{value:.2}")).collect();
        println!("{{{}}}", pairs.join(","));
    } else {
        for (key, value) in figures {
            println!("{key:>20}  {value:.2}");
        }
    }
    Ok(())
}

type Figures = Vec<(&'static str, f64)>;

async fn measure(options: &Options) -> anyhow::Result<Figures> {
    let decision_p99_us = decision::p99_us()?;
    let server = Served::start("calls_per_second = 1000000\ncalls_burst = 1000000\n")?;
    tokio::time::sleep(IDLE).await;
    let idle_rss_mb = server.memory_mb("VmRSS:")?;
    let token = server.token()?;
    let created = server.call("POST", "/v1/tenants", &token, r#"{"name":"bench"}"#).await?;
    let tenant = text_field(&created, "id").context("a new tenant has an id")?;
    let length = Duration::from_secs(options.secs);
    let look = request("GET", &format!("/v1/tenants/{tenant}"), &token, "");
    let reads = load::run(&server.address, options.clients, length, Arc::new(move |_| look.clone())).await?;
    let writer = token.clone();
    let write = move |n: u64| request("POST", "/v1/tenants", &writer, &format!(r#"{{"name":"bench-{n}"}}"#));
    let writes = load::run(&server.address, options.clients, length, Arc::new(write)).await?;
    let kill_switch_ms = kill_switch_ms(&server, &token).await?;
    Ok(vec![
        ("decision_p99_us", decision_p99_us),
        ("read_per_s", reads.per_second),
        ("read_p99_ms", reads.p99_ms),
        ("write_per_s", writes.per_second),
        ("write_p99_ms", writes.p99_ms),
        ("idle_rss_mb", idle_rss_mb),
        ("kill_switch_ms", kill_switch_ms),
    ])
}

/// A bare server that reads one row and writes one row: the same load, the same connections.
async fn measure_peer(peer: &str, options: &Options) -> anyhow::Result<Figures> {
    let address = peer.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let length = Duration::from_secs(options.secs);
    let look = request("GET", "/tenants/0", "none", "");
    let reads = load::run(&address, options.clients, length, Arc::new(move |_| look.clone())).await?;
    let write = |n: u64| request("POST", "/tenants", "none", &format!(r#"{{"name":"bench-{n}"}}"#));
    let writes = load::run(&address, options.clients, length, Arc::new(write)).await?;
    Ok(vec![
        ("read_per_s", reads.per_second),
        ("read_p99_ms", reads.p99_ms),
        ("write_per_s", writes.per_second),
        ("write_p99_ms", writes.p99_ms),
    ])
}

/// From engaging the switch to the last call of a calling agent that was carried out.
async fn kill_switch_ms(server: &Served, token: &str) -> anyhow::Result<f64> {
    let me = server.call("GET", "/v1/me", token, "").await?;
    let owner = text_field(&me, "principal").context("the caller has a name")?;
    let tenant = server.call("POST", "/v1/tenants", token, r#"{"name":"bench-kill"}"#).await?;
    let tenant = text_field(&tenant, "id").context("a tenant has an id")?;
    let body = format!(r#"{{"tenant":"{tenant}","name":"bench","purpose":"bench","owner":"{owner}"}}"#);
    let agent =
        text_field(&server.call("POST", "/v1/agents", token, &body).await?, "id").context("an agent has an id")?;
    server.call("POST", &format!("/v1/agents/{agent}/activate"), token, "{}").await?;
    let body = format!(r#"{{"principal":"{agent}","role":"viewer","tenant":"{tenant}"}}"#);
    server.call("POST", "/v1/assignments", token, &body).await?;
    let body = format!(r#"{{"tenant":"{tenant}"}}"#);
    let issued = server.call("POST", &format!("/v1/agents/{agent}/run-credentials"), token, &body).await?;
    let run = text_field(&issued, "secret").context("a credential has a secret")?;
    let (address, path) = (server.address.clone(), format!("/v1/tenants/{tenant}"));
    let calling = tokio::spawn(async move {
        let mut last = Instant::now();
        let look = request("GET", &path, &run, "");
        let mut stream = TcpStream::connect(&address).await?;
        let mut buffer = Vec::new();
        loop {
            tokio::io::AsyncWriteExt::write_all(&mut stream, &look).await?;
            if load::answer(&mut stream, &mut buffer).await.is_err() {
                return Ok::<Instant, anyhow::Error>(last);
            }
            last = Instant::now();
        }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let engaged = Instant::now();
    let body = format!(r#"{{"target":{{"stop":"agent","agent":"{agent}"}},"reason":"bench"}}"#);
    server.call("POST", "/v1/kill-switches", token, &body).await?;
    let last = tokio::time::timeout(Duration::from_secs(10), calling)
        .await
        .map_err(|_| anyhow!("the agent still acts ten seconds after the switch"))???;
    Ok(last.saturating_duration_since(engaged).as_secs_f64() * 1000.0)
}

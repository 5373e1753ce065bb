//! A load of keep-alive HTTP/1.1 connections that each send one request after the other: small enough that what is
//! measured is the server.

use anyhow::{Context as _, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a load came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Answers of the wanted kind per second.
    pub(crate) per_second: f64,
    /// The time that 99 of 100 requests stayed under, in milliseconds.
    pub(crate) p99_ms: f64,
}

/// How requests are made: the number of a request to its bytes.
pub(crate) type Request = Arc<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

/// Send requests over `clients` connections for `length`; every answer must have status 200 (or 201).
pub(crate) async fn run(address: &str, clients: usize, length: Duration, request: Request) -> anyhow::Result<Measured> {
    let next = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let (address, next, request) = (address.to_owned(), next.clone(), request.clone());
        tasks.push(tokio::spawn(async move { client(&address, &next, request, started + length).await }));
    }
    let mut times: Vec<Duration> = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let elapsed = started.elapsed().as_secs_f64();
    times.sort_unstable();
    let p99 = times.get(times.len().saturating_mul(99) / 100).copied().unwrap_or_default();
    let count = u32::try_from(times.len()).unwrap_or(u32::MAX);
    Ok(Measured { per_second: f64::from(count) / elapsed, p99_ms: p99.as_secs_f64() * 1000.0 })
}

async fn client(address: &str, next: &AtomicU64, request: Request, until: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await.context("the server cannot be reached")?;
    stream.set_nodelay(true)?;
    let (mut times, mut buffer) = (Vec::new(), Vec::with_capacity(16 * 1024));
    while Instant::now() < until {
        let bytes = request(next.fetch_add(1, Ordering::Relaxed));
        let sent = Instant::now();
        stream.write_all(&bytes).await?;
        answer(&mut stream, &mut buffer).await?;
        times.push(sent.elapsed());
    }
    Ok(times)
}

/// Read one answer whole; what it says but for its status and length does not matter.
pub(crate) async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<String> {
    buffer.clear();
    loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(buffer.get(..end).unwrap_or_default()).to_ascii_lowercase();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(0);
            while buffer.len() < end + 4 + length {
                read_more(stream, buffer).await?;
            }
            let body = String::from_utf8_lossy(buffer.get(end + 4..).unwrap_or_default()).into_owned();
            if !head.starts_with("http/1.1 200") && !head.starts_with("http/1.1 201") {
                bail!("a request was not carried out: {} {body}", head.lines().next().unwrap_or_default());
            }
            return Ok(body);
        }
        read_more(stream, buffer).await?;
    }
}

async fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
    if stream.read_buf(buffer).await? == 0 {
        bail!("the server closed the connection");
    }
    Ok(())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

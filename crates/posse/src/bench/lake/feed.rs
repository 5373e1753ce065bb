//! The shippers: connections that send batches of NDJSON with a tenant's key, one after the other, and note how long each
//! acknowledgement took; beside them one probe that asks how soon an acknowledged record is found.

use super::super::served::{Served, request, text_field};
use super::corpus::Corpus;
use super::{float, progress};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A tenant and the key that sends to its source.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its id.
    pub(crate) tenant: String,
    key: String,
}

/// What the load came to.
pub(crate) struct Fed {
    /// The time that 99 of 100 acknowledgements stayed under.
    pub(crate) ack_p99_ms: f64,
    /// The time from an acknowledgement until the record was found, 99th percentile of the probes.
    pub(crate) searchable_p99_ms: f64,
    /// Bytes of records.
    pub(crate) bytes: u64,
}

const SOURCE: &str = "bench";

/// Make the tenants, a source in each and a key for it.
pub(crate) async fn prepare(server: &Served, token: &str, tenants: u32) -> anyhow::Result<Vec<Place>> {
    let mut places = Vec::new();
    for number in 0..tenants {
        let body = json!({ "name": format!("bench-{number:03}") }).to_string();
        let tenant =
            text_field(&server.call("POST", "/v1/tenants", token, &body).await?, "id").context("a tenant has an id")?;
        let sources = format!("/v1/tenants/{tenant}/sources");
        server.call("POST", &sources, token, &json!({ "name": SOURCE }).to_string()).await?;
        let keys = format!("{sources}/{SOURCE}/keys");
        let made = server.call("POST", &keys, token, &json!({ "name": "bench" }).to_string()).await?;
        let key = text_field(&made, "secret").context("a key has a secret")?;
        places.push(Place { tenant, key });
    }
    Ok(places)
}

/// Send the whole corpus.
pub(crate) async fn run(
    server: &Served,
    token: &str,
    corpus: &Corpus,
    places: &[Place],
    clients: usize,
) -> anyhow::Result<Fed> {
    let (next, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let probe = places.first().context("there is a tenant")?.clone();
    let probing = tokio::spawn(probes(server.address.clone(), token.to_owned(), probe, ended.clone()));
    let mut tasks = Vec::new();
    for _ in 0..clients.max(1) {
        let (address, corpus, places, next) = (server.address.clone(), *corpus, places.to_vec(), next.clone());
        // A thread of its own for each: making records must not hold up another's acknowledgement.
        tasks.push(tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(shipper(&address, &corpus, &places, &next))
        }));
    }
    let (mut times, mut bytes) = (Vec::new(), 0);
    for task in tasks {
        let (own, sent) = task.await??;
        times.extend(own);
        bytes += sent;
    }
    ended.store(true, Ordering::Relaxed);
    let found = probing.await??;
    Ok(Fed { ack_p99_ms: p99_ms(times), searchable_p99_ms: p99_ms(found), bytes })
}

fn p99_ms(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let place = times.len().saturating_mul(99) / 100;
    times.get(place.min(times.len().saturating_sub(1))).copied().unwrap_or_default().as_secs_f64() * 1000.0
}

async fn shipper(
    address: &str,
    corpus: &Corpus,
    places: &[Place],
    next: &AtomicU64,
) -> anyhow::Result<(Vec<Duration>, u64)> {
    let mut stream = TcpStream::connect(address).await.context("the server cannot be reached")?;
    stream.set_nodelay(true)?;
    let (mut times, mut bytes) = (Vec::new(), 0_u64);
    loop {
        let batch = next.fetch_add(1, Ordering::Relaxed);
        if batch >= corpus.batches() {
            return Ok((times, bytes));
        }
        let made = corpus.make(batch);
        let place =
            usize::try_from(made.tenant).ok().and_then(|tenant| places.get(tenant)).context("a known tenant")?;
        bytes += u64::try_from(made.body.len())?;
        times.push(send(&mut stream, place, &made.body).await?);
        if batch % 2000 == 1999 {
            progress(&format!("{} records sent", float((batch + 1) * corpus.batch)));
        }
    }
}

/// Send one batch until it is taken; the time of the request that was.
pub(crate) async fn send(stream: &mut TcpStream, place: &Place, body: &[u8]) -> anyhow::Result<Duration> {
    let head = format!(
        "POST /v1/ingest/{SOURCE} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        place.key,
        body.len()
    );
    loop {
        let sent = Instant::now();
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let (status, answer) = answer(stream).await?;
        match status {
            200..=299 => return Ok(sent.elapsed()),
            // Back-pressure: a shipper waits and sends again.
            429 | 503 => tokio::time::sleep(Duration::from_millis(250)).await,
            other => bail!("a batch was not taken: {other} {answer}"),
        }
    }
}

async fn answer(stream: &mut TcpStream) -> anyhow::Result<(u16, String)> {
    let mut buffer = Vec::with_capacity(4096);
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            bail!("the server closed the connection");
        }
        let text = String::from_utf8_lossy(&buffer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap_or("0");
        if body.len() >= length.trim().parse::<usize>()? {
            let status = head.get(9..12).unwrap_or_default().parse()?;
            return Ok((status, body.to_owned()));
        }
    }
}

/// One record at a time with a word that is nowhere else: from its acknowledgement until a search finds it.
async fn probes(address: String, token: String, place: Place, ended: Arc<AtomicBool>) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(&address).await?;
    let (mut times, mut number) = (Vec::new(), 0_u64);
    while !ended.load(Ordering::Relaxed) || number < 20 {
        number += 1;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
        let word = format!("probe-{now}-{number}");
        let record = json!({ "message": word, "time": u64::try_from(now)?, "note": "bench" }).to_string();
        send(&mut stream, &place, format!("{record}\n").as_bytes()).await?;
        let acknowledged = Instant::now();
        let ask = json!({ "tenant": place.tenant, "query": format!("\"{word}\""), "limit": 1 }).to_string();
        loop {
            stream.write_all(&request("POST", "/v1/events/search", &token, &ask)).await?;
            let (status, body) = answer(&mut stream).await?;
            if status != 200 {
                bail!("a search failed: {status} {body}");
            }
            let rows: Value = serde_json::from_str(&body)?;
            if rows.get("items").and_then(Value::as_array).is_some_and(|items| !items.is_empty()) {
                break;
            }
            if acknowledged.elapsed() > Duration::from_secs(60) {
                bail!("an acknowledged record was not found within a minute");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        times.push(acknowledged.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(times)
}

//! The lake's speed: this very binary is started as a server in a throw-away folder, fed over loopback HTTP with a corpus
//! made from a seed, compacted, and asked nine questions. Prints its own figures; `script/bench lake` puts peers beside.

mod corpus;
pub(super) mod feed;
mod questions;

use super::served::{Served, text_field};
use anyhow::{Context as _, bail};
pub(crate) use corpus::Corpus;
pub(crate) use feed::Place;
use serde_json::{Value, json};
use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How many tenants share the corpus.
const TENANTS: u32 = 200;
/// Records of one request.
const BATCH: u64 = 500;
/// Nobody but this bench calls: no limit on the rate of calls.
const CONFIG: &str = "calls_per_second = 1000000\ncalls_burst = 1000000\n";

struct Options {
    json: bool,
    events: u64,
    clients: usize,
    seed: u64,
    print: bool,
}

fn options(words: &[&str]) -> anyhow::Result<Options> {
    let mut options = Options { json: false, events: 10_000_000, clients: 4, seed: 1, print: false };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut value = || rest.next().copied().with_context(|| format!("`{word}` needs a value"));
        match *word {
            "--json" => options.json = true,
            "--events" => options.events = value()?.replace('_', "").parse()?,
            "--clients" => options.clients = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            "--print" => options.print = true,
            other => bail!("`{other}` is no option of `posse bench lake`"),
        }
    }
    Ok(options)
}

/// Measure and print.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let options = options(words)?;
    // The corpus ends at the last midnight: the whole of it lies in the past, and today's runs are alike.
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let corpus = Corpus {
        seed: options.seed,
        events: options.events,
        tenants: TENANTS,
        batch: BATCH,
        end_secs: now - now % 86_400,
    };
    if options.print {
        return print(&corpus);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let figures = runtime.block_on(measure(&corpus, &options))?;
    if options.json {
        println!("{figures}");
    } else {
        println!("{figures:#}");
    }
    Ok(())
}

/// The corpus as a peer reads it.
fn print(corpus: &Corpus) -> anyhow::Result<()> {
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    for place in 0..corpus.batches() {
        let made = corpus.make(place);
        for line in made.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            write!(output, "{{\"_tenant\":\"t{:03}\",", made.tenant)?;
            output.write_all(line.get(1..).unwrap_or_default())?;
            output.write_all(b"\n")?;
        }
    }
    Ok(output.flush()?)
}

async fn measure(corpus: &Corpus, options: &Options) -> anyhow::Result<Value> {
    let mut server = Served::start(CONFIG)?;
    let token = server.token()?;
    let places = feed::prepare(&server, &token, corpus.tenants).await?;
    let tenants: Vec<String> = places.iter().map(|place| place.tenant.clone()).collect();
    let before = server.cpu_secs_whole()?;
    let started = Instant::now();
    let fed = feed::run(&server, &token, corpus, &places, options.clients).await?;
    let elapsed = started.elapsed();
    await_drained(&server, &token, &tenants).await?;
    let cpu = server.cpu_secs_whole()? - before;
    let drained = started.elapsed();
    let (peak, disk) = (server.memory_mb("VmHWM:")?, bytes_below(&server.folder)?);
    progress(&format!("fed in {:.1} s, settled after {:.1} s", elapsed.as_secs_f64(), drained.as_secs_f64()));
    let flushed = lake_bytes(&server)?;
    let compacting = (Instant::now(), server.cpu_secs_whole()?);
    compact(&server, &token, &tenants).await?;
    let compact_cpu = server.cpu_secs_whole()? - compacting.1;
    progress(&format!("compacted in {:.1} s", compacting.0.elapsed().as_secs_f64()));
    let resting = lake_bytes(&server)?;
    let questions = questions::ask(&mut server, &token, corpus, &tenants).await?;
    let events = float(corpus.events);
    Ok(json!({
        "events": corpus.events,
        "ingest_cpu_s_per_million": round(cpu / events * 1e6),
        "ingest_events_per_s": round(events / elapsed.as_secs_f64()),
        "settled_events_per_s": round(events / drained.as_secs_f64()),
        "ack_p99_ms": round(fed.ack_p99_ms),
        "searchable_p99_ms": round(fed.searchable_p99_ms),
        "peak_rss_mb": round(peak),
        "disk_mb_after_ingest": round(float(disk) / 1e6),
        "raw_bytes_per_event": round(float(fed.bytes) / events),
        "bytes_per_event_before_compaction": round(float(flushed) / events),
        "bytes_per_event": round(float(resting) / events),
        "plain_parquet_bytes_per_event": Value::Null,
        "compact_cpu_s_per_million": round(compact_cpu / events * 1e6),
        "prevalence_ms": questions.prevalence_ms,
        "queries": questions.queries,
    }))
}

/// Wait until every record that was acknowledged can be found: the lag of the sources is nothing.
pub(super) async fn await_drained(server: &Served, token: &str, tenants: &[String]) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(600);
    loop {
        let status: Value = serde_json::from_str(&server.call("GET", "/v1/lake", token, "").await?)?;
        let behind = status.get("behind").and_then(Value::as_u64).context("`lake.status` tells what is `behind`")?;
        if behind == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{behind} records of {} tenants were still not searchable after ten minutes", tenants.len());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Have every tenant's files merged, and wait for it.
async fn compact(server: &Served, token: &str, tenants: &[String]) -> anyhow::Result<()> {
    let mut jobs = Vec::new();
    for tenant in tenants {
        let answer = server.call("POST", &format!("/v1/tenants/{tenant}/lake/compact"), token, "{}").await?;
        jobs.push(text_field(&answer, "id").context("a compaction answers with its job")?);
    }
    let deadline = Instant::now() + Duration::from_secs(1800);
    for job in jobs {
        loop {
            let state: Value = serde_json::from_str(&server.call("GET", &format!("/v1/jobs/{job}"), token, "").await?)?;
            match state.get("state").and_then(Value::as_str) {
                Some("done") => break,
                Some("dead" | "cancelled") => bail!("a compaction ended as {state}"),
                _ if Instant::now() > deadline => bail!("a compaction goes on after half an hour: {state}"),
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
    Ok(())
}

/// Bytes of the lake's data files, without log and catalog.
fn lake_bytes(server: &Served) -> anyhow::Result<u64> {
    bytes_below(&server.folder.join("lake"))
}

fn bytes_below(folder: &std::path::Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // A file may be replaced while we look.
        let Ok(about) = entry.metadata() else { continue };
        bytes += if about.is_dir() { bytes_below(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

/// Tell where we are, on standard error: a run takes many minutes.
pub(super) fn progress(text: &str) {
    eprintln!("posse bench: {text}");
}

/// A count as a number to divide by; exact up to 2^53.
fn float(count: u64) -> f64 {
    let (high, low) = (u32::try_from(count >> 32).unwrap_or(u32::MAX), u32::try_from(count & 0xffff_ffff).unwrap_or(0));
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

/// To three digits behind the point.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

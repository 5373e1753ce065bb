//! How many commits the store takes: `cargo run -p store --release --example commit_rate [-- SECONDS [DIR]]`.
//!
//! 64 clients, each waiting for its answer: audited reads (a record alone), writes (a document, a key, a record with its
//! payload, an idempotency record), and reading one document. Prints one line of JSON. `cpu_us` is processor time of the
//! whole process for each, clients included: unlike a rate it hardly depends on what else the machine does (Linux only).
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program")]

use ids::{CallId, Clock, Entropy, Owner, Scope, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store::{AuditEntry, Changes, Commit, Config, IdempotencyRecord, Key, Payload, Resource, Store};

const CLIENTS: u64 = 64;

struct WallClock;
impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
    }
}

/// Not secret, only different each time: ids as they are in life, ordered by time.
struct Scrambled(AtomicU64);
impl Entropy for Scrambled {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let step = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (step ^ (step >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes();
            chunk.copy_from_slice(mixed.get(..chunk.len()).unwrap());
        }
    }
}

static SCRAMBLED: Scrambled = Scrambled(AtomicU64::new(1));

fn call() -> CallId {
    CallId::generate(&WallClock, &SCRAMBLED)
}

#[derive(Clone, Serialize, Deserialize)]
struct Note {
    id: String,
    name: String,
    text: String,
}

impl Resource for Note {
    const KIND: &'static str = "note";
    fn id(&self) -> String {
        self.id.clone()
    }
    fn owner(&self) -> Owner {
        Owner::Provider
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::unique("name", &self.name)]
    }
}

fn entry(call: CallId) -> AuditEntry {
    let payload = Payload { salt: vec![7; 16], body: vec![b'x'; 200], expires_at: None };
    AuditEntry { tree: Owner::Provider, call, part: 0, leaf: vec![b'l'; 600], payload: Some(payload) }
}

fn read_commit(_: u64) -> Commit {
    let call = call();
    Commit::new(WallClock.now(), AuditEntry { payload: None, ..entry(call) })
}

fn write_commit(number: u64) -> Commit {
    let call = call();
    let mut changes = Changes::new();
    changes.create(&Note { id: call.to_string(), name: format!("name {number}"), text: "t".repeat(300) });
    let idempotency = IdempotencyRecord {
        principal: "user_bench".into(),
        key: format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        owner: Owner::Provider,
        input_digest: vec![1; 32],
        response: vec![b'r'; 400],
        expires_at: WallClock.now().plus(Duration::from_secs(3600)),
    };
    Commit::new(WallClock.now(), entry(call)).changes(changes).idempotency(idempotency)
}

/// Rate, 99th percentile and processor time of one phase.
struct Phase {
    per_s: f64,
    p99_ms: f64,
    cpu_us: f64,
}

/// Processor time of this process so far, from clock ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// 64 clients, each doing `step` again and again.
async fn measure<F: Future<Output = ()> + Send>(
    length: Duration,
    step: impl Fn(u64) -> F + Clone + Send + 'static,
) -> Phase {
    let number = Arc::new(AtomicU64::new(0));
    let (end, cpu_before) = (Instant::now() + length, cpu());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (step, number) = (step.clone(), Arc::clone(&number));
            tokio::spawn(async move {
                let mut took = Vec::new();
                while Instant::now() < end {
                    let began = Instant::now();
                    step(number.fetch_add(1, Ordering::Relaxed)).await;
                    took.push(began.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.await.unwrap());
    }
    let spent = cpu().saturating_sub(cpu_before);
    took.sort();
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
    let count = f64::from(u32::try_from(took.len()).unwrap());
    let per_s = (count / length.as_secs_f64()).round();
    Phase { per_s, p99_ms: p99.as_secs_f64() * 1000.0, cpu_us: spent.as_secs_f64() * 1e6 / count }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(5, |text| text.parse().unwrap());
    let length = Duration::from_secs(seconds);
    let temporary = tempfile::tempdir().unwrap();
    let dir = arguments.next().map_or_else(|| temporary.path().join("data"), PathBuf::from);
    let config = match std::env::var("POSSE_TEST_POSTGRES_URL") {
        Ok(url) => Config::postgres(url),
        Err(_) => Config::sqlite(dir),
    };
    let store = Store::open(config, Arc::new(WallClock), Arc::new(Scrambled(AtomicU64::new(1)))).await.unwrap();
    let commits = |make: fn(u64) -> Commit| {
        let store = store.clone();
        move |number| {
            let store = store.clone();
            async move { drop(store.commit(make(number)).await.unwrap()) }
        }
    };
    let read = measure(length, commits(read_commit)).await;
    let write = measure(length, commits(write_commit)).await;
    let snapshot = store.snapshot(Scope::Provider);
    let id = snapshot.find_one::<Note>("name", "name 1").await.unwrap().unwrap().value.id;
    let lookup = measure(length, move |_| {
        let (snapshot, id) = (snapshot.clone(), id.clone());
        async move { drop(snapshot.read::<Note>(&id).await.unwrap().unwrap()) }
    })
    .await;
    let stats = store.stats();
    store.close().await;
    println!(
        "{}",
        serde_json::json!({
            "read_per_s": read.per_s, "read_p99_ms": read.p99_ms, "read_cpu_us": read.cpu_us,
            "write_per_s": write.per_s, "write_p99_ms": write.p99_ms, "write_cpu_us": write.cpu_us,
            "lookup_per_s": lookup.per_s, "lookup_p99_ms": lookup.p99_ms, "lookup_cpu_us": lookup.cpu_us,
            "batches": stats.batches, "batch_calls_max": stats.batch_calls_max,
            "held_max_ms": stats.held_max.as_secs_f64() * 1000.0, "whole_max_ms": stats.whole_max.as_secs_f64() * 1000.0,
        })
    );
}

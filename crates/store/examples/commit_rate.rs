//! How many commits the store takes: `cargo run -p store --release --example commit_rate [-- SECONDS [DIR]]`.
//!
//! 64 clients, each waiting for its answer: audited reads (a record alone), writes (a document, a key, a record with its
//! payload, an idempotency record), and reading one document. Prints one line of JSON.
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

struct Zeros;
impl Entropy for Zeros {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(0);
    }
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

fn read_commit(number: u64) -> Commit {
    let call = CallId::derive(&[b"read", &number.to_be_bytes()]);
    Commit::new(WallClock.now(), AuditEntry { payload: None, ..entry(call) })
}

fn write_commit(number: u64) -> Commit {
    let call = CallId::derive(&[b"write", &number.to_be_bytes()]);
    let mut changes = Changes::new();
    changes.create(&Note { id: format!("note_{call}"), name: format!("name {number}"), text: "t".repeat(300) });
    let idempotency = IdempotencyRecord {
        principal: "user_bench".into(),
        key: call.to_string(),
        input_digest: vec![1; 32],
        response: vec![b'r'; 400],
        expires_at: WallClock.now().plus(Duration::from_secs(3600)),
    };
    Commit::new(WallClock.now(), entry(call)).changes(changes).idempotency(idempotency)
}

async fn measure(store: &Store, length: Duration, make: fn(u64) -> Commit) -> (f64, f64) {
    let number = Arc::new(AtomicU64::new(store.stats().calls * 1000));
    let end = Instant::now() + length;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (store, number) = (store.clone(), Arc::clone(&number));
            tokio::spawn(async move {
                let mut took = Vec::new();
                while Instant::now() < end {
                    let began = Instant::now();
                    store.commit(make(number.fetch_add(1, Ordering::Relaxed))).await.unwrap();
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
    summary(took, length)
}

fn summary(mut took: Vec<Duration>, length: Duration) -> (f64, f64) {
    took.sort();
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
    let count = f64::from(u32::try_from(took.len()).unwrap());
    (count / length.as_secs_f64(), p99.as_secs_f64() * 1000.0)
}

async fn lookups(store: &Store, length: Duration) -> (f64, f64) {
    store.commit(write_commit(u64::MAX)).await.unwrap();
    let id = format!("note_{}", CallId::derive(&[b"write", &u64::MAX.to_be_bytes()]));
    let end = Instant::now() + length;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (snapshot, id) = (store.snapshot(Scope::Provider), id.clone());
            tokio::spawn(async move {
                let mut took = Vec::new();
                while Instant::now() < end {
                    let began = Instant::now();
                    snapshot.read::<Note>(&id).await.unwrap().unwrap();
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
    summary(took, length)
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
    let store = Store::open(config, Arc::new(WallClock), Arc::new(Zeros)).await.unwrap();
    let (read_per_s, read_p99_ms) = measure(&store, length, read_commit).await;
    let (write_per_s, write_p99_ms) = measure(&store, length, write_commit).await;
    let (lookup_per_s, lookup_p99_ms) = lookups(&store, length).await;
    let stats = store.stats();
    store.close().await;
    println!(
        "{}",
        serde_json::json!({
            "read_per_s": read_per_s.round(), "read_p99_ms": read_p99_ms,
            "write_per_s": write_per_s.round(), "write_p99_ms": write_p99_ms,
            "lookup_per_s": lookup_per_s.round(), "lookup_p99_ms": lookup_p99_ms,
            "batches": stats.batches, "batch_calls_max": stats.batch_calls_max,
            "held_max_ms": stats.held_max.as_secs_f64() * 1000.0, "whole_max_ms": stats.whole_max.as_secs_f64() * 1000.0,
        })
    );
}

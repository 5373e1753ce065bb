//! Writes and says what was acknowledged: watched from outside by `script/faults.d/store-sync-trace`.
//!
//! `acknowledge DIR append FROM COUNT [CLIENTS]` commits documents FROM.. and prints `ack N` for each that was acknowledged,
//! `unknown N` for each whose fate nobody knows; `acknowledge DIR list` prints `entry N` for each stored one, and fails if
//! documents and audit leaves do not match one to one.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for a test script")]

use ids::{CallId, Clock, Entropy, Owner, Scope, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;
use store::{AuditEntry, Changes, Commit, CommitError, Config, Key, Page, Resource, Store};

struct Still;
impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_790_000_000_000_000)
    }
}
impl Entropy for Still {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(0);
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    number: u64,
    filling: String,
}

impl Resource for Entry {
    const KIND: &'static str = "entry";
    fn id(&self) -> String {
        format!("{:012}", self.number)
    }
    fn owner(&self) -> Owner {
        Owner::Provider
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::unique("number", self.number.to_string())]
    }
}

async fn append(store: &Store, number: u64) {
    let mut changes = Changes::new();
    changes.create(&Entry { number, filling: "f".repeat(700) });
    let call = CallId::derive(&[&number.to_be_bytes()]);
    let leaf = number.to_be_bytes().to_vec();
    let record = AuditEntry { tree: Owner::Provider, call, part: 0, leaf, payload: None };
    let word = match store.commit(Commit::new(Still.now(), record).changes(changes)).await {
        Ok(_) => "ack",
        Err(CommitError::Unavailable) => "unknown",
        Err(error) => {
            println!("refused {number} {error}");
            std::process::exit(1);
        }
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word} {number}").unwrap();
    out.flush().unwrap();
}

async fn list(store: &Store) {
    let snapshot = store.snapshot(Scope::Provider);
    let (mut entries, mut after) = (BTreeSet::new(), None);
    loop {
        let page = Page { after, limit: 1000, ..Page::default() };
        let items = snapshot.list::<Entry>(&page).await.unwrap();
        let Some(last) = items.last() else { break };
        after = Some(last.value.id());
        entries.extend(items.iter().map(|stored| stored.value.number));
    }
    let (mut recorded, mut index) = (BTreeSet::new(), 0);
    loop {
        let leaves = snapshot.leaves(Owner::Provider, index, 1000).await.unwrap();
        if leaves.is_empty() {
            break;
        }
        for leaf in leaves {
            assert_eq!(leaf.index, index, "the log has a gap");
            index += 1;
            assert!(recorded.insert(u64::from_be_bytes(leaf.leaf.try_into().unwrap())), "a record is doubled");
        }
    }
    assert_eq!(entries, recorded, "effects and records differ");
    for number in entries {
        println!("entry {number}");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: u64| arguments.get(place).map_or(default, |text| text.parse().unwrap());
    let config = Config::sqlite(arguments.first().unwrap());
    let store = Store::open(config, Arc::new(Still), Arc::new(Still)).await.unwrap();
    if arguments.get(1).is_some_and(|word| word == "list") {
        list(&store).await;
    } else {
        let (from, count, clients) = (number(2, 0), number(3, 0), number(4, 1));
        let client = async |first: u64| {
            for number in (from + first..from + count).step_by(usize::try_from(clients).unwrap()) {
                append(&store, number).await;
            }
        };
        futures::future::join_all((0..clients).map(client)).await;
    }
    store.close().await;
}

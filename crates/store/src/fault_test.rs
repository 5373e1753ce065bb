//! What happens when the disk is full and when a commit fails: nothing acknowledged is lost, nobody is told that
//! something was done which was not, and the store says so until it works again.

use crate::commit::{AuditEntry, Commit, CommitError};
use crate::config::{Config, Target};
use crate::engine::{Connection, values};
use crate::open::{self, Opener};
use crate::shared::Health;
use crate::writer::{Errand, Undone};
use crate::{Payload, Store};
use futures::future::BoxFuture;
use ids::{CallId, Clock, Entropy, Owner, Scope, Timestamp};
use sqlx::{Connection as _, SqliteConnection};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Notify;

struct Still;
impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_790_000_000_000_000)
    }
}
impl Entropy for Still {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(1);
    }
}

fn commit(number: u32, bytes: usize) -> Commit {
    let payload = Payload { salt: Vec::new(), body: vec![b'x'; bytes], expires_at: None };
    let call = CallId::derive(&[&number.to_be_bytes()]);
    let leaf = number.to_be_bytes().to_vec();
    Commit::new(Still.now(), AuditEntry { tree: Owner::Provider, call, part: 0, leaf, payload: Some(payload) })
}

async fn open(dir: &Path, pages_max: &'static str) -> Store {
    let config = Config::sqlite(dir);
    let (opener, lock) = open::target(&Target::Sqlite { dir: dir.to_owned() }).unwrap();
    let Opener::Sqlite(options, settings) = opener else { unreachable!("an SQLite target") };
    let opener = Opener::Sqlite(options, format!("{settings}; PRAGMA max_page_count = {pages_max}").leak());
    Store::start(opener, lock, &config, Arc::new(Still), Arc::new(Still)).await.unwrap()
}

#[tokio::test]
async fn a_full_disk_refuses_loses_nothing_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "200").await;
    let (mut taken, mut number) = (Vec::new(), 0);
    let refused = loop {
        match store.commit(commit(number, 10_000)).await {
            Ok(receipt) => taken.extend(receipt.leaves.iter().map(|place| place.index)),
            Err(error) => break error,
        }
        number += 1;
        assert!(number < 1000, "200 pages must fill up");
    };
    assert!(matches!(refused, CommitError::Unavailable), "{refused:?}");
    assert!(matches!(store.health(), Health::ReadOnly { .. }), "{:?}", store.health());
    let leaves = store.snapshot(Scope::Provider).leaves(Owner::Provider, 0, 1000).await.unwrap();
    assert_eq!(leaves.iter().map(|leaf| leaf.index).collect::<Vec<_>>(), taken, "reading goes on, no index is lost");

    // Somebody makes room.
    let url = format!("sqlite://{}", dir.path().join("state.db").display());
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("DELETE FROM audit_payload").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let receipt = store.commit(commit(number, 10_000)).await.unwrap();
    assert_eq!(receipt.leaves.first().map(|place| place.index), Some(u64::from(number)));
    assert_eq!(store.health(), Health::Ready);
    store.close().await;
}

/// Leaves a reference open that only the commit itself notices.
struct Dangling;

impl Errand for Dangling {
    type Answer = ();
    const TOUCHES: &'static str = "job";

    fn changed((): &()) -> bool {
        true
    }

    fn run<'r>(&'r self, connection: &'r mut Connection) -> BoxFuture<'r, Result<(), Undone>> {
        Box::pin(async move {
            connection.execute("PRAGMA defer_foreign_keys = ON", Vec::new()).await?;
            let row = values!["gadget", "name", "value", "nowhere", "", 0];
            crate::statement::KEYS_WRITE.execute(connection, row).await?;
            Ok(())
        })
    }
}

/// Holds the writer until it is let go, so that what is sent meanwhile makes one batch.
struct Hold {
    begun: Arc<Notify>,
    go: Arc<Notify>,
}

impl Errand for Hold {
    type Answer = ();
    const TOUCHES: &'static str = "job";

    fn changed((): &()) -> bool {
        false
    }

    fn run<'r>(&'r self, _: &'r mut Connection) -> BoxFuture<'r, Result<(), Undone>> {
        Box::pin(async move {
            self.begun.notify_one();
            self.go.notified().await;
            Ok(())
        })
    }
}

#[tokio::test]
async fn after_a_failed_commit_nobody_is_told_yes_and_the_store_proves_itself_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), "100000").await;
    store.commit(commit(0, 10)).await.unwrap();
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let held = store.errand(Hold { begun: begun.clone(), go: go.clone() });
    let both = async {
        begun.notified().await;
        tokio::join!(store.commit(commit(1, 10)), store.errand(Dangling), async { go.notify_one() })
    };
    let (held, (call, errand, ())) = tokio::join!(held, both);
    held.unwrap();
    assert!(matches!(call, Err(CommitError::Unavailable)), "{call:?}");
    assert!(matches!(errand, Err(CommitError::Unavailable)), "{errand:?}");
    // The next one waits for a new connection and the proof that the log reached the disk.
    let receipt = store.commit(commit(2, 10)).await.unwrap();
    assert_eq!(receipt.leaves.first().map(|place| place.index), Some(1), "the failed one took no place");
    assert_eq!(store.health(), Health::Ready);
    let snapshot = store.snapshot(Scope::Provider);
    assert_eq!(snapshot.leaves(Owner::Provider, 0, 9).await.unwrap().len(), 2);
    assert!(snapshot.leaves_of(CallId::derive(&[&1_u32.to_be_bytes()])).await.unwrap().is_empty());
    store.close().await;
}

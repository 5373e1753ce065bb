//! `kill -9` under load: what was acknowledged is there, once, and the log has no gap. The child is this test binary.

use crate::fixture::{Gadget, World, gadget};
use ids::Owner;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use store::{Config, Page};

const CHILD: &str = "POSSE_STORE_CRASH_CHILD";
const ROUNDS: usize = 4;
const ACKNOWLEDGED: usize = 150;

/// In the child: write until killed, and say what was acknowledged. In the suite, where nobody asks for it: nothing to do.
#[tokio::test]
async fn child_writes_until_killed() {
    let Ok(asked) = std::env::var(CHILD) else { return };
    let (dir, round) = asked.split_once('|').unwrap();
    let world = World::open(Config::sqlite(dir)).await;
    let write = async |client: usize| {
        for number in 0.. {
            let id = format!("r{round}_c{client}_{number:06}");
            let created = gadget(&id, None, &id, "red");
            let entry = store::AuditEntry {
                tree: Owner::Provider,
                call: ids::CallId::derive(&[id.as_bytes()]),
                part: 0,
                leaf: id.clone().into_bytes(),
                payload: None,
            };
            let mut changes = store::Changes::new();
            changes.create(&created);
            world.store.commit(store::Commit::new(world.now(), entry).changes(changes)).await.unwrap();
            let mut out = std::io::stdout().lock();
            writeln!(out, "acknowledged {id}").unwrap();
            out.flush().unwrap();
        }
    };
    futures::future::join_all((0..8).map(write)).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child_writes_until_killed", "--nocapture"])
            .env(CHILD, format!("{}|{round}", dir.path().display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines {
            // The harness may write before the first line without a line break.
            let line = line.unwrap();
            if let Some((_, id)) = line.split_once("acknowledged ") {
                acknowledged.insert(id.to_owned());
                seen += 1;
            }
            if seen == ACKNOWLEDGED {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= ACKNOWLEDGED, "the child came to {seen}");
    }
    let world = World::open(Config::sqlite(dir.path())).await;
    let (mut stored, mut after) = (BTreeSet::new(), None);
    loop {
        let page = Page { limit: 1000, after, ..Page::default() };
        let items = world.all().list::<Gadget>(&page).await.unwrap();
        after = items.last().map(|stored| stored.value.id.clone());
        assert!(items.iter().all(|stored| stored.version == 1));
        stored.extend(items.into_iter().map(|stored| stored.value.id));
        if after.is_none() {
            break;
        }
    }
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    // No effect without a record, no record without its effect, no gap.
    let mut recorded = BTreeSet::new();
    let mut from = 0;
    loop {
        let leaves = world.all().leaves(Owner::Provider, from, 1000).await.unwrap();
        if leaves.is_empty() {
            break;
        }
        for leaf in leaves {
            assert_eq!(leaf.index, from);
            from += 1;
            recorded.insert(String::from_utf8(leaf.leaf).unwrap());
        }
    }
    assert_eq!(recorded, stored);
    world.store.close().await;
}

//! `kill -9` in the middle of commits to the lake's catalog: files, cursor and entity counts are of one commit.
//! The child is this test binary.

use crate::fixture::HandClock;
use crate::lake::{file, open, table, tenant};
use catalog::{Catalog as _, Change, Day, EntityCount, EntityKind};
use ids::Scope;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use store::Target;

const CHILD: &str = "POSSE_LAKE_CRASH_CHILD";
const ROUNDS: u64 = 4;
const ACKNOWLEDGED: u64 = 12;
const DAY: i32 = 20_779;

fn target(dir: &str) -> Target {
    Target::Sqlite { dir: dir.into() }
}

/// In the child: commit until killed, and say what was acknowledged. In the suite, where nobody asks for it: nothing.
#[tokio::test]
async fn child_commits_until_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let lake = open(&target(&dir), table(), &HandClock::new()).await.unwrap();
    let first = lake.load().await.unwrap().files.len();
    for number in first.. {
        let value = |index: u32| format!("value {index}");
        let day = Day::new(DAY);
        let count = |index: u32| EntityCount {
            tenant: tenant(1),
            kind: EntityKind::Hash,
            value: value(index),
            day,
            count: 1,
            first: day.start(),
            last: day.end(),
        };
        let change = Change {
            add: vec![file(&number.to_string(), DAY, &[(1, 1), (2, 1)])],
            cursors: vec![("log".to_owned(), number.to_string().into_bytes())],
            // Many rows: a kill falls into the transaction more often than between two.
            entities: (0..600).map(count).collect(),
            ..Change::default()
        };
        lake.commit(change).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {number}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn a_killed_commit_leaves_the_old_state_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    for _ in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lake_crash::child_commits_until_killed", "--nocapture"])
            .env(CHILD, path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut seen, mut last) = (0, 0);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            if let Some((_, number)) = line.unwrap().split_once("acknowledged ") {
                last = number.parse::<u64>().unwrap();
                seen += 1;
            }
            if seen == ACKNOWLEDGED {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= ACKNOWLEDGED, "the child came to {seen}");
        let lake = open(&target(path), table(), &HandClock::new()).await.unwrap();
        let state = lake.load().await.unwrap();
        let files = u64::try_from(state.files.len()).unwrap();
        assert!(files > last, "{files} files, {last} was acknowledged");
        let cursor = state.cursors.get("log").map(|cursor| String::from_utf8(cursor.clone()).unwrap());
        assert_eq!(cursor, Some((files - 1).to_string()));
        for value in ["value 0", "value 599"] {
            let seen = lake.prevalence(&Scope::Provider, EntityKind::Hash, value).await.unwrap();
            assert_eq!(seen.first().map(|one| one.count), Some(files), "{value}");
        }
        for (id, file) in &state.files {
            assert_eq!((file.row_groups.len(), lake.filters(*id).await.unwrap().len()), (2, 2));
        }
        lake.close().await;
    }
}

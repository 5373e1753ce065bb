//! Flushes that fail or are cut off at every step: no acknowledged row is lost, none is doubled, nothing is left over.

use crate::bed::{Bed, clock, given, no_sync, open};
use catalog::{
    Answer, Catalog, CatalogError, Change, Committed, EntityKind, FileId, Hold, Memory, Prevalence, Pruned, Scheduled,
    State, Table,
};
use ids::{Clock, Scope, Timestamp};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

/// What a failing catalog does with a commit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Commit {
    /// Says no.
    Refuse,
    /// Does it and loses the answer.
    Forget,
    /// Does not do it and loses the answer.
    Lose,
    /// Loses the answer, and does it only when the next commit comes.
    Late,
}

struct Faulty {
    inner: Memory,
    commit: Option<Commit>,
    left: AtomicI64,
    /// Loads that fail.
    deaf: AtomicI64,
    late: Mutex<Option<Change>>,
}

impl Catalog for Faulty {
    fn table(&self) -> &Table {
        self.inner.table()
    }
    fn load(&self) -> Answer<'_, State> {
        if self.deaf.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Box::pin(async { Err(CatalogError::Unavailable("away".into())) });
        }
        self.inner.load()
    }
    fn commit(&self, change: Change) -> Answer<'_, Committed> {
        Box::pin(async move {
            let away = || CatalogError::Unavailable("away".into());
            let late = self.late.lock().unwrap().take();
            if let Some(late) = late {
                self.inner.commit(late).await?;
            }
            if self.left.fetch_sub(1, Ordering::Relaxed) > 0 {
                match self.commit {
                    Some(Commit::Refuse) => return Err(CatalogError::Conflict(FileId::new(0))),
                    Some(Commit::Lose) => return Err(away()),
                    Some(Commit::Late) => {
                        *self.late.lock().unwrap() = Some(change);
                        return Err(away());
                    }
                    Some(Commit::Forget) => {
                        self.inner.commit(change).await?;
                        return Err(away());
                    }
                    None => {}
                }
            }
            self.inner.commit(change).await
        })
    }
    fn filters(&self, file: FileId) -> Answer<'_, Vec<Option<Vec<u8>>>> {
        self.inner.filters(file)
    }
    fn prevalence<'a>(&'a self, scope: &'a Scope, kind: EntityKind, value: &'a str) -> Answer<'a, Vec<Prevalence>> {
        self.inner.prevalence(scope, kind, value)
    }
    fn prune(&self, what: Pruned) -> Answer<'_, u64> {
        self.inner.prune(what)
    }
    fn holds(&self) -> Answer<'_, Vec<Hold>> {
        self.inner.holds()
    }
    fn hold(&self, hold: Hold) -> Answer<'_, ()> {
        self.inner.hold(hold)
    }
    fn release<'a>(&'a self, id: &'a str) -> Answer<'a, bool> {
        self.inner.release(id)
    }
    fn expire(&self, before: Timestamp) -> Answer<'_, u64> {
        self.inner.expire(before)
    }
    fn scheduled(&self, before: Timestamp) -> Answer<'_, Vec<Scheduled>> {
        self.inner.scheduled(before)
    }
    fn unlinked(&self, files: Vec<FileId>) -> Answer<'_, ()> {
        self.inner.unlinked(files)
    }
    fn scrub(&self) -> Answer<'_, ()> {
        self.inner.scrub()
    }
}

fn parquet_files(folder: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count += parquet_files(&path);
        } else {
            count += 1;
        }
    }
    count
}

/// Count by what a fresh opening sees, and check that the folder holds nothing else.
async fn reopened(bed: &Bed) -> u64 {
    let clock = Arc::clone(&bed.clock);
    let (lake, _writer) = open(bed.folder.path(), Arc::clone(&bed.catalog), clock, no_sync()).await;
    let size = lake.size();
    assert_eq!(u64::try_from(parquet_files(bed.folder.path())).unwrap(), size.files, "left-over files");
    size.file_rows
}

fn rows() -> u64 {
    u64::try_from(given().len()).unwrap()
}

#[tokio::test]
async fn commits_that_fail_leave_rows_hot_and_no_files() {
    for (commit, deaf) in [
        (Commit::Refuse, 0),
        (Commit::Forget, 0),
        (Commit::Lose, 0),
        (Commit::Late, 0),
        // Neither the commit's answer nor what came of it: rows were once written as often as it was tried.
        (Commit::Forget, 1),
        (Commit::Lose, 1),
        (Commit::Late, 1),
    ] {
        let clock = clock();
        let inner = Memory::new(lake::table().unwrap(), Arc::clone(&clock) as Arc<dyn Clock>);
        let left = AtomicI64::new(1);
        let catalog = Arc::new(Faulty { inner, commit: Some(commit), left, deaf: 0.into(), late: Mutex::default() });
        let faulty = Arc::clone(&catalog);
        let mut bed = Bed::with(catalog, clock, no_sync()).await;
        bed.append(&given());
        faulty.deaf.store(deaf, Ordering::Relaxed);
        let first = bed.writer.start_flush(vec![("journal".to_owned(), b"7".to_vec())]).unwrap().run().await;
        assert_eq!(first.is_ok(), commit == Commit::Forget && deaf == 0, "{commit:?}, deaf {deaf}");
        assert_eq!(bed.count(Scope::Provider).await, rows(), "{commit:?}, deaf {deaf}");
        bed.flush().await;
        assert_eq!(bed.count(Scope::Provider).await, rows(), "{commit:?}, deaf {deaf}");
        assert_eq!(reopened(&bed).await, rows(), "{commit:?}, deaf {deaf}");
    }
}

#[tokio::test]
async fn a_sync_that_fails_at_any_step_loses_and_doubles_nothing() {
    let mut steps = 0;
    loop {
        let clock = clock();
        let catalog = Arc::new(Memory::new(lake::table().unwrap(), Arc::clone(&clock) as Arc<dyn Clock>));
        let left = Arc::new(AtomicI64::new(steps));
        let counter = Arc::clone(&left);
        let sync: lake::SyncPath = Arc::new(move |_| match counter.fetch_sub(1, Ordering::Relaxed) {
            0 => Err(std::io::Error::other("injected")),
            _ => Ok(()),
        });
        let mut bed = Bed::with(catalog, clock, sync).await;
        bed.append(&given());
        let done = bed.writer.start_flush(vec![]).unwrap().run().await;
        assert_eq!(bed.count(Scope::Provider).await, rows());
        let failed = done.is_err();
        assert_eq!(reopened(&bed).await, if failed { 0 } else { rows() });
        if failed {
            bed.flush().await;
            assert_eq!(bed.count(Scope::Provider).await, rows());
            assert_eq!(reopened(&bed).await, rows());
        }
        if left.load(Ordering::Relaxed) >= 0 {
            assert!(steps > 10, "the flush syncs more than {steps} times");
            return;
        }
        steps += 1;
    }
}

#[tokio::test]
async fn a_crash_before_the_commit_leaves_nothing_at_the_next_opening() {
    let mut bed = Bed::empty().await;
    bed.append(&given());
    bed.flush().await;
    // What a crash between rename and commit leaves: a marker, a file under its name, an unfinished one.
    let day = bed.folder.path().join("1007/2026-11-20");
    std::fs::write(day.join("dead-1.parquet"), b"x").unwrap();
    std::fs::write(day.join("dead-2.unfinished"), b"x").unwrap();
    std::fs::write(bed.folder.path().join("pending/dead"), "1007/2026-11-20/dead-1.parquet\n").unwrap();
    assert_eq!(reopened(&bed).await, rows());
    // A marker that a committed file left behind takes nothing away.
    let state = bed.catalog.load().await.unwrap();
    let path = &state.files.values().next().unwrap().path;
    std::fs::write(bed.folder.path().join("pending/late"), path).unwrap();
    assert_eq!(reopened(&bed).await, rows());
}

#[tokio::test]
async fn a_flush_that_is_dropped_gives_its_rows_back_and_the_cursor_is_what_was_committed() {
    let mut bed = Bed::empty().await;
    bed.append(&given());
    drop(bed.writer.start_flush(vec![("journal".to_owned(), b"1".to_vec())]).unwrap());
    assert_eq!(bed.count(Scope::Provider).await, rows());
    let (_, writer) = open(bed.folder.path(), Arc::clone(&bed.catalog), clock(), no_sync()).await;
    assert_eq!(writer.cursor("journal"), None);
    let running = bed.writer.start_flush(vec![("journal".to_owned(), b"2".to_vec())]).unwrap();
    assert!(matches!(bed.writer.start_flush(vec![]), Err(lake::LakeError::Busy)));
    running.run().await.unwrap();
    assert_eq!(bed.count(Scope::Provider).await, rows());
    let (_, writer) = open(bed.folder.path(), Arc::clone(&bed.catalog), clock(), no_sync()).await;
    assert_eq!(writer.cursor("journal"), Some(&b"2"[..]));
}

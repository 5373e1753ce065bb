//! The threaded journal: group sync, back-pressure, poison and reopen, tail, retention, one owner.

use crate::world::{entry, numbers, options, read};
use journal::sim::{Fault, SimDisk};
use journal::{AppendError, Entry, Journal, OpenError, Options, Position, ReadError, Ticket};
use std::sync::Arc;
use std::time::Duration;

fn open(disk: &SimDisk, options: Options) -> Journal {
    Journal::open_on(Arc::new(disk.clone()), options).unwrap().0
}

#[test]
fn many_appenders_share_syncs_and_order_is_kept() {
    let disk = SimDisk::new(1);
    let journal = open(&disk, options());
    let tickets: Vec<Ticket> = (1..=500).map(|number| journal.append(entry(number)).unwrap()).collect();
    let positions: Vec<Position> = tickets.into_iter().map(|ticket| ticket.wait().unwrap().position).collect();
    assert!(positions.is_sorted());
    let status = journal.status();
    assert_eq!((status.appended, status.duplicates, status.poisoned), (500, 0, None));
    assert!(status.syncs < 500, "{} syncs", status.syncs);
    let (entries, damage) = read(journal.reader(Position::START));
    assert_eq!((numbers(&entries), damage), ((1..=500).collect(), vec![]));
}

#[test]
fn a_failed_sync_stops_everything_until_reopened() {
    let disk = SimDisk::new(1);
    let journal = open(&disk, options());
    journal.append(entry(1)).unwrap().wait().unwrap();
    for ahead in 1..=4 {
        disk.fault_at(disk.operations() + ahead, Fault::Io);
    }
    let failed = journal.append(entry(2)).and_then(Ticket::wait).unwrap_err();
    assert!(matches!(failed, AppendError::Poisoned(_)), "{failed}");
    assert!(matches!(journal.append(entry(3)).and_then(Ticket::wait), Err(AppendError::Poisoned(_))));
    assert!(journal.tail(journal.durable()).wait(Duration::from_secs(5)).is_err());
    disk.restart();
    // The lock belongs to this handle still.
    journal.reopen().unwrap();
    assert_eq!(journal.reopen().unwrap_err(), OpenError::Running);
    journal.append(entry(2)).unwrap().wait().unwrap();
    journal.append(entry(3)).unwrap().wait().unwrap();
    assert_eq!(numbers(&read(journal.reader(Position::START)).0), [1, 2, 3]);
}

#[test]
fn a_full_queue_and_impossible_entries_are_refused() {
    let journal = open(&SimDisk::new(1), Options { frame_bytes_max: 100, queue_bytes_max: 150, ..options() });
    let sized = |bytes: usize| Entry { kind: 1, batch: None, payload: vec![0; bytes] };
    assert_eq!(journal.append(sized(101)).unwrap_err(), AppendError::TooLarge { bytes: 101, max: 100 });
    assert_eq!(journal.append(Entry { kind: 240, ..sized(1) }).unwrap_err(), AppendError::Kind(240));
    let mut tickets = Vec::new();
    let refused = (0..1_000_000).find_map(|_| match journal.append(sized(100)) {
        Ok(ticket) => {
            tickets.push(ticket);
            None
        }
        Err(error) => Some(error),
    });
    assert!(matches!(refused, Some(AppendError::Full { queued_bytes: 100 })), "{refused:?}");
    assert!(tickets.into_iter().all(|ticket| ticket.wait().is_ok()));
}

#[test]
fn one_owner_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = Journal::open(folder.path(), options()).unwrap();
    assert_eq!(Journal::open(folder.path(), options()).unwrap_err(), OpenError::InUse);
    first.append(entry(1)).unwrap().wait().unwrap();
    drop(first);
    let (second, recovery) = Journal::open(folder.path(), options()).unwrap();
    assert_eq!((recovery.torn, recovery.rewritten_bytes, recovery.batches), (None, 24, 1));
    second.close();
    assert_eq!(second.append(entry(2)).unwrap_err(), AppendError::Closed);
}

#[test]
fn a_tail_wakes_a_waiting_reader() {
    let journal = open(&SimDisk::new(1), options());
    let follower = {
        let journal = journal.clone();
        std::thread::spawn(move || {
            let mut reader = journal.reader(Position::START);
            let mut seen = 0;
            while seen < 300 {
                while reader.next().unwrap().is_some() {
                    seen += 1;
                }
                if seen < 300 {
                    let progress = journal.tail(reader.position()).wait(Duration::from_secs(30)).unwrap();
                    assert!(progress.is_some(), "no progress at {seen}");
                }
            }
            seen
        })
    };
    for number in 1..=300 {
        journal.append(entry(number)).unwrap().wait().unwrap();
    }
    assert_eq!(follower.join().unwrap(), 300);
    assert_eq!(journal.tail(journal.durable()).wait(Duration::ZERO), Ok(None));
}

#[test]
fn retention_deletes_whole_segments_and_a_late_reader_is_told() {
    let disk = SimDisk::new(1);
    let journal = open(&disk, options());
    for number in 1..=60 {
        journal.append(entry(number)).unwrap().wait().unwrap();
    }
    let (entries, _) = read(journal.reader(Position::START));
    let (_, middle) = entries[30];
    let retained = journal.retain_from(middle).unwrap();
    assert_eq!(retained.segments, middle.segment - 1);
    let (left, damage) = read(journal.reader(Position::START));
    assert_eq!(damage, []);
    assert!(numbers(&left).contains(&31) && left.len() < 60);
    let gone = journal.reader(entries[0].1).next().unwrap_err();
    assert_eq!(gone, ReadError::Gone { segment: 1, oldest: middle.segment });
    journal.retain_from(Position { segment: u64::MAX, offset: 0 }).unwrap();
    journal.append(entry(61)).unwrap().wait().unwrap();
    drop(journal);
    disk.power_cut();
    let (journal, recovery) = Journal::open_on(Arc::new(disk), options()).unwrap();
    assert_eq!(recovery.damage, []);
    assert!(journal.append(entry(1)).unwrap().wait().unwrap().duplicate);
}

#[test]
fn an_async_appender_is_woken() {
    use std::future::Future;
    use std::task::{Context, Poll, Wake, Waker};
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let journal = open(&SimDisk::new(1), options());
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut tail = Box::pin(journal.tail(journal.durable()));
    assert!(tail.as_mut().poll(&mut context).is_pending());
    let mut ticket = Box::pin(journal.append(entry(1)).unwrap());
    let receipt = loop {
        match ticket.as_mut().poll(&mut context) {
            Poll::Ready(answer) => break answer.unwrap(),
            Poll::Pending => std::thread::park(),
        }
    };
    assert!(matches!(tail.as_mut().poll(&mut context), Poll::Ready(Ok(durable)) if durable > receipt.position));
}

#[test]
fn a_segment_that_was_rolled_over_can_be_removed() {
    let disk = SimDisk::new(1);
    let journal = open(&disk, options());
    journal.append(entry(1)).unwrap().wait().unwrap();
    let before = journal.durable();
    assert!(!before.starts_segment());
    journal.roll_over();
    let after = journal.tail(before).wait(Duration::from_secs(5)).unwrap().unwrap();
    assert!(after.segment == before.segment + 1 && after.starts_segment(), "{after}");
    assert_eq!(journal.retain_from(after).unwrap().segments, 1);
    assert_eq!(numbers(&read(journal.reader(Position::START)).0), [0; 0]);
    // An empty segment is not rolled over again, and a resent batch is still known.
    journal.roll_over();
    assert!(journal.append(entry(1)).unwrap().wait().unwrap().duplicate);
    assert_eq!(journal.append(entry(2)).unwrap().wait().unwrap().position.segment, after.segment);
    drop(journal);
    let journal = open(&disk, options());
    assert_eq!(numbers(&read(journal.reader(Position::START)).0), [2]);
}

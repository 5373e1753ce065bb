//! A batch's way into the log: acknowledged when durable, once, counted; refused with a time to come back.

use ids::{Clock, TenantId, Text, Timestamp};
use journal::sim::{Fault, SimDisk};
use journal::{Item, Journal, Options, Position};
use pipeline::{Batch, Limits, Pressure, Quota, Receiver, Refused, Reject, Source, Stored, ndjson};
use std::sync::Arc;
use std::time::Duration;

struct Still;
impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_000_000)
    }
}

fn source() -> Source {
    Source { tenant: TenantId::derive(&[b"acme"]), name: Text::new("web").unwrap() }
}

fn batch(body: &str) -> Batch {
    let limits = Limits { record_bytes_max: 100, ..Limits::default() };
    let records = ndjson::parse(body.as_bytes().to_vec(), &limits).unwrap();
    Batch { source: source(), received: Still.now(), peer: None, client_id: None, resent: true, records }
}

fn open(disk: &SimDisk, options: Options) -> (Receiver, Journal) {
    let (journal, _) = Journal::open_on(Arc::new(disk.clone()), options).unwrap();
    (Receiver::new(journal.clone(), Arc::new(Still), 1 << 20), journal)
}

fn lines(journal: &Journal) -> Vec<String> {
    let mut reader = journal.reader(Position::START);
    let mut lines = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        let Item::Frame(frame) = item else { panic!("{item:?}") };
        let stored = Stored::decode(&frame.payload).unwrap();
        lines.extend(stored.records().map(|record| String::from_utf8(record.raw.to_vec()).unwrap()));
    }
    lines
}

fn options() -> Options {
    Options { reserve_bytes: 0, ..Options::default() }
}

#[tokio::test]
async fn a_resent_batch_is_one_batch_and_counts_tell_all() {
    let (receiver, journal) = open(&SimDisk::new(1), options());
    let long = format!("{{\"a\":1}}\n{{\"b\":\"{}\"}}\n{{\"c\":1}}", "x".repeat(100));
    let first = receiver.receive(&batch(&long)).await.unwrap();
    assert_eq!((first.records, first.rejected, first.duplicate), (2, 1, false));
    let again = receiver.receive(&batch(&long)).await.unwrap();
    assert_eq!((again.position, again.duplicate, again.batch), (first.position, true, first.batch));
    assert!(first.position.unwrap() < journal.durable());
    let empty = receiver.receive(&batch(&"x".repeat(200))).await.unwrap();
    assert_eq!((empty.position, empty.rejected), (None, 1));
    assert_eq!(lines(&journal), ["{\"a\":1}", "{\"c\":1}"]);
    receiver.count_dropped(&source(), 5);
    let [health] = receiver.health().try_into().unwrap();
    let tally = health.tally;
    assert_eq!((tally.accepted, tally.bytes, tally.duplicates, tally.dropped), (2, 14, 2, 5));
    assert_eq!(tally.rejected.get(&Reject::TooLarge), Some(&2));
    assert_eq!(tally.last_seen, Still.now());
}

#[tokio::test]
async fn a_quota_refuses_with_429() {
    let (receiver, journal) = open(&SimDisk::new(1), options());
    receiver.set_quota(source().tenant, Some(Quota { bytes_per_second: 1, burst_bytes: 10 }));
    receiver.receive(&batch("{\"a\":1}")).await.unwrap();
    let refused = receiver.receive(&batch("{\"b\":1}")).await.unwrap_err();
    assert_eq!((refused.status(), refused.retry_after()), (429, Some(Duration::from_secs(4))));
    receiver.set_quota(source().tenant, None);
    receiver.receive(&batch("{\"b\":1}")).await.unwrap();
    assert_eq!(lines(&journal).len(), 2);
    assert_eq!(receiver.health()[0].tally.refused.get("over_quota"), Some(&1));
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_acknowledged_until_healed_and_nothing_is_doubled() {
    let disk = SimDisk::new(1);
    let (receiver, journal) = open(&disk, options());
    receiver.receive(&batch("{\"a\":1}")).await.unwrap();
    // Whatever the writer does next fails, its mark or the batch.
    for ahead in 1..=3 {
        disk.fault_at(disk.operations() + ahead, Fault::Io);
    }
    let refused = receiver.receive(&batch("{\"b\":1}")).await.unwrap_err();
    assert!(matches!(refused, Refused::Stopped(_)), "{refused}");
    assert_eq!((refused.status(), refused.retry_after().is_some()), (503, true));
    assert!(matches!(receiver.pressure(), Pressure::Stopped { .. }));
    assert!(receiver.receive(&batch("{\"c\":1}")).await.is_err());
    disk.restart();
    assert!(receiver.heal().unwrap().is_some());
    assert_eq!(receiver.heal().unwrap(), None);
    assert_eq!(receiver.pressure(), Pressure::Open);
    receiver.receive(&batch("{\"b\":1}")).await.unwrap();
    receiver.receive(&batch("{\"c\":1}")).await.unwrap();
    assert_eq!(lines(&journal), ["{\"a\":1}", "{\"b\":1}", "{\"c\":1}"]);
}

#[tokio::test]
async fn a_full_disk_is_503_and_passes_when_there_is_room() {
    let disk = SimDisk::new(1);
    let (receiver, _) = open(&disk, Options { reserve_bytes: 4096, ..Options::default() });
    disk.capacity_bytes(4200);
    let refused = receiver.receive(&batch("{\"a\":1}")).await.unwrap_err();
    assert_eq!((refused.clone(), refused.status()), (Refused::DiskFull, 503));
    disk.capacity_bytes(1 << 20);
    receiver.receive(&batch("{\"a\":1}")).await.unwrap();
}

#[tokio::test]
async fn a_closed_log_is_503_and_a_batch_over_its_entry_is_413() {
    let (receiver, journal) = open(&SimDisk::new(1), Options { frame_bytes_max: 200, ..options() });
    let large = "{\"a\":1}\n".repeat(40);
    let refused = receiver.receive(&batch(&large)).await.unwrap_err();
    assert_eq!((refused.status(), refused.retry_after()), (413, None));
    journal.close();
    let refused = receiver.receive(&batch("{\"a\":1}")).await.unwrap_err();
    assert_eq!((refused.clone(), refused.status()), (Refused::ShuttingDown, 503));
}

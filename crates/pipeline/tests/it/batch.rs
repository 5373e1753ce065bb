//! A batch's form in the journal: golden for each version, any bytes survive.

use ids::{TenantId, Text, Timestamp};
use pipeline::{Batch, BatchError, Form, Limits, Records, Source, Stored, hec};
use proptest::prelude::*;
use std::path::Path;

fn batch(records: Records) -> Batch {
    Batch {
        source: Source { tenant: TenantId::derive(&[b"acme"]), name: Text::new("web").unwrap() },
        received: Timestamp::from_micros(1_795_348_800_000_000),
        peer: Some("192.0.2.7".parse().unwrap()),
        client_id: None,
        resent: true,
        records,
    }
}

fn example() -> Batch {
    let body = br#"{"time":1.5,"event":{"log":"one"}} {"host":"h","event":"a\ttab"}"#.to_vec();
    batch(hec::parse_events(body, &Limits::default()).unwrap())
}

#[test]
fn version_1_is_what_is_written_and_what_is_read() {
    let path =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../spec/receivers/batch-v1.bin");
    if std::env::var_os("POSSE_BLESS").is_some() {
        std::fs::write(&path, example().encode()).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert!(golden == example().encode(), "the format changed: give it a new version and a golden file of its own");
    let stored = Stored::decode(&golden).unwrap();
    assert_eq!((stored.source, stored.received, stored.peer), (example().source, example().received, example().peer));
    let stored = Stored::decode(&golden).unwrap();
    let records: Vec<_> = stored.records().map(|record| (record.raw, record.envelope, record.form)).collect();
    let second = br#"{"host":"h","event":"a\ttab"}"#.as_slice();
    let expected = [
        (br#"{"log":"one"}"#.as_slice(), Some(br#"{"time":1.5,"event":{"log":"one"}}"#.as_slice()), Form::Json),
        (b"a\ttab".as_slice(), Some(second), Form::Text),
    ];
    assert_eq!(records, expected);
    let mut newer = golden;
    newer[0] = 9;
    assert_eq!(Stored::decode(&newer), Err(BatchError::Version { found: 9, known: 1 }));
}

#[test]
fn equal_batches_have_equal_ids_only_within_a_source_and_where_senders_repeat() {
    let base = example();
    assert_eq!(base.id(), example().id());
    let mut ids = vec![base.id()];
    ids.push(Batch { source: Source { name: Text::new("db").unwrap(), ..base.source.clone() }, ..base.clone() }.id());
    ids.push(
        Batch { source: Source { tenant: TenantId::derive(&[b"b"]), ..base.source.clone() }, ..base.clone() }.id(),
    );
    let named = |name: &str| Batch { client_id: Some(Text::new(name).unwrap()), ..base.clone() };
    ids.push(named("1").id());
    ids.push(named("2").id());
    // A client that uses an id twice for different content loses nothing.
    let other = hec::parse_events(br#"{"event":"other"}"#.to_vec(), &Limits::default()).unwrap();
    ids.push(Batch { records: other, ..named("1") }.id());
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
    assert!(ids.iter().all(Option::is_some));
    assert_eq!(Batch { resent: false, ..base.clone() }.id(), None);
    // When it came and from which address does not matter.
    assert_eq!(Batch { received: Timestamp::from_micros(1), peer: None, ..base.clone() }.id(), base.id());
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(lines in prop::collection::vec("[^\n\r\\x00-\\x20]{1,40}", 1..20)) {
        let body = lines.join("\n").into_bytes();
        let batch = batch(hec::parse_raw(body, &hec::RawMeta::default(), &Limits::default()).unwrap());
        let stored = Stored::decode(&batch.encode()).unwrap();
        prop_assert_eq!(stored.len(), lines.len());
        for (record, line) in stored.records().zip(&lines) {
            prop_assert_eq!(record.raw, line.as_bytes());
        }
    }

    #[test]
    fn a_changed_byte_is_an_error_or_another_batch_and_never_a_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = example().encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(stored) = Stored::decode(&bytes) {
            prop_assert_eq!(stored.records().count(), stored.len());
        }
    }
}

//! What the other modules share: entries that follow from a number, and reading everything back.

use journal::sim::SimDisk;
use journal::{BatchId, Damage, Entry, Item, Options, Position, Reader};
use std::sync::Arc;

pub(crate) fn options() -> Options {
    Options { segment_bytes: 8 << 10, window_batches: 1000, reserve_bytes: 0, salt: 7, ..Options::default() }
}

pub(crate) fn entry(number: u64) -> Entry {
    let mut batch = [0x42; 16];
    batch[..8].copy_from_slice(&number.to_le_bytes());
    let mut payload = number.to_le_bytes().to_vec();
    payload.extend((0..number * 37 % 1500).map(|at| (at ^ number).to_le_bytes()[0]));
    Entry { kind: 3, batch: Some(BatchId::new(batch)), payload }
}

pub(crate) fn number(payload: &[u8]) -> u64 {
    u64::from_le_bytes(payload[..8].try_into().unwrap())
}

/// All entries (checked against their number) and all damage.
pub(crate) fn read(mut reader: Reader) -> (Vec<(u64, Position)>, Vec<Damage>) {
    let (mut entries, mut damage) = (Vec::new(), Vec::new());
    while let Some(item) = reader.next().unwrap() {
        match item {
            Item::Damaged(found) => damage.push(found),
            Item::Frame(frame) => {
                let number = number(&frame.payload);
                assert_eq!(frame.payload, entry(number).payload, "entry {number} was altered");
                assert!(frame.batch.is_none() || frame.batch == entry(number).batch);
                entries.push((number, frame.position));
            }
        }
    }
    (entries, damage)
}

pub(crate) fn read_all(disk: &SimDisk) -> (Vec<(u64, Position)>, Vec<Damage>) {
    read(Reader::offline(Arc::new(disk.clone()), Position::START).unwrap())
}

pub(crate) fn numbers(entries: &[(u64, Position)]) -> Vec<u64> {
    entries.iter().map(|(number, _)| *number).collect()
}

//! Bit flips, lost segments, forged frames, torn tails: all noticed, none taken for an entry.

use crate::world::{entry, numbers, options, read_all};
use journal::sim::{Random, SimDisk};
use journal::{BatchId, Damage, Disk, Entry, Item, OpenError, Position, Reader, Writer};
use std::sync::Arc;

const ENTRIES: u64 = 60;

fn written(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    let (mut writer, _) = Writer::open(Arc::new(disk.clone()), options()).unwrap();
    for number in 1..=ENTRIES {
        writer.commit(&[entry(number)]).unwrap();
        writer.mark().unwrap();
    }
    writer.close().unwrap();
    disk
}

fn segments(disk: &SimDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| name.ends_with(".journal")).collect()
}

#[test]
fn every_bit_flip_is_noticed_and_costs_at_most_one_entry() {
    for seed in 0..400 {
        let disk = written(seed);
        let mut random = Random::new(seed);
        let names = segments(&disk);
        let name = &names[usize::try_from(random.below(names.len() as u64)).unwrap()];
        let bits = disk.content(name).unwrap().len() as u64 * 8;
        let bit = random.below(bits);
        assert!(disk.flip(name, bit));
        // A reader of the untouched files notices.
        let (before, damage) = read_all(&disk);
        assert_eq!(damage.len(), 1, "{name} bit {bit}: {damage:?}");
        // So does opening, where it is in its reach, and it loses nothing more.
        let (_, recovery) = Writer::open(Arc::new(disk.clone()), options()).unwrap();
        let (after, still) = read_all(&disk);
        assert_eq!(numbers(&before), numbers(&after));
        assert!(!still.is_empty() || recovery.torn.is_some() || !recovery.damage.is_empty(), "{name} bit {bit}");
        assert!(after.len() as u64 >= ENTRIES - 1, "{name} bit {bit}: {} entries left", after.len());
        assert!(numbers(&after).is_sorted());
    }
}

#[test]
fn a_flip_in_the_last_segment_is_damage_and_not_a_torn_tail() {
    let disk = written(1);
    let last = segments(&disk).pop().unwrap();
    let (entries, _) = read_all(&disk);
    let (number, position) = *entries.last().unwrap();
    assert!(disk.flip(&last, (position.offset + 50) * 8));
    let (_, recovery) = Writer::open(Arc::new(disk.clone()), options()).unwrap();
    assert_eq!(recovery.torn, None);
    let [Damage::Frames { position: found, .. }] = recovery.damage.as_slice() else { panic!("{recovery:?}") };
    assert_eq!(*found, position);
    assert!(!numbers(&read_all(&disk).0).contains(&number));
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let disk = written(1);
    let last = segments(&disk).pop().unwrap();
    let size = disk.content(&last).unwrap().len() as u64;
    disk.open(&last).unwrap().write_at(b"half a frame", size).unwrap();
    let (_, recovery) = Writer::open(Arc::new(disk.clone()), options()).unwrap();
    let torn = recovery.torn.unwrap();
    assert_eq!((torn.position.offset, torn.bytes), (size, 12));
    assert_eq!(recovery.damage, []);
    assert_eq!(disk.content(&last).unwrap().len() as u64, size);
    assert_eq!(read_all(&disk).0.len() as u64, ENTRIES);
}

#[test]
fn a_missing_segment_and_a_lost_seal_are_damage() {
    let disk = written(1);
    let names = segments(&disk);
    assert!(names.len() > 4, "{names:?}");
    disk.remove(&names[1]).unwrap();
    let third = disk.open(&names[2]).unwrap();
    third.set_size(third.size().unwrap() - 24).unwrap();
    let (_, damage) = read_all(&disk);
    let [Damage::Missing { segment: 2 }, Damage::Unsealed { position }] = damage.as_slice() else {
        panic!("{damage:?}")
    };
    assert_eq!(position.segment, 3);
    let (_, recovery) = Writer::open(Arc::new(disk.clone()), options()).unwrap();
    assert_eq!(recovery.damage, [Damage::Missing { segment: 2 }]);
}

#[test]
fn a_header_with_both_copies_lost_is_read_by_its_neighbours_salt() {
    let disk = written(1);
    let names = segments(&disk);
    for bit in [3, 40 * 8] {
        assert!(disk.flip(&names[0], bit));
    }
    let (entries, damage) = read_all(&disk);
    assert_eq!(damage, [Damage::Header { segment: 1 }]);
    assert_eq!(entries.len() as u64, ENTRIES);
    // The last one is left alone and writing goes on behind it.
    let last = names.last().unwrap();
    for bit in [3, 40 * 8] {
        assert!(disk.flip(last, bit));
    }
    let (mut writer, recovery) = Writer::open(Arc::new(disk.clone()), options()).unwrap();
    assert_eq!(recovery.end.segment, names.len() as u64 + 1);
    writer.commit(&[entry(ENTRIES + 1)]).unwrap();
    assert_eq!(read_all(&disk).0.len() as u64, ENTRIES + 1);
}

/// Someone who writes payloads cannot plant a frame: checksums are bound to salt, segment and offset.
#[test]
fn a_whole_journal_inside_a_payload_is_not_read_after_damage() {
    let donor = written(2);
    let forged = donor.content(&segments(&donor)[0]).unwrap();
    let disk = SimDisk::new(3);
    let (mut writer, _) = Writer::open(Arc::new(disk.clone()), journal::Options { salt: 8, ..options() }).unwrap();
    let receipt = writer.commit(&[Entry { kind: 3, batch: None, payload: forged }]).unwrap()[0];
    writer.commit(&[entry(1)]).unwrap();
    drop(writer);
    let name = segments(&disk)[0].clone();
    assert!(disk.flip(&name, receipt.position.offset * 8));
    let mut reader = Reader::offline(Arc::new(disk), Position::START).unwrap();
    let mut numbers = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        if let Item::Frame(frame) = item {
            numbers.push(frame.batch);
        }
    }
    assert_eq!(numbers, [entry(1).batch]);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let disk = SimDisk::new(1);
    let mut head = b"POSSEJNL".to_vec();
    head.extend_from_slice(&[9, 0, 0, 0]);
    head.extend_from_slice(&1_u64.to_le_bytes());
    head.extend_from_slice(&7_u64.to_le_bytes());
    let checksum = crc32c_of(&head);
    head.extend_from_slice(&checksum.to_le_bytes());
    let bytes = [head.clone(), head].concat();
    let name = "00000000000000000001.journal";
    disk.create(name).unwrap().write_at(&bytes, 0).unwrap();
    let error = Writer::open(Arc::new(disk.clone()), options()).unwrap_err();
    assert_eq!(error, OpenError::Version { segment: 1, found: 9, known: 1 });
    assert_eq!(disk.content(name).unwrap(), bytes);
}

/// Bit by bit, so that the test does not lean on the crate under test.
fn crc32c_of(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

#[test]
fn a_batch_is_one_batch_over_restart_and_retention() {
    let disk = written(4);
    let names = segments(&disk);
    for name in &names[..names.len() - 1] {
        disk.remove(name).unwrap();
    }
    let (mut writer, recovery) = Writer::open(Arc::new(disk.clone()), options()).unwrap();
    assert_eq!(recovery.batches as u64, ENTRIES);
    assert_eq!(recovery.damage, []);
    let again: Vec<Entry> = (1..=ENTRIES).map(entry).collect();
    assert!(writer.commit(&again).unwrap().iter().all(|receipt| receipt.duplicate));
    let twice = Entry { kind: 1, batch: Some(BatchId::new([1; 16])), payload: b"x".repeat(9) };
    let receipts = writer.commit(&[twice.clone(), twice]).unwrap();
    assert_eq!([receipts[0].duplicate, receipts[1].duplicate], [false, true]);
    assert_eq!(receipts[0].position, receipts[1].position);
}

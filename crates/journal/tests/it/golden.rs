//! Each format version has a segment in `spec/journal/`; it is read for ever, and the newest is what is written.

use crate::world::{entry, numbers, read};
use journal::sim::SimDisk;
use journal::{Disk, Options, Position, Reader, Writer};
use std::path::PathBuf;
use std::sync::Arc;

fn folder() -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../spec/journal")
}

fn write() -> Vec<u8> {
    let disk = SimDisk::new(1);
    let options = Options { salt: 0x0123_4567_89ab_cdef, reserve_bytes: 0, ..Options::default() };
    let (mut writer, _) = Writer::open(Arc::new(disk.clone()), options).unwrap();
    writer.commit(&[entry(1), entry(2)]).unwrap();
    writer.mark().unwrap();
    writer.commit(&[journal::Entry { batch: None, ..entry(3) }]).unwrap();
    writer.close().unwrap();
    disk.content("00000000000000000001.journal").unwrap()
}

#[test]
fn version_1_is_what_is_written_and_what_is_read() {
    let path = folder().join("v1.journal");
    if std::env::var_os("POSSE_BLESS").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&path, write()).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert!(golden == write(), "the format changed: give it a new version and a golden segment of its own");
    let disk = SimDisk::new(2);
    disk.create("00000000000000000001.journal").unwrap().write_at(&golden, 0).unwrap();
    let mut reader = Reader::offline(Arc::new(disk.clone()), Position::START).unwrap();
    let mut batches = Vec::new();
    while let Some(journal::Item::Frame(frame)) = reader.next().unwrap() {
        batches.push(frame.batch);
    }
    assert_eq!(batches, [entry(1).batch, entry(2).batch, None]);
    let (_, recovery) = Writer::open(Arc::new(disk), Options::default()).unwrap();
    assert_eq!((recovery.torn, recovery.damage.len(), recovery.batches), (None, 0, 2));
}

#[test]
fn the_tail_of_a_segment_may_end_at_any_byte() {
    let golden = write();
    for size in 0..golden.len() {
        let disk = SimDisk::new(3);
        disk.create("00000000000000000001.journal").unwrap().write_at(&golden[..size], 0).unwrap();
        let (mut writer, recovery) =
            Writer::open(Arc::new(disk.clone()), Options { reserve_bytes: 0, ..Options::default() }).unwrap();
        assert_eq!(recovery.damage, [], "cut at {size}");
        writer.commit(&[entry(9)]).unwrap();
        let found = read(Reader::offline(Arc::new(disk), Position::START).unwrap());
        assert_eq!(found.1, [], "cut at {size}");
        assert_eq!(numbers(&found.0).last(), Some(&9));
    }
}

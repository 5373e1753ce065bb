//! A segment of any bytes opens, is appended to and read.
#![no_main]

use journal::sim::SimDisk;
use journal::{Disk, Entry, Options, Position, Reader, Writer};
use std::sync::Arc;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let disk = SimDisk::new(1);
    let name = "00000000000000000001.journal";
    disk.create(name).and_then(|file| file.write_at(bytes, 0)).expect("the simulated disk has no fault planned");
    let options = Options { reserve_bytes: 0, ..Options::default() };
    // A header of a newer format is refused.
    let Ok((mut writer, _)) = Writer::open(Arc::new(disk.clone()), options) else { return };
    writer.commit(&[Entry { kind: 1, batch: None, payload: b"last".to_vec() }]).expect("the disk takes it");
    let mut reader = Reader::offline(Arc::new(disk), Position::START).expect("the disk can be read");
    let mut last = None;
    while let Some(item) = reader.next().expect("the disk can be read") {
        last = Some(item);
    }
    assert!(matches!(last, Some(journal::Item::Frame(frame)) if frame.payload == b"last"));
});

//! Readers: framings, torn lines, compression bounds, and every event log of the data folder where it is present.

use crate::data;
use event::read::{ReadFault, each_record, unpack};
use std::io::Write;
use std::ops::ControlFlow;

const LIMIT: usize = 64 * 1024 * 1024;

fn all(bytes: &[u8]) -> Vec<String> {
    let mut records = Vec::new();
    each_record(bytes, LIMIT, |index, record| {
        assert_eq!(usize::try_from(index).unwrap(), records.len());
        records.push(String::from_utf8_lossy(record.unwrap()).into_owned());
        ControlFlow::Continue(())
    })
    .unwrap();
    records
}

/// File, and its records.
const FRAMINGS: &[(&str, &[&str])] = &[
    ("{\"a\":1}\n{\"a\":2}\r\n\n{\"a\":3}", &["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"]),
    ("[{\"a\":1}, {\"a\":[2,\"]}\"]}\n]", &["{\"a\":1}", "{\"a\":[2,\"]}\"]}"]),
    (
        "{\n \"a\": {\n  \"b\": 1\n }\n}\n{\"a\":2}{\"a\":3}",
        &["{\n \"a\": {\n  \"b\": 1\n }\n}", "{\"a\":2}", "{\"a\":3}"],
    ),
    ("{\"Records\":[{\"a\":\"x\\\"}\"},{\"a\":2}]}", &["{\"a\":\"x\\\"}\"}", "{\"a\":2}"]),
    ("{\"kind\":\"EventList\",\"items\":[{\"a\":1}]}", &["{\"a\":1}"]),
    ("{\"name\":\"x\",\"items\":[1,2]}", &["{\"name\":\"x\",\"items\":[1,2]}"]),
    ("{\"Records\":[]}", &[]),
    ("[]", &[]),
    ("", &[]),
    ("\u{feff}{\"a\":1}", &["{\"a\":1}"]),
    // A torn line costs itself only; the lines after it are read.
    ("{\"a\":\"x\n{\"a\":2}", &["{\"a\":\"x", "{\"a\":2}"]),
    ("{\"a\":1} trailing\n{\"a\":2}", &["{\"a\":1} trailing", "{\"a\":2}"]),
    ("{\"a\":1}\nnoise here\n{\"a\":2}", &["{\"a\":1}", "noise here", "{\"a\":2}"]),
    ("type=SYSCALL msg=audit(1:2): a=1\ntype=EXECVE", &["type=SYSCALL msg=audit(1:2): a=1", "type=EXECVE"]),
];

#[test]
fn framings_give_the_records_in_order() {
    for (file, records) in FRAMINGS {
        assert_eq!(&all(file.as_bytes()), records, "{file}");
    }
}

#[test]
fn compressed_streams_are_read_within_a_bound() {
    let text = "{\"a\":1}\n".repeat(1000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(text.as_bytes(), 3).unwrap();
    for packed in [&gzip, &zstd] {
        assert_eq!(all(packed).len(), 1000);
        assert_eq!(unpack(packed, text.len()).unwrap().len(), text.len());
        assert!(matches!(unpack(packed, text.len() - 1), Err(ReadFault::TooLarge(_))));
        let torn = &packed[..packed.len() / 2];
        assert!(matches!(unpack(torn, LIMIT), Err(ReadFault::Broken { .. })));
    }
    // Two members in a row are one stream.
    let twice = [gzip.clone(), gzip].concat();
    assert_eq!(all(&twice).len(), 2000);
}

#[test]
fn a_damaged_event_log_is_a_fault() {
    assert!(matches!(
        each_record(b"ElfFile\0garbage", LIMIT, |_, _| ControlFlow::Continue(())),
        Err(ReadFault::Evtx(_))
    ));
}

#[test]
fn every_event_log_of_the_data_folder_is_read() {
    let Some(folder) = data("telemetry/windows-evtx") else { return };
    let index = std::fs::read_to_string(folder.join("index.tsv")).unwrap();
    let mut parser = event::Parser::new();
    let event_id = event::FieldPath::new("Event.System.EventID").unwrap();
    let (mut files, mut events) = (0, 0);
    for line in index.lines().skip(1) {
        let mut columns = line.split('\t');
        let (file, count) = (columns.next().unwrap(), columns.next().unwrap().parse::<u64>().unwrap());
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let mut seen = 0;
        each_record(&bytes, LIMIT, |_, record| {
            let view = parser.parse(record.unwrap()).unwrap();
            assert!(view.exists(&event_id), "{file}");
            seen += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
        // The index counts what an older reader could read: one file holds an event that it could not.
        assert!(seen >= count, "{file}: {seen} of {count}");
        (files, events) = (files + 1, events + seen);
    }
    println!("{files} event logs, {events} events");
    assert!(files > 0);
}

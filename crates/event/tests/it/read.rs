//! Readers: framings, torn lines, compression bounds, and every event log of the data folder where it is present.

use crate::data;
use event::read::{ReadFault, each_record, line_record, unpack};
use proptest::prelude::*;
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
    // Brackets that close nothing are stepped over.
    ("[}]", &["}"]),
    ("[1,]}", &["1", "]", "}"]),
    ("{\n{\n{\"a\":1}", &["{", "{", "{\"a\":1}"]),
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
fn the_files_of_an_archive_are_read_one_after_the_other() {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let files = [
        ("one/", ""),
        ("one/a.json", "{\"a\":1}\n{\"a\":2}"),
        ("one/README.md", "# not a record"),
        ("__MACOSX/one/._a.json", "junk"),
        ("one/broken.evtx", "ElfFile\0garbage"),
        ("two.JSONL", "{\"a\":3}"),
    ];
    for (name, text) in files {
        if name.ends_with('/') {
            archive.add_directory(name, zip::write::SimpleFileOptions::default()).unwrap();
            continue;
        }
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    let bytes = archive.finish().unwrap().into_inner();
    let mut found = Vec::new();
    let read = |bytes_max: usize, found: &mut Vec<Option<String>>| {
        each_record(&bytes, bytes_max, |_, record| {
            found.push(record.ok().map(|record| String::from_utf8_lossy(record).into_owned()));
            ControlFlow::Continue(())
        })
    };
    read(LIMIT, &mut found).unwrap();
    let texts: Vec<Option<&str>> = found.iter().map(Option::as_deref).collect();
    assert_eq!(texts, [Some("{\"a\":1}"), Some("{\"a\":2}"), None, Some("{\"a\":3}")]);
    assert!(matches!(read(20, &mut Vec::new()), Err(ReadFault::TooLarge(20))));
    assert!(matches!(read(LIMIT, &mut Vec::new()), Ok(())));
    let torn = bytes.get(..bytes.len() / 2).unwrap();
    let torn = each_record(torn, LIMIT, |_, _| ControlFlow::Continue(()));
    assert!(matches!(torn, Err(ReadFault::Archive(_))), "{torn:?}");
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

/// A line, and what its record holds.
const LINES: &[(&str, &str)] = &[
    (
        r#"node=h1 type=EXECVE msg=audit(1364481363.243:24287): argc=3 a0="sh" a1="-c" a2=6563686F2068690A"#,
        r#"{"auditd":{"node":"h1","type":"EXECVE","time":"1364481363.243","serial":"24287","argc":"3","a0":"sh","a1":"-c","a2":"echo hi\u000a","command":"sh -c echo hi\u000a"}}"#,
    ),
    (
        "type=USER_LOGIN msg=audit(1.5:2): pid=9 msg='op=login acct=\"b o\" addr=1.2.3.4 res=failed'\u{1d}UID=\"root\"",
        r#"{"auditd":{"type":"USER_LOGIN","time":"1.5","serial":"2","pid":"9","op":"login","acct":"b o","addr":"1.2.3.4","res":"failed","UID":"root"}}"#,
    ),
    (
        "<34>1 2003-10-11T22:14:15.003Z host su 7 ID47 [a@1 x=\"y\\]\"][b] 'su root' failed",
        r#"{"syslog":{"facility":"4","severity":"2","data":"[a@1 x=\"y\\]\"][b]","time":"2003-10-11T22:14:15.003Z","host":"host","program":"su","pid":"7","msgid":"ID47","message":"'su root' failed"}}"#,
    ),
    (
        "<13>1 2003-10-11T22:14:15Z - - - - - plain",
        r#"{"syslog":{"facility":"1","severity":"5","time":"2003-10-11T22:14:15Z","message":"plain"}}"#,
    ),
    (
        "Oct  1 22:14:15 web sshd[12]: Failed password for root from 9.9.9.9 port 1 ssh2",
        r#"{"syslog":{"time":"2023-10-01T22:14:15Z","host":"web","program":"sshd","pid":"12","message":"Failed password for root from 9.9.9.9 port 1 ssh2"}}"#,
    ),
    (
        "2024-02-01T00:00:00.5+01:00 web kernel: x",
        r#"{"syslog":{"time":"2024-01-31T23:00:00.5Z","host":"web","program":"kernel","message":"x"}}"#,
    ),
];

#[test]
fn lines_become_records() {
    let received = ids::Timestamp::from_micros(1_709_251_200_000_000);
    for (line, record) in LINES {
        assert_eq!(line_record(line, received).as_deref(), Some(*record), "{line}");
    }
    for line in ["", "no log at all", "<999>1 x", "<1>", "Foo 11 22:14:15 h p: m", "Oct 11 é", "type=x msg=audit(1:2"]
    {
        assert_eq!(line_record(line, received), None, "{line}");
    }
}

proptest! {
    /// Any mixture of the characters that matter ends, and hands on no more bytes than there are.
    #[test]
    fn any_punctuation_ends(parts in prop::collection::vec(
        prop::sample::select(vec!["{", "}", "[", "]", ",", ":", "\"", "\\", "\n", " ", "a", "1", "\"Records\":", "null"]), 0..40))
    {
        for start in ["", "{", "["] {
            let body = format!("{start}{}", parts.concat());
            let mut bytes = 0;
            each_record(body.as_bytes(), LIMIT, |_, record| {
                bytes += record.unwrap().len();
                ControlFlow::Continue(())
            })
            .unwrap();
            prop_assert!(bytes <= body.len(), "{body}");
        }
    }
}

#[test]
fn a_file_of_torn_lines_is_read_once() {
    // Searching each of these to the end of the file would take 10^10 steps.
    let body = "{\n".repeat(100_000);
    assert_eq!(all(body.as_bytes()).len(), 100_000);
}

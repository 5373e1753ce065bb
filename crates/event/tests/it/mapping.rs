//! Mappings: hand-written records in `spec/event/mappings.jsonl`, and a report over the recordings of the data folder.

use crate::data;
use event::mapping::{COLUMNS, ColumnValue, Mapping, Mappings, Normalised, Normaliser};
use event::ocsf::{OcsfFaultKind, Schema};
use event::read::{each_record, line_record};
use event::{FieldPath, Parser};
use ids::Timestamp;
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

const LIMIT: usize = 1 << 30;
/// Records of each recording that a debug build looks at; a release build looks at all.
const RECORDS_MAX: u64 = if cfg!(debug_assertions) { 100 } else { u64::MAX };

#[test]
fn the_built_in_mappings_compile() {
    let faults: Vec<String> = Mappings::built_in().faults().iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let mut names: Vec<&str> = Mappings::built_in().iter().map(Mapping::name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "two mappings share a name");
}

#[test]
fn hand_written_records_become_the_events_that_are_expected() {
    let path =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../spec/event/mappings.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let (mut parser, mut second) = (Parser::new(), Parser::new());
    let (mut normaliser, mut out) = (Normaliser::new(), Normalised::default());
    for line in text.lines().filter(|line| !line.is_empty()) {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap();
        // A line becomes JSON first, as received on 2024-03-01.
        let received = Timestamp::from_micros(1_709_251_200_000_000);
        let raw = match case["line"].as_str() {
            Some(line) => line_record(line, received).unwrap_or_else(|| panic!("{name}: no line")),
            None => case["record"].to_string(),
        };
        let record = parser.parse(raw.as_bytes()).unwrap();
        let mapping = Mappings::built_in().detect(&record).unwrap_or_else(|| panic!("{name}: not recognised"));
        assert_eq!(mapping.name(), case["mapping"].as_str().unwrap(), "{name}");
        normaliser.normalise(mapping, &record, received, &mut out);
        let view = second.parse(out.json.as_bytes()).unwrap_or_else(|fault| panic!("{name}: {fault}\n{}", out.json));
        let faults = Schema::built_in().validate(&view);
        assert!(faults.is_empty(), "{name}: {faults:?}\n{}", out.json);
        for (path, expected) in case["expect"].as_object().unwrap() {
            let found = view.scalar(&FieldPath::new(path).unwrap()).map(|found| found.to_text().into_owned());
            let expected = expected.as_str().map_or_else(|| expected.to_string(), str::to_owned);
            assert_eq!(found.as_deref(), Some(expected.as_str()), "{name}, {path}\n{}", out.json);
        }
        let mut seen: Vec<String> =
            out.observables.iter().map(|one| format!("{:?} {}", one.kind, one.value).to_lowercase()).collect();
        seen.sort();
        let mut expected: Vec<String> = strings(&case["observables"]).iter().map(|one| one.to_lowercase()).collect();
        expected.sort();
        assert_eq!(seen, expected, "{name}, observables");
        assert_eq!(out.unmapped, strings(&case["unmapped"]), "{name}, unmapped");
        let mut lean = Normalised::default();
        normaliser.normalise_columns(mapping, &record, received, &mut lean);
        same(&out, &lean, name);
        for (place, value) in &out.columns {
            assert!(matches!(
                (COLUMNS[*place].kind, value),
                (event::mapping::ColumnType::Int, ColumnValue::Int(_))
                    | (event::mapping::ColumnType::Text, ColumnValue::Text(_))
            ));
        }
    }
}

/// The short way gives what the long way gives, without the texts.
fn same(whole: &Normalised, lean: &Normalised, name: &str) {
    let facts = |out: &Normalised| (out.class_uid, out.activity_id, out.severity_id, out.time, out.time_from_source);
    assert_eq!(facts(whole), facts(lean), "{name}");
    assert_eq!(whole.columns, lean.columns, "{name}");
    assert_eq!(whole.observables, lean.observables, "{name}");
    assert!(lean.json.is_empty() && lean.unmapped.is_empty(), "{name}");
}

fn strings(list: &serde_json::Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_file_with_faults_names_every_one() {
    let file = r#"
        vendor = "x"
        product = "x"
        forms = [{ name = "x", detect = [{ exists = ["x"] }] }]
        [[class]]
        class = "process_activity"
        activity = "Lunch"
        [class.fields]
        "process.pid" = "pid"
        "process.nope" = "x"
        status_id = { constant = "Sucess" }
    "#;
    let faults: Vec<String> =
        Mapping::compile_file("x.toml", file).err().unwrap().iter().map(ToString::to_string).collect();
    for expected in [
        "`process` has no attribute `nope`",
        "`Sucess` is not a value",
        "`Lunch` is not a value",
        "OCSF requires `device`",
        "OCSF requires `actor`",
    ] {
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected} not in {faults:#?}");
    }
    let unknown =
        Mapping::compile_file("x.toml", "vendor = \"x\"\nproduct = \"x\"\nforms = []\nspeed = 1").err().unwrap();
    assert!(unknown[0].reason.contains("speed"));
}

#[derive(Default)]
struct Count {
    events: u64,
    base: u64,
    unmapped_leaves: u64,
    without_time: u64,
    faults: BTreeMap<String, u64>,
    unmapped: BTreeMap<String, u64>,
}

/// Every file below a folder, zip files by their JSON members.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found);
        } else if !path.ends_with("LICENSE") && path.extension().is_some_and(|kind| kind != "tsv" && kind != "md") {
            found.push(path);
        }
    }
}

fn contents(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).unwrap();
    if path.extension().is_none_or(|kind| kind != "zip") {
        return vec![bytes];
    }
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    let wanted = names.iter().filter(|name| name.ends_with(".json") && !name.starts_with("__MACOSX"));
    wanted
        .map(|name| {
            let mut bytes = Vec::new();
            archive.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        })
        .collect()
}

/// The report that the acceptance asks for. No required attribute may be missing in any event of a known source.
#[test]
fn every_recording_is_normalised() {
    let Some(folder) = data("telemetry") else { return };
    let mut paths = Vec::new();
    files(&folder, &mut paths);
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let (mut parser, mut second) = (Parser::new(), Parser::new());
    let (mut normaliser, mut out, mut lean) = (Normaliser::new(), Normalised::default(), Normalised::default());
    let log = FieldPath::new("log").unwrap();
    let mut broken = 0;
    let mut take = |raw: &[u8], counts: &mut BTreeMap<String, Count>| {
        let Ok(record) = parser.parse(raw) else { return false };
        let mapping = Mappings::built_in().detect(&record);
        let name = mapping.map_or("(not recognised)", Mapping::name).to_owned();
        let count = counts.entry(name).or_default();
        count.events += 1;
        let Some(mapping) = mapping else { return true };
        normaliser.normalise(mapping, &record, Timestamp::from_micros(7_000), &mut out);
        count.base += u64::from(out.class_uid == 0);
        count.without_time += u64::from(!out.time_from_source);
        count.unmapped_leaves += out.unmapped.len() as u64;
        for path in &out.unmapped {
            *count.unmapped.entry(path.clone()).or_default() += 1;
        }
        normaliser.normalise_columns(mapping, &record, Timestamp::from_micros(7_000), &mut lean);
        same(&out, &lean, &out.json);
        let view = second.parse(out.json.as_bytes()).unwrap_or_else(|fault| panic!("{fault}: {}", out.json));
        for fault in Schema::built_in().validate(&view) {
            let place = format!("{} {fault}", out.class_uid);
            *count.faults.entry(place).or_default() += 1;
            let required = matches!(fault.kind, OcsfFaultKind::Missing | OcsfFaultKind::Constraint { .. });
            assert!(!required || mapping.name() == "ocsf", "{fault}\n{}\n{}", out.json, String::from_utf8_lossy(raw));
        }
        true
    };
    for path in &paths {
        let labelled = path.to_string_lossy().contains("labelled");
        for bytes in contents(path) {
            each_record(&bytes, LIMIT, |index, record| {
                if index >= RECORDS_MAX && !labelled {
                    return ControlFlow::Break(());
                }
                let Ok(record) = record else { return ControlFlow::Continue(()) };
                let mut outer = Parser::new();
                let log = labelled.then(|| outer.parse(record).ok()?.get(&log).map(|_| ())).flatten();
                if log.is_some() {
                    let value: serde_json::Value = serde_json::from_slice(record).unwrap();
                    take(value["log"].to_string().as_bytes(), &mut counts);
                } else if !take(record, &mut counts) {
                    broken += 1;
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        }
    }
    for (name, count) in &counts {
        println!(
            "{name}: {} events, {} base, {} without time, {} unmapped leaves",
            count.events, count.base, count.without_time, count.unmapped_leaves
        );
        let mut top: Vec<_> = count.unmapped.iter().collect();
        top.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
        println!("    unmapped: {:?}", top.iter().take(12).collect::<Vec<_>>());
        for (fault, times) in &count.faults {
            println!("    fault: {times} x {fault}");
        }
    }
    println!("{broken} records are not JSON objects, {} files", paths.len());
    assert!(counts.len() > 5);
}

#[test]
fn the_example_of_the_manual_compiles() {
    let manual =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../content/mappings/README.md");
    let text = std::fs::read_to_string(manual).unwrap();
    let example = text.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    let mapping = Mapping::compile_file("README.md", example).unwrap_or_else(|faults| panic!("{faults:?}")).remove(0);
    let raw = r#"{"payload":{"kind":"door.open","badge":"7","person":"ann@x.example","door":"north"},"ts":1700000000,"door":1,"badge":2}"#;
    let mut parser = Parser::new();
    let record = parser.parse(raw.as_bytes()).unwrap();
    assert!(mapping.recognises(&record));
    let mut out = Normalised::default();
    Normaliser::new().normalise(&mapping, &record, Timestamp::from_micros(0), &mut out);
    assert_eq!((out.class_uid, out.activity_id), (3002, 1));
    assert!(out.json.contains(r#""user":{"name":"ann"}"#), "{}", out.json);
    assert_eq!(out.time.to_string(), "2023-11-14T22:13:20Z");
}

#[test]
fn unmapped_fields_are_listed_once_and_bounded() {
    let mut parser = Parser::new();
    let mut out = Normalised::default();
    let mapping = Mappings::built_in().named("json").unwrap();
    let repeated = format!(r#"{{"list":[{}]}}"#, vec![r#"{"a":1,"b":2}"#; 50].join(","));
    let record = parser.parse(repeated.as_bytes()).unwrap();
    Normaliser::new().normalise(mapping, &record, Timestamp::from_micros(0), &mut out);
    assert_eq!(out.unmapped, ["list.a", "list.b"]);
    assert!(!out.unmapped_more);
    drop(record);
    let many: Vec<String> = (0..5000).map(|number| format!("\"k{number}\":1")).collect();
    let many = format!("{{{}}}", many.join(","));
    let record = parser.parse(many.as_bytes()).unwrap();
    Normaliser::new().normalise(mapping, &record, Timestamp::from_micros(0), &mut out);
    assert_eq!(out.unmapped.len(), 1024);
    assert!(out.unmapped_more);
    assert!(serde_json::from_str::<serde_json::Value>(&out.json).is_ok());
}

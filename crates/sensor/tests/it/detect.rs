//! From real behaviour to a rule: what the sensor records is what rules for hosts are written for, and what the mapping
//! makes events of.

use crate::rig::{Seen, has_ebpf, marker, text};
use detection::correlate::Limits;
use detection::engine::Engine;
use detection::offline;
use detection::profile::{Format, Profile};
use detection::sigma::Collection;
use event::mapping::{Mappings, Normalised, Normaliser};
use event::ocsf::Schema;
use sensor::TelemetryOptions;
use sensor::source::WatchList;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::Command;

fn host_rules() -> Collection {
    let rules = detection::shipped::RULES.into_iter().filter(|(file, _)| file.contains("/host_"));
    Collection::load(rules, &|_| None)
}

fn profile() -> Profile {
    Profile::new("sensor".parse::<Format>().unwrap())
}

/// The titles of the rules and correlations that records match.
fn titles(records: &[Value]) -> BTreeSet<String> {
    let collection = host_rules();
    let lines: Vec<Vec<u8>> = records.iter().map(|record| serde_json::to_vec(record).unwrap()).collect();
    let engine = Engine::compile(&collection.rules, &profile());
    let found = offline::match_records(&engine, 0, lines.iter().map(Vec::as_slice));
    let mut titles: BTreeSet<String> =
        found.iter().map(|found| collection.rules[found.rule as usize].title.clone()).collect();
    let limits = Limits::default();
    let bursts = offline::correlate(&collection, &profile(), limits, lines.iter().map(Vec::as_slice));
    for burst in bursts {
        titles.extend(
            collection.correlations.iter().filter(|one| one.id == burst.correlation).map(|one| one.title.clone()),
        );
    }
    titles
}

#[test]
fn the_tests_beside_host_rules_pass() {
    for (file, tests) in detection::shipped::TESTS.into_iter().filter(|(file, _)| file.contains("/host_")) {
        let rule = file.replace(".tests.json", ".yml");
        let text = detection::shipped::RULES.into_iter().find(|(name, _)| *name == rule).unwrap();
        let collection = Collection::load([text], &|_| None);
        assert!(collection.rejections.is_empty(), "{file}: {:?}", collection.rejections);
        for case in serde_json::from_str::<Vec<Value>>(tests).unwrap() {
            let lines: Vec<String> = case["events"].as_array().unwrap().iter().map(ToString::to_string).collect();
            let records = || lines.iter().map(String::as_bytes);
            let found: BTreeSet<u64> = if collection.correlations.is_empty() {
                let engine = Engine::compile(&collection.rules, &profile());
                offline::match_records(&engine, 0, records()).iter().map(|found| found.index).collect()
            } else {
                let found = offline::correlate(&collection, &profile(), Limits::default(), records());
                found.iter().map(|found| found.event).collect()
            };
            let expected = case["matches"].as_array().unwrap().iter().map(|index| index.as_u64().unwrap()).collect();
            assert_eq!(found, expected, "{file}: {}", case["name"]);
        }
    }
}

#[test]
fn behaviour_on_this_host_is_matched_by_rules() {
    if !has_ebpf("behaviour_on_this_host_is_matched_by_rules") {
        return;
    }
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("systemd/system")).unwrap();
    std::fs::create_dir_all(root.join(".aws")).unwrap();
    std::fs::write(root.join(".aws/credentials"), "decoy").unwrap();
    std::fs::copy(std::fs::canonicalize("/bin/bash").unwrap(), root.join("beacon")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let files = Some(WatchList { folders: vec![(root.clone(), 3)], folders_max: 100 });
    let seen = Seen::start(&TelemetryOptions { files, ..TelemetryOptions::default() });
    let word = marker("behaviour");
    let dir = root.display();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "id; uname; hostname; df / ; mount; ps; cat {dir}/.aws/credentials; \
         sh -c 'echo ZWNobyBoaQo= | base64 -d | sh'; echo x > {dir}/systemd/system/update.service; \
         {dir}/beacon -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; echo {word} >&3'"
    );
    let done = Command::new("/bin/bash").args(["-c", &script]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let service = format!("{dir}/systemd/system/update.service");
    seen.wait(1, |record| record["TargetFilename"] == *service);
    seen.wait(1, |record| record["DestinationPort"] == port && record["Initiated"] == true);
    let records = seen.stop();
    let own: Vec<Value> = {
        // This host may be doing other things: only what the script did.
        let shell = records.iter().find(|record| text(record, "CommandLine").contains(&word)).unwrap();
        let mut tree = BTreeSet::from([text(shell, "ProcessGuid").to_owned()]);
        for record in &records {
            if tree.contains(text(record, "ParentProcessGuid")) {
                tree.insert(text(record, "ProcessGuid").to_owned());
            }
        }
        records.iter().filter(|record| tree.contains(text(record, "ProcessGuid"))).cloned().collect()
    };
    let titles = titles(&own);
    for title in [
        "A credential file is named on a command line",
        "A decoded text is run by a shell",
        "A program in a temporary folder connects to somewhere",
        "One process asks for many things about its host",
        "Something that starts by itself was put down",
    ] {
        assert!(titles.contains(title), "{title} is not among {titles:?}");
    }
    normalised(&records);
}

/// Every record is recognised by its mapping and becomes a valid event, the process named alike.
fn normalised(records: &[Value]) {
    let (mut parser, mut second) = (event::Parser::new(), event::Parser::new());
    let (mut normaliser, mut out) = (Normaliser::new(), Normalised::default());
    for record in records {
        let line = serde_json::to_vec(record).unwrap();
        let view = parser.parse(&line).unwrap();
        let mapping = Mappings::built_in().detect(&view).unwrap();
        assert_eq!(mapping.name(), "sensor");
        normaliser.normalise(mapping, &view, ids::Timestamp::from_micros(0), &mut out);
        assert!(out.time_from_source, "{record}");
        let view = second.parse(out.json.as_bytes()).unwrap();
        let faults = Schema::built_in().validate(&view);
        assert!(faults.is_empty(), "{faults:?}\n{record}\n{}", out.json);
        let event: Value = serde_json::from_str(&out.json).unwrap();
        if record["Category"] == "process_creation" {
            assert_eq!(event["process"]["uid"], record["ProcessGuid"]);
            assert_eq!(event["process"]["parent_process"]["uid"], record["ParentProcessGuid"]);
        }
    }
}

//! The schema table and the validator: hand-written events, Prowler's findings, and the table's freshness.

use crate::data;
use event::Parser;
use event::ocsf::Schema;
use event::read::each_record;
use std::ops::ControlFlow;

const BASE: &str = r#""category_uid":1,"class_uid":1007,"activity_id":1,"type_uid":100701,"severity_id":1,"time":1700000000000,"metadata":{"version":"1.8.0","product":{"name":"x"}},"device":{"type_id":0,"hostname":"h"},"actor":{"process":{"pid":4}}"#;

/// What stands beside [`BASE`], and the faults that it makes.
const CASES: &[(&str, &[&str])] = &[
    (r#""process":{"pid":1}"#, &[]),
    (r#""process":{"pid":1,"parent_process":{"name":"x","cpid":"y"}},"unmapped":{"anything":[1]}"#, &[]),
    (r#""process":{"name":"x"}"#, &["process: needs at least one of pid, uid, cpid"]),
    (r#""process":{"pid":"1"}"#, &["process.pid: is not a value of type integer_t"]),
    (r#""process":{"pid":1,"Image":"x"}"#, &["process.Image: is not an attribute of process; put it into `unmapped`"]),
    (r#""process":{"pid":1},"status_id":7"#, &["status_id: `7` is not one of the values allowed here"]),
    (r#""process":{"pid":1},"observables":{}"#, &["observables: is not a value of type array"]),
    (r#""process":{"pid":1},"cloud":{"provider":"AWS"}"#, &["cloud: needs profile `cloud` in `metadata.profiles`"]),
    (r#""status":"Success""#, &["process: is required and missing"]),
];

#[test]
fn faults_are_found_and_named() {
    let mut parser = Parser::new();
    for (extra, expected) in CASES {
        let event = format!("{{{BASE},{extra}}}");
        let view = parser.parse(event.as_bytes()).unwrap();
        let faults: Vec<String> = Schema::built_in().validate(&view).iter().map(ToString::to_string).collect();
        assert_eq!(&faults, expected, "{extra}");
    }
    let wrong = format!("{{{BASE},\"process\":{{\"pid\":1}}}}").replace("100701", "100702");
    let view = parser.parse(wrong.as_bytes()).unwrap();
    let faults = Schema::built_in().validate(&view);
    assert_eq!(faults[0].to_string(), "type_uid: does not fit the class and activity; expected 100701");
}

#[test]
fn the_table_knows_the_classes_that_the_platform_speaks_of() {
    let schema = Schema::built_in();
    assert_eq!(schema.version(), "1.8.0");
    let named = [
        (1007, "process_activity"),
        (2004, "detection_finding"),
        (2005, "incident_finding"),
        (3002, "authentication"),
        (4001, "network_activity"),
        (4003, "dns_activity"),
        (6003, "api_activity"),
        (201_001, "registry_key_activity"),
    ];
    for (uid, name) in named {
        let class = schema.class(uid).unwrap();
        assert_eq!(class.entry.name, name);
        assert_eq!(schema.class_named(name).unwrap().uid, uid);
    }
    let class = schema.class(1007).unwrap();
    let activity = schema.attribute(&class.entry, "activity_id").unwrap();
    assert_eq!(schema.value_captioned(activity, "launch"), Some(1));
    let ip = schema.attribute(schema.object("network_endpoint").unwrap(), "ip").unwrap();
    assert_eq!(schema.observable(ip), Some(2));
}

#[test]
fn findings_of_prowler_are_valid() {
    let Some(folder) = data("telemetry/prowler") else { return };
    let mut parser = Parser::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().contains(".json") {
            continue;
        }
        each_record(&std::fs::read(&path).unwrap(), 1 << 24, |_, record| {
            let view = parser.parse(record.unwrap()).unwrap();
            let faults = Schema::built_in().validate(&view);
            assert!(faults.is_empty(), "{}: {faults:?}", path.display());
            count += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    }
    println!("{count} findings");
    assert!(count > 0);
}

//! Runs every case of `spec/receivers/cases`; see the README there.

use pipeline::syslog::{self, Context, Decoder, Gather};
use pipeline::{Form, Limits, Records, bulk, hec, ndjson, otlp};
use serde_json::Value;
use std::path::{Path, PathBuf};

const LIMITS: Limits = Limits { body_bytes_max: 1 << 20, record_bytes_max: 1000, records_max: 100 };

fn folder() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../spec/receivers")
}

fn body(case: &Value) -> Vec<u8> {
    match &case["body"] {
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(lines) => {
            lines.iter().map(|line| format!("{}\n", line.as_str().unwrap())).collect::<String>().into_bytes()
        }
        repeat => {
            let text = |name: &str| repeat[name].as_str().unwrap();
            let times = usize::try_from(repeat["times"].as_u64().unwrap()).unwrap();
            format!("{}{}{}", text("before"), text("repeat").repeat(times), text("after")).into_bytes()
        }
    }
}

/// Records, or what a refusal is answered; and the answer of a bulk request.
fn run(case: &Value) -> (Result<Records, Value>, Option<Value>) {
    let json = |status: u16, body: &str| {
        let body: Value = serde_json::from_str(body).unwrap();
        serde_json::json!({ "status": status, "body": body })
    };
    let body = body(case);
    match case["protocol"].as_str().unwrap() {
        "ndjson" => {
            (ndjson::parse(body, &LIMITS).map_err(|error| serde_json::json!({ "text": error.to_string() })), None)
        }
        "bulk" => match bulk::parse(body, case["index"].as_str(), &LIMITS) {
            Ok(bulk) => {
                let answer = bulk.answer(42, 7);
                assert_eq!(answer.status, 200);
                (Ok(bulk.records), Some(serde_json::from_str(&answer.body).unwrap()))
            }
            Err(error) => (Err(json(error.answer().status, &error.answer().body)), None),
        },
        "hec_event" => {
            let parsed = hec::parse_events(body, &LIMITS);
            (parsed.map_err(|error| json(error.code.status(), &error.body())), None)
        }
        "hec_raw" => {
            let text = |name: &str| case["query"][name].as_str().map(str::to_owned);
            let meta = hec::RawMeta {
                host: text("host"),
                index: text("index"),
                source: text("source"),
                sourcetype: text("sourcetype"),
            };
            (hec::parse_raw(body, &meta, &LIMITS).map_err(|error| json(error.code.status(), &error.body())), None)
        }
        "otlp_json" => {
            let parsed = otlp::parse(&body, otlp::Wire::Json, &LIMITS);
            (parsed.map_err(|error| serde_json::json!({ "text": error.to_string() })), None)
        }
        "syslog_stream" => {
            let (mut decoder, mut gather) = (Decoder::new(LIMITS.record_bytes_max), Gather::new(LIMITS));
            decoder.push(&body, |framed| gather.push(framed));
            decoder.finish(|framed| gather.push(framed));
            (Ok(gather.take()), None)
        }
        other => panic!("no protocol `{other}`"),
    }
}

fn form(form: Form) -> &'static str {
    match form {
        Form::Json => "json",
        Form::Syslog => "syslog",
        Form::Text => "text",
    }
}

fn check(name: &str, case: &Value) {
    let (found, answer) = run(case);
    let records = match found {
        Err(error) => return assert_eq!(error, case["error"], "{name}"),
        Ok(records) => records,
    };
    assert_eq!(case["error"], Value::Null, "{name}: taken and should be refused");
    let expected = case["records"].as_array().unwrap();
    assert_eq!(records.len(), expected.len(), "{name}");
    for (record, expected) in records.iter().zip(expected) {
        let raw = std::str::from_utf8(record.raw).unwrap();
        match &expected["raw"] {
            Value::String(text) => assert_eq!(raw, text, "{name}"),
            value => assert_eq!(&serde_json::from_str::<Value>(raw).unwrap(), value, "{name}"),
        }
        let envelope = record.envelope.map_or(Value::Null, |envelope| serde_json::from_slice(envelope).unwrap());
        assert_eq!(envelope, expected["envelope"], "{name}");
        assert_eq!(form(record.form), expected["form"], "{name}");
    }
    let rejected: Vec<_> =
        records.rejected().iter().map(|one| serde_json::json!([one.index, one.why.as_str()])).collect();
    assert_eq!(Value::Array(rejected), case.get("rejected").cloned().unwrap_or_else(|| Value::Array(vec![])), "{name}");
    if let (Some(answer), Some(expected)) = (answer, case.get("answer")) {
        assert_eq!(&answer, expected, "{name}");
    }
}

#[test]
fn every_case_comes_out_as_it_says() {
    let context = Context { received: "2026-11-22T12:00:00Z".parse().unwrap(), offset_seconds: 0 };
    let mut count = 0;
    for file in std::fs::read_dir(folder().join("cases")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let case: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        if case["protocol"] == "syslog" {
            let found: Value = serde_json::from_slice(&syslog::to_json(&body(&case), &context)).unwrap();
            assert_eq!(found, case["json"], "{name}");
        } else {
            check(&name, &case);
        }
        count += 1;
    }
    assert!(count >= 40, "only {count} cases found");
}

#[test]
fn what_the_python_exporter_sends_is_read() {
    let body = std::fs::read(folder().join("otlp-python.bin")).unwrap();
    let records = otlp::parse(&body, otlp::Wire::Protobuf, &Limits::default()).unwrap();
    let found: Vec<Value> = records.iter().map(|record| serde_json::from_slice(record.raw).unwrap()).collect();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["resource"]["service.name"], "checkout");
    assert_eq!(found[0]["scope"]["name"], "shop.payments");
    assert_eq!(found[0]["body"], "payment taken");
    assert_eq!(found[0]["severityText"], "INFO");
    assert_eq!(found[0]["attributes"]["user.name"], "alice");
    assert_eq!(found[0]["attributes"]["amount"], 12.5);
    assert_eq!(found[0]["attributes"]["retries"], 3);
    assert_eq!(found[0]["attributes"]["tags"], serde_json::json!(["a", "b"]));
    assert!(found[0]["timeUnixNano"].as_u64().unwrap() > 1_700_000_000_000_000_000);
    assert_eq!(found[1]["body"], "card refused for bob");
    assert_eq!(found[1]["severityNumber"], 17);
    assert!(matches!(otlp::parse(&body[1..], otlp::Wire::Protobuf, &LIMITS), Err(otlp::OtlpError::Protobuf(_))));
}

#[test]
fn otlp_answers_in_the_form_that_was_asked() {
    assert!(otlp::answer(otlp::Wire::Protobuf, 0).is_empty());
    assert_eq!(otlp::answer(otlp::Wire::Json, 0), b"{}");
    let partial: Value = serde_json::from_slice(&otlp::answer(otlp::Wire::Json, 3)).unwrap();
    assert_eq!(partial["partialSuccess"]["rejectedLogRecords"], "3");
    assert_eq!(&otlp::answer(otlp::Wire::Protobuf, 3)[2..4], [0x08, 3]);
    assert_eq!(otlp::error(otlp::Wire::Protobuf, "no"), [0x12, 2, b'n', b'o']);
}

#[test]
fn shippers_find_an_elasticsearch_to_talk_to() {
    let product = bulk::Product { version: "8.17.0".to_owned(), cluster_uuid: "c".to_owned() };
    let get =
        |path: &str| bulk::handshake("GET", path, &product).map(|answer| serde_json::from_str(&answer.body).unwrap());
    let root: Value = get("/").unwrap();
    assert_eq!(root["version"]["number"], "8.17.0");
    assert_eq!(root["tagline"], "You Know, for Search");
    let license: Value = get("_license").unwrap();
    assert_eq!(license["license"]["status"], "active");
    assert_eq!(get("/_ilm/policy/filebeat").unwrap(), serde_json::json!({}));
    assert_eq!(bulk::handshake("HEAD", "/_index_template/x", &product).unwrap().body, "");
    assert_eq!(bulk::handshake("PUT", "/_index_template/x", &product), None);
    assert_eq!(get("/_search"), None);
}

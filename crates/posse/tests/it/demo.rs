//! `posse demo` in the way that this machine allows: live as root, else from the recording; and that a sabotaged one says so.

use serde_json::Value;
use std::process::{Command, Output};

fn demo(more: &[&str]) -> (Output, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_posse"));
    let output = command.args(["demo", "--non-interactive", "--json"]).args(more).output().unwrap();
    let told = serde_json::from_slice(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, told.unwrap_or_else(|error| panic!("{error}: {errors}")))
}

fn failed(told: &Value) -> Vec<&str> {
    let steps = told["steps"].as_array().unwrap().iter();
    steps.filter(|step| step["ok"] == false).map(|step| step["name"].as_str().unwrap()).collect()
}

#[test]
fn every_step_happens_and_is_counted() {
    let (output, told) = demo(&[]);
    assert!(output.status.success(), "{}\n{told:#}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(told["ok"], true);
    assert!(failed(&told).is_empty());
    let counts = &told["counts"];
    for name in ["events", "detections", "cases", "runs", "approvals", "citations", "audit_leaves_verified"] {
        assert!(counts[name].as_u64().unwrap() > 0, "{name}: {counts}");
    }
    println!("sensor: {}, figures: {told:#}", told["sensor_mode"]);
}

#[test]
fn a_rule_that_is_off_is_noticed_and_named() {
    let (output, told) = demo(&["--sabotage", "rule-off"]);
    assert!(!output.status.success());
    assert_eq!((&told["ok"], failed(&told)), (&Value::Bool(false), vec!["detected_beacon"]));
    assert!(String::from_utf8_lossy(&output.stderr).contains("detected_beacon"));
    let cleaned = told["steps"].as_array().unwrap().last().unwrap();
    assert_eq!((&cleaned["name"], &cleaned["ok"]), (&"cleaned_up".into(), &true.into()), "{told:#}");
}

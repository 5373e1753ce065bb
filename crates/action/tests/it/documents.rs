//! Documents: what ships reads, what is wrong is told with its path and, where the reader knows it, its line.

use crate::shipped;
use action::{Connector, Verify};
use serde_json::json;
use std::collections::BTreeMap;

const GOOD: &str = "\
connector: ticket
title: Tickets
hosts: [https://tickets.example.com]
secrets:
  token: { description: the token }
auth:
  bearer: { token: '${secret.token}' }
actions:
  open:
    title: Open a ticket
    openc2: { action: create, target: file }
    inputs:
      title: { kind: text, description: its title }
      days: { kind: integer, description: for how long, optional: true }
    execute:
      request:
        method: POST
        url: https://tickets.example.com/api
        path: /tickets/${input.title}
        json: { title: '${input.title}', days: '${input.days}' }
      outputs:
        id: { at: /id, kind: text }
    verify:
      request: { method: GET, url: https://tickets.example.com/api, path: '/tickets/${output.id}' }
";

#[test]
fn what_ships_reads_and_undoes_what_it_says() {
    for one in action::shipped() {
        let connector = Connector::read(one.text).unwrap_or_else(|faults| panic!("{}: {faults:?}", one.name));
        assert_eq!(connector.document().connector, one.name);
    }
    let aws = shipped("aws-iam-access-key");
    let deactivate = aws.step("deactivate").unwrap();
    assert_eq!(deactivate.inverse.as_ref().unwrap().action, "activate");
    assert!(deactivate.may_repeat() && deactivate.precondition.is_some() && deactivate.evidence.is_some());
    let settings = aws.settings(&BTreeMap::new()).unwrap();
    assert_eq!(aws.origins(&settings).unwrap(), ["https://iam.amazonaws.com"]);
    let slack = shipped("slack-message");
    assert!(!slack.step("post").unwrap().may_repeat(), "a message posted twice is seen twice");
    assert!(matches!(slack.step("post").unwrap().verify, Some(Verify { by_answer: true, .. })));
    let webhook = shipped("webhook");
    assert_eq!(webhook.settings(&BTreeMap::new()).unwrap_err()[0].0, "url");
    for url in ["ftp://a.example", "https://user:pass@a.example/", "a.example", "https://", "https://a.example/#x"] {
        let set = BTreeMap::from([("url".to_owned(), url.to_owned())]);
        assert!(webhook.settings(&set).is_err(), "{url}");
    }
}

#[test]
fn the_example_of_the_handbook_reads() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/connectors.md");
    let page = std::fs::read_to_string(path).unwrap();
    let example = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let connector = Connector::read(example).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(connector.step("open").unwrap().inverse.as_ref().unwrap().action, "close");
}

#[test]
fn what_is_wrong_is_told_where_it_is() {
    assert!(Connector::read(GOOD).is_ok(), "{:?}", Connector::read(GOOD));
    for (from, to, at, line, says) in [
        ("title: Tickets", "titel: Tickets", "", 2, "unknown field `titel`"),
        ("        method: POST", "        method: SEND", "actions.open.execute.request.method", 0, "unknown variant"),
        (
            "        method: POST",
            "        method: POST\n        verb: x",
            "actions.open.execute.request",
            18,
            "unknown field `verb`",
        ),
        (
            "bearer: { token: '${secret.token}' }",
            "bearer: { tokn: '${secret.token}' }",
            "auth",
            7,
            "unknown field `tokn`",
        ),
        ("${input.days}", "${input.dayz}", "actions.open.execute.request.json", 0, "is not declared"),
        ("${input.days}", "${input}", "", 0, "is no reference"),
        ("${input.days}", "${input.days", "", 0, "without its `}`"),
        ("${input.days}", "${output.id}", "actions.open.execute.request.json", 0, "cannot be known here"),
        ("${input.days}", "${planet.mars}", "", 0, "names no kind of value"),
        (
            "path: /tickets/${input.title}",
            "path: /tickets/${secret.token}",
            "actions.open.execute.request.path",
            0,
            "a secret into an address",
        ),
        ("path: /tickets/${input.title}", "path: /tickets/../x", "actions.open.execute.request.path", 0, "a step"),
        (
            "url: https://tickets.example.com/api\n        path",
            "url: https://${input.title}/\n        path",
            "actions.open.execute.request.url",
            0,
            "neither an address",
        ),
        (
            "method: POST",
            "method: POST\n        headers: { Authorization: x }",
            "actions.open.execute.request.headers.Authorization",
            0,
            "is made by `auth`",
        ),
        (
            "method: POST",
            "method: POST\n        headers: { Host: x }",
            "actions.open.execute.request.headers.Host",
            0,
            "makes itself",
        ),
        ("method: POST", "method: POST\n        form: { a: b }", "actions.open.execute.request", 0, "one body"),
        (
            "{ at: /id, kind: text }",
            "{ at: id, kind: text }",
            "actions.open.execute.outputs.id.at",
            0,
            "no JSON pointer",
        ),
        (
            "kind: text, description: its title",
            "kind: text, pattern: '(', description: its title",
            "actions.open.inputs.title.pattern",
            0,
            "is no pattern",
        ),
        (
            "    verify:\n",
            "    inverse: { action: close }\n    verify:\n",
            "actions.open.inverse.action",
            0,
            "names no action",
        ),
        ("action: create", "action: explode", "actions.open.openc2.action", 0, "no action of OpenC2"),
        ("hosts: [https://tickets.example.com]", "hosts: []", "hosts", 0, "is empty"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let faults = Connector::read(&GOOD.replacen(from, to, 1)).err().unwrap_or_else(|| panic!("`{to}` was taken"));
        let found =
            faults.iter().find(|fault| fault.message.contains(says)).unwrap_or_else(|| panic!("{to}: {faults:?}"));
        assert!(found.path.starts_with(at), "{to}: {found:?}");
        assert!(line == 0 || found.line == line, "{to}: {found:?}");
    }
    assert!(Connector::read(&"a".repeat(70_000)).is_err());
}

#[test]
fn inputs_are_judged_all_at_once() {
    let connector = shipped("aws-iam-access-key");
    let step = connector.step("deactivate").unwrap();
    let judge = |inputs: serde_json::Value| step.check(inputs.as_object().unwrap());
    let good = json!({ "user_name": "deploy", "access_key_id": "AKIAIOSFODNN7EXAMPLE" });
    assert_eq!(judge(good), Ok(()));
    let faults = judge(json!({ "user_name": "a b", "access_key_id": 7, "more": true })).unwrap_err();
    let mut names: Vec<&str> = faults.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["access_key_id", "more", "user_name"]);
    // The whole text must match, line breaks included.
    for user in ["deploy\n", "deploy&Status=Active", "", "a/b"] {
        assert!(judge(json!({ "user_name": user, "access_key_id": "AKIAIOSFODNN7EXAMPLE" })).is_err(), "{user:?}");
    }
}

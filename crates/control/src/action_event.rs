//! The OCSF event of what came of a response action: 7001 to 7004 with the action's id as `command_uid`. Built of what the
//! platform recorded; words of hosts and services stand in it as bounded text and decide nothing. Does nothing by itself.

use ids::{Principal, Text};
use serde_json::{Map, Value, json};
use store::{ActionEnd, ActionOutcome, ResponseAction};

/// Characters of one text of an event.
const TEXT_MAX: usize = 2000;
/// The category of remediation.
const CATEGORY: u32 = 7;

/// OCSF's activities of remediation.
const ISOLATE: u32 = 1;
const EVICT: u32 = 2;
const RESTORE: u32 = 3;
const HARDEN: u32 = 4;
const DETECT: u32 = 5;
const OTHER: u32 = 99;

/// What is known of where an action was carried out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setting {
    /// The host's name, as its sensor says it.
    pub(crate) host: Option<String>,
    /// What a connector's action does, as an `OpenC2` action and target.
    pub(crate) openc2: Option<(String, String)>,
}

fn short(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

/// The class of an action's events, and the activity that it is.
fn class(action: &ResponseAction, setting: &Setting) -> (u32, u32) {
    match action.kind.as_str() {
        "collect_file" => (7002, DETECT),
        "kill_process" => (7003, EVICT),
        "isolate_host" => (7004, ISOLATE),
        "release_host" => (7004, RESTORE),
        "list_processes" | "list_sockets" => (7001, DETECT),
        _ => (7001, setting.openc2.as_ref().map_or(OTHER, |(verb, _)| activity(verb))),
    }
}

/// The activity that an `OpenC2` action is.
fn activity(verb: &str) -> u32 {
    match verb {
        "contain" | "deny" | "redirect" => ISOLATE,
        "cancel" | "delete" | "remove" | "stop" => EVICT,
        "allow" | "restore" | "start" => RESTORE,
        "remediate" | "set" | "update" => HARDEN,
        "detect" | "detonate" | "investigate" | "locate" | "query" | "report" | "scan" | "snapshot" => DETECT,
        _ => OTHER,
    }
}

/// `status_id` and severity of an end.
const fn weight(end: ActionEnd) -> (u32, u32) {
    match end {
        ActionEnd::Executed | ActionEnd::Undone | ActionEnd::Verified => (1, 1),
        ActionEnd::Refused => (2, 2),
        ActionEnd::Expired | ActionEnd::Failed => (2, 3),
        // It was done as far as one knows, and its effect is not there.
        ActionEnd::Unverified => (4, 3),
        ActionEnd::Uncertain => (0, 3),
    }
}

fn actor(principal: &Principal) -> Value {
    match principal {
        Principal::User(id) => json!({ "user": { "uid": id } }),
        other => json!({ "app_uid": other.to_string(), "app_name": other.kind().as_str() }),
    }
}

fn process(action: &ResponseAction) -> Value {
    let named = action.arguments.get("process").and_then(Value::as_str).unwrap_or_default();
    let mut process = Map::new();
    process.insert("uid".to_owned(), short(named).into());
    if let Some(pid) = named.split(':').nth(1).and_then(|pid| pid.parse::<u32>().ok()) {
        process.insert("pid".to_owned(), pid.into());
    }
    let first = action.output.pointer("/killed/0");
    if let Some(line) = first.and_then(|first| first.get("command_line")).and_then(Value::as_str) {
        process.insert("cmd_line".to_owned(), short(line).into());
    }
    if let Some(path) = first.and_then(|first| first.get("image")).and_then(Value::as_str) {
        process.insert("file".to_owned(), file(path));
    }
    Value::Object(process)
}

/// A file by its path.
fn file(path: &str) -> Value {
    let name = path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(path);
    json!({ "name": short(name), "path": short(path), "type_id": 1 })
}

fn collected(action: &ResponseAction) -> Value {
    let path = action.arguments.get("path").and_then(Value::as_str).unwrap_or_default();
    let mut file = file(path);
    if let Some(fields) = file.as_object_mut() {
        if let Some(bytes) = action.output.get("bytes").and_then(Value::as_u64) {
            fields.insert("size".to_owned(), bytes.into());
        }
        let digest = action.output.get("sha256").and_then(Value::as_str);
        if let Some(digest) = digest.filter(|digest| seal::Digest::from_hex(digest).is_ok()) {
            fields.insert("hashes".to_owned(), json!([{ "algorithm_id": 3, "value": digest }]));
        }
    }
    file
}

/// The event of the outcome at `place` among those of an action.
pub(crate) fn ocsf(action: &ResponseAction, outcome: &ActionOutcome, place: usize, setting: &Setting) -> Value {
    let (class_uid, usual) = class(action, setting);
    let activity_id = if outcome.end == ActionEnd::Undone { RESTORE } else { usual };
    let (status_id, severity_id) = weight(outcome.end);
    let (word, call) = (outcome.end.as_str(), action.connector.as_ref());
    let metadata = json!({
        "version": event::ocsf::Schema::built_in().version(),
        "product": { "name": "Posse", "vendor_name": "Posse" },
        "profiles": ["host"],
        "log_name": "posse",
        "logged_time": outcome.at.as_millis(),
        "uid": format!("{}/{place}", action.id),
        "correlation_uid": action.undoes.unwrap_or(action.id),
    });
    let behind: Vec<&Principal> = action.on_behalf_of.iter().take(16).collect();
    let openc2 = setting.openc2.as_ref().map(|(verb, target)| vec![short(verb), short(target)]);
    let unmapped = json!({
        "kind": action.kind,
        "outcome": word,
        "told_by": outcome.by,
        "call": outcome.call,
        "asked_by": action.call,
        "approval": action.approval,
        "case": action.case,
        "run": action.run,
        "requested_by": action.requested_by,
        "on_behalf_of": behind,
        "sensor": action.sensor,
        "connector": call.map(|call| Text::<64>::truncated(&call.name)),
        "does": call.map(|call| Text::<64>::truncated(&call.action)),
        "openc2": openc2,
        "undoes": action.undoes,
        "ends_at": action.ends_at,
    });
    let mut event = json!({
        "activity_id": activity_id,
        "category_uid": CATEGORY,
        "class_uid": class_uid,
        "type_uid": class_uid.saturating_mul(100).saturating_add(activity_id),
        "time": outcome.at.as_millis(),
        "severity_id": severity_id,
        "status_id": status_id,
        "status_detail": word,
        "message": short(&format!("{} {word}: {}", action.kind, outcome.detail)),
        "command_uid": action.id,
        "actor": actor(&action.requested_by),
        "remediation": { "desc": short(&action.reason) },
        "metadata": metadata,
        "unmapped": unmapped,
    });
    let mut add = |name: &str, value: Value| {
        if let Some(fields) = event.as_object_mut() {
            fields.insert(name.to_owned(), value);
        }
    };
    if let Some(sensor) = action.sensor {
        let name = setting.host.as_deref().map(short).filter(|name| !name.is_empty());
        add(
            "device",
            name.map_or_else(
                || json!({ "type_id": 0, "uid": sensor }),
                |name| json!({ "type_id": 0, "hostname": name }),
            ),
        );
    }
    match class_uid {
        7002 => add("file", collected(action)),
        7003 => add("process", process(action)),
        7004 => add("connection_info", json!({ "direction_id": OTHER, "direction": "All" })),
        _ => {}
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use event::Parser;
    use event::ocsf::Schema;
    use ids::{ActionId, CallId, SensorId, TenantId, Timestamp, UserId};
    use store::{ActionState, ConnectorCall};

    fn action(kind: &str, arguments: Value, output: Value) -> ResponseAction {
        ResponseAction {
            id: ActionId::derive(&[kind.as_bytes()]),
            tenant: TenantId::derive(&[b"t"]),
            kind: kind.to_owned(),
            sensor: (kind != "run_connector").then(|| SensorId::derive(&[b"s"])),
            connector: (kind == "run_connector").then(ConnectorCall::default),
            arguments,
            reason: "a \"test\"".to_owned(),
            case: None,
            requested_by: Principal::User(UserId::derive(&[b"u"])),
            on_behalf_of: Vec::new(),
            run: None,
            call: CallId::derive(&[b"c"]),
            operation: format!("action.{kind}"),
            approval: None,
            issued_at: Timestamp::default(),
            provider_person: false,
            home: None,
            state: ActionState::Done,
            verified: true,
            detail: String::new(),
            output,
            ends_at: None,
            undoes: None,
            task_id: None,
            task: None,
            expires_at: Timestamp::default(),
            ended_at: None,
            outcomes: Vec::new(),
            outcomes_told: 0,
        }
    }

    const ENDS: [ActionEnd; 8] = [
        ActionEnd::Executed,
        ActionEnd::Expired,
        ActionEnd::Failed,
        ActionEnd::Refused,
        ActionEnd::Uncertain,
        ActionEnd::Undone,
        ActionEnd::Unverified,
        ActionEnd::Verified,
    ];

    #[test]
    fn every_outcome_of_every_kind_is_an_event_that_the_schema_takes() {
        let killed = json!({ "killed": [{ "image": "/bin/sh", "command_line": "sh -c \u{7}" }] });
        let collected = json!({ "bytes": 3, "sha256": "0".repeat(64) });
        let long = "x/".repeat(40_000);
        let cases = [
            ("kill_process", json!({ "process": "boot-1:4242:77" }), killed, 7003, EVICT),
            ("kill_process", json!({ "process": "odd" }), Value::Null, 7003, EVICT),
            ("isolate_host", json!({ "for_secs": 60 }), Value::Null, 7004, ISOLATE),
            ("release_host", json!({}), Value::Null, 7004, RESTORE),
            ("collect_file", json!({ "path": "/etc/hosts" }), collected, 7002, DETECT),
            ("collect_file", json!({ "path": long }), json!({ "sha256": "no digest" }), 7002, DETECT),
            ("list_sockets", json!({}), Value::Null, 7001, DETECT),
            ("run_connector", json!({}), Value::Null, 7001, ISOLATE),
        ];
        for (kind, arguments, output, class_uid, activity_id) in cases {
            let action = action(kind, arguments, output);
            for host in [None, Some("web-3".to_owned())] {
                let setting = Setting { host, openc2: Some(("contain".to_owned(), "user".to_owned())) };
                for end in ENDS {
                    let by = Principal::System("tests".to_owned());
                    let detail = "\"},\n{".repeat(5_000);
                    let outcome = ActionOutcome { end, at: Timestamp::default(), by, call: action.call, detail };
                    let event = ocsf(&action, &outcome, 0, &setting);
                    let text = event.to_string();
                    assert!(text.len() <= api::Acted::BYTES_MAX, "{kind}: {} bytes", text.len());
                    let mut parser = Parser::new();
                    let faults = Schema::built_in().validate(&parser.parse(text.as_bytes()).unwrap());
                    assert_eq!(faults, [], "{kind} {end:?}: {text}");
                    let wanted = if end == ActionEnd::Undone { RESTORE } else { activity_id };
                    let told =
                        (&event["class_uid"], &event["activity_id"], &event["command_uid"], &event["status_detail"]);
                    assert_eq!(told, (&json!(class_uid), &json!(wanted), &json!(action.id), &json!(end.as_str())));
                }
            }
        }
    }
}

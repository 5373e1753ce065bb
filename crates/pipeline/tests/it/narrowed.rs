//! What a backtest leaves out could not match: rules of every kind over records of every shape, narrowed and whole, from
//! memory and from files. The records are as crooked as senders make them, and so are the rules; a seed makes both.

use crate::bed::{Bed, caught_up, deliver, lazy, ndjson, tenant};
use api::{Backtest, BacktestAsk, Bounds, DataPlane, RuleText, SourceSetup, TenantSetup};
use ids::{Scope, Text};
use pipeline::Plane;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const RECORDS: usize = 200;
const RULES: usize = 48;

/// A generator that is the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % count
    }

    fn one<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn often(&mut self, of_ten: usize) -> bool {
        self.below(10) < of_ten
    }
}

const TEXTS: [&str; 24] = [
    "C:\\Windows\\System32\\cmd.exe",
    "C:\\WINDOWS\\system32\\WHOAMI.EXE",
    "C:\\Windows\\System32\\whoami.exe",
    "C:\\Tools\\\u{17f}vchost.exe",
    "C:\\Tools\\svchost.exe",
    "C:\\Tools\\svc\u{212a}.exe",
    "C:\\Tools\\svck.exe",
    "whoami /all -enc ZQBjAGgAbwA=",
    "whoami \u{2013}all",
    "cm?.exe *",
    "CORP\\ann",
    "corp\\Ann",
    "M\u{dc}NCHEN\\j\u{fc}rgen",
    "203.0.113.7",
    "::ffff:203.0.113.7",
    "2001:DB8::7",
    "10.0.0.1",
    "4444",
    "04444",
    "-",
    "N/A",
    "",
    "true",
    "evil.example",
];
const FIELDS: [&str; 12] = [
    "Image",
    "CommandLine",
    "ParentImage",
    "User",
    "DestinationIp",
    "DestinationPort",
    "SourceIp",
    "DestinationHostname",
    "QueryName",
    "TargetFilename",
    "TargetUserName",
    "Computer",
];

fn scalar(dice: &mut Dice) -> Value {
    match dice.below(14) {
        0 => Value::Null,
        1 => json!(4444),
        2 => json!(4444.0),
        3 => json!(true),
        _ => json!(dice.one(&TEXTS)),
    }
}

fn value(dice: &mut Dice, crooked: bool) -> Value {
    if !crooked {
        return scalar(dice);
    }
    match dice.below(12) {
        0 => json!([scalar(dice), scalar(dice)]),
        1 => json!([scalar(dice)]),
        2 => json!([]),
        3 => json!({ "#text": scalar(dice) }),
        4 => json!([{ "a": scalar(dice) }]),
        _ => scalar(dice),
    }
}

fn event_id(dice: &mut Dice, crooked: bool) -> Value {
    let plain = [json!(1), json!(3), json!(22), json!(11), json!("1"), json!(7)];
    let other = [json!([1, 3]), json!(3.0), json!("01"), json!({ "#text": 3 }), json!([3]), Value::Null];
    if crooked && dice.often(5) { dice.one(&other).clone() } else { dice.one(&plain).clone() }
}

/// One record as its sender writes it.
fn record(dice: &mut Dice, crooked: bool) -> String {
    let time = format!("2026-11-{:02}T10:{:02}:00Z", 19 + dice.below(3), dice.below(60));
    let mut fields = Map::new();
    for field in FIELDS {
        if dice.often(6) {
            let name = if crooked && dice.often(1) { field.to_lowercase() } else { field.to_owned() };
            fields.insert(name, value(dice, crooked));
        }
    }
    let sysmon = *dice.one(&["Microsoft-Windows-Sysmon/Operational", "microsoft-windows-sysmon/OPERATIONAL"]);
    let channel = *dice.one(&[sysmon, sysmon, sysmon, "Security", "Application"]);
    let id = if channel == "Security" { json!(dice.one(&[4688, 4625, 4624])) } else { event_id(dice, crooked) };
    match dice.below(8) {
        0 => {
            let data =
                if dice.often(8) { json!({ "EventData": fields }) } else { json!({ "UserData": { "X": fields } }) };
            let mut event = json!({ "System": {
                "Channel": channel, "EventID": id, "Computer": "ws-01", "Provider": { "#attributes": { "Name": "p" } },
                "TimeCreated": { "#attributes": { "SystemTime": time } },
            } });
            event.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
            if crooked && dice.often(3) {
                event["UserData"] = json!({ "Y": { "Image": dice.one(&TEXTS), "EventID": 3 } });
            }
            json!({ "Event": event }).to_string()
        }
        1 => {
            let mut call = json!({ "eventVersion": "1.08", "eventSource": "iam.amazonaws.com", "eventTime": time });
            call["eventName"] = json!(dice.one(&["CreateUser", "createuser", "DeleteUser"]));
            call["sourceIPAddress"] = value(dice, crooked);
            if dice.often(5) {
                call["userIdentity"] = json!({ "userName": value(dice, crooked), "type": "IAMUser" });
            }
            if crooked && dice.often(4) {
                call["userIdentity.userName"] = scalar(dice);
            }
            call.to_string()
        }
        _ => {
            fields.insert("Channel".to_owned(), json!(channel));
            fields.insert("EventID".to_owned(), id);
            fields.insert("TimeCreated".to_owned(), json!(time));
            let text = Value::Object(fields).to_string();
            // A key that stands twice.
            match crooked && dice.often(2) {
                true => format!("{{\"Image\":{},{}", json!(dice.one(&TEXTS)), text.trim_start_matches('{')),
                false => text,
            }
        }
    }
}

/// One test of a field, as YAML that is JSON.
fn test(dice: &mut Dice) -> (String, Value) {
    let field = match dice.below(12) {
        0 => "EventID",
        1 => "Channel",
        2 => "userIdentity.userName",
        3 => "sourceIPAddress",
        4 => "eventName",
        _ => dice.one(&FIELDS),
    };
    let text = *dice.one(&TEXTS);
    let part: String = text.chars().skip(dice.below(4)).take(3 + dice.below(9)).collect();
    let (modifier, value) = match dice.below(20) {
        0 => ("contains", json!(part)),
        1 => ("startswith", json!(text.chars().take(9).collect::<String>())),
        2 => ("endswith", json!(part)),
        3 => ("contains|all", json!([part, dice.one(&TEXTS)])),
        4 => ("re", json!("(?i)who[a-z]+\\.exe")),
        5 => ("exists", json!(dice.often(5))),
        6 => ("cased", json!(text)),
        7 => ("windash|contains", json!("-all")),
        8 => ("base64offset|contains", json!("echo")),
        9 => ("cidr", json!("203.0.113.0/24")),
        10 => ("gte", json!(4000)),
        11 => ("", Value::Null),
        12 => ("", json!(4444)),
        13 => ("", json!([text, dice.one(&TEXTS), dice.one(&TEXTS)])),
        14 => ("", json!(format!("*{part}*"))),
        15 => ("neq", json!(text)),
        16 => ("fieldref", json!(dice.one(&FIELDS))),
        17 => ("contains", json!([part, dice.one(&TEXTS)])),
        _ => ("", json!(text)),
    };
    let value = if field == "EventID" { json!(dice.one(&[1, 3, 4625])) } else { value };
    let value = if field == "Channel" { json!("Microsoft-Windows-Sysmon/operational") } else { value };
    let modifier = if matches!(field, "EventID" | "Channel") { "" } else { modifier };
    (if modifier.is_empty() { field.to_owned() } else { format!("{field}|{modifier}") }, value)
}

fn rule(dice: &mut Dice, number: usize) -> RuleText {
    let sources = [
        json!({ "product": "windows", "category": "process_creation" }),
        json!({ "product": "windows", "category": "network_connection" }),
        json!({ "product": "windows", "category": "dns_query" }),
        json!({ "product": "windows", "service": "sysmon" }),
        json!({ "product": "windows", "service": "security" }),
        json!({ "product": "windows" }),
        json!({ "product": "aws", "service": "cloudtrail" }),
        json!({ "category": "process_creation" }),
    ];
    let source = dice.one(&sources);
    let map = |dice: &mut Dice| {
        let tests: Map<String, Value> = (0..=dice.below(2)).map(|_| test(dice)).collect();
        Value::Object(tests)
    };
    let first = if dice.often(2) { json!([map(dice), map(dice)]) } else { map(dice) };
    let condition =
        *dice.one(&["s1", "s1", "s1", "not s1", "s1 and not s2", "s1 or s2", "all of s*", "1 of s*", "s1 or k"]);
    let body = json!({
        "title": "t", "id": format!("r{number}"), "level": "low", "logsource": source,
        "detection": { "s1": first, "s2": map(dice), "k": [dice.one(&TEXTS[..13])], "condition": condition },
    });
    RuleText {
        id: None,
        name: format!("r{number}"),
        digest: format!("d{number}"),
        text: body.to_string(),
        shadow: false,
    }
}

async fn backtest(plane: &Plane, rule: &RuleText, exhaustive: bool) -> Option<Backtest> {
    let (since, until) = ("2026-11-18T00:00:00Z".parse().unwrap(), "2026-11-24T00:00:00Z".parse().unwrap());
    let ask = BacktestAsk { rule: rule.clone(), beside: Vec::new(), since, until, exhaustive };
    let bounds = Bounds {
        rows_max: 1_000,
        bytes_max: 1 << 24,
        time_max: Duration::from_secs(600),
        decoded_bytes_max: 1 << 30,
        memory_bytes_max: 1 << 28,
        masked: BTreeSet::new(),
        position: None,
    };
    // What a die makes may be no rule.
    plane.backtest(&Scope::Tenant(tenant()), &ask, &bounds, &|_, _| true).await.ok()
}

fn found(one: &Backtest) -> BTreeSet<String> {
    one.items.iter().map(|item| format!("{} {:?}", item.id, item.events)).collect()
}

/// How many rules were asked, how many of them found something, and how many records were left out.
async fn compare(plane: &Plane, rules: &[RuleText], round: &str) -> (usize, usize, u64) {
    let (mut asked, mut finding, mut spared) = (0, 0, 0);
    for rule in rules {
        let (Some(narrow), Some(whole)) = (backtest(plane, rule, false).await, backtest(plane, rule, true).await)
        else {
            continue;
        };
        assert_eq!(found(&narrow), found(&whole), "{round}: {}", rule.text);
        assert_eq!(narrow.findings, whole.findings, "{round}: {}", rule.text);
        assert!(narrow.complete && whole.complete);
        asked += 1;
        finding += usize::from(whole.findings > 0);
        spared += whole.events - narrow.events;
    }
    (asked, finding, spared)
}

async fn both_ways(seed: u64, crooked: bool) -> (usize, usize, u64) {
    let mut dice = Dice(seed);
    let records: Vec<String> = (0..RECORDS).map(|_| record(&mut dice, crooked)).collect();
    let rules: Vec<RuleText> = (0..RULES).map(|number| rule(&mut dice, number)).collect();
    let bed = Bed::new(seed);
    let plane = bed.open(lazy()).await;
    deliver(&plane, ndjson(records.join("\n"))).await;
    caught_up(&plane).await;
    let hot = compare(&plane, &rules, "hot").await;
    plane.stop().await;
    drop(plane);
    let plane = bed.open(lazy()).await;
    let cold = compare(&plane, &rules, "in files").await;
    plane.stop().await;
    assert_eq!((hot.0, hot.1), (cold.0, cold.1));
    cold
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_records_are_left_out_only_where_they_cannot_match() {
    let (asked, finding, spared) = both_ways(11, false).await;
    assert!(asked > RULES * 8 / 10, "{asked} of the rules are rules");
    assert!(finding > asked / 4, "{finding} of {asked} rules find something");
    assert!(spared > 0, "nothing was left out: the test shows nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn crooked_records_are_left_out_only_where_they_cannot_match() {
    let (asked, finding, _) = both_ways(12, true).await;
    assert!(asked > RULES * 8 / 10 && finding > asked / 4, "{finding} of {asked}");
}

/// What was read by a mapping that somebody chose stays apart after the choice is taken back, and the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_by_another_mapping_is_found_all_the_same() {
    let chosen = |mapping: Option<&str>| {
        let source = SourceSetup {
            name: Text::new("web").unwrap(),
            mapping: mapping.map(|name| Text::new(name).unwrap()),
            mapping_text: None,
            silent_after_secs: None,
        };
        TenantSetup {
            tenant: tenant(),
            sources: vec![source],
            keep: api::Keep::default(),
            externals: Vec::new(),
            quota: None,
        }
    };
    let mut dice = Dice(13);
    let records: Vec<String> = (0..90).map(|_| record(&mut dice, false)).collect();
    let rules: Vec<RuleText> = (0..30).map(|number| rule(&mut dice, number)).collect();
    let bed = Bed::new(13);
    let plane = bed.open(lazy()).await;
    plane.set_up(chosen(Some("json"))).unwrap();
    deliver(&plane, ndjson(records.join("\n"))).await;
    caught_up(&plane).await;
    compare(&plane, &rules, "chosen").await;
    plane.set_up(chosen(None)).unwrap();
    let (_, finding, _) = compare(&plane, &rules, "taken back").await;
    assert!(finding > 5, "{finding} rules find something");
    deliver(&plane, ndjson(records.join("\n"))).await;
    caught_up(&plane).await;
    plane.set_up(chosen(Some("windows-flat"))).unwrap();
    compare(&plane, &rules, "chosen again").await;
    plane.stop().await;
}

//! Rules over what the lake holds: what is left out could not have matched, what a hunt stores is what the rule would have
//! found live, and nothing is stored twice.

use crate::bed::{Bed, ask, caught_up, deliver, lazy, ndjson, tenant};
use api::{
    Backtest, BacktestAsk, Bounds, DataPlane as _, DataPresence, LogSourceName, RuleSet, RuleText, SourceSetup,
    TenantSetup,
};
use ids::{Scope, Text, Timestamp};
use pipeline::Plane;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn rule(name: &str, body: &str) -> RuleText {
    let text = format!("title: {name}\nid: {name}\nlevel: high\n{body}\n");
    RuleText { id: None, name: name.to_owned(), digest: format!("digest-{name}"), text, shadow: false }
}

fn sysmon(id: u32, day: u32, number: u32, fields: &Value) -> String {
    let mut record = json!({
        "Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": id, "Computer": "ws-01", "RecordNumber": number,
        "Provider_Name": "Microsoft-Windows-Sysmon",
        "TimeCreated": format!("2026-11-{day:02}T10:{:02}:{:02}Z", number / 60 % 60, number % 60),
    });
    record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    record.to_string()
}

/// Processes, connections and logons of three days, and what is none of them.
fn records() -> Vec<String> {
    let mut all = Vec::new();
    for number in 0..120 {
        let day = 19 + number % 3;
        let image =
            format!("C:\\Windows\\System32\\{}.exe", ["cmd", "whoami", "svchost", "WHOAMI"][number as usize % 4]);
        all.push(sysmon(
            1,
            day,
            number,
            &json!({ "Image": image, "CommandLine": format!("{image} /all"), "User": "CORP\\ann" }),
        ));
        let address = format!("203.0.113.{}", number % 40);
        let port = if number % 2 == 0 { json!(443) } else { json!("4444") };
        all.push(sysmon(3, day, number, &json!({ "Image": image, "DestinationIp": address, "DestinationPort": port })));
    }
    all.push(json!({ "Channel": "Security", "EventID": 4625, "Computer": "dc", "TargetUserName": "ann", "TimeCreated": "2026-11-20T10:00:00Z" }).to_string());
    all.push(json!({ "eventVersion": "1.08", "eventSource": "iam.amazonaws.com", "eventName": "CreateUser", "eventTime": "2026-11-20T10:00:00Z", "userIdentity": { "userName": "eve" } }).to_string());
    all.push("{\"hello\":1}".to_owned());
    all.push(
        "type=SYSCALL msg=audit(1795158000.123:1): arch=c000003e syscall=59 success=yes exe=\"/usr/bin/nc\" key=\"x\""
            .to_owned(),
    );
    all
}

/// Rules with and without texts to look for, in columns and not, with `not`, keywords, lists and expressions.
fn rules() -> Vec<RuleText> {
    let process = "logsource: {product: windows, category: process_creation}\n";
    let network = "logsource: {product: windows, category: network_connection}\n";
    vec![
        rule("end", &format!("{process}detection: {{s: {{Image|endswith: '\\whoami.exe'}}, condition: s}}")),
        rule("whole", &format!("{network}detection: {{s: {{DestinationIp: 203.0.113.7}}, condition: s}}")),
        rule(
            "list",
            &format!(
                "{network}detection: {{s: {{DestinationIp: [203.0.113.7, 203.0.113.8, 10.0.0.1]}}, condition: s}}"
            ),
        ),
        rule("port", &format!("{network}detection: {{s: {{DestinationPort: 4444}}, condition: s}}")),
        rule("not", &format!("{process}detection: {{s: {{Image|endswith: '\\whoami.exe'}}, condition: not s}}")),
        rule(
            "but",
            &format!(
                "{process}detection: {{s: {{Image|contains: system32}}, f: {{Image|endswith: 'cmd.exe'}}, condition: s and not f}}"
            ),
        ),
        rule("expression", &format!("{process}detection: {{s: {{Image|re: 'who[a-z]+'}}, condition: s}}")),
        rule("keyword", &format!("{process}detection: {{k: ['svchost'], condition: k}}")),
        rule("user", &format!("{process}detection: {{s: {{User: 'CORP\\ann'}}, condition: s}}")),
        rule(
            "inside",
            "logsource: {product: windows}\ndetection: {s: {EventID: 4625, TargetUserName: ANN}, condition: s}",
        ),
        rule(
            "any",
            "logsource: {product: windows, service: sysmon}\ndetection: {s: {Computer|startswith: ws}, condition: s}",
        ),
        rule(
            "cloud",
            "logsource: {product: aws, service: cloudtrail}\ndetection: {s: {eventName: CreateUser}, condition: s}",
        ),
        rule("line", "logsource: {product: linux, service: auditd}\ndetection: {s: {exe|endswith: /nc}, condition: s}"),
        rule("dash", &format!("{process}detection: {{s: {{CommandLine|windash|contains: ' -all'}}, condition: s}}")),
        rule("absent", &format!("{process}detection: {{s: {{ParentImage: null}}, condition: s}}")),
        rule("nowhere", "logsource: {product: macos}\ndetection: {s: {a: b}, condition: s}"),
        rule(
            "many",
            &format!(
                "correlation: {{type: event_count, rules: [part], group-by: [Computer], timespan: 60s, condition: {{gte: 12}}}}\n---\ntitle: part\nid: part\n{network}detection: {{s: {{DestinationPort: '4444'}}, condition: s}}"
            ),
        ),
    ]
}

fn asked(rule: &RuleText, exhaustive: bool) -> BacktestAsk {
    let (since, until) = ("2026-11-18T00:00:00Z".parse().unwrap(), "2026-11-24T00:00:00Z".parse().unwrap());
    BacktestAsk { rule: rule.clone(), beside: Vec::new(), since, until, exhaustive }
}

fn bounds() -> Bounds {
    Bounds {
        rows_max: 1_000,
        bytes_max: 1 << 24,
        time_max: HOUR,
        decoded_bytes_max: 1 << 30,
        memory_bytes_max: 1 << 28,
        masked: BTreeSet::new(),
        position: None,
    }
}

async fn backtest(plane: &Plane, rule: &RuleText, exhaustive: bool) -> Backtest {
    let scope = Scope::Tenant(tenant());
    let found = plane.backtest(&scope, &asked(rule, exhaustive), &bounds(), &|_, _| true).await;
    found.unwrap_or_else(|problem| panic!("{}: {problem:?}", rule.name))
}

fn ids(found: &Backtest) -> BTreeSet<String> {
    found.items.iter().map(|one| one.id.to_string()).collect()
}

/// The ids of what is stored, by rule.
async fn stored(plane: &Plane, uid: &str) -> BTreeSet<String> {
    let rows = ask(plane, &format!("SELECT finding_uid FROM detections WHERE rule_uid = '{uid}'")).await;
    let ids: Vec<String> = rows.iter().map(|row| row[0].as_str().unwrap().to_owned()).collect();
    let once: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(once.len(), ids.len(), "{uid} is stored twice");
    once
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_could_not_match_and_what_is_found_is_what_live_rules_find() {
    let live = Bed::new(40);
    let plane = live.open(lazy()).await;
    let set = RuleSet { digest: "all".to_owned(), rules: rules(), ..RuleSet::default() };
    assert!(plane.set_rules(tenant(), set).unwrap().faults.is_empty());
    deliver(&plane, ndjson(records().join("\n"))).await;
    caught_up(&plane).await;
    let mut expected = Vec::new();
    for rule in rules() {
        expected.push(stored(&plane, &rule.name).await);
    }
    plane.stop().await;

    let bed = Bed::new(41);
    let mut plane = bed.open(lazy()).await;
    deliver(&plane, ndjson(records().join("\n"))).await;
    caught_up(&plane).await;
    for round in ["hot", "in files"] {
        for (rule, expected) in rules().iter().zip(&expected) {
            let (narrow, whole) = (backtest(&plane, rule, false).await, backtest(&plane, rule, true).await);
            assert_eq!(ids(&narrow), ids(&whole), "{} {round}", rule.name);
            assert_eq!(&ids(&whole), expected, "{} {round}", rule.name);
            assert!(narrow.complete && whole.complete);
            assert_eq!(narrow.findings, u64::try_from(expected.len()).unwrap(), "{} {round}", rule.name);
            assert_eq!(whole.events, 244, "{} {round}", rule.name);
            assert!(narrow.events <= whole.events);
        }
        let few = backtest(&plane, &rules()[1], false).await;
        assert_eq!((few.events, few.findings), (3, 3), "only the address is looked at, {round}");
        assert_eq!(few.by_host[0].value, "ws-01", "{few:?}");
        assert!(few.by_day.windows(2).all(|two| two[0].value > two[1].value), "{few:?}");
        if round == "hot" {
            plane.stop().await;
            drop(plane);
            plane = bed.open(lazy()).await;
        }
    }
    let estimate = plane.backtest_estimate(&Scope::Tenant(tenant()), &asked(&rules()[11], false)).unwrap();
    assert!(estimate.rows < 244 && estimate.rows > 0, "{estimate:?}");
    let broken = BacktestAsk { rule: rule("broken", "detection: {}"), ..asked(&rules()[0], false) };
    assert!(plane.backtest(&Scope::Tenant(tenant()), &broken, &bounds(), &|_, _| true).await.is_err());
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_that_is_told_to_end_says_that_it_is_not_complete() {
    let bed = Bed::new(42);
    let plane = bed.open(lazy()).await;
    deliver(&plane, ndjson(records().join("\n"))).await;
    caught_up(&plane).await;
    let (scope, ask) = (Scope::Tenant(tenant()), asked(&rules()[0], false));
    let found = plane.backtest(&scope, &ask, &bounds(), &|_, _| false).await.unwrap();
    assert!(!found.complete && found.findings == 0);
    let masked = Bounds { masked: BTreeSet::from(["user_name".to_owned()]), ..bounds() };
    assert!(plane.backtest(&scope, &ask, &masked, &|_, _| true).await.is_err());
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hunt_stores_what_was_not_found_live_and_nothing_twice() {
    let bed = Bed::new(43);
    let plane = bed.open(lazy()).await;
    let all = records();
    let (before, after) = all.split_at(160);
    deliver(&plane, ndjson(before.join("\n"))).await;
    caught_up(&plane).await;
    let hunted = rules().remove(0);
    let set = RuleSet { digest: "live".to_owned(), rules: vec![hunted.clone()], ..RuleSet::default() };
    plane.set_rules(tenant(), set).unwrap();
    deliver(&plane, ndjson(after.join("\n"))).await;
    caught_up(&plane).await;
    let live = stored(&plane, "end").await;
    let expected = ids(&backtest(&plane, &hunted, true).await);
    assert!(!live.is_empty() && live.len() < expected.len());
    bed.told.0.lock().unwrap().clear();

    let ask = asked(&hunted, false);
    let done = plane.retro_hunt(tenant(), &ask, "job-1", HOUR, &|_, _| true).await.unwrap();
    let count = |set: &BTreeSet<String>| u64::try_from(set.len()).unwrap();
    assert_eq!((done.stored, done.known), (count(&expected) - count(&live), count(&live)));
    assert!(done.complete && done.beyond == 0);
    assert_eq!(stored(&plane, "end").await, expected);
    let told: BTreeSet<String> = bed.told.0.lock().unwrap().iter().map(|finding| finding.id.to_string()).collect();
    assert_eq!(told, expected.difference(&live).cloned().collect(), "cases hear of them");
    let list = api::DetectionList {
        tenant: None,
        rule: None,
        severity: None,
        entity: None,
        since: Some("2026-11-18T00:00:00Z".parse::<Timestamp>().unwrap()),
        until: Some("2026-11-23T00:00:00Z".parse::<Timestamp>().unwrap()),
        limit: api::RowLimit::default(),
        cursor: None,
    };
    let listed = plane.detections(&Scope::Tenant(tenant()), &list, &bounds()).await.unwrap();
    for one in &listed.items {
        let was_live = live.contains(&one.id.to_string());
        assert_eq!(one.retro_hunt.as_deref(), (!was_live).then_some("job-1"), "{one:?}");
    }
    assert_eq!(listed.items.len(), expected.len());

    for _ in 0..2 {
        let again = plane.retro_hunt(tenant(), &ask, "job-2", HOUR, &|_, _| true).await.unwrap();
        assert_eq!((again.stored, again.known), (0, count(&expected)));
    }
    // They outlive the process like everything in the log, and a hunt after it knows them.
    plane.stop().await;
    drop(plane);
    let plane = bed.open(lazy()).await;
    assert_eq!(stored(&plane, "end").await, expected);
    let again = plane.retro_hunt(tenant(), &ask, "job-3", HOUR, &|_, _| true).await.unwrap();
    assert_eq!(again.stored, 0);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_holds_in_a_hunt_too() {
    let bed = Bed::new(44);
    let plane = bed.open(lazy()).await;
    deliver(&plane, ndjson(records().join("\n"))).await;
    caught_up(&plane).await;
    let filter = rule(
        "quiet",
        "logsource: {product: windows, category: process_creation}\nfilter: {rules: [end], s: {Image|contains: WHOAMI}, condition: not s}",
    );
    let ask = BacktestAsk { beside: vec![filter], ..asked(&rules()[0], false) };
    let done = plane.retro_hunt(tenant(), &ask, "job-1", HOUR, &|_, _| true).await.unwrap();
    assert_eq!((done.stored, done.known), (0, 0));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_sources_are_present_absent_or_unknown() {
    let bed = Bed::new(45);
    let plane = bed.open(lazy()).await;
    deliver(&plane, ndjson(records().join("\n"))).await;
    caught_up(&plane).await;
    let source = |product: &str, category: &str, service: &str| {
        let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        LogSourceName { product: named(product), category: named(category), service: named(service) }
    };
    let asked = [
        source("windows", "process_creation", ""),
        source("windows", "network_connection", ""),
        source("windows", "create_remote_thread", ""),
        source("windows", "dns_query", ""),
        source("windows", "", "security"),
        source("aws", "", "cloudtrail"),
        source("linux", "", "auditd"),
        source("okta", "", "okta"),
        source("macos", "process_creation", ""),
    ];
    use DataPresence::{Absent, Present};
    let expected = [Present, Present, Absent, Absent, Present, Present, Present, Absent, Absent];
    assert_eq!(plane.log_sources(tenant(), &asked, &bounds()).await.unwrap(), expected);
    // A mapping of one's own may fill columns and classes as it likes: everything is looked at then.
    let text = "vendor = \"x\"\nproduct = \"y\"\n[[forms]]\nname = \"own\"\ndetect = [{ exists = [\"never\"] }]\n[sets.base]\ntime = \"when\"\n";
    let setup = TenantSetup {
        tenant: tenant(),
        sources: vec![SourceSetup {
            name: Text::new("other").unwrap(),
            mapping: None,
            mapping_text: Some(Text::new(text).unwrap()),
            silent_after_secs: None,
        }],
        keep: api::Keep::default(),
        externals: Vec::new(),
        quota: None,
    };
    plane.set_up(setup).unwrap();
    assert_eq!(plane.log_sources(tenant(), &asked, &bounds()).await.unwrap(), expected);
    assert_eq!(backtest(&plane, &rules()[1], false).await.events, 244);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_exception_holds_back_is_counted_once_over_restarts() {
    let exception = ids::RuleExceptionId::derive(&[b"build hosts"]);
    let filter = rule(
        &exception.to_string(),
        "logsource: {product: windows, category: process_creation}\nfilter: {rules: [end], s: {Image|contains: system32\\WHOAMI}, condition: not s}",
    );
    let set = RuleSet { digest: "live".to_owned(), rules: vec![rules().remove(0), filter], ..RuleSet::default() };
    let bed = Bed::new(46);
    let plane = bed.open_waiting(lazy()).await;
    assert!(plane.set_rules(tenant(), set.clone()).unwrap().faults.is_empty());
    plane.begin();
    deliver(&plane, ndjson(records().join("\n"))).await;
    caught_up(&plane).await;
    let told = plane.exception_hits(tenant());
    assert_eq!((told.len(), told[0].exception, told[0].hits), (1, exception, 60));
    assert!(stored(&plane, "end").await.is_empty(), "all of them are held back");
    assert!(plane.exception_hits(ids::TenantId::derive(&[b"other"])).is_empty());
    plane.stop().await;
    drop(plane);
    for round in 1..3 {
        let plane = bed.open_waiting(lazy()).await;
        plane.set_rules(tenant(), set.clone()).unwrap();
        plane.begin();
        caught_up(&plane).await;
        let again = plane.exception_hits(tenant());
        assert_eq!((again[0].hits, again[0].last_hit_at >= told[0].last_hit_at), (60 * round, true));
        // The same bytes again would be taken for a repeated delivery.
        deliver(&plane, ndjson(format!("{}\n{{\"round\":{round}}}", records().join("\n")))).await;
        caught_up(&plane).await;
        assert_eq!(plane.exception_hits(tenant())[0].hits, 60 * (round + 1));
        plane.stop().await;
        drop(plane);
    }
}

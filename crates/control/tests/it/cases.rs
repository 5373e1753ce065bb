//! The life of a case over HTTP: found, worked on, concluded with evidence that is looked up, merged; and findings that are
//! told twice make the same cases.

use case::{Detection, Entity};
use ids::{DetectionId, EventId, Severity, TenantId, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use testkit::{Cast, Dump, Platform};

const START: i64 = 1_770_000_000;

pub(crate) fn event(number: u64) -> EventId {
    EventId { class_uid: 1007, day: 20_486, segment: 1, offset: number, index: 0, part: 0 }
}

fn found(tenant: &str, number: u64, secs: i64, entities: &[&str]) -> Detection {
    let at = |secs: i64| Timestamp::from_micros(secs * 1_000_000);
    Detection {
        id: DetectionId::derive(&[tenant.as_bytes(), &number.to_be_bytes()]),
        tenant: tenant.parse().unwrap(),
        rule: None,
        rule_uid: "7e6f1f2c".to_owned(),
        title: format!("Finding {}", number % 3),
        severity: if number == 2 { Severity::High } else { Severity::Medium },
        techniques: vec!["T1059.001".to_owned()],
        event: None,
        events: vec![event(number)],
        time: at(START + secs),
        found_at: at(START + secs + 5),
        entities: entities.iter().map(|name| name.parse::<Entity>().unwrap()).collect(),
        matched: Vec::new(),
    }
}

/// Two hosts with some findings each, and a third thing that ties nothing.
pub(crate) fn some(tenant: &str) -> Vec<Detection> {
    vec![
        found(tenant, 1, 0, &["host:ws01", "user:alice", "user:SYSTEM"]),
        found(tenant, 2, 60, &["host:ws01", "user:SYSTEM", "ip:185.220.101.4"]),
        found(tenant, 3, 90, &["host:ws02", "user:bob", "user:SYSTEM"]),
        found(tenant, 4, 95, &["user:SYSTEM"]),
    ]
}

async fn list(platform: &Platform, token: &str, mut filter: Value) -> Vec<Value> {
    filter["limit"] = 2.into();
    let mut items = Vec::new();
    loop {
        let page = platform.done(token, "case.list", &filter).await;
        items.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(cursor) => filter["cursor"] = cursor.into(),
            None => return items,
        }
    }
}

fn ids(cases: &[Value]) -> BTreeSet<String> {
    cases.iter().map(|case| case["id"].as_str().unwrap().to_owned()).collect()
}

/// Cases that nobody opened by hand.
pub(crate) async fn from_findings(platform: &Platform, token: &str, tenant: &str) -> Vec<Value> {
    let mut cases = list(platform, token, json!({ "tenant": tenant })).await;
    cases.retain(|case| case["opened"]["by"] == "system_cases");
    cases
}

#[tokio::test]
async fn findings_become_cases_and_twice_told_they_stay_the_same() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let analyst = &cast.member("analyst").token;
    let until = Timestamp::from_micros((START + 100) * 1_000_000);
    let mut both = some(&cast.own);
    both.extend(some(&cast.other));
    let observed = platform.control.observe_findings(both.clone(), Some(until)).await.unwrap();
    assert_eq!((observed.placed, observed.known, observed.opened.len()), (8, 0, 6));

    let cases = from_findings(&platform, analyst, &cast.own).await;
    assert_eq!(cases.len(), 3, "{cases:#?}");
    let first = cases.iter().find(|case| case["hosts"] == json!(["ws01"])).unwrap();
    assert_eq!(
        (&first["detections"], &first["severity"], &first["status"]),
        (&json!(2), &json!("high"), &json!("new"))
    );
    assert_eq!(first["title"], "Finding 1 on ws01");
    assert_eq!(first["opened"]["digest"].as_str().unwrap().len(), 64);

    // Told again, in part and in another order, before and after a restart of the platform.
    let before = Dump::of(platform.control.store()).await;
    both.reverse();
    let again = platform.control.observe_findings(both.clone(), Some(until)).await.unwrap();
    assert_eq!((again.placed, again.known, again.opened.len()), (0, 8, 0));
    assert_eq!(before.changed(&Dump::of(platform.control.store()).await), []);
    let platform = platform.restart().await;
    let again = platform.control.observe_findings(both, Some(until)).await.unwrap();
    assert_eq!((again.placed, again.known), (0, 8));
    assert_eq!(before.changed(&Dump::of(platform.control.store()).await), []);
    let own: TenantId = cast.own.parse().unwrap();
    assert_eq!(platform.control.cases_found_until(own).await.unwrap(), Some(until));

    // The entry names the finding, the platform and the audit record.
    let timeline = platform.done(analyst, "case.timeline", &json!({ "case": first["id"] })).await;
    let seen = &timeline["items"][0];
    assert_eq!((&seen["kind"], &seen["actor"]), (&json!("seen"), &json!("system_cases")));
    assert_eq!(seen["detections"].as_array().unwrap().len(), 2);
    let record =
        platform.done(&cast.chief.token, "audit.get", &json!({ "tenant": cast.own, "call": seen["call"] })).await;
    assert_eq!(record["records"][0]["record"]["operation"], "case.observe");

    // More on the first host joins; what ties both hosts makes one case of them.
    let more = vec![found(&cast.own, 5, 120, &["host:ws01"])];
    let observed = platform.control.observe_findings(more, None).await.unwrap();
    assert_eq!((observed.extended.len(), observed.opened.len()), (1, 0));
    let tie = vec![found(&cast.own, 6, 130, &["host:ws01", "user:bob"])];
    let observed = platform.control.observe_findings(tie, None).await.unwrap();
    assert_eq!(observed.merged.len(), 1);
    let cases = from_findings(&platform, analyst, &cast.own).await;
    assert_eq!(cases.len(), 2);
    let one = cases.iter().find(|case| case["id"] == first["id"]).expect("the older one is left");
    assert_eq!((&one["detections"], one["merged"].as_array().unwrap().len()), (&json!(5), 1));
    let all = platform.done(analyst, "case.detections", &json!({ "case": first["id"] })).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 5);
    let part = platform.done(analyst, "case.get", &json!({ "case": one["merged"][0] })).await;
    assert_eq!((&part["case"]["merged_into"], &part["case"]["status"]), (&first["id"], &json!("closed")));

    // Whoever held the part by its id goes on with the whole.
    let late = vec![found(&cast.own, 7, 140, &["host:ws02"])];
    let observed = platform.control.observe_findings(late, None).await.unwrap();
    assert_eq!(observed.extended.iter().map(ToString::to_string).collect::<Vec<_>>(), [first["id"].as_str().unwrap()]);
    let changed = json!({ "case": one["merged"][0], "status": "triage" });
    assert_eq!(platform.done(analyst, "case.update", &changed).await["id"], first["id"]);
}

#[tokio::test]
async fn cases_are_found_by_what_they_are_about_and_only_in_their_tenant() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (analyst, chief) = (&cast.member("analyst").token, &cast.chief.token);
    let mut both = some(&cast.own);
    both.extend(some(&cast.other));
    platform.control.observe_findings(both, None).await.unwrap();

    let filtered = async |filter: Value| list(&platform, analyst, filter).await.len();
    assert_eq!(filtered(json!({ "entity": "ip:185.220.101.4" })).await, 1);
    assert_eq!(filtered(json!({ "entity": "user:system" })).await, 3, "it ties nothing, and it is told");
    assert_eq!(filtered(json!({ "entity": "user:mallory" })).await, 0);
    assert_eq!(filtered(json!({ "severity": "high" })).await, 2, "the finding's, and that of the cast's broken glass");
    assert_eq!(filtered(json!({ "status": "closed" })).await, 0);
    assert_eq!(filtered(json!({ "until": "1999-01-01T00:00:00Z" })).await, 0);
    assert_eq!(platform.call(analyst, "case.list", &json!({ "entity": "planet:mars" })).await.status, 422);
    let mine = ids(&list(&platform, analyst, json!({})).await);
    let theirs = ids(&list(&platform, chief, json!({ "tenant": cast.other })).await);
    assert!(mine.is_disjoint(&theirs));
    assert_eq!(ids(&list(&platform, chief, json!({})).await), mine.union(&theirs).cloned().collect());

    let said = json!({ "tenant": cast.own, "entity": "ip:185.220.101.4", "verdict": "true_positive", "reason": "C2" });
    platform.done(analyst, "entity.set_verdict", &said).await;
    let seen = platform.done(analyst, "entity.cases", &json!({ "entity": "ip:185.220.101.4" })).await;
    assert_eq!(seen["items"].as_array().unwrap().len(), 1, "{seen:#}");
    assert_eq!(seen["verdicts"][0]["verdict"], "true_positive");
    let shown = platform.done(analyst, "case.get", &json!({ "case": seen["items"][0]["case"] })).await;
    let entity = shown["entities"].as_array().unwrap().iter().find(|one| one["entity"] == "ip:185.220.101.4").unwrap();
    assert_eq!((&entity["verdict"]["reason"], &entity["links"]), (&json!("C2"), &json!(true)));
    let other =
        platform.done(chief, "entity.cases", &json!({ "tenant": cast.other, "entity": "ip:185.220.101.4" })).await;
    assert_eq!(other["verdicts"], json!([]), "what one tenant said is not told in another");
    let foreign = theirs.first().unwrap();
    assert_eq!(platform.call(analyst, "case.get", &json!({ "case": foreign })).await.status, 404);
    let into = json!({ "case": mine.first().unwrap(), "into": foreign });
    assert_eq!(platform.call(analyst, "case.merge", &into).await.status, 404);
    assert_eq!(platform.call(chief, "case.merge", &into).await.status, 404, "not even by somebody who reaches both");
}

#[tokio::test]
async fn a_conclusion_is_borne_out_by_evidence_or_refused() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let agent = cast.member("investigator");
    let own: TenantId = cast.own.parse().unwrap();
    let raw = r#"{"EventID":1,"Image":"C:\\Windows\\System32\\whoami.exe","Handle":9223372036854775807}"#;
    platform.plane.hold(own, &event(1).to_string(), json!({ "class_uid": 1007 }), raw);
    platform.plane.hold(cast.other.parse().unwrap(), &event(2).to_string(), json!({}), raw);
    platform.control.observe_findings(some(&cast.own), None).await.unwrap();
    let case = from_findings(&platform, &agent.token, &cast.own).await[0]["id"].clone();

    let cited = |event: EventId, quotes: &[&str]| json!({ "event": event, "quotes": quotes });
    let conclude = |citations: Value| {
        json!({ "case": case, "verdict": "true_positive", "reason": "it ran",
            "claims": [{ "text": "whoami ran", "citations": citations }] })
    };
    let before = Dump::of(platform.control.store()).await;
    for (citations, pointers) in [
        (json!([cited(event(1), &["mimikatz.exe"])]), vec!["/claims/0/citations/0/quotes/0"]),
        (json!([cited(event(1), &["System32\\whoami.exe", "2"])]), vec!["/claims/0/citations/0/quotes/1"]),
        (json!([cited(event(2), &["whoami.exe"])]), vec!["/claims/0/citations/0"]),
        (json!([{ "quotes": ["whoami.exe"] }]), vec!["/claims/0/citations/0"]),
        (json!([]), vec!["/claims/0/citations"]),
    ] {
        let answer = platform.call(&agent.token, "case.conclude", &conclude(citations.clone())).await;
        assert_eq!((answer.status, answer.pointers()), (422, pointers), "{citations}: {}", answer.body);
    }
    let bare = json!({ "case": case, "verdict": "benign", "reason": "trust me" });
    assert_eq!(platform.call(&agent.token, "case.conclude", &bare).await.pointers(), ["/claims"]);
    assert_eq!(before.changed(&Dump::of(platform.control.store()).await), []);

    platform.plane.answer(vec![json!({ "n": 3, "big": 9_007_199_254_740_993_i64 }).as_object().unwrap().clone()]);
    let secure =
        json!({ "case": case, "events": [event(1)], "sql": "SELECT count(*) AS n FROM events", "note": "seen" });
    let secured = platform.done(&agent.token, "case.add_evidence", &secure).await;
    let frozen = &secured["items"][1];
    let rows = br#"[{"big":"9007199254740993","n":3}]"#;
    assert_eq!(frozen["made"]["digest"], seal::Digest::of(rows).to_hex());
    let whole = json!({ "case": case, "evidence": frozen["id"] });
    assert_eq!(platform.done(&agent.token, "case.get_evidence", &whole).await["rows"][0]["n"], 3);
    let strange = json!({ "case": case, "events": [event(2)] });
    assert_eq!(platform.call(&agent.token, "case.add_evidence", &strange).await.pointers(), ["/events/0"]);

    let citations = json!([cited(event(1), &["System32\\whoami.exe", "1"]),
        { "evidence": frozen["id"], "quotes": ["9007199254740993", "3"] }]);
    let done = platform.done(&agent.token, "case.conclude", &conclude(citations)).await;
    assert_eq!((&done["status"], &done["conclusion"]["verdict_id"]), (&json!("triage"), &json!(2)));
    let made = &done["conclusion"]["made"];
    assert_eq!(made["by"], agent.principal.as_str());
    assert!(made["run"].as_str().unwrap().starts_with("run_"));
    assert_eq!(made["digest"].as_str().unwrap().len(), 64);
    let timeline = platform.done(&agent.token, "case.timeline", &json!({ "case": case })).await;
    let kinds: Vec<&str> =
        timeline["items"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["seen", "queried", "concluded"]);
    assert_eq!(timeline["items"][2]["call"], made["call"]);
    let filter = json!({ "tenant": cast.own, "verdict": "true_positive" });
    assert_eq!(list(&platform, &agent.token, filter).await.len(), 1);
}

#[tokio::test]
async fn a_case_lives_and_its_clocks_run() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let analyst = cast.member("analyst");
    platform.control.observe_findings(some(&cast.own), None).await.unwrap();
    let case = from_findings(&platform, &analyst.token, &cast.own).await[0].clone();
    let update = async |mut input: Value| {
        input["case"] = case["id"].clone();
        platform.call(&analyst.token, "case.update", &input).await
    };
    let minute = || platform.clock.advance(std::time::Duration::from_secs(60));
    minute();
    let taken =
        update(json!({ "status": "in_progress", "assignee": analyst.principal, "if_match": case["etag"] })).await;
    assert_eq!(taken.status, 200, "{}", taken.body);
    assert_eq!(update(json!({ "status": "on_hold", "if_match": case["etag"] })).await.status, 412);
    assert_eq!(update(json!({ "status": "new" })).await.pointers(), ["/status"]);
    assert_eq!(
        update(json!({ "assignee": cast.things[&testkit::Place::Other]["user"] })).await.pointers(),
        ["/assignee"]
    );
    // RFC 5789: a patch that names nothing is whole, and leaves the case as it is, its tag too.
    let (first, second) = (update(json!({})).await, update(json!({})).await);
    assert_eq!((first.status, &first.body["etag"]), (200, &second.body["etag"]));
    minute();
    assert_eq!(update(json!({ "status": "contained", "severity": "low" })).await.status, 200);
    minute();
    assert_eq!(update(json!({ "status": "resolved", "reason": "cleaned" })).await.status, 200);
    let now = update(json!({ "tags": ["phishing"] })).await.body;
    let clocks = &now["clocks"];
    assert_eq!((&clocks["acknowledge_secs"], &clocks["contain_secs"]), (&json!(60), &json!(120)));
    assert_eq!((&clocks["resolve_secs"], &now["severity"]), (&json!(180), &json!("low")));

    // What ended is not joined: what comes back opens a case that names it.
    let host = case["hosts"][0].as_str().map(|host| format!("host:{host}"));
    let back = found(&cast.own, 9, 200, &[host.as_deref().unwrap_or("user:nobody-else")]);
    platform.control.observe_findings(vec![back], None).await.unwrap();
    let open = list(&platform, &analyst.token, json!({ "open": true, "status": "new" })).await;
    let fresh = open.iter().max_by_key(|one| one["id"].as_str().unwrap().to_owned()).unwrap();
    if host.is_some() {
        assert_eq!(fresh["related"], json!([case["id"]]));
    }
    let figures = platform.done(&analyst.token, "case.metrics", &json!({ "tenant": cast.own })).await;
    assert_eq!((&figures["mttr"]["cases"], &figures["mttr"]["mean_secs"]), (&json!(1), &json!(180.0)));
    assert_eq!(figures["mttd"]["cases"], figures["cases"]);
    let mine = list(&platform, &analyst.token, json!({ "assignee": analyst.principal })).await;
    assert_eq!(mine.len(), 1);

    let task =
        platform.done(&analyst.token, "case.add_task", &json!({ "case": case["id"], "title": "ask alice" })).await;
    let done = json!({ "case": case["id"], "task": task["id"], "state": "done", "outcome": "was her" });
    assert_eq!(platform.done(&analyst.token, "case.update_task", &done).await["state"], "done");
    let elsewhere = json!({ "case": fresh["id"], "task": task["id"], "state": "open" });
    assert_eq!(platform.call(&analyst.token, "case.update_task", &elsewhere).await.status, 404);
    platform.done(&analyst.token, "case.add_comment", &json!({ "case": case["id"], "text": "over" })).await;
    let file = platform.done(&analyst.token, "case.get", &json!({ "case": case["id"] })).await;
    assert_eq!((&file["comments"][0]["text"], &file["tasks"][0]["outcome"]), (&json!("over"), &json!("was her")));
    let tell = json!({ "tenant": cast.own, "detections": [] });
    assert_eq!(platform.call(&cast.chief.token, "case.observe", &tell).await.status, 403, "the platform's own");
}

#[tokio::test]
async fn what_a_run_does_stands_in_the_timeline_of_its_case() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (admin, agent) = (cast.member("tenant_admin"), cast.member("investigator"));
    platform.control.observe_findings(some(&cast.own), None).await.unwrap();
    let case = from_findings(&platform, &admin.token, &cast.own).await[0]["id"].clone();
    let asked = json!({ "agent": agent.principal, "tenant": cast.own, "ttl_secs": 600, "case": case });
    let issued = platform.done(&admin.token, "agent.issue_run_credential", &asked).await;
    let token = issued["credential"]["secret"].as_str().unwrap();
    platform.done(token, "event.query", &json!({ "tenant": cast.own, "sql": "SELECT 1" })).await;
    let timeline = platform.done(token, "case.timeline", &json!({ "case": case, "kind": "queried" })).await;
    let entry = &timeline["items"][0];
    assert_eq!((&entry["operation"], &entry["actor"]), (&json!("event.query"), &json!(agent.principal)));
    assert!(entry["text"].as_str().unwrap().contains("SELECT 1"));
    assert_eq!(timeline["items"].as_array().unwrap().len(), 1);
}

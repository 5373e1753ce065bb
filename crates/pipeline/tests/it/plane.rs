//! Records through the whole plane: taken, read, mapped, matched, found by a question; what cannot be read is kept.

use crate::bed::{Bed, ask, caught_up, deliver, lazy, ndjson, tenant};
use api::{DataPlane as _, Protocol, RuleSet, RuleText, SourceSetup, TenantSetup};
use ids::{Scope, Text, Timestamp};
use pipeline::Plane;
use serde_json::{Value, json};

const CLOUDTRAIL: &str = r#"{"eventVersion":"1.08","eventSource":"iam.amazonaws.com","eventName":"CreateUser","eventTime":"2026-11-22T10:00:00Z","awsRegion":"us-east-1","sourceIPAddress":"198.51.100.7","userIdentity":{"type":"IAMUser","userName":"eve","arn":"arn:aws:iam::1:user/eve","accountId":"1"},"requestParameters":{"userName":"backdoor"},"eventID":"1"}"#;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_found_and_dead_letters_are_kept() {
    let bed = Bed::new(1);
    let plane = bed.open(lazy()).await;
    let answer = deliver(&plane, ndjson(format!("{CLOUDTRAIL}\nnot json\n{{\"hello\":1}}"))).await;
    assert_eq!((answer.status, answer.records, answer.rejected), (200, 3, 0));
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&body["accepted"], &body["duplicate"]), (&json!(3), &json!(false)));
    let again = deliver(&plane, ndjson(format!("{CLOUDTRAIL}\nnot json\n{{\"hello\":1}}"))).await;
    assert_eq!(serde_json::from_slice::<Value>(&again.body).unwrap()["duplicate"], json!(true));
    caught_up(&plane).await;
    for round in ["hot", "in files"] {
        let rows = ask(&plane, "SELECT class_uid, raw, status_detail, message FROM events ORDER BY log_index").await;
        assert_eq!(rows.len(), 3, "{round}");
        assert_eq!((&rows[0][0], text(&rows[0][1])), (&json!(3001), CLOUDTRAIL), "{round}");
        assert_eq!((&rows[1][0], text(&rows[1][1]), text(&rows[1][2])), (&json!(0), "not json", "dead_letter"));
        assert!(text(&rows[1][3]).starts_with("not_json: "), "{:?}", rows[1]);
        assert_eq!(rows[2][0], json!(0), "{round}");
        let found = ask(&plane, "SELECT count(*) FROM events WHERE src_ip = '198.51.100.7' AND source = 'web'").await;
        assert_eq!(found, [[json!(1)]], "{round}");
        if round == "hot" {
            let health = plane.sources(&Scope::Tenant(tenant())).await.unwrap();
            let [(_, health)] = health.try_into().unwrap();
            assert_eq!((health.records, health.dead_letters, health.duplicates), (3, 1, 3));
            assert!(health.unmapped_share.is_some_and(|share| share > 0.0 && share < 1.0));
            assert_eq!(health.state, "ok");
            plane.stop().await;
        }
    }
    let refused = deliver(&plane, ndjson("{}")).await;
    assert_eq!((refused.status, refused.refused), (503, Some("shutting_down")));
    assert!(refused.headers.iter().any(|(name, _)| *name == "retry-after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_answers_in_its_own_shape() {
    let bed = Bed::new(2);
    let plane = bed.open(lazy()).await;
    let mut bulk = ndjson("{\"create\":{}}\n{\"message\":\"a\"}\n{\"delete\":{\"_id\":\"1\"}}\n");
    bulk.protocol = Protocol::Bulk;
    bulk.path = "/logs/_bulk".to_owned();
    let answer = deliver(&plane, bulk.clone()).await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (answer.status, &body["errors"], &body["items"][0]["create"]["status"]),
        (200, &json!(true), &json!(201))
    );
    assert!(answer.headers.contains(&("x-elastic-product", "Elasticsearch".to_owned())));
    bulk.path = "/".to_owned();
    bulk.method = "GET".to_owned();
    let hello: Value = serde_json::from_slice(&deliver(&plane, bulk).await.body).unwrap();
    assert_eq!(hello["tagline"], json!("You Know, for Search"));

    let mut hec = ndjson("{\"event\":{\"a\":1},\"time\":1700000000.5}{\"event\":\"plain\"}");
    hec.protocol = Protocol::HecEvents;
    hec.headers = vec![("x-splunk-request-channel", "0aeeac95-ac74-4aa9-b30d-6c4c0ac581ba".to_owned())];
    let answer = deliver(&plane, hec.clone()).await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &body["code"], &body["ackId"]), (200, &json!(0), &json!(0)));
    hec.protocol = Protocol::HecAcks;
    hec.body = b"{\"acks\":[0,7]}".to_vec();
    let body: Value = serde_json::from_slice(&deliver(&plane, hec).await.body).unwrap();
    assert_eq!(body["acks"], json!({ "0": true, "7": false }));

    let mut otlp =
        ndjson("{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"body\":{\"stringValue\":\"x\"}}]}]}]}");
    otlp.protocol = Protocol::OtlpLogs;
    otlp.headers = vec![("content-type", "application/json".to_owned())];
    let answer = deliver(&plane, otlp).await;
    assert_eq!((answer.status, answer.body.as_slice(), answer.records), (200, &b"{}"[..], 1));

    let mut packed = ndjson(vec![0x1f, 0x8b, 1]);
    packed.headers = vec![("content-encoding", "gzip".to_owned())];
    let answer = deliver(&plane, packed).await;
    assert_eq!((answer.status, answer.refused), (400, Some("encoding")));

    let mut stream = plane.syslog(tenant(), Text::new("fw").unwrap(), false);
    stream
        .push(None, b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed\n25 <13>1 - - - - - - counted")
        .await
        .unwrap();
    stream.finish().await;
    caught_up(&plane).await;
    let rows = ask(&plane, "SELECT source, count(*) FROM events GROUP BY source ORDER BY source").await;
    assert_eq!(rows, [[json!("fw"), json!(2)], [json!("web"), json!(4)]]);
    let time = ask(&plane, "SELECT time FROM events WHERE raw LIKE '%\"a\":1%'").await;
    assert!(text(&time[0][0]).starts_with("2023-11-14T22:13:20.5"), "{time:?}");
    plane.stop().await;
}

fn rule(name: &str, text: &str) -> RuleText {
    RuleText { id: None, name: name.to_owned(), digest: format!("digest-{name}"), text: text.to_owned(), shadow: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_make_findings_beside_the_events() {
    let bed = Bed::new(3);
    let plane = bed.open(lazy()).await;
    let rules = vec![
        rule(
            "user",
            "title: A user was made\nid: user\nlevel: high\ntags: [attack.t1136.003]\n\
             logsource: {product: aws, service: cloudtrail}\n\
             detection: {selection: {eventName: CreateUser}, condition: selection}\n",
        ),
        rule(
            "many",
            "title: Many users\nid: many\nlevel: critical\ncorrelation:\n  type: event_count\n  rules: [key]\n  \
             group-by: [userIdentity.userName]\n  timespan: 1h\n  condition: {gte: 2}\n",
        ),
        rule(
            "key",
            "title: A key was made\nid: key\nlevel: low\nlogsource: {product: aws, service: cloudtrail}\n\
             detection: {selection: {eventName: CreateAccessKey}, condition: selection}\n",
        ),
        rule("broken", "title: broken\nid: broken\ndetection: {}\n"),
    ];
    let set = RuleSet { digest: "one".to_owned(), rules, ..RuleSet::default() };
    let report = plane.set_rules(tenant(), set).unwrap();
    assert_eq!(report.running, 3, "{report:?}");
    assert!(report.faults.iter().any(|fault| fault.name == "broken" && fault.fatal), "{report:?}");
    let key = |id: u32| {
        let record = CLOUDTRAIL.replace("CreateUser", "CreateAccessKey");
        record.replace("\"eventID\":\"1\"", &format!("\"eventID\":\"{id}\""))
    };
    let body = [CLOUDTRAIL.to_owned(), key(2), key(3)].join("\n");
    assert_eq!(deliver(&plane, ndjson(body)).await.status, 200);
    caught_up(&plane).await;
    let rows = ask(
        &plane,
        "SELECT rule_uid, finding_title, severity_id, log_index FROM events WHERE class_uid = 2004 ORDER BY rule_uid",
    )
    .await;
    assert_eq!(
        rows,
        [
            [json!("many"), json!("Many users"), json!(5), json!(2)],
            [json!("user"), json!("A user was made"), json!(4), json!(0)],
        ]
    );
    let raw = ask(&plane, "SELECT raw FROM events WHERE rule_uid = 'user'").await;
    let finding: Value = serde_json::from_str(text(&raw[0][0])).unwrap();
    assert_eq!(finding["finding_info"]["attacks"][0]["technique"]["uid"], json!("T1136.003"));
    assert_eq!(finding["evidences"][0]["data"]["matched"][0]["values"], json!(["CreateUser"]));
    assert_eq!(finding["unmapped"]["rule_digest"], json!("digest-user"));
    assert!(finding["unmapped"]["entities"].as_array().unwrap().contains(&json!("ip:198.51.100.7")), "{finding}");
    let mut parser = event::Parser::new();
    let view = parser.parse(text(&raw[0][0]).as_bytes()).unwrap();
    let faults = event::ocsf::Schema::built_in().validate(&view);
    assert!(faults.is_empty(), "{faults:?}\n{finding}");
    {
        let told = bed.told.0.lock().unwrap();
        assert_eq!(told.iter().map(|finding| finding.rule_uid.as_str()).collect::<Vec<_>>(), ["user", "many"]);
        assert_eq!(told[1].events.len(), 2);
    }
    plane.stop().await;
}

/// A source could give the platform findings of its own making, and with them cases about whomever it likes.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_in_the_shape_of_a_finding_is_none_of_ours() {
    let bed = Bed::new(6);
    let plane = bed.open(lazy()).await;
    let text = "title: A user was made\nid: user\nlevel: high\nlogsource: {product: aws, service: cloudtrail}\n\
                detection: {selection: {eventName: CreateUser}, condition: selection}\n";
    let set = RuleSet { digest: "one".to_owned(), rules: vec![rule("user", text)], ..RuleSet::default() };
    plane.set_rules(tenant(), set).unwrap();
    deliver(&plane, ndjson(CLOUDTRAIL.to_owned())).await;
    caught_up(&plane).await;
    let ours = ask(&plane, "SELECT raw FROM detections").await;
    let forged = text_of(&ours[0]).replace("A user was made", "Forged");
    assert_eq!(deliver(&plane, ndjson(forged)).await.status, 200);
    caught_up(&plane).await;
    let rows = ask(&plane, "SELECT finding_title FROM detection_finding ORDER BY finding_title").await;
    assert_eq!(rows, [[json!("A user was made")], [json!("Forged")]], "both are findings of some product");
    let rows = ask(&plane, "SELECT finding_title FROM detections").await;
    assert_eq!(rows, [[json!("A user was made")]], "one is ours");
    plane.stop().await;
}

/// What the platform did is asked for by its command; what a source says that it did is not taken for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_action_s_event_is_the_platform_s_own() {
    let bed = Bed::new(7);
    let plane = bed.open(lazy()).await;
    let event = |uid: &str| {
        json!({
            "class_uid": 7003, "category_uid": 7, "activity_id": 2, "type_uid": 700_302, "severity_id": 1,
            "time": 1_790_000_000_000_i64, "command_uid": uid, "status_id": 1, "status_detail": "verified",
            "message": "gone", "metadata": { "version": "1.8.0", "product": { "name": "Posse" }, "profiles": ["host"] },
            "device": { "type_id": 0, "hostname": "web-3" }, "process": { "uid": "b:1:2" },
        })
        .to_string()
    };
    let acted = |key: &str, ocsf: String| api::Acted {
        tenant: tenant(),
        key: Text::new(key).unwrap(),
        at: Timestamp::from_micros(1_790_000_000_000_000),
        ocsf,
    };
    for _ in 0..2 {
        plane.acted(acted("one", event("action_one"))).await.unwrap();
    }
    assert!(plane.acted(acted("two", "no json".to_owned())).await.is_err());
    assert_eq!(deliver(&plane, ndjson(event("action_forged"))).await.status, 200);
    caught_up(&plane).await;
    let sql = "SELECT command_uid, status_detail, device_hostname, class_uid FROM actions";
    let rows = ask(&plane, sql).await;
    assert_eq!(rows, [[json!("action_one"), json!("verified"), json!("web-3"), json!(7003)]], "told twice, there once");
    let sql =
        "SELECT command_uid FROM process_remediation_activity WHERE command_uid LIKE 'action_%' ORDER BY command_uid";
    let rows = ask(&plane, sql).await;
    assert_eq!(rows, [[json!("action_forged")], [json!("action_one")]], "both are events of some product");
    plane.stop().await;
    drop(plane);
    // And after everything was written and read again.
    let plane = bed.open(lazy()).await;
    plane.acted(acted("one", event("action_one"))).await.unwrap();
    caught_up(&plane).await;
    assert_eq!(ask(&plane, "SELECT command_uid FROM actions WHERE command_uid = 'action_one'").await.len(), 1);
    plane.stop().await;
}

fn text_of(row: &[Value]) -> &str {
    text(&row[0])
}

/// A log that was read before its tenant's rules were there lost findings without a word.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_before_the_rules_are_there() {
    let bed = Bed::new(5);
    let plane = bed.open_waiting(lazy()).await;
    assert_eq!(deliver(&plane, ndjson(CLOUDTRAIL.to_owned())).await.status, 200);
    let found = async |plane: &Plane| ask(plane, "SELECT rule_uid FROM events").await.len();
    assert_eq!(found(&plane).await, 0, "it was never told to begin");
    plane.stop().await;
    drop(plane);

    let plane = bed.open_waiting(lazy()).await;
    let text = "title: A user was made\nid: user\nlevel: high\nlogsource: {product: aws, service: cloudtrail}\n\
                detection: {selection: {eventName: CreateUser}, condition: selection}\n";
    let set = RuleSet { digest: "one".to_owned(), rules: vec![rule("user", text)], ..RuleSet::default() };
    plane.set_rules(tenant(), set).unwrap();
    assert!(!plane.caught_up());
    // Who asks before the log was read again waits for it.
    let asked = async {
        plane.recovered().await;
        (found(&plane).await, plane.findings())
    };
    let (answer, ()) = tokio::join!(asked, async { plane.begin() });
    assert_eq!(answer, (2, 1), "what was logged before is judged");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_read_by_the_mapping_that_it_names() {
    let bed = Bed::new(4);
    let plane = bed.open(lazy()).await;
    let source = |name: &str, mapping: &str| SourceSetup {
        name: Text::new(name).unwrap(),
        mapping: Some(Text::new(mapping).unwrap()),
        mapping_text: None,
        silent_after_secs: Some(60),
    };
    let setup = |sources| TenantSetup {
        tenant: tenant(),
        sources,
        keep: api::Keep::default(),
        externals: Vec::new(),
        quota: None,
    };
    assert!(plane.set_up(setup(vec![source("web", "nope")])).is_err());
    plane.set_up(setup(vec![source("web", "zeek"), source("idle", "json")])).unwrap();
    assert_eq!(deliver(&plane, ndjson(CLOUDTRAIL)).await.status, 200);
    caught_up(&plane).await;
    let rows = ask(&plane, "SELECT count(*) FROM events WHERE class_uid = 3001").await;
    assert_eq!(rows, [[json!(0)]], "read as what it is not, because the source says so");
    let health = plane.sources(&Scope::Tenant(tenant())).await.unwrap();
    let states: Vec<(&str, &str)> = health.iter().map(|(_, one)| (one.source.as_str(), one.state.as_str())).collect();
    assert_eq!(states, [("idle", "never_seen"), ("web", "ok")]);
    let tried = plane.test_mapping(None, None, &[CLOUDTRAIL.to_owned(), "nonsense".to_owned()]).unwrap();
    assert_eq!(tried.items[0].mapping.as_deref(), Some("cloudtrail"));
    assert!(tried.items[0].faults.is_empty(), "{:?}", tried.items[0].faults);
    assert_eq!(tried.items[1].mapping.as_deref(), Some("json"));
    plane.stop().await;
}

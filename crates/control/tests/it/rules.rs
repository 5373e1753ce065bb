//! The life of a rule: written, tested, made to run, changed, rolled back, stopped; packs and exceptions; and what the
//! data plane would be told.

use api::RuleSet;
use serde_json::{Value, json};
use testkit::cast::{EVENT, EXCEPTION, rule_test, rule_text};
use testkit::{Cast, Platform};

/// The tests beside every shipped rule pass, and each rule has some.
#[tokio::test]
async fn shipped_rules_pass_their_tests() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let author = &cast.member("detection_engineer").token;
    for ((file, text), (tests_file, tests)) in detection::shipped::RULES.iter().zip(detection::shipped::TESTS) {
        assert_eq!(file.strip_suffix(".yml"), tests_file.strip_suffix(".tests.json"));
        let tests: Value = serde_json::from_str(tests).unwrap();
        assert!(!tests.as_array().unwrap().is_empty(), "{file}");
        let made = platform.done(author, "rule.create", &json!({ "text": text, "tests": tests })).await;
        let report = platform.done(author, "rule.test", &json!({ "rule": made["id"] })).await;
        assert_eq!(report["passed"], true, "{file}: {report:#}");
        let remarks = platform.done(author, "rule.lint", &json!({ "text": text })).await;
        let bad = |remark: &&Value| remark["severity"] == "error";
        assert_eq!(remarks["items"].as_array().unwrap().iter().find(bad), None, "{file}");
    }
    let packs = platform.done(author, "pack.list", &json!({})).await;
    assert_eq!(packs["items"][0]["origin"], "shipped");
    assert_eq!(packs["items"][0]["rules"], detection::shipped::RULES.len());
}

#[tokio::test]
async fn a_rule_lives() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let author = &cast.member("detection_engineer").token;
    let status = async |operation: &str, input: Value| platform.call(author, operation, &input).await.status;

    let broken = rule_text("one").replace("condition: selection", "condition: nothing");
    let refused = platform.call(author, "rule.create", &json!({ "text": broken })).await;
    assert_eq!((refused.status, refused.pointers()), (422, vec!["/text"]), "{}", refused.body);

    let made = platform.done(author, "rule.create", &json!({ "text": rule_text("one"), "tests": [rule_test()] })).await;
    let rule = made["id"].clone();
    let one = || json!({ "rule": rule });
    assert_eq!(made["state"], "draft");
    assert_eq!(status("rule.create", json!({ "text": rule_text("one") })).await, 409, "the id is taken");
    assert_eq!(status("rule.set_state", json!({ "rule": rule, "state": "backtested" })).await, 409);
    let tested = platform.done(author, "rule.set_state", &json!({ "rule": rule, "state": "tested" })).await;
    assert_eq!(tested["state"], "tested");
    let live = platform.done(author, "rule.enable", &one()).await;
    assert_eq!((&live["state"], &live["running_version"]), (&json!("live"), &json!(1)));
    assert_eq!(live["status"]["running"], false, "the data plane has not got it yet: {live:#}");
    let runs = async || {
        let look = async || {
            let now = platform.done(author, "rule.get", &one()).await;
            (now["status"]["running"] == true).then_some(())
        };
        platform.until("the data plane has the rule", look).await;
    };
    runs().await;
    assert_eq!(status("rule.delete", one()).await, 409, "it runs");

    // A change does not touch what runs, and does not run while its tests fail.
    let other = rule_text("one").replace("whoami.exe", "hostname.exe");
    let changed = platform.done(author, "rule.update", &json!({ "rule": rule, "text": other })).await;
    assert_eq!((&changed["state"], &changed["running_version"]), (&json!("draft"), &json!(1)));
    assert_eq!(status("rule.enable", one()).await, 409, "the tests fail");
    let lines = platform.done(author, "rule.diff", &one()).await["lines"].clone();
    let moved = lines.as_array().unwrap().iter().filter(|line| !line.as_str().unwrap().starts_with(' ')).count();
    assert_eq!(moved, 2, "{lines:#}");
    assert_eq!(status("rule.update", json!({ "rule": rule, "text": rule_text("two") })).await, 422, "another id");

    let back = platform.done(author, "rule.rollback", &json!({ "rule": rule, "version": 1 })).await;
    assert_eq!((&back["version"], &back["digest"]), (&json!(3), &made["digest"]));
    platform.done(author, "rule.enable", &one()).await;
    runs().await;
    let versions = platform.done(author, "rule.versions", &one()).await;
    let running: Vec<bool> = versions["items"].as_array().unwrap().iter().map(|v| v["running"] == true).collect();
    assert_eq!(running, [false, false, true]);

    let event = json!({ "Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": 1, "Image": "C:\\cmd.exe" });
    let why = platform.done(author, "rule.explain", &json!({ "rule": rule, "event": event })).await;
    assert_eq!(why["items"][0]["matched"], false);
    assert_eq!(why["items"][0]["decided_by"][0]["values"], json!(["C:\\cmd.exe"]), "{why:#}");

    platform.done(author, "rule.retire", &json!({ "rule": rule, "reason": "over" })).await;
    platform.done(author, "rule.delete", &one()).await;
    assert_eq!(status("rule.get", one()).await, 404);
}

/// What runs in a tenant, as the data plane is told.
async fn set_of(platform: &Platform, tenant: &str) -> RuleSet {
    platform.control.rule_set(tenant.parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn tenants_share_packs_and_differ() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (chief, own, other) = (&cast.chief.token, cast.own.as_str(), cast.other.as_str());
    let names = |set: &RuleSet| -> Vec<String> { set.rules.iter().map(|rule| rule.name.clone()).collect() };
    let (first, second) = (set_of(&platform, own).await, set_of(&platform, other).await);
    assert_eq!(first.packs[0].digest, second.packs[0].digest, "the shipped pack is shared");
    assert_eq!(first.packs[0].rules.len(), detection::shipped::RULES.len(), "every shipped rule loads");

    let made = platform.done(chief, "pack.create", &json!({ "name": "shared" })).await;
    let file = |id: &str, text: String| json!({ "name": format!("{id}.yml"), "text": text });
    let two = format!("{}---\n{}", rule_text("p1"), rule_text("p2"));
    let odd = rule_text("p3").replace("product: windows", "product: toaster");
    let files = json!([file("both", two), file("odd", odd), file("broken", "title: [".to_owned())]);
    let import = json!({ "pack": made["id"], "files": files });
    let report = platform.done(chief, "rule.import", &import).await;
    assert_eq!((&report["loaded"], &report["rejected"][0]["code"]), (&json!(3), &json!("yaml")), "{report:#}");
    assert_eq!(report["gaps"][0]["sigma_id"], "p3");
    let again = platform.done(chief, "rule.import", &import).await;
    assert_eq!((&again["loaded"], &again["unchanged"]), (&json!(0), &json!(3)));

    platform.done(chief, "pack.assign", &json!({ "tenant": own, "pack": made["id"], "off": ["p2"] })).await;
    let admin = &cast.member("tenant_admin").token;
    let rule = platform.done(admin, "rule.create", &json!({ "text": rule_text("mine") })).await;
    platform.done(admin, "rule.set_state", &json!({ "rule": rule["id"], "state": "shadow" })).await;
    let except = json!({ "tenant": own, "text": EXCEPTION, "reason": "a test", "ttl_secs": 60 });
    let exception = platform.done(admin, "rule_exception.create", &except).await;
    let set = set_of(&platform, own).await;
    assert_eq!(set.packs.len(), 2);
    assert!(set.off.contains("p2"));
    let shadow = set.rules.iter().find(|rule| rule.name == "mine").unwrap();
    assert!(shadow.shadow);
    assert!(names(&set).contains(&exception["id"].as_str().unwrap().to_owned()));
    assert_eq!(set_of(&platform, other).await, second, "nothing reaches the other tenant");

    // The provider's own rule runs everywhere; an exception ends by itself; the shipped pack can be switched off.
    let wide = platform.done(chief, "rule.create", &json!({ "text": rule_text("wide") })).await;
    platform.done(chief, "rule.enable", &json!({ "rule": wide["id"] })).await;
    assert_eq!(set_of(&platform, other).await.packs.len(), 2);
    platform.clock.advance(std::time::Duration::from_secs(61));
    assert!(!names(&set_of(&platform, own).await).contains(&exception["id"].as_str().unwrap().to_owned()));
    let shipped = platform.done(chief, "pack.list", &json!({})).await["items"][0]["id"].clone();
    platform.done(chief, "pack.unassign", &json!({ "tenant": other, "pack": shipped })).await;
    assert_eq!(set_of(&platform, other).await.packs.len(), 1);

    let coverage = platform.done(chief, "rule.coverage", &json!({ "tenant": other })).await;
    assert_eq!((&coverage["rules"], &coverage["techniques"][0]["technique"]), (&json!(1), &json!("T1033")));
}

/// The job, once it is over.
async fn over(platform: &Platform, token: &str, job: &Value) -> Value {
    let look = async || {
        let now = platform.done(token, "job.get", &json!({ "job": job["id"] })).await;
        (now["state"] != "queued" && now["state"] != "running").then_some(now)
    };
    let over = platform.until("the job is over", look).await;
    assert_eq!(over["state"], "done", "{over:#}");
    over["result"].clone()
}

#[tokio::test]
async fn a_rule_is_tried_on_what_is_there_and_hunted_for_when_it_goes_live() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let chief = &cast.chief.token;
    let own = cast.own.as_str();
    let write = json!({ "tenant": own, "text": rule_text("back"), "tests": [rule_test()] });
    let rule = platform.done(chief, "rule.create", &write).await["id"].clone();
    let estimate = platform.done(chief, "rule.estimate", &json!({ "rule": rule })).await;
    assert_eq!(estimate["fits"], true);
    let elsewhere = platform.call(chief, "rule.backtest", &json!({ "rule": rule, "tenant": cast.other })).await;
    assert_eq!((elsewhere.status, elsewhere.pointers()), (422, vec!["/tenant"]), "{}", elsewhere.body);
    let none = platform.call(chief, "rule.backtest", &json!({ "rule": rule, "version": 7 })).await;
    assert_eq!(none.status, 404);
    let step = json!({ "rule": rule, "state": "backtested" });
    assert_eq!(platform.call(chief, "rule.set_state", &step).await.status, 409, "it was not tried");
    let job = platform.done(chief, "rule.backtest", &json!({ "rule": rule })).await;
    assert_eq!((&job["kind"], &job["tenant"]), (&json!("rule.backtest"), &json!(own)));
    let result = over(&platform, chief, &job).await;
    assert_eq!((&result["found"]["complete"], &result["version"]), (&json!(true), &json!(1)), "{result:#}");
    assert_eq!(platform.done(chief, "rule.set_state", &step).await["state"], "backtested");

    let hunts = async || {
        let jobs = platform.done(chief, "job.list", &json!({ "tenant": own })).await;
        let jobs = jobs["items"].as_array().unwrap().clone();
        jobs.into_iter().filter(|job| job["kind"] == "rule.retro_hunt").collect::<Vec<Value>>()
    };
    let hunt = json!({ "rule": rule, "days": 30 });
    assert_eq!(platform.call(chief, "rule.retro_hunt", &hunt).await.status, 409, "no version runs");
    let before = hunts().await.len();
    let live = platform.done(chief, "rule.enable", &json!({ "rule": rule, "retro_hunt_days": 3 })).await;
    assert_eq!(live["retro_hunt_days"], 3);
    let made = hunts().await;
    assert_eq!(made.len(), before + 1);
    let result = over(&platform, chief, &made[0]).await;
    assert_eq!((&result["days"], &result["tenants"][0]["tenant"]), (&json!(3), &json!(own)), "{result:#}");
    platform.done(chief, "rule.enable", &json!({ "rule": rule, "retro_hunt_days": 0 })).await;
    platform.done(chief, "rule.enable", &json!({ "rule": rule })).await;
    assert_eq!(hunts().await.len(), before + 1, "the rule wants none");
    let job = platform.done(chief, "rule.retro_hunt", &hunt).await;
    assert_eq!(over(&platform, chief, &job).await["days"], 30);

    // A tenant may want none, and a rule of the provider is hunted for in each tenant where it runs.
    platform.done(chief, "tenant.update", &json!({ "tenant": own, "retro_hunt_days": 0 })).await;
    let quiet = platform.done(chief, "rule.create", &json!({ "tenant": own, "text": rule_text("quiet") })).await;
    let before = hunts().await.len();
    platform.done(chief, "rule.enable", &json!({ "rule": quiet["id"] })).await;
    assert_eq!(hunts().await.len(), before);
    let wide = platform.done(chief, "rule.create", &json!({ "text": rule_text("wide") })).await;
    platform.done(chief, "rule.enable", &json!({ "rule": wide["id"] })).await;
    let job = platform.done(chief, "rule.retro_hunt", &json!({ "rule": wide["id"], "days": 1 })).await;
    let result = over(&platform, chief, &job).await;
    assert!(result["tenants"].as_array().unwrap().len() >= 2, "{result:#}");
    let named = platform.call(chief, "rule.backtest", &json!({ "rule": wide["id"] })).await;
    assert_eq!(named.status, 409, "{}", named.body);
}

#[tokio::test]
async fn the_verdicts_of_cases_tell_what_a_rule_is_worth() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (chief, own) = (&cast.chief.token, cast.own.as_str());
    for (number, (uid, verdict)) in [
        ("loud", "false_positive"),
        ("loud", "benign"),
        ("loud", "true_positive"),
        ("loud", ""),
        ("good", "true_positive"),
    ]
    .into_iter()
    .enumerate()
    {
        let place = u8::try_from(number).unwrap();
        let at = |secs: i64| ids::Timestamp::from_micros((1_772_359_200 + i64::from(place) + secs) * 1_000_000);
        let detection = case::Detection {
            id: ids::DetectionId::derive(&[uid.as_bytes(), &[place]]),
            tenant: own.parse().unwrap(),
            rule: None,
            rule_uid: uid.to_owned(),
            title: format!("{uid} rule"),
            severity: ids::Severity::Medium,
            techniques: Vec::new(),
            event: None,
            events: Vec::new(),
            time: at(0),
            found_at: at(5),
            entities: vec![format!("host:metrics-{number}").parse().unwrap()],
            matched: Vec::new(),
        };
        let observed = platform.control.observe_findings(vec![detection], None).await.unwrap();
        let case = observed.opened[0];
        if !verdict.is_empty() {
            let cited = json!({ "event": EVENT, "quotes": ["recorder"] });
            let claims = json!([{ "text": "the recorder sent it", "citations": [cited] }]);
            let conclude = json!({ "case": case, "verdict": verdict, "reason": "a test", "claims": claims });
            let done = platform.call(chief, "case.conclude", &conclude).await;
            assert!(done.status < 300, "{}", done.body);
        }
    }
    let told = platform.done(chief, "rule.metrics", &json!({ "tenant": own })).await;
    let of = |uid: &str| told["items"].as_array().unwrap().iter().find(|item| item["sigma_id"] == uid).unwrap().clone();
    let loud = of("loud");
    let counts = ["detections", "cases", "judged", "right", "harmless", "wrong"].map(|key| loud[key].clone());
    assert_eq!(counts, [json!(4), json!(4), json!(3), json!(2), json!(1), json!(1)], "{told:#}");
    assert!((loud["precision"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-9);
    assert!((loud["noise"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-9);
    assert_eq!(of("good")["precision"], 1.0);
    let one = json!({ "tenant": own, "sigma_id": "good", "until": "2026-03-01T10:00:04Z" });
    assert_eq!(platform.done(chief, "rule.metrics", &one).await["items"], json!([]), "its detection is later");
}

#[tokio::test]
async fn an_agent_asks_before_a_rule_takes_effect() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let author = cast.member("detection_author");
    let rule = platform.done(&author.token, "rule.create", &json!({ "text": rule_text("agents") })).await;
    assert_eq!(rule["author"], author.principal.as_str());
    assert!(rule["run"].as_str().unwrap().starts_with("run_"));
    let proposal = platform.pending(&author.token, "rule.enable", &json!({ "rule": rule["id"] })).await;
    let engineer = &cast.chief.token;
    platform.done(engineer, "approval.approve", &json!({ "approval": proposal })).await;
    platform.settled(engineer, &proposal).await;
    let live = platform.done(engineer, "rule.get", &json!({ "rule": rule["id"] })).await;
    assert_eq!((&live["state"], &live["running_version"]), (&json!("live"), &json!(1)));
}

/// Found by importing SigmaHQ: as many files as one call takes did not fit into one commit, which was a failure of ours.
#[tokio::test]
async fn as_many_files_as_one_call_takes_fit_into_one_commit() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let chief = &cast.chief.token;
    let files = |command: &str| -> Vec<Value> {
        let text = |number: u32| {
            format!(
                "title: Rule {number}\nid: 00000000-0000-4000-8000-{number:012}\n\
                 logsource: {{ product: windows, category: process_creation }}\n\
                 detection: {{ selection: {{ CommandLine|contains: '{command}' }}, condition: selection }}\nlevel: low\n"
            )
        };
        (0..150).map(|number| json!({ "name": format!("{number}.yml"), "text": text(number) })).collect()
    };
    for command in ["first", "second"] {
        let report = platform.done(chief, "rule.import", &json!({ "files": files(command) })).await;
        assert_eq!((&report["loaded"], &report["rejected"]), (&json!(150), &json!([])), "{command}");
    }
    let mut more = files("third");
    more.push(more[0].clone());
    assert_eq!(platform.call(chief, "rule.import", &json!({ "files": more })).await.status, 422);
}

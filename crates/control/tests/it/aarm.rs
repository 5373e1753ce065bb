//! AARM 1.0, R1 to R6: each requirement of `spec/aarm/requirements.json` is put to a real gate. What does not hold is said in the
//! data, with what is missing; its check shows how far it goes.

use crate::record::{export, trusted};
use audit::Verdict;
use ids::{Owner, Scope, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::dump::records;
use testkit::{Answer, Cast, Platform, cast};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    id: String,
    requirement: String,
    level: String,
    given: String,
    must: String,
    check: String,
    shown_by: String,
    holds: bool,
    missing: Option<String>,
}

fn requirements() -> Vec<Requirement> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/aarm/requirements.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn what_does_not_hold_says_what_is_missing() {
    let all = requirements();
    let kinds: BTreeSet<&str> = all.iter().map(|one| one.requirement.as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["R1", "R2", "R3", "R4", "R5", "R6"]));
    for one in &all {
        assert!(one.id.starts_with(&one.requirement) && ["must", "should"].contains(&one.level.as_str()), "{}", one.id);
        assert!(!one.given.is_empty() && !one.must.is_empty() && !one.shown_by.is_empty(), "{}", one.id);
        assert_eq!(one.holds, one.missing.is_none(), "{}", one.id);
    }
}

/// Put every check of a requirement to a gate.
async fn put(requirement: &str) {
    let scene = Scene::new().await;
    let checks: BTreeSet<String> =
        requirements().into_iter().filter(|one| one.requirement == requirement).map(|one| one.check).collect();
    for check in checks {
        match check.as_str() {
            "a_deferral_says_how_it_ended" => a_deferral_says_how_it_ended().await,
            "an_altered_entry_is_noticed" => an_altered_entry_is_noticed(&scene).await,
            "an_approved_call_keeps_its_name" => an_approved_call_keeps_its_name(&scene).await,
            "confirmed_is_stepped_up" => confirmed_is_stepped_up(&scene).await,
            "deferred_has_no_effect" => deferred_has_no_effect().await,
            "denied_after_reading" => denied_after_reading().await,
            "denied_has_no_effect" => denied_has_no_effect(&scene).await,
            "each_action_has_its_own_name" => each_action_has_its_own_name(&scene).await,
            "five_decisions" => five_decisions().await,
            "forbidden_whatever_the_context" => forbidden_whatever_the_context(&scene).await,
            "nothing_runs_unjudged" => nothing_runs_unjudged().await,
            "policy_sees_what_came_before" => policy_sees_what_came_before(&scene).await,
            "receipts_name_who_and_under_what" => receipts_name_who_and_under_what(&scene).await,
            "silence_is_a_no" => silence_is_a_no().await,
            other => panic!("there is no check `{other}`"),
        }
    }
}

struct Scene {
    platform: Platform,
    cast: Cast,
    sensor: String,
    own: String,
}

impl Scene {
    async fn new() -> Self {
        let platform = Platform::start().await;
        let cast = Cast::of(&platform).await;
        let (sensor, own) = cast::sensor(&platform, &cast.chief.token, "web-3", &cast.own, &[]).await;
        Self { platform, cast, sensor, own }
    }

    async fn under(policies: &[(&str, &str)]) -> Self {
        let scene = Self::new().await;
        for (name, text) in policies {
            let made = json!({ "name": name, "text": text });
            let made = scene.platform.done(&scene.cast.chief.token, "policy.create", &made).await;
            scene.platform.done(&scene.cast.chief.token, "policy.activate", &json!({ "policy": made["id"] })).await;
        }
        scene
    }

    fn isolate(&self) -> Value {
        json!({ "sensor": self.sensor, "ttl_secs": 600, "reason": "a beacon" })
    }

    async fn call(&self, member: &str, operation: &str, input: &Value) -> Answer {
        self.platform.call(&self.cast.member(member).token, operation, input).await
    }

    async fn tasks(&self) -> usize {
        let told = self.platform.done(&self.own, "sensor.tasks", &json!({ "sensor": self.sensor })).await;
        told["tasks"].as_array().unwrap().len()
    }

    /// The records of a call in the tenant's log.
    async fn records(&self, call: &str) -> Vec<Value> {
        let mut all = records(self.platform.control.store(), Owner::Tenant(self.cast.own.parse().unwrap())).await;
        all.retain(|one| one["call"] == call);
        all
    }

    async fn receipt(&self, answer: &Answer) -> Value {
        let all = self.records(answer.recorded().unwrap()).await;
        assert!(!all.is_empty(), "no record of {}", answer.body);
        all[0].clone()
    }

    fn comment(&self) -> Value {
        json!({ "case": self.cast.things[&testkit::Place::Own]["case"], "text": "seen" })
    }
}

fn verdict_first() -> (&'static str, String) {
    let shipped = policy::shipped::optional_documents();
    let found = shipped.into_iter().find(|one| one.name == "case-verdict-first").unwrap();
    ("verdict-first", found.text)
}

async fn denied_has_no_effect(scene: &Scene) {
    let answer = scene.call("investigator", "action.isolate_host", &scene.isolate()).await;
    // Who may not even know of the host is told that there is none.
    assert!(matches!(answer.status, 403 | 404), "{}", answer.body);
    assert_eq!(scene.tasks().await, 0);
    let receipt = scene.receipt(&answer).await;
    let outcome = (&receipt["decision"]["outcome"], &receipt["outcome"]["status"]);
    assert_eq!(outcome, (&json!("deny"), &json!(answer.status)));
}

async fn deferred_has_no_effect() {
    let (name, text) = verdict_first();
    let scene = Scene::under(&[(name, &text)]).await;
    let answer = scene.call("responder_with_approval", "action.isolate_host", &scene.isolate()).await;
    assert_eq!((answer.status, &answer.body["status"]), (202, &json!("deferred")), "{}", answer.body);
    assert_eq!(scene.tasks().await, 0);
    assert_eq!(scene.receipt(&answer).await["decision"]["outcome"], "defer");
}

async fn nothing_runs_unjudged() {
    let scene = Scene::new().await;
    scene.platform.control.store().close().await;
    let answer = scene.call("responder", "action.isolate_host", &scene.isolate()).await;
    assert!(answer.status >= 500, "{}", answer.body);
    // A task for the sensor is a commit, and so is its record: where neither can be made, nothing was told to the host.
    let told = scene.platform.call(&scene.own, "sensor.tasks", &json!({ "sensor": scene.sensor })).await;
    assert!(told.status >= 500, "{}", told.body);
}

async fn policy_sees_what_came_before(scene: &Scene) {
    for _ in 0..2 {
        let answer = scene.call("investigator", "case.add_comment", &scene.comment()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let case = json!({ "case": scene.comment()["case"] });
    assert_eq!(scene.call("investigator", "case.get", &case).await.status, 200);
    let last = scene.call("investigator", "case.add_comment", &scene.comment()).await;
    let snapshot = scene.platform.control.store().snapshot(Scope::Provider);
    let until = Timestamp::from_micros(i64::MAX / 2);
    let (inputs, _) = snapshot.decision_inputs(Timestamp::from_micros(0), until, None, 4096).await.unwrap();
    let call = last.recorded().unwrap();
    let seen = inputs.iter().find(|one| one.call.to_string() == call).unwrap();
    let seen: policy::Request = serde_json::from_slice(&seen.body).unwrap();
    assert!(seen.context.recent_count >= 2, "{seen:?}");
    assert!(seen.context.tainted, "{seen:?}");
}

async fn an_altered_entry_is_noticed(scene: &Scene) {
    let all = export(&scene.platform, &scene.cast.chief.token, &json!({})).await;
    assert_eq!(audit::verify(&all, &trusted(&scene.platform)).verdict, Verdict::Valid);
    let entries = all.iter().find(|(_, bytes)| String::from_utf8_lossy(bytes).contains("\"principal\""));
    let (path, bytes) = entries.unwrap();
    let at = String::from_utf8_lossy(bytes).find("\"principal\"").unwrap();
    let mut changed = all.clone();
    let mut forged = bytes.clone();
    forged[at + 15] ^= 1;
    changed.insert(path.clone(), forged);
    assert_eq!(audit::verify(&changed, &trusted(&scene.platform)).verdict, Verdict::Invalid, "{path}");
}

async fn forbidden_whatever_the_context(scene: &Scene) {
    let victim = &scene.cast.things[&testkit::Place::Own]["user"];
    let named = json!({ "user": victim, "display_name": "x" });
    for agent in ["investigator", "detection_author", "responder_with_approval"] {
        let answer = scene.call(agent, "user.update", &named).await;
        // Not even as a proposal; who may not know of the user is told that there is none.
        assert!(matches!(answer.status, 403 | 404), "{}", answer.body);
    }
}

async fn denied_after_reading() {
    let text = "@id(\"quiet-after-reading\")\nforbid(principal is Posse::Agent, action == Posse::Action::\"case.add_comment\", resource) when { context.tainted };";
    let scene = Scene::under(&[("quiet", text)]).await;
    assert_eq!(scene.call("investigator", "case.add_comment", &scene.comment()).await.status, 200);
    let case = json!({ "case": scene.comment()["case"] });
    assert_eq!(scene.call("investigator", "case.get", &case).await.status, 200);
    let answer = scene.call("investigator", "case.add_comment", &scene.comment()).await;
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert_eq!(scene.receipt(&answer).await["decision"]["policies"], json!(["quiet/quiet-after-reading"]));
}

async fn confirmed_is_stepped_up(scene: &Scene) {
    let plain = scene.call("investigator", "action.isolate_host", &scene.isolate()).await;
    assert!(matches!(plain.status, 403 | 404), "{}", plain.body);
    let answer = scene.call("responder_with_approval", "action.isolate_host", &scene.isolate()).await;
    assert_eq!((answer.status, &answer.body["status"]), (202, &json!("pending_approval")), "{}", answer.body);
}

async fn five_decisions() {
    let (name, text) = verdict_first();
    let few = "@id(\"few\")\n@max_rows(\"1\")\npermit(principal in Posse::Role::\"viewer\", action == Posse::Action::\"case.list\", resource);";
    let scene = Scene::under(&[(name, &text), ("few", few)]).await;
    let list = json!({ "tenant": scene.cast.own });
    let release = json!({ "kill_switch": scene.cast.things[&testkit::Place::Own]["kill_switch"], "reason": "r" });
    for (member, operation, input, status, outcome) in [
        ("investigator", "case.add_comment", scene.comment(), 200, "allow"),
        ("viewer", "case.add_comment", scene.comment(), 403, "deny"),
        ("viewer", "case.list", list, 200, "modify"),
        ("key-tenant-admin", "kill_switch.release", release, 202, "step_up"),
        ("responder_with_approval", "action.isolate_host", scene.isolate(), 202, "defer"),
    ] {
        let answer = scene.call(member, operation, &input).await;
        assert_eq!(answer.status, status, "{operation} as {member}: {}", answer.body);
        assert_eq!(scene.receipt(&answer).await["decision"]["outcome"], outcome, "{operation} as {member}");
        if outcome == "modify" {
            assert_eq!(answer.body["items"].as_array().unwrap().len(), 1);
            assert_eq!(answer.body["obligations"], json!({ "max_rows": 1 }));
        }
    }
    assert_eq!(scene.tasks().await, 0);
}

async fn silence_is_a_no() {
    let (name, text) = verdict_first();
    let deferring = Scene::under(&[(name, &text)]).await;
    let stepping = Scene::new().await;
    for scene in [deferring, stepping] {
        let answer = scene.call("responder_with_approval", "action.isolate_host", &scene.isolate()).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        let approval = answer.body["approval"].as_str().unwrap();
        scene.platform.clock.advance(Duration::from_secs(3601));
        assert_eq!(scene.platform.settled(&scene.cast.chief.token, approval).await["state"], "expired");
        assert_eq!(scene.tasks().await, 0);
    }
}

async fn receipts_name_who_and_under_what(scene: &Scene) {
    let version = &scene.platform.done(&scene.cast.chief.token, "policy.prove", &json!({})).await["policy_version"];
    for (member, operation, input) in [
        ("investigator", "case.add_comment", scene.comment()),
        ("investigator", "action.isolate_host", scene.isolate()),
        ("responder_with_approval", "action.isolate_host", scene.isolate()),
    ] {
        let answer = scene.call(member, operation, &input).await;
        let receipt = scene.receipt(&answer).await;
        assert_eq!(receipt["principal"], scene.cast.member(member).principal.as_str());
        assert_eq!(receipt["on_behalf_of"], json!([scene.cast.member("tenant_admin").principal]), "the chain");
        assert_eq!(&receipt["decision"]["policy_version"], version);
    }
}

async fn a_deferral_says_how_it_ended() {
    let (name, text) = verdict_first();
    let scene = Scene::under(&[(name, &text)]).await;
    let answer = scene.call("responder_with_approval", "action.isolate_host", &scene.isolate()).await;
    let receipt = scene.receipt(&answer).await;
    assert_eq!((&receipt["decision"]["outcome"], &receipt["outcome"]["status"]), (&json!("defer"), &json!(202)));
    let approval = answer.body["approval"].as_str().unwrap();
    scene
        .platform
        .done(
            &scene.cast.member("responder").token,
            "approval.deny",
            &json!({ "approval": approval, "comment": "not ours" }),
        )
        .await;
    let ended = scene.platform.settled(&scene.cast.chief.token, approval).await;
    assert_eq!((&ended["state"], &ended["missing"]), (&json!("denied"), &json!(["case_verdict"])), "{ended:#}");
    let log = records(scene.platform.control.store(), Owner::Tenant(scene.cast.own.parse().unwrap())).await;
    let resolved = log.iter().find(|one| one["operation"] == "approval.deny" && one["target"]["id"] == approval);
    let resolved = resolved.unwrap();
    assert!(resolved["time"].is_string() || resolved["time"].is_number(), "and when: {resolved}");
    assert_eq!(resolved["principal"], scene.cast.member("responder").principal.as_str());
}

async fn each_action_has_its_own_name(scene: &Scene) {
    let mut runs = BTreeSet::new();
    for (member, status) in [("investigator", 200), ("responder_with_approval", 200), ("analyst", 200), ("viewer", 403)]
    {
        let answer = scene.call(member, "case.add_comment", &scene.comment()).await;
        assert_eq!(answer.status, status, "{member}: {}", answer.body);
        let receipt = scene.receipt(&answer).await;
        assert_eq!(receipt["principal"], scene.cast.member(member).principal.as_str());
        assert_eq!(receipt["tenant"], scene.cast.own.as_str(), "the scope");
        runs.extend(receipt["run"].as_str().map(str::to_owned));
        if status == 200 {
            let deciding = receipt["decision"]["policies"].to_string();
            let role = member.replace('_', "-");
            assert!(deciding.contains(&role), "the role that gave the right: {deciding}");
        }
    }
    assert_eq!(runs.len(), 2, "two agents, two sessions");
}

async fn an_approved_call_keeps_its_name(scene: &Scene) {
    let agent = scene.cast.member("responder_with_approval");
    let approval = scene.platform.pending(&agent.token, "action.isolate_host", &scene.isolate()).await;
    let responder = &scene.cast.member("responder").token;
    scene.platform.done(responder, "approval.approve", &json!({ "approval": approval })).await;
    let ended = scene.platform.settled(responder, &approval).await;
    assert_eq!(ended["state"], "executed", "{ended:#}");
    assert_eq!(scene.tasks().await, 1);
    let log = records(scene.platform.control.store(), Owner::Tenant(scene.cast.own.parse().unwrap())).await;
    let of = |one: &&Value| one["approvals"][0]["approval"] == approval.as_str() && one["phase"] == "intent";
    let ran: Vec<&Value> = log.iter().filter(of).collect();
    assert!(!ran.is_empty(), "what ran is on the record with its approval");
    for one in ran {
        assert_eq!(
            (&one["operation"], &one["principal"]),
            (&json!("action.isolate_host"), &json!(agent.principal)),
            "{one}"
        );
    }
}

#[tokio::test]
async fn r1_interception() {
    put("R1").await;
}

#[tokio::test]
async fn r2_context() {
    put("R2").await;
}

#[tokio::test]
async fn r3_policy_and_intent() {
    put("R3").await;
}

#[tokio::test]
async fn r4_five_decisions() {
    put("R4").await;
}

#[tokio::test]
async fn r5_receipts() {
    put("R5").await;
}

#[tokio::test]
async fn r6_identity() {
    put("R6").await;
}

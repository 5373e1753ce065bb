//! What happens between two steps: crashes, cancellations, things of the same microsecond, and attempts in number.

use crate::people::{admin_of, policy_draft};
use control::{Rate, Registry, Settings};
use ids::{Owner, Scope};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::cast::{self, PASSWORD};
use testkit::dump::records;
use testkit::{Answer, Cast, Dump, Place, Platform, Request};

const ASK: &str = "forbid(principal is Posse::Service, action == Posse::Action::\"role.create\", resource) when { context.approvals.people < 1 };";

/// A role that a program asks for and a person approves; nothing runs it while the platform is idle.
async fn approved(platform: &Platform, admin: &str, name: &str) -> (String, cast::Member) {
    let policy = json!({ "name": "ask", "text": format!("@id(\"ask\")\n{ASK}") });
    let policy = platform.done(admin, "policy.create", &policy).await;
    platform.done(admin, "policy.activate", &json!({ "policy": policy["id"] })).await;
    let judge = cast::person(platform, admin, "judge", None, &["provider_admin"]).await;
    let robot = cast::program(platform, admin, "robot", None, &["provider_admin"]).await;
    let made = json!({ "name": name, "operations": ["tenant.get"] });
    let approval = platform.pending(&robot.token, "role.create", &made).await;
    let voted = platform.done(&judge.token, "approval.approve", &json!({ "approval": approval })).await;
    assert_eq!(voted["state"], "approved", "{voted}");
    (approval, judge)
}

async fn roles_named(platform: &Platform, token: &str, name: &str) -> usize {
    let roles = platform.done(token, "role.list", &json!({})).await;
    roles["items"].as_array().unwrap().iter().filter(|role| role["name"] == name).count()
}

async fn execution_job(platform: &Platform, token: &str) -> Value {
    let jobs = platform.done(token, "job.list", &json!({})).await;
    let job = jobs["items"].as_array().unwrap().iter().find(|one| one["kind"] == "approval.execute").cloned();
    job.unwrap_or_else(|| panic!("no execution in {jobs}"))
}

#[tokio::test]
async fn regression_cancelling_an_execution_ends_its_approval() {
    let mut platform = Platform::start_idle(Registry::platform()).await;
    let admin = platform.bootstrap.clone();
    let (approval, judge) = approved(&platform, &admin, "never").await;
    let job = execution_job(&platform, &admin).await;
    platform.done(&judge.token, "job.cancel", &json!({ "job": job["id"] })).await;
    let ended = platform.done(&admin, "approval.get", &json!({ "approval": approval })).await;
    assert_eq!(ended["state"], "cancelled", "{ended}");
    assert!(ended["problem"].as_str().unwrap().contains(&judge.principal), "{ended}");
    platform.wake();
    assert_eq!(platform.settled(&admin, &approval).await["state"], "cancelled");
    assert_eq!(roles_named(&platform, &admin, "never").await, 0);
}

#[tokio::test]
async fn a_crash_between_claim_and_commit_runs_the_call_once() {
    let mut platform = Platform::start_idle(Registry::platform()).await;
    let admin = platform.bootstrap.clone();
    let (approval, _) = approved(&platform, &admin, "once").await;
    // A worker takes the job and dies.
    let store = platform.control.store().clone();
    let lease = Duration::from_secs(30);
    let claimed = store.jobs().claim("dead-worker", "approval.execute", 8, lease).await.unwrap();
    assert_eq!(claimed.len(), 1);
    platform.wake();
    let state = platform.done(&admin, "approval.get", &json!({ "approval": approval })).await["state"].clone();
    assert_eq!(state, "approved", "nobody else runs it while the lease holds");
    platform.clock.advance(Duration::from_secs(31));
    let ended = async || {
        // A worker that died counts as a failed attempt: the next one waits a little.
        platform.clock.advance(Duration::from_secs(5));
        let now = platform.done(&admin, "approval.get", &json!({ "approval": approval })).await["state"].clone();
        (now != "approved").then_some(now)
    };
    assert_eq!(platform.until("the call has run", ended).await, "executed");
    assert_eq!(roles_named(&platform, &admin, "once").await, 1);
    // The dead worker wakes up late: what it holds is worth nothing.
    let mut changes = store::Changes::new();
    changes.finish_job(&claimed[0], None);
    let leaves = store.snapshot(Scope::Provider).leaves(Owner::Provider, 0, 1).await.unwrap();
    let call = ids::CallId::derive(&[b"late"]);
    let entry = store::AuditEntry { tree: Owner::Provider, call, part: 0, leaf: leaves[0].leaf.clone(), payload: None };
    let now = ids::Clock::now(platform.clock.as_ref());
    let late = store.commit(store::Commit::new(now, entry).changes(changes)).await;
    assert!(matches!(late, Err(store::CommitError::LeaseLost { .. })), "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_cancel_approve_and_expiry_one_wins() {
    let platform = Platform::start().await;
    let admin = platform.bootstrap.clone();
    let (_, judge) = approved(&platform, &admin, "first").await;
    let robot = cast::program(&platform, &admin, "other-robot", None, &["provider_admin"]).await;
    for round in 0..6 {
        let name = format!("raced-{round}");
        let made = json!({ "name": name, "operations": ["tenant.get"] });
        let approval = platform.pending(&robot.token, "role.create", &made).await;
        let asked = json!({ "approval": approval });
        if round % 2 == 0 {
            platform.clock.advance(Duration::from_millis(3_599_990));
            platform.clock.advance(Duration::from_millis(10));
        }
        let (cancelled, voted) = tokio::join!(
            platform.call(&robot.token, "approval.cancel", &asked),
            platform.call(&judge.token, "approval.approve", &asked)
        );
        let ended = platform.settled(&admin, &approval).await;
        let ran = roles_named(&platform, &admin, &name).await;
        match ended["state"].as_str().unwrap() {
            "executed" => assert_eq!((cancelled.status, voted.status, ran), (409, 200, 1), "{ended}"),
            "cancelled" => assert_eq!((cancelled.status, voted.status, ran), (200, 409, 0), "{ended}"),
            "expired" => assert_eq!((voted.status, ran), (409, 0), "{ended}"),
            other => panic!("{other}: {ended}"),
        }
    }
}

#[tokio::test]
async fn regression_a_session_of_the_same_microsecond_dies() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let chief = &cast.chief.token;
    platform.clock.stand(true);
    for (name, operation, input) in [
        ("analyst", "user.reset_password", json!({ "password": "another long password" })),
        ("responder", "user.deactivate", json!({})),
    ] {
        let member = cast.member(name);
        let token = cast::login(&platform, &format!("{name}@example.com")).await;
        platform.done(&token, "me.get", &json!({})).await;
        let mut input = input;
        input["user"] = member.principal.as_str().into();
        platform.done(chief, operation, &input).await;
        let late = platform.call(&token, "me.get", &json!({})).await;
        assert_eq!(late.status, 401, "{operation}: {}", late.body);
    }
}

#[tokio::test]
async fn a_call_without_evidence_waits_and_never_runs_on_approvals_alone() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let text = "@defer(\"case_verdict\")\nforbid(principal is Posse::Service, action == Posse::Action::\"role.create\", resource) unless { context.evidence.case_verdict };";
    let policy = policy_draft(&platform, &cast, "verdict-first", text).await;
    platform.done(&cast.chief.token, "policy.activate", &json!({ "policy": policy })).await;
    let key = cast.member("key-tenant-admin");
    let made = json!({ "tenant": cast.own, "name": "deferred", "operations": ["tenant.get"] });
    let answer = platform.call(&key.token, "role.create", &made).await;
    assert_eq!((answer.status, &answer.body["status"]), (202, &json!("deferred")), "{}", answer.body);
    assert_eq!(answer.body["missing"], json!(["case_verdict"]));
    let approval = answer.body["approval"].as_str().unwrap().to_owned();
    let seen = platform.done(&cast.chief.token, "approval.get", &json!({ "approval": approval })).await;
    assert_eq!((&seen["state"], &seen["missing"]), (&json!("deferred"), &json!(["case_verdict"])), "{seen}");
    let before = Dump::of(platform.control.store()).await;
    platform.call(&cast.chief.token, "approval.approve", &json!({ "approval": approval })).await;
    let changed = before.changed(&Dump::of(platform.control.store()).await);
    assert!(changed.iter().all(|(kind, ..)| kind == "approval"), "{changed:#?}");
    platform.clock.advance(Duration::from_secs(3601));
    assert_eq!(platform.settled(&cast.chief.token, &approval).await["state"], "expired");
    let records = records(platform.control.store(), Owner::Tenant(cast.own.parse().unwrap())).await;
    assert!(records.iter().any(|one| one["operation"] == "role.create" && one["decision"]["outcome"] == "defer"));
}

/// Aggregate records of a log, as (principal, operation, status, count).
async fn aggregates(platform: &Platform) -> Vec<(String, String, u64, u64)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let records = records(platform.control.store(), Owner::Provider).await;
    let counted = records.iter().filter(|one| one["aggregate"].is_object()).map(|one| {
        let count = one["aggregate"]["count"].as_u64().unwrap();
        (text(&one["principal"]), text(&one["operation"]), one["outcome"]["status"].as_u64().unwrap(), count)
    });
    counted.collect()
}

async fn counted(platform: &Platform, operation: &str, status: u64) -> (String, u64) {
    platform.clock.advance(Duration::from_secs(11));
    platform
        .until("the count is recorded", async || {
            let all = aggregates(platform).await;
            let fitting: Vec<_> = all.iter().filter(|one| one.1 == operation && one.2 == status).collect();
            let principal = fitting.first()?.0.clone();
            Some((principal, fitting.iter().map(|one| one.3).sum()))
        })
        .await
}

#[tokio::test]
async fn over_its_rate_a_principal_waits_and_is_counted() {
    let rate = Rate { per_second: 5, burst: 30 };
    let platform = Platform::start_with(Settings { rate, ..testkit::settings() }).await;
    let mut refused = 0;
    for _ in 0..60 {
        let answer = platform.call(&platform.bootstrap, "me.get", &json!({})).await;
        if answer.status == 429 {
            assert_eq!((answer.problem(), answer.header("retry-after")), ("too-many-requests", Some("1")));
            refused += 1;
        } else {
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
    }
    assert!((20..=30).contains(&refused), "{refused}");
    let (principal, count) = counted(&platform, "me.get", 429).await;
    assert!(principal.starts_with("user_"), "{principal}");
    assert_eq!(count, refused);
    platform.done(&platform.bootstrap, "me.get", &json!({})).await;
}

#[tokio::test]
async fn guessing_passwords_is_slow_and_tells_nothing() {
    let platform = Platform::start().await;
    let admin = platform.bootstrap.clone();
    let dana = cast::person(&platform, &admin, "dana", None, &[]).await;
    let attempt = async |email: &str, password: &str| -> Answer {
        let asked = json!({ "email": email, "password": password });
        platform.send(Request::of(platform.spec("me.login"), &asked)).await
    };
    let mut seen = Vec::new();
    for email in ["dana@example.com", "nobody@example.com"] {
        let mut statuses = Vec::new();
        for _ in 0..14 {
            let answer = attempt(email, "not the password").await;
            let mut body = answer.body.clone();
            body["request_id"] = Value::Null;
            if answer.status == 429 {
                assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
            }
            statuses.push((answer.status, body));
        }
        assert_eq!(statuses.iter().filter(|one| one.0 == 401).count(), 10, "{email}");
        assert_eq!(statuses.iter().filter(|one| one.0 == 429).count(), 4, "{email}");
        seen.push(statuses);
    }
    assert_eq!(seen[0], seen[1], "a name that exists is answered like one that does not");
    assert_eq!(attempt("DANA@example.com", PASSWORD).await.status, 429, "the same name in other letters");
    platform.done(&dana.token, "me.get", &json!({})).await;
    let (_, count) = counted(&platform, "me.login", 429).await;
    assert!(count >= 8, "{count}");
    platform.clock.advance(Duration::from_secs(60));
    assert_eq!(attempt("dana@example.com", PASSWORD).await.status, 200);
    // Of one address there is a bound over all names.
    let mut refused = 0;
    for name in 0..80 {
        refused += u32::from(attempt(&format!("someone-{name}@example.com"), "guess").await.status == 429);
    }
    assert!((15..=25).contains(&refused), "{refused}");
}

#[tokio::test]
async fn every_attempt_is_on_the_record() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let admin = admin_of(&cast);
    let store = platform.control.store();
    let owner = Owner::Tenant(cast.own.parse().unwrap());
    let spec = platform.spec("role.create");
    let made = json!({ "name": "again", "operations": ["tenant.get"] });
    let keyed = Request::of(spec, &made).bearer(&admin.token).key("k");
    let first = platform.send(keyed.clone()).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let raw = |method: &str, target: &str, body: &str| {
        let mut request = Request::of(spec, &made).bearer(&admin.token);
        request.method = method.to_owned();
        request.target = target.to_owned();
        request.body = Some(body.as_bytes().to_vec());
        request
    };
    let unknown = json!({ "operation": "tenant.explode", "input": {} });
    let unknown = Request::of(platform.spec("operation.call"), &unknown).bearer(&admin.token);
    for (what, request, status, operation) in [
        ("a replay", keyed, 200, "role.create"),
        ("bad JSON", raw("POST", "/v1/roles", "{"), 400, "role.create"),
        ("a doubled key", raw("POST", "/v1/roles", "{\"name\":\"a\",\"name\":\"b\"}"), 400, "role.create"),
        ("another method", raw("PUT", "/v1/roles", "{}"), 405, "role.create"),
        ("an unknown field", raw("POST", "/v1/roles", "{\"nme\":\"a\"}"), 422, "role.create"),
        ("an unknown operation", unknown, 404, "operation.call"),
    ] {
        let before = records(store, owner).await.len();
        let answer = platform.send(request).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        let log = records(store, owner).await;
        let fresh: Vec<&Value> =
            log[before..].iter().filter(|one| one["principal"] == admin.principal.as_str()).collect();
        assert_eq!(fresh.len(), 1, "{what}: {fresh:#?}");
        assert_eq!(
            (&fresh[0]["outcome"]["status"], &fresh[0]["operation"]),
            (&json!(status), &json!(operation)),
            "{what}"
        );
        if what == "a replay" {
            let told = fresh[0]["outcome"]["error"].as_str().unwrap();
            assert!(told.contains(first.recorded().unwrap()), "{told}");
        }
    }
    // Of nobody: counted, not one by one.
    let before = records(store, Owner::Provider).await.len();
    for _ in 0..50 {
        let mut request = raw("POST", "/v1/roles", "{");
        request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
        assert_eq!(platform.send(request).await.status, 400);
    }
    let (principal, count) = counted(&platform, "role.create", 400).await;
    assert_eq!((principal.as_str(), count), ("system_gate", 50));
    assert!(records(store, Owner::Provider).await.len() < before + 10);
}

#[tokio::test]
async fn many_tenants_are_signed_in_one_round() {
    let platform = Platform::start_idle(Registry::platform()).await;
    let admin = platform.bootstrap.clone();
    for number in 0..300 {
        let tenant = platform.done(&admin, "tenant.create", &json!({ "name": format!("tenant-{number}") })).await;
        platform.done(&admin, "tenant.get", &json!({ "tenant": tenant["id"] })).await;
    }
    platform.done(&admin, "audit.checkpoint", &json!({})).await;
    let records = records(platform.control.store(), Owner::Provider).await;
    let heads = records.iter().filter(|one| one["root"].is_string()).count();
    assert_eq!(heads, 300, "each tenant's head stands in the provider's tree");
    let all = platform.done(&admin, "tenant.list", &json!({ "limit": 1000 })).await;
    for tenant in all["items"].as_array().unwrap().iter().step_by(50) {
        let key = platform.done(&admin, "audit.list", &json!({ "tenant": tenant["id"] })).await;
        assert!(!key["items"].as_array().unwrap().is_empty());
    }
    let _ = Place::ALL;
}

#[tokio::test]
async fn regression_a_deleted_tenant_leaves_nothing_but_its_log() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let chief = &cast.chief.token;
    let tenant = json!({ "tenant": cast.other });
    let user = cast.things[&Place::Other]["user"].clone();
    platform.done(chief, "tenant.suspend", &json!({ "tenant": cast.other, "reason": "the customer left" })).await;
    let held = platform.call(chief, "tenant.delete", &tenant).await;
    assert_eq!(held.status, 409, "somebody could still act: {}", held.body);
    for (list, end, field) in [
        ("user.list", "user.deactivate", "user"),
        ("service_key.list", "service_key.revoke", "service_key"),
        ("agent.list", "agent.retire", "agent"),
    ] {
        for one in platform.done(chief, list, &tenant).await["items"].as_array().unwrap() {
            platform.done(chief, end, &json!({ (field): one["id"] })).await;
        }
    }
    platform.done(chief, "tenant.delete", &tenant).await;
    let own = |dump: &Dump| {
        let kinds = [
            "action",
            "agent",
            "agent_definition",
            "approval",
            "assignment",
            "credential",
            "kill_switch",
            "role",
            "run",
            "sealed_secret",
            "sensor",
            "service_key",
            "skill",
            "tenant",
            "user",
        ];
        let of = |kind| dump.kind(kind).filter(|(_, one)| one["value"]["tenant"] == cast.other.as_str()).count();
        kinds.into_iter().map(of).sum::<usize>()
    };
    let gone = async || (own(&Dump::of(platform.control.store()).await) == 0).then_some(());
    platform.until("everything of the tenant is gone", gone).await;
    for (operation, input) in [
        ("tenant.get", tenant.clone()),
        ("user.get", json!({ "user": user })),
        ("user.list", tenant.clone()),
        ("approval.list", tenant.clone()),
    ] {
        let answer = platform.call(chief, operation, &input).await;
        assert_eq!(answer.status, 404, "{operation}: {}", answer.body);
    }
    let log = platform.done(chief, "audit.list", &tenant).await;
    assert!(!log["items"].as_array().unwrap().is_empty(), "the log stays");
    let outsider = platform.call(&admin_of(&cast).token, "audit.list", &tenant).await;
    assert_eq!(outsider.status, 404, "and stays theirs: {}", outsider.body);
}

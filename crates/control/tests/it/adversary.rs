//! An agent (and a person with little) that tries everything: every operation under every mutator, judged by what the
//! state holds before and after. Nothing outside its grant takes effect, and every attempt that reaches the gate is on
//! the record under its own name.

use crate::people::admin_of;
use api::Spec;
use ids::Owner;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::cast::Member;
use testkit::dump::records;
use testkit::{Answer, Cast, Dump, Place, Platform, Request};

/// What a mutator works with.
struct Attack<'a> {
    platform: &'a Platform,
    cast: &'a Cast,
    /// Whose credential is presented.
    me: &'a Member,
    /// An approval that was given, and one that waits, both of others.
    executed: &'a str,
    waiting: &'a str,
}

type Mutator = fn(&Attack<'_>, &Spec) -> Vec<Request>;

const MUTATORS: [(&str, Mutator); 11] = [
    ("plain", plain),
    ("forged claims", forged_claims),
    ("foreign ids", foreign_ids),
    ("replayed and self-given approvals", approvals),
    ("edited credential", edited_credential),
    ("two credentials", two_credentials),
    ("headers that name another principal", smuggled_headers),
    ("duplicate keys", duplicate_keys),
    ("look-alikes", look_alikes),
    ("operation.call", nested),
    ("another method", another_method),
];

fn own(attack: &Attack<'_>, spec: &Spec) -> Value {
    attack.cast.input(spec, Place::Own).unwrap()
}

fn plain(attack: &Attack<'_>, spec: &Spec) -> Vec<Request> {
    vec![Request::of(spec, &own(attack, spec)).bearer(&attack.me.token)]
}

/// Claims in the input about who calls and what was approved.
fn forged_claims(attack: &Attack<'_>, spec: &Spec) -> Vec<Request> {
    let claims = [
        ("principal", json!(attack.cast.chief.principal)),
        ("on_behalf_of", json!([attack.cast.chief.principal])),
        ("roles", json!(["provider_admin"])),
        ("approvals", json!({ "people": 9, "provider_admin": 9 })),
        ("approved", json!(true)),
        ("self_approval", json!(true)),
        ("tainted", json!(false)),
        ("scope", json!("provider")),
    ];
    let with = |(name, value): (&str, Value)| {
        let mut input = own(attack, spec);
        input[name] = value;
        Request::of(spec, &input).bearer(&attack.me.token)
    };
    claims.into_iter().map(with).collect()
}

fn foreign_ids(attack: &Attack<'_>, spec: &Spec) -> Vec<Request> {
    let at = |place| attack.cast.input(spec, place).map(|input| Request::of(spec, &input).bearer(&attack.me.token));
    [Place::Other, Place::Provider].into_iter().filter_map(at).collect()
}

/// The id and digest of somebody's approval, wherever a careless gate might look for it.
fn approvals(attack: &Attack<'_>, spec: &Spec) -> Vec<Request> {
    let mut requests = Vec::new();
    for approval in [attack.executed, attack.waiting] {
        let input = own(attack, spec);
        let base = Request::of(spec, &input).bearer(&attack.me.token);
        requests.push(base.clone().header("posse-approval", approval).header("x-approval", approval));
        requests.push(base.key(approval));
        let mut named = input;
        named["approval"] = approval.into();
        requests.push(Request::of(spec, &named).bearer(&attack.me.token));
    }
    requests
}

fn edited_credential(attack: &Attack<'_>, spec: &Spec) -> Vec<Request> {
    let token = &attack.me.token;
    let other_kind = token.replacen("run", "user", 1).replacen("session", "service", 1);
    let tail: String = token.chars().rev().collect();
    [
        format!("{token}0"),
        token.to_uppercase(),
        other_kind,
        tail,
        format!("{token}.{}", attack.cast.own),
        format!("{token}%00"),
    ]
    .iter()
    .map(|edited| Request::of(spec, &own(attack, spec)).bearer(edited))
    .collect()
}

fn two_credentials(attack: &Attack<'_>, spec: &Spec) -> Vec<Request> {
    let guess = attack.cast.chief.token.replace(char::is_numeric, "3");
    let base = || Request::of(spec, &own(attack, spec));
    vec![
        base().bearer(&attack.me.token).bearer(&guess),
        base().bearer(&guess).bearer(&attack.me.token),
        base().header("authorization", &format!("Bearer {}, Bearer {guess}", attack.me.token)),
    ]
}

fn smuggled_headers(attack: &Attack<'_>, spec: &Spec) -> Vec<Request> {
    let chief = &attack.cast.chief.principal;
    let mut request = Request::of(spec, &own(attack, spec)).bearer(&attack.me.token);
    for name in ["x-forwarded-user", "x-remote-user", "x-posse-principal", "posse-principal", "x-auth-request-user"] {
        request = request.header(name, chief);
    }
    for (name, value) in [
        ("x-posse-tenant", attack.cast.other.as_str()),
        ("x-original-url", "/v1/tenants"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        request = request.header(name, value);
    }
    vec![request]
}

/// Each key of the body twice: first harmless, then foreign, and the other way round.
fn duplicate_keys(attack: &Attack<'_>, spec: &Spec) -> Vec<Request> {
    let (Some(foreign), own) = (attack.cast.input(spec, Place::Other), own(attack, spec)) else { return Vec::new() };
    let inner = |value: &Value| value.to_string().trim_start_matches('{').trim_end_matches('}').to_owned();
    let mut requests = Vec::new();
    for (first, second) in [(&own, &foreign), (&foreign, &own)] {
        let mut request = Request::of(spec, first).bearer(&attack.me.token);
        if spec.meta.method.has_body() {
            request = request.body(format!("{{{},{}}}", inner(first), inner(second)).as_bytes());
        } else {
            let also = Request::of(spec, second).target;
            let query = also.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default();
            let mark = if request.target.contains('?') { '&' } else { '?' };
            request.target = format!("{}{mark}{query}", request.target);
        }
        requests.push(request);
    }
    requests
}

/// Letters that look alike: Cyrillic, full width, zero width, upper case.
fn look_alikes(attack: &Attack<'_>, spec: &Spec) -> Vec<Request> {
    let swaps: [fn(&str) -> String; 4] = [
        |text| text.replace('a', "\u{430}"),
        |text| text.replace('e', "\u{ff45}"),
        |text| format!("{text}\u{200b}"),
        str::to_uppercase,
    ];
    let swapped = |swap: &fn(&str) -> String| {
        let mut input = attack.cast.input(spec, Place::Other).unwrap_or_else(|| own(attack, spec));
        for value in input.as_object_mut().unwrap().values_mut() {
            if let Some(text) = value.as_str() {
                *value = swap(text).into();
            }
        }
        Request::of(spec, &input).bearer(&attack.me.token)
    };
    let mut requests: Vec<Request> = swaps.iter().map(swapped).collect();
    let mut path = Request::of(spec, &own(attack, spec)).bearer(&attack.me.token);
    path.target = path.target.replacen("/v1/", "/v1/%2e%2e/v1/", 1);
    requests.push(path);
    requests
}

/// Through `operation.call`, once and nested, also with the name spelled otherwise.
fn nested(attack: &Attack<'_>, spec: &Spec) -> Vec<Request> {
    let call = attack.platform.spec("operation.call");
    let mut requests = Vec::new();
    for place in [Place::Own, Place::Other] {
        let Some(input) = attack.cast.input(spec, place) else { continue };
        let once = json!({ "operation": spec.meta.id, "input": input });
        requests.push(Request::of(call, &once).bearer(&attack.me.token));
        requests
            .push(Request::of(call, &json!({ "operation": "operation.call", "input": once })).bearer(&attack.me.token));
        for name in [spec.mcp_tool(), spec.meta.id.to_uppercase(), format!("{} ", spec.meta.id)] {
            let otherwise = json!({ "operation": name, "input": input });
            requests.push(Request::of(call, &otherwise).bearer(&attack.me.token));
        }
    }
    requests
}

fn another_method(attack: &Attack<'_>, spec: &Spec) -> Vec<Request> {
    let mut request = Request::of(spec, &own(attack, spec)).bearer(&attack.me.token);
    request = request.header("x-http-method-override", spec.meta.method.as_str());
    request.method = if spec.meta.method.as_str() == "GET" { "HEAD".to_owned() } else { "GET".to_owned() };
    vec![request]
}

/// What an attacker may change: its own proposals; an investigator also works on the cases of its own tenant, under its
/// own name.
fn permitted(cast: &Cast, me: &Member, (kind, _, document): &(String, String, Value)) -> bool {
    let value = &document["value"];
    let proposal = kind == "approval" && value["caller"]["principal"] == me.principal.as_str();
    let names = [&value["made"]["by"], &value["actor"]];
    let under_its_name = names.iter().all(|name| name.is_null() || **name == me.principal.as_str());
    let case_work = me.name == "investigator"
        && (kind.starts_with("case") || kind == "entity_verdict")
        && value["tenant"] == cast.own.as_str()
        && (under_its_name || kind == "case_task");
    // New questions and their answers; nobody else's question is changed, let alone its schedule.
    let new_question = kind == "saved_query" && document["version"] == 1 && value["schedule"].is_null();
    let answer = kind == "query_result" && value["by"] == me.principal.as_str();
    let asked = me.name == "investigator" && (new_question || answer) && value["tenant"] == cast.own.as_str();
    // Rights of one's own may be lent: what is made for that says whose they are.
    let lent = match kind.as_str() {
        "grant" => value["person"] == me.principal.as_str(),
        "agent" => {
            value["owner"] == me.principal.as_str()
                && value["name"].as_str().is_some_and(|name| name.starts_with("lent-"))
        }
        "credential" => value["grant"].is_string() && value["on_behalf_of"] == json!([me.principal]),
        _ => false,
    };
    proposal || case_work || asked || lent
}

/// Answers that come from the face, before the gate: nothing was read, so nothing is recorded.
fn before_the_gate(answer: &Answer) -> bool {
    matches!(
        (answer.status, answer.problem()),
        (400, "malformed")
            | (401, "unauthenticated")
            | (404, "not-found")
            | (405, "method-not-allowed")
            | (422, "invalid-input")
    ) || answer.body.is_null()
}

async fn attack(platform: &Platform, cast: &Cast, me: &Member, executed: &str, waiting: &str) {
    let attack = Attack { platform, cast, me, executed, waiting };
    let owner = Owner::Tenant(cast.own.parse().unwrap());
    let (mut before, mut named) = (Dump::of(platform.control.store()).await, BTreeSet::new());
    let log = records(platform.control.store(), owner).await.len();
    for (mutator, mutate) in MUTATORS {
        // Signing in and out is everybody's right and would only end the attack.
        for spec in api::specs().iter().filter(|spec| !matches!(spec.meta.id, "me.login" | "me.logout")) {
            for request in mutate(&attack, spec) {
                let answer = platform.send(request.clone()).await;
                let what = format!(
                    "{mutator}: {} as {}: {request:?}\n{} {}",
                    spec.meta.id, me.name, answer.status, answer.body
                );
                assert!(answer.status < 500, "{what}");
                match answer.recorded() {
                    Some(call) => drop(named.insert(call.to_owned())),
                    None => assert!(before_the_gate(&answer), "not on the record: {what}"),
                }
            }
        }
        let after = Dump::of(platform.control.store()).await;
        let changed: Vec<_> = before.changed(&after).into_iter().filter(|one| !permitted(cast, me, one)).collect();
        assert!(changed.is_empty(), "{mutator} as {}: {changed:#?}", me.name);
        before = after;
    }
    let log = records(platform.control.store(), owner).await.split_off(log);
    let mine: BTreeSet<&str> = log
        .iter()
        .filter(|record| record["principal"] == me.principal.as_str())
        .filter_map(|record| record["call"].as_str())
        .collect();
    let named: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    assert_eq!(named.difference(&mine).count(), 0, "each under the attacker's own name");
    assert!(named.len() > 500, "only {}", named.len());
}

async fn staged(platform: &Platform, cast: &Cast) -> (String, String) {
    let waiting = cast.things[&Place::Own]["approval"].clone();
    let all =
        platform.done(&cast.chief.token, "approval.list", &json!({ "tenant": cast.own, "state": "executed" })).await;
    (all["items"][0]["id"].as_str().unwrap().to_owned(), waiting)
}

#[tokio::test]
async fn an_agent_that_tries_everything_changes_nothing() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (executed, waiting) = staged(&platform, &cast).await;
    attack(&platform, &cast, cast.member("investigator"), &executed, &waiting).await;
}

#[tokio::test]
async fn a_person_with_little_who_tries_everything_changes_nothing() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (executed, waiting) = staged(&platform, &cast).await;
    attack(&platform, &cast, cast.member("viewer"), &executed, &waiting).await;
}

#[tokio::test]
async fn dead_credentials_open_nothing() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (chief, agent) = (&cast.chief, cast.member("investigator"));
    let doomed = |name: &str| cast.member(name).clone();
    let (killed, retired, stale) = (doomed("detection_author"), doomed("responder_with_approval"), agent.clone());
    let target = json!({ "target": { "stop": "agent", "agent": killed.principal }, "reason": "a test" });
    platform.done(&chief.token, "kill_switch.engage", &target).await;
    platform.done(&chief.token, "agent.retire", &json!({ "agent": retired.principal })).await;
    assert_eq!(platform.call(&stale.token, "me.get", &json!({})).await.status, 200);
    let widened = json!({ "agent": agent.principal, "tenant": cast.other, "ttl_secs": 3600 });
    let answer = platform.call(&admin_of(&cast).token, "agent.issue_run_credential", &widened).await;
    assert_eq!(answer.status, 404, "a run in a tenant of others: {}", answer.body);
    let answer = platform.call(&chief.token, "agent.issue_run_credential", &widened).await;
    assert_eq!(
        (answer.status, answer.pointers()),
        (422, vec!["/tenant"]),
        "also by somebody who reaches both: {}",
        answer.body
    );
    platform.clock.advance(Duration::from_secs(3700));
    let before = Dump::of(platform.control.store()).await;
    for (member, status) in [(&killed, [401, 403]), (&retired, [401, 401]), (&stale, [401, 401])] {
        for spec in api::specs().iter().filter(|spec| !spec.meta.anonymous) {
            let Some(input) = cast.input(spec, Place::Own) else { continue };
            let answer = platform.call(&member.token, spec.meta.id, &input).await;
            assert!(status.contains(&answer.status), "{} as {}: {}", spec.meta.id, member.name, answer.body);
        }
    }
    // The clock moved, so the platform itself let what was waiting run out; nobody else did anything.
    let changed = before.changed(&Dump::of(platform.control.store()).await);
    let waits = |kind: &str| ["action", "approval"].contains(&kind);
    let ran_out = |kind: &str, value: &Value| {
        waits(kind) && value["value"]["state"] == "expired"
            || kind == "break_glass" && value["value"]["closed_by"].is_null()
    };
    let foreign: Vec<_> = changed.iter().filter(|(kind, _, value)| !ran_out(kind, value)).collect();
    assert!(foreign.is_empty(), "{foreign:#?}");
}

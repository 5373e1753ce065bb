//! The permission matrix: every operation x shipped role x place, by real calls, equal to what `policy.matrix` says.
//!
//! How a cell of `policy.matrix` reads as an answer: `autonomous` is `allow` (carried out, or refused by the object's
//! state after policy let it through), `with_approval` is `ask`, `human_only` and `denied` are `deny` (403), or `hide`
//! (404) where the caller may not even know of the target. `.` stands where an operation has no call at that place.

use crate::golden;
use crate::oidc::{setup, sign_in};
use api::Spec;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use testkit::cast::{Member, login, run};
use testkit::openid::OpenId;
use testkit::{Answer, Cast, Place, Platform};

/// Fields that place a call: an id of something that belongs somewhere.
const PLACING: [&str; 23] = [
    "action",
    "agent",
    "approval",
    "assignment",
    "break_glass",
    "call",
    "case",
    "exception",
    "grant",
    "job",
    "kill_switch",
    "lockdown",
    "owner",
    "pack",
    "principal",
    "role",
    "rule",
    "run",
    "sensor",
    "service_key",
    "target",
    "tenant",
    "user",
];

/// Where the handler asks for more than policy can: the matrix says what policy says.
const NARROWER: [(&str, &str); 1] = [("approval.cancel", "only who proposed a call can take it back")];

fn placed(spec: &Spec) -> bool {
    spec.fields().any(|(name, _)| PLACING.contains(&name)) && spec.meta.family() != "policy"
        || spec.meta.id == "policy.can_i"
}

/// Whether the operation has a call of this member at this place.
fn has_call(spec: &Spec, member: &Member, place: Place) -> bool {
    if !placed(spec) {
        return place == if member.provider { Place::Provider } else { Place::Own };
    }
    // Without a tenant such a call means the caller's own place.
    member.provider || place != Place::Provider || spec.fields().all(|(name, _)| name != "tenant")
}

fn word(spec: &Spec, answer: &Answer) -> &'static str {
    let narrower = |(id, why): &(&str, &str)| {
        *id == spec.meta.id && answer.body["detail"].as_str().is_some_and(|detail| detail.starts_with(why))
    };
    match answer.status {
        200 | 409 | 412 => "allow",
        202 => "ask",
        403 if NARROWER.iter().any(narrower) => "allow",
        403 if answer.problem() == "denied" => "deny",
        404 => "hide",
        status => panic!("{}: {status} {}", spec.meta.id, answer.body),
    }
}

/// Put back what the last call took away, so that the next one meets the same.
async fn mend(platform: &Platform, cast: &Cast, spec: &Spec, place: Place) {
    let chief = &cast.chief.token;
    let tenant = cast.tenant(place).map(|tenant| json!({ "tenant": tenant }));
    match spec.meta.id {
        "tenant.suspend" => {
            platform.done(chief, "tenant.resume", &tenant.unwrap()).await;
        }
        "role.unassign" => {
            let mut given = json!({ "principal": cast.things[&place]["user"], "role": "viewer" });
            if let Some(tenant) = tenant {
                given["tenant"] = tenant["tenant"].clone();
            }
            let again = platform.done(chief, "role.assign", &given).await;
            assert_eq!(again["id"], cast.things[&place]["assignment"].as_str());
        }
        _ => {}
    }
}

/// Objects that a call consumes: a fresh one for each.
async fn consumed(platform: &Platform, cast: &Cast, spec: &Spec, place: Place, input: &mut Value) {
    let chief = &cast.chief.token;
    let mut made = json!({});
    if let Some(tenant) = cast.tenant(place) {
        made["tenant"] = tenant.into();
    }
    match spec.meta.id {
        "role.delete" => {
            made["name"] = cast.fresh("gone").into();
            made["operations"] = json!(["tenant.get"]);
            input["role"] = platform.done(chief, "role.create", &made).await["role"].clone();
        }
        "source.delete" | "source.revoke_key" => {
            made["name"] = cast.fresh("spare").into();
            input["source"] = platform.done(chief, "source.create", &made).await["name"].clone();
            let key = json!({ "tenant": made["tenant"], "source": input["source"] });
            let key = platform.done(chief, "source.create_key", &key).await;
            if spec.meta.id == "source.revoke_key" {
                input["key"] = key["key"]["id"].clone();
            }
        }
        "source.bucket" | "source.remove_bucket" => {
            made["name"] = cast.fresh("spare").into();
            input["source"] = platform.done(chief, "source.create", &made).await["name"].clone();
            let bucket = json!({
                "tenant": made["tenant"], "source": input["source"], "bucket": "spare", "endpoint": "https://store.invalid",
            });
            platform.done(chief, "source.set_bucket", &bucket).await;
        }
        "external_table.delete" => {
            made["name"] = cast.fresh("spare").replace('-', "_").into();
            made["folder"] = "/srv/table".into();
            input["table"] = platform.done(chief, "external_table.create", &made).await["name"].clone();
        }
        // A query keeps its newest answers only: many runs would push out the one that is looked at.
        "saved_query.delete" | "saved_query.run" => {
            made["name"] = cast.fresh("spare").into();
            made["sql"] = "SELECT 1".into();
            input["query"] = platform.done(chief, "saved_query.create", &made).await["name"].clone();
        }
        "connector.delete" => {
            made["name"] = cast.fresh("spare").into();
            made["shipped"] = "slack-message".into();
            input["connector"] = platform.done(chief, "connector.create", &made).await["name"].clone();
        }
        "lake.release_hold" => {
            let name = cast.fresh("hold");
            let hold = json!({
                "tenant": made["tenant"], "name": name, "reason": "a test",
                "since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z",
            });
            platform.done(chief, "lake.hold", &hold).await;
            input["name"] = name.into();
        }
        "rule.delete" => {
            made["text"] = testkit::cast::rule_text(&cast.fresh("gone")).into();
            input["rule"] = platform.done(chief, "rule.create", &made).await["id"].clone();
        }
        "rule_exception.delete" => {
            made["text"] = testkit::cast::EXCEPTION.into();
            made["reason"] = "a test".into();
            made["ttl_secs"] = 86400.into();
            input["exception"] = platform.done(chief, "rule_exception.create", &made).await["id"].clone();
        }
        "webhook.delete" => {
            made["name"] = cast.fresh("spare").into();
            made["url"] = "https://hooks.example.com".into();
            made["kinds"] = json!(["expiry_near"]);
            input["webhook"] = platform.done(chief, "webhook.create", &made).await["webhook"]["id"].clone();
        }
        "recertification.revoke" => {
            made["name"] = cast.fresh("spare").into();
            input["principal"] = platform.done(chief, "service_key.create", &made).await["key"]["id"].clone();
        }
        "user.deactivate" | "user.reset_password" => {
            made["email"] = format!("{}@example.com", cast.fresh("spare")).into();
            made["display_name"] = "Spare".into();
            input["user"] = platform.done(chief, "user.create", &made).await["id"].clone();
        }
        _ => {}
    }
}

async fn cell(platform: &Platform, cast: &Cast, spec: &Spec, member: &Member, place: Place) -> &'static str {
    let Some(mut input) = cast.input(spec, place).filter(|_| has_call(spec, member, place)) else { return "." };
    consumed(platform, cast, spec, place, &mut input).await;
    // What a run has read taints it; the matrix speaks of one that has read nothing yet.
    let fresh = member.principal.starts_with("agent_") && spec.meta.effect != api::Effect::Read;
    let token = match fresh {
        true => run(platform, crate::people::admin_of(cast), &member.principal, &cast.own).await,
        false => member.token.clone(),
    };
    let answer = platform.call(&token, spec.meta.id, &input).await;
    if answer.status == 200 {
        mend(platform, cast, spec, place).await;
    }
    word(spec, &answer)
}

/// What `policy.matrix` says of a member, as words of the golden file.
async fn said(platform: &Platform, cast: &Cast, member: &Member) -> BTreeMap<(Place, String), &'static str> {
    let mut said = BTreeMap::new();
    let both = json!({ "principal": member.principal, "tenants": [cast.own, cast.other] });
    let mut tables = vec![platform.done(&cast.chief.token, "policy.matrix", &both).await];
    if member.provider {
        let own = json!({ "principal": member.principal });
        tables.push(platform.done(&cast.chief.token, "policy.matrix", &own).await);
    }
    for cell in tables.iter().flat_map(|table| table["cells"].as_array().unwrap()) {
        let place = match cell["tenant"].as_str() {
            Some(tenant) if tenant == cast.own => Place::Own,
            Some(_) => Place::Other,
            None => Place::Provider,
        };
        let word = match cell["authority"].as_str().unwrap() {
            "autonomous" => "allow",
            "with_approval" => "ask",
            "human_only" | "denied" => "no",
            other => panic!("{other}"),
        };
        said.insert((place, cell["operation"].as_str().unwrap().to_owned()), word);
    }
    said
}

/// The columns, in the order of the cast.
const COLUMNS: [&str; 13] = [
    "no_role",
    "viewer",
    "analyst",
    "responder",
    "detection_engineer",
    "auditor",
    "tenant_admin",
    "provider_admin",
    "key-tenant-admin",
    "key-provider-admin",
    "investigator",
    "detection_author",
    "responder_with_approval",
];

fn table(specs: &[Spec], cells: &Cells) -> String {
    let mut text = "# Who may do what, as real calls were answered (crates/control/tests/it/matrix.rs).\n\
        # allow: carried out, or let through by policy and refused by the object's state; ask: waits for approval;\n\
        # deny: 403; hide: 404, the caller may not even know of the target; `.`: no such call at this place.\n"
        .to_owned();
    for place in Place::ALL {
        write!(text, "\n{:<27}", format!("[{}]", place.as_str())).unwrap();
        for name in COLUMNS {
            write!(text, " {name}").unwrap();
        }
        text.push('\n');
        for spec in specs {
            let row: Vec<&str> = COLUMNS.iter().map(|name| cells[&(place, spec.meta.id, (*name).to_owned())]).collect();
            if row.iter().all(|cell| *cell == ".") {
                continue;
            }
            write!(text, "{:<27}", spec.meta.id).unwrap();
            for (name, cell) in COLUMNS.iter().zip(row) {
                write!(text, " {cell:<width$}", width = name.len()).unwrap();
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
    }
    text
}

type Cells = BTreeMap<(Place, &'static str, String), &'static str>;

/// The cells of the members that this worker takes, and where the matrix says otherwise.
async fn cells_of(worker: usize, specs: &[Spec]) -> (Cells, Vec<String>) {
    let idp = OpenId::start().await;
    let provider = control::OidcProvider { roles: Vec::new(), ..setup(&idp, false) };
    let platform = Platform::start_with(control::Settings { sign_in: vec![provider], ..testkit::settings() }).await;
    let cast = Cast::of(&platform).await;
    let (mut cells, mut disagree) = (Cells::new(), Vec::new());
    let members: Vec<&Member> = cast.members.iter().skip(worker).step_by(WORKERS).collect();
    for member in &members {
        let said = said(&platform, &cast, member).await;
        for (place, spec) in Place::ALL.iter().flat_map(|place| specs.iter().map(move |spec| (*place, spec))) {
            let anonymous = spec.meta.anonymous || spec.meta.id == "me.logout";
            let real = if anonymous { "." } else { cell(&platform, &cast, spec, member, place).await };
            cells.insert((place, spec.meta.id, member.name.clone()), real);
            let expected = said.get(&(place, spec.meta.id.to_owned())).copied().unwrap_or("no");
            if real != "." && expected != real && !(expected == "no" && matches!(real, "deny" | "hide")) {
                let (id, place) = (spec.meta.id, place.as_str());
                disagree.push(format!("{id} at {place} as {}: matrix {expected}, real {real}", member.name));
            }
        }
    }
    for member in members {
        sign_out(&platform, &idp, &cast, member, &mut cells).await;
    }
    (cells, disagree)
}

/// How many platforms are asked at once.
const WORKERS: usize = 2;

#[test]
fn real_calls_and_the_matrix_say_the_same() {
    let specs = std::sync::Arc::new(api::specs());
    let work = |worker| {
        let specs = specs.clone();
        std::thread::spawn(move || tokio::runtime::Runtime::new().unwrap().block_on(cells_of(worker, &specs)))
    };
    let workers: Vec<_> = (0..WORKERS).map(work).collect();
    let (mut cells, mut disagree) = (Cells::new(), Vec::new());
    for worker in workers {
        let (own, other) = worker.join().unwrap();
        cells.extend(own);
        disagree.extend(other);
    }
    assert!(disagree.is_empty(), "{disagree:#?}");
    golden::check("spec/gate/permissions.txt", &table(&specs, &cells));
    let tried: BTreeSet<&str> = cells.iter().filter(|(_, cell)| **cell != ".").map(|((_, id, _), _)| *id).collect();
    let untried: Vec<&str> = specs.iter().map(|spec| spec.meta.id).filter(|id| !tried.contains(id)).collect();
    golden::check("spec/gate/operations-without-authorization-test.txt", &untried.join("\n"));
    assert!(untried.is_empty(), "{untried:?}");
}

/// Signing in and out, with a credential that nothing else needs.
async fn sign_out(platform: &Platform, idp: &OpenId, cast: &Cast, member: &Member, cells: &mut Cells) {
    let place = if member.provider { Place::Provider } else { Place::Own };
    let token = match member.principal.split('_').next().unwrap() {
        "user" => {
            cells.insert((place, "me.login", member.name.clone()), "allow");
            if member.provider {
                // The provider's people sign in through its OpenID provider too.
                let email = format!("{}@example.com", member.name);
                let claims = json!({ "sub": member.name, "email": email, "email_verified": true });
                let answer = sign_in(platform, idp, claims).await;
                assert_eq!(answer.status, 200, "{}: {}", member.name, answer.body);
                cells.insert((place, "me.login_oidc", member.name.clone()), "allow");
            }
            login(platform, &format!("{}@example.com", member.name)).await
        }
        "agent" => run(platform, cast.member("tenant_admin"), &member.principal, &cast.own).await,
        _ => member.token.clone(),
    };
    assert_eq!(platform.call(&token, "me.logout", &json!({})).await.status, 200, "{}", member.name);
    assert_eq!(platform.call(&token, "me.get", &json!({})).await.status, 401, "{}", member.name);
    cells.insert((place, "me.logout", member.name.clone()), "allow");
}

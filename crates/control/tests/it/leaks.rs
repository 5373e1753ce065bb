//! No existence leaks: every operation as nobody, as somebody without rights, and with ids of another tenant, which must
//! be answered exactly as ids of nothing at all.

use api::Spec;
use serde_json::{Value, json};
use testkit::cast::Things;
use testkit::{Answer, Cast, Place, Platform, Request};

/// What everyone may do about themselves and the catalogue (`content/policies/everyone.cedar`).
const EVERYONE: [&str; 11] = [
    "grant.lend",
    "me.get",
    "me.permissions",
    "operation.call",
    "operation.describe",
    "operation.list",
    "operation.search",
    "policy.can_i",
    "policy.explain",
    "policy.matrix",
    "system.info",
];

/// The same id with its last letters changed: of the same kind, of nothing at all.
fn ghost(id: &str) -> String {
    let (head, tail) = id.split_at(id.len() - 2);
    let other = if tail == "00" { "11" } else { "00" };
    format!("{head}{other}")
}

/// The answer without what is different in every answer, and without the id that was asked about.
fn shape(answer: &Answer, id: &str) -> (u16, String) {
    let mut body = answer.body.clone();
    if let Some(fields) = body.as_object_mut() {
        for name in ["call", "request_id", "approval", "expires_at"] {
            if let Some(field) = fields.get_mut(name) {
                *field = "(some)".into();
            }
        }
    }
    (answer.status, body.to_string().replace(id, "(id)"))
}

#[tokio::test]
async fn nobody_gets_anything() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let forged = cast.chief.token.replace(char::is_numeric, "7");
    for spec in &api::specs() {
        let mut input = cast.input(spec, Place::Own).unwrap();
        if spec.meta.id == "me.login" {
            input["password"] = "wrong horse battery".into();
        }
        let request = Request::of(spec, &input);
        let mut bodies = Vec::new();
        let other_scheme = request.clone().header("authorization", "Basic YTpi");
        assert_eq!(platform.send(other_scheme).await.status, 401, "{}", spec.meta.id);
        for request in [request.clone(), request.bearer(&forged)] {
            let answer = platform.send(request).await;
            assert_eq!((answer.status, answer.problem()), (401, "unauthenticated"), "{}", spec.meta.id);
            bodies.push(shape(&answer, "-"));
        }
        assert!(bodies.windows(2).all(|two| two[0] == two[1]), "{}: {bodies:#?}", spec.meta.id);
    }
}

#[tokio::test]
async fn somebody_without_rights_gets_only_what_everyone_gets() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let member = cast.member("no_role");
    for spec in api::specs().iter().filter(|spec| !spec.meta.anonymous && spec.meta.id != "me.logout") {
        for place in Place::ALL {
            let Some(input) = cast.input(spec, place) else { continue };
            let answer = platform.call(&member.token, spec.meta.id, &input).await;
            let open = EVERYONE.contains(&spec.meta.id) || spec.meta.id == "system.limits";
            let fits = if open { matches!(answer.status, 200 | 404) } else { matches!(answer.status, 403 | 404) };
            assert!(fits, "{} at {}: {} {}", spec.meta.id, place.as_str(), answer.status, answer.body);
        }
    }
}

/// Every place in an input where an id of this tenant stands, as a JSON pointer.
fn id_places(input: &Value, own: &Things) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    let mut look = |pointer: String, value: &Value| {
        let kind = own.iter().find(|(_, id)| value.as_str() == Some(id.as_str())).map(|(kind, _)| *kind);
        found.extend(kind.filter(|kind| !matches!(*kind, "policy" | "rule_text")).map(|kind| (pointer, kind)));
    };
    for (name, value) in input.as_object().into_iter().flatten() {
        look(format!("/{name}"), value);
        for (below, value) in value.as_object().into_iter().flatten() {
            look(format!("/{name}/{below}"), value);
        }
    }
    found
}

async fn answered(platform: &Platform, token: &str, spec: &Spec, input: &Value, pointer: &str, id: &str) -> Answer {
    let mut input = input.clone();
    *input.pointer_mut(pointer).unwrap() = id.into();
    platform.call(token, spec.meta.id, &input).await
}

#[tokio::test]
async fn another_tenants_ids_are_ids_of_nothing() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let mut tried = 0;
    for name in ["no_role", "tenant_admin", "key-tenant-admin", "investigator"] {
        let token = &cast.member(name).token;
        for spec in api::specs().iter().filter(|spec| !spec.meta.anonymous && spec.meta.id != "me.logout") {
            let input = cast.input(spec, Place::Own).unwrap();
            for (pointer, kind) in id_places(&input, &cast.things[&Place::Own]) {
                for place in [Place::Other, Place::Provider] {
                    let Some(foreign) = cast.things[&place].get(kind) else { continue };
                    let nothing = ghost(foreign);
                    let real = answered(&platform, token, spec, &input, &pointer, foreign).await;
                    let none = answered(&platform, token, spec, &input, &pointer, &nothing).await;
                    let what = format!("{} {pointer} as {name} with an id of {}", spec.meta.id, place.as_str());
                    assert_eq!(shape(&real, foreign), shape(&none, &nothing), "{what}");
                    assert!((400..500).contains(&real.status), "{what}: {} {}", real.status, real.body);
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 350, "only {tried}");
}

#[tokio::test]
async fn questions_about_others_tell_nothing_of_other_tenants() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let token = &cast.member("analyst").token;
    for place in [Place::Other, Place::Provider] {
        let foreign = &cast.things[&place]["user"];
        for (operation, input) in [
            ("policy.explain", json!({ "operation": "user.get", "input": { "user": foreign } })),
            ("policy.explain", json!({ "operation": "me.get", "input": {}, "principal": foreign })),
            ("policy.matrix", json!({ "principal": foreign })),
            ("audit.list", json!({ "principal": foreign })),
        ] {
            let nothing = ghost(foreign);
            let other = serde_json::from_str(&input.to_string().replace(foreign.as_str(), &nothing)).unwrap();
            let (real, none) =
                (platform.call(token, operation, &input).await, platform.call(token, operation, &other).await);
            assert_eq!(shape(&real, foreign), shape(&none, &nothing), "{operation}");
        }
    }
}

//! A policy that is tried before it binds: what it would change is what it then changes.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use testkit::{Cast, Platform};

async fn draft(platform: &Platform, token: &str, name: &str, text: &str) -> String {
    let made = platform.done(token, "policy.create", &json!({ "name": name, "text": text })).await;
    made["id"].as_str().unwrap().to_owned()
}

async fn simulate(platform: &Platform, token: &str, policy: &str) -> Value {
    platform.done(token, "policy.simulate", &json!({ "policy": policy, "days": 1 })).await
}

fn calls(simulation: &Value) -> BTreeSet<String> {
    let items = simulation["items"].as_array().unwrap().iter();
    items.map(|item| item["call"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_denied_call_that_a_draft_would_let_through_is_let_through_once_it_binds() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (viewer, chief) = (cast.member("viewer"), &cast.chief.token);
    let asked = json!({ "tenant": cast.own, "name": "wanted" });
    let refused = platform.call(&viewer.token, "source.create", &asked).await;
    assert_eq!(refused.status, 403);
    let call = refused.recorded().unwrap().to_owned();

    let text = "@id(\"viewers-connect\")\npermit(principal in Posse::Role::\"viewer\", action == Posse::Action::\"source.create\", resource);";
    let policy = draft(&platform, chief, "wide", text).await;
    let told = simulate(&platform, chief, &policy).await;
    assert_eq!(told["grants_nothing_new"], false, "{told:#}");
    assert!(calls(&told).contains(&call), "{told:#}");
    assert_eq!(
        told["counts"],
        json!([{ "operation": "source.create", "before": "deny", "after": "allow", "calls": 1 }])
    );
    let grants = told["grants"].as_array().unwrap();
    assert!(!grants.is_empty());
    for cell in grants {
        assert_eq!((&cell["role"], &cell["operation"]), (&json!("viewer"), &json!("source.create")), "{cell}");
        assert_eq!((&cell["before"], &cell["after"]), (&json!("denied"), &json!("autonomous")), "{cell}");
    }
    assert_eq!(told["withdraws"], json!([]));
    assert!(
        told["decisions"].as_u64().unwrap() > 50 && told["unreadable"] == 0 && told["complete"] == true,
        "{told:#}"
    );

    // Nothing has changed by asking; once it binds, the gate does what was shown.
    assert_eq!(platform.call(&viewer.token, "source.create", &asked).await.status, 403);
    platform.done(chief, "policy.activate", &json!({ "policy": policy })).await;
    assert_eq!(platform.call(&viewer.token, "source.create", &asked).await.status, 200);
    let again = simulate(&platform, chief, &policy).await;
    assert_eq!((&again["changed"], &again["grants_nothing_new"]), (&json!(0), &json!(true)));
}

#[tokio::test]
async fn a_narrower_draft_grants_nothing_new_and_says_what_it_takes() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let chief = &cast.chief.token;
    let admin = cast.member("tenant_admin");
    let made = platform.call(&admin.token, "source.create", &json!({ "tenant": cast.own, "name": "one" })).await;
    let call = made.recorded().unwrap().to_owned();
    let text = "@id(\"no-sources\")\nforbid(principal is Posse::User, action == Posse::Action::\"source.create\", resource) when { context.tenant_tags.contains(\"env=prod\") };";
    let policy = draft(&platform, chief, "narrow", text).await;
    let told = simulate(&platform, chief, &policy).await;
    assert_eq!((&told["grants_nothing_new"], &told["grants"]), (&json!(true), &json!([])), "{told:#}");
    assert!(calls(&told).contains(&call));
    let taken: BTreeSet<&str> =
        told["withdraws"].as_array().unwrap().iter().map(|cell| cell["role"].as_str().unwrap()).collect();
    assert_eq!(taken, BTreeSet::from(["detection_engineer", "provider_admin", "tenant_admin"]));
    assert!(told["withdraws"].as_array().unwrap().iter().all(|cell| cell["tenant_tags"] == json!(["env=prod"])));
    // Another text for the same document, without writing a version.
    let other = json!({ "policy": policy, "days": 1, "text": "@id(\"none\")\nforbid(principal, action == Posse::Action::\"source.create\", resource) when { context.recent_count > 100000 };" });
    assert_eq!(platform.done(chief, "policy.simulate", &other).await["changed"], 0);
    // Whose log it is not sees nothing of it: a tenant's people read no drafts.
    let theirs = platform.call(&admin.token, "policy.simulate", &json!({ "policy": policy })).await;
    assert!(matches!(theirs.status, 403 | 404), "{}", theirs.body);
    let wrong = json!({ "policy": policy, "text": "permit(principal, action, resource);" });
    assert_eq!(platform.call(chief, "policy.simulate", &wrong).await.status, 422);
}

#[tokio::test]
async fn a_window_and_a_tenant_narrow_what_is_replayed() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let chief = &cast.chief.token;
    let policy = draft(
        &platform,
        chief,
        "any",
        "@id(\"none\")\nforbid(principal is Posse::Sensor, action, resource) when { context.tainted };",
    )
    .await;
    let all = simulate(&platform, chief, &policy).await["decisions"].as_u64().unwrap();
    let own = json!({ "policy": policy, "days": 1, "tenant": cast.own });
    let own = platform.done(chief, "policy.simulate", &own).await["decisions"].as_u64().unwrap();
    assert!(0 < own && own < all, "{own} of {all}");
    platform.clock.advance(std::time::Duration::from_secs(2 * 86_400));
    let late = testkit::cast::login(&platform, "chief@example.com").await;
    let told = simulate(&platform, &late, &policy).await;
    assert!(told["decisions"].as_u64().unwrap() < 10, "{told:#}");
}

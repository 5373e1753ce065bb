//! Retries and races: idempotency keys, entity tags, cursors.

use crate::people::admin_of;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use testkit::cast;
use testkit::{Answer, Cast, Dump, Platform, Request};

fn create_key(platform: &Platform, token: &str, name: &str, key: &str) -> Request {
    Request::of(platform.spec("service_key.create"), &json!({ "name": name })).bearer(token).key(key)
}

#[tokio::test]
async fn a_key_brings_the_same_answer_and_no_second_effect() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let admin = &admin_of(&cast).token;
    let first = platform.send(create_key(&platform, admin, "one", "k-1")).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let before = Dump::of(platform.control.store()).await;
    let again = platform.send(create_key(&platform, admin, "one", "k-1")).await;
    assert_eq!((again.status, &again.body), (200, &first.body), "the secret that is shown once, too");
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let other = platform.send(create_key(&platform, admin, "two", "k-1")).await;
    assert_eq!((other.status, other.problem()), (422, "idempotency-mismatch"), "{}", other.body);
    assert!(other.recorded().is_some(), "a misuse of a key is on the record");
    let elsewhere = json!({ "name": "one", "operations": ["tenant.get"] });
    let elsewhere = Request::of(platform.spec("role.create"), &elsewhere).bearer(admin).key("k-1");
    assert_eq!(platform.send(elsewhere).await.problem(), "idempotency-mismatch", "the same key for another operation");
    assert_eq!(before.changed(&Dump::of(platform.control.store()).await), []);
    assert!(!before.holds(first.body["credential"]["secret"].as_str().unwrap()), "what is remembered is sealed");
    // Another principal's keys are another's.
    let theirs = platform.send(create_key(&platform, &cast.chief.token, "one", "k-1")).await;
    assert_eq!(theirs.status, 200, "{}", theirs.body);
    assert_ne!(theirs.body["key"]["id"], first.body["key"]["id"]);
    // It outlives a restart.
    let platform = platform.restart().await;
    let again = platform.send(create_key(&platform, admin, "one", "k-1")).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    platform.clock.advance(std::time::Duration::from_secs(24 * 3600));
    let admin = &cast::login(&platform, "tenant_admin@example.com").await;
    let late = platform.send(create_key(&platform, admin, "one", "k-1")).await;
    assert_eq!(
        (late.status, late.problem()),
        (409, "already-exists"),
        "forgotten, so the call is a new one: {}",
        late.body
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_key_at_once_is_one_call() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let admin = &admin_of(&cast).token;
    let calls = (0..12).map(|_| platform.send(create_key(&platform, admin, "race", "k-race")));
    let mut pinned: Vec<_> = calls.map(Box::pin).collect();
    let mut answers: Vec<Answer> = Vec::new();
    let all = std::future::poll_fn(|context| {
        pinned.retain_mut(|one| match one.as_mut().poll(context) {
            std::task::Poll::Ready(answer) => {
                answers.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        if pinned.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    });
    all.await;
    let bodies: BTreeSet<String> = answers.iter().map(|answer| answer.body.to_string()).collect();
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:#?}");
    assert_eq!(bodies.len(), 1, "{bodies:#?}");
    let fresh = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_none()).count();
    assert_eq!(fresh, 1, "one of them did it");
}

#[tokio::test]
async fn a_stale_tag_changes_nothing() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let chief = &cast.chief.token;
    let tenant = json!({ "tenant": cast.own });
    let seen = platform.call(chief, "tenant.get", &tenant).await;
    let tag = seen.header("etag").unwrap().to_owned();
    let update = |name: &str, tag: &str| json!({ "tenant": cast.own, "display_name": name, "if_match": tag });
    platform.done(chief, "tenant.update", &update("First", &tag)).await;
    let before = Dump::of(platform.control.store()).await;
    let stale = platform.call(chief, "tenant.update", &update("Second", &tag)).await;
    assert_eq!((stale.status, stale.problem()), (412, "precondition-failed"), "{}", stale.body);
    assert_eq!(before.changed(&Dump::of(platform.control.store()).await), []);
    let fresh = platform.call(chief, "tenant.get", &tenant).await.header("etag").unwrap().to_owned();
    let (one, two) = (update("One", &fresh), update("Two", &fresh));
    let both = tokio::join!(platform.call(chief, "tenant.update", &one), platform.call(chief, "tenant.update", &two));
    let statuses = BTreeSet::from([both.0.status, both.1.status]);
    assert_eq!(statuses, BTreeSet::from([200, 412]), "of two with the same tag one goes through");
}

#[tokio::test]
async fn a_cursor_is_good_for_its_list_and_its_reader() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let admin = &admin_of(&cast).token;
    let list = async |token: &str, operation: &str, input: Value| platform.call(token, operation, &input).await;
    let mut seen = Vec::new();
    let mut input = json!({ "limit": 2 });
    let first = loop {
        let page = platform.done(admin, "user.list", &input).await;
        seen.extend(page["items"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => input["cursor"] = cursor.into(),
            None => break platform.done(admin, "user.list", &json!({ "limit": 2 })).await,
        }
    };
    let whole = platform.done(admin, "user.list", &json!({})).await;
    let whole: Vec<&str> = whole["items"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap()).collect();
    assert_eq!(seen, whole, "paged and whole are the same, without doubles");
    let cursor = first["next_cursor"].as_str().unwrap();
    let mut broken = cursor.to_owned();
    broken.replace_range(0..1, if cursor.starts_with('A') { "B" } else { "A" });
    for (token, operation, input) in [
        (&cast.chief.token, "user.list", json!({ "cursor": cursor, "tenant": cast.own })),
        (&cast.member("analyst").token, "user.list", json!({ "cursor": cursor })),
        (admin, "agent.list", json!({ "cursor": cursor })),
        (admin, "user.list", json!({ "cursor": broken })),
        (admin, "user.list", json!({ "cursor": "nonsense" })),
    ] {
        let answer = list(token, operation, input).await;
        assert_eq!((answer.status, answer.pointers()), (422, vec!["/cursor"]), "{operation}: {}", answer.body);
    }
    let filter = list(admin, "approval.list", json!({ "limit": 1 })).await;
    let cursor = filter.body["next_cursor"].as_str();
    if let Some(cursor) = cursor {
        let other = list(admin, "approval.list", json!({ "cursor": cursor, "state": "pending" })).await;
        assert_eq!(other.pointers(), vec!["/cursor"], "another filter: {}", other.body);
    }
}

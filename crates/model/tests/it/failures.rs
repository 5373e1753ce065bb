//! What goes wrong: tried again, given up, asked of another, within bounds; and no key in any reason.

use crate::fake::{Fake, Reply, ask, fine, models, question};
use agent::{Budget, ModelError};
use std::time::Duration;

fn broken(kind: &str) -> Vec<(&'static str, Reply)> {
    let cut = match kind {
        "openai" => "data: {\"choices\":[{\"delta\":{\"content\":\"half",
        _ => "data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"half",
    };
    vec![
        ("500", Reply::Says(500, "", "{\"error\":{\"message\":\"oops\"}}".to_owned())),
        ("529", Reply::Says(529, "", String::new())),
        ("429", Reply::Says(429, "retry-after: 3\r\n", "{\"error\":{\"type\":\"rate_limit_error\"}}".to_owned())),
        ("gone", Reply::Gone),
        ("bad JSON", Reply::ok("{\"malformed\": ")),
        ("cut", Reply::ok(cut)),
    ]
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for kind in ["openai", "anthropic"] {
        for (what, reply) in broken(kind) {
            let fake = Fake::start(vec![reply.clone(), reply, fine(kind, "At last.")]).await;
            let (models, pause) = models(&[("default", fake.section(kind, ""))]);
            let answer = ask(&models, &question()).await.unwrap();
            assert_eq!((answer.text.as_str(), fake.asked().len()), ("At last.", 3), "{kind} {what}");
            let waits = pause.0.lock().unwrap().clone();
            assert_eq!(waits.len(), 2, "{kind} {what}");
            let least = Duration::from_millis(if what == "429" { 3000 } else { 250 });
            assert!(waits.iter().all(|wait| *wait >= least && *wait < Duration::from_secs(5)), "{what}: {waits:?}");
            // Tries that a model was at work on cost, as far as anybody can know.
            let cost = answer.usage.input_tokens > 110;
            assert_eq!(cost, matches!(what, "bad JSON" | "cut"), "{kind} {what}: {:?}", answer.usage);
        }
    }
}

#[tokio::test]
async fn tries_are_counted_and_what_will_not_pass_is_not_tried() {
    let fake = Fake::start(vec![Reply::Says(500, "", String::new())]).await;
    let (models, _) = models(&[("default", fake.section("openai", "tries = 4"))]);
    let why = ask(&models, &question()).await.unwrap_err();
    assert!(matches!(&why.error, ModelError::Unreachable(text) if text.contains("`default`: status 500")), "{why:?}");
    assert_eq!((fake.asked().len(), why.usage), (4, agent::Usage::default()));
    for (status, body) in [
        (401, "{\"error\":{\"message\":\"wrong key sk-secret\",\"type\":\"authentication_error\"}}"),
        (400, "plain\nwords about sk-secret"),
        (429, "{\"error\":{\"message\":\"no money\",\"type\":\"insufficient_quota\"}}"),
        (307, ""),
    ] {
        let fake = Fake::start(vec![Reply::Says(status, "location: http://127.0.0.1:1/\r\n", body.to_owned())]).await;
        let (models, _) = crate::fake::models(&[("default", fake.section("openai", "api_key_env = \"KEY\""))]);
        let why = ask(&models, &question()).await.unwrap_err();
        let ModelError::Refused(text) = &why.error else { panic!("{status}: {why:?}") };
        assert!(text.contains(&format!("status {status}")) && !text.contains("sk-secret"), "{text}");
        assert!(!format!("{models:?}{why:?}").contains("sk-secret") && fake.asked().len() == 1, "{status}");
    }
}

#[tokio::test]
async fn another_alias_answers_where_one_cannot() {
    for first in [Reply::Says(500, "", String::new()), Reply::Says(401, "", String::new()), Reply::Gone] {
        let (one, other) = (Fake::start(vec![first]).await, Fake::start(vec![fine("anthropic", "I can.")]).await);
        let (models, _) = models(&[
            ("default", one.section("openai", "tries = 2\nfallback = [\"spare\"]")),
            ("spare", other.section("anthropic", "")),
        ]);
        let answer = ask(&models, &question()).await.unwrap();
        assert_eq!((answer.text.as_str(), other.asked().len()), ("I can.", 1));
        assert!((1..=2).contains(&one.asked().len()));
    }
    let mut unknown = question();
    unknown.model = "nobody".to_owned();
    let (models, _) = models(&[]);
    let why = ask(&models, &unknown).await.unwrap_err();
    assert!(why.error.to_string().contains("`nobody`") && why.error.to_string().contains("[models.nobody]"), "{why:?}");
}

#[tokio::test]
async fn a_provider_that_asks_for_too_long_a_wait_is_left() {
    let later = Reply::Says(429, "retry-after: 3600\r\n", String::new());
    let (one, other) = (Fake::start(vec![later]).await, Fake::start(vec![fine("openai", "Here.")]).await);
    let (models, pause) =
        models(&[("default", one.section("openai", "fallback = [\"spare\"]")), ("spare", other.section("openai", ""))]);
    assert_eq!(ask(&models, &question()).await.unwrap().text, "Here.");
    assert_eq!((one.asked().len(), pause.0.lock().unwrap().len()), (1, 0));
}

#[tokio::test]
async fn silence_is_bounded_wherever_it_falls() {
    let half = "data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n".to_owned();
    let times = "tries = 1\ntimeouts = { connect_secs = 1, first_byte_secs = 1, idle_secs = 1, answer_secs = 2 }";
    for (reply, part) in [(Reply::Silent, "no answer began within 1 s"), (Reply::Stalls(half), "paused for over 1 s")] {
        let fake = Fake::start(vec![reply]).await;
        let (models, _) = models(&[("default", fake.section("openai", times))]);
        let why = ask(&models, &question()).await.unwrap_err();
        assert!(why.error.to_string().contains(part), "{why:?}");
        assert!(why.usage.input_tokens > 0, "the model may have been at work: {why:?}");
    }
    // What is left of the run's time ends a question also where the section would allow more.
    let fake = Fake::start(vec![Reply::Silent]).await;
    let (models, _) = models(&[("default", fake.section("openai", ""))]);
    let mut request = question();
    request.allowance.time = Duration::from_millis(200);
    let why = ask(&models, &request).await.unwrap_err();
    assert_eq!(why.error, ModelError::OverBudget(Budget::Seconds));
    assert!(why.usage.input_tokens > 0);
}

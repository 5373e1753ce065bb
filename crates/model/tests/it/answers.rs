//! Every answer of the corpus, over a connection, in both wires.

use crate::fake::{Fake, Reply, ask, models, question};
use agent::{ModelError, StopReason};
use proptest::prelude::*;
use serde_json::{Value, json};

fn corpus() -> Vec<Value> {
    let path = std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default())
        .join("../../spec/model/answers.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test]
async fn answers_are_read_as_the_corpus_says() {
    let cases = corpus();
    assert!(cases.len() >= 30);
    for case in cases {
        let (name, kind) = (case["name"].as_str().unwrap(), case["kind"].as_str().unwrap());
        let what = format!("{kind}: {name}");
        let fake = Fake::start(vec![Reply::ok(case["body"].as_str().unwrap())]).await;
        let (models, _) = models(&[("default", fake.section(kind, "tries = 1"))]);
        let heard = ask(&models, &question()).await;
        let wanted = &case["wanted"];
        let reason =
            |key: &str| wanted[key].as_str().map(|text| text.split('|').map(str::to_owned).collect::<Vec<_>>());
        match (heard, reason("again"), reason("never")) {
            (Err(why), Some(parts), _) => {
                let ModelError::Unreachable(text) = &why.error else { panic!("{what}: {why:?}") };
                assert!(parts.iter().any(|part| text.contains(part)), "{what}: {text}");
            }
            (Err(why), _, Some(parts)) => {
                let ModelError::Refused(text) = &why.error else { panic!("{what}: {why:?}") };
                assert!(parts.iter().any(|part| text.contains(part)), "{what}: {text}");
            }
            (Ok(answer), None, None) => {
                let calls: Vec<Value> =
                    answer.calls.iter().map(|call| json!([call.id, call.name, call.arguments])).collect();
                let told = json!({
                    "text": answer.text,
                    "calls": calls,
                    "stop": answer.stop,
                    "usage": [answer.usage.input_tokens, answer.usage.output_tokens],
                });
                assert_eq!(&told, wanted, "{what}");
            }
            (heard, ..) => panic!("{what}: {heard:?}"),
        }
    }
}

#[tokio::test]
async fn what_never_ends_is_cut() {
    let openai = "data: {\"choices\":[{\"delta\":{\"content\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}}]}\n\n";
    let anthropic = "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"aaaaaaaaaaaaaaaaaaaaaa\"}}\n\n";
    for (kind, more) in [("openai", openai), ("anthropic", anthropic)] {
        let fake = Fake::start(vec![Reply::Endless(String::new(), more.to_owned())]).await;
        let (models, _) = models(&[("default", fake.section(kind, "tries = 1"))]);
        let answer = ask(&models, &question()).await.unwrap();
        assert_eq!((answer.stop, answer.text.len()), (StopReason::Length, 8000), "{kind}: 500 tokens of 16 bytes");
        assert!(answer.usage.output_tokens >= 2000, "what nobody counted is estimated: {:?}", answer.usage);
        assert!(*fake.written.lock().unwrap() < 8 << 20, "{kind}: the connection was kept");
    }
    // Nothing that counts, for ever: the bound on all bytes ends it.
    let fake = Fake::start(vec![Reply::Endless(String::new(), ": ping\n\n".repeat(8192))]).await;
    let (models, _) = models(&[("default", fake.section("openai", "tries = 1"))]);
    let why = ask(&models, &question()).await.unwrap_err();
    assert!(why.error.to_string().contains("16777216 bytes"), "{why:?}");
    // One event without end.
    let fake = Fake::start(vec![Reply::Endless("data: {".to_owned(), "a".repeat(65_536))]).await;
    let (models, _) = crate::fake::models(&[("default", fake.section("openai", "tries = 1"))]);
    let why = ask(&models, &question()).await.unwrap_err();
    assert!(why.error.to_string().contains("over 1048576 bytes"), "{why:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn broken_answers_break_nothing_and_parts_make_no_difference(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        part in 1_usize..40,
    ) {
        let cases = corpus();
        let case = which.get(&cases);
        let mut body = case["body"].as_str().unwrap().as_bytes().to_vec();
        for (place, byte) in changes {
            if !body.is_empty() {
                let place = place.index(body.len());
                body[place] = byte;
            }
        }
        for anthropic in [false, true] {
            let whole = model::fuzzing::read(anthropic, &body, body.len());
            prop_assert_eq!(whole, model::fuzzing::read(anthropic, &body, part));
        }
    }
}

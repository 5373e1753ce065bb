//! What a question may cost: tries and fall-backs together stay within what the run has left.

use crate::fake::{Fake, Reply, ask, fine, models, question};
use agent::{Budget, ModelError, tokens_estimate};

const PRICES: &str = "prices = { input_micros = 3_000_000, output_micros = 15_000_000 }";

#[tokio::test]
async fn prices_make_money_of_tokens() {
    let fake = Fake::start(vec![fine("openai", "x")]).await;
    let (models, _) = models(&[("default", fake.section("openai", PRICES))]);
    let answer = ask(&models, &question()).await.unwrap();
    // 100 tokens read at 3 and 10 written at 15 millionths each.
    assert_eq!(answer.usage.money_micros, 100 * 3 + 10 * 15);
}

#[tokio::test]
async fn no_more_is_asked_for_than_can_be_paid() {
    let fake = Fake::start(vec![fine("openai", "x")]).await;
    let (models, _) = models(&[("default", fake.section("openai", PRICES))]);
    let mut request = question();
    let input = tokens_estimate(request.bytes());
    request.allowance.money_micros = input * 3 + 20 * 15;
    ask(&models, &request).await.unwrap();
    assert_eq!(fake.asked().pop().unwrap().body["max_tokens"], 20);
    request.allowance.tokens = input + 7;
    ask(&models, &request).await.unwrap();
    assert_eq!(fake.asked().pop().unwrap().body["max_tokens"], 7);
    let asked = fake.asked().len();
    request.allowance.money_micros = input * 3;
    assert_eq!(ask(&models, &request).await.unwrap_err().error, ModelError::OverBudget(Budget::Money));
    request.allowance.tokens = input;
    assert_eq!(ask(&models, &request).await.unwrap_err().error, ModelError::OverBudget(Budget::Tokens));
    assert_eq!(fake.asked().len(), asked, "nothing was sent for that");
}

#[tokio::test]
async fn tries_that_cost_end_with_the_budget() {
    let fake = Fake::start(vec![Reply::ok("{\"malformed\": ")]).await;
    let (models, _) = models(&[("default", fake.section("openai", "tries = 20"))]);
    let mut request = question();
    let input = tokens_estimate(request.bytes());
    request.allowance.tokens = 3 * input + 1;
    let why = ask(&models, &request).await.unwrap_err();
    assert_eq!(why.error, ModelError::OverBudget(Budget::Tokens));
    assert_eq!((fake.asked().len(), why.usage.input_tokens), (3, 3 * input));
}

#[tokio::test]
async fn a_server_that_counts_nothing_is_metered_all_the_same() {
    let body = "{\"choices\":[{\"message\":{\"content\":\"abcdefghijkl\"},\"finish_reason\":\"stop\"}]}";
    let fake = Fake::start(vec![Reply::ok(body)]).await;
    let (models, _) = models(&[("default", fake.section("openai", ""))]);
    let answer = ask(&models, &question()).await.unwrap();
    assert_eq!(answer.usage.input_tokens, tokens_estimate(question().bytes()));
    assert_eq!(answer.usage.output_tokens, 5);
}

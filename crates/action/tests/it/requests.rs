//! Requests made of hostile values: whatever a value holds, it stays one value of the place where it stands.

use crate::{shipped, values};
use action::{Connector, Secrets, Shown, Unfit};
use proptest::prelude::*;
use serde_json::{Value, json};

const EVERYWHERE: &str = "\
connector: everywhere
title: Everywhere
hosts: [https://api.example.com]
actions:
  go:
    title: Go
    openc2: { action: set, target: file }
    inputs:
      it: { kind: text, description: anything, chars_max: 4096 }
      more: { kind: json, description: anything, optional: true }
    execute:
      request:
        method: PUT
        url: https://api.example.com/base?fixed=1
        path: /things/${input.it}/x-${input.it}
        query: { q: '${input.it}' }
        headers: { X-It: '${input.it}' }
        json: { plain: '${input.it}', mixed: 'a ${input.it} $${b}', more: '${input.more}', list: ['${input.more}', 1] }
";

fn made(inputs: Value) -> Result<http::Request<bytes::Bytes>, Unfit> {
    let connector = Connector::read(EVERYWHERE).unwrap();
    let step = connector.step("go").unwrap();
    step.execute.request.make(connector.auth(), None, &values(inputs, &[], &[]))
}

#[test]
fn a_value_stays_in_its_place() {
    let request = made(json!({ "it": "a/../b?c=d&e#f\"}", "more": { "deep": "${secret.x}" } })).unwrap();
    assert_eq!(
        request.uri().to_string(),
        "https://api.example.com/base/things/a%2F..%2Fb%3Fc%3Dd%26e%23f%22%7D/x-a%2F..%2Fb%3Fc%3Dd%26e%23f%22%7D?fixed=1&q=a%2F..%2Fb%3Fc%3Dd%26e%23f%22%7D"
    );
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(body["plain"], "a/../b?c=d&e#f\"}");
    assert_eq!(body["mixed"], "a a/../b?c=d&e#f\"} ${b}");
    assert_eq!(body["more"]["deep"], "${secret.x}", "a value is no template");
    let without: Value = serde_json::from_slice(made(json!({ "it": "x" })).unwrap().body()).unwrap();
    assert_eq!(without, json!({ "plain": "x", "mixed": "a x ${b}", "list": [1] }));
}

#[test]
fn what_has_no_place_is_refused() {
    for (it, why) in [
        ("a\r\nX-Evil: 1", Unfit::Header("x-it".to_owned())),
        ("a\nb", Unfit::Header("x-it".to_owned())),
        ("caf\u{e9}", Unfit::Header("x-it".to_owned())),
        ("..", Unfit::Segment),
        (".", Unfit::Segment),
        ("", Unfit::Segment),
    ] {
        assert_eq!(made(json!({ "it": it })).unwrap_err(), why, "{it:?}");
    }
}

proptest! {
    #[test]
    fn no_value_leaves_its_place(it in any::<String>()) {
        if let Ok(request) = made(json!({ "it": it })) {
            prop_assert_eq!(request.uri().host(), Some("api.example.com"));
            prop_assert!(request.uri().path().starts_with("/base/things/"));
            prop_assert_eq!(request.uri().path().split('/').count(), 5);
            prop_assert_eq!(request.uri().query().unwrap().split('&').count(), 2);
            prop_assert_eq!(request.headers().len(), 2);
            let body: Value = serde_json::from_slice(request.body()).unwrap();
            prop_assert_eq!(body["plain"].as_str(), Some(it.as_str()));
        }
    }
}

#[test]
fn a_signed_form_is_what_aws_expects_and_shows_no_secret() {
    let aws = shipped("aws-iam-access-key");
    let step = aws.step("deactivate").unwrap();
    let mut with = values(
        json!({ "user_name": "a+b@c", "access_key_id": "AKIAIOSFODNN7EXAMPLE" }),
        &[("endpoint", "https://iam.amazonaws.com"), ("region", "us-east-1")],
        &[("access_key_id", "AKIDEXAMPLE"), ("secret_access_key", "wJalrXUtnFEMI")],
    );
    let request = step.execute.request.make(aws.auth(), None, &with).unwrap();
    let body = std::str::from_utf8(request.body()).unwrap();
    assert_eq!(
        body,
        "AccessKeyId=AKIAIOSFODNN7EXAMPLE&Action=UpdateAccessKey&Status=Inactive&UserName=a%2Bb%40c&Version=2010-05-08"
    );
    let authorization = request.headers()["authorization"].to_str().unwrap();
    assert!(
        authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "),
        "{authorization}"
    );
    assert!(authorization.contains("SignedHeaders=content-type;host;x-amz-date,"), "{authorization}");
    with.secrets = Secrets::Blank;
    let shown =
        serde_json::to_string(&Shown::of(&step.execute.request.make(aws.auth(), None, &with).unwrap())).unwrap();
    assert!(shown.contains("[secret]") && !shown.contains("AKIDEXAMPLE"), "{shown}");
}

#[test]
fn a_webhook_carries_its_signature_and_a_missing_secret_stops_it() {
    let webhook = shipped("webhook");
    let step = webhook.step("send").unwrap();
    let inputs = json!({ "kind": "case.contained", "message": "done" });
    let url = [("url", "https://hooks.example.com/in?x=1")];
    let with = values(inputs.clone(), &url, &[("signing_secret", "whsec_plJ3nmyCDGBKInavdOK15jsl")]);
    let request = step.execute.request.make(webhook.auth(), Some(("idempotency-key", "k")), &with).unwrap();
    let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
    let key = action::standard_webhooks_key("whsec_plJ3nmyCDGBKInavdOK15jsl").unwrap();
    let wanted = action::standard_webhooks_signature(&key, &header("webhook-id"), 1_440_938_160, request.body());
    assert_eq!((header("webhook-signature"), header("webhook-timestamp")), (wanted, "1440938160".to_owned()));
    assert_eq!(header("idempotency-key"), "k");
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!((&body["type"], &body["data"]["reason"]), (&json!("case.contained"), &json!("a \"test\"")));
    let without = step.execute.request.make(webhook.auth(), None, &values(inputs.clone(), &url, &[]));
    assert_eq!(without.unwrap_err(), Unfit::MissingSecret("signing_secret".to_owned()));
    let weak = values(inputs, &url, &[("signing_secret", "whsec_c2hvcnQ=")]);
    assert_eq!(step.execute.request.make(webhook.auth(), None, &weak).unwrap_err(), Unfit::SigningSecret);
}

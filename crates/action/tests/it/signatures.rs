//! Signatures against the vectors that their makers publish (`spec/action`).

use crate::spec;
use action::{Credentials, Signable, sign, standard_webhooks_key, standard_webhooks_signature};
use serde_json::Value;

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

#[test]
fn aws_signatures_are_those_of_the_published_suite() {
    let suite = spec("sigv4.json");
    let own = &suite["credentials"];
    for case in suite["cases"].as_array().unwrap() {
        let credentials = Credentials {
            access_key_id: text(own, "access_key_id").unwrap().to_owned(),
            secret_access_key: text(own, "secret_access_key").unwrap().to_owned(),
            session_token: None,
            region: text(own, "region").unwrap().to_owned(),
            service: text(case, "service").or(text(own, "service")).unwrap().to_owned(),
        };
        let signable = Signable {
            method: text(case, "method").unwrap(),
            host: text(case, "host").or(text(&suite, "host")).unwrap(),
            path: text(case, "path").unwrap(),
            query: text(case, "query").unwrap_or_default(),
            body: text(case, "body").unwrap_or_default().as_bytes(),
        };
        let headers = case.get("headers").and_then(Value::as_object).into_iter().flatten();
        let headers: Vec<(String, String)> =
            headers.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
        let added = sign(&signable, &headers, &credentials, suite["time"].as_str().unwrap().parse().unwrap());
        let authorization = &added.iter().find(|(name, _)| name == "authorization").unwrap().1;
        let wanted = format!(
            "SignedHeaders={}, Signature={}",
            case["signed"].as_str().unwrap(),
            case["signature"].as_str().unwrap()
        );
        assert!(authorization.ends_with(&wanted), "{}: {authorization}", case["name"]);
    }
}

#[test]
fn a_session_token_is_signed_too() {
    let signable = Signable { method: "GET", host: "h", path: "/", query: "", body: b"" };
    let credentials = |token: Option<&str>| Credentials {
        access_key_id: "A".to_owned(),
        secret_access_key: "s".to_owned(),
        session_token: token.map(str::to_owned),
        region: "r".to_owned(),
        service: "s".to_owned(),
    };
    let now = "2026-01-02T03:04:05.678Z".parse().unwrap();
    let added = sign(&signable, &[], &credentials(Some("token")), now);
    assert_eq!(added[0], ("x-amz-date".to_owned(), "20260102T030405Z".to_owned()));
    assert!(added[2].1.contains("SignedHeaders=host;x-amz-date;x-amz-security-token"), "{added:?}");
    assert_ne!(added[2], *sign(&signable, &[], &credentials(None), now).last().unwrap());
}

#[test]
fn webhook_signatures_are_those_of_the_published_vectors() {
    for case in spec("standard-webhooks.json").as_array().unwrap() {
        let key = standard_webhooks_key(case["secret"].as_str().unwrap()).unwrap();
        let (id, at) = (case["id"].as_str().unwrap(), case["timestamp"].as_i64().unwrap());
        let signature = standard_webhooks_signature(&key, id, at, case["body"].as_str().unwrap().as_bytes());
        assert_eq!(signature, case["signature"].as_str().unwrap(), "{}", case["source"]);
    }
    for secret in ["", "whsec_", "whsec_c2hvcnQ=", "whsec_no base64 at all, not even near"] {
        assert_eq!(standard_webhooks_key(secret), None, "{secret}");
    }
}

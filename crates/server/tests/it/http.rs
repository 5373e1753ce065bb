//! REST: inputs come together from path, query, header and body; every outcome and every error has its form.

use crate::door::{Answer, Rig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn an_input_comes_from_its_places() {
    let rig = Rig::start().await;
    let make = rig
        .request("POST", "/v1/boxes/a%2Fb/things")
        .header("idempotency-key", "again")
        .header("if-match", "\"2\"")
        .json(&json!({ "colour": "red", "count": 3 }));
    let made = Answer::of(make.send().await.unwrap()).await;
    assert_eq!(made.status, 200, "{made:?}");
    let call = rig.door.last();
    assert_eq!(call.operation, "thing.make");
    assert_eq!(call.input, json!({ "box": "a/b", "colour": "red", "count": 3, "if_match": "\"2\"" }));
    assert_eq!(call.idempotency_key.as_deref(), Some("again"));
    assert_eq!(call.origin.face, api::Face::Rest);
    assert!(call.origin.address.unwrap().is_loopback());
    assert_eq!(made.header("x-request-id"), Some(call.origin.request_id.as_str()));
    assert_eq!(made.header("etag"), Some("\"3\""));
    assert_eq!(made.header("idempotency-replayed"), Some("true"));
    assert!(made.header("posse-call").unwrap().starts_with("call_"));

    let listed =
        rig.send("GET", "/v1/boxes/b/things?colours=red&colours=blue+sky&limit=2&whole=true&mood=wild", None).await;
    assert_eq!(listed.status, 200, "{listed:?}");
    let wanted = json!({ "box": "b", "colours": ["red", "blue sky"], "limit": 2, "whole": true, "mood": "wild" });
    assert_eq!(rig.door.last().input, wanted);
    assert_eq!(listed.body["obligations"], json!({ "max_rows": 5 }));
    assert_eq!(listed.header("posse-obligations"), Some("{\"max_rows\":5}"));

    assert_eq!(rig.send("DELETE", "/v1/boxes/b?why=old", None).await.status, 200);
    assert_eq!(rig.door.last().input, json!({ "box": "b", "why": "old" }));
    let any = rig.request("POST", "/v1/boxes/b/things").header("if-match", "*").json(&json!({ "colour": "red" }));
    assert_eq!(any.send().await.unwrap().status(), 200);
    assert!(rig.door.last().input.get("if_match").is_none());
}

#[tokio::test]
async fn each_outcome_has_its_form() {
    let rig = Rig::start().await;
    let make = async |colour: &str| rig.send("POST", "/v1/boxes/b/things", Some(json!({ "colour": colour }))).await;
    let waits = make("wait").await;
    assert_eq!((waits.status, &waits.body["status"]), (202, &json!("pending_approval")));
    assert_eq!(waits.body["rung"], "one_responder");
    let approval = waits.body["approval"].as_str().unwrap();
    assert_eq!(waits.header("location"), Some(format!("/v1/approvals/{approval}").as_str()));
    let deferred = make("defer").await;
    assert_eq!((deferred.status, &deferred.body["missing"]), (202, &json!(["verdict"])));
    assert_eq!(make("deny").await.problem(), "denied");
    let busy = make("busy").await;
    assert_eq!((busy.problem(), busy.header("retry-after")), ("too-many-requests", Some("7")));
    let bug = make("panic").await;
    assert_eq!((bug.status, bug.problem()), (500, "internal"));
    assert!(!bug.body.to_string().contains("a bug\""), "{bug:?}");
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let rig = Rig::start().await;
    let things = "/v1/boxes/b/things";
    let red = json!({ "colour": "red" });
    let post = |body: &'static str| rig.request("POST", things).header("content-type", "application/json").body(body);
    let cases: Vec<(reqwest::RequestBuilder, &str, Vec<&str>)> = vec![
        (rig.request("GET", "/v1/nothing"), "not-found", vec![]),
        (rig.request("GET", "/v1/boxes/b/things/"), "not-found", vec![]),
        (rig.request("GET", "/v1/boxes/%FF/things"), "malformed", vec![]),
        (rig.request("PUT", things), "method-not-allowed", vec![]),
        (rig.request("TRACE", things), "method-not-allowed", vec![]),
        (post("{\"colour\":\"red\",\"colour\":\"blue\"}"), "malformed", vec!["/colour"]),
        (post("{"), "malformed", vec![""]),
        (post("[]"), "invalid-input", vec!["", "/colour"]),
        (rig.request("POST", things).body("x"), "unsupported-media-type", vec![]),
        (rig.request("POST", things).json(&red).header("content-encoding", "gzip"), "unsupported-media-type", vec![]),
        (rig.request("GET", things).header("accept", "text/html"), "not-acceptable", vec![]),
        (rig.request("GET", things).body("{}"), "malformed", vec![]),
        (rig.request("GET", "/v1/boxes/b/things?color=red&limit=0"), "invalid-input", vec!["/color", "/limit"]),
        (rig.request("GET", "/v1/boxes/b/things?limit=null&whole=1"), "invalid-input", vec!["/limit", "/whole"]),
        (rig.request("GET", "/v1/boxes/b/things?limit=1&limit=2"), "invalid-input", vec!["/limit"]),
        (rig.request("GET", "/v1/boxes/b/things?box=c"), "invalid-input", vec!["/box"]),
        (rig.request("GET", "/v1/boxes/b/things?limit=%FF"), "malformed", vec![]),
        (rig.request("POST", "/v1/boxes/b/things?x=1").json(&red), "invalid-input", vec!["/x"]),
        (rig.request("POST", things).json(&json!({ "colour": "red", "box": "c" })), "invalid-input", vec!["/box"]),
        (
            rig.request("POST", things).json(&json!({ "colour": "red", "if_match": "x" })),
            "invalid-input",
            vec!["/if_match"],
        ),
        (rig.request("DELETE", "/v1/boxes/b").header("if-match", "\"1\""), "invalid-input", vec!["/if_match"]),
        (rig.request("POST", things).json(&json!({ "colour": "a longer colour" })), "invalid-input", vec!["/colour"]),
        (
            rig.request("POST", things).json(&red).header("idempotency-key", "a b"),
            "malformed",
            vec!["/Idempotency-Key"],
        ),
        (
            rig.request("POST", things).json(&red).header("idempotency-key", "k".repeat(256)),
            "malformed",
            vec!["/Idempotency-Key"],
        ),
        (rig.client.get(format!("{}{things}", rig.url)), "unauthenticated", vec![]),
        (rig.client.get(format!("{}{things}", rig.url)).bearer_auth("bad"), "unauthenticated", vec![]),
        (rig.client.get(format!("{}{things}", rig.url)).basic_auth("a", Some("b")), "unauthenticated", vec![]),
        (rig.request("GET", things).header("host", "evil.example.com"), "denied", vec![]),
        (rig.request("GET", things).header("origin", "https://evil.example.com"), "denied", vec![]),
    ];
    for (number, (request, wanted, pointers)) in cases.into_iter().enumerate() {
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!(answer.problem(), wanted, "case {number}: {answer:?}");
        assert_eq!(answer.pointers(), pointers, "case {number}: {answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn methods_and_challenges_are_told() {
    let rig = Rig::start().await;
    let wrong = rig.send("PATCH", "/v1/boxes/b/things", None).await;
    assert_eq!(wrong.header("allow"), Some("GET, POST, HEAD, OPTIONS"));
    let options = rig.send("OPTIONS", "/v1/boxes/b/things", None).await;
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, POST, HEAD, OPTIONS")));
    let head = rig.send("HEAD", "/v1/boxes/b/things", None).await;
    assert_eq!((head.status, &head.body), (200, &Value::Null));
    assert!(head.header("content-length").unwrap().parse::<u64>().unwrap() > 100);

    let metadata = format!("{}/.well-known/oauth-protected-resource", rig.url);
    let nobody = Answer::of(rig.client.get(format!("{}/metrics", rig.url)).send().await.unwrap()).await;
    assert_eq!(nobody.problem(), "unauthenticated");
    assert_eq!(nobody.header("www-authenticate"), Some(format!("Bearer resource_metadata=\"{metadata}\"").as_str()));
    let bad = rig.client.get(format!("{}/metrics", rig.url)).bearer_auth("bad").send().await.unwrap();
    let bad = Answer::of(bad).await;
    assert!(bad.header("www-authenticate").unwrap().ends_with("error=\"invalid_token\""));
    let described = Answer::of(rig.client.get(format!("{metadata}/mcp")).send().await.unwrap()).await;
    assert_eq!(described.body["resource"], format!("{}/mcp", rig.url));
}

#[tokio::test]
async fn the_named_exceptions_answer_without_a_credential() {
    let rig = Rig::start().await;
    for (path, host) in [("/healthz", "10.1.2.3.pod.example"), ("/readyz", "x.example"), ("/openapi.json", "localhost")]
    {
        let request = rig.client.get(format!("{}{path}", rig.url)).header("host", host);
        assert_eq!(request.send().await.unwrap().status(), 200, "{path}");
    }
    assert_eq!(rig.send("GET", "/metrics", None).await.status, 200);
    assert_eq!(rig.send("POST", "/healthz", None).await.problem(), "method-not-allowed");
    let served = rig.send("GET", "/openapi.json", None).await;
    assert_eq!(served.body, api::openapi::document(&crate::door::specs()));
    assert_eq!(rig.door.count(), 0, "none of them goes through the door");
}

#[tokio::test]
async fn operation_call_is_the_inner_call() {
    let rig = Rig::start().await;
    let call = async |body: Value| rig.send("POST", "/v1/operations/call", Some(body)).await;
    let inner = json!({ "operation": "thing.make", "input": { "box": "b", "colour": "red" } });
    assert_eq!(call(inner).await.status, 200);
    assert_eq!(rig.door.last().operation, "thing.make");
    assert_eq!(rig.door.last().input, json!({ "box": "b", "colour": "red" }));
    assert_eq!(call(json!({ "operation": "thing.unmake" })).await.problem(), "not-found");
    assert_eq!(call(json!({ "operation": "operation.call" })).await.pointers(), ["/operation"]);
    assert_eq!(call(json!({ "input": {} })).await.pointers(), ["/operation"]);
    assert_eq!(call(json!({ "operation": "thing.make", "input": {} })).await.pointers(), ["/box", "/colour"]);
}

#[tokio::test]
async fn doubled_heads_are_refused() {
    let rig = Rig::start().await;
    for (head, wanted) in [
        ("Host: localhost\r\nHost: localhost\r\nAuthorization: Bearer good", "400"),
        ("Host: localhost\r\nAuthorization: Bearer good\r\nAuthorization: Bearer good", "401"),
        ("Host: localhost\r\nAuthorization: Bearer good\r\nIdempotency-Key: a\r\nIdempotency-Key: b", "400"),
        ("Authorization: Bearer good", "400"),
        ("Host: localhost\r\nAuthorization: Bearer good", "200"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(rig.address).await.unwrap();
        let text = format!("DELETE /v1/boxes/b HTTP/1.1\r\n{head}\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(wanted), "{head}: {answer}");
    }
    assert_eq!(rig.door.count(), 1);
}

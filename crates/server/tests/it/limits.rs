//! Bounds: what is over one is refused with a problem, and stopping cuts nobody off.

use crate::door::{Answer, Rig};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn bodies_and_targets_over_the_bound_are_refused() {
    let rig = Rig::start_with(|config| {
        config.limits.body_bytes_max = 1000;
        config.limits.target_bytes_max = 500;
    })
    .await;
    let long = json!({ "colour": "x".repeat(1000) });
    assert_eq!(rig.send("POST", "/v1/boxes/b/things", Some(long.clone())).await.problem(), "payload-too-large");
    // Without a declared length the bound holds all the same.
    let chunks = futures::stream::iter((0..20).map(|_| Ok::<_, std::io::Error>(vec![b' '; 100])));
    let chunked = rig
        .request("POST", "/v1/boxes/b/things")
        .header("content-type", "application/json")
        .body(reqwest::Body::wrap_stream(chunks));
    assert_eq!(Answer::of(chunked.send().await.unwrap()).await.problem(), "payload-too-large");
    let path = format!("/v1/boxes/{}/things", "b".repeat(600));
    assert_eq!(rig.send("GET", &path, None).await.problem(), "malformed");
}

#[tokio::test]
async fn one_call_too_many_is_told_to_come_back() {
    let rig = Rig::start_with(|config| config.limits.calls_max = 1).await;
    let slow = rig.request("POST", "/v1/boxes/b/things").json(&json!({ "colour": "slow" }));
    let slow = tokio::spawn(slow.send());
    while rig.door.count() == 0 {
        tokio::task::yield_now().await;
    }
    let busy = rig.send("GET", "/v1/boxes/b/things", None).await;
    assert_eq!((busy.problem(), busy.header("retry-after")), ("overloaded", Some("1")));
    assert_eq!(rig.send("GET", "/healthz", None).await.status, 200);
    rig.door.gate.add_permits(1);
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    assert_eq!(rig.send("GET", "/v1/boxes/b/things", None).await.status, 200);
}

#[tokio::test]
async fn a_time_limit_ends_the_wait_and_not_the_call() {
    let rig = Rig::start_with(|config| config.limits.request_timeout = Duration::from_millis(200)).await;
    let late = rig.send("POST", "/v1/boxes/b/things", Some(json!({ "colour": "slow" }))).await;
    assert_eq!((late.status, late.problem()), (408, "timeout"));
    assert_eq!(rig.door.gate.available_permits(), 0);
    rig.door.gate.add_permits(1);
    // The call still waits for its permit and takes it.
    while rig.door.gate.available_permits() == 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_head_that_never_ends_closes_the_connection() {
    let rig = Rig::start_with(|config| config.limits.head_timeout = Duration::from_millis(200)).await;
    let mut stream = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow:").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way() {
    let mut rig = Rig::start().await;
    let slow = rig.request("POST", "/v1/boxes/b/things").json(&json!({ "colour": "slow" }));
    let slow = tokio::spawn(slow.send());
    while rig.door.count() == 0 {
        tokio::task::yield_now().await;
    }
    rig.stop.take().unwrap().send(()).unwrap();
    while tokio::net::TcpStream::connect(rig.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    rig.door.gate.add_permits(1);
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    rig.running.await.unwrap();
}

//! The client against real sockets: each answer is a script of bytes, so that also broken ones can be played.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]
use bytes::Bytes;
use egress::{Client, Destination, Failure, Policy};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Serve these bytes to every connection; `None` says nothing and keeps the connection.
async fn serve(answer: Option<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = [0_u8; 4096];
            let _ = socket.read(&mut head).await;
            match &answer {
                Some(answer) => {
                    let _ = socket.write_all(answer.as_bytes()).await;
                    let _ = socket.shutdown().await;
                }
                None => held.push(socket),
            }
        }
    });
    format!("http://localhost:{}", address.port())
}

fn get(url: &str) -> http::Request<Bytes> {
    http::Request::get(url).body(Bytes::new()).unwrap()
}

fn inside(url: &str) -> Policy {
    Policy::to(vec![Destination::of(url).unwrap().also_private()])
}

#[tokio::test]
async fn an_answer_comes_back_whole() {
    let url = serve(Some("HTTP/1.1 404 Not Found\r\nx-a: b\r\ncontent-length: 5\r\n\r\nhello".into())).await;
    let response = Client::new(inside(&url)).unwrap().send(get(&url)).await.unwrap();
    assert_eq!((response.status().as_u16(), response.body().as_ref()), (404, &b"hello"[..]));
    assert_eq!(response.headers()["x-a"], "b");
}

#[tokio::test]
async fn a_name_that_points_inwards_does_not_lead_inwards() {
    let url = serve(Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into())).await;
    let client = Client::new(Policy::to(vec![Destination::of(&url).unwrap()])).unwrap();
    let failure = client.send(get(&url)).await.unwrap_err();
    assert!(matches!(&failure, Failure::AddressNotAllowed { host, .. } if host == "localhost"), "{failure}");
}

#[tokio::test]
async fn what_is_not_named_is_not_reached() {
    let url = serve(Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into())).await;
    let client = Client::new(inside("http://localhost:1")).unwrap();
    assert!(matches!(client.send(get(&url)).await, Err(Failure::NotAllowed { .. })));
}

#[tokio::test]
async fn a_body_over_the_bound_is_cut_off() {
    let url = serve(Some(format!("HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n{}", "x".repeat(2000)))).await;
    let client = Client::new(Policy { body_bytes_max: 1999, ..inside(&url) }).unwrap();
    assert!(matches!(client.send(get(&url)).await, Err(Failure::TooLarge { bytes_max: 1999, .. })));
    let client = Client::new(Policy { body_bytes_max: 2000, ..inside(&url) }).unwrap();
    assert_eq!(client.send(get(&url)).await.unwrap().body().len(), 2000);
}

#[tokio::test]
async fn silence_and_half_answers_are_failures() {
    let url = serve(None).await;
    let client = Client::new(Policy { pause_timeout: Duration::from_millis(50), ..inside(&url) }).unwrap();
    assert!(matches!(client.send(get(&url)).await, Err(Failure::Timeout { .. })));
    let url = serve(Some("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".into())).await;
    assert!(matches!(Client::new(inside(&url)).unwrap().send(get(&url)).await, Err(Failure::BrokenAnswer { .. })));
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    drop(listener);
    let failure = Client::new(inside(&url)).unwrap().send(get(&url)).await.unwrap_err();
    assert!(matches!(failure, Failure::Unreachable { .. }), "{failure}");
}

#[tokio::test]
async fn redirects_are_not_followed_unless_allowed_and_then_judged() {
    let end = serve(Some("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nend".into())).await;
    let url = serve(Some(format!("HTTP/1.1 302 Found\r\nlocation: {end}/\r\ncontent-length: 0\r\n\r\n"))).await;
    let none = Client::new(inside(&url)).unwrap().send(get(&url)).await.unwrap();
    assert_eq!(none.status().as_u16(), 302);

    let astray = Policy { redirects_max: 2, ..inside(&url) };
    assert!(matches!(Client::new(astray).unwrap().send(get(&url)).await, Err(Failure::NotAllowed { .. })));

    let mut both = Policy { redirects_max: 2, ..inside(&url) };
    both.destinations.push(Destination::of(&end).unwrap().also_private());
    assert_eq!(Client::new(both).unwrap().send(get(&url)).await.unwrap().body().as_ref(), b"end");

    let round = serve(Some("HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n".into())).await;
    let policy = Policy { redirects_max: 2, ..inside(&round) };
    assert!(matches!(Client::new(policy).unwrap().send(get(&round)).await, Err(Failure::TooManyRedirects { .. })));
}

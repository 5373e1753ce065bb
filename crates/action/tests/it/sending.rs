//! The way out against real sockets: what is not named is not reached, nothing is followed, answers end.

use action::{NoAnswer, Reads, Wire};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A server that answers every request with these bytes and counts them; how many came, and its port.
async fn serve(answer: String) -> (Arc<AtomicUsize>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let came = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&came);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = [0_u8; 4096];
                let _ = socket.read(&mut head).await;
                let _ = socket.write_all(answer.as_bytes()).await;
                let _ = socket.shutdown().await;
            });
        }
    });
    (came, port)
}

fn get(url: &str) -> http::Request<Bytes> {
    http::Request::get(url).body(Bytes::new()).unwrap()
}

fn wire(origin: &str, inside: &[&str]) -> Wire {
    let inside: Vec<String> = inside.iter().map(|name| (*name).to_owned()).collect();
    Wire::to(&[origin.to_owned()], &inside).unwrap()
}

#[tokio::test]
async fn inside_is_reached_only_where_document_and_setting_say_so() {
    let (came, port) = serve("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"ok\":true}".to_owned()).await;
    let origin = format!("http://localhost:{port}");
    let named = wire(&origin, &[&format!("localhost:{port}")]);
    let answer = named.ask(get(&origin), Reads::Json).await.unwrap();
    assert_eq!((answer.status, answer.body["ok"].as_bool()), (200, Some(true)));
    // Another host of the same server's setting is not in the document.
    let other = named.ask(get(&format!("http://127.0.0.1:{port}")), Reads::Json).await;
    assert!(matches!(other, Err(NoAnswer::Never(_))), "{other:?}");
    // Not in the setting: no way without TLS at all, and with TLS the name that leads inside is refused.
    assert!(Wire::to(&[origin], &["localhost:1".to_owned()]).is_err());
    let tls = format!("https://localhost:{port}");
    let refused = wire(&tls, &[]).ask(get(&tls), Reads::Json).await;
    assert!(matches!(refused, Err(NoAnswer::Never(egress::Failure::AddressNotAllowed { .. }))), "{refused:?}");
    let metadata = "https://169.254.169.254/latest/meta-data";
    let refused = wire(metadata, &[]).ask(get(metadata), Reads::Text).await;
    assert!(matches!(refused, Err(NoAnswer::Never(_))), "{refused:?}");
    assert_eq!(came.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_a_way() {
    let (there, target) = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
    for to in [format!("http://localhost:{target}/"), "http://169.254.169.254/latest/meta-data".to_owned()] {
        let (_, port) = serve(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")).await;
        let origin = format!("http://localhost:{port}");
        let answer = wire(&origin, &["localhost"]).ask(get(&origin), Reads::Json).await.unwrap();
        assert_eq!(answer.status, 302);
    }
    assert_eq!(there.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn large_broken_and_missing_answers_end() {
    let large = format!("HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n{}", " ".repeat(3_000_000));
    for body in [large, "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_owned(), "nonsense\r\n\r\n".to_owned()] {
        let (_, port) = serve(body).await;
        let origin = format!("http://localhost:{port}");
        let answer = wire(&origin, &["localhost"]).ask(get(&origin), Reads::Json).await;
        assert!(matches!(answer, Err(NoAnswer::Perhaps(_))), "{answer:?}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let origin = format!("http://127.0.0.1:{closed}");
    let answer = wire(&origin, &["127.0.0.1"]).ask(get(&origin), Reads::Json).await;
    assert!(matches!(answer, Err(NoAnswer::NotNow(_))), "{answer:?}");
}

#[tokio::test]
async fn a_slow_answer_ends_within_its_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = [0_u8; 4096];
        let _ = socket.read(&mut head).await;
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
        // A byte now and then: no pause is long, and the whole would take forever.
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(200));
        loop {
            tick.tick().await;
            if socket.write_all(b" ").await.is_err() {
                return;
            }
        }
    });
    let origin = format!("http://localhost:{port}");
    let began = std::time::Instant::now();
    let answer = wire(&origin, &["localhost"]).ask(get(&origin), Reads::Json).await;
    assert!(matches!(&answer, Err(NoAnswer::Perhaps(why)) if why.contains("within 7 s")), "{answer:?}");
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}

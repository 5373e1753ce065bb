//! What lies below HTTP: TLS, HTTP/2, and what a raw socket may say.

use crate::door::Rig;
use serde_json::json;
use server::Tls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn tls_serves_both_versions_of_http() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let tls = Tls::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap();
    let rig = Rig::start_with(|config| config.tls = Some(tls)).await;
    assert!(rig.url.starts_with("https://"));
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let url = format!("https://localhost:{}/v1/boxes/b/things", rig.address.port());
    for version in [reqwest::Version::HTTP_11, reqwest::Version::HTTP_2] {
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only([root.clone()]);
        let client = match version {
            reqwest::Version::HTTP_11 => builder.http1_only(),
            _ => builder,
        };
        let answer = client.build().unwrap().get(&url).bearer_auth("good").send().await.unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (version, 200));
        assert!(answer.headers().contains_key("strict-transport-security"));
    }
    // Plain text to the same port gets no further than the handshake.
    assert!(rig.client.get(url.replace("https", "http")).send().await.is_err());
}

#[test]
fn a_key_that_does_not_fit_is_refused() {
    let (one, two) = (make(), make());
    assert!(Tls::from_pem(one.cert.pem().as_bytes(), two.signing_key.serialize_pem().as_bytes()).is_err());
    assert!(Tls::from_pem(b"x", b"y").is_err());
}

fn make() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap()
}

#[tokio::test]
async fn http_2_in_plain_text_works_without_a_host_header() {
    let rig = Rig::start().await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let url = format!("{}/v1/boxes/b/things", rig.url);
    let answer = client.post(url).bearer_auth("good").json(&json!({ "colour": "red" })).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
}

#[tokio::test]
async fn what_is_not_http_or_too_long_is_refused_by_status() {
    let rig = Rig::start_with(|config| config.limits.head_bytes_max = 9000).await;
    let long = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X-Many: 1\r\n".repeat(200));
    for (text, wanted) in [
        ("nonsense\r\n\r\n", "400"),
        (long.as_str(), "431"),
        (many.as_str(), "431"),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "404"),
        ("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "404"),
        // Two lengths: the chunks count and the other is dropped (RFC 9112 section 6.3), so this body is empty.
        (
            "POST /v1/me/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\
             Connection: close\r\n\r\n0\r\n\r\n",
            "422",
        ),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "200"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(rig.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A server that stops reading may reset the connection after its answer.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        let head: String = text.chars().take(60).collect();
        assert_eq!(answer.split(' ').nth(1), Some(wanted), "{head}: {answer}");
    }
}

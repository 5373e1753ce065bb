//! Somebody else's service on this machine, for connectors: it remembers every request and answers as a test says.
#![expect(clippy::expect_used, reason = "a test whose service cannot be set up has failed")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// One request as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// The method.
    pub method: String,
    /// Path and query as they came.
    pub target: String,
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Heard {
    /// A header; empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Whether the body holds this text.
    #[must_use]
    pub fn says(&self, text: &str) -> bool {
        self.body.contains(text)
    }
}

/// What a service answers: status and body; none hangs up without a word.
type Answers = dyn Fn(&Heard) -> Option<(u16, String)> + Send + Sync;

/// The service, while it listens.
pub struct Service {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Service {
    /// A service that answers like this.
    pub async fn start(answers: impl Fn(&Heard) -> Option<(u16, String)> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the service binds");
        let address = listener.local_addr().expect("the service's address");
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let (kept, answers) = (heard.clone(), Arc::new(answers) as Arc<Answers>);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answers.clone(), kept.clone()));
            }
        });
        Self { address, heard }
    }

    /// Its address as `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it heard so far.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(mut stream: TcpStream, answers: Arc<Answers>, kept: Arc<Mutex<Vec<Heard>>>) {
    let mut bytes = Vec::new();
    while let Some(heard) = hear(&mut stream, &mut bytes).await {
        let answer = answers(&heard);
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
        let Some((status, body)) = answer else { return };
        let text = format!("HTTP/1.1 {status} Told\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The next request of a connection; none where it ends.
async fn hear(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Heard> {
    loop {
        if let Some((heard, length)) = parse(bytes) {
            bytes.drain(..length);
            return Some(heard);
        }
        let mut part = [0_u8; 8192];
        let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
        bytes.extend(part.iter().take(read));
    }
}

fn parse(bytes: &[u8]) -> Option<(Heard, usize)> {
    let head_bytes = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..head_bytes)?).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let pairs = lines.filter_map(|line| line.split_once(':'));
    let headers: BTreeMap<String, String> =
        pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let body = bytes.get(head_bytes + 4..head_bytes + 4 + length)?;
    let body = String::from_utf8_lossy(body).into_owned();
    Some((Heard { method, target, headers, body }, head_bytes + 4 + length))
}

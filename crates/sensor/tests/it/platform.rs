//! A platform in process: HTTP/1.1 by hand, just enough for the sensor's routes, and able to misbehave.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::SensorId;
use seal::{SeededEntropy, SigningKey, VerifyingKey};
use sensor::wire::{Base64, Enrol, Enrolled, Heartbeat, SignedResult, SignedTask, TaskResult, Tasks, WIRE_VERSION};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

/// How it treats batches.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Mood {
    /// 503 with `Retry-After`.
    Busy,
    /// Takes the batch and hangs up.
    Rude,
    #[default]
    Well,
}

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) mood: Mood,
    /// Records by the key of their batch: a batch that comes again is the same batch.
    pub(crate) batches: BTreeMap<String, Vec<Value>>,
    pub(crate) deliveries: usize,
    pub(crate) heartbeats: Vec<Heartbeat>,
    pub(crate) tasks: Vec<SignedTask>,
    pub(crate) results: Vec<TaskResult>,
    pub(crate) chunks: BTreeMap<u64, Vec<u8>>,
    sensor_key: Option<VerifyingKey>,
}

impl Book {
    pub(crate) fn records(&self) -> Vec<Value> {
        self.batches.values().flatten().cloned().collect()
    }
}

pub(crate) struct Platform {
    pub(crate) address: String,
    pub(crate) book: Arc<Mutex<Book>>,
    /// Told after each request.
    changed: Arc<Notify>,
    pub(crate) key: SigningKey,
    pub(crate) sensor: SensorId,
}

const TOKEN: &str = "one-time";

impl Platform {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let key = SigningKey::generate(&SeededEntropy::new(7));
        let book = Arc::<Mutex<Book>>::default();
        let sensor = SensorId::derive(&[b"test"]);
        let changed = Arc::new(Notify::new());
        let (shared, tell, public) = (Arc::clone(&book), Arc::clone(&changed), key.verifying_key());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared), Arc::clone(&tell), sensor, public));
            }
        });
        Self { address, book, changed, key, sensor }
    }

    pub(crate) async fn enrol(&self, state: &std::path::Path) {
        let sensor = sensor::enrol(state, &self.address, TOKEN, &SeededEntropy::new(9)).await.unwrap();
        assert_eq!(sensor, self.sensor);
    }

    /// Wait until the book is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Book) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if wanted(&self.book.lock().unwrap()) {
                    return;
                }
                changed.await;
            }
        };
        timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("after 30 s: {what}"));
    }

    /// Wait for so many requests, or until none comes for a while.
    pub(crate) async fn requests(&self, count: u16) {
        for _ in 0..count {
            if timeout(Duration::from_millis(300), self.changed.notified()).await.is_err() {
                return;
            }
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    book: Arc<Mutex<Book>>,
    changed: Arc<Notify>,
    sensor: SensorId,
    key: VerifyingKey,
) {
    while let Some((line, headers, body)) = request(&mut stream).await {
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (status, answer) = match (method, path) {
            ("POST", "/v1/sensors/enrol") => enrol(&book, sensor, key, &headers, &body),
            ("POST", "/v1/ingest/hosts") => {
                let mood = book.lock().unwrap().mood;
                if mood == Mood::Busy {
                    ("503 Busy\r\nRetry-After: 1", Vec::new())
                } else {
                    take(&book, &headers, &body);
                    if mood == Mood::Rude {
                        changed.notify_waiters();
                        return;
                    }
                    ("200 OK", b"{}".to_vec())
                }
            }
            ("GET", _) => {
                let tasks = Tasks { tasks: book.lock().unwrap().tasks.clone() };
                if tasks.tasks.is_empty() {
                    // Kept open for a while, as the platform does for longer.
                    let pause = std::future::pending::<()>();
                    drop(timeout(Duration::from_millis(200), pause).await);
                }
                ("200 OK", serde_json::to_vec(&tasks).unwrap())
            }
            (_, path) if path.ends_with("/heartbeat") => {
                book.lock().unwrap().heartbeats.push(serde_json::from_slice(&body).unwrap());
                ("204 No Content", Vec::new())
            }
            (_, path) if path.ends_with("/result") => {
                let signed: SignedResult = serde_json::from_slice(&body).unwrap();
                let mut book = book.lock().unwrap();
                let result = signed.open(&book.sensor_key.unwrap()).unwrap();
                book.results.push(result);
                ("204 No Content", Vec::new())
            }
            ("PUT", path) if path.contains("/chunks/") => {
                let index = path.rsplit('/').next().unwrap().parse().unwrap();
                let chunk: sensor::wire::Chunk = serde_json::from_slice(&body).unwrap();
                let bytes = STANDARD.decode(chunk.content).unwrap();
                book.lock().unwrap().chunks.insert(index, bytes);
                ("204 No Content", Vec::new())
            }
            _ => ("404 Not Found", Vec::new()),
        };
        changed.notify_waiters();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", answer.len());
        if stream.write_all(&[head.as_bytes(), &answer].concat()).await.is_err() {
            return;
        }
    }
}

fn enrol(
    book: &Mutex<Book>,
    sensor: SensorId,
    key: VerifyingKey,
    headers: &HashMap<String, String>,
    body: &[u8],
) -> (&'static str, Vec<u8>) {
    let enrol: Enrol = serde_json::from_slice(body).unwrap();
    if headers["authorization"] != format!("Bearer {TOKEN}") {
        return ("403 Forbidden", b"{}".to_vec());
    }
    book.lock().unwrap().sensor_key = VerifyingKey::from_bytes(&enrol.public_key.0).ok();
    let enrolled = Enrolled {
        version: WIRE_VERSION,
        sensor,
        source: "hosts".to_owned(),
        ingest_credential: "ingest".to_owned(),
        credential: "sensor".to_owned(),
        task_key: Base64(key.to_bytes()),
    };
    ("200 OK", serde_json::to_vec(&enrolled).unwrap())
}

fn take(book: &Mutex<Book>, headers: &HashMap<String, String>, body: &[u8]) {
    assert_eq!(headers["authorization"], "Bearer ingest");
    assert_eq!(headers["content-encoding"], "zstd");
    let text = String::from_utf8(zstd::decode_all(body).unwrap()).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut book = book.lock().unwrap();
    book.deliveries += 1;
    let before = book.batches.insert(headers["idempotency-key"].clone(), records.clone());
    assert!(before.is_none_or(|before| before == records), "one key for two batches");
}

async fn request(stream: &mut TcpStream) -> Option<(String, HashMap<String, String>, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(count @ 1..) => bytes.extend_from_slice(&part[..count]),
            _ => return None,
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines().map(str::to_owned);
    let first = lines.next()?;
    let pair = |line: String| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers: HashMap<String, String> = lines.filter_map(pair).collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = bytes[end + 4..].to_vec();
    let have = body.len();
    body.resize(length.max(have), 0);
    stream.read_exact(&mut body[have..]).await.ok()?;
    Some((first, headers, body))
}

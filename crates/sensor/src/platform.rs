//! Calls to the platform: the only network traffic of the sensor. Knows the routes of `wire` and reads answers with
//! bounds; when to try again is decided by who calls.

use crate::state::Identity;
use crate::wire::{Chunk, Enrol, Enrolled, Heartbeat, SignedResult, Tasks};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use egress::{Client, Destination, Failure, Policy};
use http::{Method, Request, Response, StatusCode, header};
use ids::SensorTaskId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::IpAddr;
use std::time::Duration;
use thiserror::Error;

/// Bytes of an answer at most.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// How long the platform may keep a question for tasks open.
pub(crate) const TASKS_WAIT: Duration = Duration::from_secs(25);
/// The longest pause that the platform can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// Why a call had no success.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlatformError {
    /// Nothing came back that could be read as an answer.
    #[error("the platform cannot be reached")]
    Failure(#[from] Failure),
    /// The answer is not what it should be.
    #[error("the platform's answer is not understood; is `{0}` a Posse server of this version")]
    Answer(String),
    /// The platform does not take this now; again later.
    #[error("the platform is busy ({status})")]
    Busy {
        /// Its status.
        status: StatusCode,
        /// How long to wait, where it says so.
        retry_after: Option<Duration>,
    },
    /// The platform will not take this.
    #[error("the platform refuses ({status}): {detail}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its words, bounded.
        detail: String,
    },
}

/// The platform.
#[derive(Clone)]
pub(crate) struct Platform {
    base: String,
    client: Client,
}

impl Platform {
    /// The platform at an address like `https://posse.example.com`. `remembered`: where its name led before.
    pub(crate) fn new(base: &str, remembered: Vec<IpAddr>) -> Result<Self, Failure> {
        let place = Destination::of(base)?.also_private();
        let remembered = vec![(place.host.clone(), remembered)];
        let policy = Policy { body_bytes_max: ANSWER_BYTES_MAX, remembered, ..Policy::to(vec![place]) };
        Ok(Self { base: base.trim_end_matches('/').to_owned(), client: Client::new(policy)? })
    }

    pub(crate) async fn enrol(&self, token: &str, enrol: &Enrol) -> Result<Enrolled, PlatformError> {
        let answer = self.send(self.json(Method::POST, "/v1/sensors/enrol", Some(token), enrol)?).await?;
        self.read(&answer)
    }

    /// Hand over a batch of records.
    pub(crate) async fn ingest(&self, identity: &Identity, key: &str, body: Vec<u8>) -> Result<(), PlatformError> {
        let path = format!("/v1/ingest/{}", identity.enrolled.source);
        let request = self
            .request(Method::POST, &path, Some(&identity.enrolled.ingest_credential))
            .header(header::CONTENT_TYPE, "application/x-ndjson")
            .header(header::CONTENT_ENCODING, "zstd")
            .header("idempotency-key", key);
        self.send(self.finish(request, body)?).await.map(drop)
    }

    pub(crate) async fn heartbeat(&self, identity: &Identity, heartbeat: &Heartbeat) -> Result<(), PlatformError> {
        let path = format!("/v1/sensors/{}/heartbeat", identity.enrolled.sensor);
        self.send(self.json(Method::POST, &path, Some(&identity.enrolled.credential), heartbeat)?).await.map(drop)
    }

    /// The tasks that wait for this sensor; an empty list after [`TASKS_WAIT`].
    pub(crate) async fn tasks(&self, identity: &Identity) -> Result<Tasks, PlatformError> {
        let path = format!("/v1/sensors/{}/tasks?wait={}", identity.enrolled.sensor, TASKS_WAIT.as_secs());
        let request = self.request(Method::GET, &path, Some(&identity.enrolled.credential));
        let answer = self.send(self.finish(request, Vec::new())?).await?;
        self.read(&answer)
    }

    pub(crate) async fn result(
        &self,
        identity: &Identity,
        task: SensorTaskId,
        result: &SignedResult,
    ) -> Result<(), PlatformError> {
        let path = format!("/v1/sensors/{}/tasks/{task}/result", identity.enrolled.sensor);
        self.send(self.json(Method::POST, &path, Some(&identity.enrolled.credential), result)?).await.map(drop)
    }

    pub(crate) async fn chunk(
        &self,
        identity: &Identity,
        task: SensorTaskId,
        index: u64,
        bytes: Vec<u8>,
    ) -> Result<(), PlatformError> {
        let path = format!("/v1/sensors/{}/tasks/{task}/chunks/{index}", identity.enrolled.sensor);
        let body = Chunk { content: STANDARD.encode(bytes) };
        self.send(self.json(Method::PUT, &path, Some(&identity.enrolled.credential), &body)?).await.map(drop)
    }

    fn request(&self, method: Method, path: &str, credential: Option<&str>) -> http::request::Builder {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        let request = request.header(header::USER_AGENT, concat!("posse-sensor/", env!("CARGO_PKG_VERSION")));
        match credential {
            Some(credential) => request.header(header::AUTHORIZATION, format!("Bearer {credential}")),
            None => request,
        }
    }

    fn finish(&self, request: http::request::Builder, body: Vec<u8>) -> Result<Request<Bytes>, PlatformError> {
        let invalid = |_| Failure::InvalidRequest { url: self.base.chars().take(200).collect() };
        Ok(request.body(Bytes::from(body)).map_err(invalid)?)
    }

    fn json(
        &self,
        method: Method,
        path: &str,
        credential: Option<&str>,
        body: &impl Serialize,
    ) -> Result<Request<Bytes>, PlatformError> {
        let body = serde_json::to_vec(body).map_err(|_| PlatformError::Answer(self.base.clone()))?;
        self.finish(self.request(method, path, credential).header(header::CONTENT_TYPE, "application/json"), body)
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, PlatformError> {
        let answer = self.client.send(request).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let seconds = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = seconds.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
        let busy = status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY);
        if busy {
            return Err(PlatformError::Busy { status, retry_after });
        }
        let detail = String::from_utf8_lossy(answer.body()).chars().take(300).collect();
        Err(PlatformError::Refused { status, detail })
    }

    fn read<T: DeserializeOwned>(&self, answer: &Response<Bytes>) -> Result<T, PlatformError> {
        serde_json::from_slice(answer.body()).map_err(|_| PlatformError::Answer(self.base.clone()))
    }
}

/// Pauses between attempts: twice as long each time, with chance, so that a thousand sensors do not knock at once.
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) const fn new(max: Duration) -> Self {
        Self { next: Duration::from_millis(250), max }
    }

    pub(crate) const fn reset(&mut self) {
        self.next = Duration::from_millis(250);
    }

    /// How long to wait after this error.
    pub(crate) fn pause(&mut self, error: &PlatformError, entropy: &dyn ids::Entropy) -> Duration {
        let mut byte = [0];
        entropy.fill(&mut byte);
        let own = self.next.mul_f64(0.5 + f64::from(byte[0]) / 510.0);
        self.next = self.next.saturating_mul(2).min(self.max);
        match error {
            PlatformError::Busy { retry_after: Some(asked), .. } => own.max(*asked),
            _ => own,
        }
    }
}

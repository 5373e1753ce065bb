//! What sensor and platform say to each other. Every body is JSON with a `version`; unknown fields are errors on both
//! sides. The sensor always calls, the platform never does.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `POST /v1/sensors/enrol` | [`Enrol`], with the one-time token as the credential | [`Enrolled`] |
//! | `POST /v1/ingest/{source}` | zstd of NDJSON records, `Idempotency-Key` = the batch's place and content | as for every shipper |
//! | `POST /v1/sensors/{sensor}/heartbeat` | [`Heartbeat`] | any 2xx |
//! | `GET /v1/sensors/{sensor}/tasks?wait=SECONDS` | | [`Tasks`], at once if there are some, else after the wait |
//! | `PUT /v1/sensors/{sensor}/tasks/{task}/chunks/{index}` | [`Chunk`] | any 2xx; 409 and 404 mean that it is not wanted any more |
//! | `POST /v1/sensors/{sensor}/tasks/{task}/result` | [`SignedResult`] | any 2xx; 409 and 404 mean that it is not wanted any more |
//!
//! All carry `Authorization: Bearer`: the first the token, ingest a key of its own, the others the credential of
//! [`Enrolled`]. A
//! task is signed by the platform and a result by the sensor: ed25519 over RFC 8785 JSON of `{"purpose", "content"}`, so
//! that neither stands for the other. The same task may be handed out again until its result came.

use crate::identity::ProcessGuid;
use crate::telemetry::SourceHealth;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::{SensorId, SensorTaskId, Timestamp};
use seal::{Digest, SigningKey, VerifyingKey, canonical_json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::IpAddr;
use thiserror::Error;

/// The version of these types.
pub const WIRE_VERSION: u32 = 1;
/// What a signature under a task is for.
pub const TASK_PURPOSE: &str = "posse.sensor.task.v1";
/// What a signature under a result is for.
pub const RESULT_PURPOSE: &str = "posse.sensor.result.v1";

/// Bytes as standard base64.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Base64<const N: usize>(pub [u8; N]);

impl<const N: usize> Serialize for Base64<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Base64<N> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom(format_args!("is not {N} bytes in base64")))
    }
}

/// "I am new here."
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// [`WIRE_VERSION`].
    pub version: u32,
    /// The sensor's ed25519 key; the private half never leaves the host.
    pub public_key: Base64<32>,
    /// What the host says about itself: claims, not facts.
    pub host: HostFacts,
}

/// What a host says about itself.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFacts {
    /// Its name.
    pub hostname: String,
    /// `PRETTY_NAME` of `/etc/os-release`.
    pub os: String,
    /// The kernel's release.
    pub kernel: String,
    /// The processor's architecture.
    pub architecture: String,
    /// SHA-256 of `/etc/machine-id` under a name of ours, so that a host that is enrolled again is known again.
    pub machine: Option<Digest>,
    /// The boot.
    pub boot: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The sensor's version.
    pub sensor_version: String,
}

/// "Welcome."
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    /// [`WIRE_VERSION`].
    pub version: u32,
    /// Who the sensor is from now on.
    pub sensor: SensorId,
    /// The source that its records belong to.
    pub source: String,
    /// The bearer token for `/v1/ingest/{source}`.
    pub ingest_credential: String,
    /// The bearer token for everything else.
    pub credential: String,
    /// The key that signs tasks.
    pub task_key: Base64<32>,
}

/// "I am well", or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// [`WIRE_VERSION`].
    pub version: u32,
    /// When, by the host's clock.
    pub at: Timestamp,
    /// How it is.
    pub health: Health,
    /// The host, as in [`Enrol`].
    pub host: HostFacts,
}

/// How a sensor is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Since when it runs.
    pub started_at: Timestamp,
    /// Its sources, with what they saw and lost.
    pub sources: Vec<SourceHealth>,
    /// Its spool.
    pub spool: SpoolHealth,
    /// Its way to the platform.
    pub uplink: UplinkHealth,
    /// Until when the host is isolated.
    pub isolated_until: Option<Timestamp>,
}

/// How the spool is.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolHealth {
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes that it may have.
    pub bytes_max: u64,
    /// Records taken since start.
    pub records: u64,
    /// Records that found no place since start.
    pub records_lost: u64,
}

/// How the way to the platform is.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UplinkHealth {
    /// Batches acknowledged since start.
    pub batches: u64,
    /// Records acknowledged since start.
    pub records: u64,
    /// Records in batches that the platform will never take (it calls them malformed).
    pub records_refused: u64,
    /// When the platform last acknowledged.
    pub acknowledged_at: Option<Timestamp>,
    /// Why the last attempt failed; none where it did not.
    pub failure: Option<String>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tasks {
    /// In the order in which they are to be done.
    pub tasks: Vec<SignedTask>,
}

/// A task as it was signed. Its text is kept as it came: what is checked is what was signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedTask {
    /// A [`Task`].
    pub task: Value,
    /// The platform's signature over it with [`TASK_PURPOSE`].
    pub signature: Base64<64>,
}

/// One piece of work for one sensor.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// [`WIRE_VERSION`].
    pub version: u32,
    /// Its id: done at most once.
    pub id: SensorTaskId,
    /// For whom it is.
    pub sensor: SensorId,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// After this instant it is not begun.
    pub expires_at: Timestamp,
    /// What.
    pub work: Work,
}

/// The kinds of work.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "arguments", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Work {
    /// Send a file.
    FileCollect {
        /// Its absolute path; no part of it a link.
        path: String,
        /// Refused where it is larger, at most 64 MiB. Bytes.
        bytes_max: u64,
    },
    /// Cut the host off from all but the platform and itself.
    HostIsolate {
        /// After this time the host is released, also without the platform. 60 to 2,592,000 (30 days).
        for_secs: u32,
    },
    /// The inverse.
    HostRelease {},
    /// End a process, by identity.
    ProcessKill {
        /// Which.
        process: ProcessGuid,
        /// Its descendants too.
        tree: bool,
    },
    /// List all processes.
    ProcessList {},
    /// List all sockets.
    SocketList {},
}

/// A part of a collected file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    /// Its bytes in base64. The result says, signed, how many bytes the parts are together and what their SHA-256 is.
    pub content: String,
}

/// What became of a task, as the sensor signed it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedResult {
    /// A [`TaskResult`].
    pub result: Value,
    /// The sensor's signature over it with [`RESULT_PURPOSE`].
    pub signature: Base64<64>,
}

/// What became of a task.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskResult {
    /// [`WIRE_VERSION`].
    pub version: u32,
    /// Which.
    pub task: SensorTaskId,
    /// By whom.
    pub sensor: SensorId,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When it was over.
    pub finished_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a task ended.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// It was done, and looking afterwards showed that it took effect.
    Done {
        /// Whether it was so before.
        already: bool,
        /// What was seen before, done, and seen afterwards.
        details: Value,
    },
    /// It was tried and did not take effect, or that cannot be shown.
    Failed {
        /// Why.
        reason: String,
        /// What was seen.
        details: Value,
    },
    /// It was not begun: a precondition does not hold.
    Refused {
        /// Which.
        reason: String,
    },
}

/// Why signed content is not believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub enum SignatureFault {
    /// It cannot be brought into canonical form.
    #[error("the content has no canonical form; integers must stay within 2^53")]
    Canonical,
    /// Signed, but of an unknown shape or version.
    #[error("the content is not of a shape that this version knows")]
    Shape,
    /// Not signed by this key.
    #[error("the signature is not of the expected key")]
    Signature,
}

fn signed_bytes(purpose: &str, content: &Value) -> Result<Vec<u8>, SignatureFault> {
    canonical_json(&json!({ "purpose": purpose, "content": content })).map_err(|_| SignatureFault::Canonical)
}

fn sign(purpose: &str, content: &impl Serialize, key: &SigningKey) -> Result<(Value, Base64<64>), SignatureFault> {
    let content = serde_json::to_value(content).map_err(|_| SignatureFault::Canonical)?;
    let signature = Base64(key.sign(&signed_bytes(purpose, &content)?));
    Ok((content, signature))
}

fn open<T: DeserializeOwned>(
    purpose: &str,
    content: &Value,
    signature: &Base64<64>,
    key: &VerifyingKey,
) -> Result<T, SignatureFault> {
    if !key.verify(&signed_bytes(purpose, content)?, &signature.0) {
        return Err(SignatureFault::Signature);
    }
    T::deserialize(content).map_err(|_| SignatureFault::Shape)
}

impl SignedTask {
    /// Sign a task: the platform's side.
    ///
    /// # Errors
    /// [`SignatureFault::Canonical`].
    pub fn sign(task: &Task, key: &SigningKey) -> Result<Self, SignatureFault> {
        let (task, signature) = sign(TASK_PURPOSE, task, key)?;
        Ok(Self { task, signature })
    }

    /// The task, if this key signed it.
    ///
    /// # Errors
    /// [`SignatureFault`].
    pub fn open(&self, key: &VerifyingKey) -> Result<Task, SignatureFault> {
        let task: Task = open(TASK_PURPOSE, &self.task, &self.signature, key)?;
        if task.version == WIRE_VERSION { Ok(task) } else { Err(SignatureFault::Shape) }
    }
}

impl SignedResult {
    /// Sign a result: the sensor's side.
    ///
    /// # Errors
    /// [`SignatureFault::Canonical`].
    pub fn sign(result: &TaskResult, key: &SigningKey) -> Result<Self, SignatureFault> {
        let (result, signature) = sign(RESULT_PURPOSE, result, key)?;
        Ok(Self { result, signature })
    }

    /// The result, if this key signed it: the platform's side.
    ///
    /// # Errors
    /// [`SignatureFault`].
    pub fn open(&self, key: &VerifyingKey) -> Result<TaskResult, SignatureFault> {
        open(RESULT_PURPOSE, &self.result, &self.signature, key)
    }
}

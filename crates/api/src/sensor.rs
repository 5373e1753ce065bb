//! Sensors: the programs on hosts that send telemetry and carry out signed tasks. A sensor is a principal of its own: it
//! reports, fetches its tasks and says what came of them, and can do nothing else.

use crate::{Etag, Limit, Meta, Method, NewCredential, Operation, Page, Secret, example, operation::declare};
use ids::{List, SensorId, SensorTaskId, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where a sensor is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SensorState {
    /// Made here; no host has used its enrolment token yet.
    Invited,
    /// A host runs under its identity.
    Enrolled,
    /// Never again: its credentials are dead.
    Retired,
}

/// A sensor.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Sensor {
    /// Its id.
    pub id: SensorId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What people call it.
    pub name: Text<200>,
    /// Where it is in its life.
    pub state: SensorState,
    /// Tags of the host, which policy may ask about, for example `crown-jewel`.
    pub tags: List<Text<64>, 32>,
    /// The source that its telemetry belongs to.
    pub source: Text<64>,
    /// The host, once it is enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Value>,
    /// What it last said of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Value>,
    /// When it last said anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The version.
    pub etag: Etag,
}

/// A sensor with its enrolment token.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NewSensor {
    /// The sensor.
    pub sensor: Sensor,
    /// The token, shown this once and good for one enrolment: `posse sensor enrol --token ...` on the host.
    pub credential: NewCredential,
}

/// Make a sensor's identity, with a token that enrols one host under it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SensorCreate {
    /// Whose.
    pub tenant: TenantId,
    /// What people call it, for example the host's name: at least one visible character.
    #[schemars(regex(pattern = r"^[^\u0000]*\S[^\u0000]*$"))]
    pub name: Text<200>,
    /// Tags of the host, which policy may ask about, for example `crown-jewel`.
    #[serde(default)]
    pub tags: List<Text<64>, 32>,
    /// The source that its telemetry belongs to; `sensor` where nothing is said. It is made where it is not there.
    #[serde(default = "sensor_source")]
    pub source: crate::SourceName,
    /// How long the token lives, in seconds: 60 to 604,800; one hour where nothing is said.
    #[serde(default = "one_hour")]
    #[schemars(range(min = 60, max = 604_800))]
    pub ttl_secs: u32,
}

#[expect(clippy::unwrap_used, reason = "a constant that is well formed; the declarations' test reads it")]
fn sensor_source() -> crate::SourceName {
    "sensor".parse().unwrap()
}

fn one_hour() -> u32 {
    3600
}

/// Look at one sensor.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SensorGet {
    /// Which sensor.
    pub sensor: SensorId,
}

/// List a tenant's sensors; without a tenant, for the provider's principals, those of every tenant.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SensorList {
    /// Whose; where nothing is said, the caller's own tenant or, for the provider's, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Change a sensor's name or tags. Tags decide which approvals a response on the host needs.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SensorUpdate {
    /// Which sensor.
    pub sensor: SensorId,
    /// New name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<200>>,
    /// All tags from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<List<Text<64>, 32>>,
    /// Only if this is still its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// End a sensor for good: its credentials are dead at once.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SensorRetire {
    /// Which sensor.
    pub sensor: SensorId,
}

/// Take up a sensor's identity on a host. Called by the host with the enrolment token, which is dead afterwards.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SensorEnrol {
    /// The wire's version: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// The host's own ed25519 public key, 32 bytes in base64. Its private half never leaves the host.
    #[schemars(regex(pattern = "^[A-Za-z0-9+/]{43}=$"))]
    pub public_key: Text<64>,
    /// What the host says of itself: claims, not facts. An object of at most 16 KiB.
    pub host: serde_json::Map<String, Value>,
}

/// What an enrolled sensor works with.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Enrolled {
    /// The wire's version.
    pub version: u32,
    /// The sensor.
    pub sensor: SensorId,
    /// The source that its telemetry belongs to.
    pub source: Text<64>,
    /// Bearer for `POST /v1/ingest/{source}`. Good for a year; shown this once.
    pub ingest_credential: Secret<200>,
    /// Bearer for the sensor's own operations. Good for a year; shown this once.
    pub credential: Secret<200>,
    /// The platform's ed25519 public key, 32 bytes in base64: tasks that it did not sign are to be refused.
    pub task_key: Text<64>,
}

/// Say how the sensor fares. Called by the sensor, about once a minute.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SensorHeartbeat {
    /// Which sensor: the caller.
    pub sensor: SensorId,
    /// The wire's version: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// When, by the host's clock.
    pub at: Timestamp,
    /// How it is: its sources with what they saw and lost, its spool, its way here. An object of at most 64 KiB.
    pub health: serde_json::Map<String, Value>,
    /// What the host says of itself, as at enrolment.
    pub host: serde_json::Map<String, Value>,
}

/// Fetch the sensor's tasks. Called by the sensor; waits for the first where there is none.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SensorTasks {
    /// Which sensor: the caller.
    pub sensor: SensorId,
    /// How long to wait for a task, in seconds: 0 to 25; 0 where nothing is said.
    #[serde(default)]
    #[schemars(range(max = 25))]
    pub wait: u32,
}

/// A task as the platform signed it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SignedTask {
    /// The task: `version`, `id`, `sensor`, `issued_at`, `expires_at`, `work`.
    pub task: Value,
    /// ed25519 over the RFC 8785 form of `{"content": task, "purpose": "posse.sensor.task.v1"}`, 64 bytes in base64.
    pub signature: String,
}

/// Tasks that wait for the sensor.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SignedTasks {
    /// Oldest first; a task stands here until its result came or its time is over.
    pub tasks: Vec<SignedTask>,
}

/// Say what came of a task. Called by the sensor; saying it again changes nothing.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SensorReport {
    /// Which sensor: the caller.
    pub sensor: SensorId,
    /// Which task.
    pub task: SensorTaskId,
    /// What came of it: `version`, `task`, `sensor`, `started_at`, `finished_at`, `outcome` with `status` done, failed or
    /// refused. At most 256 KiB as JSON.
    pub result: serde_json::Map<String, Value>,
    /// The sensor's ed25519 signature over the RFC 8785 form of `{"content": result, "purpose":
    /// "posse.sensor.result.v1"}`, 64 bytes in base64.
    #[schemars(regex(pattern = "^[A-Za-z0-9+/]{86}==$"))]
    pub signature: Text<128>,
}

/// Hand over a part of a collected file.
///
/// Called by the sensor, part after part, before it says what came of the task; the same part again replaces what was there.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SensorSendChunk {
    /// Which sensor: the caller.
    pub sensor: SensorId,
    /// Which task: one to collect a file.
    pub task: SensorTaskId,
    /// Which part, from 0.
    #[schemars(range(max = 255))]
    pub index: u32,
    /// The part's bytes in base64: 256 KiB, but for the last. Kept sealed; on the record it is blank.
    pub content: Secret<349_528>,
}

/// That something was taken note of.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Noted {
    /// When.
    pub at: Timestamp,
}

declare! {
    SensorCreate => NewSensor: Meta::govern("sensor.create", Method::Post, "/v1/tenants/{tenant}/sensors", "Tenant"),
        json!({ "tenant": example::TENANT, "name": "web-3" });
    SensorGet => Sensor: Meta::read("sensor.get", Method::Get, "/v1/sensors/{sensor}", "Sensor"),
        json!({ "sensor": example::SENSOR });
    SensorList => Page<Sensor>: Meta::read("sensor.list", Method::Get, "/v1/sensors", "Tenant"), json!({});
    SensorUpdate => Sensor: Meta::govern("sensor.update", Method::Patch, "/v1/sensors/{sensor}", "Sensor"),
        json!({ "sensor": example::SENSOR, "tags": ["crown-jewel"] });
    SensorRetire => Sensor: Meta::govern("sensor.retire", Method::Post, "/v1/sensors/{sensor}/retire", "Sensor").idempotent(),
        json!({ "sensor": example::SENSOR });
    SensorEnrol => Enrolled: Meta::write("sensor.enrol", Method::Post, "/v1/sensors/enrol", "Self"),
        json!({ "version": 1, "public_key": format!("{}=", "A".repeat(43)), "host": { "hostname": "web-3" } });
    SensorHeartbeat => Noted: Meta::write("sensor.heartbeat", Method::Post, "/v1/sensors/{sensor}/heartbeat", "Sensor").idempotent(),
        json!({ "sensor": example::SENSOR, "version": 1, "at": "2026-11-22T12:00:00Z", "health": {}, "host": { "hostname": "web-3" } });
    SensorTasks => SignedTasks: Meta::read("sensor.tasks", Method::Get, "/v1/sensors/{sensor}/tasks", "Sensor"),
        json!({ "sensor": example::SENSOR });
    SensorSendChunk => Noted: Meta::write("sensor.send_chunk", Method::Put, "/v1/sensors/{sensor}/tasks/{task}/chunks/{index}", "Sensor").idempotent(),
        json!({ "sensor": example::SENSOR, "task": example::SENSOR_TASK, "index": 0, "content": "Y29udGVudA==" });
    SensorReport => Noted: Meta::write("sensor.report", Method::Post, "/v1/sensors/{sensor}/tasks/{task}/result", "Sensor").idempotent(),
        json!({ "sensor": example::SENSOR, "task": example::SENSOR_TASK, "signature": format!("{}==", "A".repeat(86)),
            "result": { "outcome": { "status": "refused", "reason": "expired" } } });
}

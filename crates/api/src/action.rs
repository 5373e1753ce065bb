//! Response actions: what is done to hosts. Each kind says what must hold before, what is kept as evidence first, how it is
//! verified, and how it is undone. Every one goes through policy like any other call; none is taken twice.

use crate::{Limit, Meta, Method, Obligation, Operation, Page, example, operation::declare};
use ids::{ActionId, ApprovalId, CallId, CaseId, Principal, RunId, SensorId, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What is done, as an `OpenC2` action and target.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// `copy file`: fetch a file of a host as evidence.
    CollectFile,
    /// `contain device`: cut a host off from everything but the platform.
    IsolateHost,
    /// `stop process`: end a process, with its descendants.
    KillProcess,
    /// `query features`: which processes run.
    ListProcesses,
    /// `query ipv4_connection`: which sockets are open.
    ListSockets,
    /// `restore device`: the inverse of an isolation.
    ReleaseHost,
    /// What an action of a connector says.
    RunConnector,
}

impl ActionKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::CollectFile,
        Self::IsolateHost,
        Self::KillProcess,
        Self::ListProcesses,
        Self::ListSockets,
        Self::ReleaseHost,
        Self::RunConnector,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CollectFile => "collect_file",
            Self::IsolateHost => "isolate_host",
            Self::KillProcess => "kill_process",
            Self::ListProcesses => "list_processes",
            Self::ListSockets => "list_sockets",
            Self::ReleaseHost => "release_host",
            Self::RunConnector => "run_connector",
        }
    }
}

/// How far a response action has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionState {
    /// It took effect, as far as the one who carried it out can tell; `verified` says whether it looked.
    Done,
    /// It was only worked out what it would do.
    DryRun,
    /// Its time was over before anybody took it.
    Expired,
    /// It was tried and did not take effect.
    Failed,
    /// It waits to be fetched by the sensor, or to be sent by the connector.
    Sent,
    /// It was refused: a precondition does not hold.
    Refused,
    /// It may have taken effect and nobody can tell: a person must look.
    Uncertain,
}

/// What came of a response action.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionEnd {
    /// Whoever carries it out did it.
    Executed,
    /// Nobody took it in time.
    Expired,
    /// It did not take effect.
    Failed,
    /// It was not begun: a precondition does not hold.
    Refused,
    /// Nobody can tell whether it took effect: a person must look.
    Uncertain,
    /// What undoes it took effect, or its time to live was over.
    Undone,
    /// Its effect did not show in its time.
    Unverified,
    /// Its effect was looked for and found.
    Verified,
}

/// One thing that came of a response action. It also stands in the lake (table `actions`: OCSF 7001 to 7004, the action's id
/// as `command_uid`, this word as `status_detail`) and on the timeline of the action's case.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ActionOutcome {
    /// What.
    pub outcome: ActionEnd,
    /// When it was known.
    pub at: Timestamp,
    /// Who told.
    pub by: Principal,
    /// The call: its record in the audit log.
    pub call: CallId,
    /// In words.
    pub detail: Text<2000>,
}

/// A response action.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Action {
    /// Its id, also its `command_uid` in OCSF.
    pub id: ActionId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What is done.
    pub kind: ActionKind,
    /// Which sensor carries it out, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorId>,
    /// Which connector carries it out, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector: Option<Text<64>>,
    /// Which of the connector's actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub does: Option<Text<64>>,
    /// What was kept before it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Value>,
    /// Until when its effect must show, while it is still looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_by: Option<Timestamp>,
    /// What it was asked with.
    pub arguments: Value,
    /// Why, in the words of whoever asked.
    pub reason: Text<1000>,
    /// The case that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// Who asked.
    pub requested_by: Principal,
    /// On whose behalf, nearest first.
    pub on_behalf_of: Vec<Principal>,
    /// The run that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The call on the record that asked for it.
    pub call: CallId,
    /// The approval that it was taken under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalId>,
    /// How far it has come.
    pub state: ActionState,
    /// Whether somebody looked afterwards and found the effect.
    pub verified: bool,
    /// What became of it, for people.
    pub detail: Text<2000>,
    /// What it brought.
    pub output: Value,
    /// When its inverse happens by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// The action that it undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<ActionId>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its end was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What came of it so far, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcomes: Vec<ActionOutcome>,
    /// How many hosts it touches.
    pub hosts: u32,
}

/// What kind of action there is, and what it promises.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ActionType {
    /// The kind.
    pub kind: ActionKind,
    /// The operation that asks for it.
    pub operation: String,
    /// The `OpenC2` action.
    pub openc2_action: String,
    /// The `OpenC2` target type.
    pub openc2_target: String,
    /// What must hold before.
    pub precondition: String,
    /// What is kept as evidence before it happens.
    pub evidence: String,
    /// How its effect is looked for.
    pub verify: String,
    /// The kind that undoes it; absent where nothing does, or where the connector says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inverse: Option<ActionKind>,
    /// Whether the inverse happens by itself after a time to live.
    pub ends_by_itself: bool,
}

/// Which response actions there are: what must hold, what is kept, how each is verified and undone.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionCatalogue {}

/// All kinds of actions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ActionTypes {
    /// By kind.
    pub items: Vec<ActionType>,
}

/// End a process on a host, with its descendants. The process is named by what stays the same over the reuse of numbers.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionKillProcess {
    /// The sensor of the host.
    pub sensor: SensorId,
    /// The process as `BOOT:PID:START`: the `ProcessGuid` of the sensor's records, `process_uid` in the lake.
    #[schemars(regex(pattern = "^[^:\\x00-\\x1f]{1,64}:[0-9]{1,7}:[0-9]{1,18}$"))]
    pub process: Text<128>,
    /// Whether its descendants end, too; so where nothing is said.
    #[serde(default = "yes")]
    pub tree: bool,
    /// Why.
    pub reason: Text<1000>,
    /// The case that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// Only work out what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// Cut a host off from everything but the platform. Ends by itself after its time to live, also without the platform.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionIsolateHost {
    /// The sensor of the host.
    pub sensor: SensorId,
    /// After how many seconds the host is released by itself: 60 to 2,592,000; one hour where nothing is said.
    #[serde(default = "one_hour")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub ttl_secs: u32,
    /// Why.
    pub reason: Text<1000>,
    /// The case that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// Only work out what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// Release an isolated host.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionReleaseHost {
    /// The sensor of the host.
    pub sensor: SensorId,
    /// Why.
    pub reason: Text<1000>,
    /// The case that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
}

/// Ask a host which processes run on it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionListProcesses {
    /// The sensor of the host.
    pub sensor: SensorId,
    /// Why.
    pub reason: Text<1000>,
    /// The case that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
}

/// Ask a host which sockets are open on it, and whose they are.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionListSockets {
    /// The sensor of the host.
    pub sensor: SensorId,
    /// Why.
    pub reason: Text<1000>,
    /// The case that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
}

/// Fetch a file of a host as evidence.
///
/// Only a regular file is given away, at its own place: no part of the path may be a link. The sensor signs the file's length
/// and SHA-256; what arrives is kept, sealed, only where it is just that. With a case, it becomes a piece of its evidence.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionCollectFile {
    /// The sensor of the host.
    pub sensor: SensorId,
    /// The file's absolute path, without `..` and links.
    #[schemars(regex(pattern = "^/[^\\x00]*[^/\\x00]$"))]
    pub path: Text<4096>,
    /// Refused where the file is larger: bytes, 1 to 67,108,864; 16 MiB where nothing is said.
    #[serde(default = "sixteen_mebibytes")]
    #[schemars(range(min = 1, max = 67_108_864))]
    pub bytes_max: u32,
    /// Why.
    pub reason: Text<1000>,
    /// The case that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// Only work out what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// Read a part of a collected file.
///
/// Its content is somebody else's, and may be hostile: open it nowhere but where that is safe.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionGetFile {
    /// The action that collected it.
    pub action: ActionId,
    /// Which part, from 0; the first where nothing is said.
    #[serde(default)]
    #[schemars(range(max = 255))]
    pub part: u32,
}

/// A part of a collected file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CollectedPart {
    /// The action that collected it.
    pub action: ActionId,
    /// The path that it had on its host.
    pub path: Text<4096>,
    /// Bytes of the whole file.
    pub bytes: u64,
    /// SHA-256 of the whole file, hexadecimal; signed by the sensor and checked when the file came.
    pub sha256: Text<64>,
    /// Which part this is, from 0.
    pub part: u32,
    /// How many there are; none of an empty file.
    pub parts: u32,
    /// The part's bytes in base64; 256 KiB, but for the last.
    pub content: String,
}

/// Undo a response action by its inverse. Decided anew, like any other call.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionUndo {
    /// Which action.
    pub action: ActionId,
    /// Why.
    pub reason: Text<1000>,
}

/// Look at one response action.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionGet {
    /// Which action.
    pub action: ActionId,
    /// Wait so long for its end before answering: seconds, at most 25.
    #[serde(default)]
    #[schemars(range(max = 25))]
    pub wait: u32,
}

/// List response actions, newest last.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionList {
    /// Whose; where nothing is said, the caller's own tenant or, for the provider's, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Only those of this case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

fn yes() -> bool {
    true
}

fn sixteen_mebibytes() -> u32 {
    16 << 20
}

fn one_hour() -> u32 {
    3600
}

declare! {
    ActionCatalogue => ActionTypes: Meta::read("action.catalogue", Method::Get, "/v1/actions/catalogue", "Provider"), json!({});
    ActionKillProcess => Action: Meta::respond("action.kill_process", Method::Post, "/v1/sensors/{sensor}/kill-process", "Sensor"),
        json!({ "sensor": example::SENSOR, "process": "0d1f8f4e:4242:1207", "reason": "unsigned beacon" });
    ActionIsolateHost => Action: Meta::respond("action.isolate_host", Method::Post, "/v1/sensors/{sensor}/isolate", "Sensor")
        .keeps(&[Obligation::TtlSecsMax]),
        json!({ "sensor": example::SENSOR, "ttl_secs": 3600, "reason": "credential theft under way" });
    ActionReleaseHost => Action: Meta::respond("action.release_host", Method::Post, "/v1/sensors/{sensor}/release", "Sensor"),
        json!({ "sensor": example::SENSOR, "reason": "cleaned" });
    ActionListProcesses => Action: Meta::respond("action.list_processes", Method::Post, "/v1/sensors/{sensor}/list-processes", "Sensor"),
        json!({ "sensor": example::SENSOR, "reason": "what else runs there" });
    ActionListSockets => Action: Meta::respond("action.list_sockets", Method::Post, "/v1/sensors/{sensor}/list-sockets", "Sensor"),
        json!({ "sensor": example::SENSOR, "reason": "who does it talk to" });
    ActionCollectFile => Action: Meta::respond("action.collect_file", Method::Post, "/v1/sensors/{sensor}/collect-file", "Sensor"),
        json!({ "sensor": example::SENSOR, "path": "/tmp/.x/payload", "reason": "what the beacon ran" });
    ActionGetFile => CollectedPart: Meta::read("action.get_file", Method::Get, "/v1/actions/{action}/file", "ResponseAction"),
        json!({ "action": example::ACTION });
    ActionUndo => Action: Meta::respond("action.undo", Method::Post, "/v1/actions/{action}/undo", "ResponseAction"),
        json!({ "action": example::ACTION, "reason": "false alarm" });
    ActionGet => Action: Meta::read("action.get", Method::Get, "/v1/actions/{action}", "ResponseAction"),
        json!({ "action": example::ACTION });
    ActionList => Page<Action>: Meta::read("action.list", Method::Get, "/v1/actions", "Tenant"), json!({});
}

//! Sensors as principals, and the response actions that they carry out.

use crate::{Key, Resource, sortable};
use ids::{ActionId, ApprovalId, CallId, CaseId, Owner, Principal, RunId, SensorId, SensorTaskId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where a sensor is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SensorState {
    /// No host has its identity yet.
    Invited,
    /// A host has it.
    Enrolled,
    /// For good.
    Retired,
}

/// A sensor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sensor {
    /// Its id.
    pub id: SensorId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
    /// Where it is in its life.
    pub state: SensorState,
    /// Tags of its host.
    pub tags: Vec<String>,
    /// The source of its telemetry.
    pub source: String,
    /// Its own public key, in base64.
    pub public_key: Option<String>,
    /// The host, as it says.
    pub host: Option<Value>,
    /// What it last said of itself.
    pub health: Option<Value>,
    /// When it last said anything.
    pub last_seen: Option<Timestamp>,
    /// Credentials made before this instant are dead.
    pub credentials_from: Timestamp,
}

impl Resource for Sensor {
    const KIND: &'static str = "sensor";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::unique("name", format!("{}/{}", self.tenant, self.name))]
    }
}

/// How far a response action has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionState {
    /// It took effect.
    Done,
    /// Worked out only.
    DryRun,
    /// Too late for anybody to take it.
    Expired,
    /// It did not take effect.
    Failed,
    /// The sensor refused it.
    Refused,
    /// It waits for the sensor.
    Sent,
    /// Nobody knows.
    Uncertain,
}

/// What came of a response action, in the order in which it came.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionEnd {
    /// Whoever carries it out did it.
    Executed,
    /// Nobody took it in time.
    Expired,
    /// It did not take effect.
    Failed,
    /// It was not begun.
    Refused,
    /// Nobody can tell whether it took effect.
    Uncertain,
    /// What undoes it took effect, or its time to live was over.
    Undone,
    /// Its effect did not show in its time.
    Unverified,
    /// Its effect was looked for and found.
    Verified,
}

impl ActionEnd {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Uncertain => "uncertain",
            Self::Undone => "undone",
            Self::Unverified => "unverified",
            Self::Verified => "verified",
        }
    }
}

/// One thing that came of a response action.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActionOutcome {
    /// What.
    pub end: ActionEnd,
    /// When it was known.
    pub at: Timestamp,
    /// Who told.
    pub by: Principal,
    /// The call under which it is on the record.
    pub call: CallId,
    /// In words.
    pub detail: String,
}

/// The part of a response action that a connector carries out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ConnectorCall {
    /// Whose connector; none is the provider's.
    pub owner: Option<TenantId>,
    /// Its name.
    pub name: String,
    /// Digest of the document that it was decided with, hexadecimal; it is not sent by another.
    pub digest: String,
    /// Which action of the connector.
    pub action: String,
    /// What was kept before it was sent.
    pub evidence: Map<String, Value>,
    /// From then on it may have been sent.
    pub leaving: bool,
    /// When its effect is looked for next.
    pub look_at: Option<Timestamp>,
    /// Until when its effect must show.
    pub verify_by: Option<Timestamp>,
    /// Its inverse was asked for.
    pub undone: bool,
}

/// A response action.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResponseAction {
    /// Its id.
    pub id: ActionId,
    /// Its tenant.
    pub tenant: TenantId,
    /// The word for its kind.
    pub kind: String,
    /// Who carries it out, where a sensor does.
    #[serde(default)]
    pub sensor: Option<SensorId>,
    /// How it is carried out, where a connector does.
    #[serde(default)]
    pub connector: Option<ConnectorCall>,
    /// What it was asked with.
    pub arguments: Value,
    /// Why.
    pub reason: String,
    /// Its case.
    pub case: Option<CaseId>,
    /// Who asked.
    pub requested_by: Principal,
    /// On whose behalf, nearest first.
    pub on_behalf_of: Vec<Principal>,
    /// The run that asked.
    pub run: Option<RunId>,
    /// The call on the record.
    pub call: CallId,
    /// The operation of that call.
    pub operation: String,
    /// The approval that it was taken under.
    pub approval: Option<ApprovalId>,
    /// When the credential of the call was issued: the kill switch compares with it.
    pub issued_at: Timestamp,
    /// Whether a person of the provider asked.
    pub provider_person: bool,
    /// Where the caller belongs or is bound to; none is the provider.
    pub home: Option<TenantId>,
    /// How far it has come.
    pub state: ActionState,
    /// Whether its effect was looked for and found.
    pub verified: bool,
    /// What became of it.
    pub detail: String,
    /// What it brought.
    pub output: Value,
    /// When its inverse happens by itself.
    pub ends_at: Option<Timestamp>,
    /// The action that it undoes.
    pub undoes: Option<ActionId>,
    /// The task that the sensor is given.
    #[serde(default)]
    pub task_id: Option<SensorTaskId>,
    /// The task, and its signature in base64; none where it was only worked out.
    pub task: Option<(Value, String)>,
    /// From then on nobody may take it.
    pub expires_at: Timestamp,
    /// When its end was told.
    pub ended_at: Option<Timestamp>,
    /// What came of it so far, oldest first.
    #[serde(default)]
    pub outcomes: Vec<ActionOutcome>,
    /// How many of these stand in the lake and on the timeline of its case.
    #[serde(default)]
    pub outcomes_told: usize,
}

impl Resource for ResponseAction {
    const KIND: &'static str = "action";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        let sensor = self.sensor.filter(|_| self.state == ActionState::Sent);
        let open = sensor.map(|sensor| Key::lookup("open", sensor.to_string()));
        let waiting = (self.state == ActionState::Sent).then(|| Key::lookup("state", "sent"));
        let case = self.case.map(|case| Key::lookup("case", case.to_string()));
        let task = self.task_id.map(|task| Key::unique("task", task.to_string()));
        let connector = self.connector.as_ref();
        let look = connector.and_then(|call| call.look_at).map(|time| Key::lookup("look", sortable(time)));
        // Whatever may have taken effect ends by its inverse, unless somebody asked for that already.
        let took = matches!(self.state, ActionState::Done | ActionState::Uncertain);
        let ends = connector.filter(|call| took && !call.undone).and(self.ends_at);
        let ends = ends.map(|time| Key::lookup("ends", sortable(time)));
        let untold = (self.outcomes.len() > self.outcomes_told).then(|| Key::lookup("untold", "yes"));
        // A sensor releases its host by itself; that it did is heard from it.
        let over = |last: &ActionOutcome| matches!(last.end, ActionEnd::Uncertain | ActionEnd::Undone);
        let over = self.outcomes.last().is_some_and(over);
        let lapses = self.sensor.filter(|_| self.state == ActionState::Done && !over).and(self.ends_at);
        let lapses = lapses.map(|time| Key::lookup("lapses", sortable(time)));
        [open, waiting, case, task, look, ends, untold, lapses].into_iter().flatten().collect()
    }
}

/// A part of a file that a sensor collected.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CollectedChunk {
    /// The action that asked for it.
    pub action: ActionId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Which part, from 0.
    pub index: u32,
    /// Its bytes, sealed, in base64. Tenant, action and index are the envelope's context: a moved one does not open.
    pub sealed: String,
}

impl CollectedChunk {
    /// The id of a part.
    #[must_use]
    pub fn key(action: ActionId, index: u32) -> String {
        format!("{action}/{index:05}")
    }
}

impl Resource for CollectedChunk {
    const KIND: &'static str = "collected_chunk";
    fn id(&self) -> String {
        Self::key(self.action, self.index)
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}

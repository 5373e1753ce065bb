//! What came of response actions: noted in the action by the commit that records it, then told by a round of the platform to
//! the lake, to the timeline of the action's case and, where an effect is missing, as a finding. Telling may be repeated after
//! a crash and says the same; an outcome that was committed is never left untold.

use crate::action_event::{Setting, ocsf};
use crate::context::Control;
use crate::refusal::Refusal;
use api::Acted;
use case::EntryKind;
use ids::{CallId, EvidenceId, Owner, Principal, Scope, Text, Timestamp};
use serde_json::Value;
use std::time::Duration;
use store::{
    ActionEnd, ActionOutcome, ActionState, CaseEntry, Changes, Commit, CommitError, Connector, ResponseAction, Sensor,
    Stored, sortable,
};

/// Actions of one round.
const TOLD_AT_ONCE: u32 = 64;
/// Characters of an entry of a timeline.
const ENTRY_CHARS: usize = 600;
/// The name under which outcomes are told.
const TELLER: &str = "action-outcomes";
/// Entries of a timeline that tell outcomes are numbered from here: the call itself has those before.
const ENTRIES_FROM: u16 = 1000;
/// So long after its time a release may be heard of.
const RELEASE_GRACE: Duration = Duration::from_secs(3600);

/// Who told what when, and where it is on the record.
pub(crate) struct Telling {
    pub(crate) by: Principal,
    pub(crate) call: CallId,
    pub(crate) at: Timestamp,
}

/// Note that something came of an action.
pub(crate) fn came(action: &mut ResponseAction, end: ActionEnd, telling: &Telling, detail: &str) {
    let Telling { by, call, at } = telling;
    let detail = Text::<2000>::truncated(detail).into_string();
    action.outcomes.push(ActionOutcome { end, at: *at, by: by.clone(), call: *call, detail });
}

/// Note that an action has ended, as its state says.
pub(crate) fn ended(action: &mut ResponseAction, telling: &Telling) {
    let ends: &[ActionEnd] = match action.state {
        ActionState::Done if action.verified => &[ActionEnd::Executed, ActionEnd::Verified],
        ActionState::Done => &[ActionEnd::Executed],
        ActionState::Expired => &[ActionEnd::Expired],
        ActionState::Failed => &[ActionEnd::Failed],
        ActionState::Refused => &[ActionEnd::Refused],
        ActionState::Uncertain => &[ActionEnd::Uncertain],
        ActionState::DryRun | ActionState::Sent => &[],
    };
    let detail = action.detail.clone();
    for end in ends {
        came(action, *end, telling, &detail);
    }
}

/// What an entry of a timeline that tells this is.
const fn entry_kind(end: ActionEnd) -> EntryKind {
    match end {
        ActionEnd::Executed => EntryKind::Done,
        ActionEnd::Expired | ActionEnd::Failed | ActionEnd::Refused => EntryKind::Failed,
        ActionEnd::Uncertain => EntryKind::Uncertain,
        ActionEnd::Undone => EntryKind::Undone,
        ActionEnd::Unverified => EntryKind::Unverified,
        ActionEnd::Verified => EntryKind::Verified,
    }
}

/// The finding that an outcome of a sensor's action is: its effect is missing, or nobody knows. Connectors raise theirs.
fn finding(action: &ResponseAction, end: ActionEnd) -> Option<(&'static str, &'static str)> {
    if action.sensor.is_none() || action.kind.starts_with("list_") {
        return None;
    }
    match end {
        ActionEnd::Expired | ActionEnd::Unverified => {
            Some(("posse.action.unverified", "An action's effect never showed"))
        }
        ActionEnd::Failed if action.undoes.is_some() => Some(("posse.action.not_undone", "An action was not undone")),
        ActionEnd::Failed => Some(("posse.action.failed", "An action did not take effect")),
        ActionEnd::Uncertain => Some(("posse.action.uncertain", "Nobody can tell whether an action took effect")),
        ActionEnd::Executed | ActionEnd::Refused | ActionEnd::Undone | ActionEnd::Verified => None,
    }
}

/// Whether an outcome says that an action took effect for good: no further look at it is to come.
fn took(action: &ResponseAction, end: ActionEnd) -> bool {
    let looked_for = action.connector.as_ref().is_some_and(|call| call.verify_by.is_some());
    match end {
        ActionEnd::Verified => true,
        ActionEnd::Executed => !action.verified && !looked_for,
        _ => false,
    }
}

/// The piece of evidence that a collected file is; one action collects one file.
pub(crate) fn evidence_of(action: &ResponseAction) -> EvidenceId {
    EvidenceId::derive(&[b"collected file", action.id.to_string().as_bytes()])
}

fn entry(action: &ResponseAction, outcome: &ActionOutcome, place: usize) -> Option<CaseEntry> {
    let word = outcome.end.as_str();
    let text = format!("{} {} {word}: {}", action.kind, action.id, outcome.detail);
    let collected = action.kind == "collect_file" && outcome.end == ActionEnd::Verified;
    Some(CaseEntry {
        case: action.case?,
        tenant: action.tenant,
        call: outcome.call,
        part: ENTRIES_FROM.saturating_add(u16::try_from(place).unwrap_or(u16::MAX)),
        kind: entry_kind(outcome.end),
        at: outcome.at,
        time: None,
        actor: outcome.by.clone(),
        run: action.run,
        operation: action.operation.clone(),
        text: text.trim_end_matches([':', ' ']).chars().take(ENTRY_CHARS).collect(),
        detections: Vec::new(),
        events: Vec::new(),
        evidence: if collected { vec![evidence_of(action)] } else { Vec::new() },
    })
}

impl Control {
    /// Tell what was not told yet. What cannot be told now holds back no others.
    pub(crate) async fn tell_outcomes(&self) -> Result<(), Refusal> {
        let key = Some(("untold", "yes".to_owned()));
        let page = store::Page { key, limit: TOLD_AT_ONCE, ..store::Page::default() };
        let waiting: Vec<Stored<ResponseAction>> = self.store.snapshot(Scope::Provider).list(&page).await?;
        let mut failed = Ok(());
        for stored in &waiting {
            match self.tell_outcomes_of(stored).await {
                // Somebody else was faster: the next round sees what is left.
                Ok(()) | Err(Refusal::Commit(CommitError::Conflict { .. })) => {}
                Err(refusal) => failed = Err(refusal),
            }
        }
        failed
    }

    async fn tell_outcomes_of(&self, stored: &Stored<ResponseAction>) -> Result<(), Refusal> {
        let action = &stored.value;
        let setting = self.setting_of(action).await?;
        let owner = Owner::Tenant(action.tenant);
        let record = self.digested_leaf(TELLER, "action.tell", owner, Some(action.id.to_string()), None, 200, None)?;
        let mut changes = Changes::new();
        for (place, outcome) in action.outcomes.iter().enumerate().skip(action.outcomes_told) {
            if let Some(plane) = &self.plane {
                let ocsf = ocsf(action, outcome, place, &setting).to_string();
                let key = Text::truncated(&format!("{}/{place}", action.id));
                plane.acted(Acted { tenant: action.tenant, key, at: outcome.at, ocsf }).await?;
            }
            if let Some((uid, title)) = finding(action, outcome.end) {
                self.raise(uid, title, action, &outcome.detail).await?;
            }
            if let Some(entry) = entry(action, outcome, place) {
                changes.create(&entry);
            }
            if took(action, outcome.end) {
                self.mark_undone(action, outcome, &mut changes).await?;
            }
        }
        let told = ResponseAction { outcomes_told: action.outcomes.len(), ..action.clone() };
        changes.replace(&told, stored.version);
        self.store.commit(Commit::new(self.now(), record).changes(changes)).await?;
        Ok(())
    }

    /// What an action undoes is undone once it took effect.
    async fn mark_undone(
        &self,
        inverse: &ResponseAction,
        outcome: &ActionOutcome,
        changes: &mut Changes,
    ) -> Result<(), Refusal> {
        let Some(undoes) = inverse.undoes else { return Ok(()) };
        let snapshot = self.store.snapshot(Scope::Tenant(inverse.tenant));
        let found: Option<Stored<ResponseAction>> = snapshot.read(&undoes.to_string()).await?;
        let Some(Stored { value: mut undone, version, .. }) = found else { return Ok(()) };
        if undone.outcomes.iter().any(|outcome| outcome.end == ActionEnd::Undone) {
            return Ok(());
        }
        let telling = Telling { by: outcome.by.clone(), call: outcome.call, at: outcome.at };
        came(&mut undone, ActionEnd::Undone, &telling, &format!("undone by {}", inverse.id));
        changes.replace(&undone, version);
        Ok(())
    }

    async fn setting_of(&self, action: &ResponseAction) -> Result<Setting, Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        let mut setting = Setting::default();
        if let Some(sensor) = action.sensor {
            let sensor: Option<Stored<Sensor>> = snapshot.read(&sensor.to_string()).await?;
            setting.host = sensor.and_then(|sensor| crate::sensor::hostname(&sensor.value).map(str::to_owned));
        }
        if let Some(call) = &action.connector {
            let found: Option<Stored<Connector>> = snapshot.read(&Connector::key(call.owner, &call.name)).await?;
            // A document that was changed since says nothing of what was done.
            let same = found.filter(|found| found.value.digest == call.digest);
            let reader = same.and_then(|found| action::Connector::read(&found.value.document).ok());
            let step = reader.as_ref().and_then(|reader| reader.step(&call.action));
            setting.openc2 = step.map(|step| (step.openc2.action.clone(), step.openc2.target.clone()));
        }
        Ok(setting)
    }

    /// Isolations whose time to live is over: the sensor releases its host by itself, and says so in its heartbeat.
    pub(crate) async fn end_isolations(&self) -> Result<(), Refusal> {
        let now = self.now();
        let (from, to) = (sortable(Timestamp::default()), sortable(now));
        let due: Vec<Stored<ResponseAction>> =
            self.store.snapshot(Scope::Provider).range("lapses", &from, &to, 1000).await?;
        for stored in due {
            match self.end_isolation(&stored, now).await {
                Ok(()) | Err(Refusal::Commit(CommitError::Conflict { .. })) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(())
    }

    async fn end_isolation(&self, stored: &Stored<ResponseAction>, now: Timestamp) -> Result<(), Refusal> {
        let (Some(sensor), Some(ends_at)) = (stored.value.sensor, stored.value.ends_at) else { return Ok(()) };
        let known: Option<Stored<Sensor>> = self.store.snapshot(Scope::Provider).read(&sensor.to_string()).await?;
        let known = known.map(|stored| stored.value);
        let seen = known.as_ref().and_then(|sensor| sensor.last_seen);
        let health = known.as_ref().and_then(|sensor| sensor.health.as_ref());
        let until = health.and_then(|health| health.get("isolated_until"));
        let released = until.is_some_and(Value::is_null) && seen.is_some_and(|seen| seen > ends_at);
        // Its time runs from when it was fetched; another isolation may have made it longer.
        let until: Option<Timestamp> = until.and_then(Value::as_str).and_then(|until| until.parse().ok());
        let last = ends_at.max(until.unwrap_or(ends_at)).plus(RELEASE_GRACE);
        let (end, detail, by) = if released {
            let detail = "its time to live is over, and the sensor says that the host is released";
            (ActionEnd::Undone, detail, Principal::Sensor(sensor))
        } else if now > last {
            let detail = "its time to live is over, and the sensor has not said that the host is released";
            (ActionEnd::Uncertain, detail, Principal::System(TELLER.to_owned()))
        } else {
            return Ok(());
        };
        let (owner, id) = (Owner::Tenant(stored.value.tenant), stored.value.id.to_string());
        let record = self.digested_leaf(TELLER, "action.lapse", owner, Some(id), None, 200, None)?;
        let mut lapsed = stored.value.clone();
        came(&mut lapsed, end, &Telling { by, call: record.call, at: now }, detail);
        let mut changes = Changes::new();
        changes.replace(&lapsed, stored.version);
        self.store.commit(Commit::new(now, record).changes(changes)).await?;
        Ok(())
    }
}

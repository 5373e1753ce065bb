//! Response actions: asked for, signed as a task for the sensor that carries them out, told on the record when they end. The
//! intent is the record of the call; the outcome is a second leaf of the same call. Must never touch a host by itself.

use crate::action_outcome::Telling;
use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::record::recorded_origin;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::sensor::sensor_target;
use crate::target::Target;
use api::{
    Action, ActionCatalogue, ActionGet, ActionIsolateHost, ActionKillProcess, ActionKind, ActionList,
    ActionListProcesses, ActionListSockets, ActionReleaseHost, ActionType, ActionTypes, ActionUndo, Face, Origin, Page,
};
use audit::{Decided, FormatVersion, Leaf, Phase, Record};
use case::{Entity, EntityKind};
use ids::{ActionId, CaseId, List, Owner, Principal, Scope, SensorId, SensorTaskId, Text, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;
use store::{ActionState, AuditEntry, Changes, Commit, ResponseAction, Sensor, SensorState, Stored};

/// For how long a sensor may fetch a task.
pub(crate) const TASK_TTL: Duration = Duration::from_secs(15 * 60);
/// After its time to be fetched, so long may pass until its result is missed.
const REPORT_GRACE: Duration = Duration::from_secs(60);
/// The longest wait for the end of an action.
const WAIT_SECS_MAX: u32 = 25;

fn kind_of(word: &str) -> Result<ActionKind, Refusal> {
    let found = ActionKind::ALL.into_iter().find(|kind| kind.as_str() == word);
    found.ok_or_else(|| Refusal::bug("a stored action is not well formed", &word))
}

pub(crate) fn wire(stored: Stored<ResponseAction>) -> Result<Action, Refusal> {
    let Stored { value, created_at, .. } = stored;
    let outcome = |one: &store::ActionOutcome| {
        let (by, detail) = (one.by.clone(), Text::truncated(&one.detail));
        Ok(api::ActionOutcome { outcome: crate::cases::same(&one.end)?, at: one.at, by, call: one.call, detail })
    };
    let outcomes = value.outcomes.iter().map(outcome).collect::<Result<_, Refusal>>()?;
    let call = value.connector;
    let kept = call.as_ref().map(|call| &call.evidence).filter(|kept| !kept.is_empty());
    Ok(Action {
        id: value.id,
        tenant: value.tenant,
        kind: kind_of(&value.kind)?,
        sensor: value.sensor,
        connector: call.as_ref().map(|call| Text::truncated(&call.name)),
        does: call.as_ref().map(|call| Text::truncated(&call.action)),
        evidence: kept.cloned().map(Value::Object),
        verify_by: call.as_ref().and_then(|call| call.verify_by),
        arguments: value.arguments,
        reason: Text::truncated(&value.reason),
        case: value.case,
        requested_by: value.requested_by,
        on_behalf_of: value.on_behalf_of,
        run: value.run,
        call: value.call,
        approval: value.approval,
        state: match value.state {
            ActionState::Done => api::ActionState::Done,
            ActionState::DryRun => api::ActionState::DryRun,
            ActionState::Expired => api::ActionState::Expired,
            ActionState::Failed => api::ActionState::Failed,
            ActionState::Refused => api::ActionState::Refused,
            ActionState::Sent => api::ActionState::Sent,
            ActionState::Uncertain => api::ActionState::Uncertain,
        },
        verified: value.verified,
        detail: Text::truncated(&value.detail),
        output: value.output,
        ends_at: value.ends_at,
        undoes: value.undoes,
        created_at,
        ended_at: value.ended_at,
        outcomes,
        hosts: u32::from(value.sensor.is_some()),
    })
}

/// What is asked of a sensor.
pub(crate) struct Asked {
    pub(crate) sensor: SensorId,
    pub(crate) kind: ActionKind,
    pub(crate) arguments: Value,
    pub(crate) reason: String,
    pub(crate) case: Option<CaseId>,
    pub(crate) ends_at: Option<Timestamp>,
    pub(crate) undoes: Option<ActionId>,
    pub(crate) dry_run: bool,
}

/// The kind of the task that a sensor is given.
const fn task_kind(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::CollectFile => "file_collect",
        ActionKind::IsolateHost => "host_isolate",
        ActionKind::KillProcess => "process_kill",
        ActionKind::ListProcesses => "process_list",
        ActionKind::ListSockets => "socket_list",
        ActionKind::ReleaseHost => "host_release",
        // No sensor is given one: `ask_sensor` is never called with it.
        ActionKind::RunConnector => "connector_run",
    }
}

pub(crate) async fn host(look: &Look<'_>, sensor: SensorId) -> Result<Target, Refusal> {
    Ok(sensor_target(&look.one::<Sensor>("sensor", &sensor.to_string()).await?.value))
}

impl Control {
    /// Keep an action with its signed task, or only what it would do.
    pub(crate) async fn ask_sensor(&self, admitted: &Admitted<'_>, asked: Asked) -> Result<Outcome<Action>, Refusal> {
        let sensor: Stored<Sensor> = admitted.one("sensor", &asked.sensor.to_string()).await?;
        if sensor.value.state != SensorState::Enrolled {
            return Err(Refusal::conflict("no host runs under this sensor; nobody could carry this out"));
        }
        admitted.check_case(asked.case).await?;
        let now = admitted.now;
        let id = ActionId::generate(self.clock.as_ref(), self.entropy.as_ref());
        let expires_at = now.plus(TASK_TTL);
        let task_id = SensorTaskId::generate(self.clock.as_ref(), self.entropy.as_ref());
        let task = json!({
            "version": 1, "id": task_id, "sensor": asked.sensor, "issued_at": now, "expires_at": expires_at,
            "work": { "kind": task_kind(asked.kind), "arguments": asked.arguments },
        });
        let signature = self.sign_task(&task)?;
        let exposure = admitted.identity.exposure(admitted.target.owner, None);
        let state = if asked.dry_run { ActionState::DryRun } else { ActionState::Sent };
        let action = ResponseAction {
            id,
            tenant: sensor.value.tenant,
            kind: asked.kind.as_str().to_owned(),
            sensor: Some(asked.sensor),
            connector: None,
            arguments: asked.arguments,
            reason: asked.reason,
            // What a run does on its case is of that case.
            case: asked.case.or(admitted.run_case()),
            requested_by: admitted.identity.principal.clone(),
            on_behalf_of: admitted.identity.on_behalf_of.clone(),
            run: admitted.identity.run,
            call: admitted.call,
            operation: admitted.operation.to_owned(),
            approval: admitted.approval,
            issued_at: exposure.issued_at,
            provider_person: exposure.provider_person,
            home: exposure.home.tenant(),
            state,
            verified: false,
            detail: String::new(),
            output: Value::Null,
            ends_at: asked.ends_at,
            undoes: asked.undoes,
            task_id: Some(task_id),
            task: (!asked.dry_run).then_some((task, signature)),
            expires_at,
            ended_at: None,
            outcomes: Vec::new(),
            outcomes_told: 0,
        };
        let mut changes = Changes::new();
        // Whoever retires the sensor, or gives its host other tags, at the same time makes this be decided anew.
        changes.expect::<Sensor>(&asked.sensor.to_string(), sensor.version);
        if !asked.dry_run {
            changes.create(&action);
        }
        Ok(Outcome::changed(wire(Stored { value: action, version: 1, created_at: now, updated_at: now })?, changes))
    }

    /// The second record of a response call: what came of it. Where something was said of it before, the third: what was
    /// uncertain is known after all.
    pub(crate) fn action_outcome_leaf(
        &self,
        before: &ResponseAction,
        action: &ResponseAction,
    ) -> Result<AuditEntry, Refusal> {
        let part = if before.ended_at.is_none() { 1 } else { 2 };
        let request_id = action.id.to_string();
        let origin = Origin { face: Face::Schedule, address: None, user_agent: None, request_id };
        let behind: Vec<Principal> = action.on_behalf_of.iter().rev().take(16).cloned().collect();
        let (status, word) = match action.state {
            ActionState::Done if action.verified => (200, "done and verified"),
            ActionState::Done => (200, "done, not verified"),
            ActionState::DryRun => (200, "worked out"),
            ActionState::Expired => (504, "expired"),
            ActionState::Failed => (502, "failed"),
            ActionState::Refused => (409, "refused by the sensor"),
            ActionState::Sent => (202, "sent"),
            ActionState::Uncertain => (504, "uncertain"),
        };
        let record = Record {
            v: FormatVersion,
            call: action.call,
            time: self.now(),
            tenant: Some(action.tenant),
            principal: action.requested_by.clone(),
            on_behalf_of: List::new(behind).unwrap_or_default(),
            run: action.run,
            operation: Text::truncated(&action.operation),
            effect: crate::record::record_effect(api::Effect::Respond),
            phase: Phase::Outcome,
            target: Some(audit::Target {
                kind: Text::truncated("Sensor"),
                id: Text::truncated(&action.sensor.map(|sensor| sensor.to_string()).unwrap_or_default()),
            }),
            input_digest: None,
            decision: audit::Decision {
                outcome: Decided::Allow,
                policies: List::default(),
                policy_version: None,
                rung: None,
                obligations: List::default(),
            },
            approvals: List::default(),
            outcome: audit::Outcome {
                status,
                problem: None,
                error: (status != 200).then(|| Text::truncated(&format!("{word}: {}", action.detail))),
            },
            duration_us: 0,
            origin: recorded_origin(&origin),
            agent: None,
            aggregate: None,
        };
        let leaf =
            Leaf::Call(Box::new(record)).encode().map_err(|error| Refusal::bug("a record does not encode", &error))?;
        Ok(AuditEntry { tree: Owner::Tenant(action.tenant), call: action.call, part, leaf, payload: None })
    }

    /// Actions that nobody fetched in time, and those whose result never came.
    pub(crate) async fn expire_actions(&self) -> Result<(), Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        let key = Some(("state", "sent".to_owned()));
        let page = store::Page { key, limit: 500, ..store::Page::default() };
        let waiting: Vec<Stored<ResponseAction>> = snapshot.list(&page).await?;
        let now = self.now();
        for stored in waiting.into_iter().filter(|stored| stored.value.expires_at.plus(REPORT_GRACE) <= now) {
            // What a connector carries ends with its message.
            let Some(sensor) = stored.value.sensor else { continue };
            let seen: Option<Stored<Sensor>> = snapshot.read(&sensor.to_string()).await?;
            // A sensor that spoke since may have fetched it.
            let spoke = seen.and_then(|sensor| sensor.value.last_seen).is_some_and(|seen| seen >= stored.created_at);
            let (state, detail) = if spoke {
                (
                    ActionState::Uncertain,
                    "the sensor may have fetched it and never said what came of it; look at the host",
                )
            } else {
                (ActionState::Expired, "the sensor has said nothing since it was asked")
            };
            let mut ended =
                ResponseAction { state, detail: detail.to_owned(), ended_at: Some(now), ..stored.value.clone() };
            let by = Principal::System("action-expiry".to_owned());
            crate::action_outcome::ended(&mut ended, &Telling { by, call: stored.value.call, at: now });
            let leaf = self.action_outcome_leaf(&stored.value, &ended)?;
            let mut changes = Changes::new();
            changes.replace(&ended, stored.version);
            self.store.commit(Commit::new(now, leaf).changes(changes)).await?;
        }
        Ok(())
    }
}

impl Handle<ActionCatalogue> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &ActionCatalogue) -> Result<Target, Refusal> {
        Ok(Target { owner: look.identity.place(), ..Target::provider() })
    }

    async fn handle(&self, _: &Admitted<'_>, _: ActionCatalogue) -> Result<Outcome<ActionTypes>, Refusal> {
        let items = ActionKind::ALL.into_iter().map(|kind| {
            let (openc2, precondition, evidence, verify, inverse) = match kind {
                ActionKind::CollectFile => (
                    ("copy", "file"),
                    "a regular file is at the path, no part of which is a link, and it is not larger than was said",
                    "the file itself",
                    "its length and SHA-256, which the sensor signed, are those of what came",
                    None,
                ),
                ActionKind::IsolateHost => (
                    ("contain", "device"),
                    "the host can filter packets, and the platform's address is known",
                    "the open sockets",
                    "the rules are read back from the kernel",
                    Some(ActionKind::ReleaseHost),
                ),
                ActionKind::KillProcess => (
                    ("stop", "process"),
                    "a process of this number runs that started at this time in this boot",
                    "its executable, arguments, parents and descendants",
                    "no process of this identity runs any more",
                    None,
                ),
                ActionKind::ListProcesses => (("query", "features"), "none", "none", "the answer itself", None),
                ActionKind::ListSockets => (("query", "ipv4_connection"), "none", "none", "the answer itself", None),
                ActionKind::ReleaseHost => (
                    ("restore", "device"),
                    "none",
                    "the rules that are taken away",
                    "no rule of the sensor is left in the kernel",
                    Some(ActionKind::IsolateHost),
                ),
                ActionKind::RunConnector => (
                    ("as the connector says", "as the connector says"),
                    "as the connector says; see `connector.get`",
                    "as the connector says",
                    "as the connector says; what does not show within its time is a finding",
                    None,
                ),
            };
            ActionType {
                kind,
                operation: format!("action.{}", kind.as_str()),
                openc2_action: openc2.0.to_owned(),
                openc2_target: openc2.1.to_owned(),
                precondition: precondition.to_owned(),
                evidence: evidence.to_owned(),
                verify: verify.to_owned(),
                inverse,
                ends_by_itself: matches!(kind, ActionKind::IsolateHost | ActionKind::RunConnector),
            }
        });
        Ok(Outcome::answer(ActionTypes { items: items.collect() }))
    }
}

impl Handle<ActionKillProcess> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ActionKillProcess) -> Result<Target, Refusal> {
        let sensor = look.one::<Sensor>("sensor", &input.sensor.to_string()).await?.value;
        let mut target = sensor_target(&sensor);
        let lineage = format!("{}/{}", crate::sensor::hostname(&sensor).unwrap_or_default(), input.process);
        target.entities.extend(Entity::new(EntityKind::Lineage, &lineage));
        Ok(target)
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ActionKillProcess) -> Result<Outcome<Action>, Refusal> {
        let sensor: Stored<Sensor> = admitted.one("sensor", &input.sensor.to_string()).await?;
        let told =
            |part: &Option<Value>| part.as_ref()?.get("boot")?.as_str().filter(|id| !id.is_empty()).map(str::to_owned);
        let boot = input.process.split(':').next().unwrap_or_default();
        if told(&sensor.value.host).is_some_and(|now| now != boot) {
            return Err(Refusal::conflict("the host has started anew since: the process is gone"));
        }
        let pid = input.process.split(':').nth(1).and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_none_or(|pid| pid < 2) {
            return Err(Refusal::fault(
                "/process",
                "names no process that may be ended; write BOOT:PID:START, PID above 1",
            ));
        }
        let arguments = json!({ "process": input.process, "tree": input.tree });
        let asked = Asked {
            sensor: input.sensor,
            kind: ActionKind::KillProcess,
            arguments,
            reason: input.reason.into_string(),
            case: input.case,
            ends_at: None,
            undoes: None,
            dry_run: input.dry_run,
        };
        self.ask_sensor(admitted, asked).await
    }
}

impl Handle<ActionIsolateHost> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ActionIsolateHost) -> Result<Target, Refusal> {
        host(look, input.sensor).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ActionIsolateHost) -> Result<Outcome<Action>, Refusal> {
        let bound = admitted.obligations.ttl_secs_max.and_then(|most| u32::try_from(most).ok()).unwrap_or(u32::MAX);
        let ttl_secs = input.ttl_secs.min(bound);
        let asked = Asked {
            sensor: input.sensor,
            kind: ActionKind::IsolateHost,
            arguments: json!({ "for_secs": ttl_secs }),
            reason: input.reason.into_string(),
            case: input.case,
            ends_at: Some(admitted.now.plus(Duration::from_secs(ttl_secs.into()))),
            undoes: None,
            dry_run: input.dry_run,
        };
        self.ask_sensor(admitted, asked).await
    }
}

/// The three actions that name a sensor, a reason and a case, and nothing that this side must look at.
macro_rules! plain_action {
    ($($operation:ty, $kind:expr, |$input:ident| $arguments:expr;)*) => {$(
        impl Handle<$operation> for Control {
            async fn resolve(&self, look: &Look<'_>, input: &$operation) -> Result<Target, Refusal> {
                host(look, input.sensor).await
            }

            async fn handle(&self, admitted: &Admitted<'_>, $input: $operation) -> Result<Outcome<Action>, Refusal> {
                let asked = Asked {
                    sensor: $input.sensor,
                    kind: $kind,
                    arguments: $arguments,
                    reason: $input.reason.into_string(),
                    case: $input.case,
                    ends_at: None,
                    undoes: None,
                    dry_run: false,
                };
                self.ask_sensor(admitted, asked).await
            }
        }
    )*};
}

plain_action! {
    ActionReleaseHost, ActionKind::ReleaseHost, |input| json!({});
    ActionListProcesses, ActionKind::ListProcesses, |input| json!({});
    ActionListSockets, ActionKind::ListSockets, |input| json!({});
}

pub(crate) async fn action_target(look: &Look<'_>, action: ActionId) -> Result<Target, Refusal> {
    let stored: Stored<ResponseAction> = look.one("action", &action.to_string()).await?;
    let mut target = Target::new("ResponseAction", action.to_string(), Owner::Tenant(stored.value.tenant));
    // What is protected is the host.
    let sensor: Option<Stored<Sensor>> = match stored.value.sensor {
        Some(sensor) => look.snapshot.read(&sensor.to_string()).await?,
        None => None,
    };
    if let Some(sensor) = sensor {
        let host = sensor_target(&sensor.value);
        (target.tags, target.entities) = (host.tags, host.entities);
    }
    Ok(target.named(stored.value.kind).made_by(stored.value.requested_by))
}

impl Handle<ActionUndo> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ActionUndo) -> Result<Target, Refusal> {
        action_target(look, input.action).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ActionUndo) -> Result<Outcome<Action>, Refusal> {
        let before: Stored<ResponseAction> = admitted.one("action", &input.action.to_string()).await?;
        if let Some(call) = before.value.connector.clone() {
            return crate::connectors::undo(self, admitted, before, call, input.reason.into_string()).await;
        }
        let Some(sensor) = before.value.sensor else {
            return Err(Refusal::bug("an action has nobody who carries it out", &input.action));
        };
        if kind_of(&before.value.kind)? != ActionKind::IsolateHost {
            return Err(Refusal::conflict("nothing undoes an action of this kind; see `action.catalogue`"));
        }
        if matches!(before.value.state, ActionState::Failed | ActionState::Refused | ActionState::Expired) {
            return Err(Refusal::conflict("the action never took effect; there is nothing to undo"));
        }
        let asked = Asked {
            sensor,
            kind: ActionKind::ReleaseHost,
            arguments: json!({}),
            reason: input.reason.into_string(),
            case: before.value.case,
            ends_at: None,
            undoes: Some(input.action),
            dry_run: false,
        };
        self.ask_sensor(admitted, asked).await
    }
}

impl Handle<ActionGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ActionGet) -> Result<Target, Refusal> {
        action_target(look, input.action).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ActionGet) -> Result<Outcome<Action>, Refusal> {
        let until = tokio::time::Instant::now() + Duration::from_secs(input.wait.min(WAIT_SECS_MAX).into());
        let mut changed = self.store.changes();
        loop {
            let snapshot = self.store.snapshot(Scope::from(admitted.target.owner));
            let stored: Option<Stored<ResponseAction>> = snapshot.read(&input.action.to_string()).await?;
            let stored = stored.ok_or_else(|| Refusal::not_found("action"))?;
            if stored.value.state != ActionState::Sent || tokio::time::Instant::now() >= until {
                return Ok(Outcome::answer(wire(stored)?));
            }
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                // The store is closed: what is there is the answer.
                ended = changed.changed() => if ended.is_err() { return Ok(Outcome::answer(wire(stored)?)) },
            }
        }
    }
}

impl Handle<ActionList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ActionList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ActionList) -> Result<Outcome<Page<Action>>, Refusal> {
        let key = input.case.map(|case| ("case", case.to_string()));
        Ok(Outcome::answer(admitted.page(None, key, input.limit, input.cursor.as_ref(), wire).await?))
    }
}

//! An action of a connector is asked for, by whoever may or by the platform when its time to live is over: the intent, with
//! the message that carries it, in one commit.

use super::preview::chosen;
use super::reader;
use crate::action::{TASK_TTL, wire};
use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::courier::{Dispatch, of_platform};
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use action::{Secrets, Values};
use api::{Action, ActionKind, ActionRunConnector};
use case::{Entity, EntityKind};
use ids::{ActionId, ApprovalId, CallId, CaseId, Owner, Principal, RunId, Scope, TenantId, Timestamp};
use serde_json::{Map, Value, json};
use std::time::Duration;
use store::{ActionState, Changes, Commit, Connector, ConnectorCall, ResponseAction, Stored};

/// Attempts to deliver one action.
const ATTEMPTS_MAX: u32 = 3;
/// The name that the platform undoes actions under.
const EXPIRY: &str = "action-expiry";
/// The operation that it records then.
const EXPIRE: &str = "action.end";

/// A name and the values that go with it.
type Given = (String, Map<String, Value>);

/// By whose authority.
struct Authority {
    requested_by: Principal,
    on_behalf_of: Vec<Principal>,
    run: Option<RunId>,
    call: CallId,
    operation: String,
    approval: Option<ApprovalId>,
    issued_at: Timestamp,
    provider_person: bool,
    home: Option<TenantId>,
}

impl Authority {
    fn of(admitted: &Admitted<'_>) -> Self {
        let exposure = admitted.identity.exposure(admitted.target.owner, None);
        Self {
            requested_by: admitted.identity.principal.clone(),
            on_behalf_of: admitted.identity.on_behalf_of.clone(),
            run: admitted.identity.run,
            call: admitted.call,
            operation: admitted.operation.to_owned(),
            approval: admitted.approval,
            issued_at: exposure.issued_at,
            provider_person: exposure.provider_person,
            home: exposure.home.tenant(),
        }
    }

    fn platform(call: CallId, now: Timestamp) -> Self {
        Self {
            requested_by: Principal::System(EXPIRY.to_owned()),
            on_behalf_of: Vec::new(),
            run: None,
            call,
            operation: EXPIRE.to_owned(),
            approval: None,
            issued_at: now,
            provider_person: false,
            home: None,
        }
    }
}

/// What is asked of a connector.
struct Wanted {
    id: ActionId,
    tenant: TenantId,
    does: String,
    inputs: Map<String, Value>,
    reason: String,
    case: Option<CaseId>,
    ends_at: Option<Timestamp>,
    undoes: Option<ActionId>,
}

fn planned(authority: Authority, connector: &Connector, wanted: Wanted, now: Timestamp) -> ResponseAction {
    ResponseAction {
        id: wanted.id,
        tenant: wanted.tenant,
        kind: ActionKind::RunConnector.as_str().to_owned(),
        sensor: None,
        connector: Some(ConnectorCall {
            owner: connector.tenant,
            name: connector.name.clone(),
            digest: connector.digest.clone(),
            action: wanted.does,
            ..ConnectorCall::default()
        }),
        arguments: Value::Object(wanted.inputs),
        reason: wanted.reason,
        case: wanted.case,
        requested_by: authority.requested_by,
        on_behalf_of: authority.on_behalf_of,
        run: authority.run,
        call: authority.call,
        operation: authority.operation,
        approval: authority.approval,
        issued_at: authority.issued_at,
        provider_person: authority.provider_person,
        home: authority.home,
        state: ActionState::Sent,
        verified: false,
        detail: String::new(),
        output: Value::Null,
        ends_at: wanted.ends_at,
        undoes: wanted.undoes,
        task_id: None,
        task: None,
        expires_at: now.plus(TASK_TTL),
        ended_at: None,
        outcomes: Vec::new(),
        outcomes_told: 0,
    }
}

/// The message that carries it. The courier itself sees to it that nothing is sent twice, so it may be given it again.
fn dispatch(connector: &Connector, action: &ResponseAction) -> Dispatch {
    Dispatch {
        channel: super::carry::CHANNEL,
        lane: format!("{}/{}", action.tenant, Connector::key(connector.tenant, &connector.name)),
        body: json!({ "action": action.id }),
        idempotent: true,
        attempts_max: ATTEMPTS_MAX,
    }
}

/// What an action is aimed at, among the entities of cases.
fn aimed(step: &action::Step, inputs: &Map<String, Value>) -> Option<Entity> {
    let aim = step.aim.as_ref()?;
    let kind: EntityKind = aim.entity.parse().ok()?;
    Entity::new(kind, inputs.get(&aim.input)?.as_str()?)
}

impl Control {
    async fn ask_connector(
        &self,
        admitted: &Admitted<'_>,
        connector: &Stored<Connector>,
        wanted: Wanted,
    ) -> Result<(ResponseAction, Changes), Refusal> {
        admitted.check_case(wanted.case).await?;
        if !connector.value.enabled {
            return Err(Refusal::conflict("the connector is switched off"));
        }
        let preview = self.preview(&connector.value, &wanted.does, &wanted.inputs, wanted.tenant)?;
        if let Some(obstacle) = preview.obstacles.first() {
            return Err(Refusal::conflict(obstacle.clone()));
        }
        let unfit =
            preview.requests.iter().find(|shown| shown.purpose != "verify").and_then(|shown| shown.unfit.clone());
        if let Some(unfit) = unfit {
            return Err(Refusal::fault("/inputs", unfit));
        }
        let action = planned(Authority::of(admitted), &connector.value, wanted, admitted.now);
        let mut changes = Changes::new();
        let key = Connector::key(connector.value.tenant, &connector.value.name);
        changes.create(&action).expect::<Connector>(&key, connector.version);
        admitted.send(&mut changes, vec![dispatch(&connector.value, &action)])?;
        Ok((action, changes))
    }

    fn fresh_action(&self) -> ActionId {
        ActionId::generate(self.clock.as_ref(), self.entropy.as_ref())
    }

    /// What undoes an action: the action's name and its inputs.
    fn inverse_of(&self, connector: &Connector, action: &ResponseAction) -> Result<Option<Given>, Refusal> {
        let (reader, Some(call)) = (reader(connector)?, &action.connector) else { return Ok(None) };
        let Some(inverse) = reader.step(&call.action).and_then(|step| step.inverse.as_ref()) else { return Ok(None) };
        let values = Values {
            inputs: action.arguments.as_object().cloned().unwrap_or_default(),
            settings: reader.settings(&connector.settings).unwrap_or_default(),
            secrets: Secrets::Blank,
            evidence: call.evidence.clone(),
            outputs: action.output.as_object().cloned().unwrap_or_default(),
            facts: self.facts(action.id, action.tenant, action.case, &action.reason),
        };
        let inputs = action::Connector::inverse_inputs(inverse, &values)
            .map_err(|error| Refusal::bug("an inverse names no secret", &error))?;
        Ok(Some((inverse.action.clone(), inputs)))
    }

    /// Ask for the inverse of an action whose time to live is over, as the platform.
    pub(super) async fn end_action(&self, before: &Stored<ResponseAction>) -> Result<(), Refusal> {
        let action = &before.value;
        let Some(call) = &action.connector else { return Ok(()) };
        let now = self.now();
        let mut ended = action.clone();
        ended.connector = Some(ConnectorCall { undone: true, ..call.clone() });
        let owner = Owner::Tenant(action.tenant);
        let mut changes = Changes::new();
        let entry = self.digested_leaf(EXPIRY, EXPIRE, owner, Some(action.id.to_string()), None, 200, None)?;
        let key = Connector::key(call.owner, &call.name);
        let found: Option<Stored<Connector>> = self.store.snapshot(Scope::Provider).read(&key).await?;
        let inverse = match &found {
            Some(connector) => self.inverse_of(&connector.value, action)?,
            None => None,
        };
        if let (Some(connector), Some((does, inputs))) = (&found, inverse) {
            let wanted = Wanted {
                id: self.fresh_action(),
                tenant: action.tenant,
                does,
                inputs,
                reason: "its time to live is over".to_owned(),
                case: action.case,
                ends_at: None,
                undoes: Some(action.id),
            };
            let inverse = planned(Authority::platform(entry.call, now), &connector.value, wanted, now);
            changes.create(&inverse);
            let target = ("ResponseAction", action.id.to_string());
            let sent = dispatch(&connector.value, &inverse);
            changes.send(of_platform(entry.call, EXPIRY, EXPIRE, owner, target, now, sent)?);
        } else {
            ended.detail = format!("{}; its time to live is over and nothing undoes it any more", ended.detail);
            self.raise("posse.action.not_undone", "An action was not undone", action, &ended.detail).await?;
        }
        changes.replace(&ended, before.version);
        self.store.commit(Commit::new(now, entry).changes(changes)).await?;
        Ok(())
    }
}

impl Handle<ActionRunConnector> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ActionRunConnector) -> Result<Target, Refusal> {
        let owner = Owner::Tenant(input.tenant);
        if !look.identity.reach().covers(owner) || self.tenant_facts(input.tenant).await?.is_none() {
            return Err(Refusal::not_found("connector"));
        }
        let connector = self.connector_for(input.tenant, &input.connector).await?;
        let key = Connector::key(connector.value.tenant, &connector.value.name);
        let mut target = Target::new("Connector", key, owner).named(connector.value.name.as_str());
        target.revision = u64::try_from(connector.version).ok();
        let reader = reader(&connector.value)?;
        let aimed = reader.step(&input.does).and_then(|step| aimed(step, &input.inputs));
        target.entities.extend(aimed);
        Ok(target)
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ActionRunConnector) -> Result<Outcome<Action>, Refusal> {
        let connector = self.connector_for(input.tenant, &input.connector).await?;
        let reader = reader(&connector.value)?;
        let step = chosen(&reader, &input.does, &input.inputs)?;
        if input.ttl_secs.is_some() && step.inverse.is_none() {
            return Err(Refusal::fault("/ttl_secs", "is for actions that something undoes; leave it out"));
        }
        let bound = admitted.obligations.ttl_secs_max.and_then(|most| u32::try_from(most).ok());
        let ttl_secs = match (input.ttl_secs, bound.filter(|_| step.inverse.is_some())) {
            (Some(asked), Some(most)) => Some(asked.min(most)),
            (asked, most) => asked.or(most),
        };
        let wanted = Wanted {
            id: self.fresh_action(),
            tenant: input.tenant,
            does: input.does.into_string(),
            inputs: input.inputs,
            reason: input.reason.into_string(),
            case: input.case.or(admitted.run_case()),
            ends_at: ttl_secs.map(|secs| admitted.now.plus(Duration::from_secs(secs.into()))),
            undoes: None,
        };
        if input.dry_run {
            admitted.check_case(wanted.case).await?;
            let preview = self.preview(&connector.value, &wanted.does, &wanted.inputs, wanted.tenant)?;
            let output =
                serde_json::to_value(&preview).map_err(|error| Refusal::bug("a preview is no JSON", &error))?;
            let action = planned(Authority::of(admitted), &connector.value, wanted, admitted.now);
            let action = ResponseAction { state: ActionState::DryRun, output, ..action };
            return Ok(Outcome::answer(wire(fresh(action, admitted.now))?));
        }
        let (action, changes) = self.ask_connector(admitted, &connector, wanted).await?;
        Ok(Outcome::changed(wire(fresh(action, admitted.now))?, changes))
    }
}

fn fresh(action: ResponseAction, now: Timestamp) -> Stored<ResponseAction> {
    Stored { value: action, version: 1, created_at: now, updated_at: now }
}

/// `action.undo` of an action that a connector carried out.
pub(crate) async fn undo(
    control: &Control,
    admitted: &Admitted<'_>,
    before: Stored<ResponseAction>,
    call: ConnectorCall,
    reason: String,
) -> Result<Outcome<Action>, Refusal> {
    if !matches!(before.value.state, ActionState::Done | ActionState::Uncertain) {
        return Err(Refusal::conflict("the action did not take effect, or not yet; there is nothing to undo"));
    }
    let key = Connector::key(call.owner, &call.name);
    let found: Option<Stored<Connector>> = control.store.snapshot(Scope::Provider).read(&key).await?;
    let connector = found.ok_or_else(|| Refusal::conflict("the connector was deleted; nothing can undo this"))?;
    let Some((does, inputs)) = control.inverse_of(&connector.value, &before.value)? else {
        return Err(Refusal::conflict("nothing undoes an action of this kind; see `connector.get`"));
    };
    let wanted = Wanted {
        id: control.fresh_action(),
        tenant: before.value.tenant,
        does,
        inputs,
        reason,
        case: before.value.case,
        ends_at: None,
        undoes: Some(before.value.id),
    };
    let (action, mut changes) = control.ask_connector(admitted, &connector, wanted).await?;
    let marked = ConnectorCall { undone: true, ..call };
    changes.replace(&ResponseAction { connector: Some(marked), ..before.value.clone() }, before.version);
    Ok(Outcome::changed(wire(fresh(action, admitted.now))?, changes))
}

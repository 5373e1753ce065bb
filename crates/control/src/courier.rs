//! What leaves the platform: messages of committed calls, carried by a courier for each channel. The intent is on the record
//! before the courier sees anything, the outcome is recorded with the message's end. Must never send what the kill switch holds,
//! and never send twice where the target could not tell.

use crate::admission::Admitted;
use crate::context::{Control, Inner};
use crate::kill::Exposure;
use crate::record::{record_effect, recorded_origin};
use crate::refusal::Refusal;
use api::{Face, Future, Origin};
use audit::{Decided, FormatVersion, Leaf, Phase, Record};
use ids::{ApprovalId, CallId, List, Owner, Principal, RunId, Scope, TenantId, Text, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use store::{
    Approval, ApprovalState, AuditEntry, Changes, Commit, CommitError, Message, MessagePage, MessageState, NewMessage,
    Outcome, Stored,
};

/// How long a courier may take; after that nobody knows whether the message arrived.
const SENDING_MAX: Duration = Duration::from_secs(30);
/// How long a claim holds: longer than any sending, so that no message is taken up twice.
const LEASE: Duration = Duration::from_secs(60);
/// How often the outbox is looked at, when no commit wakes it before.
const ROUND: Duration = Duration::from_millis(250);

/// Carries the messages of one channel to the outside.
pub trait Courier: Send + Sync {
    /// Which channel.
    fn channel(&self) -> &'static str;

    /// Try to deliver one parcel, within 30 seconds. `Retry` only where it surely did not arrive.
    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> Future<'a, Outcome>;

    /// What changes in the same commit as how an attempt ended: with its record, or with `pending` where it is tried again.
    /// Also asked for what ended without this courier.
    fn settled<'a>(
        &'a self,
        _parcel: &'a Parcel,
        _state: MessageState,
        _detail: &'a str,
        _changes: &'a mut Changes,
    ) -> Future<'a, Result<(), Refusal>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What a courier carries.
#[derive(Clone, Debug, PartialEq)]
pub struct Parcel {
    /// The same for every attempt: give it to the target as its idempotency key.
    pub id: String,
    /// The call that asked for it.
    pub call: CallId,
    /// For whom.
    pub owner: Owner,
    /// What to send.
    pub body: Value,
    /// Whether there is no further attempt.
    pub last: bool,
}

/// What a handler wants to be sent.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Which courier takes it.
    pub channel: &'static str,
    /// Messages of one lane leave one after the other; at most 1024 bytes.
    pub lane: String,
    /// What to send.
    pub body: Value,
    /// Whether the target notices a second delivery.
    pub idempotent: bool,
    /// How often it may be tried, at least 1.
    pub attempts_max: u32,
}

/// A message as it is stored: with the authority that it leaves under.
#[derive(Serialize, Deserialize)]
struct Envelope {
    /// Which message of the call, from 1: also which record.
    number: u8,
    principal: Principal,
    on_behalf_of: Vec<Principal>,
    run: Option<RunId>,
    provider_person: bool,
    /// Where the caller belongs or is bound to; none is the provider.
    home: Option<TenantId>,
    issued_at: Timestamp,
    operation: String,
    target_kind: String,
    target_id: String,
    approval: Option<ApprovalId>,
    body: Value,
}

impl Admitted<'_> {
    /// Messages to the outside, sent once the call is committed; at most 255, numbered in their order.
    ///
    /// # Errors
    /// A bug where there are more, or one does not serialise.
    pub fn send(&self, changes: &mut Changes, dispatches: Vec<Dispatch>) -> Result<(), Refusal> {
        for (place, dispatch) in dispatches.into_iter().enumerate() {
            let number = u8::try_from(place + 1).map_err(|error| Refusal::bug("a call sends too much", &error))?;
            let exposure = self.identity.exposure(self.target.owner, None);
            let envelope = Envelope {
                number,
                principal: self.identity.principal.clone(),
                on_behalf_of: self.identity.on_behalf_of.clone(),
                run: self.identity.run,
                provider_person: exposure.provider_person,
                home: exposure.home.tenant(),
                issued_at: exposure.issued_at,
                operation: self.operation.to_owned(),
                target_kind: self.target.kind.to_owned(),
                target_id: self.target.id.clone(),
                approval: self.approval,
                body: dispatch.body,
            };
            let payload = serde_json::to_value(&envelope)
                .map_err(|error| Refusal::bug("a message does not serialise", &error))?;
            changes.send(NewMessage {
                id: format!("{}/{number}", self.call),
                call: self.call,
                owner: self.target.owner,
                principal: self.identity.principal.to_string(),
                channel: dispatch.channel.to_owned(),
                lane: dispatch.lane,
                payload,
                idempotent: dispatch.idempotent,
                attempts_max: dispatch.attempts_max,
            });
        }
        Ok(())
    }
}

/// A message of a call that the platform makes by itself, on the record as `call`; `target` is kind and id.
pub(crate) fn of_platform(
    call: CallId,
    name: &str,
    operation: &str,
    owner: Owner,
    target: (&str, String),
    now: Timestamp,
    dispatch: Dispatch,
) -> Result<NewMessage, Refusal> {
    let principal = Principal::System(name.to_owned());
    let shown = principal.to_string();
    let envelope = Envelope {
        number: 1,
        principal,
        on_behalf_of: Vec::new(),
        run: None,
        provider_person: false,
        home: None,
        issued_at: now,
        operation: operation.to_owned(),
        target_kind: target.0.to_owned(),
        target_id: target.1,
        approval: None,
        body: dispatch.body,
    };
    let payload =
        serde_json::to_value(&envelope).map_err(|error| Refusal::bug("a message does not serialise", &error))?;
    Ok(NewMessage {
        id: format!("{call}/1"),
        call,
        owner,
        principal: shown,
        channel: dispatch.channel.to_owned(),
        lane: dispatch.lane,
        payload,
        idempotent: dispatch.idempotent,
        attempts_max: dispatch.attempts_max,
    })
}

/// A message as its courier sees it.
fn parcel(message: &Message, envelope: &Envelope) -> Parcel {
    Parcel {
        id: message.id.clone(),
        call: message.call,
        owner: message.owner,
        body: envelope.body.clone(),
        last: message.attempts >= message.attempts_max,
    }
}

impl Inner {
    /// Whether a message may still leave: nothing holds whoever caused it.
    fn may_leave(&self, message: &Message) -> bool {
        let Ok(envelope) = Envelope::deserialize(&message.payload) else { return false };
        let operation = self.registry.spec(&envelope.operation).map(|spec| (spec.meta.id, spec.meta.effect));
        let exposure = Exposure {
            agents: Exposure::agents_of(&envelope.principal, &envelope.on_behalf_of),
            provider_person: envelope.provider_person,
            owner: message.owner,
            home: envelope.home.into(),
            operation,
            spared: Exposure::spares(&envelope.principal),
            issued_at: envelope.issued_at,
        };
        self.kill.halts(&exposure).is_none()
    }
}

impl Control {
    /// Carry the messages of a courier's channel until `stop` says so.
    pub(crate) async fn carry(self, courier: Arc<dyn Courier>, mut stop: tokio::sync::watch::Receiver<bool>) {
        let mut recorded = HashSet::new();
        while !*stop.borrow() {
            let seen = self.store.generation(&["message"]);
            if let Err(refusal) = self.carry_round(courier.as_ref(), &mut recorded).await {
                tracing::error!(channel = courier.channel(), ?refusal, "messages were not carried; it is tried again");
            }
            tokio::select! {
                _ = stop.changed() => {}
                _ = self.store.changed(&["message"], seen) => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    async fn carry_round(&self, courier: &dyn Courier, recorded: &mut HashSet<String>) -> Result<(), Refusal> {
        let outbox = self.store.outbox();
        outbox.recover().await?;
        loop {
            let inner = self.inner.clone();
            let guard = move |message: &Message| inner.may_leave(message);
            let claimed = outbox.claim("courier", courier.channel(), 16, LEASE, guard).await?;
            if claimed.is_empty() {
                break;
            }
            let sent = claimed.iter().map(|message| self.send_one(courier, message));
            for ended in futures::future::join_all(sent).await {
                ended?;
            }
        }
        self.record_parked(courier, recorded).await
    }

    async fn send_one(&self, courier: &dyn Courier, message: &Message) -> Result<(), Refusal> {
        let outcome = match Envelope::deserialize(&message.payload) {
            Err(error) => Outcome::Failed { detail: format!("the message cannot be read: {error}") },
            // Asked again right before the bytes leave.
            Ok(_) if !self.inner.may_leave(message) => {
                Outcome::Failed { detail: "stopped by the kill switch before it was sent".to_owned() }
            }
            Ok(_) if self.tenant_gone(message.owner).await? => {
                Outcome::Failed { detail: "the tenant was deleted before it was sent".to_owned() }
            }
            Ok(envelope) => {
                let parcel = parcel(message, &envelope);
                let late = || Outcome::Uncertain { detail: "the courier did not say in time how it ended".to_owned() };
                tokio::time::timeout(SENDING_MAX, courier.deliver(&parcel)).await.unwrap_or_else(|_| late())
            }
        };
        let mut changes = Changes::new();
        changes.settle(message, outcome.clone());
        let (state, detail) = match &outcome {
            Outcome::Retry { .. } if message.attempts < message.attempts_max => {
                // Not the end: it is recorded when it has one.
                self.settled(courier, message, MessageState::Pending, "", &mut changes).await?;
                return self.commit_quietly(message, changes).await;
            }
            Outcome::Retry { detail } | Outcome::Failed { detail } => (MessageState::Failed, detail),
            Outcome::Sent { detail } => (MessageState::Sent, detail),
            Outcome::Uncertain { detail } => (MessageState::Uncertain, detail),
        };
        self.settled(courier, message, state, detail, &mut changes).await?;
        self.commit_outcome(message, state, detail, changes).await
    }

    async fn settled(
        &self,
        courier: &dyn Courier,
        message: &Message,
        state: MessageState,
        detail: &str,
        changes: &mut Changes,
    ) -> Result<(), Refusal> {
        match Envelope::deserialize(&message.payload) {
            Ok(envelope) => courier.settled(&parcel(message, &envelope), state, detail, changes).await,
            Err(_) => Ok(()),
        }
    }

    async fn tenant_gone(&self, owner: Owner) -> Result<bool, Refusal> {
        match owner {
            Owner::Provider => Ok(false),
            Owner::Tenant(tenant) => Ok(self.tenant_facts(tenant).await?.is_none()),
        }
    }

    async fn commit_quietly(&self, message: &Message, changes: Changes) -> Result<(), Refusal> {
        self.commit_as_system("courier", "message.retry", message.owner, message.id.clone(), changes).await
    }

    /// Record the end of messages that ended without a courier: stopped before they left, or cut off by a crash.
    async fn record_parked(&self, courier: &dyn Courier, recorded: &mut HashSet<String>) -> Result<(), Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        for state in [MessageState::Stopped, MessageState::Uncertain] {
            let mut after_seq = 0;
            loop {
                let channel = Some(courier.channel().to_owned());
                let page = MessagePage { state: Some(state), channel, after_seq, limit: 500, ..MessagePage::default() };
                let found = snapshot.messages(&page).await?;
                let Some(last) = found.last() else { break };
                after_seq = last.seq;
                for message in found {
                    if !recorded.contains(&message.id) {
                        let detail = message.outcome.clone().unwrap_or_default();
                        self.record_end(courier, &message, state, &detail).await?;
                        recorded.insert(message.id);
                    }
                }
            }
        }
        Ok(())
    }

    async fn record_end(
        &self,
        courier: &dyn Courier,
        message: &Message,
        state: MessageState,
        detail: &str,
    ) -> Result<(), Refusal> {
        let mut changes = Changes::new();
        self.settled(courier, message, state, detail, &mut changes).await?;
        match self.commit_outcome(message, state, detail, changes).await {
            // It has its record: this process does not remember writing it.
            Err(Refusal::Commit(CommitError::Duplicate { kind: "audit", .. })) => Ok(()),
            ended => ended,
        }
    }

    /// The second record of a call that sends: what came of it.
    async fn commit_outcome(
        &self,
        message: &Message,
        state: MessageState,
        detail: &str,
        mut changes: Changes,
    ) -> Result<(), Refusal> {
        let Ok(envelope) = Envelope::deserialize(&message.payload) else {
            return self.commit_quietly(message, changes).await;
        };
        if state == MessageState::Uncertain
            && let Some(approval) = envelope.approval
        {
            let snapshot = self.store.snapshot(Scope::from(message.owner));
            let stored: Option<Stored<Approval>> = snapshot.read(&approval.to_string()).await?;
            if let Some(stored) = stored.filter(|stored| stored.value.state == ApprovalState::Executed) {
                let state = ApprovalState::Uncertain;
                let problem = Some(detail.to_owned());
                changes.replace(&Approval { state, problem, ..stored.value.clone() }, stored.version);
            }
        }
        let leaf = self.outcome_leaf(message, &envelope, state, detail)?;
        self.store.commit(Commit::new(self.now(), leaf).changes(changes)).await?;
        Ok(())
    }

    fn outcome_leaf(
        &self,
        message: &Message,
        envelope: &Envelope,
        state: MessageState,
        detail: &str,
    ) -> Result<AuditEntry, Refusal> {
        let origin = Origin { face: Face::Schedule, address: None, user_agent: None, request_id: message.id.clone() };
        let effect = self.registry.spec(&envelope.operation).map_or(api::Effect::Respond, |spec| spec.meta.effect);
        let status = match state {
            MessageState::Sent => 200,
            MessageState::Stopped => 403,
            MessageState::Uncertain => 504,
            _ => 502,
        };
        let behind: Vec<Principal> = envelope.on_behalf_of.iter().rev().take(16).cloned().collect();
        let record = Record {
            v: FormatVersion,
            call: message.call,
            time: self.now(),
            tenant: message.owner.tenant(),
            principal: envelope.principal.clone(),
            on_behalf_of: List::new(behind).unwrap_or_default(),
            run: envelope.run,
            operation: Text::truncated(&envelope.operation),
            effect: record_effect(effect),
            phase: Phase::Outcome,
            target: Some(audit::Target {
                kind: Text::truncated(&envelope.target_kind),
                id: Text::truncated(&envelope.target_id),
            }),
            input_digest: None,
            decision: audit::Decision {
                outcome: if state == MessageState::Stopped { Decided::Deny } else { Decided::Allow },
                policies: List::default(),
                policy_version: None,
                rung: None,
                obligations: List::default(),
            },
            approvals: List::default(),
            outcome: audit::Outcome {
                status,
                problem: None,
                error: Some(Text::truncated(&format!("{}: {detail}", state.as_str()))),
            },
            duration_us: 0,
            origin: recorded_origin(&origin),
            agent: None,
            aggregate: None,
        };
        let leaf =
            Leaf::Call(Box::new(record)).encode().map_err(|error| Refusal::bug("a record does not encode", &error))?;
        Ok(AuditEntry { tree: message.owner, call: message.call, part: envelope.number, leaf, payload: None })
    }
}

//! The record of a call: one leaf for a read, write or govern call, an intent for a call that touches the outside world.
//! Never holds input, only its salted digest; the input, with secrets blanked, is kept beside and may expire.

use crate::context::Control;
use crate::identity::Identity;
use crate::refusal::Refusal;
use crate::target::Target;
use api::{Effect, Face, Origin, Problem, Spec};
use audit::{ApprovalUse, Decided, FormatVersion, Leaf, Phase, Record};
use ids::{CallId, List, Owner, Principal, Text, Timestamp};
use policy::{Decision, Outcome};
use seal::Digest;
use store::{AuditEntry, Payload};

/// How a call ended, for its record.
pub(crate) struct Ending<'a> {
    /// The HTTP status, whatever the face.
    pub(crate) status: u16,
    /// Why, where it failed.
    pub(crate) problem: Option<&'a Problem>,
    /// The call whose answer an idempotency key brought back, and how that was decided.
    pub(crate) replay: Option<(CallId, Decided)>,
}

impl Ending<'_> {
    /// An end without a problem.
    pub(crate) const fn of(status: u16) -> Self {
        Self { status, problem: None, replay: None }
    }
}

/// What is known of a call when it is recorded.
pub(crate) struct Facts<'a> {
    pub(crate) call: CallId,
    pub(crate) started: Timestamp,
    pub(crate) identity: &'a Identity,
    pub(crate) spec: &'a Spec,
    pub(crate) origin: &'a Origin,
    pub(crate) target: Option<&'a Target>,
    pub(crate) decision: Option<&'a (Decision, Digest)>,
    pub(crate) approval: Option<&'a ApprovalUse>,
    /// Canonical input with secrets blanked.
    pub(crate) canonical: &'a [u8],
    pub(crate) ending: Ending<'a>,
}

impl Control {
    /// The leaf of a call, with its input beside it. It goes into the log of the target's owner where policy was asked
    /// about it, else into the caller's own.
    pub(crate) fn leaf(&self, facts: &Facts<'_>) -> Result<AuditEntry, Refusal> {
        let mut salt = [0_u8; 32];
        self.entropy.fill(&mut salt);
        let now = self.now();
        let owner = self.log_of(facts);
        let effect = facts.spec.meta.effect;
        let Ending { problem, replay, .. } = facts.ending;
        let done = problem.is_none() && replay.is_none() && facts.ending.status == 200;
        let mut decision = recorded_decision(facts.decision);
        if let Some((_, decided)) = replay {
            decision.outcome = decided;
        }
        let error = match (problem, replay) {
            (Some(problem), _) => Some(Text::truncated(&problem.detail)),
            (None, Some((of, _))) => Some(Text::truncated(&format!("brought back the answer of `{of}`"))),
            (None, None) => None,
        };
        let record = Record {
            v: FormatVersion,
            call: facts.call,
            time: now,
            tenant: owner.tenant(),
            principal: facts.identity.principal.clone(),
            on_behalf_of: bounded(facts.identity.on_behalf_of.iter().rev().cloned()),
            run: facts.identity.run,
            operation: Text::truncated(facts.spec.meta.id),
            effect: record_effect(effect),
            phase: if effect == Effect::Respond && done { Phase::Intent } else { Phase::Call },
            target: facts
                .target
                .map(|target| audit::Target { kind: Text::truncated(target.kind), id: Text::truncated(&target.id) }),
            input_digest: Some(Digest::salted(&salt, facts.canonical)),
            decision,
            approvals: bounded(facts.approval.cloned()),
            outcome: audit::Outcome {
                status: facts.ending.status,
                problem: problem.map(|problem| Text::truncated(&problem.kind)),
                error,
            },
            duration_us: u64::try_from(now.since(facts.started).as_micros()).unwrap_or(u64::MAX).min(seal::INTEGER_MAX),
            origin: recorded_origin(facts.origin),
            agent: None,
            aggregate: None,
        };
        let leaf =
            Leaf::Call(Box::new(record)).encode().map_err(|error| Refusal::bug("a record does not encode", &error))?;
        let expires_at = (effect == Effect::Read).then(|| now.plus(self.settings.read_payload_ttl));
        let body = self.sealed_payload(owner, facts.call, 0, facts.canonical);
        let payload = Payload { salt: salt.to_vec(), body, expires_at };
        Ok(AuditEntry { tree: owner, call: facts.call, part: 0, leaf, payload: Some(payload) })
    }

    fn log_of(&self, facts: &Facts<'_>) -> Owner {
        let reach = facts.identity.reach();
        match (facts.target, facts.decision) {
            // A target that policy refused is recorded with its owner only where the caller belongs there or above;
            // `reach` already bounds what could be resolved.
            (Some(target), Some(_)) if reach.covers(target.owner) => target.owner,
            _ => facts.identity.place(),
        }
    }
}

fn recorded_decision(decision: Option<&(Decision, Digest)>) -> audit::Decision {
    let Some((decision, version)) = decision else {
        return audit::Decision {
            outcome: Decided::Deny,
            policies: List::default(),
            policy_version: None,
            rung: None,
            obligations: List::default(),
        };
    };
    let (outcome, rung) = match &decision.outcome {
        Outcome::Allow => (Decided::Allow, None),
        Outcome::Modify { .. } => (Decided::Modify, None),
        Outcome::Defer(_) => (Decided::Defer, None),
        Outcome::Deny(_) => (Decided::Deny, None),
        Outcome::StepUp(step) => (Decided::StepUp, Some(Text::truncated(&step.rung))),
    };
    let obligations = match &decision.outcome {
        Outcome::Modify { obligations } => obligation_texts(obligations),
        _ => Vec::new(),
    };
    audit::Decision {
        outcome,
        policies: bounded(decision.policies.iter().map(|id| Text::truncated(id))),
        policy_version: Some(*version),
        rung,
        obligations: bounded(obligations.iter().map(|text| Text::truncated(text))),
    }
}

fn obligation_texts(obligations: &policy::Obligations) -> Vec<String> {
    let mut texts = Vec::new();
    texts.extend(obligations.max_rows.map(|rows| format!("max_rows={rows}")));
    texts.extend(obligations.ttl_secs_max.map(|secs| format!("ttl_secs_max={secs}")));
    texts.extend(obligations.mask.iter().map(|path| format!("mask={path}")));
    texts
}

pub(crate) fn recorded_origin(origin: &Origin) -> audit::Origin {
    audit::Origin {
        face: match origin.face {
            Face::Agent => audit::Face::Agent,
            Face::Cli => audit::Face::Cli,
            Face::Mcp => audit::Face::Mcp,
            Face::Offline => audit::Face::Offline,
            Face::Rest => audit::Face::Rest,
            Face::Rule => audit::Face::Rule,
            Face::Schedule => audit::Face::Schedule,
        },
        address: origin.address.map(|address| Text::truncated(&address.to_string())),
        user_agent: origin.user_agent.as_ref().map(|name| Text::truncated(name)),
        request: Some(Text::truncated(&origin.request_id)),
    }
}

pub(crate) const fn record_effect(effect: Effect) -> audit::Effect {
    match effect {
        Effect::Govern => audit::Effect::Govern,
        Effect::Read => audit::Effect::Read,
        Effect::Respond => audit::Effect::Respond,
        Effect::Write => audit::Effect::Write,
    }
}

/// The first `MAX` items: a record is bounded, whatever a call was.
fn bounded<T, const MAX: usize>(items: impl IntoIterator<Item = T>) -> List<T, MAX> {
    List::new(items.into_iter().take(MAX).collect()).unwrap_or_default()
}

/// The approvers of a call that runs under an approval.
pub(crate) fn approval_use(approval: ids::ApprovalId, approvers: impl IntoIterator<Item = Principal>) -> ApprovalUse {
    ApprovalUse { approval, approvers: bounded(approvers) }
}

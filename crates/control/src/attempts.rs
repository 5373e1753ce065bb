//! Attempts that came to nothing and have no record of their own: those of nobody, and those of a principal that calls too
//! often. They are counted here and become aggregate records every few seconds, because a flood must not fill the disk.

use crate::context::Control;
use crate::identity::Identity;
use crate::record::recorded_origin;
use crate::refusal::Refusal;
use api::{Attempt, Effect, Face, Origin, Problem, Spec};
use audit::{Aggregate, Decided, FormatVersion, Leaf, Phase, Record};
use ids::{CallId, List, Owner, Principal, Text, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use store::{AuditEntry, Commit};

/// How many kinds of attempt are told apart between two records; the rest are counted together.
const KINDS_MAX: usize = 1024;
/// How many records one commit takes.
const COMMIT_LEAVES: usize = 128;

/// What is told apart.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Kind {
    /// Who, where that is known; else the gate itself stands for them.
    pub(crate) principal: Option<Principal>,
    /// Whose log it goes to.
    pub(crate) owner: Owner,
    /// The operation, or what was attempted: `authenticate`, `request`.
    pub(crate) operation: &'static str,
    /// The HTTP status of the answers.
    pub(crate) status: u16,
}

impl Kind {
    /// An attempt of nobody.
    pub(crate) const fn of_nobody(operation: &'static str, status: u16) -> Self {
        Self { principal: None, owner: Owner::Provider, operation, status }
    }
}

/// Attempts since the last aggregate records.
#[derive(Default)]
pub(crate) struct Attempts {
    counted: Mutex<HashMap<Kind, Aggregate>>,
}

impl Attempts {
    pub(crate) fn count(&self, kind: Kind, now: Timestamp) {
        self.add(kind, Aggregate { count: 1, since: now, until: now });
    }

    fn add(&self, kind: Kind, more: Aggregate) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let full = counted.len() >= KINDS_MAX && !counted.contains_key(&kind);
        let kind = if full { Kind::of_nobody("request", 429) } else { kind };
        counted
            .entry(kind)
            .and_modify(|before| {
                before.count = before.count.saturating_add(more.count).min(seal::INTEGER_MAX);
                before.since = before.since.min(more.since);
                before.until = before.until.max(more.until);
            })
            .or_insert(more);
    }

    /// What was counted, starting anew; in a fixed order.
    fn take(&self) -> Vec<(Kind, Aggregate)> {
        let counted = std::mem::take(&mut *self.counted.lock().unwrap_or_else(PoisonError::into_inner));
        let mut counted: Vec<_> = counted.into_iter().collect();
        counted.sort_by_key(|(kind, aggregate)| (aggregate.since, kind.operation, kind.status));
        counted
    }
}

impl Control {
    /// Write down what was counted since the last time.
    pub(crate) async fn record_attempts(&self) -> Result<(), Refusal> {
        let counted = self.attempts.take();
        let mut rest = counted.as_slice();
        while !rest.is_empty() {
            let (some, more) = rest.split_at(rest.len().min(COMMIT_LEAVES));
            if let Err(refusal) = self.commit_attempts(some).await {
                // Counted again, for the next round.
                rest.iter().for_each(|(kind, aggregate)| self.attempts.add(kind.clone(), aggregate.clone()));
                return Err(refusal);
            }
            rest = more;
        }
        Ok(())
    }

    async fn commit_attempts(&self, counted: &[(Kind, Aggregate)]) -> Result<(), Refusal> {
        let mut commit: Option<Commit> = None;
        for (kind, aggregate) in counted {
            let entry = self.aggregate_leaf(kind, aggregate)?;
            commit = Some(match commit {
                None => Commit::new(self.now(), entry),
                Some(commit) => commit.record(entry),
            });
        }
        if let Some(commit) = commit {
            self.store.commit(commit).await?;
        }
        Ok(())
    }

    /// One more attempt of a principal that has no record of its own.
    pub(crate) fn count_of(&self, identity: &Identity, operation: &'static str, status: u16) {
        let kind = Kind { principal: Some(identity.principal.clone()), owner: identity.place(), operation, status };
        self.attempts.count(kind, self.now());
    }

    /// The record of a request that a face refused, or one more in its count.
    pub(crate) async fn note(&self, attempt: Attempt) -> Problem {
        let Attempt { operation, credential, origin, problem } = attempt;
        let started = self.now();
        let known = operation.and_then(|id| self.registry.find(id));
        let (Some((spec, handler)), Some(credential)) = (known, credential) else {
            self.attempts.count(Kind::of_nobody(operation.unwrap_or("request"), problem.status), started);
            return problem;
        };
        // Who presents what is not good is counted there.
        let Ok(identity) = self.authenticate(Some(&credential)).await else { return problem };
        if self.rate.take(&identity.principal, started).is_err() {
            self.count_of(&identity, spec.meta.id, problem.status);
            return problem;
        }
        self.refuse(origin, started, identity, (spec, handler), problem.into()).await.into_problem()
    }

    fn aggregate_leaf(&self, kind: &Kind, aggregate: &Aggregate) -> Result<AuditEntry, Refusal> {
        let call = CallId::generate(self.clock.as_ref(), self.entropy.as_ref());
        let origin = Origin { face: Face::Schedule, address: None, user_agent: None, request_id: call.to_string() };
        let effect = self.registry.spec(kind.operation).map_or(Effect::Write, |spec: &Spec| spec.meta.effect);
        let record = Record {
            v: FormatVersion,
            call,
            time: self.now(),
            tenant: kind.owner.tenant(),
            principal: kind.principal.clone().unwrap_or_else(|| Principal::System("gate".to_owned())),
            on_behalf_of: List::default(),
            run: None,
            operation: Text::truncated(kind.operation),
            effect: crate::record::record_effect(effect),
            phase: Phase::Call,
            target: None,
            input_digest: None,
            decision: audit::Decision {
                outcome: Decided::Deny,
                policies: List::default(),
                policy_version: None,
                rung: None,
                obligations: List::default(),
            },
            approvals: List::default(),
            outcome: audit::Outcome { status: kind.status, problem: None, error: None },
            duration_us: 0,
            origin: recorded_origin(&origin),
            agent: None,
            aggregate: Some(aggregate.clone()),
        };
        let leaf =
            Leaf::Call(Box::new(record)).encode().map_err(|error| Refusal::bug("a record does not encode", &error))?;
        Ok(AuditEntry { tree: kind.owner, call, part: 0, leaf, payload: None })
    }
}

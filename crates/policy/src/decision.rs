//! The answer: allow, modify, step up, defer or deny, with the policies that decided it.
//!
//! Data only. The order of the outcomes is settled in `engine`; nothing here decides.

use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The answer to one [`crate::Request`].
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Decision {
    /// What is to be done.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The policies that decided, each as `document/id`, sorted. For a step up or a defer those that would then
    /// permit; for a deny the forbids, and none where no policy permits.
    pub policies: Vec<Arc<str>>,
    /// For a step up or a defer the forbids that hold the call back now; none where only a permit is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_by: Vec<Arc<str>>,
    /// Policies whose evaluation failed (an overflow of numbers, say): a forbid then forbids, a permit permits nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Arc<str>>,
}

/// What is to be done with a call.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Do it.
    Allow,
    /// Ask for evidence first; the call is decided again when it is there.
    Defer(Defer),
    /// Refuse it.
    Deny(Deny),
    /// Do it under these obligations.
    Modify {
        /// The strictest union of those of all determining permits.
        obligations: Obligations,
    },
    /// Ask for approval.
    StepUp(StepUp),
}

impl Outcome {
    /// The outcome's word: `allow`, `modify`, `step_up`, `defer` or `deny`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Defer(_) => "defer",
            Self::Deny(_) => "deny",
            Self::Modify { .. } => "modify",
            Self::StepUp(_) => "step_up",
        }
    }
}

/// Which approval would let the call through. Judge an approval by deciding again with the new counts, not by
/// comparing them with `needs`: another rung may pass too.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct StepUp {
    /// The rung's name, for example `one_responder`.
    pub rung: Arc<str>,
    /// Distinct approvers that the rung stands for, in all: `people`, and by role.
    pub needs: BTreeMap<String, i64>,
}

/// Which evidence is missing.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Defer {
    /// Names of [`crate::EVIDENCE`], the fewest that help, sorted.
    pub missing: Vec<Arc<str>>,
    /// The approval that would do in place of the evidence, where one would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub or: Option<StepUp>,
    /// The approval that is needed as well once the evidence is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<StepUp>,
}

/// Why a call is refused.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Deny {
    /// The reason's kind.
    pub reason: DenyReason,
    /// A forbid with `@authority("human_only")` refused: an agent may not even propose this.
    pub human_only: bool,
}

/// The kinds of refusal.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DenyReason {
    /// A forbid holds, whoever approves.
    Forbidden,
    /// No permit holds, whoever approves.
    NotPermitted,
    /// The question itself is wrong: a bug of the platform, answered by refusal. Holds what is wrong.
    WrongQuestion(String),
}

/// What the handler must keep to.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Obligations {
    /// At most so many items in the output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u64>,
    /// Dotted paths of output fields to mask.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub mask: BTreeSet<String>,
    /// The effect ends by itself after at most so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_secs_max: Option<u64>,
}

impl Obligations {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Take on those of another permit too: of two limits the lower, of two masks both.
    pub fn tighten(&mut self, other: &Self) {
        self.max_rows = lower(self.max_rows, other.max_rows);
        self.ttl_secs_max = lower(self.ttl_secs_max, other.ttl_secs_max);
        self.mask.extend(other.mask.iter().cloned());
    }
}

fn lower(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Who holds the authority for a call, as the access matrix says it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Authority {
    /// The principal alone.
    Autonomous,
    /// With an approval.
    Approval,
    /// Once evidence is there.
    Deferred,
    /// Nobody.
    Denied,
    /// People only: the principal may not even propose.
    HumanOnly,
}

impl Decision {
    /// The answer as a cell of the access matrix.
    #[must_use]
    pub const fn authority(&self) -> Authority {
        match &self.outcome {
            Outcome::Allow | Outcome::Modify { .. } => Authority::Autonomous,
            Outcome::StepUp(_) => Authority::Approval,
            Outcome::Defer(_) => Authority::Deferred,
            Outcome::Deny(deny) if deny.human_only => Authority::HumanOnly,
            Outcome::Deny(_) => Authority::Denied,
        }
    }

    /// Whether the call may go on now.
    #[must_use]
    pub const fn permits(&self) -> bool {
        matches!(self.outcome, Outcome::Allow | Outcome::Modify { .. })
    }
}

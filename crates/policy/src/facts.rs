//! The question: who does what to which target, and the facts that the platform worked out about it.
//!
//! Everything here is made by the platform, never taken from a caller's claims. The types serialise, so that the
//! input of a decision can be kept and decided again later. Never holds a Cedar type.

use crate::spec::PROVIDER;
use ids::{PrincipalKind, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One question to the decision point.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Who acts.
    pub principal: PrincipalFacts,
    /// The operation's id, for example `case.open`.
    pub action: String,
    /// What it acts on.
    pub resource: ResourceFacts,
    /// What else is known.
    #[serde(default)]
    pub context: ContextFacts,
}

/// Who acts.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrincipalFacts {
    /// The kind: policies say `principal is Posse::User`.
    pub kind: PrincipalKind,
    /// The id's text: `principal.id`, and the entity's name.
    pub id: String,
    /// The roles held **at the target's tenant**: policies say `principal in Posse::Role::"viewer"`.
    #[serde(default)]
    pub roles: BTreeSet<String>,
    /// The id of the user who answers for an agent or a service key: `principal.owner`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The tenant that the principal belongs to; none for one of the provider: `principal.tenant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Tags: `principal.tags`.
    #[serde(default)]
    pub tags: BTreeSet<String>,
}

/// What a call acts on.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceFacts {
    /// The type: that of the operation's `ActionSpec`; `Provider` is also right where that says `Tenant`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The id's text: `resource.id`, and the entity's name.
    pub id: String,
    /// The tenant that it belongs to; none for what belongs to the provider. Also its parent in `resource in`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The user who answers for it: `resource.owner`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The principal that made it: `resource.created_by`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Tags such as `crown-jewel` or `env=prod`: `resource.tags`. Of several targets the union.
    #[serde(default)]
    pub tags: BTreeSet<String>,
}

impl ResourceFacts {
    /// The provider itself as a target.
    #[must_use]
    pub fn provider() -> Self {
        Self {
            kind: "Provider".to_owned(),
            id: PROVIDER.to_owned(),
            tenant: None,
            owner: None,
            created_by: None,
            tags: BTreeSet::new(),
        }
    }

    /// A tenant as a target, with the tenant's own tags.
    #[must_use]
    pub fn tenant(id: impl Into<String>, tags: BTreeSet<String>) -> Self {
        let id = id.into();
        Self { kind: "Tenant".to_owned(), tenant: Some(id.clone()), id, owner: None, created_by: None, tags }
    }
}

/// What else is known about a call. Every field reaches policies as `context.<name>` unless it says otherwise.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContextFacts {
    /// The target's tenant, or [`PROVIDER`].
    pub tenant: String,
    /// That tenant's tags, for example `env=prod`.
    pub tenant_tags: BTreeSet<String>,
    /// Which face it came through: one of [`crate::ORIGINS`].
    pub origin: String,
    /// The time of the decision: `context.now_micros`, `context.hour` (0-23, UTC), `context.weekday` (1 Monday - 7 Sunday).
    pub now: Timestamp,
    /// What people let this agent do with this operation at this tenant: one of [`crate::AUTONOMIES`]; `act` for all others.
    pub autonomy: String,
    /// The run has read text that an attacker may have written.
    pub tainted: bool,
    /// The target belongs to the case that the run works on.
    pub target_in_case: bool,
    /// How many things this call touches.
    pub target_count: i64,
    /// Calls of this principal to this operation in the platform's window, this one not counted.
    pub recent_count: i64,
    /// What is left of the run's budget, in the budget's unit.
    pub budget_left: i64,
    /// The chain of principals on whose behalf this is done, by id.
    pub on_behalf_of: BTreeSet<String>,
    /// Roles that this call would grant (`role.assign`, `user.set_roles`), else empty.
    pub granted_roles: BTreeSet<String>,
    /// Distinct approvers so far: `people`, and by role one of [`crate::APPROVAL_COUNTS`]; a missing one is 0.
    pub approvals: BTreeMap<String, i64>,
    /// Which of [`crate::EVIDENCE`] is there; a missing one is false.
    pub evidence: BTreeMap<String, bool>,
    /// A time-boxed break-glass grant covers this call.
    pub break_glass: bool,
    /// The `self_approval` setting of small installs is on.
    pub self_approval: bool,
}

impl Default for ContextFacts {
    fn default() -> Self {
        Self {
            tenant: PROVIDER.to_owned(),
            tenant_tags: BTreeSet::new(),
            origin: "rest".to_owned(),
            now: Timestamp::from_micros(0),
            autonomy: "act".to_owned(),
            tainted: false,
            target_in_case: false,
            target_count: 1,
            recent_count: 0,
            budget_left: 0,
            on_behalf_of: BTreeSet::new(),
            granted_roles: BTreeSet::new(),
            approvals: BTreeMap::new(),
            evidence: BTreeMap::new(),
            break_glass: false,
            self_approval: false,
        }
    }
}

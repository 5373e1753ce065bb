//! What the registry of operations tells the decision point: one [`ActionSpec`] per operation, in neutral words.
//!
//! Owns the vocabulary that policies may name (effects, families, roles, evidence, obligations). Never knows a
//! route, a handler or a wire type.

/// What an operation may change (DESIGN section 6). Also the name of the action group that policies use.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Changes who may do what.
    Govern,
    /// Changes nothing.
    Read,
    /// Touches the outside world.
    Respond,
    /// Changes the platform's own data.
    Write,
}

impl Effect {
    /// All four, in the order of their names.
    pub const ALL: [Self; 4] = [Self::Govern, Self::Read, Self::Respond, Self::Write];

    /// The group's name in policies, for example `respond`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Govern => "govern",
            Self::Read => "read",
            Self::Respond => "respond",
            Self::Write => "write",
        }
    }
}

/// A condition that a permit may attach and that the handler of an operation has to honour.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObligationKind {
    /// `@mask("field.path,other")`: these fields of the output are masked.
    Mask,
    /// `@max_rows("1000")`: at most so many items in the output.
    MaxRows,
    /// `@ttl_secs_max("3600")`: the effect ends by itself after at most so many seconds.
    TtlSecsMax,
}

impl ObligationKind {
    /// The annotation that asks for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::MaxRows => "max_rows",
            Self::TtlSecsMax => "ttl_secs_max",
        }
    }
}

/// One operation, as the decision point sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ActionSpec<'a> {
    /// `resource.verb`, for example `case.open`: the action's name in policies.
    pub id: &'a str,
    /// What it may change; makes it a member of that action group.
    pub effect: Effect,
    /// The type of its target, for example `Case`. An operation on `Tenant` may also target the `Provider`.
    pub resource_type: &'a str,
    /// The obligations that its handler honours; a permit with another one does not validate.
    pub obligations: &'a [ObligationKind],
}

/// The namespace of every name in policies.
pub const NAMESPACE: &str = "Posse";

/// The entity that stands for the organisation above its tenants, and the tenant that context names for its own things.
pub const PROVIDER: &str = "provider";

/// Counts of distinct approvers in `context.approvals`: everyone, then by the role held at the target's tenant.
pub const APPROVAL_COUNTS: [&str; 8] =
    ["analyst", "auditor", "detection_engineer", "people", "provider_admin", "responder", "tenant_admin", "viewer"];

/// Facts in `context.evidence` that may still be missing when a call is decided; a missing one can be waited for.
pub const EVIDENCE: [&str; 4] = ["backtest_passed", "case_verdict", "evidence_captured", "tests_passed"];

/// Values of `context.origin`.
pub const ORIGINS: [&str; 8] = ["agent", "cli", "config", "mcp", "rest", "rule", "schedule", "system"];

/// Values of `context.autonomy`.
pub const AUTONOMIES: [&str; 3] = ["act", "propose", "shadow"];

/// Every resource family of the platform (DESIGN section 6). Each is an action group `family.*`, also while it has
/// no operation yet, so that role policies can be written once.
pub const FAMILIES: [&str; 69] = [
    "action",
    "agent",
    "approval",
    "asset",
    "audit",
    "autonomy",
    "backtest",
    "break_glass",
    "budget",
    "case",
    "charter",
    "comment",
    "config",
    "connector",
    "coverage",
    "detection",
    "enrolment",
    "entity",
    "event",
    "evidence",
    "exposure",
    "field",
    "finding",
    "grant",
    "identity",
    "indicator",
    "job",
    "kill_switch",
    "lake",
    "lockdown",
    "me",
    "memory",
    "metric",
    "mission",
    "model",
    "operation",
    "pack",
    "playbook",
    "policy",
    "posture",
    "recertification",
    "remediation",
    "report",
    "role",
    "rule",
    "rule_exception",
    "rule_test",
    "run",
    "run_credential",
    "saved_query",
    "schedule",
    "schema",
    "secret",
    "sensor",
    "service_key",
    "skill",
    "source",
    "statistic",
    "suppression",
    "system",
    "task",
    "tenant",
    "timeline",
    "token",
    "trigger",
    "usage",
    "user",
    "vulnerability",
    "webhook",
];

/// The family of an operation id: what stands before the last dot.
pub(crate) fn family(action: &str) -> Option<&str> {
    action.rsplit_once('.').map(|(family, _)| family)
}

/// Whether `text` is a lower-case word of letters, digits and `_` that starts with a letter.
pub(crate) fn word(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Whether `text` is an operation id: two words and a dot between them.
pub(crate) fn action_id(text: &str) -> bool {
    text.split_once('.').is_some_and(|(family, verb)| word(family) && word(verb))
}

/// Whether `text` names a type of target: letters and digits, an upper-case letter first.
pub(crate) fn type_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

//! How rules fare: how much they find, and what the verdicts of cases say of it.

use crate::{Meta, Method, Operation, example, operation::declare};
use ids::{RuleId, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How one rule fares.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleFigures {
    /// The rule's id in its text.
    pub sigma_id: String,
    /// The rule, where it is one of this installation and not of a pack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// What its detections say.
    pub title: String,
    /// Its detections in cases.
    pub detections: u64,
    /// Detections a day, over the days from its first to its last.
    pub detections_per_day: f64,
    /// Cases that they are in.
    pub cases: u64,
    /// Cases of these that have a verdict that speaks of the rule.
    pub judged: u64,
    /// Cases of these where it was right: `true_positive`, `suspicious`, `security_risk`, `benign` and `test`.
    pub right: u64,
    /// Cases of these where it was right and there was nothing to do: `benign` and `test`.
    pub harmless: u64,
    /// Cases of these where it was wrong: `false_positive`.
    pub wrong: u64,
    /// Share of the judged cases where it was right; absent where none is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// Share of the judged cases that asked for work and deserved none: false positives, benign ones and tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
}

/// How rules fare, those with most detections first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RulesFigures {
    /// The rules, at most 200.
    pub items: Vec<RuleFigures>,
    /// Rules in all.
    pub rules: u64,
    /// Whether all detections of the range were counted: at most 100,000 are.
    pub complete: bool,
}

/// See how a tenant's rules fare: what they find, and what the verdicts of cases said of it.
///
/// How often they were right, and how much work they made for nothing.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleMetrics {
    /// Which tenant.
    pub tenant: TenantId,
    /// Only the rule with this id in its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigma_id: Option<Text<200>>,
    /// Detections whose last event happened at or after this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Detections whose last event happened before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

declare! {
    RuleMetrics => RulesFigures: Meta::read("rule.metrics", Method::Get, "/v1/tenants/{tenant}/rule-metrics", "Tenant"),
        json!({ "tenant": example::TENANT });
}

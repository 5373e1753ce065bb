//! A rule over what the lake holds: as a trial before it runs, and to find afterwards what it would have found.

use crate::{Cut, Detection, Estimate, Job, Meta, Method, Operation, Provenance, example, operation::declare};
use ids::{RuleId, TenantId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How often a rule found something with this value.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BacktestCount {
    /// The day, host or user.
    pub value: String,
    /// Findings.
    pub findings: u64,
}

/// What a rule finds in what the lake holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Backtest {
    /// Findings, newest first; at most as many as were asked for.
    pub items: Vec<Detection>,
    /// Findings in all.
    pub findings: u64,
    /// Records that were looked at; the others cannot match.
    pub events: u64,
    /// Findings by day of the event, newest first; at most 20 days, those with most.
    pub by_day: Vec<BacktestCount>,
    /// The 20 hosts with most findings.
    pub by_host: Vec<BacktestCount>,
    /// The 20 users with most findings.
    pub by_user: Vec<BacktestCount>,
    /// Runs of records in files that were read.
    pub parts_read: u64,
    /// Runs of records that filters and statistics made needless to read.
    pub parts_left_out: u64,
    /// Whether every record of the range was looked at or left out.
    pub complete: bool,
    /// Why it is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// What the answer was made of.
    pub provenance: Provenance,
}

/// What a retro-hunt came to in one tenant.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct RetroHunted {
    /// Detections that were stored, marked as found by a retro-hunt.
    pub stored: u64,
    /// Findings that were there already: the rule, or an earlier version of it, had found them.
    pub known: u64,
    /// Findings beyond the bound of one hunt that were counted and not stored.
    pub beyond: u64,
    /// Records that were looked at.
    pub events: u64,
    /// Whether every record of the range was looked at or left out.
    pub complete: bool,
}

/// Run a rule over what the lake holds of a tenant, as a job; nothing follows from what it finds.
///
/// The job's result tells the findings by day, host and user, the newest ones, and what the verdicts of cases said of earlier
/// detections of this rule. `rule.estimate` tells what it costs. A rule whose newest version was run over the whole range may
/// go to the state `backtested`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleBacktest {
    /// Which rule.
    pub rule: RuleId,
    /// Which version; the newest where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub version: Option<u32>,
    /// Over whose events; the rule's own tenant where nothing is said. A rule of the provider needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Events at or after this instant; where nothing is said, 7 days before `until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Events before this instant; where nothing is said, now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How many findings to show: 1 to 100, 20 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub show: Option<u32>,
    /// Read every record, also where columns and filters say that it cannot match. Slower, and finds the same.
    #[serde(default)]
    pub exhaustive: bool,
}

/// What `rule.backtest` would read; reads the catalog only.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleEstimate {
    /// Which rule.
    pub rule: RuleId,
    /// Which version; the newest where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub version: Option<u32>,
    /// Over whose events; the rule's own tenant where nothing is said. A rule of the provider needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Events at or after this instant; where nothing is said, 7 days before `until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Events before this instant; where nothing is said, now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// As `rule.backtest` would be asked.
    #[serde(default)]
    pub exhaustive: bool,
}

/// Find in what the lake holds what the running version of a rule would have found, and store it, as a job.
///
/// Its detections are marked `retro_hunt` and go the way of all others; what is stored already is not stored again.
/// `rule.enable` does this by itself.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleRetroHunt {
    /// Which rule; a version of it must run.
    pub rule: RuleId,
    /// How many days back: 1 to 90.
    #[schemars(range(min = 1, max = 90))]
    pub days: u32,
}

declare! {
    RuleBacktest => Job: Meta::write("rule.backtest", Method::Post, "/v1/rules/{rule}/backtest", "Rule").idempotent().long_running(),
        json!({ "rule": example::RULE, "since": "2026-03-01T00:00:00Z", "until": "2026-03-08T00:00:00Z" });
    RuleEstimate => Estimate: Meta::read("rule.estimate", Method::Get, "/v1/rules/{rule}/estimate", "Rule"),
        json!({ "rule": example::RULE });
    RuleRetroHunt => Job: Meta::write("rule.retro_hunt", Method::Post, "/v1/rules/{rule}/retro-hunt", "Rule").idempotent().long_running(),
        json!({ "rule": example::RULE, "days": 7 });
}

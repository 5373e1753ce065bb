//! Detections: the findings (OCSF 2004) that rules made.

use crate::{Cut, Meta, Method, Obligation, Operation, example, operation::declare};
use crate::{Provenance, RowLimit};
use ids::{DetectionId, RuleId, Severity, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A finding of a rule.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Detection {
    /// Its id, derived from the rule and the events: the same when they are read again.
    pub id: DetectionId,
    /// Its tenant.
    pub tenant: TenantId,
    /// The rule that made it, where it is one of this installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// The rule's name.
    pub rule_name: String,
    /// Digest of the rule's text as it ran.
    pub rule_digest: String,
    /// What it says.
    pub title: String,
    /// How grave.
    pub severity: Severity,
    /// Whether the rule runs in shadow: it is recorded, and nothing follows from it.
    pub shadow: bool,
    /// When the last event of it happened.
    pub time: Timestamp,
    /// When it was made.
    pub found_at: Timestamp,
    /// The events that it rests on, by id; at most 100.
    pub events: Vec<String>,
    /// How many events it rests on.
    pub event_count: u64,
    /// What the events speak of: `kind:value`, for example `ip:10.0.0.7`; at most 100.
    pub entities: Vec<String>,
    /// The technique's ids (MITRE ATT&CK), for example `T1059.001`.
    pub techniques: Vec<String>,
    /// The retro-hunt (its job) that found it afterwards; absent where the rule ran when the events came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retro_hunt: Option<String>,
    /// The finding in OCSF; only from `detection.get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocsf: Option<Value>,
}

/// List detections, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectionList {
    /// Whose; where nothing is said, those of the caller's own tenant or, for the provider's, of every tenant that policy lets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Only those of this rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// Only those at least this grave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Only those that speak of this: `kind:value`, for example `ip:10.0.0.7`, with a kind of observable: host, user, hash,
    /// ip, domain, resource, email, url, process or file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(host|user|hash|ip|domain|resource|email|url|process|file):"))]
    pub entity: Option<Text<512>>,
    /// Detections at or after this instant; where nothing is said, 7 days before `until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Detections before this instant; where nothing is said, now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How many at most.
    #[serde(default)]
    pub limit: RowLimit,
    /// From an earlier answer's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Detections.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Detections {
    /// The detections, newest first.
    pub items: Vec<Detection>,
    /// Give this as `cursor`, with the same filter, for those before these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub next_cursor: Option<String>,
    /// Whether these are all.
    pub complete: bool,
    /// Why it is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// What the answer was made of.
    pub provenance: Provenance,
}

/// Get one detection whole, with its OCSF form.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectionGet {
    /// Whose; where nothing is said, one of the caller's own tenant or, for the provider's, of every tenant that policy lets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Which detection.
    pub detection: DetectionId,
}

const KEEPS: &[Obligation] = &[Obligation::MaxRows, Obligation::Mask];

declare! {
    DetectionList => Detections: Meta::read("detection.list", Method::Get, "/v1/detections", "Tenant").keeps(KEEPS),
        json!({ "tenant": example::TENANT, "severity": "high" });
    DetectionGet => Detection: Meta::read("detection.get", Method::Get, "/v1/detections/{detection}", "Tenant").keeps(KEEPS),
        json!({ "tenant": example::TENANT, "detection": "detection_01jd3k5v9qf8m2x7r4t6w8y0zc" });
}

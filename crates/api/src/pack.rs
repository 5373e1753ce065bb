//! Packs: rules that many tenants share, and which tenant runs which of them; and exceptions from rules.

use crate::{Etag, Gone, Limit, Meta, Method, Operation, Page, Slug, example, operation::declare};
use ids::{List, Principal, RuleExceptionId, RulePackId, RunId, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Where a pack comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PackOrigin {
    /// Made elsewhere and imported.
    Imported,
    /// Kept by the provider.
    Provider,
    /// Ships with the platform; runs in every tenant that did not switch it off.
    Shipped,
    /// A tenant's own.
    Tenant,
}

/// A pack of rules.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Pack {
    /// The pack's id.
    pub id: RulePackId,
    /// The tenant whose it is; absent for the provider's and the shipped one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Its name, unique within its owner.
    pub name: Slug,
    /// What it is for.
    pub description: Text<1000>,
    /// Where it comes from.
    pub origin: PackOrigin,
    /// How many rules it has.
    pub rules: u32,
    /// Digest over all its rules.
    pub digest: Text<64>,
    /// In how many tenants that the caller can reach it runs.
    pub tenants: u32,
    /// The pack's tag; absent for the shipped one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
}

/// One rule of a pack.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackRule {
    /// The id in its text.
    pub sigma_id: Text<200>,
    /// The title in its text.
    pub title: Text<300>,
    /// Its level.
    pub level: ids::Severity,
}

/// A pack with a page of its rules.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackContent {
    /// The pack.
    pub pack: Pack,
    /// Its rules, by id.
    pub items: Vec<PackRule>,
    /// Give this as `cursor` to get the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Make an empty pack; `rule.import` fills it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackCreate {
    /// The tenant whose it shall be; absent for the provider's, which can be assigned to every tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Its name, unique within its owner.
    pub name: Slug,
    /// What it is for.
    #[serde(default)]
    pub description: Text<1000>,
    /// True where its rules were made elsewhere.
    #[serde(default)]
    pub imported: bool,
}

/// Look at a pack and its rules.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackGet {
    /// Which pack.
    pub pack: RulePackId,
    /// How many rules at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// List the packs that a tenant can run, or the provider's: the shipped one first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackList {
    /// Of which tenant; where nothing is said, of the caller's own tenant or the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Which rules of a pack run in a tenant.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackAssignment {
    /// The pack.
    pub pack: RulePackId,
    /// The tenant.
    pub tenant: TenantId,
    /// Whether it runs there.
    pub on: bool,
    /// Ids, as in the rules' texts, of rules that are off there.
    pub off: List<Text<200>, 1000>,
}

/// Let a pack run in a tenant, or change which of its rules are off there.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackAssign {
    /// In which tenant.
    pub tenant: TenantId,
    /// Which pack: the shipped one, the provider's, or the tenant's own.
    pub pack: RulePackId,
    /// Ids, as in the rules' texts, of rules that shall be off there.
    #[serde(default)]
    pub off: List<Text<200>, 1000>,
}

/// Stop a pack in a tenant.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackUnassign {
    /// In which tenant.
    pub tenant: TenantId,
    /// Which pack.
    pub pack: RulePackId,
}

/// An exception from rules: events that it describes do not count in this tenant.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleException {
    /// The exception's id.
    pub id: RuleExceptionId,
    /// The tenant.
    pub tenant: TenantId,
    /// The Sigma filter.
    pub text: Text<16384>,
    /// The title in its text.
    pub title: Text<300>,
    /// Ids or names of the rules that it narrows; empty where it narrows every rule of its log source.
    pub rules: Vec<String>,
    /// Why.
    pub reason: Text<1000>,
    /// Who answers for it.
    pub owner: Principal,
    /// Who wrote it.
    pub author: Principal,
    /// The agent's run that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// From then on it does not hold.
    pub expires_at: Timestamp,
    /// Detections that it held back since it was made: one that holds back none may not be needed any more. Only from
    /// `rule_exception.list`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hits: Option<u64>,
    /// When the last record came that it held back; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_hit_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its tag.
    pub etag: Etag,
}

/// Make an exception: a Sigma filter that narrows rules in one tenant, until it expires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleExceptionCreate {
    /// In which tenant.
    pub tenant: TenantId,
    /// A Sigma filter in YAML, for example with `condition: not selection`.
    pub text: Text<16384>,
    /// Why; stays on the record.
    #[schemars(length(min = 1))]
    pub reason: Text<1000>,
    /// Who answers for it; the caller where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<ids::UserId>,
    /// How long it holds, in seconds: 60 to 31,536,000.
    #[schemars(range(min = 60, max = 31_536_000))]
    pub ttl_secs: u32,
}

/// List the exceptions of a tenant, also those that have expired.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleExceptionList {
    /// Which tenant.
    pub tenant: TenantId,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Take an exception away: what it described counts again.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleExceptionDelete {
    /// In which tenant.
    pub tenant: TenantId,
    /// Which exception.
    pub exception: RuleExceptionId,
    /// Delete only if it still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

declare! {
    PackCreate => Pack: Meta::write("pack.create", Method::Post, "/v1/packs", "Tenant"),
        json!({ "name": "linux-servers", "description": "rules for servers without people on them" });
    PackGet => PackContent: Meta::read("pack.get", Method::Get, "/v1/packs/{pack}", "Pack"), json!({ "pack": example::PACK });
    PackList => Page<Pack>: Meta::read("pack.list", Method::Get, "/v1/packs", "Tenant"), json!({ "tenant": example::TENANT });
    PackAssign => PackAssignment: Meta::write("pack.assign", Method::Put, "/v1/tenants/{tenant}/packs/{pack}", "Tenant"),
        json!({ "tenant": example::TENANT, "pack": example::PACK, "off": ["7e6f1f2c-6d0e-4f0b-9a52-0f1f4f1d2c11"] });
    PackUnassign => PackAssignment: Meta::write("pack.unassign", Method::Delete, "/v1/tenants/{tenant}/packs/{pack}", "Tenant"),
        json!({ "tenant": example::TENANT, "pack": example::PACK });
    RuleExceptionCreate => RuleException: Meta::write("rule_exception.create", Method::Post, "/v1/tenants/{tenant}/rule-exceptions", "Tenant"),
        json!({ "tenant": example::TENANT, "reason": "the build hosts run it every night", "ttl_secs": 7_776_000, "text": "title: Build hosts\nid: 5f0c7a4e-0a25-4ef2-8f50-cc2be7fd0e19\nlogsource:\n  product: windows\n  category: process_creation\nfilter:\n  rules: [7e6f1f2c-6d0e-4f0b-9a52-0f1f4f1d2c11]\n  selection:\n    Computer|startswith: build-\n  condition: not selection\n" });
    RuleExceptionList => Page<RuleException>: Meta::read("rule_exception.list", Method::Get, "/v1/tenants/{tenant}/rule-exceptions", "Tenant"),
        json!({ "tenant": example::TENANT });
    RuleExceptionDelete => Gone: Meta::write("rule_exception.delete", Method::Delete, "/v1/tenants/{tenant}/rule-exceptions/{exception}", "RuleException"),
        json!({ "tenant": example::TENANT, "exception": example::RULE_EXCEPTION });
}

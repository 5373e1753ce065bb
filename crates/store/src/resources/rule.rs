//! Detection rules, packs of rules, which tenant runs which pack, and exceptions. Versions never change.

use crate::{Key, Resource};
use ids::{Owner, Principal, RuleExceptionId, RuleId, RulePackId, RunId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// Where a rule is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleState {
    /// Written.
    Draft,
    /// Its tests pass.
    Tested,
    /// It was run over what the lake holds.
    Backtested,
    /// Somebody looks at it.
    InReview,
    /// It runs without consequences.
    Shadow,
    /// It runs.
    Live,
    /// It ran once, or was given up.
    Retired,
}

impl RuleState {
    /// The word in stored keys.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Tested => "tested",
            Self::Backtested => "backtested",
            Self::InReview => "in_review",
            Self::Shadow => "shadow",
            Self::Live => "live",
            Self::Retired => "retired",
        }
    }
}

/// The head of a rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// Its id.
    pub id: RuleId,
    /// The tenant whose it is; none for the provider's.
    pub tenant: Option<TenantId>,
    /// The id in its text.
    pub sigma_id: String,
    /// Where it is in its life.
    pub state: RuleState,
    /// Number of the newest version.
    pub newest: u32,
    /// Number of the version that runs.
    pub running: Option<u32>,
    /// The running version has no consequences.
    pub shadow: bool,
    /// Number of the version that was last run over stored events.
    #[serde(default)]
    pub backtested: Option<u32>,
    /// Days of a retro-hunt when a version goes live; 0 is none, none is what the tenant says.
    #[serde(default)]
    pub retro_hunt_days: Option<u32>,
}

impl Resource for Rule {
    const KIND: &'static str = "rule";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        let mut keys = vec![
            Key::unique("sigma_id", format!("{}/{}", Resource::owner(self), self.sigma_id)),
            Key::lookup("state", self.state.as_str()),
        ];
        if self.running.is_some() {
            keys.push(Key::lookup("running", "true"));
        }
        keys
    }
}

/// One version of a rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RuleVersion {
    /// The rule.
    pub rule: RuleId,
    /// The tenant whose it is.
    pub tenant: Option<TenantId>,
    /// Its number, from 1.
    pub version: u32,
    /// Sigma in YAML.
    pub text: String,
    /// SHA-256 of the text, hexadecimal.
    pub digest: String,
    /// Its tests, in the wire form of `api::RuleTestCase`.
    pub tests: Vec<serde_json::Value>,
    /// What the author says.
    pub comment: String,
    /// Who wrote it.
    pub author: Principal,
    /// The agent's run that wrote it.
    pub run: Option<RunId>,
    /// When.
    pub written_at: Timestamp,
}

impl RuleVersion {
    /// The document id of one version: sorts by number.
    #[must_use]
    pub fn key(rule: RuleId, version: u32) -> String {
        format!("{rule}/{version:010}")
    }
}

impl Resource for RuleVersion {
    const KIND: &'static str = "rule_version";
    fn id(&self) -> String {
        Self::key(self.rule, self.version)
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("rule", self.rule.to_string())]
    }
}

/// A pack of rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RulePack {
    /// Its id.
    pub id: RulePackId,
    /// The tenant whose it is; none for the provider's.
    pub tenant: Option<TenantId>,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its rules were made elsewhere.
    pub imported: bool,
    /// How many rules it has.
    pub rules: u32,
    /// Digest over all its rules, hexadecimal.
    pub digest: String,
}

impl Resource for RulePack {
    const KIND: &'static str = "rule_pack";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::unique("name", format!("{}/{}", Resource::owner(self), self.name))]
    }
}

/// One rule of a pack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RulePackRule {
    /// The pack.
    pub pack: RulePackId,
    /// The tenant whose it is.
    pub tenant: Option<TenantId>,
    /// The id in its text.
    pub sigma_id: String,
    /// The title in its text.
    pub title: String,
    /// Its level, as OCSF's number.
    pub level: u8,
    /// Sigma in YAML.
    pub text: String,
    /// SHA-256 of the text, hexadecimal.
    pub digest: String,
}

impl RulePackRule {
    /// The document id of one rule; the rule's own id may be long, so that its digest stands for it.
    #[must_use]
    pub fn key(pack: RulePackId, sigma_id: &str) -> String {
        let own: String = sigma_id.chars().take(64).collect();
        format!("{pack}/{own}")
    }
}

impl Resource for RulePackRule {
    const KIND: &'static str = "rule_pack_rule";
    fn id(&self) -> String {
        Self::key(self.pack, &self.sigma_id)
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("pack", self.pack.to_string())]
    }
}

/// How a tenant runs a pack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RulePackAssignment {
    /// The pack.
    pub pack: RulePackId,
    /// The tenant.
    pub tenant: TenantId,
    /// Whether it runs there.
    pub on: bool,
    /// Ids of rules that are off there.
    pub off: Vec<String>,
}

impl RulePackAssignment {
    /// The document id: a tenant runs a pack once.
    #[must_use]
    pub fn key(pack: RulePackId, tenant: TenantId) -> String {
        format!("{tenant}/{pack}")
    }
}

impl Resource for RulePackAssignment {
    const KIND: &'static str = "rule_pack_assignment";
    fn id(&self) -> String {
        Self::key(self.pack, self.tenant)
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("pack", self.pack.to_string())]
    }
}

/// An exception from rules in one tenant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RuleException {
    /// Its id.
    pub id: RuleExceptionId,
    /// The tenant.
    pub tenant: TenantId,
    /// A Sigma filter in YAML.
    pub text: String,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub answerable: Principal,
    /// Who wrote it.
    pub author: Principal,
    /// The agent's run that wrote it.
    pub run: Option<RunId>,
    /// From then on it does not hold.
    pub expires_at: Timestamp,
}

impl Resource for RuleException {
    const KIND: &'static str = "rule_exception";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}

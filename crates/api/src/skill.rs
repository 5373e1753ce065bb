//! Skills: what agents know how to do, known by digest; and the definitions that bring them to an agent.

use crate::{Limit, Meta, Method, Operation, Page, example, operation::declare};
use ids::{AgentId, List, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// A file of a skill.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SkillText {
    /// Its path within the folder, with `/`, for example `SKILL.md`.
    pub path: Text<255>,
    /// Its text.
    pub text: Text<524_288>,
}

/// A skill that is here.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Skill {
    /// Its name.
    pub name: String,
    /// Digest of its sorted paths and bytes, in hexadecimal.
    pub digest: String,
    /// Whose it is; absent for the provider's and those that ship.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// What it is for.
    pub description: String,
    /// Whether it shipped with the platform.
    pub shipped: bool,
    /// The operations that its playbook calls; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbook_operations: Option<Vec<String>>,
    /// The trusted comment of the signature, where it came with one that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<String>,
    /// When it came; absent for those that ship.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported_at: Option<Timestamp>,
    /// Its files; only from `skill.get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<SkillText>>,
}

/// Import a skill: a folder in the Agent Skills format, as its files. It does nothing until an agent's definition names it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SkillImport {
    /// Whose it becomes; absent for the caller's own place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The files, `SKILL.md` among them.
    #[schemars(length(min = 1))]
    pub files: List<SkillText, 256>,
    /// A minisign signature over the digest in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Text<2048>>,
    /// The minisign public key that the signature must hold under, in base64. Give both or neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<Text<128>>,
}

/// List the skills that an agent of a place could bring: those that ship and those that were imported.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SkillList {
    /// Of which tenant; where nothing is said, of the caller's own place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Get one skill with its files.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SkillGet {
    /// Its digest.
    pub digest: Text<64>,
}

/// Check a skill's files without keeping them: every fault with its place, those of its playbook against the operations
/// there are.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SkillCheck {
    /// Where it is to be used; absent for the caller's own place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The files, `SKILL.md` among them.
    #[schemars(length(min = 1))]
    pub files: List<SkillText, 256>,
}

/// A fault of a skill.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SkillFault {
    /// In which file; empty for the folder.
    pub file: String,
    /// What is wrong, with path and line where there are any.
    pub fault: String,
}

/// What a check found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SkillChecked {
    /// Its digest, where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What is wrong; empty where nothing is.
    pub faults: Vec<SkillFault>,
}

/// Give an agent its definition: operations, skills, budgets, triggers. An active agent becomes a draft again, so that
/// somebody looks at the new charter before it acts.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentDefine {
    /// Which agent.
    pub agent: AgentId,
    /// The definition: Markdown with YAML front matter. Where nothing is said, the one that ships under the agent's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text<262_144>>,
}

/// What an agent may be, as it is reviewed and pinned.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AgentCharter {
    /// The agent.
    pub agent: AgentId,
    /// Digest of definition, skills, model alias and prompt; every run pins it.
    pub digest: String,
    /// The skills that it brings: name and digest.
    pub skills: BTreeMap<String, String>,
    /// The operations that it may call, as far as policy allows.
    pub operations: Vec<String>,
    /// The definition's text.
    pub text: String,
}

/// Read an agent's charter.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentCharterGet {
    /// Which agent.
    pub agent: AgentId,
}

const SKILL: &str = "---\nname: look\ndescription: Looks into a case.\n---\nLook at the process tree first.\n";

declare! {
    SkillImport => Skill: Meta::govern("skill.import", Method::Post, "/v1/skills", "Tenant"),
        json!({ "tenant": example::TENANT, "files": [{ "path": "SKILL.md", "text": SKILL }] });
    SkillList => Page<Skill>: Meta::read("skill.list", Method::Get, "/v1/skills", "Tenant"), json!({ "tenant": example::TENANT });
    SkillGet => Skill: Meta::read("skill.get", Method::Get, "/v1/skills/{digest}", "Skill"),
        json!({ "digest": "cf2620edc76f3c7bd0e987340580d75dc666140fd88ca6065116c289829be66e" });
    SkillCheck => SkillChecked: Meta::read("skill.check", Method::Post, "/v1/skills/check", "Tenant"),
        json!({ "tenant": example::TENANT, "files": [{ "path": "SKILL.md", "text": SKILL }] });
    AgentDefine => AgentCharter: Meta::govern("agent.define", Method::Put, "/v1/agents/{agent}/charter", "Agent"),
        json!({ "agent": example::AGENT });
    AgentCharterGet => AgentCharter: Meta::read("agent.charter", Method::Get, "/v1/agents/{agent}/charter", "Agent"),
        json!({ "agent": example::AGENT });
}

//! Agents: AI agents as principals of their own, with an owner, a purpose, states and an end.

use crate::{Etag, Limit, Meta, Method, NewCredential, Operation, Page, Slug, example, operation::declare};
use ids::{AgentId, CaseId, RunId, TenantId, Text, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Where an agent is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Registered, may not act yet.
    Draft,
    /// May act.
    Active,
    /// May not act until activated again.
    Suspended,
    /// May never act again.
    Retired,
}

/// An AI agent that is registered here.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Agent {
    /// The agent's id; its runs act as this principal.
    pub id: AgentId,
    /// The tenant it belongs to; absent for the provider's, which can run in every tenant where it holds a role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Its name, unique within its tenant or the provider.
    pub name: Slug,
    /// What it is for, in a sentence.
    pub purpose: Text<2000>,
    /// The person who answers for it; can never approve what it proposes.
    pub owner: UserId,
    /// Where it is in its life.
    pub state: AgentState,
    /// From then on it may not act.
    pub expires_at: Timestamp,
    /// When it was registered.
    pub created_at: Timestamp,
    /// The version; send it back as `if_match` to change exactly this one.
    pub etag: Etag,
}

/// Register an agent. It is a draft, holds no role and may not act until `agent.activate`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentRegister {
    /// The tenant it belongs to; absent for the provider's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Its name, unique within its tenant or the provider.
    pub name: Slug,
    /// What it is for, in a sentence.
    pub purpose: Text<2000>,
    /// The person who answers for it; must belong to the same tenant or to the provider.
    pub owner: UserId,
    /// How long until it must be looked at again, in seconds: 3600 to 31,536,000; 90 days where nothing is said.
    #[serde(default = "ninety_days")]
    #[schemars(range(min = 3600, max = 31_536_000))]
    pub ttl_secs: u32,
}

fn ninety_days() -> u32 {
    90 * 24 * 3600
}

/// Look at one agent.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentGet {
    /// Which agent.
    pub agent: AgentId,
}

/// List the agents of one tenant or of the provider.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentList {
    /// Whose agents; where nothing is said, those of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Change an agent's purpose, owner or end. Fields that are left out stay as they are.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentUpdate {
    /// Which agent.
    pub agent: AgentId,
    /// New purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Text<2000>>,
    /// New owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserId>,
    /// New time to live from now, in seconds: 3600 to 31,536,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 3600, max = 31_536_000))]
    pub ttl_secs: Option<u32>,
    /// Change only if the agent still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// Let a draft or suspended agent act, within the roles that it holds.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentActivate {
    /// Which agent.
    pub agent: AgentId,
}

/// Stop an agent until it is activated again; its run credentials die at once.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentSuspend {
    /// Which agent.
    pub agent: AgentId,
    /// Why; stays on the record.
    pub reason: Text<1000>,
}

/// Stop an agent for ever; its run credentials die at once.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentRetire {
    /// Which agent.
    pub agent: AgentId,
}

/// Issue a credential for one run of an agent in one tenant.
///
/// It lives minutes, reaches that tenant only, carries the run's id and on whose behalf it acts, cannot be renewed or
/// widened, and dies with the kill switch, with the agent's suspension and with `agent.revoke_credentials`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentIssueRunCredential {
    /// Which agent; it must be active.
    pub agent: AgentId,
    /// The one tenant that the run may reach.
    pub tenant: TenantId,
    /// The case that the run works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// How long it lives, in seconds: 30 to 3600; 900 where nothing is said.
    #[serde(default = "quarter_hour")]
    #[schemars(range(min = 30, max = 3600))]
    pub ttl_secs: u32,
}

fn quarter_hour() -> u32 {
    900
}

/// A credential for one run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunCredential {
    /// The run's id; every record of the run names it.
    pub run: RunId,
    /// The credential with its secret.
    pub credential: NewCredential,
}

/// Revoke all credentials of an agent's runs; they are dead at once.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentRevokeCredentials {
    /// Which agent.
    pub agent: AgentId,
}

declare! {
    AgentRegister => Agent: Meta::govern("agent.register", Method::Post, "/v1/agents", "Tenant"),
        json!({ "tenant": example::TENANT, "name": "triage", "purpose": "triages detections", "owner": example::USER });
    AgentGet => Agent: Meta::read("agent.get", Method::Get, "/v1/agents/{agent}", "Agent"), json!({ "agent": example::AGENT });
    AgentList => Page<Agent>: Meta::read("agent.list", Method::Get, "/v1/agents", "Tenant"), json!({ "tenant": example::TENANT });
    AgentUpdate => Agent: Meta::govern("agent.update", Method::Patch, "/v1/agents/{agent}", "Agent"),
        json!({ "agent": example::AGENT, "purpose": "triages detections of identity sources" });
    AgentActivate => Agent: Meta::govern("agent.activate", Method::Post, "/v1/agents/{agent}/activate", "Agent").idempotent(),
        json!({ "agent": example::AGENT });
    AgentSuspend => Agent: Meta::govern("agent.suspend", Method::Post, "/v1/agents/{agent}/suspend", "Agent").idempotent(),
        json!({ "agent": example::AGENT, "reason": "odd behaviour" });
    AgentRetire => Agent: Meta::govern("agent.retire", Method::Post, "/v1/agents/{agent}/retire", "Agent").idempotent(),
        json!({ "agent": example::AGENT });
    AgentIssueRunCredential => RunCredential: Meta::govern("agent.issue_run_credential", Method::Post, "/v1/agents/{agent}/run-credentials", "Agent"),
        json!({ "agent": example::AGENT, "tenant": example::TENANT, "ttl_secs": 900 });
    AgentRevokeCredentials => Agent: Meta::govern("agent.revoke_credentials", Method::Delete, "/v1/agents/{agent}/run-credentials", "Agent"),
        json!({ "agent": example::AGENT });
}

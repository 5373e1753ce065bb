//! Runs of agents: started, followed, stopped, read back step by step.

use crate::{Limit, Meta, Method, Operation, Page, example, operation::declare};
use ids::{AgentId, ApprovalId, CaseId, Principal, RunId, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Where a run is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Somebody stopped it.
    Cancelled,
    /// It did what it was to do.
    Done,
    /// A budget was used up.
    Exhausted,
    /// It could not go on.
    Failed,
    /// It waits for its turn.
    Queued,
    /// It is under way.
    Running,
    /// It waits for people.
    Waiting,
}

/// What a run has used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSpent {
    /// Calls and questions to a model.
    pub steps: u32,
    /// Tokens read and written.
    pub tokens: u64,
    /// Money for models, in millionths.
    pub money_micros: u64,
    /// Milliseconds of work, waiting for people not counted.
    pub work_ms: u64,
    /// Calls that change something.
    pub actions: u32,
}

/// One run of an agent in one tenant.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// Its id; every record of the run names it.
    pub id: RunId,
    /// The tenant that it acts in.
    pub tenant: TenantId,
    /// The agent.
    pub agent: AgentId,
    /// The case that it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// Digest of the charter that it runs under.
    pub charter: String,
    /// Where it is.
    pub state: RunState,
    /// Who started it.
    pub started_by: Principal,
    /// What came out, once it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Value>,
    /// Why it ended, where it is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The approval that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<ApprovalId>,
    /// Whether it has read text that an outsider may have written.
    pub tainted: bool,
    /// What it has used.
    pub spent: RunSpent,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Start a run of an active agent in one tenant. It acts with the agent's rights there, under its charter and budgets.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunStart {
    /// Which agent; it must be active and defined.
    pub agent: AgentId,
    /// The one tenant that the run acts in.
    pub tenant: TenantId,
    /// The case that it works on; becomes the input `case` too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// Further inputs, as its playbook or prompt wants them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub input: Map<String, Value>,
}

/// Look at one run.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunGet {
    /// Which run.
    pub run: RunId,
}

/// List the runs in a tenant, newest last.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunList {
    /// In which tenant; where nothing is said, in the caller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Only those on this case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<RunState>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Stop a run: it takes no further step.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunCancel {
    /// Which run.
    pub run: RunId,
    /// Why; stays on the record.
    pub reason: Text<1000>,
}

/// Read a run's journal: each call and answer in order, as it happened.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunTranscript {
    /// Which run.
    pub run: RunId,
    /// How many steps at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// What happened in a run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunStep {
    /// Its place in the journal, from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What: `began`, `called`, `replied`, `asked`, `answered`, `settled`, `cancelled` or `ended`.
    pub kind: String,
    /// In words.
    pub summary: String,
    /// The journal's entry as it was written.
    pub entry: Value,
}

declare! {
    RunStart => Run: Meta::write("run.start", Method::Post, "/v1/runs", "Agent"),
        json!({ "agent": example::AGENT, "tenant": example::TENANT, "case": "case_01jd3k5v9qf8m2x7r4t6w8y0zc" });
    RunGet => Run: Meta::read("run.get", Method::Get, "/v1/runs/{run}", "Run"), json!({ "run": RUN });
    RunList => Page<Run>: Meta::read("run.list", Method::Get, "/v1/runs", "Tenant"), json!({ "tenant": example::TENANT });
    RunCancel => Run: Meta::write("run.cancel", Method::Post, "/v1/runs/{run}/cancel", "Run"),
        json!({ "run": RUN, "reason": "not needed any more" });
    RunTranscript => Page<RunStep>: Meta::read("run.transcript", Method::Get, "/v1/runs/{run}/transcript", "Run"),
        json!({ "run": RUN });
}

const RUN: &str = "run_01jd3k5v9qf8m2x7r4t6w8y0zc";

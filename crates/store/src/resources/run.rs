//! Runs of agents, their journals, and which of them read an outsider's text.

use crate::{Key, Resource};
use ids::{AgentId, ApprovalId, CaseId, Owner, Principal, RunId, TenantId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a run is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Stopped by somebody.
    Cancelled,
    /// Did what it was to do.
    Done,
    /// Used up a budget.
    Exhausted,
    /// Could not go on.
    Failed,
    /// Waits for its turn.
    Queued,
    /// Under way.
    Running,
    /// Waits for people.
    Waiting,
}

impl RunState {
    /// The word in keys.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Done => "done",
            Self::Exhausted => "exhausted",
            Self::Failed => "failed",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub const fn ended(self) -> bool {
        matches!(self, Self::Cancelled | Self::Done | Self::Exhausted | Self::Failed)
    }
}

/// A run of an agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The tenant that it acts in.
    pub tenant: TenantId,
    /// The agent.
    pub agent: AgentId,
    /// Where the agent belongs.
    pub agent_tenant: Option<TenantId>,
    /// The case that it works on.
    pub case: Option<CaseId>,
    /// Digest of the charter that it runs under.
    pub charter: String,
    /// Where it is.
    pub state: RunState,
    /// Who started it, nearest first: its calls are on behalf of these.
    pub on_behalf_of: Vec<Principal>,
    /// The person who answers for the agent.
    pub owner: UserId,
    /// What it was started with.
    pub input: Value,
    /// The approval that it waits for.
    pub waits_for: Option<ApprovalId>,
    /// How it ended, as the run machine says it.
    pub ending: Option<Value>,
    /// What it has used, as the run machine counts it.
    pub spent: Value,
    /// Whether it has read an outsider's text.
    pub tainted: bool,
    /// Lines in its journal.
    pub lines: u64,
    /// How often it was given to a worker.
    pub turns: u32,
}

impl Resource for Run {
    const KIND: &'static str = "run";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        let mut keys = vec![
            Key::lookup("state", format!("{}/{}", self.tenant, self.state.as_str())),
            Key::lookup("agent", self.agent.to_string()),
        ];
        keys.extend(self.case.map(|case| Key::lookup("case", case.to_string())));
        if self.state == RunState::Waiting {
            keys.push(Key::lookup("waiting", "yes"));
        }
        keys
    }
}

/// Lines of a run's journal that were written together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunLines {
    /// The run.
    pub run: RunId,
    /// The tenant that it acts in.
    pub tenant: TenantId,
    /// The number of the first line, from 0.
    pub first: u64,
    /// The lines, each with its version.
    pub lines: Vec<Value>,
}

impl RunLines {
    /// The id of the lines that begin with this one.
    #[must_use]
    pub fn key(run: RunId, first: u64) -> String {
        format!("{run}/{first:08}")
    }
}

impl Resource for RunLines {
    const KIND: &'static str = "run_lines";
    fn id(&self) -> String {
        Self::key(self.run, self.first)
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("run", self.run.to_string())]
    }
}

/// That a run has read an outsider's text: written with the first call that read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunTaint {
    /// The run.
    pub run: RunId,
    /// The tenant that it acts in.
    pub tenant: Option<TenantId>,
    /// The operation that read it.
    pub operation: String,
}

impl Resource for RunTaint {
    const KIND: &'static str = "run_taint";
    fn id(&self) -> String {
        self.run.to_string()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}

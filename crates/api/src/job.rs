//! Jobs: durable background work, visible and stoppable.

use crate::{Limit, Meta, Method, Operation, Page, example, operation::declare};
use ids::{JobId, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where a job stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for a worker or for its time.
    Queued,
    /// A worker has it.
    Running,
    /// Done; `result` holds what came of it.
    Done,
    /// Failed too often; waits for a person.
    Dead,
    /// Cancelled.
    Cancelled,
}

/// A piece of background work.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The tenant it works for; absent for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// What it does.
    pub kind: String,
    /// Where it stands.
    pub state: JobState,
    /// How far it is, 0 to 1000 parts of a thousand.
    pub progress_permille: u32,
    /// How far it is, in words.
    pub progress: String,
    /// How often it was tried.
    pub attempts: u32,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Look at one job.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobGet {
    /// Which job.
    pub job: JobId,
}

/// List the jobs of one tenant or of the provider, newest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobList {
    /// Whose; where nothing is said, those of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<JobState>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Cancel a job that is not done. What it did stays done.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobCancel {
    /// Which job.
    pub job: JobId,
}

declare! {
    JobGet => Job: Meta::read("job.get", Method::Get, "/v1/jobs/{job}", "Job"), json!({ "job": example::JOB });
    JobList => Page<Job>: Meta::read("job.list", Method::Get, "/v1/jobs", "Tenant"), json!({ "state": "running" });
    JobCancel => Job: Meta::write("job.cancel", Method::Post, "/v1/jobs/{job}/cancel", "Job"), json!({ "job": example::JOB });
}

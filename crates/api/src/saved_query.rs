//! Saved queries: a question to the lake by name, asked by hand or on a schedule, each answer kept as it was.

use crate::{
    Column, Cut, Etag, Gone, Limit, Meta, Method, Operation, Page, RowLimit, Slug, example, operation::declare,
};
use ids::{CallId, Principal, QueryResultId, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// When a query runs by itself, and what follows.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuerySchedule {
    /// Every so many minutes, counted from 1970 in UTC: 1 to 44,640 (31 days); 1,440 is daily.
    #[schemars(range(min = 1, max = 44_640))]
    pub every_minutes: u32,
    /// So many minutes later, less than `every_minutes`: 360 with 1,440 is daily at 06:00 UTC.
    #[serde(default)]
    #[schemars(range(max = 44_639))]
    pub offset_minutes: u32,
    /// Raise a finding of this title where an answer has rows and is not the answer of the time before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<Text<200>>,
}

/// How the last scheduled run went.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct QueryRun {
    /// When it was due.
    pub due_at: Timestamp,
    /// The frozen answer, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<QueryResultId>,
    /// How many rows it has.
    pub row_count: u64,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A question to the lake by name.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SavedQuery {
    /// Whose events it asks.
    pub tenant: TenantId,
    /// Its name, unique in the tenant.
    pub name: Slug,
    /// What it is for, for people.
    pub description: Text<1000>,
    /// The statement, as for `event.query`.
    pub sql: Text<32768>,
    /// How many rows an answer has at most.
    pub limit: RowLimit,
    /// When it runs by itself; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<QuerySchedule>,
    /// As whom it runs by itself: whoever last changed the statement, the limit or the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_as: Option<Principal>,
    /// When it runs next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run_at: Option<Timestamp>,
    /// How the last scheduled run went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<QueryRun>,
    /// Runs that were due while the platform or the tenant stood still, and were left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_runs: Option<u64>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The version.
    pub etag: Etag,
}

/// An answer as it was.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct QueryResult {
    /// Its id.
    pub id: QueryResultId,
    /// Whose events.
    pub tenant: TenantId,
    /// The saved query's name.
    pub query: Slug,
    /// The statement as it was then.
    pub sql: Text<32768>,
    /// As whom it was asked.
    pub by: Principal,
    /// The call, which names the record in the audit log.
    pub call: CallId,
    /// Whether a schedule asked.
    pub scheduled: bool,
    /// When it was asked.
    pub at: Timestamp,
    /// The columns, in the order of the statement.
    pub columns: Vec<Column>,
    /// The rows; only where one result is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<Map<String, Value>>>,
    /// How many rows there are.
    pub row_count: u64,
    /// Whether these were all the rows there were.
    pub complete: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// The lake's snapshot that was read.
    pub snapshot: u64,
    /// SHA-256 of the rows in canonical JSON (RFC 8785), hexadecimal: equal answers have equal digests.
    pub digest: String,
}

/// Save a question to one tenant's events under a name; with a schedule it runs by itself.
///
/// The statement is planned at once: what is wrong with it is told here. Scheduled runs act as whoever saved it, with the
/// rights that they have at that time; only people and service keys can schedule.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedQueryCreate {
    /// Whose events it asks.
    pub tenant: TenantId,
    /// Its name, unique in the tenant.
    pub name: Slug,
    /// What it is for, for people.
    #[serde(default)]
    pub description: Text<1000>,
    /// The statement, as for `event.query`. `now()` is the time of each run: `WHERE time > now() - interval '1 hour'`.
    pub sql: Text<32768>,
    /// How many rows an answer has at most.
    #[serde(default)]
    pub limit: RowLimit,
    /// When it runs by itself; where nothing is said, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<QuerySchedule>,
}

/// Look at one saved query, and at how its schedule fares.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedQueryGet {
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub query: Slug,
}

/// List a tenant's saved queries; without a tenant, for the provider's principals, those of every tenant.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedQueryList {
    /// Whose; where nothing is said, the caller's own tenant or, for the provider's, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Change the named fields of a saved query.
///
/// Who changes the statement, the limit or the schedule is from then on the one as whom it runs by itself.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedQueryUpdate {
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub query: Slug,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Text<1000>>,
    /// The statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<Text<32768>>,
    /// How many rows an answer has at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<RowLimit>,
    /// When it runs by itself, in place of the schedule before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<QuerySchedule>,
    /// Run it by itself no more.
    #[serde(default)]
    pub unschedule: bool,
    /// Only if the query still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// Delete a saved query with its schedule and its frozen answers.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedQueryDelete {
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub query: Slug,
}

/// Ask a saved query now, with your own rights, and keep the answer as it was.
///
/// The 20 newest answers of a query are kept.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedQueryRun {
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub query: Slug,
}

/// List the answers of a saved query that are kept, oldest first, without their rows.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedQueryResults {
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub query: Slug,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Look at one frozen answer with its rows. Who may not ask `event.query` there, may not see it either.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedQueryResult {
    /// Whose.
    pub tenant: TenantId,
    /// The saved query's name.
    pub query: Slug,
    /// Which answer.
    pub result: QueryResultId,
}

declare! {
    SavedQueryCreate => SavedQuery: Meta::write("saved_query.create", Method::Post, "/v1/tenants/{tenant}/saved-queries", "Tenant"),
        json!({ "tenant": example::TENANT, "name": "new-admins", "sql": "SELECT time, user_name FROM account_change WHERE time > now() - interval '1 hour'", "schedule": { "every_minutes": 60, "finding": "An account was given more rights" } });
    SavedQueryGet => SavedQuery: Meta::read("saved_query.get", Method::Get, "/v1/tenants/{tenant}/saved-queries/{query}", "SavedQuery"),
        json!({ "tenant": example::TENANT, "query": "new-admins" });
    SavedQueryList => Page<SavedQuery>: Meta::read("saved_query.list", Method::Get, "/v1/saved-queries", "Tenant"),
        json!({ "tenant": example::TENANT });
    SavedQueryUpdate => SavedQuery: Meta::write("saved_query.update", Method::Patch, "/v1/tenants/{tenant}/saved-queries/{query}", "SavedQuery"),
        json!({ "tenant": example::TENANT, "query": "new-admins", "schedule": { "every_minutes": 1440, "offset_minutes": 360 } });
    SavedQueryDelete => Gone: Meta::write("saved_query.delete", Method::Delete, "/v1/tenants/{tenant}/saved-queries/{query}", "SavedQuery"),
        json!({ "tenant": example::TENANT, "query": "new-admins" });
    SavedQueryRun => QueryResult: Meta::write("saved_query.run", Method::Post, "/v1/tenants/{tenant}/saved-queries/{query}/run", "SavedQuery"),
        json!({ "tenant": example::TENANT, "query": "new-admins" });
    SavedQueryResults => Page<QueryResult>: Meta::read("saved_query.results", Method::Get, "/v1/tenants/{tenant}/saved-queries/{query}/results", "SavedQuery"),
        json!({ "tenant": example::TENANT, "query": "new-admins" });
    SavedQueryResult => QueryResult: Meta::read("saved_query.result", Method::Get, "/v1/tenants/{tenant}/saved-queries/{query}/results/{result}", "SavedQuery"),
        json!({ "tenant": example::TENANT, "query": "new-admins", "result": example::RESULT });
}

//! Questions to the lake by name, the clocks of those that run by themselves, and their answers as they were.

use crate::{Caller, Key, Resource, sortable};
use ids::{CallId, Owner, Principal, QueryResultId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// When a query runs by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QuerySchedule {
    /// Every so many minutes, counted from 1970.
    pub every_minutes: u32,
    /// So many minutes later.
    pub offset_minutes: u32,
    /// The title of the finding that an answer with rows raises.
    pub finding: Option<String>,
    /// As whom it runs.
    pub by: Caller,
}

/// A question by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedQuery {
    /// Whose events it asks.
    pub tenant: TenantId,
    /// Its name, unique in the tenant.
    pub name: String,
    /// What it is for, for people.
    pub description: String,
    /// The statement.
    pub sql: String,
    /// Rows of an answer at most.
    pub rows_max: u32,
    /// When it runs by itself.
    pub schedule: Option<QuerySchedule>,
}

impl SavedQuery {
    /// The id of a tenant's query, and of its clock.
    #[must_use]
    pub fn key(tenant: TenantId, name: &str) -> String {
        format!("{tenant}/{name}")
    }
}

impl Resource for SavedQuery {
    const KIND: &'static str = "saved_query";
    fn id(&self) -> String {
        Self::key(self.tenant, &self.name)
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}

/// How a scheduled run went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QueryRun {
    /// When it was due.
    pub due_at: Timestamp,
    /// The frozen answer.
    pub result: Option<QueryResultId>,
    /// How many rows it has.
    pub row_count: u64,
    /// Digest of its rows, hexadecimal.
    pub digest: Option<String>,
    /// Why there is no answer.
    pub problem: Option<String>,
}

/// The clock of a query that runs by itself; apart from the query, whose version people hold on to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QueryClock {
    /// The query's tenant.
    pub tenant: TenantId,
    /// The query's name.
    pub name: String,
    /// When it runs next.
    pub next_at: Timestamp,
    /// Runs that were left out.
    pub missed: u64,
    /// The slot that is being asked: no other begins before it has ended.
    pub asking: Option<Timestamp>,
    /// How the last one went.
    pub last: Option<QueryRun>,
}

impl Resource for QueryClock {
    const KIND: &'static str = "query_clock";
    fn id(&self) -> String {
        SavedQuery::key(self.tenant, &self.name)
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("due", sortable(self.next_at))]
    }
}

/// An answer as it was. It never changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QueryResult {
    /// Its id.
    pub id: QueryResultId,
    /// The query's tenant.
    pub tenant: TenantId,
    /// The query's name.
    pub query: String,
    /// The statement as it was.
    pub sql: String,
    /// As whom it was asked.
    pub by: Principal,
    /// The call that asked.
    pub call: CallId,
    /// Whether a schedule asked.
    pub scheduled: bool,
    /// When.
    pub at: Timestamp,
    /// Names and types of the columns.
    pub columns: Vec<(String, String)>,
    /// The rows, in canonical JSON: what the digest is of.
    pub rows: String,
    /// How many.
    pub row_count: u64,
    /// Whether it was the whole answer.
    pub complete: bool,
    /// Why not, in the registry's word.
    pub cut: Option<String>,
    /// The lake's snapshot.
    pub snapshot: u64,
    /// Digest of the rows, hexadecimal.
    pub digest: String,
}

impl Resource for QueryResult {
    const KIND: &'static str = "query_result";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("query", SavedQuery::key(self.tenant, &self.query))]
    }
}

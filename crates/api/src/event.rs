//! Asking the lake: SQL, the search grammar, and the smaller questions that teach a caller its fields and values.
//!
//! Every question names one tenant, or a set of tenants that policy decides one by one; rows of several carry the
//! column `tenant`. Every answer is bounded, says whether it is complete and, where it is not, why.

use crate::{ExportFile, Meta, Method, Obligation, Operation, example, operation::declare};
use ids::{List, TenantId, Text, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// How many rows at most: 1 to 10,000, 100 where nothing is said.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct RowLimit(u32);

impl RowLimit {
    /// The greatest limit.
    pub const MAX: u32 = 10_000;

    /// The number.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0
    }
}

impl Default for RowLimit {
    fn default() -> Self {
        Self(100)
    }
}

impl<'de> Deserialize<'de> for RowLimit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let count = u32::deserialize(deserializer)?;
        if (1..=Self::MAX).contains(&count) {
            Ok(Self(count))
        } else {
            Err(serde::de::Error::custom(format!("is {count}; write 1 to {}", Self::MAX)))
        }
    }
}

impl JsonSchema for RowLimit {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "RowLimit".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": Self::MAX, "default": 100 })
    }
}

/// A column of an answer.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type: `text`, `integer`, `float`, `boolean`, `time`, `bytes`, `json` or `list`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Why an answer does not hold all there is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// The answer reached its size; `next_cursor` goes on, or ask for fewer columns.
    Bytes,
    /// The bound on bytes decoded was reached; narrow the time range or the columns.
    Decoded,
    /// The bound on memory was reached; narrow the question.
    Memory,
    /// The row limit was reached; `next_cursor` goes on.
    Rows,
    /// The bound on time was reached; narrow the question.
    Time,
    /// A file of the lake could not be read; whoever runs the platform sees which.
    Unreadable,
}

/// What an answer was made of.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Provenance {
    /// The lake's snapshot that was read.
    pub snapshot: u64,
    /// The instant that the answer speaks of: events acknowledged before it are in it.
    pub as_of: Timestamp,
    /// Files opened.
    pub files_read: u64,
    /// Files that statistics and filters made needless to open.
    pub files_skipped: u64,
    /// Rows looked at.
    pub rows_scanned: u64,
    /// Bytes read from storage.
    pub bytes_read: u64,
    /// Milliseconds that it took.
    pub took_ms: u64,
}

/// Rows of the lake.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct EventRows {
    /// The rows, one object each, with the columns as keys; a null is left out.
    pub items: Vec<Map<String, Value>>,
    /// The columns, in the order of the question.
    pub columns: Vec<Column>,
    /// Whether these are all the rows there are.
    pub complete: bool,
    /// Why it is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// Give this as `cursor`, with the same question, for the rows after these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub next_cursor: Option<String>,
    /// What the answer was made of.
    pub provenance: Provenance,
}

/// Ask the lake in SQL: one `SELECT` (joins, aggregates, CTEs and window functions included), nothing else.
///
/// Tables: `events` holds everything; `process_activity`, `network_activity`, `authentication`, `api_activity`,
/// `file_activity`, `dns_activity`, `http_activity` and the other OCSF classes hold theirs; `detections` and
/// `dead_letters`; and, in questions about one tenant, its external tables. Columns that all have: `time` (timestamp), `class_uid`, `activity_id`, `severity_id`, `source`, `raw`
/// (the record as it came); use `event.fields` to see the others and `event.values` for what stands in them. Fields
/// that the source has and OCSF has not are read by `field(raw, 'Event.EventData.CommandLine')`. Give a time range:
/// `SELECT time, user_name, src_ip FROM authentication WHERE time > now() - interval '1 day' AND status_id = 2`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Whose events; where nothing is said, those of the caller's own tenant or, for the provider's, of every tenant that policy lets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Ask these tenants at once; `tenant` becomes a column. Each must be allowed on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<List<TenantId, 200>>,
    /// The statement, for example `SELECT class_uid, count(*) AS n FROM events GROUP BY 1 ORDER BY n DESC`.
    pub sql: Text<32768>,
    /// How many rows at most.
    #[serde(default)]
    pub limit: RowLimit,
    /// From an earlier answer's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Search events by a short grammar, newest first.
///
/// `field:value` (`src_ip:10.0.0.7`, `user_name:alice`), quoted text (`"mimikatz"`, found anywhere in the record),
/// wildcards (`process_name:*\\powershell.exe`), ranges (`severity_id:>=4`, `dst_port:[1 TO 1024]`), `AND`, `OR`, `NOT`
/// and brackets; words side by side mean AND. Field names as in `event.fields`; the source's own names work too
/// (`EventID:4688`). An empty query finds everything in the time range.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventSearch {
    /// Whose events; where nothing is said, those of the caller's own tenant or, for the provider's, of every tenant that policy lets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Ask these tenants at once; `tenant` becomes a column. Each must be allowed on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<List<TenantId, 200>>,
    /// What to find, for example `class_uid:3002 AND status_id:2 NOT user_name:svc-*`.
    pub query: Text<8192>,
    /// Events at or after this instant; where nothing is said, 24 hours before `until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Events before this instant; where nothing is said, now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Which columns to answer; where nothing is said, those that the events' class is known by, without `raw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<List<Text<128>, 64>>,
    /// How many rows at most.
    #[serde(default)]
    pub limit: RowLimit,
    /// From an earlier answer's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Follow events as they become searchable, oldest first; without `cursor` it begins now.
///
/// Waits until there is one, or `wait_secs` have passed; give `next_cursor` back to go on without a gap. With
/// `Accept: text/event-stream` the route goes on by itself and sends each event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventTail {
    /// Whose events; where nothing is said, those of the caller's own tenant or, for the provider's, of every tenant that policy lets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Only events that this finds, in the grammar of `event.search`.
    #[serde(default)]
    pub query: Text<2048>,
    /// How long to wait for an event, in seconds: 0 to 25; 10 where nothing is said.
    #[serde(default = "ten")]
    #[schemars(range(max = 25))]
    pub wait_secs: u32,
    /// How many rows at most.
    #[serde(default)]
    pub limit: RowLimit,
    /// From an earlier answer's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

fn ten() -> u32 {
    10
}

/// Count events over time, in equal steps; optionally by the values of a field.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventHistogram {
    /// Whose events; where nothing is said, those of the caller's own tenant or, for the provider's, of every tenant that policy lets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Ask these tenants at once and count them together. Each must be allowed on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<List<TenantId, 200>>,
    /// Which events, in the grammar of `event.search`; empty for all.
    #[serde(default)]
    pub query: Text<8192>,
    /// Events at or after this instant; where nothing is said, 24 hours before `until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Events before this instant; where nothing is said, now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Into how many steps the range is cut: 1 to 500; 24 where nothing is said.
    #[serde(default = "twenty_four")]
    #[schemars(range(min = 1, max = 500))]
    pub steps: u32,
    /// Count apart by this field's ten most frequent values, for example `class_uid`, `source` or `severity_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Text<128>>,
}

fn twenty_four() -> u32 {
    24
}

/// Events in one step of time.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HistogramStep {
    /// Where the step begins.
    pub at: Timestamp,
    /// The value of the field that is counted by; absent without one, and for all but the most frequent values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// How many.
    pub count: u64,
}

/// Events over time.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Histogram {
    /// The steps that hold events, oldest first.
    pub items: Vec<HistogramStep>,
    /// How long a step is, in seconds.
    pub step_secs: u64,
    /// Events in all.
    pub total: u64,
    /// Whether everything was counted.
    pub complete: bool,
    /// Why it is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// What the answer was made of.
    pub provenance: Provenance,
}

/// List the fields that a tenant's events really have: columns for SQL, and the sources' own fields.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventFields {
    /// Whose events; where nothing is said, those of the caller's own tenant or, for the provider's, of every tenant that policy lets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Only fields of this table, for example `process_activity`, or of this external table of the named tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Text<128>>,
    /// Only fields of events from this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Text<64>>,
    /// Only fields whose name holds this, whatever the case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<Text<128>>,
    /// How many at most.
    #[serde(default)]
    pub limit: RowLimit,
}

/// A field that events have.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FieldInfo {
    /// Its name: a column where `column` is true, else a path for `field(raw, ...)` and for searches.
    pub name: String,
    /// Its type, as in an answer's columns.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is a column of the tables.
    pub column: bool,
    /// The tables that have it, or the source whose own it is.
    pub of: Vec<String>,
    /// What it means, where the schema says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
    /// A few values from the tenant's own events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Value>,
}

/// Fields.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Fields {
    /// The fields, the tables' columns first.
    pub items: Vec<FieldInfo>,
    /// Whether these are all.
    pub complete: bool,
}

/// List the most frequent values of a field, with their counts.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventValues {
    /// Whose events; where nothing is said, those of the caller's own tenant or, for the provider's, of every tenant that policy lets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Which field, for example `process_name` or `EventID`.
    pub field: Text<128>,
    /// Only events that this finds, in the grammar of `event.search`.
    #[serde(default)]
    pub query: Text<2048>,
    /// Events at or after this instant; where nothing is said, 24 hours before `until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Events before this instant; where nothing is said, now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How many at most.
    #[serde(default)]
    pub limit: RowLimit,
}

/// A value and how often it is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ValueCount {
    /// The value; null where events do not have the field.
    pub value: Value,
    /// In how many events.
    pub count: u64,
}

/// The values of a field.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Values {
    /// Most frequent first.
    pub items: Vec<ValueCount>,
    /// Whether these are all.
    pub complete: bool,
    /// Why it is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// What the answer was made of.
    pub provenance: Provenance,
}

/// Get one event whole: its OCSF form and the record as it came.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventGet {
    /// Whose event; where nothing is said, one of the caller's own tenant or, for the provider's, of every tenant that policy lets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The event's id: the column `id` of an answer.
    pub event: Text<128>,
}

/// One event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// Its tenant.
    pub tenant: TenantId,
    /// The source that sent it.
    pub source: String,
    /// When it happened.
    pub time: Timestamp,
    /// The record in OCSF.
    pub ocsf: Value,
    /// The record as it came, at most 64 KiB of it.
    pub raw: String,
    /// Whether `raw` was cut.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub raw_cut: bool,
}

/// Build the tree of processes around one: its ancestors and what they started.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventProcessTree {
    /// Whose events; where nothing is said, those of the caller's own tenant or, for the provider's, of every tenant that policy lets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// An event that names the process: its `id` in an answer.
    pub event: Text<128>,
    /// How many generations up: 0 to 20; 5 where nothing is said.
    #[serde(default = "five")]
    #[schemars(range(max = 20))]
    pub up: u32,
    /// How many generations down: 0 to 20; 5 where nothing is said.
    #[serde(default = "five")]
    #[schemars(range(max = 20))]
    pub down: u32,
}

fn five() -> u32 {
    5
}

/// A process of a tree.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProcessNode {
    /// The process's key within this answer.
    pub key: String,
    /// The key of its parent, where that is in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The event that started it, where it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// When it started, where that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// Its number on its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i64>,
    /// Its program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How it was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
    /// As whom it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// A tree of processes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProcessTree {
    /// The processes, parents before children; at most 1000.
    pub items: Vec<ProcessNode>,
    /// The key of the process that was asked about.
    pub focus: String,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Whether nothing was cut.
    pub complete: bool,
}

/// Say what a query would cost, from the catalog alone: no event is read.
///
/// The statement is planned as `event.query` would plan it, so that it is also told what is wrong with it. Of external tables
/// the files and bytes are known, and not the rows.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventEstimate {
    /// Whose events; where nothing is said, those of the caller's own tenant or, for the provider's, of every tenant that policy lets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Ask these tenants at once. Each must be allowed on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<List<TenantId, 200>>,
    /// The statement, as for `event.query`.
    pub sql: Text<32768>,
}

/// What a query would cost.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// Files that would be opened.
    pub files: u64,
    /// Files that statistics and filters make needless to open.
    pub files_skipped: u64,
    /// Rows that would be looked at, at most.
    pub rows: u64,
    /// Bytes that would be read, at most.
    pub bytes: u64,
    /// Whether it fits the limits of one query.
    pub fits: bool,
}

/// In which form rows are taken away.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// Arrow IPC, stream format.
    Arrow,
    /// Comma-separated, with a header line (RFC 4180).
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// Parquet, zstd.
    Parquet,
}

/// Take rows away as files, part by part: each part is a whole file of its format.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventExport {
    /// Whose events; where nothing is said, those of the caller's own tenant or, for the provider's, of every tenant that policy lets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The statement, as for `event.query`.
    pub sql: Text<32768>,
    /// In which form.
    pub format: ExportFormat,
    /// From an earlier answer's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// A part of an export.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EventFiles {
    /// The files of this part: one.
    pub items: Vec<ExportFile>,
    /// Rows in this part.
    pub rows: u64,
    /// Give this as `cursor`, with the same question, for the next part; absent after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub next_cursor: Option<String>,
    /// Whether this and the parts before it are all.
    pub complete: bool,
    /// Why the export ends before its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
}

const KEEPS: &[Obligation] = &[Obligation::MaxRows, Obligation::Mask];

declare! {
    EventQuery => EventRows: Meta::read("event.query", Method::Post, "/v1/events/query", "Tenant").keeps(KEEPS),
        json!({ "tenant": example::TENANT, "sql": "SELECT class_uid, count(*) AS n FROM events GROUP BY 1 ORDER BY n DESC" });
    EventSearch => EventRows: Meta::read("event.search", Method::Post, "/v1/events/search", "Tenant").keeps(KEEPS),
        json!({ "tenant": example::TENANT, "query": "src_ip:10.0.0.7 AND severity_id:>=3", "limit": 20 });
    EventTail => EventRows: Meta::read("event.tail", Method::Get, "/v1/events/tail", "Tenant").keeps(KEEPS),
        json!({ "tenant": example::TENANT, "query": "severity_id:>=4" });
    EventHistogram => Histogram: Meta::read("event.histogram", Method::Post, "/v1/events/histogram", "Tenant").keeps(KEEPS),
        json!({ "tenant": example::TENANT, "query": "class_uid:3002", "steps": 24, "by": "source" });
    EventFields => Fields: Meta::read("event.fields", Method::Get, "/v1/events/fields", "Tenant").keeps(KEEPS),
        json!({ "tenant": example::TENANT, "like": "process" });
    EventValues => Values: Meta::read("event.values", Method::Get, "/v1/events/values", "Tenant").keeps(KEEPS),
        json!({ "tenant": example::TENANT, "field": "process_name" });
    EventGet => Event: Meta::read("event.get", Method::Get, "/v1/events/id/{event}", "Tenant").keeps(KEEPS),
        json!({ "tenant": example::TENANT, "event": "1007-20260301-12-4096-3" });
    EventProcessTree => ProcessTree: Meta::read("event.process_tree", Method::Get, "/v1/events/id/{event}/process-tree", "Tenant").keeps(KEEPS),
        json!({ "tenant": example::TENANT, "event": "1007-20260301-12-4096-3" });
    EventEstimate => Estimate: Meta::read("event.estimate", Method::Post, "/v1/events/estimate", "Tenant"),
        json!({ "tenant": example::TENANT, "sql": "SELECT count(*) FROM events WHERE src_ip = '10.0.0.7'" });
    EventExport => EventFiles: Meta::read("event.export", Method::Post, "/v1/events/export", "Tenant").keeps(KEEPS),
        json!({ "tenant": example::TENANT, "sql": "SELECT * FROM authentication", "format": "parquet" });
}

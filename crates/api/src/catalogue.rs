//! The operations themselves, as something one can list, search and describe.

use crate::{Effect, Limit, Meta, Method, Operation, Page, operation::declare};
use ids::Text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One operation, in a line.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OperationEntry {
    /// `resource.verb`.
    pub id: String,
    /// What it may do.
    pub effect: Effect,
    /// HTTP method of its route.
    pub method: Method,
    /// Path of its route; `{…}` are fields of the input.
    pub path: String,
    /// Name of its MCP tool.
    pub mcp_tool: String,
    /// Its command.
    pub cli: String,
    /// What it does, in a line.
    pub summary: String,
}

/// One operation, whole.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OperationDescription {
    /// The line.
    #[serde(flatten)]
    pub entry: OperationEntry,
    /// What it does.
    pub description: String,
    /// Calling it again with the same input changes nothing more.
    pub idempotent: bool,
    /// It answers with a job that goes on in the background.
    pub long_running: bool,
    /// Obligations that it can keep.
    pub obligations: Vec<String>,
    /// JSON Schema 2020-12 of the input.
    pub input_schema: Value,
    /// JSON Schema 2020-12 of the output.
    pub output_schema: Value,
    /// One plausible input.
    pub example: Value,
}

/// List every operation of the platform.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationList {
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Find operations by words of what they do, the best first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationSearch {
    /// Words, for example `stop an agent`.
    pub query: Text<200>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
}

/// Describe one operation: what it does, its schemas and an example.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationDescribe {
    /// Its id, for example `agent.suspend`.
    pub operation: Text<100>,
}

/// Call any operation by its id.
///
/// This is a face, not a way around: policy, approval and record are those of the operation that is called.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationCall {
    /// Its id, for example `agent.suspend`.
    pub operation: Text<100>,
    /// Its input; see `operation.describe`.
    #[serde(default)]
    #[schemars(extend("type" = "object"))]
    pub input: serde_json::Map<String, Value>,
}

declare! {
    OperationList => Page<OperationEntry>: Meta::read("operation.list", Method::Get, "/v1/operations", "Provider"), json!({ "limit": 1000 });
    OperationSearch => Page<OperationEntry>: Meta::read("operation.search", Method::Get, "/v1/operations/search", "Provider"), json!({ "query": "stop an agent" });
    OperationDescribe => OperationDescription: Meta::read("operation.describe", Method::Get, "/v1/operations/{operation}", "Provider"),
        json!({ "operation": "agent.suspend" });
    OperationCall => Value: Meta::read("operation.call", Method::Post, "/v1/operations/call", "Provider"),
        json!({ "operation": "me.get", "input": {} });
}

//! External tables: a folder of Parquet that a tenant already has, asked in place beside the lake's own tables.

use crate::{Column, Etag, Gone, Limit, Meta, Method, Operation, Page, example, operation::declare};
use ids::{List, TenantId, Text, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::borrow::Cow;

/// A table's name in SQL: lower-case letters, digits and `_`, 1 to 63 characters, a letter first.
// INVARIANT: matches the pattern of its schema.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
pub struct TableName(Text<64>);

impl TableName {
    /// The name as text.
    #[must_use]
    pub fn text(&self) -> &Text<64> {
        &self.0
    }
}

impl std::str::FromStr for TableName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHY: &str =
            "is not a table's name; write 1 to 63 lower-case letters, digits or `_`, beginning with a letter";
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if !first || text.len() > 63 || !text.bytes().all(inner) {
            return Err(WHY);
        }
        Text::new(text).map(Self).map_err(|_| WHY)
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TableName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for TableName {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "TableName".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$", "maxLength": 63 })
    }
}

/// What a column of an external table is read as. A value that is none fails the question that reads it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExternalType {
    /// True or false.
    Boolean,
    /// A number.
    Float,
    /// A whole number.
    Integer,
    /// Text.
    Text,
    /// An instant: a timestamp, a date, or text in RFC 3339.
    Time,
    /// An instant as microseconds since 1970.
    TimeMicros,
    /// An instant as milliseconds since 1970.
    TimeMillis,
    /// An instant as nanoseconds since 1970.
    TimeNanos,
    /// An instant as seconds since 1970.
    TimeSecs,
}

/// One column of a mapping.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalColumn {
    /// What the files call it, or the key of a `key=value` folder.
    pub from: Text<128>,
    /// What questions call it, for example `src_ip`: the lake's own names let one question ask both.
    pub name: Text<128>,
    /// What it is read as; where nothing is said, what it is in the files (folders' values are text).
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ExternalType>,
}

/// What a folder holds now.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ExternalContents {
    /// The table's columns, as questions know them.
    pub columns: Vec<Column>,
    /// Columns that are made of `key=value` folders, under the folders' own names: a condition on one of them leaves files
    /// unopened.
    pub partitions: Vec<String>,
    /// How many files it has.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A folder of Parquet as a table.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExternalTable {
    /// Whose: no other tenant's questions know of it.
    pub tenant: TenantId,
    /// Its name in SQL.
    pub name: TableName,
    /// What it is, for people.
    pub description: Text<1000>,
    /// Where it lies on the server.
    pub folder: Text<1024>,
    /// The columns that are renamed or cast; the others stay as they are.
    pub columns: Vec<ExternalColumn>,
    /// What is there now; only `external_table.create` and `external_table.get` look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<ExternalContents>,
    /// Why it cannot be asked now, where it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// The version.
    pub etag: Etag,
}

/// Register a folder of Parquet on the server as a table of one tenant, read in place and never written.
///
/// `event.query` and `event.export` then know it by its name, beside and together with the lake's tables, in questions about
/// this tenant alone. Folders named `key=value` become columns. The folder lies below one that the server's configuration
/// names for the tenant (`external_folders`), without symbolic links; this is checked again at each question, which also sees
/// files that came since. Rules do not run over it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalTableCreate {
    /// Whose.
    pub tenant: TenantId,
    /// Its name in SQL; none that a table of the lake has.
    pub name: TableName,
    /// What it is, for people.
    #[serde(default)]
    pub description: Text<1000>,
    /// Where it lies on the server: an absolute path.
    pub folder: Text<1024>,
    /// Columns that are renamed or cast; a column may stand here several times, under several names.
    #[serde(default)]
    pub columns: List<ExternalColumn, 500>,
}

/// Look at an external table, and at what its folder holds now.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalTableGet {
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub table: TableName,
}

/// List a tenant's external tables; without a tenant, for the provider's principals, those of every tenant.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalTableList {
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

/// Forget an external table. Its files stay.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalTableDelete {
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub table: TableName,
}

declare! {
    ExternalTableCreate => ExternalTable: Meta::govern("external_table.create", Method::Post, "/v1/tenants/{tenant}/external-tables", "Tenant"),
        json!({ "tenant": example::TENANT, "name": "firewall_2024", "folder": "/srv/archive/firewall", "columns": [{ "from": "ts", "name": "time", "type": "time_millis" }, { "from": "source_address", "name": "src_ip" }] });
    ExternalTableGet => ExternalTable: Meta::read("external_table.get", Method::Get, "/v1/tenants/{tenant}/external-tables/{table}", "ExternalTable"),
        json!({ "tenant": example::TENANT, "table": "firewall_2024" });
    ExternalTableList => Page<ExternalTable>: Meta::read("external_table.list", Method::Get, "/v1/external-tables", "Tenant"),
        json!({ "tenant": example::TENANT });
    ExternalTableDelete => Gone: Meta::govern("external_table.delete", Method::Delete, "/v1/tenants/{tenant}/external-tables/{table}", "ExternalTable"),
        json!({ "tenant": example::TENANT, "table": "firewall_2024" });
}

//! Entities in telemetry: how common is this address, hash, command?

use crate::{Meta, Method, Operation, example, operation::declare};
use ids::{List, TenantId, Text, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use std::borrow::Cow;

/// An entity: `kind:value`, for example `ip:10.0.0.7`; kinds are lineage, host, user, hash, ip, domain, resource, email,
/// url, process and file. 3 to 600 characters; what is a value beyond not being blank is the platform's to say.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct EntityName(Text<600>);

impl EntityName {
    /// The kinds, as they stand before the colon.
    pub const KINDS: [&'static str; 11] =
        ["lineage", "host", "user", "hash", "ip", "domain", "resource", "email", "url", "process", "file"];

    /// The name of an entity that the platform spelled; what is longer than a name may be is cut.
    #[must_use]
    pub fn of(spelled: &str) -> Self {
        Self(Text::truncated(spelled))
    }
}

impl std::ops::Deref for EntityName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for EntityName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::<600>::deserialize(deserializer)?;
        let whole = text.split_once(':').is_some_and(|(kind, value)| {
            Self::KINDS.contains(&kind) && value.chars().any(|one| !one.is_whitespace() && one != '.' && one != '\0')
        });
        if whole {
            return Ok(Self(text));
        }
        let kinds = Self::KINDS.join(", ");
        let why = format!("is not `kind:value`; write for example `ip:10.0.0.7`, with a kind of {kinds}");
        Err(serde::de::Error::custom(why))
    }
}

impl JsonSchema for EntityName {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "EntityName".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = format!("^({}):(.|\\s)*[^\\s.\\u0000\\u0085](.|\\s)*$", Self::KINDS.join("|"));
        json_schema!({ "type": "string", "pattern": pattern, "maxLength": 600 })
    }
}

/// What kind of thing is asked about.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// A command line, with what varies in it (numbers, ids, temporary names) left out.
    Command,
    /// A domain name.
    Domain,
    /// A hash of a file's bytes.
    Hash,
    /// A host.
    Host,
    /// An IP address.
    Ip,
    /// A parent and a child process: `winword.exe>cmd.exe`.
    ProcessPair,
    /// A user.
    User,
}

/// Say how common a thing is in a tenant: a look-up in the summary that ingest keeps, not a scan.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntityPrevalence {
    /// In whose events; where nothing is said, in those of the caller's own tenant or, for the provider's, of every tenant that policy lets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Ask these tenants at once. Each must be allowed on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<List<TenantId, 200>>,
    /// What kind of thing.
    pub kind: EntityKind,
    /// The thing, for example `185.220.101.4` or `winword.exe>cmd.exe`.
    pub value: Text<4096>,
    /// Over how many days back: 1 to 365; 30 where nothing is said.
    #[serde(default = "thirty")]
    #[schemars(range(min = 1, max = 365))]
    pub days: u32,
}

fn thirty() -> u32 {
    30
}

/// How common a thing is in one tenant.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Prevalence {
    /// The tenant.
    pub tenant: TenantId,
    /// In how many events.
    pub count: u64,
    /// On how many of the days.
    pub days: u32,
    /// When it was first seen, in the whole summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<Timestamp>,
    /// When it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
}

/// How common a thing is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Prevalences {
    /// One entry for each tenant that was asked; a count of 0 means that it was not seen.
    pub items: Vec<Prevalence>,
    /// The value as the summary knows it: commands are normalised, names folded to lower case.
    pub normalised: String,
}

declare! {
    EntityPrevalence => Prevalences: Meta::read("entity.prevalence", Method::Get, "/v1/entities/prevalence", "Tenant"),
        json!({ "tenant": example::TENANT, "kind": "ip", "value": "185.220.101.4" });
}

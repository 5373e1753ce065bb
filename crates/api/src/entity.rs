//! Entities in telemetry: how common is this address, hash, command?

use crate::{Meta, Method, Operation, example, operation::declare};
use ids::{List, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

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

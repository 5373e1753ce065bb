//! Connectors: services of others that response actions reach over HTTP. A connector is a document (how to speak to the
//! service), settings and secrets; which documents ship is told by `connector.catalogue`.

use crate::{
    Action, Etag, Gone, Limit, Meta, Method, Obligation, Operation, Page, Secret, example, operation::declare,
};
use ids::{CaseId, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// An input of a connector's action.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConnectorInput {
    /// Its name.
    pub name: String,
    /// `boolean`, `integer`, `json` or `text`.
    pub kind: String,
    /// What to give.
    pub description: String,
    /// Whether it may be missing.
    pub optional: bool,
}

/// What a connector can do.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConnectorAction {
    /// Its name.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What it does.
    pub description: String,
    /// The `OpenC2` action.
    pub openc2_action: String,
    /// The `OpenC2` target type.
    pub openc2_target: String,
    /// What it takes.
    pub inputs: Vec<ConnectorInput>,
    /// Whether something is asked before, and nothing is sent where the answer is no.
    pub precondition: bool,
    /// Whether something is kept before it is sent.
    pub evidence: bool,
    /// How its effect is looked for: `answer`, `question` or `none`.
    pub verify: String,
    /// Within how many seconds the effect must show; a finding is raised after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_within_secs: Option<u32>,
    /// The action that undoes it; absent where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inverse: Option<String>,
    /// Whether it may be sent again where nobody knows whether it arrived.
    pub may_repeat: bool,
}

/// A connector.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Connector {
    /// Whose; absent: the provider's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Its name.
    pub name: Text<64>,
    /// The kind that its document says.
    pub kind: String,
    /// What people call it.
    pub title: String,
    /// What it is for.
    pub description: String,
    /// The document.
    pub document: Text<65536>,
    /// Every origin that it may speak to.
    pub hosts: Vec<String>,
    /// What was set.
    pub settings: Map<String, Value>,
    /// Secrets that are set, by name; their values are never shown.
    pub secrets: Vec<String>,
    /// Secrets that must be set before it can be used.
    pub missing_secrets: Vec<String>,
    /// What it can do.
    pub actions: Vec<ConnectorAction>,
    /// Whether the provider's tenants may use it.
    pub offered: bool,
    /// Whether it carries anything out.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// The version.
    pub etag: Etag,
}

/// See which connectors ship, with their documents.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectorCatalogue {}

/// A document that ships.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ShippedConnector {
    /// Its kind: give it as `shipped` to `connector.create`.
    pub kind: String,
    /// What people call it.
    pub title: String,
    /// What it is for.
    pub description: String,
    /// Settings, each with what to give.
    pub settings: Map<String, Value>,
    /// Secrets, each with what to give.
    pub secrets: Map<String, Value>,
    /// What it can do.
    pub actions: Vec<ConnectorAction>,
    /// The document.
    pub document: Text<65536>,
}

/// The documents that ship.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ShippedConnectors {
    /// By kind.
    pub items: Vec<ShippedConnector>,
}

/// Create a connector from a document of your own or one that ships. Its secrets are set with `connector.set_secret`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectorCreate {
    /// Whose; where nothing is said, the caller's own place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Its name: lower-case letters, digits and `-`.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9-]{0,63}$"))]
    pub name: Text<64>,
    /// The kind of a document that ships, for example `slack-message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipped: Option<Text<64>>,
    /// A document of your own, in place of one that ships.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Text<65536>>,
    /// Settings, by name; texts.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
    /// Whether the provider's tenants may use it; of a connector of the provider only.
    #[serde(default)]
    pub offered: bool,
}

/// Look at one connector. Its secrets are not shown.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectorGet {
    /// Whose; where nothing is said, the caller's own place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Its name.
    pub connector: Text<64>,
}

/// List connectors, without their secrets.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectorList {
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

/// Change a connector: only the fields that are given. What waits to be sent is not sent by a changed document.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectorUpdate {
    /// Whose; where nothing is said, the caller's own place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Its name.
    pub connector: Text<64>,
    /// A new document; secrets that it does not declare any more are forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Text<65536>>,
    /// All settings, in place of those before. Where one that says where requests go changes, every secret is forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Map<String, Value>>,
    /// Whether the provider's tenants may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<bool>,
    /// Whether it carries anything out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Only if this is still its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// Set a secret of a connector. It is sealed, and never shown again.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectorSetSecret {
    /// Whose; where nothing is said, the caller's own place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The connector's name.
    pub connector: Text<64>,
    /// The secret's name, as the document declares it.
    pub name: Text<64>,
    /// The secret.
    pub value: Secret,
}

/// Delete a connector and its secrets. What waits to be sent is not sent.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectorDelete {
    /// Whose; where nothing is said, the caller's own place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Its name.
    pub connector: Text<64>,
}

/// See which requests an action of a connector would make, with secrets blanked. Nothing is sent.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectorTest {
    /// Whose; where nothing is said, the caller's own place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The connector's name.
    pub connector: Text<64>,
    /// Which of its actions.
    pub does: Text<64>,
    /// The action's inputs.
    #[serde(default)]
    pub inputs: Map<String, Value>,
}

/// A request that would be made.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RequestShown {
    /// What for: `precondition`, `evidence`, `execute` or `verify`.
    pub purpose: String,
    /// The method.
    pub method: String,
    /// The address.
    pub url: String,
    /// Headers as `name: value`.
    pub header_lines: Vec<String>,
    /// The body.
    pub body: String,
    /// Why it could not be made of what is known now, for example because it needs what the answer before it brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfit: Option<String>,
}

/// What an action would do.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConnectorPreview {
    /// The requests, in their order.
    pub requests: Vec<RequestShown>,
    /// Why it could not be carried out now: secrets that are missing, hosts that the server's setting does not allow.
    pub obstacles: Vec<String>,
}

/// Carry out an action of a connector: ask what must hold, keep evidence, send, look for the effect.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionRunConnector {
    /// In which tenant; its connector of this name is used, else the one that the provider offers.
    pub tenant: TenantId,
    /// The connector's name.
    pub connector: Text<64>,
    /// Which of its actions.
    pub does: Text<64>,
    /// The action's inputs.
    #[serde(default)]
    pub inputs: Map<String, Value>,
    /// After how many seconds it is undone by itself: 60 to 2,592,000; never where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub ttl_secs: Option<u32>,
    /// Why.
    pub reason: Text<1000>,
    /// The case that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// Only work out what would be sent; the requests are in the action's `output`.
    #[serde(default)]
    pub dry_run: bool,
}

declare! {
    ConnectorCatalogue => ShippedConnectors: Meta::read("connector.catalogue", Method::Get, "/v1/connector-catalogue", "Provider"), json!({});
    ConnectorCreate => Connector: Meta::govern("connector.create", Method::Post, "/v1/connectors", "Tenant"),
        json!({ "tenant": example::TENANT, "name": "chat", "shipped": "slack-message" });
    ConnectorGet => Connector: Meta::read("connector.get", Method::Get, "/v1/connectors/{connector}", "Connector"),
        json!({ "tenant": example::TENANT, "connector": "chat" });
    ConnectorList => Page<Connector>: Meta::read("connector.list", Method::Get, "/v1/connectors", "Tenant"), json!({});
    ConnectorUpdate => Connector: Meta::govern("connector.update", Method::Patch, "/v1/connectors/{connector}", "Connector").idempotent(),
        json!({ "tenant": example::TENANT, "connector": "chat", "enabled": false });
    ConnectorSetSecret => Connector: Meta::govern("connector.set_secret", Method::Post, "/v1/connectors/{connector}/secrets", "Connector").idempotent(),
        json!({ "tenant": example::TENANT, "connector": "chat", "name": "bot_token", "value": "xoxb-0-1" });
    ConnectorDelete => Gone: Meta::govern("connector.delete", Method::Delete, "/v1/connectors/{connector}", "Connector"),
        json!({ "tenant": example::TENANT, "connector": "chat" });
    ConnectorTest => ConnectorPreview: Meta::read("connector.test", Method::Post, "/v1/connectors/{connector}/test", "Connector"),
        json!({ "tenant": example::TENANT, "connector": "chat", "does": "post", "inputs": { "channel": "#soc", "text": "hello" } });
    ActionRunConnector => Action: Meta::respond("action.run_connector", Method::Post, "/v1/tenants/{tenant}/connectors/{connector}/run", "Connector")
        .keeps(&[Obligation::TtlSecsMax]),
        json!({ "tenant": example::TENANT, "connector": "chat", "does": "post", "inputs": { "channel": "#soc", "text": "web-3 is isolated" }, "reason": "tell the team", "dry_run": true });
}

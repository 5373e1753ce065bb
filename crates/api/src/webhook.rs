//! Webhooks: where people outside are told that something waits for them. Each message is signed as Standard Webhooks 1.0 says.

use crate::{Gone, Limit, Meta, Method, Operation, Page, Secret, example, operation::declare};
use ids::{List, Principal, TenantId, Text, Timestamp, WebhookId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What a webhook can be told of.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// A proposal waits for people longer than they usually take: a further rung is asked too.
    ApprovalEscalated,
    /// A proposal waits for people.
    ApprovalWaiting,
    /// Somebody took a role by break glass.
    BreakGlassOpened,
    /// A service key's or a person's token ends within a week.
    ExpiryNear,
    /// Nobody has said in time that an agent or a service key still needs what it holds.
    RecertificationOverdue,
}

impl NoticeKind {
    /// The word in messages, and in what is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApprovalEscalated => "approval_escalated",
            Self::ApprovalWaiting => "approval_waiting",
            Self::BreakGlassOpened => "break_glass_opened",
            Self::ExpiryNear => "expiry_near",
            Self::RecertificationOverdue => "recertification_overdue",
        }
    }
}

/// How a message to a webhook ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WebhookDelivery {
    /// `sent`, `failed`, `stopped` by the kill switch, or `pending` while it is tried again.
    pub state: String,
    /// In words.
    pub detail: Text<1000>,
    /// When.
    pub at: Timestamp,
}

/// A place outside that is told of things.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// The tenant whose things it is told of; absent for the provider's, which is told of every tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// What people call it.
    pub name: Text<100>,
    /// Where it is told: scheme, host and port; a path is left out (`/…`), for many carry a secret there.
    pub url: Text<2048>,
    /// What it is told of.
    pub kinds: Vec<NoticeKind>,
    /// Who made it.
    pub created_by: Principal,
    /// How the newest message ended; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<WebhookDelivery>,
    /// How many messages arrived.
    pub sent: u64,
    /// How many did not, after every attempt.
    pub failed: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A webhook that was just made, with its signing secret, which is shown this once.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct NewWebhook {
    /// The webhook.
    pub webhook: Webhook,
    /// The signing secret, `whsec_` and base64: the receiver checks `webhook-signature` with it.
    pub secret: Secret,
}

/// Have a place outside told when something waits for people there.
///
/// Messages are `POST` requests of JSON: `type` (the kind), `timestamp`, and `data` with ids, never with a call's input. They are
/// signed as Standard Webhooks 1.0 says; `webhook-id` is the same for every attempt, so a repetition can be told. An address inside
/// your network must be among the server's `connector_hosts_inside`. `webhook.list` shows whether messages arrive.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookCreate {
    /// Whose things it is told of; where nothing is said, those of the caller's own tenant or, for the provider's people, every
    /// tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// What people call it.
    pub name: Text<100>,
    /// Where it is told: an `https://` address.
    pub url: Text<2048>,
    /// What it is told of, at least one.
    pub kinds: List<NoticeKind, 8>,
    /// The signing secret, `whsec_` and base64 of 16 to 128 bytes; made here where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret<200>>,
}

/// List webhooks, and whether what they were told arrived.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookList {
    /// Whose; where nothing is said, those of the caller's own tenant or the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Tell a webhook no more. What is on its way is not sent either.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookDelete {
    /// Which webhook.
    pub webhook: WebhookId,
}

/// Send a webhook a message of the type `test`; `webhook.list` shows how it ended.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookTest {
    /// Which webhook.
    pub webhook: WebhookId,
}

declare! {
    WebhookCreate => NewWebhook: Meta::govern("webhook.create", Method::Post, "/v1/webhooks", "Tenant"),
        json!({ "tenant": example::TENANT, "name": "on call", "url": "https://hooks.example.com/posse",
            "kinds": ["approval_waiting", "approval_escalated"] });
    WebhookList => Page<Webhook>: Meta::read("webhook.list", Method::Get, "/v1/webhooks", "Tenant"),
        json!({ "tenant": example::TENANT });
    WebhookDelete => Gone: Meta::govern("webhook.delete", Method::Delete, "/v1/webhooks/{webhook}", "Webhook"),
        json!({ "webhook": example::WEBHOOK });
    WebhookTest => Webhook: Meta::govern("webhook.test", Method::Post, "/v1/webhooks/{webhook}/test", "Webhook"),
        json!({ "webhook": example::WEBHOOK });
}

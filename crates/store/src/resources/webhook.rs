//! Places outside that are told of things: an address, what it wants to hear of, and the secret that signs, sealed.

use crate::{Key, Resource};
use ids::{Owner, Principal, TenantId, Timestamp, WebhookId};
use serde::{Deserialize, Serialize};

/// How the newest message to a webhook ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WebhookDelivery {
    /// The message's state: `sent`, `failed`, `pending` while it is tried again.
    pub state: String,
    /// In words.
    pub detail: String,
    /// When.
    pub at: Timestamp,
}

/// A webhook.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Whose; the provider's hears of every tenant.
    pub tenant: Option<TenantId>,
    /// What people call it.
    pub name: String,
    /// Where it is told.
    pub url: String,
    /// The signing secret, sealed, base64.
    pub sealed: String,
    /// What it is told of.
    pub kinds: Vec<String>,
    /// Who made it.
    pub created_by: Principal,
    /// How the newest message ended; none before the first.
    pub last: Option<WebhookDelivery>,
    /// Messages that arrived.
    pub sent: u64,
    /// Messages that did not, for good.
    pub failed: u64,
}

impl Resource for Webhook {
    const KIND: &'static str = "webhook";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}

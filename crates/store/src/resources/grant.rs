//! What a person lent to an outside agent. Holds no secret: codes and tokens are credentials, known by their hashes.

use crate::{Key, Resource};
use ids::{AgentId, CredentialId, Owner, TenantId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// Something that was lent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// Its id.
    pub id: CredentialId,
    /// Where the person belongs.
    pub tenant: Option<TenantId>,
    /// Who lent it.
    pub person: UserId,
    /// The agent that acts with it.
    pub agent: AgentId,
    /// To what, as the client calls itself.
    pub client: String,
    /// The profile's word.
    pub profile: String,
    /// Operations or `family.*`; empty for all of the profile.
    pub operations: Vec<String>,
    /// The one tenant that it reaches.
    pub reach: Option<TenantId>,
    /// The face that it is good for: `api` or `mcp`.
    pub audience: String,
    /// The PKCE challenge of the code, base64url.
    pub challenge: Option<String>,
    /// Where the code went to.
    pub redirect_uri: Option<String>,
    /// The one secret that may be taken up next: the code, or the newest refresh token.
    pub next: Option<CredentialId>,
    /// From then on it is dead, whatever is renewed.
    pub expires_at: Timestamp,
    /// Revoked by hand, or because a used secret came again.
    pub revoked: bool,
}

impl Resource for Grant {
    const KIND: &'static str = "grant";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("person", self.person.to_string()), Key::lookup("agent", self.agent.to_string())]
    }
}

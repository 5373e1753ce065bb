//! Bearer credentials: only the hash of the secret is kept.

use crate::{Key, Resource};
use ids::{CaseId, CredentialId, Owner, Principal, RunId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// What a credential is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// The first admin's token of a new installation.
    Bootstrap,
    /// The one-time token that enrols a sensor.
    Enrolment,
    /// A lent access token.
    GrantAccess,
    /// The one-time code that takes up what was lent.
    GrantCode,
    /// A lent refresh token.
    GrantRefresh,
    /// One run of an agent.
    Run,
    /// A sensor's own.
    Sensor,
    /// A service key's secret.
    Service,
    /// From a sign-in.
    Session,
    /// A user's API token.
    Token,
}

/// A bearer credential.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Credential {
    /// Its id.
    pub id: CredentialId,
    /// What it is.
    pub kind: CredentialKind,
    /// SHA-256 of the secret, as `sha256:<hex>`.
    pub hash: String,
    /// Who acts with it.
    pub principal: Principal,
    /// The tenant that the principal belongs to.
    pub tenant: Option<TenantId>,
    /// What it is for.
    pub name: String,
    /// When it was made. Kept here too, because kill epochs compare with it.
    pub issued_at: Timestamp,
    /// From then on it is dead.
    pub expires_at: Timestamp,
    /// Revoked by hand.
    pub revoked: bool,
    /// The run, of a run's credential.
    pub run: Option<RunId>,
    /// The one tenant that a run may reach.
    pub reach: Option<TenantId>,
    /// The case that a run works on.
    pub case: Option<CaseId>,
    /// On whose behalf, nearest first.
    pub on_behalf_of: Vec<Principal>,
    /// What a person lent, of a lent credential; absent in what was made before there was such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<CredentialId>,
}

impl Resource for Credential {
    const KIND: &'static str = "credential";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::unique("hash", self.hash.clone()), Key::lookup("principal", self.principal.to_string())]
    }
}

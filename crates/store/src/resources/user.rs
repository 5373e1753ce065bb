//! People.

use crate::{Key, Resource};
use ids::{Owner, TenantId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// Whether a user may sign in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserState {
    /// May.
    Active,
    /// May not.
    Deactivated,
}

/// A person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// The tenant they belong to; none for the provider's people.
    pub tenant: Option<TenantId>,
    /// Sign-in name in lower case, unique in the installation.
    pub email: String,
    /// What people call them.
    pub display_name: String,
    /// Password as a PHC string (argon2id).
    pub password: Option<String>,
    /// Whether they may sign in.
    pub state: UserState,
    /// Credentials made before this instant are dead.
    pub credentials_from: Timestamp,
    /// The OpenID provider's name for the person: issuer and subject; none for who never signed in there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<String>,
    /// The second factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totp: Option<Totp>,
}

/// A key that a person's authenticator shares.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Totp {
    /// The key, sealed, in base64.
    pub sealed: String,
    /// Whether a first code was right: before that it asks nothing of anybody.
    pub confirmed: bool,
    /// The step of the last code that was taken: none is good twice.
    pub last_step: i64,
}

impl Resource for User {
    const KIND: &'static str = "user";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        let external = self.external.as_ref().map(|name| Key::unique("external", name.clone()));
        std::iter::once(Key::unique("email", self.email.clone())).chain(external).collect()
    }
}

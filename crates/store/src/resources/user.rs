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
        vec![Key::unique("email", self.email.clone())]
    }
}

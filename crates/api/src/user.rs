//! Users: people, with a password and API tokens of their own.

use crate::{Etag, Gone, Limit, Meta, Method, Obligation, Operation, Page, Secret, example, operation::declare};
use ids::{CredentialId, List, RoleId, TenantId, Text, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Whether a user may sign in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserState {
    /// May sign in.
    Active,
    /// May not; all credentials are dead.
    Deactivated,
}

/// A person.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// The user's id.
    pub id: UserId,
    /// The tenant the user belongs to; absent for people of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Sign-in name, unique in the whole installation.
    pub email: Text<254>,
    /// What people call the user.
    pub display_name: Text<200>,
    /// Whether the user may sign in.
    pub state: UserState,
    /// True where signing in needs a second factor.
    pub second_factor: bool,
    /// When the user was made.
    pub created_at: Timestamp,
    /// The version; send it back as `if_match` to change exactly this one.
    pub etag: Etag,
}

/// An API token without its secret.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UserToken {
    /// The token's id.
    pub id: CredentialId,
    /// What it is for.
    pub name: Text<200>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A new credential; the secret is shown this once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NewCredential {
    /// The credential's id.
    pub id: CredentialId,
    /// Send it as `Authorization: Bearer …`. It cannot be shown again.
    pub secret: Secret<200>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Create a user.
///
/// With `tenant` the user belongs to that tenant and can never act outside of it; without, to the provider. A new
/// user holds no role: use `user.set_roles` or `role.assign`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserCreate {
    /// The tenant the user belongs to; absent for people of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Sign-in name, an e-mail address, compared without regard to case; unique in the whole installation.
    pub email: Email,
    /// What people call the user.
    pub display_name: Text<200>,
    /// First password, at least 12 characters; without one the user cannot sign in by password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret<256>>,
}

/// An e-mail address: something, `@`, something; 3 to 254 characters without spaces, lower case.
// INVARIANT: matches the pattern of its schema after lower-casing.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Email(String);

impl Email {
    /// The address in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        let parts = text
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
        if visible && parts && text.len() <= 254 {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(serde::de::Error::custom("is not an e-mail address; write `name@host` in visible ASCII characters"))
        }
    }
}

impl JsonSchema for Email {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Email".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // The pattern is the rule: visible ASCII with exactly one `@` inside.
        schemars::json_schema!({ "type": "string", "pattern": "^[!-?A-~]+@[!-?A-~]+$", "maxLength": 254 })
    }
}

/// Look at one user.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserGet {
    /// Which user.
    pub user: UserId,
}

/// List the users of one tenant or of the provider.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserList {
    /// Whose users; where nothing is said, those of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Change a user's display name.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserUpdate {
    /// Which user.
    pub user: UserId,
    /// New display name.
    pub display_name: Text<200>,
    /// Change only if the user still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// Deactivate a user: no sign-in, and all sessions and tokens die at once.
///
/// The agents that the user owns are suspended, because an agent needs an owner who answers for it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserDeactivate {
    /// Which user.
    pub user: UserId,
    /// Why; stays on the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text<1000>>,
}

/// Set which roles a user holds in one tenant or at the provider, in place of those held there before.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserSetRoles {
    /// Which user.
    pub user: UserId,
    /// Where the roles are held; absent for the provider, which reaches every tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The roles, by id or by the name of a shipped role such as `analyst`.
    pub roles: List<RoleRef, 20>,
}

/// A role by id, or a shipped one by name.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum RoleRef {
    /// A role that was made here.
    Id(RoleId),
    /// A shipped role, for example `analyst`.
    Name(String),
}

impl std::fmt::Display for RoleRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl std::str::FromStr for RoleRef {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let word = (1..=63).contains(&text.len())
            && text.split('_').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase()));
        if word {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err("names no role; write a role's id, or a shipped role such as `analyst`")
        }
    }
}

impl Serialize for RoleRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RoleRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for RoleRef {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RoleRef".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(role_[0-7][0-9a-hjkmnp-tv-z]{25}|[a-z]+(_[a-z]+)*)$",
            "maxLength": 63,
        })
    }
}

/// Set a user's password. All sessions of the user end.
///
/// For one's own password the old one is needed too.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserResetPassword {
    /// Which user.
    pub user: UserId,
    /// The new password, at least 12 characters.
    pub password: Secret<256>,
    /// The old password: needed where the caller is this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_password: Option<Secret<256>>,
}

/// Create an API token: it acts as the user, with all of the user's rights, until it ends or is revoked.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserCreateToken {
    /// Which user; only the user itself can make one.
    pub user: UserId,
    /// What it is for.
    pub name: Text<200>,
    /// How long it lives, in seconds: 60 to 31,536,000 (a year); 30 days where nothing is said.
    #[serde(default = "thirty_days")]
    #[schemars(range(min = 60, max = 31_536_000))]
    pub ttl_secs: u32,
}

fn thirty_days() -> u32 {
    30 * 24 * 3600
}

/// List a user's API tokens that are still good, without their secrets.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserListTokens {
    /// Which user.
    pub user: UserId,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Revoke one of a user's API tokens; it is dead at once.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserRevokeToken {
    /// Which user.
    pub user: UserId,
    /// Which token, by its id.
    pub credential: CredentialId,
}

/// The key of a new second factor; shown this once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NewTotp {
    /// The key as it is typed into an authenticator: base32.
    pub secret: Secret<64>,
    /// The same as an address, for a picture that an authenticator reads.
    pub uri: Secret<600>,
}

/// Set up a second factor for yourself: a key for an authenticator app (RFC 6238).
///
/// It is of effect once `user.confirm_totp` had a code.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserEnrolTotp {
    /// Which user: yourself.
    pub user: UserId,
    /// Your password; needed where you have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret<256>>,
}

/// Show that your authenticator has the key; from now on signing in needs a code of it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserConfirmTotp {
    /// Which user: yourself.
    pub user: UserId,
    /// The code that your authenticator shows.
    pub code: Secret<32>,
}

/// Remove the second factor: your own with a code of it, or, as an administrator, that of somebody who lost theirs.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserRemoveTotp {
    /// Which user.
    pub user: UserId,
    /// The code that your authenticator shows; needed where it is your own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Secret<32>>,
}

declare! {
    UserCreate => User: Meta::govern("user.create", Method::Post, "/v1/users", "Tenant"),
        json!({ "tenant": example::TENANT, "email": "dana@example.com", "display_name": "Dana" });
    UserGet => User: Meta::read("user.get", Method::Get, "/v1/users/{user}", "User"), json!({ "user": example::USER });
    UserList => Page<User>: Meta::read("user.list", Method::Get, "/v1/users", "Tenant").keeps(&[Obligation::MaxRows]),
        json!({ "tenant": example::TENANT });
    UserUpdate => User: Meta::govern("user.update", Method::Patch, "/v1/users/{user}", "User").idempotent(),
        json!({ "user": example::USER, "display_name": "Dana Q." });
    UserDeactivate => User: Meta::govern("user.deactivate", Method::Post, "/v1/users/{user}/deactivate", "User").idempotent(),
        json!({ "user": example::USER, "reason": "left the company" });
    UserSetRoles => crate::AssignmentSet: Meta::govern("user.set_roles", Method::Put, "/v1/users/{user}/roles", "User"),
        json!({ "user": example::USER, "tenant": example::TENANT, "roles": ["analyst", "responder"] });
    UserResetPassword => Gone: Meta::govern("user.reset_password", Method::Post, "/v1/users/{user}/password", "User"),
        json!({ "user": example::USER, "password": "correct horse battery" });
    UserEnrolTotp => NewTotp: Meta::govern("user.enrol_totp", Method::Post, "/v1/users/{user}/totp", "User"),
        json!({ "user": example::USER });
    UserConfirmTotp => User: Meta::govern("user.confirm_totp", Method::Post, "/v1/users/{user}/totp/confirm", "User"),
        json!({ "user": example::USER, "code": "123456" });
    UserRemoveTotp => User: Meta::govern("user.remove_totp", Method::Post, "/v1/users/{user}/totp/remove", "User"),
        json!({ "user": example::USER });
    UserCreateToken => NewCredential: Meta::govern("user.create_token", Method::Post, "/v1/users/{user}/tokens", "User"),
        json!({ "user": example::USER, "name": "laptop", "ttl_secs": 86400 });
    UserListTokens => Page<UserToken>: Meta::read("user.list_tokens", Method::Get, "/v1/users/{user}/tokens", "User"),
        json!({ "user": example::USER });
    UserRevokeToken => Gone: Meta::govern("user.revoke_token", Method::Delete, "/v1/users/{user}/tokens/{credential}", "User"),
        json!({ "user": example::USER, "credential": example::CREDENTIAL });
}

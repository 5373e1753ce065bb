//! The caller itself: who am I, what may I, sign in, sign out.

use crate::{Effect, Email, Gone, Meta, Method, NewCredential, Operation, Secret, operation::declare};
use ids::{Principal, PrincipalKind, RunId, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Who the caller is, as the platform sees it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    /// The principal.
    pub principal: Principal,
    /// Its kind.
    pub kind: PrincipalKind,
    /// What people call it.
    pub display_name: Text<200>,
    /// The tenant it belongs to or, in a run, the one it may reach; absent for the provider's principals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The roles it holds, and where.
    pub roles: Vec<HeldRole>,
    /// The run, where the credential is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// On whose behalf it acts, nearest first.
    pub on_behalf_of: Vec<Principal>,
    /// When the credential ends.
    pub credential_expires_at: Timestamp,
}

/// A role that the caller holds.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HeldRole {
    /// The role, by id or shipped name.
    pub role: String,
    /// In which tenant; absent where held at the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// In which tenants, where held at the provider with a selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Text<1000>>,
    /// When it ends by itself, where it was taken by break glass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Show who you are to the platform.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeGet {}

/// One operation that the caller may call.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Permission {
    /// The operation.
    pub operation: String,
    /// Its effect.
    pub effect: Effect,
    /// `autonomous`, `with_approval` or `deferred`.
    pub authority: crate::Authority,
    /// Who would have to approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<String>,
}

/// What the caller may call.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Permissions {
    /// In which tenant this holds; absent for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// What may be called there.
    pub permissions: Vec<Permission>,
}

/// List what you may call, in one tenant or at the provider, as policy decides now.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MePermissions {
    /// In which tenant; where nothing is said, in your own tenant or at the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
}

/// Sign in with e-mail and password; answers with a session credential of 12 hours.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeLogin {
    /// Sign-in name.
    pub email: Email,
    /// Password.
    pub password: Secret<256>,
    /// The code that your authenticator shows, where you have a second factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totp: Option<Secret<32>>,
}

/// Sign in with what an OpenID provider sent back; answers with a session credential of 12 hours.
///
/// It begins at `GET /oauth/sign-in?provider=NAME&redirect_uri=...&code_challenge=...`, which leads to the provider. The
/// provider sends code and state to the address that was named there; the verifier behind the challenge (RFC 7636, S256) never
/// left who began. Each state is good once, for ten minutes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeLoginOidc {
    /// The code, as it came back.
    pub code: Secret<4096>,
    /// The state, as it came back.
    pub state: Secret<4096>,
    /// The verifier behind the challenge.
    pub code_verifier: Secret<128>,
    /// The issuer, where it came back too (RFC 9207).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<Text<1000>>,
    /// The code that your authenticator shows, where you have a second factor here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totp: Option<Secret<32>>,
}

/// Sign out: the credential of this call is dead from now on.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeLogout {}

declare! {
    MeGet => Me: Meta::read("me.get", Method::Get, "/v1/me", "Self"), json!({});
    MePermissions => Permissions: Meta::read("me.permissions", Method::Get, "/v1/me/permissions", "Self"), json!({});
    MeLogin => NewCredential: Meta::write("me.login", Method::Post, "/v1/me/login", "Self").anonymous(),
        json!({ "email": "dana@example.com", "password": "correct horse battery" });
    MeLoginOidc => NewCredential: Meta::write("me.login_oidc", Method::Post, "/v1/me/login/oidc", "Self").anonymous(),
        json!({ "code": "code", "state": "state", "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" });
    MeLogout => Gone: Meta::write("me.logout", Method::Post, "/v1/me/logout", "Self"), json!({});
}

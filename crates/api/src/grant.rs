//! Delegated credentials: what a person lends to an outside agent, exactly that, for a while, and revocable.

use crate::{Gone, Limit, Meta, Method, Operation, OperationPattern, Page, Secret, example, operation::declare};
use ids::{AgentId, CredentialId, List, TenantId, Text, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What is lent at most. Governing is never lent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LentProfile {
    /// Looking, and nothing else.
    Read,
    /// Looking and working on the platform's own records.
    Work,
    /// Working, and asking for response actions.
    Respond,
}

impl LentProfile {
    /// The word on the wire; also the OAuth scope.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Respond => "respond",
            Self::Work => "work",
        }
    }
}

/// Which face a lent credential is good for (RFC 8707): on the other one it is as one that does not exist.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// The REST API, which the command line uses too.
    #[default]
    Api,
    /// The Model Context Protocol.
    Mcp,
}

/// Something that was lent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// Its id.
    pub id: CredentialId,
    /// Who lent it.
    pub user: UserId,
    /// The agent that acts with it: every record names it and the person.
    pub agent: AgentId,
    /// What the client calls itself; shown, never trusted.
    pub client: Text<300>,
    /// What is lent at most.
    pub profile: LentProfile,
    /// Only these operations, where the list is not empty.
    pub operations: Vec<OperationPattern>,
    /// The one tenant that it reaches; absent where it reaches what the person reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The face that it is good for.
    pub audience: Audience,
    /// When it was lent.
    pub created_at: Timestamp,
    /// When it ends, whatever is renewed.
    pub expires_at: Timestamp,
    /// True where it was revoked, also because a used refresh token came again.
    pub revoked: bool,
}

/// An access token with the refresh token that renews it once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LentTokens {
    /// Send it as `Authorization: Bearer …`.
    pub access: Secret<200>,
    /// When it ends: minutes.
    pub access_expires_at: Timestamp,
    /// Renews the access token once, by `grant.redeem`; then there is a new one.
    pub refresh: Secret<200>,
}

/// What was lent, with the secret to take it up; shown this once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NewGrant {
    /// What was lent.
    pub grant: Grant,
    /// The code that whoever has the verifier takes it up with, within two minutes; where a challenge was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Secret<200>>,
    /// The tokens; where no challenge was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<LentTokens>,
}

/// Lend part of your own rights to an outside agent, for a while.
///
/// The agent that is made acts for you: what it calls is decided for it as an agent *and* for you as a person, the stricter
/// of both holds, within the profile. It can never govern, approve or lend. `grant.revoke` ends it at once; so does whatever
/// ends your own rights.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantLend {
    /// To what: its name or its client id, for people.
    pub client: Text<300>,
    /// What is lent at most.
    pub profile: LentProfile,
    /// Only these operations; all of the profile where the list is empty.
    #[serde(default)]
    pub operations: List<OperationPattern, 200>,
    /// The one tenant that it shall reach; where nothing is said, your own tenant, or for people of the provider all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The face that it is good for.
    #[serde(default)]
    pub audience: Audience,
    /// When it ends, in seconds from now, however often it is renewed: 300 to 2,592,000; 8 hours where nothing is said.
    #[serde(default = "eight_hours")]
    #[schemars(range(min = 300, max = 2_592_000))]
    pub ttl_secs: u32,
    /// A PKCE challenge (RFC 7636, S256): then a code is answered in place of tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_challenge: Option<Text<128>>,
    /// With a challenge: where the code goes to; `grant.redeem` must name the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<Text<2000>>,
}

const fn eight_hours() -> u32 {
    8 * 3600
}

/// List what you lent, or, for those who may, what another person lent.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantList {
    /// Whose; your own where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Take back what was lent; its credentials are dead at once.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantRevoke {
    /// Which.
    pub grant: CredentialId,
}

/// What became of a code or refresh token.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Redeemed {
    /// What was lent.
    pub grant: Grant,
    /// The tokens; absent where the code or token was used before, or what was given beside it does not fit: then all that
    /// was made from it is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<LentTokens>,
}

/// Take up what was lent, with a code, or renew it, with a refresh token: the credential of this call is that secret.
///
/// A secret is good once. One that comes again is taken for stolen: everything that was made from it dies.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantRedeem {
    /// With a code: the verifier behind the challenge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_verifier: Option<Secret<200>>,
    /// With a code: the address that it was asked for with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<Text<2000>>,
    /// The client that asks: the one that was lent to.
    pub client: Text<300>,
    /// End what was lent, in place of renewing it.
    #[serde(default)]
    pub end: bool,
}

declare! {
    GrantLend => NewGrant: Meta::govern("grant.lend", Method::Post, "/v1/grants", "Self"),
        json!({ "client": "claude-code", "profile": "read", "tenant": example::TENANT });
    GrantList => Page<Grant>: Meta::read("grant.list", Method::Get, "/v1/grants", "User"), json!({ "limit": 10 });
    GrantRevoke => Gone: Meta::govern("grant.revoke", Method::Delete, "/v1/grants/{grant}", "Grant"),
        json!({ "grant": example::CREDENTIAL });
    GrantRedeem => Redeemed: Meta::write("grant.redeem", Method::Post, "/v1/grants/redeem", "Self"),
        json!({ "client": "claude-code" });
}

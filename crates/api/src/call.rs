//! What a face hands to the gate, and what it gets back. Every face (REST, MCP, a built-in agent's tools) holds a
//! [`Door`] and nothing else of the platform.

use crate::{Obligation, Problem, Spec};
use ids::{ApprovalId, CallId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::IpAddr;
use std::pin::Pin;
use zeroize::Zeroizing;

/// A boxed future, so that a [`Door`] can be a trait object.
pub type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;

/// Through which face a call came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Face {
    /// A built-in agent's run.
    Agent,
    /// The command line, over HTTP.
    Cli,
    /// The Model Context Protocol.
    Mcp,
    /// An offline command that started the gate in its own process.
    Offline,
    /// The REST API.
    Rest,
    /// A detection rule's `respond:`.
    Rule,
    /// A schedule or reconciler of the platform.
    Schedule,
}

impl Face {
    /// The word in policies and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Cli => "cli",
            Self::Mcp => "mcp",
            Self::Offline => "offline",
            Self::Rest => "rest",
            Self::Rule => "rule",
            Self::Schedule => "schedule",
        }
    }
}

/// From where a call came: facts that the face saw itself, never claims.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The face.
    pub face: Face,
    /// The peer's address, where there is a network.
    pub address: Option<IpAddr>,
    /// The client's own name for itself, at most 256 characters; shown, never trusted.
    pub user_agent: Option<String>,
    /// The request id, also in the log and in every problem.
    pub request_id: String,
}

/// A bearer credential as it was presented. Never logged, wiped when dropped.
#[derive(Clone)]
pub struct Credential(Zeroizing<String>);

impl Credential {
    /// From the text behind `Bearer `.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the one place that judges it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(..)")
    }
}

/// One request of a principal, before anything about it is believed.
#[derive(Clone, Debug)]
pub struct Call {
    /// The operation's id, `resource.verb`.
    pub operation: String,
    /// The input as one JSON object: path, query and body fields together.
    pub input: Value,
    /// What the caller presented.
    pub credential: Option<Credential>,
    /// The caller's key for safe retries, at most 255 visible ASCII characters.
    pub idempotency_key: Option<String>,
    /// From where.
    pub origin: Origin,
}

/// A call that was carried out.
#[derive(Clone, Debug)]
pub struct Done {
    /// The id of the call, which is that of its audit record.
    pub call: CallId,
    /// The operation's output.
    pub output: Value,
    /// Obligations that policy laid on the answer, with their values.
    pub obligations: Vec<(Obligation, Value)>,
    /// True where an idempotency key brought back an earlier answer.
    pub replayed: bool,
}

/// A call that waits for people.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The id of the call.
    pub call: CallId,
    /// Where to follow it.
    pub approval: ApprovalId,
    /// Which rung was asked for, for example `one_responder`.
    pub rung: String,
    /// After this instant the answer is no.
    pub expires_at: Timestamp,
}

/// A call that waits for evidence.
#[derive(Clone, Debug)]
pub struct Deferred {
    /// The id of the call.
    pub call: CallId,
    /// Where to follow it.
    pub approval: ApprovalId,
    /// The evidence that is missing, by name.
    pub missing: Vec<String>,
    /// After this instant the answer is no.
    pub expires_at: Timestamp,
}

/// What became of a call.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Waits for evidence.
    Deferred(Deferred),
    /// Carried out.
    Done(Done),
    /// Waits for approval.
    Pending(Pending),
    /// Refused, with nothing changed.
    Refused(Problem),
}

/// A request that a face refused before there was a call: told to the gate, so that it is on the record too.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The operation that the request was for, where the face could tell.
    pub operation: Option<&'static str>,
    /// What the caller presented.
    pub credential: Option<Credential>,
    /// From where.
    pub origin: Origin,
    /// What the caller is about to be told.
    pub problem: Problem,
}

/// What a caller may see of the operations.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Ids of the operations that policy lets this principal call, alone or with approval, in registry order.
    pub operations: Vec<&'static str>,
    /// Who calls: the same for every credential of one principal, on behalf of the same others, in the same run. Empty for nobody.
    pub caller: String,
}

/// Where somebody wants to sign in, and where the answer shall go.
#[derive(Clone, Copy, Debug)]
pub struct SignInAsk<'a> {
    /// The provider, as the configuration names it.
    pub provider: &'a str,
    /// Where code and state go to.
    pub redirect_uri: &'a str,
    /// The PKCE challenge (RFC 7636, S256).
    pub challenge: &'a str,
}

/// The one door. `control`'s gate implements it; faces hold nothing else.
pub trait Door: Send + Sync {
    /// Every operation there is, in the order of declaration.
    fn specs(&self) -> &[Spec];

    /// The operation of this id.
    fn spec(&self, operation: &str) -> Option<&Spec>;

    /// Put one call through the gate.
    fn call(&self, call: Call) -> Future<'_, Reply>;

    /// Where shippers deliver; none where this door has no data plane behind it.
    fn intake(&self) -> Option<&dyn crate::Intake> {
        None
    }

    /// Put a request on the record that the face refuses; the problem to answer with, which may name the record. Where the
    /// caller is not known, or calls too often, the attempt is counted instead.
    fn refused(&self, attempt: Attempt) -> Future<'_, Problem> {
        Box::pin(async move { attempt.problem })
    }

    /// Where somebody goes to sign in through an OpenID provider: an address of that provider.
    ///
    /// # Errors
    /// A problem where there is no such provider, it does not answer, or what was asked cannot be.
    fn sign_in_at<'a>(&'a self, ask: SignInAsk<'a>) -> Future<'a, Result<String, Problem>> {
        let _ = ask;
        Box::pin(async { Err(Problem::not_found("sign-in provider")) })
    }

    /// What the holder of this credential may call: the same judgement as `me.permissions`.
    ///
    /// # Errors
    /// A problem where the credential is missing or not good.
    fn listing<'a>(
        &'a self,
        credential: Option<&'a Credential>,
        origin: &'a Origin,
    ) -> Future<'a, Result<Listing, Problem>>;
}

//! What an operation is: one function of the platform, its route, its effect and what it acts on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What a call may do to the world; the coarsest thing that policy speaks of.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Changes who may do what.
    Govern,
    /// Changes nothing.
    Read,
    /// Touches the outside world.
    Respond,
    /// Changes the platform's own records.
    Write,
}

impl Effect {
    /// The word on the wire and in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Govern => "govern",
            Self::Read => "read",
            Self::Respond => "respond",
            Self::Write => "write",
        }
    }
}

/// The HTTP method of an operation's route.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Remove.
    Delete,
    /// Look; the input travels in the path and the query.
    Get,
    /// Change the named fields.
    Patch,
    /// Make, or act.
    Post,
    /// Replace.
    Put,
}

impl Method {
    /// The method as HTTP writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }

    /// Whether the input travels in a JSON body (else in the query).
    #[must_use]
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Patch | Self::Post | Self::Put)
    }
}

/// A condition that a permit may lay on a call; an operation names those that it can keep.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Obligation {
    /// At most this many rows in the answer.
    MaxRows,
    /// These fields are blanked in the answer.
    Mask,
    /// The effect lasts at most this many seconds.
    TtlSecsMax,
}

impl Obligation {
    /// The word on the wire and in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxRows => "max_rows",
            Self::Mask => "mask",
            Self::TtlSecsMax => "ttl_secs_max",
        }
    }
}

/// The constant facts of an operation. Built by the `const` functions, so that a declaration reads as one line.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// `resource.verb`: the stem of route, permission, audit action, metric and command.
    pub id: &'static str,
    /// What it may do.
    pub effect: Effect,
    /// Method of the REST route.
    pub method: Method,
    /// Path of the REST route; each `{name}` is a field of the input.
    pub path: &'static str,
    /// Policy's type of the thing acted on, for example `Tenant`.
    pub resource: &'static str,
    /// Calling it again with the same input changes nothing more.
    pub idempotent: bool,
    /// It answers with a job that goes on in the background.
    pub long_running: bool,
    /// It may be called without a credential (only `me.login` and `me.login_oidc`).
    pub anonymous: bool,
    /// Obligations that its handler keeps.
    pub obligations: &'static [Obligation],
}

impl Meta {
    const fn new(id: &'static str, effect: Effect, method: Method, path: &'static str, resource: &'static str) -> Self {
        let idempotent = matches!(method, Method::Delete | Method::Get | Method::Put);
        Self { id, effect, method, path, resource, idempotent, long_running: false, anonymous: false, obligations: &[] }
    }

    /// An operation that changes nothing.
    #[must_use]
    pub const fn read(id: &'static str, method: Method, path: &'static str, resource: &'static str) -> Self {
        let mut meta = Self::new(id, Effect::Read, method, path, resource);
        meta.idempotent = true;
        meta
    }

    /// An operation that changes the platform's own records.
    #[must_use]
    pub const fn write(id: &'static str, method: Method, path: &'static str, resource: &'static str) -> Self {
        Self::new(id, Effect::Write, method, path, resource)
    }

    /// An operation that touches the outside world.
    #[must_use]
    pub const fn respond(id: &'static str, method: Method, path: &'static str, resource: &'static str) -> Self {
        Self::new(id, Effect::Respond, method, path, resource)
    }

    /// An operation that changes who may do what.
    #[must_use]
    pub const fn govern(id: &'static str, method: Method, path: &'static str, resource: &'static str) -> Self {
        Self::new(id, Effect::Govern, method, path, resource)
    }

    /// Calling it again with the same input changes nothing more.
    #[must_use]
    pub const fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// It answers with a job.
    #[must_use]
    pub const fn long_running(mut self) -> Self {
        self.long_running = true;
        self
    }

    /// It needs no credential.
    #[must_use]
    pub const fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// Its handler keeps these obligations.
    #[must_use]
    pub const fn keeps(mut self, obligations: &'static [Obligation]) -> Self {
        self.obligations = obligations;
        self
    }

    /// The resource family: what stands before the dot of the id.
    #[must_use]
    pub fn family(&self) -> &'static str {
        self.id.split_once('.').map_or(self.id, |(family, _)| family)
    }
}

/// One function of the platform. The implementing type *is* the input.
///
/// The type's doc comment is the description that people and agents read: its first line is the summary.
pub trait Operation: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// What a call that was carried out answers.
    type Output: Serialize + DeserializeOwned + JsonSchema + Send + 'static;

    /// The constant facts.
    const META: Meta;

    /// One plausible input, shown in every face's help.
    fn example() -> serde_json::Value;
}

/// `declare! { Input => Output: meta, example; ... }`: one line for each operation of a resource.
macro_rules! declare {
    ($($input:ty => $output:ty : $meta:expr, $example:expr;)*) => {$(
        impl Operation for $input {
            type Output = $output;
            const META: Meta = $meta;
            fn example() -> serde_json::Value {
                $example
            }
        }
    )*};
}
pub(crate) use declare;

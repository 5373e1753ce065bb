//! RFC 9457 problem documents: one closed registry of types for the whole platform.
//!
//! Other crates own their error enums; `control` maps them to these, `server` renders them. A problem's text is
//! safe to show to its caller; what is not goes to the log under the same request id.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $slug:literal, $status:literal, $title:literal;)*) => {
        /// Every type of problem that the API can answer with.
        #[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
        pub enum ProblemKind { $($(#[$doc])* $name,)* }

        impl ProblemKind {
            /// All of them, in the order of the registry.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable `type`: a URN that is an identifier, not an address.
            #[must_use]
            pub const fn urn(self) -> &'static str {
                match self { $(Self::$name => concat!("urn:posse:problem:", $slug),)* }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The fixed, human-readable title.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

kinds! {
    /// The object already exists.
    AlreadyExists = "already-exists", 409, "such an object exists already";
    /// The object is in a state that does not allow this.
    Conflict = "conflict", 409, "the object's state does not allow this";
    /// Policy, or a missing right, says no.
    Denied = "denied", 403, "policy denies this call";
    /// The kill switch holds this principal or operation.
    Halted = "halted", 403, "the kill switch is engaged for this call";
    /// The idempotency key was used with another input.
    IdempotencyMismatch = "idempotency-mismatch", 422, "this idempotency key belongs to another call";
    /// A bug of the platform.
    Internal = "internal", 500, "the platform failed";
    /// The input does not fit the operation's schema, or names something that cannot be.
    InvalidInput = "invalid-input", 422, "the input is not valid";
    /// The tenant is locked down for this class of operations.
    LockedDown = "locked-down", 403, "the tenant is locked down for this call";
    /// The bytes are not JSON in UTF-8, or are too deep, or hold a key twice.
    Malformed = "malformed", 400, "the request cannot be read";
    /// The route exists, the method does not.
    MethodNotAllowed = "method-not-allowed", 405, "this route has no such method";
    /// The caller accepts no type that the route can answer with.
    NotAcceptable = "not-acceptable", 406, "no representation fits the Accept header";
    /// Nothing that the caller may know of has this name.
    NotFound = "not-found", 404, "no such thing";
    /// Too much is going on at once.
    Overloaded = "overloaded", 503, "the platform is busy";
    /// The body is over the limit.
    PayloadTooLarge = "payload-too-large", 413, "the body is too large";
    /// The object changed since the caller looked.
    PreconditionFailed = "precondition-failed", 412, "the object has changed";
    /// A question needs more time, memory or reading than one question may.
    QueryLimit = "query-limit", 422, "the question is over its limits";
    /// The request took longer than its limit.
    Timeout = "timeout", 408, "the request took too long";
    /// The caller went over its rate.
    TooManyRequests = "too-many-requests", 429, "too many requests";
    /// No credential, or one that is not good.
    Unauthenticated = "unauthenticated", 401, "a valid credential is needed";
    /// Storage cannot be written, so nothing may be done.
    Unavailable = "unavailable", 503, "the platform cannot record, so it does not act";
    /// The body is not `application/json`.
    UnsupportedMediaType = "unsupported-media-type", 415, "the body's type is not supported";
}

/// One thing that is wrong with an input.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// Where: a JSON pointer (RFC 6901) into the input; empty for the whole. Names in it are as they came.
    #[schemars(regex(pattern = r"^(/[\s\S]*)?$"))]
    pub pointer: String,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// A problem document (RFC 9457) as it is answered.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The stable type, `urn:posse:problem:...`: match on this, not on the text.
    #[serde(rename = "type")]
    pub kind: String,
    /// The type's title.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, and what would be right.
    pub detail: String,
    /// Every fault of the input at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    /// The policies that decided, where the caller may know them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// After how many seconds a retry may help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_secs: Option<u32>,
    /// The id of the call's audit record, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// The request id, to be quoted to whoever runs the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Problem {
    /// A problem of this kind; `detail` is a lower-case fragment that says what happened and what would be right.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind: kind.urn().to_owned(),
            title: kind.title().to_owned(),
            status: kind.status(),
            detail: detail.into(),
            errors: Vec::new(),
            policies: Vec::new(),
            retry_after_secs: None,
            call: None,
            request_id: None,
        }
    }

    /// An input with these faults.
    #[must_use]
    pub fn invalid(errors: Vec<Fault>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("`{}` {}", only.pointer, only.detail),
            many => format!("{} fields are not valid; see `errors`", many.len()),
        };
        Self { errors, ..Self::new(ProblemKind::InvalidInput, detail) }
    }

    /// An input with one fault.
    #[must_use]
    pub fn fault(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid(vec![Fault { pointer: pointer.into(), detail: detail.into() }])
    }

    /// Nothing that the caller may know of has this name: one text for absent and for secret.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(ProblemKind::NotFound, format!("there is no such {what}, or you may not know of it"))
    }

    /// A bug of the platform. The caller learns nothing but the request id.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(ProblemKind::Internal, "this is a bug of the platform; quote the request id")
    }

    /// Which kind this is; [`ProblemKind::Internal`] for a document that no release of ours wrote.
    #[must_use]
    pub fn problem_kind(&self) -> ProblemKind {
        ProblemKind::ALL.iter().copied().find(|kind| kind.urn() == self.kind).unwrap_or(ProblemKind::Internal)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl std::error::Error for Problem {}

//! The contract: every function of the platform, declared once as an [`Operation`], with its wire types.
//!
//! REST routes, the OpenAPI document, MCP tools, CLI commands, the tools of built-in agents, the policy actions,
//! the audit actions and the metrics all derive from these declarations. Sole owner of JSON Schema. No logic:
//! what an operation does is written in `control`, who may call it only in policy.

mod call;
mod json;
mod operation;
mod page;
mod problem;
mod secret;
mod spec;

pub use call::{Call, Credential, Deferred, Done, Door, Face, Future, Listing, Origin, Pending, Reply};
pub use json::{JsonLimits, parse as parse_json};
pub use operation::{Effect, Meta, Method, Obligation, Operation};
pub use page::{Etag, Limit, Page};
pub use problem::{Fault, Problem, ProblemKind};
pub use secret::Secret;
pub use spec::{FieldKind, PathSegment, Spec};

include!("operations.rs");

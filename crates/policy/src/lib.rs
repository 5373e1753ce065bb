//! The decision point: Cedar schema from the registry's [`ActionSpec`]s, decisions, explanations, policy tests.
//!
//! Sole owner of Cedar: no type of it is public here. Sees neither the operations' contracts nor the store; does
//! no I/O, holds no clock. `control` works out the facts of a call ([`Request`]), asks [`Engine::decide`] and
//! enforces the [`Decision`]; who may do what is written only in policy documents.

mod compile;
mod decision;
mod diff;
mod document;
mod engine;
mod explain;
mod facts;
mod fault;
mod fold;
#[cfg(test)]
mod oracle;
mod polarity;
mod property;
mod question;
mod role;
mod rung;
mod schema;
mod selector;
pub mod shipped;
mod slices;
mod sorts;
mod spec;
mod trial;
mod validate;
mod weigh;

pub use decision::{Authority, Decision, Defer, Deny, DenyReason, Obligations, Outcome, StepUp};
pub use diff::{PolicyChange, PolicyDiff, diff};
pub use document::{DOCUMENT_BYTES_MAX, DOCUMENT_POLICIES_MAX, Document};
pub use engine::Engine;
pub use explain::{Explanation, HoldingPolicy, RungTrial};
pub use facts::{ContextFacts, PrincipalFacts, Request, ResourceFacts};
pub use fault::PolicyFault;
pub use property::{Property, PropertyText, SHIPPED_PROPERTIES, shipped_properties};
pub use role::{ROLE_PATTERNS_MAX, RoleError, RoleSpec, role_document};
pub use rung::{RUNGS_MAX, Rung, RungError, parse_rungs};
pub use schema::{SpecError, schema_text};
pub use selector::Selector;
pub use sorts::{Rules, Sort, policy_json};
pub use spec::{
    APPROVAL_COUNTS, AUTONOMIES, ActionSpec, EVIDENCE, Effect, FAMILIES, NAMESPACE, ORIGINS, ObligationKind, PROVIDER,
};
pub use trial::{Expectation, PolicyTest, TestResult};

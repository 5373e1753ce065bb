//! Roles that an install defines for itself, compiled to a policy document.
//!
//! The text is made from checked names and escaped strings only: nothing that a role is called can become policy.

use crate::{
    document::{Document, slug},
    schema::principal_type,
    spec::{Effect, NAMESPACE, action_id, word},
};
use ids::PrincipalKind;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use thiserror::Error;

/// Most operation patterns in one role.
pub const ROLE_PATTERNS_MAX: usize = 200;

/// A role: which operations, of which effects, for which kinds of principal.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleSpec {
    /// The name in policies (`Posse::Role::"<id>"`): lower-case letters, digits, `_`, `-`, at most 64.
    pub id: String,
    /// What people call it; any text up to 200 characters.
    pub name: String,
    /// `case.open`, `case.*`, or `*` for all.
    pub operations: Vec<String>,
    /// Of these operations those with one of these effects.
    pub effects: Vec<Effect>,
    /// For principals of these kinds.
    pub principals: Vec<PrincipalKind>,
}

/// Why a role cannot be compiled.
#[derive(Debug, Clone, Eq, PartialEq, Error)]
pub enum RoleError {
    /// The id is not a name.
    #[error("the role's id `{0}` is not a name; use lower-case letters, digits, `_` and `-`, at most 64")]
    Id(String),
    /// The name is empty or too long.
    #[error("the role's name is {0} characters long; write 1 to 200")]
    Name(usize),
    /// Nothing to permit.
    #[error("the role has no {0}; name at least one")]
    Nothing(&'static str),
    /// A pattern that is none.
    #[error("`{0}` names no operation; write `case.open`, `case.*` or `*`")]
    Pattern(String),
    /// Too many patterns.
    #[error("{0} patterns are too many; {ROLE_PATTERNS_MAX} are allowed")]
    TooMany(usize),
}

/// The document `role-<id>` that permits what a role says, bound to `tenant` where one is given.
///
/// Operations that do not exist are found when the document is compiled.
///
/// # Errors
/// [`RoleError`] for names that are none, and for a role that permits nothing.
pub fn role_document(role: &RoleSpec, version: u64, tenant: Option<&str>) -> Result<Document, RoleError> {
    check(role)?;
    let scope = scope(&role.operations);
    let mut effects: Vec<_> = role.effects.iter().map(|effect| action(effect.as_str())).collect();
    effects.sort_unstable();
    effects.dedup();
    let mut kinds = role.principals.clone();
    kinds.sort_unstable();
    kinds.dedup();
    let mut text = String::new();
    for kind in kinds {
        let _ = write!(
            text,
            "@id(\"{word}\")\n@summary(\"{name}\")\npermit(\n  principal is {NAMESPACE}::{kind} in {NAMESPACE}::Role::\"{id}\",\n  {scope},\n  resource\n) when {{ action in [{effects}] }};\n\n",
            word = kind.as_str(),
            name = role.name.escape_debug(),
            kind = principal_type(kind),
            id = role.id,
            effects = effects.join(", "),
        );
    }
    let name = format!("role-{}", role.id);
    Ok(Document { id: role.id.clone(), name, version, text, tenant: tenant.map(str::to_owned) })
}

fn check(role: &RoleSpec) -> Result<(), RoleError> {
    // `role-` comes before it in the document's name, which has 64 characters too.
    if !slug(&role.id) || role.id.len() > 59 {
        return Err(RoleError::Id(role.id.chars().take(64).collect()));
    }
    let length = role.name.chars().count();
    if !(1..=200).contains(&length) {
        return Err(RoleError::Name(length));
    }
    for (nothing, what) in [
        (role.operations.is_empty(), "operations"),
        (role.effects.is_empty(), "effects"),
        (role.principals.is_empty(), "principals"),
    ] {
        if nothing {
            return Err(RoleError::Nothing(what));
        }
    }
    if role.operations.len() > ROLE_PATTERNS_MAX {
        return Err(RoleError::TooMany(role.operations.len()));
    }
    let fits =
        |pattern: &&String| *pattern == "*" || action_id(pattern) || pattern.strip_suffix(".*").is_some_and(word);
    match role.operations.iter().find(|pattern| !fits(pattern)) {
        Some(pattern) => Err(RoleError::Pattern(pattern.chars().take(64).collect())),
        None => Ok(()),
    }
}

fn action(id: &str) -> String {
    format!("{NAMESPACE}::Action::\"{id}\"")
}

fn scope(patterns: &[String]) -> String {
    if patterns.iter().any(|pattern| pattern == "*") {
        return "action".to_owned();
    }
    let mut actions: Vec<_> = patterns.iter().map(|pattern| action(pattern)).collect();
    actions.sort_unstable();
    actions.dedup();
    format!("action in [{}]", actions.join(", "))
}

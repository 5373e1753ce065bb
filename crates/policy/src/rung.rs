//! Approval rungs: the short ordered list of what may be asked for when a call steps up.
//!
//! Parsed from text that the caller read. Order matters: the first rung that passes is asked for.

use crate::spec::APPROVAL_COUNTS;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// Rungs in one list; keeps the search for the right one short.
pub const RUNGS_MAX: usize = 32;

/// One rung: the counts that its approvals come to.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// For example `one_responder`.
    pub name: String,
    /// Distinct approvers: `people`, and by role, of [`APPROVAL_COUNTS`].
    pub counts: BTreeMap<String, i64>,
}

/// Why a list of rungs was refused.
#[derive(Debug, Error)]
pub enum RungError {
    /// Not the JSON that is asked for.
    #[error("not a list of rungs; write `[{{\"name\": \"one_person\", \"counts\": {{\"people\": 1}}}}]`")]
    Json(#[from] serde_json::Error),
    /// A rung that means nothing.
    #[error("rung `{name}` {why}")]
    Rung {
        /// Its name.
        name: String,
        /// What is wrong and what would be right.
        why: &'static str,
    },
    /// Too many.
    #[error("{0} rungs are too many; at most {RUNGS_MAX} are tried")]
    TooMany(usize),
}

/// The rungs in a JSON text: a list of `{"name", "counts"}` in the order of asking.
///
/// # Errors
/// [`RungError`] for another form, a name twice, a count of an unknown role, or one below 1.
pub fn parse_rungs(text: &str) -> Result<Vec<Rung>, RungError> {
    let rungs: Vec<Rung> = serde_json::from_str(text)?;
    check_rungs(&rungs)?;
    Ok(rungs)
}

pub(crate) fn check_rungs(rungs: &[Rung]) -> Result<(), RungError> {
    if rungs.len() > RUNGS_MAX {
        return Err(RungError::TooMany(rungs.len()));
    }
    for (index, rung) in rungs.iter().enumerate() {
        let fail = |why| Err(RungError::Rung { name: rung.name.chars().take(64).collect(), why });
        if !crate::spec::word(&rung.name) {
            return fail("needs a name of lower-case letters, digits and `_`");
        }
        if rungs.iter().take(index).any(|earlier| earlier.name == rung.name) {
            return fail("comes twice; give each its own name");
        }
        if rung.counts.keys().any(|key| !APPROVAL_COUNTS.contains(&key.as_str())) {
            return fail("counts an unknown role; the shipped roles and `people` are counted");
        }
        let people = rung.counts.get("people").copied().unwrap_or(0);
        if people < 1 || rung.counts.values().any(|count| !(1..=people).contains(count)) {
            return fail("needs `people` of at least 1, and no role may need more than that");
        }
    }
    Ok(())
}

//! What changed between two sets of documents, policy by policy.
//!
//! Compares meaning-bearing text: layout and comments between policies do not count. Never decides.

use crate::{
    document::{Clause, Document, read},
    fault::PolicyFault,
};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// Policies by `document/id`, each with its text.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct PolicyDiff {
    /// In the new set only.
    pub added: Vec<PolicyChange>,
    /// In both, and not the same.
    pub changed: Vec<PolicyChange>,
    /// In the old set only.
    pub removed: Vec<PolicyChange>,
}

/// One policy that differs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct PolicyChange {
    /// `document/id`.
    pub policy: Arc<str>,
    /// Its text before, where it was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its text now, where it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl PolicyDiff {
    /// Whether nothing changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// The policies that were added, changed and removed.
///
/// # Errors
/// The faults of either set: only documents that can be read can be compared.
pub fn diff(old: &[Document], new: &[Document]) -> Result<PolicyDiff, Vec<PolicyFault>> {
    let (mut before, mut after) = (by_reference(old)?, by_reference(new)?);
    let mut diff = PolicyDiff::default();
    for (policy, (text, meaning)) in &mut before {
        let before = Some(std::mem::take(text));
        match after.remove(policy) {
            None => diff.removed.push(PolicyChange { policy: Arc::clone(policy), before, after: None }),
            Some((after, same)) if same != *meaning => {
                diff.changed.push(PolicyChange { policy: Arc::clone(policy), before, after: Some(after) });
            }
            Some(_) => {}
        }
    }
    let added = after.into_iter();
    diff.added = added.map(|(policy, (text, _))| PolicyChange { policy, before: None, after: Some(text) }).collect();
    Ok(diff)
}

/// Text and meaning (Cedar's JSON form and the tenant) of each policy.
type Policies = BTreeMap<Arc<str>, (String, (Option<serde_json::Value>, Option<String>))>;

fn by_reference(documents: &[Document]) -> Result<Policies, Vec<PolicyFault>> {
    let mut faults = Vec::new();
    let mut policies = Policies::new();
    for (index, document) in documents.iter().enumerate() {
        for clause in read(document, index, &mut faults) {
            let meaning = (clause.policy.to_json().ok(), document.tenant.clone());
            policies.insert(Arc::clone(&clause.reference), (text(document, &clause), meaning));
        }
    }
    if faults.is_empty() { Ok(policies) } else { Err(faults) }
}

fn text(document: &Document, clause: &Clause) -> String {
    let end = clause.place.offset.saturating_add(clause.place.length);
    document.text.get(clause.place.offset..end).unwrap_or_default().to_owned()
}

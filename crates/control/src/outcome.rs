//! What a handler returns: an answer, and what should change if the gate can record it.

use ids::TenantId;
use store::{AuditEntry, Changes};

/// What a handler wants to happen.
pub struct Outcome<T> {
    /// The answer.
    pub output: T,
    /// What should change, all or nothing, together with the call's record.
    pub changes: Changes,
    /// Further leaves for other logs, written in the same commit.
    pub leaves: Vec<AuditEntry>,
    /// Called after the commit, before the answer: only to refresh what is derived from committed state.
    pub after: After,
}

/// Which derived state a commit makes stale.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum After {
    /// None.
    #[default]
    Nothing,
    /// The policy set, and with it everybody's rights.
    Policies,
    /// The kill switch.
    KillSwitch,
    /// What the data plane knows of a tenant, and what is known of these keys and sources, by id.
    Lake(TenantId, Vec<String>),
    /// The key that signs the log.
    SigningKey,
    /// What is known of these principals or tenants, by id.
    Touched(Vec<String>),
}

impl<T> Outcome<T> {
    /// An answer that changes nothing.
    #[must_use]
    pub fn answer(output: T) -> Self {
        Self { output, changes: Changes::new(), leaves: Vec::new(), after: After::Nothing }
    }

    /// An answer with changes.
    #[must_use]
    pub fn changed(output: T, changes: Changes) -> Self {
        Self { output, changes, leaves: Vec::new(), after: After::Nothing }
    }

    /// The rights of this principal, or of everybody in this tenant, have changed.
    #[must_use]
    pub fn touching(self, id: &impl ToString) -> Self {
        self.then(After::Touched(vec![id.to_string()]))
    }

    /// Who may do what has changed.
    #[must_use]
    pub fn then(mut self, after: After) -> Self {
        self.after = after;
        self
    }
}

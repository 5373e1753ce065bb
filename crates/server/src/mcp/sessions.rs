//! Sessions of the era before 2026-07-28, each bound to the credential that opened it: with another one, a session id
//! is worth nothing (MCP security best practices, session hijacking).

use api::Credential;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

/// Which credential opened which session, as keyed hashes: the credentials themselves are not kept.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    hasher: RandomState,
    owners: Mutex<HashMap<String, u64>>,
}

impl Bindings {
    fn mark(&self, credential: Option<&Credential>) -> u64 {
        self.hasher.hash_one(credential.map(Credential::reveal))
    }

    /// Whether this credential opened this session.
    pub(crate) fn holds(&self, session: &str, credential: Option<&Credential>) -> bool {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.get(session).is_some_and(|owner| *owner == self.mark(credential))
    }

    /// Bind a new session, and forget those that are not `alive` any more.
    pub(crate) fn bind(&self, session: &str, credential: Option<&Credential>, alive: impl Fn(&str) -> bool) {
        let mark = self.mark(credential);
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.retain(|session, _| alive(session));
        owners.insert(session.to_owned(), mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_worth_nothing_with_another_credential() {
        let bindings = Bindings::default();
        let (one, two) = (Credential::new("one".to_owned()), Credential::new("two".to_owned()));
        bindings.bind("s", Some(&one), |_| true);
        assert!(bindings.holds("s", Some(&one)));
        assert!(!bindings.holds("s", Some(&two)));
        assert!(!bindings.holds("s", None));
        bindings.bind("t", Some(&two), |session| session != "s");
        assert!(!bindings.holds("s", Some(&one)));
    }
}

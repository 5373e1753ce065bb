//! What the MCP face remembers of credentials, as keyed hashes and never the credentials themselves: which one opened
//! a session, and which ones the door has admitted a moment ago. Neither gives a right: every call is judged anew.

use api::Credential;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For how long an admitted credential may go on without being shown to the door for its own sake. The door judges
/// each call all the same, so what this spares is only the second look.
const ADMITTED_FOR: Duration = Duration::from_secs(30);
/// How many admitted credentials are remembered at most.
const ADMITTED_MAX: usize = 10_000;

/// Which credential opened which session: with another one, a session id is worth nothing (MCP security best
/// practices, session hijacking).
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

/// Credentials that the door has admitted a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    hasher: RandomState,
    since: Mutex<HashMap<u64, Instant>>,
}

impl Admitted {
    /// Whether this credential was admitted a moment ago.
    pub(crate) fn lately(&self, credential: Option<&Credential>) -> bool {
        let mark = self.hasher.hash_one(credential.map(Credential::reveal));
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.get(&mark).is_some_and(|since| since.elapsed() < ADMITTED_FOR)
    }

    /// The door has just admitted this credential.
    pub(crate) fn add(&self, credential: Option<&Credential>) {
        let mark = self.hasher.hash_one(credential.map(Credential::reveal));
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.len() >= ADMITTED_MAX {
            since.retain(|_, since| since.elapsed() < ADMITTED_FOR);
        }
        if since.len() < ADMITTED_MAX {
            since.insert(mark, Instant::now());
        }
    }

    /// The door has just refused this credential.
    pub(crate) fn remove(&self, credential: Option<&Credential>) {
        let mark = self.hasher.hash_one(credential.map(Credential::reveal));
        self.since.lock().unwrap_or_else(PoisonError::into_inner).remove(&mark);
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

    #[test]
    fn a_refused_credential_is_forgotten() {
        let admitted = Admitted::default();
        let one = Credential::new("one".to_owned());
        assert!(!admitted.lately(Some(&one)));
        admitted.add(Some(&one));
        assert!(admitted.lately(Some(&one)) && !admitted.lately(None));
        admitted.remove(Some(&one));
        assert!(!admitted.lately(Some(&one)));
    }
}

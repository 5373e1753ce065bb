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

/// Who opened which session, and with which credential: to anybody else a session id is worth nothing (MCP security best
/// practices, session hijacking). The same caller goes on under a fresh credential: what was lent is renewed every few minutes.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    hasher: RandomState,
    owners: Mutex<HashMap<String, Owner>>,
}

#[derive(Debug)]
struct Owner {
    /// The hash of the credential that was presented last.
    mark: u64,
    caller: String,
}

impl Bindings {
    fn mark(&self, credential: Option<&Credential>) -> u64 {
        self.hasher.hash_one(credential.map(Credential::reveal))
    }

    /// Whether this credential was the last that this session went on with.
    pub(crate) fn holds(&self, session: &str, credential: Option<&Credential>) -> bool {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.get(session).is_some_and(|owner| owner.mark == self.mark(credential))
    }

    /// Whether the door says that this credential is of the caller who opened this session; it then goes on with it.
    pub(crate) fn goes_on(&self, session: &str, credential: Option<&Credential>, caller: &str) -> bool {
        let mark = self.mark(credential);
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = owners.get_mut(session).filter(|owner| !caller.is_empty() && owner.caller == caller);
        owner.map(|owner| owner.mark = mark).is_some()
    }

    /// Bind a new session, and forget those that are not `alive` any more.
    pub(crate) fn bind(
        &self,
        session: &str,
        credential: Option<&Credential>,
        caller: String,
        alive: impl Fn(&str) -> bool,
    ) {
        let mark = self.mark(credential);
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.retain(|session, _| alive(session));
        owners.insert(session.to_owned(), Owner { mark, caller });
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
    fn a_session_is_worth_nothing_to_another_caller() {
        let bindings = Bindings::default();
        let (one, two) = (Credential::new("one".to_owned()), Credential::new("two".to_owned()));
        bindings.bind("s", Some(&one), "ann".to_owned(), |_| true);
        assert!(bindings.holds("s", Some(&one)));
        assert!(!bindings.holds("s", Some(&two)));
        assert!(!bindings.holds("s", None));
        assert!(!bindings.goes_on("s", Some(&two), "bob") && !bindings.goes_on("s", Some(&two), ""));
        assert!(bindings.goes_on("s", Some(&two), "ann") && bindings.holds("s", Some(&two)));
        assert!(!bindings.holds("s", Some(&one)));
        bindings.bind("n", None, String::new(), |_| true);
        assert!(!bindings.goes_on("n", Some(&one), ""), "nobody is not the same as nobody else");
        bindings.bind("t", Some(&two), "ann".to_owned(), |session| session != "s");
        assert!(!bindings.holds("s", Some(&two)) && !bindings.goes_on("s", Some(&two), "ann"));
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

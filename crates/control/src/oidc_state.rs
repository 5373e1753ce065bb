//! What goes to an OpenID provider and comes back with the person: sealed, so that nothing waits here while somebody reads a form.
//! Good for ten minutes, for this process, for the verifier of who began, and once. Must never be taken twice: a provider that
//! takes a code again is no reason for us to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ids::{Entropy, Timestamp};
use seal::{Digest, Sealer};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a person may take at the provider.
const TTL: Duration = Duration::from_secs(600);
/// States that were spent and are not over yet. Each costs its sender two calls, so that this many in ten minutes are no people.
const SPENT_MAX: usize = 100_000;
/// Lengths of a verifier, in bytes (RFC 7636 section 4.1).
const VERIFIER_BYTES: std::ops::RangeInclusive<usize> = 43..=128;

/// What goes to the provider and back.
#[derive(Deserialize, Serialize)]
pub(crate) struct State {
    pub(crate) provider: String,
    pub(crate) nonce: String,
    pub(crate) challenge: String,
    pub(crate) redirect_uri: String,
    until: Timestamp,
}

impl State {
    /// A sign-in that begins now.
    pub(crate) fn new(ask: &api::SignInAsk<'_>, entropy: &dyn Entropy, now: Timestamp) -> Self {
        let mut nonce = [0_u8; 32];
        entropy.fill(&mut nonce);
        Self {
            provider: ask.provider.to_owned(),
            nonce: URL_SAFE_NO_PAD.encode(nonce),
            challenge: ask.challenge.to_owned(),
            redirect_uri: ask.redirect_uri.to_owned(),
            until: now.plus(TTL),
        }
    }
}

/// The states of this process.
pub(crate) struct States {
    /// What they are sealed for: those of a process before, whose spent ones nobody remembers, do not open.
    context: Vec<u8>,
    spent: Mutex<HashMap<String, Timestamp>>,
}

impl States {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        let mut process = [0_u8; 16];
        entropy.fill(&mut process);
        Self { context: [b"posse oidc state/".as_slice(), &process].concat(), spent: Mutex::default() }
    }

    /// A state as it travels; none where it has no text, which cannot be.
    pub(crate) fn seal(&self, state: &State, sealer: &Sealer, entropy: &dyn Entropy) -> Option<String> {
        let plain = serde_json::to_vec(state).ok()?;
        Some(URL_SAFE_NO_PAD.encode(sealer.seal(&self.context, &plain, entropy)))
    }

    /// The state that came back with the verifier of who began; none where it is not one of ours, not theirs, or over.
    pub(crate) fn open(&self, sealed: &str, verifier: &str, sealer: &Sealer, now: Timestamp) -> Option<State> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let opened = sealer.open(&self.context, &bytes).ok()?;
        let state: State = serde_json::from_slice(opened.expose()).ok()?;
        let digest = URL_SAFE_NO_PAD.encode(Digest::of(verifier.as_bytes()).as_bytes());
        // Checked here although the provider gets the verifier too: not every provider looks.
        let theirs = VERIFIER_BYTES.contains(&verifier.len()) && digest == state.challenge;
        (theirs && state.until > now).then_some(state)
    }

    /// Use the state up; false where it was, or where so many were that nobody can be told apart.
    pub(crate) fn spend(&self, state: &State, now: Timestamp) -> bool {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.len() >= SPENT_MAX {
            spent.retain(|_, until| *until > now);
        }
        spent.len() < SPENT_MAX && spent.insert(state.nonce.clone(), state.until).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seal::SeededEntropy;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    fn sealer() -> Sealer {
        Sealer::new([7; 32])
    }

    fn state(now: Timestamp, entropy: &dyn Entropy) -> State {
        let challenge = URL_SAFE_NO_PAD.encode(Digest::of(VERIFIER.as_bytes()).as_bytes());
        let ask = api::SignInAsk { provider: "corp", redirect_uri: "http://127.0.0.1/", challenge: &challenge };
        State::new(&ask, entropy, now)
    }

    #[test]
    fn a_state_is_good_for_its_verifier_its_process_and_its_time() {
        let (entropy, now) = (SeededEntropy::new(1), Timestamp::from_micros(1_000_000));
        let states = States::new(&entropy);
        let sealed = states.seal(&state(now, &entropy), &sealer(), &entropy).unwrap();
        let open = |states: &States, verifier: &str, now| states.open(&sealed, verifier, &sealer(), now).is_some();
        assert!(open(&states, VERIFIER, now));
        assert!(!open(&states, &VERIFIER.replace('d', "e"), now));
        assert!(!open(&states, "", now));
        assert!(open(&states, VERIFIER, now.plus(Duration::from_secs(599))));
        assert!(!open(&states, VERIFIER, now.plus(TTL)));
        assert!(!open(&States::new(&entropy), VERIFIER, now), "another process");
        let plain = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        assert!(sealer().open(b"posse oidc state/", &plain).is_err());
    }

    #[test]
    fn a_state_is_spent_once_and_memory_is_bounded() {
        let (entropy, now) = (SeededEntropy::new(1), Timestamp::from_micros(1_000_000));
        let states = States::new(&entropy);
        let first = state(now, &entropy);
        assert!(states.spend(&first, now));
        assert!(!states.spend(&first, now));
        for _ in 1..SPENT_MAX {
            assert!(states.spend(&state(now, &entropy), now));
        }
        assert!(!states.spend(&state(now, &entropy), now), "full");
        assert!(!states.spend(&first, now));
        assert!(states.spend(&state(now.plus(TTL), &entropy), now.plus(TTL)), "those before are over");
        assert_eq!(states.spent.lock().unwrap().len(), 1);
    }
}

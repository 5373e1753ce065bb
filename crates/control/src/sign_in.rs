//! How often somebody may try to sign in: by the name that is tried and by the address that tries. Only failures count.
//! Must never tell a name that exists from one that does not, and holds a bounded number of names and addresses.

use crate::attempts::Kind;
use crate::authenticate::{tenant_active, unauthenticated};
use crate::context::Control;
use crate::refusal::Refusal;
use crate::user_totp::Door;
use api::{Problem, ProblemKind};
use ids::{Scope, Timestamp, UserId};
use seal::SecretText;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use store::{Stored, User, UserState};

/// Entries past this number are dropped all at once. Filling it takes longer than an entry matters, because passwords are
/// verified by turns.
const ENTRIES_MAX: usize = 20_000;

/// Wrong codes of a second factor that one person may send in a window. Three of a million are right at a time: who tries without
/// a pause has an even chance after more than a year.
const CODE_FAILURES_MAX: u32 = 5;
/// For how long they count.
const CODE_WINDOW: Duration = Duration::from_secs(900);

/// Failures of one kind of key, each as the time at which all of them are forgotten.
struct Failures<K> {
    until: Mutex<HashMap<K, Timestamp>>,
}

impl<K> Default for Failures<K> {
    fn default() -> Self {
        Self { until: Mutex::default() }
    }
}

impl<K: std::hash::Hash + Eq> Failures<K> {
    /// Count one attempt ahead of its outcome; where there were too many, how long to wait. `each` is for how long one
    /// failure counts, `most` how many may count at once.
    fn take(&self, key: K, now: Timestamp, each: Duration, most: u32) -> Result<(), Duration> {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= ENTRIES_MAX {
            until.retain(|_, end| *end > now);
            if until.len() >= ENTRIES_MAX {
                until.clear();
            }
        }
        let end = until.get(&key).copied().unwrap_or(now).max(now).plus(each);
        let bound = now.plus(each.saturating_mul(most));
        if end > bound {
            return Err(end.since(bound));
        }
        until.insert(key, end);
        Ok(())
    }

    /// Take back an attempt that was no failure.
    fn give_back(&self, key: &K, each: Duration) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = until.get_mut(key) {
            *end = end.minus(each);
        }
    }
}

/// What is asked of somebody besides the password.
pub(crate) enum Second<'a> {
    /// The second factor, where the person has one; with the code that was given.
    Asked(Option<&'a str>),
    /// Nothing: who asks is signed in already.
    Waived,
}

/// Failed sign-ins that still count.
#[derive(Default)]
pub(crate) struct SignIns {
    names: Failures<String>,
    addresses: Failures<IpAddr>,
    codes: Failures<UserId>,
}

/// The network that an address stands for: one household or host has a whole IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Control {
    /// The user with this e-mail and password. Unknown names cost the same time as wrong passwords, and the limits do not
    /// know which names exist.
    pub(crate) async fn sign_in(
        &self,
        email: &str,
        password: &str,
        second: Second<'_>,
        address: Option<IpAddr>,
    ) -> Result<Stored<User>, Refusal> {
        let name = email.to_lowercase();
        let most = self.settings.sign_in_failures_per_name;
        let turn = self.address_turn(address)?;
        let taken = self.sign_ins.names.take(name.clone(), self.now(), self.each(most), most);
        taken.map_err(|wait| self.too_often(wait))?;
        let user = self.verified(email, password).await?;
        let checked = match second {
            Second::Asked(code) => self.check_second_factor(&user.value, code, Door::Password),
            Second::Waived => Ok(()),
        };
        // The password was right; wrong codes count for themselves.
        self.sign_ins.names.give_back(&name, self.each(most));
        if let Err(refusal) = checked {
            self.attempts.count(Kind::of_nobody("authenticate", 401), self.now());
            return Err(refusal);
        }
        self.give_back(turn);
        Ok(user)
    }

    /// For how long one failure counts, where this many may count at once.
    fn each(&self, most: u32) -> Duration {
        let window = self.settings.sign_in_window;
        window.checked_div(most.max(1)).unwrap_or(window)
    }

    /// Count one attempt from an address ahead of its outcome; what to give back where it was no failure.
    pub(crate) fn address_turn(&self, address: Option<IpAddr>) -> Result<Option<IpAddr>, Refusal> {
        let (network, most) = (address.map(network), self.settings.sign_in_failures_per_address);
        let taken = network.map_or(Ok(()), |one| self.sign_ins.addresses.take(one, self.now(), self.each(most), most));
        taken.map(|()| network).map_err(|wait| self.too_often(wait))
    }

    /// Take back an attempt that was no failure.
    pub(crate) fn give_back(&self, turn: Option<IpAddr>) {
        if let Some(network) = turn {
            self.sign_ins.addresses.give_back(&network, self.each(self.settings.sign_in_failures_per_address));
        }
    }

    /// Count one code of a person ahead of its outcome.
    pub(crate) fn code_turn(&self, user: UserId) -> Result<(), Refusal> {
        let each = CODE_WINDOW.checked_div(CODE_FAILURES_MAX).unwrap_or(CODE_WINDOW);
        let taken = self.sign_ins.codes.take(user, self.now(), each, CODE_FAILURES_MAX);
        taken.map_err(|wait| self.too_often(wait))
    }

    /// Take back a code that was right.
    pub(crate) fn give_code_back(&self, user: UserId) {
        let each = CODE_WINDOW.checked_div(CODE_FAILURES_MAX).unwrap_or(CODE_WINDOW);
        self.sign_ins.codes.give_back(&user, each);
    }

    fn too_often(&self, wait: Duration) -> Refusal {
        self.attempts.count(Kind::of_nobody("me.login", ProblemKind::TooManyRequests.status()), self.now());
        let secs = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let detail = "too many sign-ins failed for this name or from this address; wait and try again";
        Problem { retry_after_secs: Some(secs), ..Problem::new(ProblemKind::TooManyRequests, detail) }.into()
    }

    async fn verified(&self, email: &str, password: &str) -> Result<Stored<User>, Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        let user = snapshot.find_one::<User>("email", email).await?;
        let secret = SecretText::new(password).map_err(|_| Refusal::from(unauthenticated()))?;
        let hash = user.as_ref().and_then(|user| user.value.password.clone());
        let cost = self.settings.password_cost;
        let _turn = self.hashing.acquire().await.map_err(|error| Refusal::bug("hashing has ended", &error))?;
        let verified =
            tokio::task::spawn_blocking(move || match hash.and_then(|hash| seal::PasswordHash::parse(&hash).ok()) {
                Some(hash) => hash.verify(&secret),
                None => seal::PasswordHash::decoy_verify(&secret, cost),
            })
            .await
            .map_err(|error| Refusal::bug("password verification ended", &error))?;
        let active = |user: &Stored<User>| user.value.state == UserState::Active;
        match user.filter(|user| verified && active(user)) {
            Some(user) if tenant_active(&snapshot, user.value.tenant.into()).await? => Ok(user),
            _ => {
                self.attempts.count(Kind::of_nobody("authenticate", 401), self.now());
                Err(unauthenticated().into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_for_a_while_and_successes_do_not() {
        let failures = Failures::default();
        let (each, now) = (Duration::from_secs(6), Timestamp::from_micros(1_000_000));
        for _ in 0..20 {
            assert_eq!(failures.take("dana", now, each, 2), Ok(()));
            failures.give_back(&"dana", each);
        }
        assert_eq!(failures.take("dana", now, each, 2), Ok(()));
        assert_eq!(failures.take("dana", now, each, 2), Ok(()));
        assert_eq!(failures.take("dana", now, each, 2), Err(each));
        assert_eq!(failures.take("nobody", now, each, 2), Ok(()), "another name");
        assert_eq!(failures.take("dana", now.plus(each), each, 2), Ok(()));
        assert!(failures.take("dana", now.plus(each), each, 2).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let failures = Failures::default();
        let now = Timestamp::from_micros(0);
        for name in 0..ENTRIES_MAX * 3 {
            let _ = failures.take(name, now, Duration::from_secs(6), 2);
            assert!(failures.until.lock().unwrap_or_else(PoisonError::into_inner).len() <= ENTRIES_MAX);
        }
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let of = |text: &str| network(text.parse::<IpAddr>().unwrap_or(IpAddr::from([0, 0, 0, 0])));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}

//! People who sign in through a provider: who they are here, and the roles that their claims give them. What the configuration maps
//! belongs to the mapping: it gives and takes those roles, and touches no others. Must never take somebody for another because of
//! an address that the provider does not vouch for, and changes nothing of who has a second factor before it was given.

use crate::attempts::Kind;
use crate::authenticate::{tenant_active, unauthenticated};
use crate::context::Control;
use crate::decide::role_spec;
use crate::oidc::{Person, outage};
use crate::refusal::Refusal;
use crate::role::role_key;
use crate::user_totp::Door;
use ids::{Owner, Principal, PrincipalKind, Scope, TenantId, Timestamp, UserId};
use serde::Deserialize as _;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::IpAddr;
use store::{Assignment, Changes, Commit, CommitError, Role, Snapshot, Stored, User, UserState};

/// Longest name of a person that is taken from a provider, in characters.
const NAME_CHARS_MAX: usize = 200;
/// How often a person is looked for anew because another sign-in was faster.
const ATTEMPTS_MAX: u32 = 3;

/// Who is meant, and what became of them.
struct Meant {
    user: User,
    /// `linked`, `made`, or nothing new.
    how: Option<&'static str>,
}

/// What changes at one place, and what its record says of it.
#[derive(Default)]
struct Told {
    changes: Changes,
    given: Vec<String>,
    taken: Vec<String>,
}

impl Control {
    /// The person who signs in with what a provider sent back.
    pub(crate) async fn sign_in_through(
        &self,
        login: &api::MeLoginOidc,
        address: Option<IpAddr>,
    ) -> Result<UserId, Refusal> {
        let turn = self.address_turn(address)?;
        match self.finish_sign_in(login).await {
            Ok(person) => {
                if let Some(user) = self.provisioned(&person, login.totp.as_ref().map(api::Secret::reveal)).await? {
                    self.give_back(turn);
                    return Ok(user);
                }
                tracing::warn!(provider = person.provider.setup.name, "somebody signed in there who is nobody here");
            }
            Err(error) if error.is_outage() => {
                tracing::warn!(%error, "nobody can sign in through a provider");
                return Err(outage().into());
            }
            Err(error) => tracing::warn!(%error, "a sign-in through a provider came to nothing"),
        }
        self.attempts.count(Kind::of_nobody("me.login_oidc", 401), self.now());
        Err(unauthenticated().into())
    }

    /// The person who came back from a provider, made or brought up to date; none where nobody here is meant.
    async fn provisioned(&self, person: &Person, code: Option<&str>) -> Result<Option<UserId>, Refusal> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.provisioned_once(person, code).await {
                Err(Refusal::Commit(CommitError::Conflict { .. } | CommitError::Duplicate { .. }))
                    if attempt < ATTEMPTS_MAX => {}
                other => return other,
            }
        }
    }

    async fn provisioned_once(&self, person: &Person, code: Option<&str>) -> Result<Option<UserId>, Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        let home = Owner::from(person.provider.setup.tenant);
        if !tenant_active(&snapshot, home).await? {
            return Ok(None);
        }
        let mut places = BTreeMap::<Owner, Told>::new();
        let mut changes = Changes::new();
        let Some(meant) = self.meant(&snapshot, person, &mut changes).await? else { return Ok(None) };
        self.check_second_factor(&meant.user, code, Door::Provider)?;
        if !changes.is_empty() {
            places.entry(home).or_default().changes = changes;
        }
        let id = meant.user.id;
        self.map_roles(&snapshot, person, id, &mut places).await?;
        let changed = !places.is_empty();
        for (place, told) in places {
            // Who is made has to be there before any role; the provider's place comes first, and a tenant's people hold roles there only.
            let how = meant.how.filter(|_| place == home);
            let detail = json!({
                "provider": person.provider.setup.name, "external": person.external, "person": how,
                "given": told.given, "taken": told.taken,
            });
            let entry = self.detailed_leaf("sign-in", "user.provision", place, Some(id.to_string()), None, &detail)?;
            self.store.commit(Commit::new(self.now(), entry).changes(told.changes)).await?;
        }
        if changed {
            self.freshness.touch(&id.to_string());
        }
        Ok(Some(id))
    }

    /// Who is meant: the person of before, the one with the same address, or a new one.
    async fn meant(
        &self,
        snapshot: &Snapshot,
        person: &Person,
        changes: &mut Changes,
    ) -> Result<Option<Meant>, Refusal> {
        let setup = &person.provider.setup;
        let active = |user: &Stored<User>| user.value.state == UserState::Active && user.value.tenant == setup.tenant;
        if let Some(known) = snapshot.find_one::<User>("external", &person.external).await? {
            return Ok(active(&known).then_some(Meant { user: known.value, how: None }));
        }
        // The same rules as for who is made by hand: visible ASCII, so that no letter only looks like another.
        let email = person.claims.get("email").and_then(|email| api::Email::deserialize(email).ok());
        let Some(email) = email.filter(|_| person.vouched()) else { return Ok(None) };
        if let Some(same) = snapshot.find_one::<User>("email", email.as_str()).await? {
            if active(&same) && same.value.external.as_ref() == Some(&person.external) {
                // Made by another sign-in of the same person since the look above.
                return Ok(Some(Meant { user: same.value, how: None }));
            }
            if !active(&same) || same.value.external.is_some() {
                return Ok(None);
            }
            let linked = User { external: Some(person.external.clone()), ..same.value };
            changes.replace(&linked, same.version);
            return Ok(Some(Meant { user: linked, how: Some("linked") }));
        }
        if !setup.create {
            return Ok(None);
        }
        let user = User {
            id: UserId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            tenant: setup.tenant,
            email: email.as_str().to_owned(),
            display_name: display_name(person.text("name"), email.as_str()),
            password: None,
            state: UserState::Active,
            credentials_from: Timestamp::default(),
            external: Some(person.external.clone()),
            totp: None,
        };
        changes.create(&user);
        Ok(Some(Meant { user, how: Some("made") }))
    }

    /// Give and take the roles that claims are mapped to, each on the record of the place where it is held.
    async fn map_roles(
        &self,
        snapshot: &Snapshot,
        person: &Person,
        user: UserId,
        places: &mut BTreeMap<Owner, Told>,
    ) -> Result<(), Refusal> {
        let mut wanted = BTreeMap::new();
        for mapping in &person.provider.setup.roles {
            let held = wanted.entry((mapping.role.as_str(), mapping.tenant)).or_insert(false);
            *held |= person.has(&mapping.claim, &mapping.value);
        }
        for ((role, tenant), wanted) in wanted {
            let place = Owner::from(tenant);
            let assignment = role_key(Principal::User(user), role, place, None);
            let held: Option<Stored<Assignment>> = snapshot.read(&assignment.id.to_string()).await?;
            match held {
                None if wanted => {
                    if !tenant_active(snapshot, place).await? || !can_be_held(snapshot, role, tenant).await? {
                        tracing::warn!(
                            role,
                            provider = person.provider.setup.name,
                            "a mapped role cannot be held there"
                        );
                        continue;
                    }
                    let told = places.entry(place).or_default();
                    told.changes.create(&assignment);
                    told.given.push(role.to_owned());
                }
                Some(held) if !wanted => {
                    let told = places.entry(place).or_default();
                    told.changes.delete::<Assignment>(&assignment.id.to_string(), place, held.version);
                    told.taken.push(role.to_owned());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The name that a provider gives a person, where it shows anything; else the address.
fn display_name(given: Option<&str>, email: &str) -> String {
    let shown: String = given.unwrap_or_default().chars().filter(|letter| !letter.is_control()).collect();
    let name = if shown.trim().is_empty() { email } else { shown.trim() };
    name.chars().take(NAME_CHARS_MAX).collect()
}

/// Whether people may hold this role at a place. What is shipped was judged with the configuration.
async fn can_be_held(snapshot: &Snapshot, role: &str, tenant: Option<TenantId>) -> Result<bool, Refusal> {
    if policy::shipped::ROLES.iter().any(|shipped| shipped.id == role) {
        return Ok(true);
    }
    let stored: Option<Stored<Role>> = snapshot.read(role).await?;
    let here = |stored: &Stored<Role>| stored.value.tenant.is_none() || stored.value.tenant == tenant;
    Ok(stored.filter(here).is_some_and(|stored| role_spec(&stored.value).principals.contains(&PrincipalKind::User)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_shows_nothing_is_the_address() {
        for (given, name) in [
            (None, "dana@example.com"),
            (Some(""), "dana@example.com"),
            (Some(" \u{0}\n "), "dana@example.com"),
            (Some(" Dana\u{7} Q. "), "Dana Q."),
        ] {
            assert_eq!(display_name(given, "dana@example.com"), name, "{given:?}");
        }
        assert_eq!(display_name(Some(&"x".repeat(300)), "").len(), NAME_CHARS_MAX);
    }
}

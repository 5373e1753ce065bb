//! Users: people, their passwords and their API tokens.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::identity::right_after;
use crate::outcome::{After, Outcome};
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::role::{assignment_wire, check_grant, role_key};
use crate::sign_in::Second;
use crate::target::Target;
use api::{
    AssignmentSet, Etag, Gone, NewCredential, Page, Secret, UserCreate, UserCreateToken, UserDeactivate, UserGet,
    UserList, UserListTokens, UserResetPassword, UserRevokeToken, UserSetRoles, UserState, UserToken, UserUpdate,
};
use ids::{CredentialId, Owner, Principal, Text, Timestamp, UserId};
use seal::{PasswordHash, SecretText, Token};
use std::time::Duration;
use store::{Agent, AgentState, Assignment, Changes, Credential, CredentialKind, Stored, User};

/// Shortest password, in characters (NIST SP 800-63B asks for at least 8; 15 where it is the only factor).
const PASSWORD_MIN: usize = 12;

pub(crate) fn wire(stored: Stored<User>) -> Result<api::User, Refusal> {
    let Stored { value, version, created_at, .. } = stored;
    Ok(api::User {
        id: value.id,
        tenant: value.tenant,
        email: Text::truncated(&value.email),
        display_name: Text::truncated(&value.display_name),
        state: match value.state {
            store::UserState::Active => UserState::Active,
            store::UserState::Deactivated => UserState::Deactivated,
        },
        second_factor: value.totp.is_some_and(|totp| totp.confirmed),
        created_at,
        etag: Etag::of(version),
    })
}

async fn user_target(look: &Look<'_>, user: UserId) -> Result<Target, Refusal> {
    let stored: Stored<User> = look.one("user", &user.to_string()).await?;
    Ok(Target::new("User", user.to_string(), stored.value.tenant.into()).named(stored.value.display_name))
}

pub(crate) fn replaced(before: &Stored<User>, value: User, now: Timestamp) -> Stored<User> {
    Stored { value, version: before.version.saturating_add(1), created_at: before.created_at, updated_at: now }
}

impl Control {
    /// Hash a password off the async threads: it costs tens of milliseconds on purpose.
    async fn hash_password(&self, password: &str) -> Result<String, Refusal> {
        if password.chars().count() < PASSWORD_MIN {
            return Err(Refusal::fault("/password", format!("is too short; write at least {PASSWORD_MIN} characters")));
        }
        let secret = SecretText::new(password).map_err(|error| Refusal::fault("/password", error.to_string()))?;
        let (control, cost) = (self.clone(), self.settings.password_cost);
        let _turn = self.hashing.acquire().await.map_err(|error| Refusal::bug("hashing has ended", &error))?;
        let hashed =
            tokio::task::spawn_blocking(move || PasswordHash::create(&secret, control.inner.entropy.as_ref(), cost))
                .await
                .map_err(|error| Refusal::bug("password hashing ended", &error))?;
        Ok(hashed.map_err(|error| Refusal::bug("a password was not hashed", &error))?.as_str().to_owned())
    }

    /// A fresh credential and its secret.
    pub(crate) fn new_credential(
        &self,
        kind: CredentialKind,
        principal: Principal,
        home: Owner,
        name: &str,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<(Credential, NewCredential), Refusal> {
        let word = match kind {
            CredentialKind::Bootstrap => "bootstrap",
            CredentialKind::Enrolment => "enrolment",
            CredentialKind::GrantAccess => "lent",
            CredentialKind::GrantCode => "code",
            CredentialKind::GrantRefresh => "refresh",
            CredentialKind::Run => "run",
            CredentialKind::Sensor => "sensor",
            CredentialKind::Service => "service",
            CredentialKind::Session => "session",
            CredentialKind::Token => "token",
        };
        let token = Token::generate(word, self.entropy.as_ref())
            .map_err(|error| Refusal::bug("a token was not made", &error))?;
        let credential = Credential {
            id: CredentialId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            kind,
            hash: token.lookup_hash().to_string(),
            principal,
            tenant: home.tenant(),
            name: name.to_owned(),
            issued_at: now,
            expires_at: now.plus(ttl),
            revoked: false,
            run: None,
            reach: None,
            case: None,
            on_behalf_of: Vec::new(),
            grant: None,
        };
        let shown = NewCredential {
            id: credential.id,
            secret: Secret::new(token.expose().to_owned()),
            expires_at: credential.expires_at,
        };
        Ok((credential, shown))
    }
}

impl Handle<UserCreate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &UserCreate) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: UserCreate) -> Result<Outcome<api::User>, Refusal> {
        let password = match &input.password {
            Some(password) => Some(self.hash_password(password.reveal()).await?),
            None => None,
        };
        let user = User {
            id: UserId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            tenant: admitted.target.owner.tenant(),
            email: input.email.as_str().to_owned(),
            display_name: input.display_name.into_string(),
            password,
            state: store::UserState::Active,
            credentials_from: admitted.now,
            external: None,
            totp: None,
        };
        let mut changes = Changes::new();
        changes.create(&user);
        let stored = Stored { value: user, version: 1, created_at: admitted.now, updated_at: admitted.now };
        Ok(Outcome::changed(wire(stored)?, changes))
    }
}

impl Handle<UserGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &UserGet) -> Result<Target, Refusal> {
        user_target(look, input.user).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: UserGet) -> Result<Outcome<api::User>, Refusal> {
        Ok(Outcome::answer(wire(admitted.one("user", &input.user.to_string()).await?)?))
    }
}

impl Handle<UserList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &UserList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: UserList) -> Result<Outcome<Page<api::User>>, Refusal> {
        let owner = Some(admitted.target.owner);
        Ok(Outcome::answer(admitted.page(owner, None, input.limit, input.cursor.as_ref(), wire).await?))
    }
}

impl Handle<UserUpdate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &UserUpdate) -> Result<Target, Refusal> {
        user_target(look, input.user).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: UserUpdate) -> Result<Outcome<api::User>, Refusal> {
        let before: Stored<User> = admitted.one("user", &input.user.to_string()).await?;
        admitted.check_version(input.if_match, before.version)?;
        let user = User { display_name: input.display_name.into_string(), ..before.value.clone() };
        let mut changes = Changes::new();
        changes.replace(&user, before.version);
        Ok(Outcome::changed(wire(replaced(&before, user, admitted.now))?, changes).touching(&input.user))
    }
}

impl Handle<UserDeactivate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &UserDeactivate) -> Result<Target, Refusal> {
        user_target(look, input.user).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: UserDeactivate) -> Result<Outcome<api::User>, Refusal> {
        let before: Stored<User> = admitted.one("user", &input.user.to_string()).await?;
        if admitted.identity.principal == Principal::User(input.user) {
            return Err(Refusal::conflict("you cannot deactivate yourself; ask another administrator"));
        }
        let dead_before = right_after(self.now());
        let user = User { state: store::UserState::Deactivated, credentials_from: dead_before, ..before.value.clone() };
        let mut changes = Changes::new();
        changes.replace(&user, before.version);
        let mut touched = vec![input.user.to_string()];
        // An agent needs a person who answers for it, wherever it belongs.
        let provider = self.store.snapshot(ids::Scope::Provider);
        for agent in provider.find::<Agent>("owner", &input.user.to_string()).await? {
            if agent.value.state == AgentState::Active {
                let suspended =
                    Agent { state: AgentState::Suspended, credentials_from: dead_before, ..agent.value.clone() };
                changes.replace(&suspended, agent.version);
                touched.push(agent.value.id.to_string());
            }
        }
        Ok(Outcome::changed(wire(replaced(&before, user, admitted.now))?, changes).then(After::Touched(touched)))
    }
}

impl Handle<UserSetRoles> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &UserSetRoles) -> Result<Target, Refusal> {
        let stored: Stored<User> = look.one("user", &input.user.to_string()).await?;
        let place = look.place(input.tenant).await?;
        let roles = input.roles.iter().map(ToString::to_string);
        Ok(Target::new("User", input.user.to_string(), place).named(stored.value.display_name).granting(roles))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: UserSetRoles) -> Result<Outcome<AssignmentSet>, Refusal> {
        let place = admitted.target.owner;
        let principal = Principal::User(input.user);
        let user =
            admitted.reach.read::<User>(&input.user.to_string()).await?.ok_or_else(|| Refusal::not_found("user"))?;
        let mut wanted: Vec<Assignment> = Vec::new();
        for (index, role) in input.roles.iter().enumerate() {
            let pointer = format!("/roles/{index}");
            check_grant(self, admitted, &principal, user.value.tenant.into(), role, place, &pointer).await?;
            wanted.push(role_key(principal.clone(), &role.to_string(), place, None));
        }
        wanted.sort_by_key(|assignment| assignment.id);
        wanted.dedup_by_key(|assignment| assignment.id);
        let page =
            store::Page { key: Some(("principal", principal.to_string())), limit: 1000, ..store::Page::default() };
        let held: Vec<Stored<Assignment>> = admitted.reach.list(&page).await?;
        let held: Vec<_> = held
            .into_iter()
            .filter(|one| Owner::from(one.value.tenant) == place && one.value.selector.is_none())
            .collect();
        let mut changes = Changes::new();
        for gone in held.iter().filter(|one| !wanted.iter().any(|kept| kept.id == one.value.id)) {
            changes.delete::<Assignment>(&gone.value.id.to_string(), place, gone.version);
        }
        let mut assignments = Vec::new();
        for assignment in wanted {
            let kept = held.iter().find(|one| one.value.id == assignment.id);
            if kept.is_none() {
                changes.create(&assignment);
            }
            let created_at = kept.map_or(admitted.now, |one| one.created_at);
            assignments.push(assignment_wire(&assignment, created_at));
        }
        Ok(Outcome::changed(AssignmentSet { assignments }, changes).touching(&input.user))
    }
}

impl Handle<UserResetPassword> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &UserResetPassword) -> Result<Target, Refusal> {
        user_target(look, input.user).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: UserResetPassword) -> Result<Outcome<Gone>, Refusal> {
        let before: Stored<User> = admitted.one("user", &input.user.to_string()).await?;
        let own = admitted.identity.principal == Principal::User(input.user);
        if own && before.value.password.is_none() && before.value.external.is_some() {
            // Else a session that somebody left open would become a way in that the provider does not know of.
            return Err(Refusal::conflict(
                "you sign in through a provider; only an administrator can give you a password",
            ));
        }
        if own && before.value.password.is_some() {
            let Some(old) = &input.old_password else {
                return Err(Refusal::fault(
                    "/old_password",
                    "is missing; your own password changes only with the old one",
                ));
            };
            match self.sign_in(&before.value.email, old.reveal(), Second::Waived, None).await {
                Ok(_) => {}
                Err(Refusal::Problem(problem)) if problem.status == 401 => {
                    return Err(Refusal::fault("/old_password", "is not your password"));
                }
                Err(refusal) => return Err(refusal),
            }
        }
        let password = Some(self.hash_password(input.password.reveal()).await?);
        // Not the time of the call: hashing takes long enough for a sign-in with the old password to slip in.
        let user = User { password, credentials_from: right_after(self.now()), ..before.value.clone() };
        let mut changes = Changes::new();
        changes.replace(&user, before.version);
        Ok(Outcome::changed(Gone { id: user.id.to_string() }, changes).touching(&input.user))
    }
}

impl Handle<UserCreateToken> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &UserCreateToken) -> Result<Target, Refusal> {
        user_target(look, input.user).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: UserCreateToken) -> Result<Outcome<NewCredential>, Refusal> {
        let user: Stored<User> = admitted.one("user", &input.user.to_string()).await?;
        let principal = Principal::User(input.user);
        if admitted.identity.principal != principal {
            // Otherwise an administrator could act as somebody else and the record would name the wrong person.
            return Err(Refusal::conflict("a token acts as its user, so only that user can make one"));
        }
        let ttl = Duration::from_secs(u64::from(input.ttl_secs));
        let home = user.value.tenant.into();
        let (credential, shown) =
            self.new_credential(CredentialKind::Token, principal, home, &input.name, admitted.now, ttl)?;
        let mut changes = Changes::new();
        changes.create(&credential).expect::<User>(&input.user.to_string(), user.version);
        Ok(Outcome::changed(shown, changes))
    }
}

impl Handle<UserListTokens> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &UserListTokens) -> Result<Target, Refusal> {
        user_target(look, input.user).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: UserListTokens,
    ) -> Result<Outcome<Page<UserToken>>, Refusal> {
        let user: Stored<User> = admitted.one("user", &input.user.to_string()).await?;
        let principal = Principal::User(input.user).to_string();
        let page = store::Page { key: Some(("principal", principal)), limit: 1000, ..store::Page::default() };
        let held: Vec<Stored<Credential>> = admitted.snapshot.list(&page).await?;
        let good = held.into_iter().map(|stored| stored.value).filter(|one| {
            let alive = !one.revoked && one.expires_at > admitted.now && one.issued_at >= user.value.credentials_from;
            one.kind == CredentialKind::Token && alive
        });
        let wired = good.map(|one| {
            let token = UserToken {
                id: one.id,
                name: Text::truncated(&one.name),
                created_at: one.issued_at,
                expires_at: one.expires_at,
            };
            (one.id.to_string(), token)
        });
        Ok(Outcome::answer(admitted.page_of(wired, input.limit, input.cursor.as_ref())?))
    }
}

impl Handle<UserRevokeToken> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &UserRevokeToken) -> Result<Target, Refusal> {
        user_target(look, input.user).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: UserRevokeToken) -> Result<Outcome<Gone>, Refusal> {
        let stored: Stored<Credential> = admitted.one("token", &input.credential.to_string()).await?;
        let own = stored.value.principal == Principal::User(input.user) && stored.value.kind == CredentialKind::Token;
        if !own {
            return Err(Refusal::not_found("token"));
        }
        let mut changes = Changes::new();
        changes.replace(&Credential { revoked: true, ..stored.value.clone() }, stored.version);
        Ok(Outcome::changed(Gone { id: input.credential.to_string() }, changes).touching(&input.user))
    }
}

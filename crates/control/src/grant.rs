//! What people lend to outside agents: lend, list, revoke, and the one operation that codes and refresh tokens are good for.
//! A used secret that comes again ends everything that was made from it. What a lent credential may do is judged in `lent`.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::identity::right_after;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    Audience, Gone, GrantLend, GrantList, GrantRedeem, GrantRevoke, LentProfile, LentTokens, NewGrant, Page, Problem,
    ProblemKind, Redeemed, Secret,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ids::{AgentId, CredentialId, Owner, Principal, RunId, Scope, Text, Timestamp, UserId};
use seal::Digest;
use std::time::Duration;
use store::{Agent, AgentState, Changes, Credential, CredentialKind, Grant, Stored, User};

/// How long a code waits to be taken up.
const CODE_TTL: Duration = Duration::from_secs(120);
/// How long an access token lives.
const ACCESS_TTL: Duration = Duration::from_secs(900);

/// The word of an audience in the store.
pub(crate) const fn audience_word(audience: Audience) -> &'static str {
    match audience {
        Audience::Api => "api",
        Audience::Mcp => "mcp",
    }
}

/// A stored profile's word.
pub(crate) fn profile_of(word: &str) -> Option<LentProfile> {
    [LentProfile::Read, LentProfile::Work, LentProfile::Respond].into_iter().find(|profile| profile.as_str() == word)
}

pub(crate) fn wire(stored: Stored<Grant>) -> Result<api::Grant, Refusal> {
    let Stored { value, created_at, .. } = stored;
    let bug = |error: &dyn std::fmt::Display| Refusal::bug("a stored grant is not well formed", error);
    let read = |pattern: &String| serde_json::from_value(pattern.as_str().into());
    Ok(api::Grant {
        id: value.id,
        user: value.person,
        agent: value.agent,
        client: Text::truncated(&value.client),
        profile: profile_of(&value.profile).ok_or_else(|| bug(&value.profile))?,
        operations: value.operations.iter().map(read).collect::<Result<_, _>>().map_err(|error| bug(&error))?,
        tenant: value.reach,
        audience: if value.audience == "mcp" { Audience::Mcp } else { Audience::Api },
        created_at,
        expires_at: value.expires_at,
        revoked: value.revoked,
    })
}

/// A person by id, seen from the caller.
async fn person(look: &Look<'_>, user: Option<UserId>) -> Result<Target, Refusal> {
    let own = match &look.identity.principal {
        Principal::User(own) => Some(*own),
        _ => None,
    };
    let Some(user) = user.or(own) else {
        return Err(Refusal::fault("/user", "is missing; only people lend, so name one"));
    };
    let stored: Stored<User> = look.one("user", &user.to_string()).await?;
    Ok(Target::new("User", user.to_string(), stored.value.tenant.into()).named(stored.value.display_name))
}

fn own(look: &Look<'_>) -> Target {
    Target::new("Self", look.identity.principal.to_string(), look.identity.home)
}

impl Handle<GrantLend> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &GrantLend) -> Result<Target, Refusal> {
        if let Some(tenant) = input.tenant {
            look.tenant(tenant).await?;
        }
        Ok(own(look))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: GrantLend) -> Result<Outcome<NewGrant>, Refusal> {
        let Principal::User(person) = admitted.identity.principal else {
            let detail = "only a person lends rights, and only their own; a program gets a key of its own";
            return Err(Problem::new(ProblemKind::Denied, detail).into());
        };
        let home = admitted.identity.home;
        let reach = input.tenant.or(home.tenant());
        let expires_at = admitted.now.plus(Duration::from_secs(u64::from(input.ttl_secs)));
        let id = CredentialId::generate(self.clock.as_ref(), self.entropy.as_ref());
        let text = id.to_string();
        let agent = Agent {
            id: AgentId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            tenant: home.tenant(),
            name: format!("lent-{}", text.rsplit('_').next().unwrap_or_default()),
            purpose: format!("acts for {} as {}", admitted.identity.name, &*input.client),
            owner: person,
            state: AgentState::Active,
            expires_at,
            credentials_from: Timestamp::default(),
        };
        let mut grant = Grant {
            id,
            tenant: home.tenant(),
            person,
            agent: agent.id,
            client: input.client.into_string(),
            profile: input.profile.as_str().to_owned(),
            operations: input.operations.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            reach,
            audience: audience_word(input.audience).to_owned(),
            challenge: input.code_challenge.map(Text::into_string),
            redirect_uri: input.redirect_uri.map(Text::into_string),
            next: None,
            expires_at,
            revoked: false,
        };
        let mut changes = Changes::new();
        let (mut code, mut tokens) = (None, None);
        if grant.challenge.is_some() {
            let (credential, shown) = self.lent_secret(CredentialKind::GrantCode, &grant, admitted.now, CODE_TTL)?;
            grant.next = Some(credential.id);
            changes.create(&credential);
            code = Some(shown);
        } else {
            tokens = Some(self.lent_tokens(&mut grant, admitted.now, &mut changes)?);
        }
        changes.create(&agent).create(&grant);
        let stored = Stored { value: grant, version: 1, created_at: admitted.now, updated_at: admitted.now };
        let answer = NewGrant { grant: wire(stored)?, code, tokens };
        Ok(Outcome::changed(answer, changes).touching(&agent.id))
    }
}

impl Control {
    /// A credential of a grant, with its secret.
    fn lent_secret(
        &self,
        kind: CredentialKind,
        grant: &Grant,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<(Credential, Secret<200>), Refusal> {
        let home = Owner::from(grant.tenant);
        let (mut credential, shown) =
            self.new_credential(kind, Principal::Agent(grant.agent), home, &grant.client, now, ttl)?;
        credential.expires_at = credential.expires_at.min(grant.expires_at);
        credential.reach = grant.reach;
        credential.on_behalf_of = vec![Principal::User(grant.person)];
        credential.grant = Some(grant.id);
        // One run for all that the grant does: what it reads taints it, wherever its secrets were renewed.
        credential.run = grant.reach.map(|_| RunId::derive(&[b"grant", grant.id.to_string().as_bytes()]));
        Ok((credential, shown.secret))
    }

    /// A fresh pair of tokens; the refresh token is the one secret that may be taken up next.
    fn lent_tokens(&self, grant: &mut Grant, now: Timestamp, changes: &mut Changes) -> Result<LentTokens, Refusal> {
        let whole = grant.expires_at.since(now);
        let (access, shown) = self.lent_secret(CredentialKind::GrantAccess, grant, now, ACCESS_TTL)?;
        let (refresh, renews) = self.lent_secret(CredentialKind::GrantRefresh, grant, now, whole)?;
        grant.next = Some(refresh.id);
        changes.create(&access).create(&refresh);
        Ok(LentTokens { access: shown, access_expires_at: access.expires_at, refresh: renews })
    }
}

impl Handle<GrantList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &GrantList) -> Result<Target, Refusal> {
        person(look, input.user).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: GrantList) -> Result<Outcome<Page<api::Grant>>, Refusal> {
        let key = Some(("person", admitted.target.id.clone()));
        let owner = Some(admitted.target.owner);
        Ok(Outcome::answer(admitted.page(owner, key, input.limit, input.cursor.as_ref(), wire).await?))
    }
}

impl Handle<GrantRevoke> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &GrantRevoke) -> Result<Target, Refusal> {
        let stored: Stored<Grant> = look.one("grant", &input.grant.to_string()).await?;
        let target = Target::new("Grant", input.grant.to_string(), stored.value.tenant.into());
        Ok(target.named(stored.value.client).answered_by(Principal::User(stored.value.person)))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: GrantRevoke) -> Result<Outcome<Gone>, Refusal> {
        let id = input.grant.to_string();
        let before: Stored<Grant> = admitted.one("grant", &id).await?;
        let mut changes = Changes::new();
        self.end_grant(&before, &mut changes).await?;
        let agent = before.value.agent;
        Ok(Outcome::changed(Gone { id }, changes).touching(&agent))
    }
}

impl Control {
    /// End a grant, and with it its agent and every credential.
    async fn end_grant(&self, before: &Stored<Grant>, changes: &mut Changes) -> Result<(), Refusal> {
        changes.replace(&Grant { revoked: true, next: None, ..before.value.clone() }, before.version);
        let agent: Option<Stored<Agent>> =
            self.store.snapshot(Scope::Provider).read(&before.value.agent.to_string()).await?;
        if let Some(agent) = agent.filter(|agent| agent.value.state != AgentState::Retired) {
            let retired =
                Agent { state: AgentState::Retired, credentials_from: right_after(self.now()), ..agent.value.clone() };
            changes.replace(&retired, agent.version);
        }
        Ok(())
    }
}

/// Whether a code's verifier and address are those that it was asked for with.
fn code_fits(grant: &Grant, input: &GrantRedeem) -> bool {
    let verifier = input.code_verifier.as_ref().map(|secret| secret.reveal()).unwrap_or_default();
    // RFC 7636 section 4.1: 43 to 128 characters.
    let digest = URL_SAFE_NO_PAD.encode(Digest::of(verifier.as_bytes()).as_bytes());
    (43..=128).contains(&verifier.len())
        && grant.challenge.as_deref() == Some(digest.as_str())
        && grant.redirect_uri.as_deref() == input.redirect_uri.as_deref()
}

impl Handle<GrantRedeem> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &GrantRedeem) -> Result<Target, Refusal> {
        Ok(own(look))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: GrantRedeem) -> Result<Outcome<Redeemed>, Refusal> {
        let identity = admitted.identity;
        let Some(lent) = identity.lent.as_ref() else {
            return Err(Refusal::conflict("this credential was not lent; there is nothing to take up or renew"));
        };
        // The grant belongs to where the person belongs, which a loan for one tenant does not reach.
        let before: Option<Stored<Grant>> = self.store.snapshot(Scope::Provider).read(&lent.grant.to_string()).await?;
        let before = before.ok_or_else(crate::authenticate::unauthenticated)?;
        let mut grant = before.value.clone();
        let by_code = grant.challenge.is_some();
        let fits = !input.end
            && lent.exchange
            && !grant.revoked
            && grant.next == Some(identity.credential)
            && grant.client == *input.client
            && (!by_code || code_fits(&grant, &input));
        let mut changes = Changes::new();
        let now = admitted.now;
        let told = |grant: Grant| {
            let version = before.version.saturating_add(1);
            wire(Stored { value: grant, version, created_at: before.created_at, updated_at: now })
        };
        if !fits {
            self.end_grant(&before, &mut changes).await?;
            let agent = grant.agent;
            let answer = Redeemed { grant: told(Grant { revoked: true, ..grant })?, tokens: None };
            return Ok(Outcome::changed(answer, changes).touching(&agent));
        }
        grant.challenge = None;
        let tokens = self.lent_tokens(&mut grant, now, &mut changes)?;
        changes.replace(&grant, before.version);
        Ok(Outcome::changed(Redeemed { grant: told(grant)?, tokens: Some(tokens) }, changes))
    }
}

//! The caller itself: who it is, what it may, signing in and out.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::identity::Held;
use crate::outcome::Outcome;
use crate::policy_questions::{authority, rung, shown_name};
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    Authority, Gone, HeldRole, Me, MeGet, MeLogin, MeLoginOidc, MeLogout, MePermissions, NewCredential, Permission,
    Permissions,
};
use ids::Text;
use store::{Changes, Credential, CredentialKind, Stored, User};

fn own(look: &Look<'_>) -> Target {
    Target::new("Self", look.identity.principal.to_string(), look.identity.home)
}

impl Handle<MeGet> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &MeGet) -> Result<Target, Refusal> {
        Ok(own(look))
    }

    async fn handle(&self, admitted: &Admitted<'_>, _: MeGet) -> Result<Outcome<Me>, Refusal> {
        let identity = admitted.identity;
        let lasts = |held: &&Held| held.until.is_none_or(|until| until > admitted.now);
        let held = identity.roles.iter().filter(lasts).map(|held| HeldRole {
            role: held.role.clone(),
            tenant: held.place.tenant(),
            selector: held.selector.as_ref().map(|(text, _)| Text::truncated(text)),
            expires_at: held.until,
        });
        Ok(Outcome::answer(Me {
            principal: identity.principal.clone(),
            kind: identity.principal.kind(),
            display_name: shown_name(&identity.name),
            tenant: identity.place().tenant(),
            roles: held.collect(),
            run: identity.run,
            on_behalf_of: identity.on_behalf_of.clone(),
            credential_expires_at: identity.expires_at,
        }))
    }
}

impl Handle<MePermissions> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &MePermissions) -> Result<Target, Refusal> {
        if let Some(tenant) = input.tenant {
            look.tenant(tenant).await?;
        }
        Ok(own(look))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: MePermissions) -> Result<Outcome<Permissions>, Refusal> {
        let place = input.tenant.map_or(admitted.identity.place(), ids::Owner::Tenant);
        let mut permissions = Vec::new();
        for spec in self.registry.specs() {
            let (decision, _) = self.cell(admitted.identity, spec, place, admitted.face).await?;
            let authority = authority(&decision);
            if !matches!(authority, Authority::Denied | Authority::HumanOnly) {
                permissions.push(Permission {
                    operation: spec.meta.id.to_owned(),
                    effect: spec.meta.effect,
                    authority,
                    rung: rung(&decision),
                });
            }
        }
        Ok(Outcome::answer(Permissions { tenant: place.tenant(), permissions }))
    }
}

impl Handle<MeLogin> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &MeLogin) -> Result<Target, Refusal> {
        Ok(own(look))
    }

    // The gate has verified the password before anything else: the identity is the one that signed in.
    async fn handle(&self, admitted: &Admitted<'_>, input: MeLogin) -> Result<Outcome<NewCredential>, Refusal> {
        self.session(admitted, input.totp.as_ref().map(api::Secret::reveal)).await
    }
}

impl Handle<MeLoginOidc> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &MeLoginOidc) -> Result<Target, Refusal> {
        Ok(own(look))
    }

    // The gate has heard the provider before anything else.
    async fn handle(&self, admitted: &Admitted<'_>, input: MeLoginOidc) -> Result<Outcome<NewCredential>, Refusal> {
        self.session(admitted, input.totp.as_ref().map(api::Secret::reveal)).await
    }
}

impl Control {
    /// A session for who signed in; the code of a second factor is taken with it, so that it is good once.
    async fn session(&self, admitted: &Admitted<'_>, code: Option<&str>) -> Result<Outcome<NewCredential>, Refusal> {
        let identity = admitted.identity;
        let (credential, shown) = self.new_credential(
            CredentialKind::Session,
            identity.principal.clone(),
            identity.home,
            "sign-in",
            admitted.now,
            self.settings.session_ttl,
        )?;
        let id = identity.principal.to_string();
        let user: Stored<User> = admitted.reach.read(&id).await?.ok_or_else(crate::authenticate::unauthenticated)?;
        // A password that was changed, or a person who was deactivated, while the password was being verified.
        if user.value.credentials_from > admitted.now {
            return Err(crate::authenticate::unauthenticated().into());
        }
        let mut changes = Changes::new();
        changes.create(&credential);
        if user.value.totp.as_ref().is_some_and(|totp| totp.confirmed) {
            // None where somebody else was faster with the same code, or the factor was set up meanwhile.
            let after = code.map(|code| self.after_code(&user.value, code, self.now())).transpose()?.flatten();
            let Some(after) = after else { return Err(crate::authenticate::unauthenticated().into()) };
            changes.replace(&after, user.version);
        } else {
            changes.expect::<User>(&id, user.version);
        }
        Ok(Outcome::changed(shown, changes))
    }
}

impl Handle<MeLogout> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &MeLogout) -> Result<Target, Refusal> {
        Ok(own(look))
    }

    async fn handle(&self, admitted: &Admitted<'_>, _: MeLogout) -> Result<Outcome<Gone>, Refusal> {
        let id = admitted.identity.credential.to_string();
        let stored: Stored<Credential> = self
            .store
            .snapshot(ids::Scope::from(admitted.identity.home))
            .read(&id)
            .await?
            .ok_or_else(|| Refusal::not_found("credential"))?;
        let mut changes = Changes::new();
        changes.replace(&Credential { revoked: true, ..stored.value.clone() }, stored.version);
        Ok(Outcome::changed(Gone { id }, changes).touching(&admitted.identity.principal))
    }
}

//! Tenants: make, look, change, suspend, resume, delete.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::identity::Identity;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    Etag, Gone, Page, Tag, TenantCreate, TenantDelete, TenantGet, TenantList, TenantResume, TenantState, TenantSuspend,
    TenantUpdate,
};
use ids::{Owner, TenantId, Text};
use policy::Selector;
use store::{Agent, AgentState, Changes, ServiceKey, Stored, Tenant, User, UserState};

pub(crate) fn wire(stored: Stored<Tenant>) -> Result<api::Tenant, Refusal> {
    let Stored { value, version, created_at, .. } = stored;
    let bug = |error: &dyn std::fmt::Display| Refusal::bug("a stored tenant is not well formed", error);
    Ok(api::Tenant {
        id: value.id,
        name: value.name.parse().map_err(|error| bug(&error))?,
        display_name: Text::truncated(&value.display_name),
        tags: value.tags.iter().map(|tag| tag.parse()).collect::<Result<_, _>>().map_err(|error| bug(&error))?,
        state: match value.state {
            store::TenantState::Active => TenantState::Active,
            store::TenantState::Suspended => TenantState::Suspended,
        },
        retro_hunt_days: value.retro_hunt_days,
        created_at,
        etag: Etag::of(version),
    })
}

async fn tenant_target(look: &Look<'_>, tenant: TenantId) -> Result<Target, Refusal> {
    let stored: Stored<Tenant> = look.one("tenant", &tenant.to_string()).await?;
    Ok(Target::tenant(tenant).named(stored.value.display_name))
}

/// The tenant as it will be after a replacement.
fn replaced(before: &Stored<Tenant>, value: Tenant, admitted: &Admitted<'_>) -> Stored<Tenant> {
    Stored { value, version: before.version.saturating_add(1), created_at: before.created_at, updated_at: admitted.now }
}

fn replace(before: &Stored<Tenant>, value: Tenant, admitted: &Admitted<'_>) -> Result<Outcome<api::Tenant>, Refusal> {
    let mut changes = Changes::new();
    changes.replace(&value, before.version);
    Ok(Outcome::changed(wire(replaced(before, value, admitted))?, changes).touching(&before.value.id))
}

fn tag_texts(tags: impl IntoIterator<Item = Tag>) -> Vec<String> {
    let mut texts: Vec<String> = tags.into_iter().map(|tag| tag.as_str().to_owned()).collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

impl Handle<TenantCreate> for Control {
    fn plain(&self, _: Owner, _: &Identity) -> Option<Target> {
        Some(Target::provider())
    }

    async fn resolve(&self, _: &Look<'_>, _: &TenantCreate) -> Result<Target, Refusal> {
        Ok(Target::provider())
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: TenantCreate) -> Result<Outcome<api::Tenant>, Refusal> {
        let display_name = input.display_name.map_or_else(|| input.name.to_string(), Text::into_string);
        let tenant = Tenant {
            id: TenantId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            name: input.name.to_string(),
            display_name,
            tags: tag_texts(input.tags),
            state: store::TenantState::Active,
            retro_hunt_days: None,
        };
        let mut changes = Changes::new();
        changes.create(&tenant).create(&self.keys.make(Owner::Tenant(tenant.id), self.entropy.as_ref()));
        let stored = Stored { value: tenant, version: 1, created_at: admitted.now, updated_at: admitted.now };
        Ok(Outcome::changed(wire(stored)?, changes))
    }
}

impl Handle<TenantGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &TenantGet) -> Result<Target, Refusal> {
        tenant_target(look, input.tenant).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: TenantGet) -> Result<Outcome<api::Tenant>, Refusal> {
        Ok(Outcome::answer(wire(admitted.one("tenant", &input.tenant.to_string()).await?)?))
    }
}

impl Handle<TenantList> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &TenantList) -> Result<Target, Refusal> {
        // A principal of one tenant lists what it can see: its own.
        Ok(Target { owner: look.identity.place(), ..Target::provider() })
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: TenantList) -> Result<Outcome<Page<api::Tenant>>, Refusal> {
        let selector = match input.selector.as_deref() {
            None => None,
            Some(text) => Some(Selector::parse(text).map_err(|why| Refusal::fault("/selector", why))?),
        };
        let owner = admitted.target.owner.tenant().map(Owner::Tenant);
        let Some(selector) = selector else {
            let page = admitted.page(owner, None, input.limit, input.cursor.as_ref(), wire).await?;
            return Ok(Outcome::answer(page));
        };
        let all = crate::decide::all::<Tenant>(&admitted.snapshot).await?;
        let fitting = all.into_iter().filter(|stored| selector.fits(&stored.value.tags.iter().cloned().collect()));
        let wired = fitting.map(|stored| Ok((stored.value.id.to_string(), wire(stored)?)));
        let wired = wired.collect::<Result<Vec<_>, Refusal>>()?;
        Ok(Outcome::answer(admitted.page_of(wired, input.limit, input.cursor.as_ref())?))
    }
}

impl Handle<TenantUpdate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &TenantUpdate) -> Result<Target, Refusal> {
        tenant_target(look, input.tenant).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: TenantUpdate) -> Result<Outcome<api::Tenant>, Refusal> {
        let before: Stored<Tenant> = admitted.one("tenant", &input.tenant.to_string()).await?;
        admitted.check_version(input.if_match, before.version)?;
        let mut tenant = before.value.clone();
        if let Some(name) = input.display_name {
            tenant.display_name = name.into_string();
        }
        if let Some(tags) = input.tags {
            tenant.tags = tag_texts(tags);
        }
        tenant.retro_hunt_days = input.retro_hunt_days.or(tenant.retro_hunt_days);
        replace(&before, tenant, admitted)
    }
}

impl Handle<TenantSuspend> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &TenantSuspend) -> Result<Target, Refusal> {
        tenant_target(look, input.tenant).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: TenantSuspend) -> Result<Outcome<api::Tenant>, Refusal> {
        let before: Stored<Tenant> = admitted.one("tenant", &input.tenant.to_string()).await?;
        let tenant = Tenant { state: store::TenantState::Suspended, ..before.value.clone() };
        replace(&before, tenant, admitted)
    }
}

impl Handle<TenantResume> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &TenantResume) -> Result<Target, Refusal> {
        tenant_target(look, input.tenant).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: TenantResume) -> Result<Outcome<api::Tenant>, Refusal> {
        let before: Stored<Tenant> = admitted.one("tenant", &input.tenant.to_string()).await?;
        let tenant = Tenant { state: store::TenantState::Active, ..before.value.clone() };
        replace(&before, tenant, admitted)
    }
}

impl Handle<TenantDelete> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &TenantDelete) -> Result<Target, Refusal> {
        tenant_target(look, input.tenant).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: TenantDelete) -> Result<Outcome<Gone>, Refusal> {
        let before: Stored<Tenant> = admitted.one("tenant", &input.tenant.to_string()).await?;
        admitted.check_version(input.if_match, before.version)?;
        if before.value.state != store::TenantState::Suspended {
            return Err(Refusal::conflict("the tenant is active; suspend it first"));
        }
        let users = crate::decide::all::<User>(&admitted.snapshot).await?;
        let keys = crate::decide::all::<ServiceKey>(&admitted.snapshot).await?;
        let agents = crate::decide::all::<Agent>(&admitted.snapshot).await?;
        let acting = users.iter().filter(|user| user.value.state == UserState::Active).count()
            + keys.iter().filter(|key| !key.value.revoked).count()
            + agents.iter().filter(|agent| agent.value.state != AgentState::Retired).count();
        if acting > 0 {
            let detail =
                format!("{acting} principals of the tenant could still act; deactivate, revoke or retire them first");
            return Err(Refusal::conflict(detail));
        }
        let mut changes = Changes::new();
        changes.delete::<Tenant>(&before.value.id.to_string(), Owner::Tenant(before.value.id), before.version);
        changes.enqueue(crate::purge::purge_job(before.value.id, admitted.now));
        Ok(Outcome::changed(Gone { id: before.value.id.to_string() }, changes).touching(&before.value.id))
    }
}

//! Roles, and who holds which where. Nobody can give what would let them govern more than they do.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::decide::{compile, role_spec};
use crate::outcome::{After, Outcome};
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    Effect, Etag, Gone, OperationPattern, Page, Problem, ProblemKind, RoleAssign, RoleCreate, RoleDelete, RoleGet,
    RoleList, RoleRef, RoleUnassign, RoleUpdate,
};
use ids::{AssignmentId, List, Owner, Principal, RoleId, Text, Timestamp};
use policy::Authority;
use policy::Selector;
use store::{Agent, Assignment, Changes, Role, ServiceKey, Stored, User};

pub(crate) fn wire(stored: Stored<Role>) -> Result<api::Role, Refusal> {
    let Stored { value, version, .. } = stored;
    let read = |pattern: &String| serde_json::from_value::<OperationPattern>(pattern.as_str().into());
    let operations = value.operations.iter().map(read).collect::<Result<_, _>>();
    Ok(api::Role {
        role: value.id.to_string(),
        tenant: value.tenant,
        name: Text::truncated(&value.name),
        description: Text::truncated(&value.description),
        operations: operations.map_err(|error| Refusal::bug("a stored role is not well formed", &error))?,
        effects: effects_of(&value.effects),
        principals: value.principals,
        shipped: false,
        etag: Some(Etag::of(version)),
    })
}

fn effects_of(words: &[String]) -> Vec<Effect> {
    [Effect::Govern, Effect::Read, Effect::Respond, Effect::Write]
        .into_iter()
        .filter(|effect| words.is_empty() || words.iter().any(|word| word == effect.as_str()))
        .collect()
}

fn shipped_wire(role: &policy::shipped::ShippedRole) -> api::Role {
    api::Role {
        role: role.id.to_owned(),
        tenant: None,
        name: Text::truncated(role.id),
        description: Text::truncated(role.summary),
        operations: Vec::new(),
        effects: Vec::new(),
        principals: role.principals.to_vec(),
        shipped: true,
        etag: None,
    }
}

/// The assignment of a role in a place; its id is derived, so holding a role twice is holding it once.
pub(crate) fn role_key(principal: Principal, role: &str, place: Owner, selector: Option<String>) -> Assignment {
    let parts = [principal.to_string(), role.to_owned(), place.to_string(), selector.clone().unwrap_or_default()];
    let id =
        AssignmentId::derive(&[parts[0].as_bytes(), parts[1].as_bytes(), parts[2].as_bytes(), parts[3].as_bytes()]);
    Assignment { id, principal, role: role.to_owned(), tenant: place.tenant(), selector }
}

pub(crate) fn assignment_wire(assignment: &Assignment, created_at: Timestamp) -> api::Assignment {
    api::Assignment {
        id: assignment.id,
        principal: assignment.principal.clone(),
        role: assignment.role.clone(),
        tenant: assignment.tenant,
        selector: assignment.selector.as_ref().map(|text| Text::truncated(text)),
        created_at,
    }
}

/// That this role may be held by this principal in this place, and given by this caller.
pub(crate) async fn check_grant(
    control: &Control,
    admitted: &Admitted<'_>,
    principal: &Principal,
    home: Owner,
    role: &RoleRef,
    place: Owner,
    pointer: &str,
) -> Result<(), Refusal> {
    if let (Owner::Tenant(_), true) = (home, home != place) {
        return Err(Refusal::fault(
            "/tenant",
            "is not the principal's own; a principal of one tenant holds roles there only",
        ));
    }
    let principals = match role {
        RoleRef::Name(name) => {
            let Some(shipped) = policy::shipped::ROLES.iter().find(|shipped| shipped.id == name) else {
                return Err(Refusal::fault(pointer, "is not a shipped role; see `role.list`"));
            };
            if shipped.id == "provider_admin" && place != Owner::Provider {
                return Err(Refusal::fault(pointer, "is held at the provider only; use `tenant_admin` in a tenant"));
            }
            shipped.principals.to_vec()
        }
        RoleRef::Id(id) => {
            let stored: Option<Stored<Role>> =
                control.store.snapshot(ids::Scope::Provider).read(&id.to_string()).await?;
            let usable =
                |stored: &Stored<Role>| stored.value.tenant.is_none_or(|tenant| Owner::Tenant(tenant) == place);
            let Some(role) = stored.filter(usable) else {
                return Err(Refusal::fault(pointer, "is not a role that can be held here; see `role.list`"));
            };
            check_governing(control, admitted, &role.value, pointer).await?;
            role_spec(&role.value).principals
        }
    };
    if principals.contains(&principal.kind()) {
        Ok(())
    } else {
        let kinds: Vec<&str> = principals.iter().map(|kind| kind.as_str()).collect();
        Err(Refusal::fault(pointer, format!("is a role for principals of kind {}", kinds.join(", "))))
    }
}

/// A role that lets somebody govern can be made or given only by somebody who could do the same here.
async fn check_governing(
    control: &Control,
    admitted: &Admitted<'_>,
    role: &Role,
    pointer: &str,
) -> Result<(), Refusal> {
    let effects = effects_of(&role.effects);
    for spec in control.registry.specs() {
        let named = role
            .operations
            .iter()
            .any(|pattern| pattern == spec.meta.id || pattern.strip_suffix(".*") == Some(spec.meta.family()));
        if !named || spec.meta.effect != Effect::Govern || !effects.contains(&Effect::Govern) {
            continue;
        }
        let (decision, _) = control.cell(admitted.identity, spec, admitted.target.owner, admitted.face).await?;
        if matches!(decision.authority(), Authority::Denied | Authority::HumanOnly) {
            let detail = format!("the role would allow `{}`, which you may not do here yourself", spec.meta.id);
            let fault = api::Fault { pointer: pointer.to_owned(), detail: detail.clone() };
            return Err(Problem { errors: vec![fault], ..Problem::new(ProblemKind::Denied, detail) }.into());
        }
    }
    Ok(())
}

/// That the whole policy set still compiles with this role in it.
fn check_compiles(control: &Control, role: &Role) -> Result<(), Refusal> {
    let spec = role_spec(role);
    let tenant = role.tenant.map(|tenant| tenant.to_string());
    let document = policy::role_document(&spec, 1, tenant.as_deref())
        .map_err(|error| Refusal::fault("/operations", error.to_string()))?;
    for pattern in &role.operations {
        let known = match pattern.strip_suffix(".*") {
            Some(family) => control.registry.specs().iter().any(|spec| spec.meta.family() == family),
            None => control.registry.spec(pattern).is_some(),
        };
        if !known {
            return Err(Refusal::fault(
                "/operations",
                format!("names `{pattern}`, which is no operation; see `operation.list`"),
            ));
        }
    }
    let mut documents = control.policies.load().documents.clone();
    documents.retain(|other| other.name != document.name);
    documents.push(document);
    compile(control.registry.specs(), documents).map_err(|problem| Refusal::fault("/operations", problem.detail))?;
    Ok(())
}

async fn role_target(look: &Look<'_>, role: RoleId) -> Result<Target, Refusal> {
    let stored: Stored<Role> = look.one("role", &role.to_string()).await?;
    Ok(Target::new("Role", role.to_string(), stored.value.tenant.into()).named(stored.value.name))
}

impl Handle<RoleCreate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RoleCreate) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RoleCreate) -> Result<Outcome<api::Role>, Refusal> {
        let role = Role {
            id: RoleId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            tenant: admitted.target.owner.tenant(),
            name: input.name.to_string(),
            description: input.description.into_string(),
            operations: patterns(&input.operations),
            effects: input.effects.iter().map(|effect| effect.as_str().to_owned()).collect(),
            principals: input.principals.into_vec(),
        };
        check_compiles(self, &role)?;
        check_governing(self, admitted, &role, "/operations").await?;
        let mut changes = Changes::new();
        changes.create(&role);
        let stored = Stored { value: role, version: 1, created_at: admitted.now, updated_at: admitted.now };
        Ok(Outcome::changed(wire(stored)?, changes).then(After::Policies))
    }
}

fn patterns<const MAX: usize>(operations: &List<OperationPattern, MAX>) -> Vec<String> {
    operations.iter().map(|pattern| pattern.as_str().to_owned()).collect()
}

impl Handle<RoleGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RoleGet) -> Result<Target, Refusal> {
        role_target(look, input.role).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RoleGet) -> Result<Outcome<api::Role>, Refusal> {
        Ok(Outcome::answer(wire(admitted.one("role", &input.role.to_string()).await?)?))
    }
}

impl Handle<RoleList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RoleList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RoleList) -> Result<Outcome<Page<api::Role>>, Refusal> {
        let place = admitted.target.owner;
        let shipped = policy::shipped::ROLES.iter().map(|role| (format!(" {}", role.id), shipped_wire(role)));
        let mut all: Vec<(String, api::Role)> = shipped.collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        // The provider's roles can be held in every tenant, so they are shown there too.
        let stored = crate::decide::all::<Role>(&self.store.snapshot(ids::Scope::Provider)).await?;
        for role in stored {
            if role.value.tenant.is_none() || Owner::from(role.value.tenant) == place {
                all.push((role.value.id.to_string(), wire(role)?));
            }
        }
        Ok(Outcome::answer(admitted.page_of(all, input.limit, input.cursor.as_ref())?))
    }
}

impl Handle<RoleUpdate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RoleUpdate) -> Result<Target, Refusal> {
        role_target(look, input.role).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RoleUpdate) -> Result<Outcome<api::Role>, Refusal> {
        let before: Stored<Role> = admitted.one("role", &input.role.to_string()).await?;
        admitted.check_version(input.if_match, before.version)?;
        let mut role = before.value.clone();
        if let Some(description) = input.description {
            role.description = description.into_string();
        }
        if let Some(operations) = &input.operations {
            role.operations = patterns(operations);
        }
        if let Some(effects) = &input.effects {
            role.effects = effects.iter().map(|effect| effect.as_str().to_owned()).collect();
        }
        check_compiles(self, &role)?;
        check_governing(self, admitted, &role, "/operations").await?;
        let mut changes = Changes::new();
        changes.replace(&role, before.version);
        let version = before.version.saturating_add(1);
        let stored = Stored { value: role, version, created_at: before.created_at, updated_at: admitted.now };
        Ok(Outcome::changed(wire(stored)?, changes).then(After::Policies))
    }
}

impl Handle<RoleDelete> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RoleDelete) -> Result<Target, Refusal> {
        role_target(look, input.role).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RoleDelete) -> Result<Outcome<Gone>, Refusal> {
        let before: Stored<Role> = admitted.one("role", &input.role.to_string()).await?;
        admitted.check_version(input.if_match, before.version)?;
        let id = input.role.to_string();
        let held = self.store.snapshot(ids::Scope::Provider).find::<Assignment>("role", &id).await?;
        if !held.is_empty() {
            return Err(Refusal::conflict(format!("{} principals hold the role; unassign it first", held.len())));
        }
        let mut changes = Changes::new();
        changes.delete::<Role>(&id, before.value.tenant.into(), before.version);
        Ok(Outcome::changed(Gone { id }, changes).then(After::Policies))
    }
}

/// Where a principal belongs; not found where the caller cannot reach it.
async fn home_of(reach: &store::Snapshot, principal: &Principal) -> Result<Option<Owner>, Refusal> {
    let id = principal.to_string();
    Ok(match principal {
        Principal::User(_) => reach.read::<User>(&id).await?.map(|one| one.value.tenant.into()),
        Principal::Agent(_) => reach.read::<Agent>(&id).await?.map(|one| one.value.tenant.into()),
        Principal::Service(_) => reach.read::<ServiceKey>(&id).await?.map(|one| one.value.tenant.into()),
        Principal::Rule(_) | Principal::Sensor(_) | Principal::System(_) => None,
    })
}

impl Handle<RoleAssign> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RoleAssign) -> Result<Target, Refusal> {
        let place = look.place(input.tenant).await?;
        Ok(Target::place(place).granting([input.role.to_string()]))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RoleAssign) -> Result<Outcome<api::Assignment>, Refusal> {
        let place = admitted.target.owner;
        let selector = input.selector.map(Text::into_string);
        if let Some(text) = &selector {
            if place != Owner::Provider {
                return Err(Refusal::fault(
                    "/selector",
                    "goes with a role held at the provider; leave out `tenant` or `selector`",
                ));
            }
            Selector::parse(text).map_err(|why| Refusal::fault("/selector", why))?;
        }
        let Some(home) = home_of(admitted.reach, &input.principal).await? else {
            return Err(Refusal::fault("/principal", "names no user, agent or service key that you may know of"));
        };
        check_grant(self, admitted, &input.principal, home, &input.role, place, "/role").await?;
        let assignment = role_key(input.principal, &input.role.to_string(), place, selector);
        let held: Option<Stored<Assignment>> = admitted.reach.read(&assignment.id.to_string()).await?;
        let mut changes = Changes::new();
        let created_at = match held {
            Some(held) => held.created_at,
            None => {
                changes.create(&assignment);
                admitted.now
            }
        };
        let holder = assignment.principal.clone();
        Ok(Outcome::changed(assignment_wire(&assignment, created_at), changes).touching(&holder))
    }
}

impl Handle<RoleUnassign> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RoleUnassign) -> Result<Target, Refusal> {
        let stored: Stored<Assignment> = look.one("assignment", &input.assignment.to_string()).await?;
        Ok(Target::new("Assignment", input.assignment.to_string(), stored.value.tenant.into()).named(stored.value.role))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RoleUnassign) -> Result<Outcome<Gone>, Refusal> {
        let stored: Stored<Assignment> = admitted.one("assignment", &input.assignment.to_string()).await?;
        let id = input.assignment.to_string();
        if stored.value.role == "provider_admin" {
            let admins = self.store.snapshot(ids::Scope::Provider).find::<Assignment>("role", "provider_admin").await?;
            let others = admins.iter().filter(|one| one.value.principal != stored.value.principal);
            if others.filter(|one| matches!(one.value.principal, Principal::User(_))).count() == 0 {
                return Err(Refusal::conflict("this is the last provider admin; make another one first"));
            }
        }
        let mut changes = Changes::new();
        changes.delete::<Assignment>(&id, stored.value.tenant.into(), stored.version);
        Ok(Outcome::changed(Gone { id }, changes).touching(&stored.value.principal))
    }
}

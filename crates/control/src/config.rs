//! What is declared in a place, read whole: what configuration files are compared with. Reads only; what a file asks for
//! is done by the ordinary operations, one by one.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{ConfigGet, Declared, DeclaredAgent, DeclaredPlace, DeclaredPolicy, PackAssignment};
use ids::{List, Owner, Scope, Text};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use store::{
    Agent, AgentDefinition, Assignment, Grant, Page, Policy, PolicyVersion, Resource, Retention, Role, RuleException,
    RulePackAssignment, Snapshot, Source, Stored, Tenant, User,
};

/// Documents of a kind, by owner.
async fn by_owner<R: Resource>(
    snapshot: &Snapshot,
    only: Option<Owner>,
) -> Result<HashMap<Owner, Vec<Stored<R>>>, Refusal> {
    let mut found: HashMap<Owner, Vec<Stored<R>>> = HashMap::new();
    let mut after: Option<String> = None;
    loop {
        let page = Page { owner: only, after: after.take(), limit: 1000, ..Page::default() };
        let documents: Vec<Stored<R>> = snapshot.list(&page).await?;
        let whole = documents.len() >= 1000;
        after = documents.last().map(|last| last.value.id());
        for document in documents {
            found.entry(document.value.owner()).or_default().push(document);
        }
        if !whole {
            return Ok(found);
        }
    }
}

fn mapped<R, T>(
    from: &mut HashMap<Owner, Vec<Stored<R>>>,
    place: Owner,
    wire: impl Fn(Stored<R>) -> Result<T, Refusal>,
) -> Result<Vec<T>, Refusal> {
    from.remove(&place).unwrap_or_default().into_iter().map(wire).collect()
}

fn pack(stored: Stored<RulePackAssignment>) -> Result<PackAssignment, Refusal> {
    let RulePackAssignment { pack, tenant, on, off } = stored.value;
    let off = List::new(off.iter().map(|id| Text::truncated(id)).collect());
    let off = off.map_err(|error| Refusal::bug("a stored assignment of a pack is not well formed", &error))?;
    Ok(PackAssignment { pack, tenant, on, off })
}

/// The policy documents in their newest versions.
async fn policies(snapshot: &Snapshot) -> Result<Vec<DeclaredPolicy>, Refusal> {
    let mut all = Vec::new();
    for head in crate::decide::all::<Policy>(snapshot).await? {
        let key = PolicyVersion::key(head.value.id, head.value.newest);
        let version: Option<Stored<PolicyVersion>> = snapshot.read(&key).await?;
        let Some(version) = version else { continue };
        let tests = crate::policies::test_cases(&version.value.tests)?;
        all.push(DeclaredPolicy { policy: crate::policies::wire(&head, &version.value)?, tests });
    }
    Ok(all)
}

/// Everything of a scope, by place.
struct Everything {
    retention: HashMap<Owner, Vec<Stored<Retention>>>,
    sources: HashMap<Owner, Vec<Stored<Source>>>,
    users: HashMap<Owner, Vec<Stored<User>>>,
    agents: HashMap<Owner, Vec<Stored<Agent>>>,
    definitions: BTreeMap<String, String>,
    roles: HashMap<Owner, Vec<Stored<Role>>>,
    assignments: HashMap<Owner, Vec<Stored<Assignment>>>,
    packs: HashMap<Owner, Vec<Stored<RulePackAssignment>>>,
    exceptions: HashMap<Owner, Vec<Stored<RuleException>>>,
}

impl Everything {
    async fn read(snapshot: &Snapshot, only: Option<Owner>) -> Result<Self, Refusal> {
        let definitions: HashMap<Owner, Vec<Stored<AgentDefinition>>> = by_owner(snapshot, only).await?;
        let definitions = definitions.into_values().flatten();
        // An agent that a person lent to is theirs, and ends by itself: nobody declares it.
        let grants: HashMap<Owner, Vec<Stored<Grant>>> = by_owner(snapshot, only).await?;
        let lent: BTreeSet<String> = grants.into_values().flatten().map(|one| one.value.agent.to_string()).collect();
        let mut agents: HashMap<Owner, Vec<Stored<Agent>>> = by_owner(snapshot, only).await?;
        agents.values_mut().for_each(|agents| agents.retain(|one| !lent.contains(&one.value.id.to_string())));
        Ok(Self {
            retention: by_owner(snapshot, only).await?,
            sources: by_owner(snapshot, only).await?,
            users: by_owner(snapshot, only).await?,
            agents,
            definitions: definitions.map(|one| (one.value.agent.to_string(), one.value.text)).collect(),
            roles: by_owner(snapshot, only).await?,
            assignments: by_owner(snapshot, only).await?,
            packs: by_owner(snapshot, only).await?,
            exceptions: by_owner(snapshot, only).await?,
        })
    }

    fn place(&mut self, place: Owner, tenant: Option<api::Tenant>) -> Result<DeclaredPlace, Refusal> {
        let definitions = &mut self.definitions;
        let agents = self.agents.remove(&place).unwrap_or_default().into_iter().map(|stored| {
            let definition = definitions.remove(&stored.value.id.to_string());
            let agent = crate::agent::wire(stored)?;
            Ok(DeclaredAgent { agent, definition: definition.map(|text| Text::truncated(&text)) })
        });
        Ok(DeclaredPlace {
            tenant,
            agents: agents.collect::<Result<_, Refusal>>()?,
            retention: mapped(&mut self.retention, place, |stored| {
                crate::lake::wire(&stored.value, Some(stored.version))
            })?
            .pop(),
            sources: mapped(&mut self.sources, place, crate::source::wire)?,
            users: mapped(&mut self.users, place, crate::user::wire)?,
            roles: mapped(&mut self.roles, place, crate::role::wire)?,
            assignments: mapped(&mut self.assignments, place, |stored| {
                Ok(crate::role::assignment_wire(&stored.value, stored.created_at))
            })?,
            packs: mapped(&mut self.packs, place, pack)?,
            exceptions: mapped(&mut self.exceptions, place, crate::rule_exception::wire)?,
            policies: Vec::new(),
        })
    }
}

impl Handle<ConfigGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ConfigGet) -> Result<Target, Refusal> {
        if input.tenants.is_empty() {
            return Ok(Target::place(look.place(None).await?));
        }
        look.asked(None, Some(&input.tenants)).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, _: ConfigGet) -> Result<Outcome<Declared>, Refusal> {
        if admitted.target.owner == Owner::Provider {
            let snapshot = self.store.snapshot(Scope::Provider);
            let mut place = Everything::read(&snapshot, Some(Owner::Provider)).await?.place(Owner::Provider, None)?;
            place.policies = policies(&snapshot).await?;
            return Ok(Outcome::answer(Declared { at: admitted.now, items: vec![place] }));
        }
        let snapshot = self.store.snapshot(admitted.scope());
        let mut everything = Everything::read(&snapshot, None).await?;
        let mut items = Vec::new();
        for tenant in crate::decide::all::<Tenant>(&snapshot).await? {
            let place = Owner::Tenant(tenant.value.id);
            items.push(everything.place(place, Some(crate::tenant::wire(tenant)?))?);
        }
        Ok(Outcome::answer(Declared { at: admitted.now, items }))
    }
}

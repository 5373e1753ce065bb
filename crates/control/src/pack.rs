//! Packs of rules: made, filled by import, and run in tenants. The shipped pack is part of the program and is not stored.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::rule_live::{shipped_id, shipped_pack};
use crate::rule_text::RuleText;
use crate::target::Target;
use api::{Etag, PackAssign, PackContent, PackCreate, PackGet, PackList, PackOrigin, PackRule, PackUnassign, Page};
use ids::{List, Owner, RulePackId, Severity, TenantId, Text};
use seal::Digest;
use store::{Changes, RulePack, RulePackAssignment, RulePackRule, Snapshot, Stored};

/// The shipped pack's name.
const SHIPPED: &str = "posse";

fn shipped_wire(tenants: u32) -> Result<api::Pack, Refusal> {
    let pack = shipped_pack();
    Ok(api::Pack {
        id: shipped_id(),
        tenant: None,
        name: SHIPPED.parse().map_err(|error| Refusal::bug("the shipped pack's name", &error))?,
        description: Text::truncated("rules that ship with the platform"),
        origin: PackOrigin::Shipped,
        rules: u32::try_from(pack.rules.len()).unwrap_or(u32::MAX),
        digest: Text::truncated(&pack.digest),
        tenants,
        etag: None,
    })
}

fn wire(stored: &Stored<RulePack>, tenants: u32) -> Result<api::Pack, Refusal> {
    let pack = &stored.value;
    Ok(api::Pack {
        id: pack.id,
        tenant: pack.tenant,
        name: pack.name.parse().map_err(|error| Refusal::bug("a stored pack is not well formed", &error))?,
        description: Text::truncated(&pack.description),
        origin: match (pack.imported, pack.tenant) {
            (true, _) => PackOrigin::Imported,
            (false, None) => PackOrigin::Provider,
            (false, Some(_)) => PackOrigin::Tenant,
        },
        rules: pack.rules,
        digest: Text::truncated(&pack.digest),
        tenants,
        etag: Some(Etag::of(stored.version)),
    })
}

/// In how many tenants within the caller's reach a pack is assigned; the shipped one also runs where nothing is said.
async fn tenants_of(reach: &Snapshot, pack: RulePackId) -> Result<u32, Refusal> {
    let assigned = reach.find::<RulePackAssignment>("pack", &pack.to_string()).await?;
    let said = |on: bool| assigned.iter().filter(|one| one.value.on == on).count();
    let count = if pack == shipped_id() {
        let tenants = crate::decide::all::<store::Tenant>(reach).await?.len();
        tenants.saturating_sub(said(false))
    } else {
        said(true)
    };
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// That a caller may switch a pack in a tenant: the shipped one, one within the caller's reach that is the tenant's own or
/// the provider's, or one that runs there by somebody else's word.
async fn check_usable(look: &Look<'_>, pack: RulePackId, tenant: TenantId) -> Result<(), Refusal> {
    look.tenant(tenant).await?;
    if pack == shipped_id() {
        return Ok(());
    }
    let assigned: Option<Stored<RulePackAssignment>> =
        look.snapshot.read(&RulePackAssignment::key(pack, tenant)).await?;
    let stored: Option<Stored<RulePack>> = look.snapshot.read(&pack.to_string()).await?;
    let fits = stored.is_some_and(|stored| stored.value.tenant.is_none_or(|owner| owner == tenant));
    if fits || assigned.is_some() { Ok(()) } else { Err(Refusal::not_found("pack")) }
}

impl Handle<PackCreate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &PackCreate) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: PackCreate) -> Result<Outcome<api::Pack>, Refusal> {
        if input.name.as_str() == SHIPPED {
            return Err(Refusal::fault("/name", "is the name of the pack that ships; choose another"));
        }
        let pack = RulePack {
            id: RulePackId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            tenant: admitted.target.owner.tenant(),
            name: input.name.to_string(),
            description: input.description.into_string(),
            imported: input.imported,
            rules: 0,
            digest: Digest::framed("posse-rule-pack-v1", &[]).to_hex(),
        };
        let mut changes = Changes::new();
        changes.create(&pack);
        let stored = Stored { value: pack, version: 1, created_at: admitted.now, updated_at: admitted.now };
        Ok(Outcome::changed(wire(&stored, 0)?, changes))
    }
}

impl Handle<PackGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &PackGet) -> Result<Target, Refusal> {
        let id = input.pack.to_string();
        if input.pack == shipped_id() {
            return Ok(Target::new("Pack", id, look.place(None).await?).named(SHIPPED));
        }
        let stored: Stored<RulePack> = look.one("pack", &id).await?;
        Ok(Target::new("Pack", id, stored.value.tenant.into()).named(stored.value.name))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: PackGet) -> Result<Outcome<PackContent>, Refusal> {
        let tenants = tenants_of(admitted.reach, input.pack).await?;
        if input.pack == shipped_id() {
            let rules = shipped_pack();
            let rules = rules.rules.iter().filter_map(|rule| {
                let text = RuleText::read(&rule.name, &rule.text).ok()?;
                let told = pack_rule(&text.sigma_id, &text.title, text.level);
                Some((rule.name.clone(), told))
            });
            let page = admitted.page_of(rules, input.limit, input.cursor.as_ref())?;
            let content =
                PackContent { pack: shipped_wire(tenants)?, items: page.items, next_cursor: page.next_cursor };
            return Ok(Outcome::answer(content));
        }
        let stored: Stored<RulePack> = admitted.one("pack", &input.pack.to_string()).await?;
        let told = |rule: Stored<RulePackRule>| {
            Ok(pack_rule(&rule.value.sigma_id, &rule.value.title, level_of(rule.value.level)))
        };
        let key = Some(("pack", input.pack.to_string()));
        let page = admitted.page(None, key, input.limit, input.cursor.as_ref(), told).await?;
        let content = PackContent { pack: wire(&stored, tenants)?, items: page.items, next_cursor: page.next_cursor };
        Ok(Outcome::answer(content))
    }
}

fn pack_rule(sigma_id: &str, title: &str, level: Severity) -> PackRule {
    PackRule { sigma_id: Text::truncated(sigma_id), title: Text::truncated(title), level }
}

const fn level_of(number: u8) -> Severity {
    match number {
        1 => Severity::Informational,
        2 => Severity::Low,
        3 => Severity::Medium,
        4 => Severity::High,
        5 => Severity::Critical,
        6 => Severity::Fatal,
        _ => Severity::Unknown,
    }
}

impl Handle<PackList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &PackList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: PackList) -> Result<Outcome<Page<api::Pack>>, Refusal> {
        let place = admitted.target.owner;
        let shipped = tenants_of(admitted.reach, shipped_id()).await?;
        let mut items = vec![(String::new(), shipped_wire(shipped)?)];
        let assigned = crate::decide::all::<RulePackAssignment>(&admitted.snapshot).await?;
        // A pack of the provider that was assigned to the tenant is shown there too.
        for stored in crate::decide::all::<RulePack>(&self.store.snapshot(ids::Scope::Provider)).await? {
            let here = assigned.iter().any(|one| one.value.pack == stored.value.id);
            if Owner::from(stored.value.tenant) == place || here && stored.value.tenant.is_none() {
                let tenants = tenants_of(admitted.reach, stored.value.id).await?;
                items.push((stored.value.id.to_string(), wire(&stored, tenants)?));
            }
        }
        Ok(Outcome::answer(admitted.page_of(items, input.limit, input.cursor.as_ref())?))
    }
}

/// How a tenant shall run a pack from now on.
async fn assign(admitted: &Admitted<'_>, wanted: RulePackAssignment) -> Result<Outcome<api::PackAssignment>, Refusal> {
    let key = RulePackAssignment::key(wanted.pack, wanted.tenant);
    let before: Option<Stored<RulePackAssignment>> = admitted.snapshot.read(&key).await?;
    let mut changes = Changes::new();
    match before {
        Some(before) if before.value.on == wanted.on && before.value.off == wanted.off => {}
        Some(before) => drop(changes.replace(&wanted, before.version)),
        None => drop(changes.create(&wanted)),
    }
    let off = wanted.off.iter().map(|id| Text::truncated(id)).collect();
    let off = List::new(off).map_err(|error| Refusal::bug("a stored assignment is not well formed", &error))?;
    let told = api::PackAssignment { pack: wanted.pack, tenant: wanted.tenant, on: wanted.on, off };
    Ok(Outcome::changed(told, changes))
}

impl Handle<PackAssign> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &PackAssign) -> Result<Target, Refusal> {
        check_usable(look, input.pack, input.tenant).await?;
        Ok(Target::tenant(input.tenant))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: PackAssign,
    ) -> Result<Outcome<api::PackAssignment>, Refusal> {
        let mut off: Vec<String> = input.off.into_iter().map(Text::into_string).collect();
        off.sort_unstable();
        off.dedup();
        assign(admitted, RulePackAssignment { pack: input.pack, tenant: input.tenant, on: true, off }).await
    }
}

impl Handle<PackUnassign> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &PackUnassign) -> Result<Target, Refusal> {
        check_usable(look, input.pack, input.tenant).await?;
        Ok(Target::tenant(input.tenant))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: PackUnassign,
    ) -> Result<Outcome<api::PackAssignment>, Refusal> {
        let (pack, tenant) = (input.pack, input.tenant);
        assign(admitted, RulePackAssignment { pack, tenant, on: false, off: Vec::new() }).await
    }
}

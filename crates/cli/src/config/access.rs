//! What a plan does to access: the cells of the permission matrix before and after, for everybody who holds a role, decided
//! here by the same engine that the gate uses. Nothing is asked of the platform, because what is planned is not there yet.
//!
//! A cell is about a target with nothing special about it, as in `policy.matrix`. The agents' autonomy and what ships
//! beside the documents (the small install's `self_approval`) are taken as unchanged.

use super::observed::Observed;
use super::plan::{Change, Plan};
use super::thing::{Fields, Key, Kind};
use crate::policy_check::compiled;
use api::Spec;
use ids::{Principal, PrincipalKind};
use policy::{
    Authority, ContextFacts, Document, Effect, Engine, PrincipalFacts, Request, ResourceFacts, RoleSpec, Selector,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A word for each operation, in the order of the register.
type Row = Arc<Vec<&'static str>>;

/// Cells that change in the same way for one principal.
#[derive(Debug)]
pub(crate) struct Shift {
    pub(crate) principal: String,
    /// Where: names of tenants, or `provider`.
    pub(crate) places: Vec<String>,
    /// Operation, before, after.
    pub(crate) cells: Vec<(&'static str, &'static str, &'static str)>,
}

/// A role that somebody holds.
struct Held {
    role: String,
    place: Option<String>,
    selector: Option<Option<Selector>>,
}

/// Somebody who holds a role.
struct Holder {
    kind: PrincipalKind,
    /// The tenant that they belong to.
    home: Option<String>,
    held: Vec<Held>,
}

/// One state of the world, as far as access depends on it.
struct World {
    engine: Engine,
    texts: String,
    /// Tags and the id by tenant; suspended ones are not there, because nobody acts in them.
    tenants: BTreeMap<String, (String, BTreeSet<String>)>,
    holders: BTreeMap<String, Holder>,
    rows: HashMap<String, Row>,
}

/// What changes, principal by principal; the places that change alike are told together.
pub(crate) fn shifts(specs: &[Spec], observed: &Observed, plan: &Plan) -> Result<Vec<Shift>, String> {
    let before: BTreeMap<Key, Fields> = observed
        .things
        .iter()
        .filter(|(_, seen)| !seen.ended)
        .map(|(key, seen)| (key.clone(), seen.fields.clone()))
        .collect();
    let after = planned(&before, plan);
    let mut one = World::of(specs, &before, observed)?;
    let mut other = World::of(specs, &after, observed)?;
    let people: BTreeSet<String> = one.holders.keys().chain(other.holders.keys()).cloned().collect();
    let mut places: BTreeSet<Option<String>> =
        one.tenants.keys().chain(other.tenants.keys()).cloned().map(Some).collect();
    places.insert(None);
    let denied: Row = Arc::new(vec!["denied"; specs.len()]);
    let mut all = Vec::new();
    for person in people {
        let mut alike: BTreeMap<Vec<(usize, &'static str, &'static str)>, Vec<String>> = BTreeMap::new();
        for place in &places {
            let was = one.row(specs, &person, place.as_deref()).unwrap_or_else(|| denied.clone());
            let is = other.row(specs, &person, place.as_deref()).unwrap_or_else(|| denied.clone());
            if Arc::ptr_eq(&was, &is) {
                continue;
            }
            let cells = was.iter().zip(is.iter()).enumerate().filter(|(_, (was, is))| was != is);
            let cells: Vec<_> = cells.map(|(index, (was, is))| (index, *was, *is)).collect();
            if !cells.is_empty() {
                alike.entry(cells).or_default().push(place.clone().unwrap_or_else(|| "provider".to_owned()));
            }
        }
        for (cells, places) in alike {
            let named =
                |(index, was, is): (usize, &'static str, &'static str)| Some((specs.get(index)?.meta.id, was, is));
            let cells = cells.into_iter().filter_map(named).collect();
            all.push(Shift { principal: person.clone(), places, cells });
        }
    }
    Ok(all)
}

/// The things as they will be.
fn planned(before: &BTreeMap<Key, Fields>, plan: &Plan) -> BTreeMap<Key, Fields> {
    let mut after = before.clone();
    for step in &plan.steps {
        match step.change {
            Change::Create => {
                after.insert(step.key.clone(), step.wanted.clone());
            }
            Change::Alter => {
                let fields = after.entry(step.key.clone()).or_default();
                fields.extend(step.differences.iter().map(|one| (one.field.clone(), one.after.clone())));
            }
            Change::Delete => {
                after.remove(&step.key);
                if step.key.kind == Kind::Tenant {
                    after.retain(|key, _| key.place != step.key.place);
                }
            }
        }
    }
    after
}

fn texts(fields: &Fields, name: &str) -> BTreeSet<String> {
    let items = fields.get(name).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn text(fields: &Fields, name: &str) -> String {
    fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn flag(fields: &Fields, name: &str) -> bool {
    fields.get(name) == Some(&Value::Bool(true))
}

impl World {
    fn of(specs: &[Spec], things: &BTreeMap<Key, Fields>, observed: &Observed) -> Result<Self, String> {
        let id = |key: &Key| observed.things.get(key).map(|seen| seen.id.clone());
        let mut tenants = BTreeMap::new();
        let mut documents = policy::shipped::documents();
        let (mut roles, mut installed) = (HashMap::new(), String::new());
        for (index, (key, fields)) in things.iter().enumerate() {
            match key.kind {
                Kind::Tenant if !flag(fields, "suspended") => {
                    let tenant = id(key).unwrap_or_else(|| key.name.clone());
                    tenants.insert(key.name.clone(), (tenant, texts(fields, "tags")));
                }
                Kind::Role => {
                    let role = id(key).unwrap_or_else(|| format!("role-{index}"));
                    let tenant = key
                        .place
                        .as_deref()
                        .map(|name| id(&Key::new(Some(name), Kind::Tenant, name)).unwrap_or_else(|| name.to_owned()));
                    let document = policy::role_document(&role_spec(&role, key, fields), 1, tenant.as_deref());
                    documents.push(document.map_err(|error| format!("{key}: {error}"))?);
                    roles.insert((key.place.clone(), key.name.clone()), role);
                }
                Kind::Policy if flag(fields, "active") && !flag(fields, "retired") => {
                    let text = text(fields, "text");
                    installed.push_str(&text);
                    let (id, name) = (key.name.clone(), key.name.clone());
                    documents.push(Document { id, name, version: 1, text, tenant: None });
                }
                _ => {}
            }
        }
        let engine = compiled(specs, &documents)?.map_err(|faults| {
            let told: Vec<String> = faults
                .iter()
                .take(10)
                .map(|fault| format!("{}:{}:{}: {}", fault.document, fault.line, fault.column, fault.why))
                .collect();
            format!("the policies would not compile: {}", told.join("; "))
        })?;
        let mut world = Self { engine, texts: installed, tenants, holders: BTreeMap::new(), rows: HashMap::new() };
        for (key, fields) in things.iter().filter(|(key, _)| key.kind == Kind::Assignment) {
            world.hold(things, &roles, key, fields);
        }
        Ok(world)
    }

    fn hold(
        &mut self,
        things: &BTreeMap<Key, Fields>,
        roles: &HashMap<(Option<String>, String), String>,
        key: &Key,
        fields: &Fields,
    ) {
        let label = text(fields, "principal");
        let Some((kind, home)) = who(things, key.place.as_deref(), &label) else { return };
        let name = text(fields, "role");
        let own = roles.get(&(key.place.clone(), name.clone()));
        let role = own.or_else(|| roles.get(&(None, name.clone()))).cloned().unwrap_or(name);
        // A selector that does not parse counts nowhere.
        let selector = fields.get("selector").and_then(Value::as_str).map(|text| Selector::parse(text).ok());
        let holder = self.holders.entry(label).or_insert(Holder { kind, home, held: Vec::new() });
        holder.held.push(Held { role, place: key.place.clone(), selector });
    }

    /// What somebody may do in a place; none where they cannot reach it.
    fn row(&mut self, specs: &[Spec], person: &str, place: Option<&str>) -> Option<Row> {
        let holder = self.holders.get(person)?;
        if holder.home.is_some() && holder.home.as_deref() != place {
            return None;
        }
        if holder.home.as_ref().is_some_and(|home| !self.tenants.contains_key(home)) {
            return None;
        }
        let (id, tags) = match place {
            Some(name) => {
                let (id, tags) = self.tenants.get(name)?;
                (Some(id.clone()), tags.clone())
            }
            None => (None, BTreeSet::new()),
        };
        let roles = holder.roles_at(place, &tags);
        // Tenants that no policy names differ by their tags only, people that no policy names by their roles.
        let named = id.as_ref().filter(|id| self.texts.contains(id.as_str()));
        let signature = format!(
            "{:?} {:?} {:?} {:?} {:?} {}",
            holder.kind,
            place.is_some(),
            named,
            roles,
            tags,
            holder.home.is_some()
        );
        if let Some(row) = self.rows.get(&signature) {
            return Some(row.clone());
        }
        let (kind, home) = (holder.kind, holder.home.is_some().then(|| id.clone()).flatten());
        let principal =
            PrincipalFacts { kind, id: "somebody".to_owned(), roles, owner: None, tenant: home, tags: BTreeSet::new() };
        let cells = specs.iter().map(|spec| cell(&self.engine, spec, &principal, id.as_deref(), &tags));
        let row: Row = Arc::new(cells.collect());
        self.rows.insert(signature, row.clone());
        Some(row)
    }
}

impl Holder {
    fn roles_at(&self, place: Option<&str>, tags: &BTreeSet<String>) -> BTreeSet<String> {
        let counts = |held: &&Held| match (&held.selector, held.place.as_deref(), place) {
            (None, None, _) => true,
            (Some(selector), None, Some(_)) => selector.as_ref().is_some_and(|selector| selector.fits(tags)),
            (Some(_), None, None) => false,
            (_, held, place) => held == place,
        };
        self.held.iter().filter(counts).map(|held| held.role.clone()).collect()
    }
}

/// What a principal is and where it belongs; none where nobody of that name can act.
fn who(things: &BTreeMap<Key, Fields>, place: Option<&str>, label: &str) -> Option<(PrincipalKind, Option<String>)> {
    if let Ok(principal) = label.parse::<Principal>() {
        return Some((principal.kind(), place.map(str::to_owned)));
    }
    let (kind, name) = label.split_once(':')?;
    let (kind, declared) = match kind {
        "user" => (PrincipalKind::User, Kind::User),
        "agent" => (PrincipalKind::Agent, Kind::Agent),
        "service" => return Some((PrincipalKind::Service, place.map(str::to_owned))),
        _ => return None,
    };
    let name = name.to_ascii_lowercase();
    let own = place.filter(|place| things.contains_key(&Key::new(Some(place), declared, name.clone())));
    let home = own.map(str::to_owned);
    let fields = things.get(&Key::new(home.as_deref(), declared, name))?;
    let may_act = kind != PrincipalKind::Agent || flag(fields, "active");
    may_act.then_some((kind, home))
}

fn role_spec(id: &str, key: &Key, fields: &Fields) -> RoleSpec {
    let (effects, principals) = (texts(fields, "effects"), texts(fields, "principals"));
    let kinds = [
        PrincipalKind::Agent,
        PrincipalKind::Rule,
        PrincipalKind::Sensor,
        PrincipalKind::Service,
        PrincipalKind::System,
        PrincipalKind::User,
    ];
    let people = vec![PrincipalKind::Service, PrincipalKind::User];
    let effect = |effect: &Effect| effects.is_empty() || effects.contains(effect.as_str());
    RoleSpec {
        id: id.to_owned(),
        name: key.name.clone(),
        operations: texts(fields, "operations").into_iter().collect(),
        effects: Effect::ALL.into_iter().filter(effect).collect(),
        principals: if principals.is_empty() {
            people
        } else {
            kinds.into_iter().filter(|kind| principals.contains(kind.as_str())).collect()
        },
    }
}

/// One cell, with the word of `policy.matrix`.
fn cell(
    engine: &Engine,
    spec: &Spec,
    principal: &PrincipalFacts,
    tenant: Option<&str>,
    tags: &BTreeSet<String>,
) -> &'static str {
    // These act on the provider's own wherever they are called from.
    let provider =
        spec.meta.resource == "Policy" || matches!(spec.meta.id, "policy.create" | "policy.list" | "audit.rotate_key");
    let tenant = tenant.filter(|_| !provider);
    let place = || match tenant {
        Some(tenant) => ResourceFacts::tenant(tenant, tags.clone()),
        None => ResourceFacts::provider(),
    };
    let resource = match spec.meta.resource {
        "Tenant" => place(),
        // What is the provider's, asked for from a tenant.
        "Provider" => ResourceFacts { tenant: tenant.map(str::to_owned), ..ResourceFacts::provider() },
        "Self" => ResourceFacts {
            kind: "Self".to_owned(),
            id: principal.id.clone(),
            tenant: principal.tenant.clone(),
            ..ResourceFacts::provider()
        },
        kind => ResourceFacts {
            kind: kind.to_owned(),
            id: "any".to_owned(),
            tenant: tenant.map(str::to_owned),
            ..ResourceFacts::provider()
        },
    };
    // One may ask about oneself.
    let asks = matches!(spec.meta.id, "policy.can_i" | "policy.explain" | "policy.matrix");
    let request = Request {
        principal: principal.clone(),
        action: spec.meta.id.to_owned(),
        resource: ResourceFacts { created_by: asks.then(|| principal.id.clone()), ..resource },
        context: ContextFacts {
            tenant: tenant.unwrap_or(policy::PROVIDER).to_owned(),
            tenant_tags: if tenant.is_some() { tags.clone() } else { BTreeSet::new() },
            ..ContextFacts::default()
        },
    };
    match engine.decide(&request).authority() {
        Authority::Approval => "with_approval",
        Authority::Autonomous => "autonomous",
        Authority::Deferred => "deferred",
        Authority::Denied => "denied",
        Authority::HumanOnly => "human_only",
    }
}

//! The sorts of calls that a policy set can tell apart, as text for whoever proves something about all calls.
//!
//! Hundreds of operations times six kinds of principal come down to few sorts, because what the policies say of each is
//! worked out first (`fold`) and operations of which they say the same are one. No Cedar type is public: policies and schemas
//! leave as Cedar's JSON. Never decides, and never asks a solver.

use crate::{
    document::Clause,
    engine::Engine,
    fold::{self, Known, and, constant, truth},
    polarity::total,
    property::Property,
    schema::{Outline, PRINCIPAL_KINDS, json, principal_type, target_types},
    slices::Plans,
    spec::{APPROVAL_COUNTS, AUTONOMIES, ActionSpec, FAMILIES, NAMESPACE, ORIGINS, PROVIDER, family},
};
use cedar_policy::Policy;
use ids::PrincipalKind;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Calls of which a policy set says the same.
#[derive(Clone, Debug)]
pub struct Sort {
    /// The kind of principal.
    pub kind: PrincipalKind,
    /// The operations, in the order of their names. The first stands for all.
    pub operations: Vec<String>,
    /// The type of target of the first operation.
    pub resource_type: String,
    /// Sorts of the same word differ in nothing but their rules and what is described.
    pub alike: String,
    /// Cedar's schema in JSON, with the first operation only.
    pub schema: Value,
    /// What the set permits and forbids, each an expression.
    pub rules: Rules,
    /// The same of the other set, where two are compared.
    pub other: Rules,
    /// What the property describes; `true` where two sets are compared.
    pub described: Value,
    /// What is true of every call that the platform makes of it.
    pub world: Value,
}

/// The conditions of permits and of forbids, as expressions in Cedar's JSON form.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Rules {
    /// One of them must hold.
    pub permits: BTreeSet<String>,
    /// None of them may hold.
    pub forbids: BTreeSet<String>,
}

impl Rules {
    fn text(&self) -> String {
        let lines = |list: &BTreeSet<String>| list.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        format!("{}\n-\n{}", lines(&self.permits), lines(&self.forbids))
    }
}

/// A policy in Cedar's JSON form with one condition and an open scope.
#[must_use]
pub fn policy_json(permit: bool, condition: &Value) -> Value {
    let all = json!({ "op": "All" });
    let effect = if permit { "permit" } else { "forbid" };
    json!({
        "effect": effect, "principal": all, "action": all, "resource": all,
        "conditions": [{ "kind": "when", "body": condition }],
    })
}

/// What is true of every call as the platform puts it to policy (`question`, and `control`, which makes the facts).
const WORLD: &str = "
    context.hour >= 0 && context.hour <= 23 && context.weekday >= 1 && context.weekday <= 7 &&
    context.target_count >= 0 && context.recent_count >= 0
";

fn world(known: &Known<'_>, counts: &[&str]) -> Result<Value, String> {
    let words = |name: &str, words: &[&str]| {
        let words: Vec<_> = words.iter().map(|word| format!("context.{name} == \"{word}\"")).collect();
        format!("({})", words.join(" || "))
    };
    let mut parts = vec![WORLD.trim().to_owned(), words("origin", &ORIGINS), words("autonomy", &AUTONOMIES)];
    // Whoever is counted by role is counted as one of the people.
    parts.extend(counts.iter().map(|name| format!("context.approvals.{name} >= 0")));
    let people = counts.iter().filter(|name| **name != "people");
    parts.extend(people.map(|name| format!("context.approvals.{name} <= context.approvals.people")));
    if principal_type(known.kind) == known.resource_type {
        parts.push("((principal == resource) == (principal.id == resource.id))".to_owned());
    } else {
        // What belongs to a tenant is asked about in that tenant. One that is its own target has the tenant of either.
        parts.push(format!(
            "(if resource has tenant then resource.tenant == context.tenant else context.tenant == \"{PROVIDER}\")"
        ));
    }
    expression(&parts.join(" && "))
}

fn expression(text: &str) -> Result<Value, String> {
    let policy = format!("permit(principal, action, resource) when {{ {text} }};");
    let policy = Policy::parse(None, &policy).map_err(|error| error.to_string())?;
    Ok(fold::whole(&policy.to_json().map_err(|error| error.to_string())?))
}

/// What is asked about each sort.
#[derive(Clone, Copy, Debug)]
enum Asked<'a> {
    Property(&'a Property),
    Other(&'a Engine),
}

impl Engine {
    /// The sorts of calls that a property describes.
    ///
    /// # Errors
    /// What cannot be put into Cedar's JSON form: a bug.
    pub fn sorts(&self, specs: &[ActionSpec<'_>], property: &Property) -> Result<Vec<Sort>, String> {
        self.sorted(specs, Asked::Property(property))
    }

    /// The sorts of calls that this set and another one tell apart, leaving out those where the other plainly permits no
    /// more: it has no permit that this one has not, and every forbid.
    ///
    /// # Errors
    /// As for [`Engine::sorts`].
    pub fn sorts_against(&self, specs: &[ActionSpec<'_>], other: &Self) -> Result<Vec<Sort>, String> {
        self.sorted(specs, Asked::Other(other))
    }

    fn sorted(&self, specs: &[ActionSpec<'_>], asked: Asked<'_>) -> Result<Vec<Sort>, String> {
        let own = self.said()?;
        let others = if let Asked::Other(other) = asked { other.said()? } else { Vec::new() };
        let mut sorts: BTreeMap<(&str, String, String), Sort> = BTreeMap::new();
        for kind in PRINCIPAL_KINDS {
            for (spec, resource_type) in
                specs.iter().flat_map(|spec| target_types(spec).into_iter().map(move |kind| (spec, kind)))
            {
                let roles = match asked {
                    Asked::Property(property) => property.roles(),
                    Asked::Other(_) => None,
                };
                let known = Known { kind, spec, resource_type, roles };
                let described = match asked {
                    Asked::Property(property) => known.fold(&property.said),
                    Asked::Other(_) => truth(true),
                };
                if constant(&described) == Some(false) {
                    continue;
                }
                let rules = self.rules(&own, &known);
                let other = match asked {
                    Asked::Property(_) => Rules::default(),
                    Asked::Other(other) => other.rules(&others, &known),
                };
                // Where nothing is permitted there is nothing to compare; that a property describes it still counts.
                let narrower = matches!(asked, Asked::Other(_))
                    && other.permits.is_subset(&rules.permits)
                    && (other.permits.is_empty() || rules.forbids.is_subset(&other.forbids));
                if narrower {
                    continue;
                }
                if let Some(partial) = rules.forbids.difference(&other.forbids).find(|said| partial(said))
                    && matches!(asked, Asked::Other(_))
                {
                    let why = "a forbid that can fail, and then forbids, is taken away, which no proof covers";
                    return Err(format!("{why}: {}", partial.chars().take(200).collect::<String>()));
                }
                let said = format!("{}\n{}\n{described}", rules.text(), other.text());
                let key = (principal_type(kind), class(&known, &said), said);
                if let Some(sort) = sorts.get_mut(&key) {
                    sort.operations.push(spec.id.to_owned());
                    continue;
                }
                let schema = schema(specs, &known, &key.2)?;
                let world = world(&known, &APPROVAL_COUNTS)?;
                let sort = Sort {
                    kind,
                    operations: vec![spec.id.to_owned()],
                    resource_type: resource_type.to_owned(),
                    alike: format!("{}/{}", key.0, key.1),
                    schema,
                    rules,
                    other,
                    described,
                    world,
                };
                sorts.insert(key, sort);
            }
        }
        Ok(sorts.into_values().collect())
    }

    /// Scope and conditions of every policy, each as one expression.
    fn said(&self) -> Result<Vec<Value>, String> {
        let json = |clause: &Clause| clause.policy.to_json().map_err(|error| error.to_string());
        self.clauses.iter().map(|clause| Ok(fold::whole(&json(clause)?))).collect()
    }

    fn rules(&self, said: &[Value], known: &Known<'_>) -> Rules {
        let mut rules = Rules::default();
        let plan = |plans: &'_ Plans| plans.get(known.spec.id).cloned();
        let own = self.tenants.iter().filter_map(|(tenant, plans)| Some((Some(tenant.as_str()), plan(plans)?)));
        let everywhere = plan(&self.everywhere).map(|plan| (None, plan));
        for (tenant, plan) in everywhere.into_iter().chain(own) {
            for index in plan.clauses() {
                let (Some(clause), Some(said)) = (self.clauses.get(index), said.get(index)) else { continue };
                let said = fold::bound(known.fold(said), tenant);
                if constant(&said) != Some(false) {
                    let list = if clause.permit { &mut rules.permits } else { &mut rules.forbids };
                    list.insert(said.to_string());
                }
            }
        }
        // A forbid without a condition leaves nothing to permit, and without a permit no forbid matters.
        if rules.permits.is_empty() || rules.forbids.contains(&truth(true).to_string()) {
            return Rules::default();
        }
        rules
    }

    /// Permits of this set whose obligations another set does not lay, in the same words and at least as strictly: what was
    /// allowed under a condition may be allowed without it there.
    ///
    /// # Errors
    /// As for [`Engine::sorts`].
    pub fn obligations_lost(&self, other: &Self) -> Result<Vec<String>, String> {
        let (own, others) = (self.said()?, other.said()?);
        let mut lost = Vec::new();
        for (clause, said) in self.clauses.iter().zip(&own).filter(|(clause, _)| !clause.obligations.is_empty()) {
            let same = other.clauses.iter().zip(&others).filter(|(one, words)| one.permit && *words == said);
            let strict = |one: &Clause| {
                let mut both = clause.obligations.clone();
                both.tighten(&one.obligations);
                both == one.obligations
            };
            let mut same = same.peekable();
            if same.peek().is_none() || !same.any(|(one, _)| strict(one)) {
                lost.push(clause.reference.to_string());
            }
        }
        Ok(lost)
    }
}

/// What an expression asks for, all of which must hold.
fn conjuncts(expression: &Value) -> BTreeSet<String> {
    match expression.get("&&").map(|both| (both.get("left"), both.get("right"))) {
        Some((Some(left), Some(right))) => conjuncts(left).into_iter().chain(conjuncts(right)).collect(),
        _ => BTreeSet::from([expression.to_string()]),
    }
}

/// Whether an expression may fail, by an overflow for instance.
fn partial(said: &str) -> bool {
    serde_json::from_str(said).is_ok_and(|said| !total(&said))
}

/// Types of target that policies cannot tell apart are one class.
fn class(known: &Known<'_>, said: &str) -> String {
    let apart = ["Provider", "Role", "Tenant"].contains(&known.resource_type)
        || PRINCIPAL_KINDS.iter().any(|kind| principal_type(*kind) == known.resource_type)
        || said.contains(&format!("{NAMESPACE}::{}", known.resource_type));
    let action = if said.contains("\"Var\":\"action\"") { known.spec.id } else { "" };
    format!("{}/{action}", if apart { known.resource_type } else { "" })
}

/// The schema of one sort: its operation, its kinds, what is above them, and what the policies name.
fn schema(specs: &[ActionSpec<'_>], known: &Known<'_>, said: &str) -> Result<Value, String> {
    let named = |name: &str| said.contains(&format!("{NAMESPACE}::{name}"));
    let mut types = crate::schema::entity_types(specs);
    types.retain(|name| {
        ["Provider", "Role", "Tenant", known.resource_type, principal_type(known.kind)].contains(&name.as_str())
            || named(name)
    });
    let action = named("Action");
    let spoken = |id: &str| action && said.contains(&format!("\"{id}\""));
    let chosen: Vec<_> = specs.iter().filter(|spec| spec.id == known.spec.id || spoken(spec.id)).collect();
    types.extend(chosen.iter().flat_map(|spec| target_types(spec)).map(str::to_owned));
    let mut families: BTreeSet<&str> = chosen.iter().filter_map(|spec| family(spec.id)).collect();
    families.extend(FAMILIES.into_iter().filter(|family| spoken(&format!("{family}.*"))));
    json(specs, &Outline { specs: chosen, families, principals: vec![known.kind], types })
}

impl Sort {
    /// The permits and forbids of a set as policies, each permit under `described` and the world; further forbids may be
    /// added.
    #[must_use]
    pub fn set(rules: &Rules) -> Vec<Value> {
        let read = |text: &String| serde_json::from_str::<Value>(text).ok();
        let permits = rules.permits.iter().filter_map(read).map(|said| policy_json(true, &said));
        let forbids = rules.forbids.iter().filter_map(read).map(|said| policy_json(false, &said));
        permits.chain(forbids).collect()
    }

    /// Whether one forbid asks for nothing but what is described: then it holds wherever that does, and no solver is needed.
    #[must_use]
    pub fn plainly_forbidden(&self) -> bool {
        let described = conjuncts(&self.described);
        let read = |text: &String| serde_json::from_str::<Value>(text).ok();
        self.rules.forbids.iter().filter_map(read).any(|forbid| conjuncts(&forbid).is_subset(&described))
    }

    /// The one permit that describes the calls that are asked about.
    #[must_use]
    pub fn question(&self) -> Value {
        policy_json(true, &and(self.world.clone(), self.described.clone()))
    }

    /// The forbid that leaves only calls that the platform can make.
    #[must_use]
    pub fn only_the_world(&self) -> Value {
        policy_json(false, &json!({ "!": { "arg": self.world } }))
    }
}

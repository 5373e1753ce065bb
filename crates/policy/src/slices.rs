//! Which policies can matter for a call: an index over the policies' scopes, built once.
//!
//! A policy is left out only where its scope cannot match: by action (known exactly from the registry), by the
//! document's tenant, and by principal (its type, or an entity that is not above it). What is left in is still
//! decided by Cedar, scope and all. A property test compares with the whole set.

use crate::{
    document::Clause,
    spec::{ActionSpec, family},
};
use cedar_policy::{ActionConstraint, EntityTypeName, EntityUid, PolicyId, PolicySet, PrincipalConstraint};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Policies with the same key, in the three sets that are asked apart.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Neither approvals nor evidence changes what these say.
    pub(crate) fixed: PolicySet,
    /// Permits that approvals or evidence may bring about.
    pub(crate) swing_permits: PolicySet,
    /// Forbids that approvals or evidence may lift.
    pub(crate) swing_forbids: PolicySet,
    /// Indices of all of them.
    pub(crate) clauses: Vec<usize>,
}

/// The groups for the operations that the same policies name.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    any: Group,
    by_type: HashMap<EntityTypeName, Group>,
    by_entity: HashMap<EntityUid, Group>,
}

/// For one tenant's documents, or for those of all: the plan of each action.
pub(crate) type Plans = HashMap<String, Arc<Plan>>;

impl Plan {
    /// The groups that can match this principal, given it and everything above it.
    pub(crate) fn groups<'a>(&'a self, principal: &EntityUid, above: &[&EntityUid]) -> Vec<&'a Group> {
        let mut groups = vec![&self.any];
        groups.extend(self.by_type.get(principal.type_name()));
        if !self.by_entity.is_empty() {
            groups.extend(above.iter().filter_map(|uid| self.by_entity.get(*uid)));
        }
        groups.retain(|group| !group.clauses.is_empty());
        groups
    }
}

/// Whether a policy's scope names this operation.
pub(crate) fn names_action(constraint: &ActionConstraint, spec: &ActionSpec<'_>) -> bool {
    let is = |uid: &EntityUid| {
        let id: &str = uid.id().as_ref();
        id == spec.id
            || id == spec.effect.as_str()
            || id.strip_suffix(".*").is_some_and(|group| Some(group) == family(spec.id))
    };
    match constraint {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => AsRef::<str>::as_ref(uid.id()) == spec.id,
        ActionConstraint::In(uids) => uids.iter().any(is),
    }
}

/// The plans of all operations for the clauses of these indices.
pub(crate) fn plans(specs: &[ActionSpec<'_>], clauses: &[Clause], chosen: &[usize]) -> Result<Plans, String> {
    let mut shared: BTreeMap<Vec<usize>, Arc<Plan>> = BTreeMap::new();
    let mut plans = Plans::new();
    let chosen: Vec<_> = chosen
        .iter()
        .filter_map(|index| clauses.get(*index).map(|clause| (*index, clause, clause.policy.action_constraint())))
        .collect();
    for spec in specs {
        let matching = chosen.iter().filter(|(_, _, constraint)| names_action(constraint, spec));
        let matching: Vec<(usize, &Clause)> = matching.map(|(index, clause, _)| (*index, *clause)).collect();
        if matching.is_empty() {
            continue;
        }
        // Most operations share their policies with many others: one plan for all of these.
        let key = matching.iter().map(|(index, _)| *index).collect();
        let plan = match shared.get(&key) {
            Some(plan) => Arc::clone(plan),
            None => {
                let plan = Arc::new(plan(&matching)?);
                shared.insert(key, Arc::clone(&plan));
                plan
            }
        };
        plans.insert(spec.id.to_owned(), plan);
    }
    Ok(plans)
}

fn plan(matching: &[(usize, &Clause)]) -> Result<Plan, String> {
    let mut plan = Plan::default();
    for (index, clause) in matching {
        let group = match clause.policy.principal_constraint() {
            PrincipalConstraint::Any => &mut plan.any,
            PrincipalConstraint::Is(kind) => plan.by_type.entry(kind).or_default(),
            PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
                plan.by_entity.entry(uid).or_default()
            }
        };
        let set = match (clause.swings(), clause.permit) {
            (false, _) => &mut group.fixed,
            (true, true) => &mut group.swing_permits,
            (true, false) => &mut group.swing_forbids,
        };
        set.add(clause.policy.new_id(PolicyId::new(index.to_string()))).map_err(|error| error.to_string())?;
        group.clauses.push(*index);
    }
    Ok(plan)
}

/// Each policy in a set of its own, to be asked alone.
pub(crate) fn alone(clauses: &[Clause]) -> Result<Vec<PolicySet>, String> {
    let single = |(index, clause): (usize, &Clause)| {
        let mut set = PolicySet::new();
        set.add(clause.policy.new_id(PolicyId::new(index.to_string()))).map_err(|error| error.to_string())?;
        Ok(set)
    };
    clauses.iter().enumerate().map(single).collect()
}

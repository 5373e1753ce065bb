//! Which policies can matter for a call: an index over the policies' scopes, built once.
//!
//! A policy is left out only where its scope cannot match: by action (known exactly from the registry), by the
//! document's tenant, and by principal (its type, or an entity that is not above it). What is left in is decided
//! by Cedar's evaluator. A property test compares with Cedar's authorizer over the whole set.

use crate::{
    document::Clause,
    spec::{ActionSpec, family},
};
use cedar_policy::{
    ActionConstraint, EntityTypeName, EntityUid, Expression, Policy, PolicyId, PolicySet, PrincipalConstraint,
    ResourceConstraint,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// Some policies of one effect.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    /// Their indices.
    pub(crate) clauses: Vec<usize>,
    pub(crate) summary: Summary,
}

/// What can be said of a bundle before its policies are asked one by one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// Those of the clauses that a fact has to hold for.
    pub(crate) guarded: Arc<Guarded>,
    /// The other clauses.
    pub(crate) open: Arc<[usize]>,
    /// Holds where one of `open` holds: one question in place of many. None where that saves nothing.
    pub(crate) any: Option<Arc<Expression>>,
}

/// Clauses by the words of which one has to be there.
pub(crate) type Guarded = HashMap<Fact, HashMap<String, Vec<usize>>>;

/// What holds words that policies look for. Each is there in every call, so that looking cannot fail.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Fact {
    /// `context.origin`
    Origin,
    /// `resource.id`
    ResourceId,
    /// `resource.tags`
    ResourceTags,
    /// `context.tenant`
    Tenant,
    /// `context.tenant_tags`
    TenantTags,
}

impl Fact {
    /// The fact of a path such as `resource.tags`, and whether it is a set.
    fn of(path: &Value) -> Option<(Self, bool)> {
        let path = path.get(".")?;
        let (variable, attribute) = (path.get("left")?.get("Var")?.as_str()?, path.get("attr")?.as_str()?);
        Some(match (variable, attribute) {
            ("context", "origin") => (Self::Origin, false),
            ("resource", "id") => (Self::ResourceId, false),
            ("resource", "tags") => (Self::ResourceTags, true),
            ("context", "tenant") => (Self::Tenant, false),
            ("context", "tenant_tags") => (Self::TenantTags, true),
            _ => return None,
        })
    }
}

/// Words of which one has to be there for a condition, in Cedar's JSON form, to hold or to fail. Of `&&` Cedar looks at
/// the left side first and goes no further where that is false, so that only the left side may be a guard.
fn guards(body: &Value) -> Option<BTreeSet<(Fact, String)>> {
    let (operator, sides) = body.as_object().filter(|object| object.len() == 1)?.iter().next()?;
    let (left, right) = (sides.get("left")?, sides.get("right")?);
    let word = |value: &Value| value.get("Value").and_then(Value::as_str).map(str::to_owned);
    let of = |path: &Value, set: bool| Fact::of(path).filter(|(_, is_set)| *is_set == set).map(|(fact, _)| fact);
    match operator.as_str() {
        "&&" => guards(left),
        "||" => Some(guards(left)?.into_iter().chain(guards(right)?).collect()),
        "contains" => Some(BTreeSet::from([(of(left, true)?, word(right)?)])),
        "containsAny" => {
            let fact = of(left, true)?;
            right.get("Set")?.as_array()?.iter().map(|value| Some((fact, word(value)?))).collect()
        }
        "==" => match (of(left, false), of(right, false)) {
            (Some(fact), _) => Some(BTreeSet::from([(fact, word(right)?)])),
            (None, Some(fact)) => Some(BTreeSet::from([(fact, word(left)?)])),
            (None, None) => None,
        },
        _ => None,
    }
}

/// Policies with the same key, by what they are asked for.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Forbids that neither approvals nor evidence lift.
    pub(crate) fixed_forbids: Bundle,
    /// Permits that need neither.
    pub(crate) fixed_permits: Bundle,
    /// Forbids that approvals or evidence may lift.
    pub(crate) swing_forbids: Bundle,
    /// Permits that approvals or evidence may bring about.
    pub(crate) swing_permits: Bundle,
}

impl Group {
    fn bundles(&self) -> [&Bundle; 4] {
        [&self.fixed_forbids, &self.fixed_permits, &self.swing_forbids, &self.swing_permits]
    }

    /// Indices of all its policies.
    pub(crate) fn clauses(&self) -> impl Iterator<Item = usize> {
        self.bundles().into_iter().flat_map(|bundle| bundle.clauses.iter().copied())
    }
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
    /// Whether there is a policy in it for a principal of this type, or in this role.
    pub(crate) fn can_match(&self, kind: &EntityTypeName, role: Option<&EntityUid>) -> bool {
        let by_role = role.and_then(|role| self.by_entity.get(role));
        let groups = std::iter::once(&self.any).chain(self.by_type.get(kind)).chain(by_role);
        groups.flat_map(Group::clauses).next().is_some()
    }

    /// Indices of all its policies.
    pub(crate) fn clauses(&self) -> impl Iterator<Item = usize> {
        let groups = std::iter::once(&self.any).chain(self.by_type.values()).chain(self.by_entity.values());
        groups.flat_map(Group::clauses)
    }

    /// The groups that can match this principal, given it and everything above it.
    pub(crate) fn groups<'a>(&'a self, principal: &EntityUid, above: &[&EntityUid]) -> Vec<&'a Group> {
        let mut groups = vec![&self.any];
        groups.extend(self.by_type.get(principal.type_name()));
        if !self.by_entity.is_empty() {
            groups.extend(above.iter().filter_map(|uid| self.by_entity.get(*uid)));
        }
        groups
    }
}

/// One policy, ready to be asked.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What Cedar evaluates for a call that the index leads to this policy: its conditions, and its scope too
    /// where the index does not settle that.
    pub(crate) expression: Expression,
    /// The policy in a set of its own, for Cedar's authorizer.
    pub(crate) alone: PolicySet,
    /// The conditions in Cedar's JSON form; none where the scope has to be looked at.
    body: Option<Value>,
    /// The first policy that is asked the same; itself where none is before it.
    pub(crate) same_as: usize,
}

/// Make policies ready. Without the places of their parts in the text, which Cedar would copy along at each step.
pub(crate) fn asked(clauses: &[Clause]) -> Result<Vec<Asked>, String> {
    let mut first: HashMap<String, usize> = HashMap::new();
    let one = |(index, clause): (usize, &Clause)| {
        let json = clause.policy.to_json().map_err(|error| error.to_string())?;
        let body = settled(&clause.policy).then(|| body(&json));
        let policy = policy(index, json)?;
        let same_as = body.as_ref().map_or(index, |body| *first.entry(body.to_string()).or_insert(index));
        let expression = match &body {
            Some(body) => expression(body)?,
            None => Expression::from(policy.as_ref().condition()),
        };
        let mut alone = PolicySet::new();
        alone.add(policy).map_err(|error| error.to_string())?;
        Ok(Asked { expression, alone, body, same_as })
    };
    clauses.iter().enumerate().map(one).collect()
}

fn policy(index: usize, json: Value) -> Result<Policy, String> {
    Policy::from_json(Some(PolicyId::new(index.to_string())), json).map_err(|error| error.to_string())
}

/// Whether the index leads only calls to this policy that its scope matches.
fn settled(policy: &Policy) -> bool {
    let principal = match policy.principal_constraint() {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) | PrincipalConstraint::In(_) => true,
        PrincipalConstraint::Eq(_) | PrincipalConstraint::IsIn(..) => false,
    };
    principal && policy.resource_constraint() == ResourceConstraint::Any
}

/// All conditions of a policy as one.
fn body(policy: &Value) -> Value {
    let conditions = policy.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let one = |condition: &Value| {
        let body = condition.get("body").cloned().unwrap_or(Value::Null);
        if condition.get("kind").and_then(Value::as_str) == Some("when") {
            body
        } else {
            json!({ "!": { "arg": body } })
        }
    };
    conditions
        .map(one)
        .reduce(|left, right| json!({ "&&": { "left": left, "right": right } }))
        .unwrap_or_else(|| json!({ "Value": true }))
}

/// An expression in Cedar's JSON form, by way of a policy that has it as its only condition.
fn expression(body: &Value) -> Result<Expression, String> {
    let all = json!({ "op": "All" });
    let conditions = json!([{ "kind": "when", "body": body }]);
    let json =
        json!({ "effect": "permit", "principal": all, "action": all, "resource": all, "conditions": conditions });
    let policy = policy(0, json)?;
    let condition = policy.as_ref().non_scope_constraints().cloned();
    Ok(Expression::from(condition.ok_or("a policy without its condition")?))
}

/// A tree of `||`, flat, so that many policies do not nest deeply.
fn either(bodies: &[&Value]) -> Value {
    match bodies {
        [] => json!({ "Value": false }),
        [one] => (*one).clone(),
        many => {
            let (left, right) = many.split_at(many.len() / 2);
            json!({ "||": { "left": either(left), "right": either(right) } })
        }
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

/// Builds plans; what several plans have in common is built once.
pub(crate) struct Planner<'a> {
    clauses: &'a [Clause],
    asked: &'a [Asked],
    bundles: BTreeMap<Vec<usize>, Summary>,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(clauses: &'a [Clause], asked: &'a [Asked]) -> Self {
        Self { clauses, asked, bundles: BTreeMap::new() }
    }

    /// The plans of all operations for the clauses of these indices.
    pub(crate) fn plans(&mut self, specs: &[ActionSpec<'_>], chosen: &[usize]) -> Result<Plans, String> {
        let mut shared: BTreeMap<Vec<usize>, Arc<Plan>> = BTreeMap::new();
        let mut plans = Plans::new();
        let clause = |index: &usize| self.clauses.get(*index).map(|clause| (*index, clause.policy.action_constraint()));
        let chosen: Vec<_> = chosen.iter().filter_map(clause).collect();
        for spec in specs {
            let matching = chosen.iter().filter(|(_, constraint)| names_action(constraint, spec));
            let matching: Vec<usize> = matching.map(|(index, _)| *index).collect();
            if matching.is_empty() {
                continue;
            }
            // Most operations share their policies with many others: one plan for all of these.
            let plan = match shared.get(&matching) {
                Some(plan) => Arc::clone(plan),
                None => {
                    let plan = Arc::new(self.plan(&matching)?);
                    shared.insert(matching, Arc::clone(&plan));
                    plan
                }
            };
            plans.insert(spec.id.to_owned(), plan);
        }
        Ok(plans)
    }

    fn plan(&mut self, matching: &[usize]) -> Result<Plan, String> {
        let mut plan = Plan::default();
        for (index, clause) in matching.iter().filter_map(|index| Some((*index, self.clauses.get(*index)?))) {
            let group = match clause.policy.principal_constraint() {
                PrincipalConstraint::Any => &mut plan.any,
                PrincipalConstraint::Is(kind) => plan.by_type.entry(kind).or_default(),
                PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
                    plan.by_entity.entry(uid).or_default()
                }
            };
            let bundle = match (clause.swings(), clause.permit) {
                (false, false) => &mut group.fixed_forbids,
                (false, true) => &mut group.fixed_permits,
                (true, false) => &mut group.swing_forbids,
                (true, true) => &mut group.swing_permits,
            };
            bundle.clauses.push(index);
        }
        for group in std::iter::once(&mut plan.any).chain(plan.by_type.values_mut()).chain(plan.by_entity.values_mut())
        {
            for bundle in
                [&mut group.fixed_forbids, &mut group.fixed_permits, &mut group.swing_forbids, &mut group.swing_permits]
            {
                bundle.summary = self.summary(&bundle.clauses)?;
            }
            // Some permit nearly always holds: then one question for all is one too many.
            group.fixed_permits.summary.any = None;
        }
        Ok(plan)
    }

    fn summary(&mut self, clauses: &[usize]) -> Result<Summary, String> {
        if let Some(known) = self.bundles.get(clauses) {
            return Ok(known.clone());
        }
        let (mut guarded, mut open) = (Guarded::new(), Vec::new());
        for index in clauses {
            let body = self.asked.get(*index).and_then(|asked| asked.body.as_ref());
            match body.and_then(guards) {
                Some(words) => {
                    for (fact, word) in words {
                        guarded.entry(fact).or_default().entry(word).or_default().push(*index);
                    }
                }
                None => open.push(*index),
            }
        }
        let summary = Summary { guarded: Arc::new(guarded), any: self.any(&open)?, open: open.into() };
        self.bundles.insert(clauses.to_vec(), summary.clone());
        Ok(summary)
    }

    fn any(&self, clauses: &[usize]) -> Result<Option<Arc<Expression>>, String> {
        if clauses.len() < 2 {
            return Ok(None);
        }
        // What many policies ask alike is asked once.
        let distinct: BTreeSet<usize> =
            clauses.iter().filter_map(|index| self.asked.get(*index)).map(|asked| asked.same_as).collect();
        let bodies = distinct.iter().map(|index| self.asked.get(*index).and_then(|asked| asked.body.as_ref()));
        // One whose scope is not settled keeps the whole bundle from being asked at once.
        match bodies.collect::<Option<Vec<_>>>() {
            Some(bodies) => Ok(Some(Arc::new(expression(&either(&bodies))?))),
            None => Ok(None),
        }
    }
}

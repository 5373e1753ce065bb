//! Strict validation of policies, and that operations honour the obligations that permits ask for.
//!
//! Cedar's validator looks at every operation times every kind of principal for each policy: seconds for a whole
//! registry. But a policy tells apart only what it names. So each policy is first validated against one operation
//! of each sort that it can tell apart; what passes there without a word passes. Everything else is validated
//! against the whole schema, whose word counts. Never decides.

use crate::{
    compile::outside,
    document::{Clause, Document},
    fault::PolicyFault,
    schema::{
        Outline, PRINCIPAL_KINDS, check_specs, entity_types, json, principal_type, target_types, used_families, whole,
    },
    slices::names_action,
    spec::{ActionSpec, Effect, FAMILIES, family},
};
use cedar_policy::{PolicyId, PolicySet, Schema, ValidationMode, ValidationResult, ValidationWarning, Validator};
use miette::Diagnostic;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One level of dereference: the entities of a call are its principal, its target and its action, no more.
const LEVEL: u32 = 1;

/// Validate all policies. Gives the warnings.
///
/// # Errors
/// All faults.
pub(crate) fn validate(
    specs: &[ActionSpec<'_>],
    documents: &[Document],
    clauses: &[Clause],
) -> Result<Vec<PolicyFault>, Vec<PolicyFault>> {
    let doubtful = doubtful(specs, clauses).map_err(|error| outside("operations", error))?;
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    if !doubtful.is_empty() {
        check_specs(specs).map_err(|error| outside("operations", error))?;
        let schema = json(specs, &whole(specs)).map_err(|error| outside("operations", error))?;
        let result = strictly(schema, &doubtful).map_err(|error| outside("operations", error))?;
        let fault = |id: &PolicyId, diagnostic: &dyn Diagnostic| {
            let clause = AsRef::<str>::as_ref(id).parse::<usize>().ok().and_then(|index| clauses.get(index));
            let document = clause.and_then(|clause| documents.get(clause.document));
            let (name, text) = document.map_or(("", ""), |document| (&document.name, &document.text));
            PolicyFault::from_cedar(name, clause.map(|clause| clause.id.as_str()), text, diagnostic)
        };
        faults.extend(result.validation_errors().map(|error| fault(error.policy_id(), error)));
        for warning in result.validation_warnings() {
            let harmless = matches!(
                warning,
                ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_)
            );
            let list = if harmless { &mut warnings } else { &mut faults };
            list.push(fault(warning.policy_id(), warning));
        }
    }
    for clause in clauses {
        let (name, text) = documents.get(clause.document).map_or(("", ""), |document| (&document.name, &document.text));
        faults.extend(unhonoured(specs, clause).into_iter().map(|why| {
            let hint = "name the operations that honour it in the policy's scope";
            PolicyFault::new(name, Some(&clause.id), why, hint).at(text, clause.place)
        }));
    }
    // The same fault is found once for each sort of operation and principal.
    let mut told = Vec::new();
    faults.retain(|fault| {
        !told.contains(fault) && {
            told.push(fault.clone());
            true
        }
    });
    faults
        .sort_by(|one, other| (&one.document, one.line, one.column).cmp(&(&other.document, other.line, other.column)));
    if faults.is_empty() { Ok(warnings) } else { Err(faults) }
}

fn strictly(schema: Value, set: &PolicySet) -> Result<ValidationResult, String> {
    let schema = Schema::from_json_value(schema).map_err(|error| error.to_string())?;
    Ok(Validator::new(schema).validate_with_level(set, ValidationMode::Strict, LEVEL))
}

/// The policies that do not pass without a word against what they can tell apart, named by their index.
fn doubtful(specs: &[ActionSpec<'_>], clauses: &[Clause]) -> Result<PolicySet, String> {
    let mut by_schema: BTreeMap<String, (Value, PolicySet)> = BTreeMap::new();
    let mut doubtful = PolicySet::new();
    for (index, clause) in clauses.iter().enumerate() {
        let named = clause.policy.new_id(PolicyId::new(index.to_string()));
        let own = clause.policy.to_json().map_err(|error| error.to_string())?;
        let mut mentioned = Mentioned::default();
        mentioned.collect(&own);
        let set = match mentioned.outline(specs, clause) {
            Some(outline) => {
                let schema = json(specs, &outline)?;
                &mut by_schema.entry(schema.to_string()).or_insert_with(|| (schema, PolicySet::new())).1
            }
            None => &mut doubtful,
        };
        set.add(named).map_err(|error| error.to_string())?;
    }
    for (schema, set) in by_schema.into_values() {
        let quiet = strictly(schema, &set).is_ok_and(|result| result.validation_passed_without_warnings());
        if !quiet {
            for policy in set.policies() {
                doubtful.add(policy.clone()).map_err(|error| error.to_string())?;
            }
        }
    }
    Ok(doubtful)
}

/// The names in a policy.
#[derive(Debug, Default)]
struct Mentioned {
    /// Actions and groups of actions.
    actions: BTreeSet<String>,
    /// Types, without the namespace.
    types: BTreeSet<String>,
}

impl Mentioned {
    /// From Cedar's JSON form: `{"type", "id"}` is an entity, `"entity_type"` stands beside `is`.
    fn collect(&mut self, json: &Value) {
        match json {
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Object(object) => {
                let text = |name: &str| object.get(name).and_then(Value::as_str);
                if let (Some(kind), Some(id)) = (text("type"), text("id")) {
                    self.types.insert(short(kind));
                    if short(kind) == "Action" {
                        self.actions.insert(id.to_owned());
                    }
                }
                self.types.extend(text("entity_type").map(short));
                object.values().for_each(|value| self.collect(value));
            }
            _ => {}
        }
    }

    /// Of the registry one operation and one kind of principal of each sort that the policy can tell apart; none
    /// where it names an action that there is not.
    fn outline<'a>(&self, specs: &'a [ActionSpec<'a>], clause: &Clause) -> Option<Outline<'a>> {
        let used = used_families(specs);
        let mut families: BTreeSet<&str> = BTreeSet::new();
        for action in &self.actions {
            let effect = Effect::ALL.iter().any(|effect| effect.as_str() == action);
            let group = action.strip_suffix(".*");
            if let Some(group) = group {
                families.insert(FAMILIES.into_iter().chain(used.iter().copied()).find(|known| *known == group)?);
            } else if !effect && !specs.iter().any(|spec| spec.id == action) {
                return None;
            }
        }
        let constraint = clause.policy.action_constraint();
        let mut sorts = HashMap::new();
        for spec in specs.iter().filter(|spec| names_action(&constraint, spec)) {
            let sort = (
                spec.effect,
                family(spec.id).filter(|family| families.contains(family)),
                Some(spec.resource_type).filter(|kind| self.types.contains(*kind) || *kind == "Tenant"),
                Some(spec.id).filter(|id| self.actions.contains(*id)),
            );
            sorts.entry(sort).or_insert(spec);
        }
        let mut chosen: Vec<_> = sorts.into_values().collect();
        // An action that is named in a condition alone is there as a name, too.
        let beside = |spec: &&ActionSpec<'_>| self.actions.contains(spec.id) && !names_action(&constraint, spec);
        chosen.extend(specs.iter().filter(beside));
        chosen.sort_by_key(|spec| spec.id);
        families.extend(chosen.iter().filter_map(|spec| family(spec.id)));
        let mentions = |kind: &&ids::PrincipalKind| self.types.contains(principal_type(**kind));
        let (named, others): (Vec<_>, Vec<_>) = PRINCIPAL_KINDS.iter().partition(mentions);
        let principals: Vec<_> = named.into_iter().chain(others.into_iter().take(1)).copied().collect();
        // A type costs a name for each of its attributes, and nearly all are of no concern here.
        let mut types = entity_types(specs);
        let needed: BTreeSet<&str> = chosen.iter().flat_map(|spec| target_types(spec)).collect();
        types.retain(|name| {
            let above = ["Provider", "Role", "Tenant"].contains(&name.as_str());
            let asks = principals.iter().any(|kind| principal_type(*kind) == name);
            above || asks || needed.contains(name.as_str()) || self.types.contains(name)
        });
        Some(Outline { specs: chosen, families, principals, types })
    }
}

fn short(name: &str) -> String {
    name.rsplit("::").next().unwrap_or(name).to_owned()
}

fn unhonoured(specs: &[ActionSpec<'_>], clause: &Clause) -> Vec<String> {
    let constraint = clause.policy.action_constraint();
    let mut faults = Vec::new();
    for kind in &clause.obligation_kinds {
        let not = |spec: &&ActionSpec<'_>| names_action(&constraint, spec) && !spec.obligations.contains(kind);
        let names: Vec<_> = specs.iter().filter(not).map(|spec| format!("`{}`", spec.id)).collect();
        let shown = names.get(..names.len().min(5)).unwrap_or_default();
        if !shown.is_empty() {
            let more = if names.len() > shown.len() { " and others" } else { "" };
            faults.push(format!("`@{}` is not honoured by {}{more}", kind.as_str(), shown.join(", ")));
        }
    }
    faults
}

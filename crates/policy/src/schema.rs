//! The Cedar schema, as text, from the registry's [`ActionSpec`]s.
//!
//! The same specs give the same text, byte for byte; a golden file in git shows every change in review. Never
//! knows a policy.

use crate::spec::{APPROVAL_COUNTS, ActionSpec, EVIDENCE, Effect, FAMILIES, NAMESPACE, action_id, family, type_name};
use cedar_policy::SchemaFragment;
use ids::PrincipalKind;
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, fmt::Write as _, sync::LazyLock};
use thiserror::Error;

/// A registry that no schema can be made from: a bug of the platform, not of a policy.
#[derive(Debug, Clone, Eq, PartialEq, Error)]
pub enum SpecError {
    /// Not `resource.verb`.
    #[error("`{0}` is not an operation id; write two lower-case words with a dot between")]
    Action(String),
    /// The same id twice.
    #[error("operation `{0}` is declared twice")]
    Duplicate(String),
    /// Not a name of a type.
    #[error(
        "`{1}`, the target's type of operation `{0}`, is not a name or is Cedar's own; write letters and digits, upper case first"
    )]
    ResourceType(String, String),
}

/// The name of the entity type of a kind of principal.
pub(crate) const fn principal_type(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::Agent => "Agent",
        PrincipalKind::Rule => "Rule",
        PrincipalKind::Sensor => "Sensor",
        PrincipalKind::Service => "Service",
        PrincipalKind::System => "System",
        PrincipalKind::User => "User",
    }
}

/// Names that Cedar or this schema gives another meaning.
const RESERVED: [&str; 4] = ["Action", "ApprovalCounts", "CallContext", "EvidenceFacts"];

/// All six kinds, in the order of their names.
pub(crate) const PRINCIPAL_KINDS: [PrincipalKind; 6] = [
    PrincipalKind::Agent,
    PrincipalKind::Rule,
    PrincipalKind::Sensor,
    PrincipalKind::Service,
    PrincipalKind::System,
    PrincipalKind::User,
];

/// Every type a target may have: those of the specs, the principals, `Role`, `Tenant`, `Provider`.
pub(crate) fn entity_types(specs: &[ActionSpec<'_>]) -> BTreeSet<String> {
    let own = PRINCIPAL_KINDS.iter().map(|kind| principal_type(*kind)).chain(["Provider", "Role", "Tenant"]);
    own.chain(specs.iter().map(|spec| spec.resource_type)).map(str::to_owned).collect()
}

/// The types that an operation may be asked about: its own, and `Provider` beside `Tenant`.
pub(crate) fn target_types<'a>(spec: &ActionSpec<'a>) -> Vec<&'a str> {
    if spec.resource_type == "Tenant" { vec!["Provider", "Tenant"] } else { vec![spec.resource_type] }
}

pub(crate) fn check_specs(specs: &[ActionSpec<'_>]) -> Result<(), SpecError> {
    let mut seen = BTreeSet::new();
    for spec in specs {
        if !action_id(spec.id) {
            return Err(SpecError::Action(spec.id.to_owned()));
        }
        if !type_name(spec.resource_type) || RESERVED.contains(&spec.resource_type) {
            return Err(SpecError::ResourceType(spec.id.to_owned(), spec.resource_type.to_owned()));
        }
        if !seen.insert(spec.id) {
            return Err(SpecError::Duplicate(spec.id.to_owned()));
        }
    }
    Ok(())
}

/// The schema's text, in Cedar's own schema language.
///
/// # Errors
/// [`SpecError`] where an id or type is not a name, or comes twice.
pub fn schema_text(specs: &[ActionSpec<'_>]) -> Result<String, SpecError> {
    check_specs(specs)?;
    Ok(render(specs, &whole(specs)))
}

/// The whole registry.
pub(crate) fn whole<'a>(specs: &'a [ActionSpec<'a>]) -> Outline<'a> {
    let mut sorted: Vec<_> = specs.iter().collect();
    sorted.sort_by_key(|spec| spec.id);
    let families = used_families(specs).into_iter().chain(FAMILIES).collect();
    Outline { specs: sorted, families, principals: PRINCIPAL_KINDS.to_vec(), types: entity_types(specs) }
}

/// The families that have operations.
pub(crate) fn used_families<'a>(specs: &[ActionSpec<'a>]) -> BTreeSet<&'a str> {
    specs.iter().filter_map(|spec| family(spec.id)).collect()
}

/// What of the registry a schema shows: the whole, or what one policy can tell apart.
#[derive(Debug)]
pub(crate) struct Outline<'a> {
    /// In the order of their ids.
    pub(crate) specs: Vec<&'a ActionSpec<'a>>,
    pub(crate) families: BTreeSet<&'a str>,
    pub(crate) principals: Vec<PrincipalKind>,
    /// The types of entities: at least those of the operations, of the principals, and above them.
    pub(crate) types: BTreeSet<String>,
}

/// The schema of an outline in Cedar's JSON form. The same as the text, and made into a [`cedar_policy::Schema`] in a
/// fraction of the time: most of what the text costs is to cut it into words.
pub(crate) fn json(specs: &[ActionSpec<'_>], outline: &Outline<'_>) -> Result<Value, String> {
    let shared = SHARED.as_ref().map_err(Clone::clone)?;
    let entity = |name: &String| {
        let (shape, within) = (&shared.shape, parents(name));
        let entity = if within.is_empty() {
            json!({ "shape": shape })
        } else {
            json!({ "shape": shape, "memberOfTypes": within })
        };
        (name.clone(), entity)
    };
    let entities: Map<String, Value> = outline.types.iter().map(entity).collect();
    let principals: Vec<_> = outline.principals.iter().map(|kind| principal_type(*kind)).collect();
    let applies = |resources: &[&str]| {
        let context = json!({ "type": "CallContext" });
        json!({ "principalTypes": principals, "resourceTypes": resources, "context": context })
    };
    let nothing = json!({ "appliesTo": { "principalTypes": [], "resourceTypes": [] } });
    let used = used_families(specs);
    let effects = Effect::ALL.iter().map(|effect| (effect.as_str().to_owned(), nothing.clone()));
    let families = outline.families.iter().map(|name| {
        let own = if used.contains(name) { nothing.clone() } else { json!({ "appliesTo": applies(&["Tenant"]) }) };
        (format!("{name}.*"), own)
    });
    let operations = outline.specs.iter().map(|spec| {
        let group = format!("{}.*", family(spec.id).unwrap_or_default());
        let within = json!([{ "id": spec.effect.as_str() }, { "id": group }]);
        (spec.id.to_owned(), json!({ "memberOf": within, "appliesTo": applies(&target_types(spec)) }))
    });
    let actions: Map<String, Value> = effects.chain(families).chain(operations).collect();
    let whole = json!({ "commonTypes": shared.types, "entityTypes": entities, "actions": actions });
    Ok(json!({ NAMESPACE: whole }))
}

/// What every schema shares, in Cedar's JSON form.
struct Shared {
    types: Value,
    shape: Value,
}

static SHARED: LazyLock<Result<Shared, String>> = LazyLock::new(|| {
    let mut text = format!("namespace {NAMESPACE} {{\n");
    types(&mut text);
    let _ = writeln!(text, "  entity Any = {FACTS};\n}}");
    let (fragment, _) = SchemaFragment::from_cedarschema_str(&text).map_err(|error| error.to_string())?;
    let mut whole = fragment.to_json_value().map_err(|error| error.to_string())?;
    let mut part = |path: &str| whole.pointer_mut(&format!("/{NAMESPACE}/{path}")).map(Value::take).unwrap_or_default();
    Ok(Shared { types: part("commonTypes"), shape: part("entityTypes/Any/shape") })
});

/// The schema of an outline.
pub(crate) fn render(specs: &[ActionSpec<'_>], outline: &Outline<'_>) -> String {
    let mut out = format!("namespace {NAMESPACE} {{\n");
    types(&mut out);
    entities(&mut out, &outline.types);
    actions(&mut out, &used_families(specs), outline);
    out.push_str("}\n");
    out
}

const FACTS: &str =
    "{ id: String, kind: String, tags: Set<String>, owner?: String, tenant?: String, created_by?: String }";

fn types(out: &mut String) {
    let counts = APPROVAL_COUNTS.map(|name| format!("{name}: Long")).join(", ");
    let evidence = EVIDENCE.map(|name| format!("{name}: Bool")).join(", ");
    let _ = write!(
        out,
        "  type ApprovalCounts = {{ {counts} }};
  type EvidenceFacts = {{ {evidence} }};
  type CallContext = {{
    tenant: String, tenant_tags: Set<String>, origin: String,
    now_micros: Long, hour: Long, weekday: Long,
    autonomy: String, tainted: Bool, target_in_case: Bool,
    target_count: Long, recent_count: Long, budget_left: Long,
    on_behalf_of: Set<String>, granted_roles: Set<String>,
    approvals: ApprovalCounts, evidence: EvidenceFacts,
    break_glass: Bool, self_approval: Bool,
  }};

"
    );
}

/// The types that an entity of this type may be in.
fn parents(name: &str) -> &'static [&'static str] {
    match name {
        "Provider" => &[],
        "Tenant" => &["Provider"],
        other if PRINCIPAL_KINDS.iter().any(|kind| principal_type(*kind) == other) => &["Role", "Tenant", "Provider"],
        _ => &["Tenant", "Provider"],
    }
}

fn entities(out: &mut String, types: &BTreeSet<String>) {
    for name in types {
        let parents = parents(name);
        let parents = if parents.is_empty() { String::new() } else { format!(" in [{}]", parents.join(", ")) };
        let _ = writeln!(out, "  entity {name}{parents} = {FACTS};");
    }
    out.push('\n');
}

fn actions(out: &mut String, used: &BTreeSet<&str>, outline: &Outline<'_>) {
    let principals = outline.principals.iter().map(|kind| principal_type(*kind)).collect::<Vec<_>>().join(", ");
    let applies = |resources: &str| {
        format!("appliesTo {{ principal: [{principals}], resource: [{resources}], context: CallContext }}")
    };
    for effect in Effect::ALL {
        let _ = writeln!(out, "  action \"{}\";", effect.as_str());
    }
    for name in &outline.families {
        // A family without operations applies to itself, so that policies which name it are type-checked already.
        let own = if used.contains(name) { String::new() } else { format!(" {}", applies("Tenant")) };
        let _ = writeln!(out, "  action \"{name}.*\"{own};");
    }
    for spec in &outline.specs {
        let group = family(spec.id).unwrap_or_default();
        let resources = target_types(spec).join(", ");
        let _ = writeln!(
            out,
            "  action \"{}\" in [\"{}\", \"{group}.*\"] {};",
            spec.id,
            spec.effect.as_str(),
            applies(&resources)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_of_one_schema() {
        let spec = |id, effect, resource_type| ActionSpec { id, effect, resource_type, obligations: &[] };
        let specs = [
            spec("tenant.get", Effect::Read, "Tenant"),
            spec("case.close", Effect::Write, "Case"),
            spec("role.assign", Effect::Govern, "Role"),
            spec("host.isolate", Effect::Respond, "Host"),
        ];
        let outline = whole(&specs);
        let (fragment, _) = SchemaFragment::from_cedarschema_str(&render(&specs, &outline)).unwrap();
        assert_eq!(json(&specs, &outline).unwrap(), fragment.to_json_value().unwrap());
    }
}

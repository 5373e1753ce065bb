//! The Cedar schema, as text, from the registry's [`ActionSpec`]s.
//!
//! The same specs give the same text, byte for byte; a golden file in git shows every change in review. Never
//! knows a policy.

use crate::spec::{APPROVAL_COUNTS, ActionSpec, EVIDENCE, Effect, FAMILIES, NAMESPACE, action_id, family, type_name};
use ids::PrincipalKind;
use std::{collections::BTreeSet, fmt::Write as _};
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
    let mut sorted: Vec<_> = specs.iter().collect();
    sorted.sort_by_key(|spec| spec.id);
    let families = used_families(specs).into_iter().chain(FAMILIES).collect();
    let outline = Outline { specs: sorted, families, principals: PRINCIPAL_KINDS.to_vec() };
    Ok(render(specs, &outline))
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
}

/// The schema of an outline; the entity types are always all of them.
pub(crate) fn render(specs: &[ActionSpec<'_>], outline: &Outline<'_>) -> String {
    let mut out = format!("namespace {NAMESPACE} {{\n");
    types(&mut out);
    entities(&mut out, specs);
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

fn entities(out: &mut String, specs: &[ActionSpec<'_>]) {
    let principals: BTreeSet<&str> = PRINCIPAL_KINDS.iter().map(|kind| principal_type(*kind)).collect();
    for name in entity_types(specs) {
        let parents = match name.as_str() {
            "Provider" => "",
            "Tenant" => " in [Provider]",
            other if principals.contains(other) => " in [Role, Tenant, Provider]",
            _ => " in [Tenant, Provider]",
        };
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

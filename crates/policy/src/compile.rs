//! From specs, documents and rungs to an [`Engine`], or to every fault at once.
//!
//! Nothing that does not pass here is ever asked. Never decides.

use crate::{
    document::{self, Clause, Document},
    engine::{Action, Engine},
    fault::PolicyFault,
    polarity::{Point, context_names},
    question::{CONTEXT, Names},
    rung::{Rung, check_rungs},
    schema::{entity_types, schema_text, target_types},
    slices::{Planner, asked},
    spec::{APPROVAL_COUNTS, ActionSpec, family},
    validate::validate,
};
use cedar_policy::Entity;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt::Write as _,
    sync::Arc,
};

/// A fault of the registry or of the rungs, told in the form of a document's.
pub(crate) fn outside(name: &str, why: impl std::fmt::Display) -> Vec<PolicyFault> {
    vec![PolicyFault::new(name, None, why.to_string(), "")]
}

impl Engine {
    /// Read, check and index a set of documents.
    ///
    /// # Errors
    /// Every fault of every document: malformed Cedar, unknown annotations, names or types that do not exist,
    /// obligations that an operation does not honour, approvals that would take a permission away.
    pub fn compile(specs: &[ActionSpec<'_>], documents: &[Document], rungs: &[Rung]) -> Result<Self, Vec<PolicyFault>> {
        let schema_text = schema_text(specs).map_err(|error| outside("operations", error))?;
        check_rungs(rungs).map_err(|error| outside("rungs", error))?;
        let clauses = read_all(documents)?;
        let warnings = validate(specs, documents, &clauses)?;
        let bug = |why: String| outside("operations", why);
        let mut by_tenant: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
        for (index, clause) in clauses.iter().enumerate() {
            let tenant = documents.get(clause.document).and_then(|document| document.tenant.as_deref());
            by_tenant.entry(tenant).or_default().push(index);
        }
        let asked = asked(&clauses).map_err(bug)?;
        let mut planner = Planner::new(&clauses, &asked);
        let mut everywhere = HashMap::new();
        let mut tenants = HashMap::new();
        for (tenant, chosen) in by_tenant {
            let plans = planner.plans(specs, &chosen).map_err(bug)?;
            match tenant {
                Some(tenant) => drop(tenants.insert(tenant.to_owned(), plans)),
                None => everywhere = plans,
            }
        }
        Ok(Self {
            canonical: canonical(&schema_text, documents, rungs),
            names: Names::new(entity_types(specs)).map_err(|wrong| outside("operations", wrong.0))?,
            actions: actions(specs).map_err(bug)?,
            looked_at: looked_at(&clauses).map_err(bug)?,
            asked,
            rungs: rungs.iter().map(ladder_step).collect(),
            clauses,
            everywhere,
            tenants,
            schema_text,
            warnings,
        })
    }
}

fn read_all(documents: &[Document]) -> Result<Vec<Clause>, Vec<PolicyFault>> {
    let mut faults = Vec::new();
    let mut clauses = Vec::new();
    let mut names = BTreeSet::new();
    for (index, document) in documents.iter().enumerate() {
        if !names.insert(&document.name) {
            let why = "another document has the same name";
            faults.push(PolicyFault::new(&document.name, None, why, "give each document its own name"));
        }
        clauses.extend(document::read(document, index, &mut faults));
    }
    clauses.sort_by(|one, other| one.reference.cmp(&other.reference));
    if faults.is_empty() { Ok(clauses) } else { Err(faults) }
}

fn looked_at(clauses: &[Clause]) -> Result<Vec<&'static str>, String> {
    let mut names = BTreeSet::new();
    for clause in clauses {
        context_names(&clause.policy.to_json().map_err(|error| error.to_string())?, &mut names);
    }
    Ok(CONTEXT.into_iter().filter(|name| names.contains(*name)).collect())
}

fn ladder_step(rung: &Rung) -> (Arc<str>, Point) {
    let mut point = Point { counts: [0; APPROVAL_COUNTS.len()], evidence: 0 };
    for (slot, name) in point.counts.iter_mut().zip(APPROVAL_COUNTS) {
        *slot = rung.counts.get(name).copied().unwrap_or(0);
    }
    (rung.name.as_str().into(), point)
}

fn actions(specs: &[ActionSpec<'_>]) -> Result<HashMap<String, Action>, String> {
    let action = |spec: &ActionSpec<'_>| {
        let uid = |id: &str| Names::action(id).map_err(|wrong| wrong.0);
        let group = format!("{}.*", family(spec.id).unwrap_or_default());
        let parents = HashSet::from([uid(spec.effect.as_str())?, uid(&group)?]);
        let types = target_types(spec).into_iter().map(str::to_owned).collect();
        Ok((spec.id.to_owned(), Action { entity: Entity::new_no_attrs(uid(spec.id)?, parents), types }))
    };
    specs.iter().map(action).collect()
}

/// Everything that decisions depend on, as one text; its digest names the version of the policy set.
fn canonical(schema: &str, documents: &[Document], rungs: &[Rung]) -> String {
    let mut sorted: Vec<_> = documents.iter().collect();
    sorted.sort_by_key(|document| &document.name);
    let mut out = format!("posse policy set v1\nschema {}\n{schema}", schema.len());
    for Document { name, version, text, tenant, .. } in sorted {
        let tenant = tenant.as_deref().unwrap_or("-");
        let _ = write!(out, "document {name} {version} {tenant} {}\n{text}\n", text.len());
    }
    for rung in rungs {
        let _ = writeln!(out, "rung {} {:?}", rung.name, rung.counts);
    }
    out
}

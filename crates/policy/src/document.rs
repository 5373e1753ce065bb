//! Policy documents: from text to policies with known annotations, or to a list of faults.
//!
//! Knows the form of a document, not what its policies mean together; never decides.

use crate::{
    decision::Obligations,
    fault::{Place, PolicyFault},
    polarity::{self, Atom},
    spec::{EVIDENCE, ObligationKind},
};
use cedar_policy::{Effect, Policy, PolicySet};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};

/// Longest text of one document, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 262_144;
/// Most policies in one document.
pub const DOCUMENT_POLICIES_MAX: usize = 1_000;

/// One policy document: some Cedar policies with a name and a version.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The stored object's id; not read by policies.
    pub id: String,
    /// Qualifies the ids of its policies (`name/policy`): lower-case letters, digits, `_`, `-`, at most 64.
    pub name: String,
    /// Counts up with each change.
    pub version: u64,
    /// The Cedar text.
    pub text: String,
    /// Applies only to calls whose `context.tenant` is this one; none: to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// One policy of a document, read and understood.
#[derive(Debug)]
pub(crate) struct Clause {
    /// `document/id`.
    pub(crate) reference: Arc<str>,
    /// Index of its document.
    pub(crate) document: usize,
    pub(crate) id: String,
    pub(crate) summary: Option<String>,
    pub(crate) policy: Policy,
    pub(crate) permit: bool,
    pub(crate) human_only: bool,
    /// Bits of [`EVIDENCE`] that the annotation `@defer` names.
    pub(crate) defer: u8,
    pub(crate) obligations: Obligations,
    pub(crate) obligation_kinds: Vec<ObligationKind>,
    pub(crate) atoms: Vec<Atom>,
    pub(crate) tests: Vec<String>,
    pub(crate) place: Place,
}

impl Clause {
    /// Whether approvals or evidence could change what it says.
    pub(crate) fn swings(&self) -> bool {
        !self.atoms.is_empty() || self.defer != 0
    }
}

/// Whether `text` can name a document, a policy or a role.
pub(crate) fn slug(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'))
}

/// The policies of one document; `index` is its place among all.
pub(crate) fn read(document: &Document, index: usize, faults: &mut Vec<PolicyFault>) -> Vec<Clause> {
    let before = faults.len();
    let fault = |why: String, hint: &str| PolicyFault::new(&document.name, None, why, hint);
    if !slug(&document.name) {
        faults.push(fault(
            "the document's name is not a name".to_owned(),
            "use lower-case letters, digits, `_` and `-`, at most 64",
        ));
    }
    if document.text.len() > DOCUMENT_BYTES_MAX {
        let why = format!("the document is {} bytes long; {DOCUMENT_BYTES_MAX} are allowed", document.text.len());
        faults.push(fault(why, "split it into several documents"));
    }
    if faults.len() > before {
        return Vec::new();
    }
    let set: PolicySet = match document.text.parse() {
        Ok(set) => set,
        Err(errors) => {
            let errors: cedar_policy::ParseErrors = errors;
            faults.extend(
                errors.iter().map(|error| PolicyFault::from_cedar(&document.name, None, &document.text, error)),
            );
            return Vec::new();
        }
    };
    if let Some(template) = set.templates().next() {
        let why = format!("`{}` is a template", template.annotation("id").unwrap_or("a policy"));
        faults.push(fault(why, "write the principal or resource in place of `?principal` or `?resource`"));
    }
    if set.num_of_policies() > DOCUMENT_POLICIES_MAX {
        let why = format!("{} policies are too many; {DOCUMENT_POLICIES_MAX} are allowed", set.num_of_policies());
        faults.push(fault(why, "split it into several documents"));
        return Vec::new();
    }
    let mut policies: Vec<_> = set.policies().cloned().collect();
    policies.sort_by_key(|policy| place(policy).offset);
    let mut seen = BTreeSet::new();
    let mut clauses = Vec::new();
    for policy in policies {
        if let Some(clause) = clause(document, index, policy, faults) {
            if !seen.insert(clause.id.clone()) {
                let why = format!("`@id(\"{}\")` comes twice in this document", clause.id);
                let fault = PolicyFault::new(&document.name, Some(&clause.id), why, "give each policy its own id");
                faults.push(fault.at(&document.text, clause.place));
            }
            clauses.push(clause);
        }
    }
    clauses
}

fn place(policy: &Policy) -> Place {
    policy
        .as_ref()
        .loc()
        .map_or_else(Place::default, |loc| Place { offset: loc.start(), length: loc.end() - loc.start() })
}

/// What the annotations of one policy say.
#[derive(Default)]
struct Annotations {
    human_only: bool,
    defer: u8,
    obligations: Obligations,
    kinds: Vec<ObligationKind>,
    tests: Vec<String>,
}

fn clause(document: &Document, index: usize, policy: Policy, faults: &mut Vec<PolicyFault>) -> Option<Clause> {
    let before = faults.len();
    let place = place(&policy);
    let id = policy.annotation("id").unwrap_or_default().to_owned();
    let known = Some(id.as_str()).filter(|id| !id.is_empty());
    let mut fault = |why: String, hint: &str| {
        faults.push(PolicyFault::new(&document.name, known, why, hint).at(&document.text, place));
    };
    if !slug(&id) {
        fault(
            if id.is_empty() { "the policy has no `@id`".to_owned() } else { "`@id` is not a name".to_owned() },
            "put `@id(\"short-name\")` before it: lower-case letters, digits, `_` and `-`, at most 64",
        );
    }
    let permit = policy.effect() == Effect::Permit;
    let mut said = Annotations::default();
    let mut annotations: Vec<_> = policy.annotations().collect();
    annotations.sort_unstable();
    for (name, value) in annotations {
        if let Err((why, hint)) = annotation(name, value, permit, &mut said) {
            fault(why, hint);
        }
    }
    let atoms = match policy.to_json().map(|json| polarity::atoms(&json, permit)) {
        Ok(Ok(atoms)) => atoms,
        Ok(Err(misuse)) => {
            fault(misuse.why, misuse.hint);
            Vec::new()
        }
        Err(error) => {
            fault(format!("the policy cannot be read: {error}"), "");
            Vec::new()
        }
    };
    if said.human_only && (!atoms.is_empty() || said.defer != 0) {
        fault(
            "`@authority(\"human_only\")` stands on a forbid that an approval or evidence lifts".to_owned(),
            "leave out the annotation, or the condition on approvals and evidence",
        );
    }
    let summary = policy.annotation("summary").map(str::to_owned);
    (faults.len() == before).then(|| Clause {
        reference: format!("{}/{id}", document.name).into(),
        document: index,
        id,
        summary,
        policy,
        permit,
        human_only: said.human_only,
        defer: said.defer,
        obligations: said.obligations,
        obligation_kinds: said.kinds,
        atoms,
        tests: said.tests,
        place,
    })
}

fn annotation(name: &str, value: &str, permit: bool, said: &mut Annotations) -> Result<(), (String, &'static str)> {
    let side = |right: bool, hint| {
        let word = if permit { "permit" } else { "forbid" };
        if right { Ok(()) } else { Err((format!("`@{name}` stands on a {word}"), hint)) }
    };
    match name {
        "id" => {}
        "summary" if (1..=1_000).contains(&value.chars().count()) => {}
        "summary" => return Err(("`@summary` is empty or too long".to_owned(), "write 1 to 1000 characters")),
        "authority" => {
            side(!permit, "only a forbid can say that people alone may do this")?;
            if value != "human_only" {
                return Err((
                    format!("`@authority(\"{}\")` is unknown", echo(value)),
                    "write `@authority(\"human_only\")`",
                ));
            }
            said.human_only = true;
        }
        "defer" => {
            side(!permit, "evidence lifts a forbid; put `@defer` on one")?;
            said.defer = evidence(value)?;
        }
        "max_rows" => {
            side(permit, "obligations belong on permits")?;
            said.obligations.max_rows = Some(count(name, value)?);
            said.kinds.push(ObligationKind::MaxRows);
        }
        "ttl_secs_max" => {
            side(permit, "obligations belong on permits")?;
            said.obligations.ttl_secs_max = Some(count(name, value)?);
            said.kinds.push(ObligationKind::TtlSecsMax);
        }
        "mask" => {
            side(permit, "obligations belong on permits")?;
            said.obligations.mask = paths(value)?;
            said.kinds.push(ObligationKind::Mask);
        }
        "tests" => said.tests = value.split(',').map(|test| test.trim().to_owned()).collect(),
        _ => {
            let hint = "known are `id`, `summary`, `authority`, `defer`, `max_rows`, `mask`, `ttl_secs_max`, `tests`";
            return Err((format!("`@{}` is an unknown annotation", echo(name)), hint));
        }
    }
    Ok(())
}

fn echo(text: &str) -> String {
    text.chars().take(64).collect()
}

fn evidence(value: &str) -> Result<u8, (String, &'static str)> {
    value.split(',').map(str::trim).try_fold(0, |bits, name| {
        EVIDENCE.iter().position(|known| *known == name).map(|index| bits | (1 << index)).ok_or((
            format!("`{}` is no evidence that can be waited for", echo(name)),
            "known are `backtest_passed`, `case_verdict`, `evidence_captured`, `tests_passed`",
        ))
    })
}

fn count(name: &str, value: &str) -> Result<u64, (String, &'static str)> {
    value.parse().ok().filter(|count| (1..=1 << 53).contains(count)).ok_or((
        format!("`@{name}(\"{}\")` is not a count", echo(value)),
        "write a whole number from 1, as text: `\"1000\"`",
    ))
}

fn paths(value: &str) -> Result<BTreeSet<String>, (String, &'static str)> {
    value
        .split(',')
        .map(str::trim)
        .map(|path| {
            let right = path.len() <= 256
                && path.split('.').all(|part| {
                    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                });
            if right {
                Ok(path.to_owned())
            } else {
                Err((
                    format!("`{}` is not a field", echo(path)),
                    "write dotted names, commas between: `\"actor.email,raw\"`",
                ))
            }
        })
        .collect()
}

//! Conclusions. Whoever concludes cites; what is cited is looked up in the case's tenant as the caller may read it, and
//! a claim that the evidence does not bear out is refused before anything is written.

use super::desk::worked;
use super::work::{become_status, replaced};
use super::{Note, case_target, entry, made, root, same};
use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{CaseConclude, Fault, Problem};
use case::{Citation, Claim, EntryKind, EvidenceRef, Status, Verdict, check_conclusion};
use ids::{Principal, PrincipalKind, Scope, Text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use store::{Case, CaseEvidence, Changes, Conclusion, Exhibit, Stored};

/// Pieces of evidence that one conclusion cites at most: each is read from the lake.
const CITED_MAX: usize = 100;

/// Claims of the input; each citation names exactly one piece of evidence.
fn claims(input: &CaseConclude) -> Result<Vec<Claim>, Refusal> {
    let mut faults = Vec::new();
    let mut claims = Vec::new();
    for (number, claim) in input.claims.iter().enumerate() {
        let mut citations = Vec::new();
        for (place, citation) in claim.citations.iter().enumerate() {
            let evidence = match (citation.event, citation.evidence) {
                (Some(event), None) => EvidenceRef::Event(event),
                (None, Some(evidence)) => EvidenceRef::Evidence(evidence.to_string()),
                _ => {
                    faults.push(Fault {
                        pointer: format!("/claims/{number}/citations/{place}"),
                        detail: "names not exactly one piece of evidence; give `event` or `evidence`".to_owned(),
                    });
                    continue;
                }
            };
            let quotes = citation.quotes.iter().map(|quote| quote.as_str().to_owned()).collect();
            citations.push(Citation { evidence, quotes });
        }
        claims.push(Claim { text: claim.text.as_str().to_owned(), citations });
    }
    if faults.is_empty() { Ok(claims) } else { Err(Problem::invalid(faults).into()) }
}

/// Every scalar of a value as text.
fn scalars(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Null => {}
        Value::String(text) => out.push(text.clone()),
        Value::Bool(_) | Value::Number(_) => out.push(value.to_string()),
        Value::Array(items) => items.iter().for_each(|item| scalars(item, out)),
        Value::Object(fields) => fields.values().for_each(|field| scalars(field, out)),
    }
}

/// What an event holds: every value of its OCSF form and of its record, and the record as it came.
fn values(event: api::Event) -> Vec<String> {
    let mut values = vec![event.id, event.source, event.time.to_string()];
    scalars(&event.ocsf, &mut values);
    match serde_json::from_str::<Value>(&event.raw) {
        Ok(record) => scalars(&record, &mut values),
        Err(_) => values.push(event.raw.clone()),
    }
    if !event.raw.is_empty() {
        values.push(event.raw);
    }
    values
}

impl Control {
    /// The values of everything that is cited and can be read.
    async fn cited(
        &self,
        admitted: &Admitted<'_>,
        case: &Case,
        claims: &[Claim],
    ) -> Result<BTreeMap<EvidenceRef, Vec<String>>, Refusal> {
        let mut wanted: BTreeMap<EvidenceRef, Option<Vec<String>>> = BTreeMap::new();
        for citation in claims.iter().flat_map(|claim| &claim.citations) {
            wanted.insert(citation.evidence.clone(), None);
        }
        if wanted.len() > CITED_MAX {
            let detail = format!("cites {} pieces of evidence; at most {CITED_MAX}", wanted.len());
            return Err(Refusal::fault("/claims", detail));
        }
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (bounds, plane, _turn) = (admitted.bounds_of("event.get").await?, self.plane()?, admitted.turn().await?);
        let (mut held, mut named) = (BTreeMap::new(), BTreeMap::<String, Vec<EvidenceRef>>::new());
        let mut ids = Vec::new();
        for reference in wanted.into_keys() {
            let id = match &reference {
                EvidenceRef::Event(id) => *id,
                EvidenceRef::Evidence(name) => match self.exhibit(admitted, case, name).await? {
                    None => continue,
                    Some(Exhibit::Event(id)) => id,
                    // What can be quoted of a file is what its sensor signed of it.
                    Some(Exhibit::File { path, bytes, sha256, .. }) => {
                        held.insert(reference, vec![path, bytes.to_string(), sha256]);
                        continue;
                    }
                    Some(Exhibit::Query { rows, .. }) => {
                        let rows: Value = serde_json::from_str(&rows)
                            .map_err(|error| Refusal::bug("frozen rows do not parse", &error))?;
                        let mut values = Vec::new();
                        scalars(&rows, &mut values);
                        held.insert(reference, values);
                        continue;
                    }
                },
            };
            named.entry(id.to_string()).or_default().push(reference);
            ids.push(id);
        }
        if !ids.is_empty() {
            for event in plane.events(&Scope::Tenant(case.tenant), &ids, &bounds).await? {
                let references = named.remove(&event.id).unwrap_or_default();
                let values = values(event);
                held.extend(references.into_iter().map(|reference| (reference, values.clone())));
            }
        }
        Ok(held)
    }

    async fn exhibit(&self, admitted: &Admitted<'_>, case: &Case, name: &str) -> Result<Option<Exhibit>, Refusal> {
        let found: Option<Stored<CaseEvidence>> = admitted.snapshot.read(name).await?;
        let own = |one: &CaseEvidence| one.case == case.id || case.merged.contains(&one.case);
        Ok(found.map(|found| found.value).filter(own).map(|one| one.exhibit))
    }
}

impl Handle<CaseConclude> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &CaseConclude) -> Result<Target, Refusal> {
        case_target(look, input.case).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: CaseConclude) -> Result<Outcome<api::Case>, Refusal> {
        let before = root(&admitted.snapshot, input.case).await?;
        admitted.check_version(input.if_match, before.version)?;
        let by_person = before.value.conclusion.as_ref().is_some_and(|one| matches!(one.made.by, Principal::User(_)));
        if by_person && admitted.identity.principal.kind() == PrincipalKind::Agent {
            return Err(Refusal::conflict(
                "a person concluded this case; an agent does not replace that, it may comment",
            ));
        }
        let (mut case, claims) = (before.value.clone(), claims(&input)?);
        let verdict: Verdict = same(&input.verdict)?;
        let open_ended = matches!(verdict, Verdict::Unknown | Verdict::InsufficientData);
        if !(open_ended && claims.is_empty()) {
            let held = self.cited(admitted, &case, &claims).await?;
            check_conclusion(&claims, &|reference| held.get(reference).cloned()).map_err(|faults| {
                let told =
                    faults.iter().map(|fault| Fault { pointer: fault.pointer().to_owned(), detail: fault.to_string() });
                Refusal::from(Problem::invalid(told.collect()))
            })?;
        }
        if let Some(severity) = input.severity {
            case.severity = severity;
            case.weighed = true;
        }
        let status: Option<Status> = match &input.status {
            Some(status) => Some(same(status)?),
            None => (case.status == Status::New).then_some(Status::Triage),
        };
        if let Some(status) = status {
            become_status(&mut case, status, "/status")?;
        }
        worked(admitted, &mut case, status);
        let content = json!({ "verdict": verdict, "reason": input.reason, "claims": input.claims });
        let (mut events, mut evidence) = (Vec::new(), Vec::new());
        for citation in claims.iter().flat_map(|claim| &claim.citations) {
            match &citation.evidence {
                EvidenceRef::Event(event) if !events.contains(event) => events.push(*event),
                EvidenceRef::Evidence(name) => evidence.extend(name.parse::<ids::EvidenceId>().ok()),
                EvidenceRef::Event(_) => {}
            }
        }
        let reason = input.reason.into_string();
        let text = Text::<2000>::truncated(&format!("{verdict}: {reason}")).into_string();
        let note = Note { events, evidence, ..Note::of(text) };
        case.conclusion = Some(Conclusion { verdict, reason, claims, made: made(admitted, &content)? });
        let mut changes = Changes::new();
        changes.create(&entry(admitted, &case, 0, EntryKind::Concluded, note));
        self.wake_for_conclusion(admitted, &case, verdict, &mut changes).await?;
        replaced(admitted, &before, case, changes)
    }
}

//! From stored documents of cases to what is told, and from wire forms to the words of the rules. Changes nothing.

use super::same;
use crate::refusal::Refusal;
use api::Etag;
use case::{Clocks, Detection, Entity, EvidenceRef, Matched};
use ids::{List, TenantId, Text};
use store::{Case, CaseComment, CaseEvidence, CaseTask, Conclusion, EntityVerdict, Exhibit, Made, Stored};

pub(crate) fn made(made: &Made) -> api::Made {
    let Made { by, run, call, at, digest } = made.clone();
    api::Made { by, run, call, at, digest: Text::truncated(&digest) }
}

fn clocks(clocks: &Clocks) -> api::CaseClocks {
    let secs = |time: Option<std::time::Duration>| time.map(|time| time.as_secs());
    api::CaseClocks {
        detect_secs: secs(clocks.to_detect()),
        acknowledge_secs: secs(clocks.to_acknowledge()),
        contain_secs: secs(clocks.to_contain()),
        resolve_secs: secs(clocks.to_resolve()),
    }
}

fn list<T, const MAX: usize>(items: Vec<T>) -> List<T, MAX> {
    List::new(items.into_iter().take(MAX).collect()).unwrap_or_default()
}

fn claim(claim: &case::Claim) -> api::Claim {
    let citation = |citation: &case::Citation| {
        let (event, evidence) = match &citation.evidence {
            EvidenceRef::Event(event) => (Some(*event), None),
            EvidenceRef::Evidence(id) => (None, id.parse().ok()),
        };
        let quotes = citation.quotes.iter().map(|quote| Text::truncated(quote)).collect();
        api::Citation { event, evidence, quotes: list(quotes) }
    };
    let citations = claim.citations.iter().map(citation).collect();
    api::Claim { text: Text::truncated(&claim.text), citations: list(citations) }
}

fn conclusion(conclusion: &Conclusion) -> Result<api::CaseConclusion, Refusal> {
    Ok(api::CaseConclusion {
        verdict: same(&conclusion.verdict)?,
        verdict_id: conclusion.verdict.ocsf_id(),
        reason: Text::truncated(&conclusion.reason),
        claims: conclusion.claims.iter().map(claim).collect(),
        made: made(&conclusion.made),
    })
}

pub(crate) fn case(stored: &Stored<Case>) -> Result<api::Case, Refusal> {
    let case = &stored.value;
    Ok(api::Case {
        id: case.id,
        tenant: case.tenant,
        title: Text::truncated(&case.title),
        status: same(&case.status)?,
        status_id: case.status.ocsf_id(),
        severity: case.severity,
        conclusion: case.conclusion.as_ref().map(conclusion).transpose()?,
        assignee: case.assignee.clone(),
        tags: case.tags.iter().map(|tag| Text::truncated(tag)).collect(),
        opened: made(&case.opened),
        first: case.first,
        last: case.last,
        detections: case.detections,
        hosts: case.hosts.clone(),
        techniques: case.techniques.clone(),
        rules: case.rules.clone(),
        merged_into: case.merged_into,
        merged: case.merged.clone(),
        related: case.related.clone(),
        clocks: clocks(&case.clocks),
        updated_at: stored.updated_at,
        etag: Etag::of(stored.version),
    })
}

pub(crate) fn judgement(verdict: &EntityVerdict) -> Result<api::EntityJudgement, Refusal> {
    Ok(api::EntityJudgement {
        tenant: verdict.tenant,
        entity: verdict.entity.to_string(),
        verdict: same(&verdict.verdict)?,
        reason: Text::truncated(&verdict.reason),
        made: made(&verdict.made),
    })
}

pub(crate) fn comment(comment: &CaseComment) -> api::CaseComment {
    api::CaseComment {
        id: comment.id,
        case: comment.case,
        text: Text::truncated(&comment.text),
        made: made(&comment.made),
    }
}

pub(crate) fn task(task: &CaseTask) -> Result<api::CaseTask, Refusal> {
    Ok(api::CaseTask {
        id: task.id,
        case: task.case,
        title: Text::truncated(&task.title),
        state: same(&task.state)?,
        assignee: task.assignee.clone(),
        outcome: Text::truncated(&task.outcome),
        made: made(&task.made),
    })
}

/// Evidence; with the rows of a frozen answer where they are wanted.
pub(crate) fn evidence(evidence: &CaseEvidence, whole: bool) -> Result<api::CaseEvidence, Refusal> {
    let mut told = api::CaseEvidence {
        id: evidence.id,
        case: evidence.case,
        note: Text::truncated(&evidence.note),
        event: None,
        sql: None,
        row_count: None,
        complete: None,
        rows: None,
        file: None,
        made: made(&evidence.made),
    };
    match &evidence.exhibit {
        Exhibit::Event(event) => told.event = Some(*event),
        Exhibit::File { action, sensor, path, bytes, sha256 } => {
            told.file = Some(api::CollectedFile {
                action: *action,
                sensor: *sensor,
                path: Text::truncated(path),
                bytes: *bytes,
                sha256: Text::truncated(sha256),
            });
        }
        Exhibit::Query { sql, rows, row_count, complete } => {
            told.sql = Some(sql.clone());
            told.row_count = Some(*row_count);
            told.complete = Some(*complete);
            if whole {
                let rows = serde_json::from_str(rows);
                told.rows = Some(rows.map_err(|error| Refusal::bug("frozen rows do not parse", &error))?);
            }
        }
    }
    Ok(told)
}

pub(crate) fn detection(detection: &Detection) -> api::CaseDetection {
    let matched = |one: &Matched| api::MatchedField {
        field: Text::truncated(&one.field),
        values: list(one.values.iter().map(|value| Text::truncated(value)).collect()),
    };
    api::CaseDetection {
        id: detection.id,
        rule: detection.rule,
        rule_uid: Text::truncated(&detection.rule_uid),
        title: Text::truncated(&detection.title),
        severity: detection.severity,
        techniques: list(detection.techniques.iter().map(|one| Text::truncated(one)).collect()),
        event: detection.event,
        events: list(detection.events.clone()),
        time: detection.time,
        found_at: detection.found_at,
        entities: list(detection.entities.iter().map(|one| api::EntityName::of(&one.to_string())).collect()),
        matched: list(detection.matched.iter().map(matched).collect()),
    }
}

/// A detection of a tenant from its wire form; `at` is its place in the input.
pub(crate) fn detection_of(tenant: TenantId, wire: api::CaseDetection, at: &str) -> Result<Detection, Refusal> {
    let mut entities = Vec::with_capacity(wire.entities.len());
    for (number, name) in wire.entities.iter().enumerate() {
        entities.push(entity(name, &format!("{at}/entities/{number}"))?);
    }
    let matched = wire.matched.into_iter().map(|one| Matched {
        field: one.field.into_string(),
        values: one.values.into_iter().map(Text::into_string).collect(),
    });
    Ok(Detection {
        id: wire.id,
        tenant,
        rule: wire.rule,
        rule_uid: wire.rule_uid.into_string(),
        title: wire.title.into_string(),
        severity: wire.severity,
        techniques: wire.techniques.into_iter().map(Text::into_string).collect(),
        event: wire.event,
        events: wire.events.into_vec(),
        time: wire.time,
        found_at: wire.found_at,
        entities,
        matched: matched.collect(),
    })
}

/// An entity of the input.
pub(crate) fn entity(name: &str, at: &str) -> Result<Entity, Refusal> {
    name.parse().map_err(|error: case::UnknownEntity| Refusal::fault(at, error.to_string()))
}

//! Cases: opened by detections or by hand, worked on, concluded, merged. The rules are crate `case`'s; here they are
//! applied to stored documents. A case that became part of another is followed to the one that it became part of, so that
//! whoever works on it by its old id goes on.

mod conclude;
mod desk;
mod entity;
mod evidence;
mod finding;
mod intake;
mod observe;
mod open;
mod recover;
mod timeline;
mod told;
mod work;

pub(crate) use evidence::canonical;
pub use finding::finding;
pub use intake::ObserveError;
pub(crate) use open::Opening;

use crate::admission::{Admitted, Look};
use crate::refusal::Refusal;
use crate::target::Target;
use case::{EntryKind, Linking, LinkingError};
use ids::{CaseId, DetectionId, EventId, EvidenceId, Owner, PrincipalKind, Timestamp};
use seal::{Digest, canonical_json};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use store::{Case, CaseEntry, Made, Resource, Snapshot, Stored};

/// How many steps from a case to the one that it became part of; merging keeps it at one.
const STEPS_MAX: usize = 64;
/// Documents of one kind that one case tells at once.
pub(crate) const TOLD_MAX: usize = 100;

/// What the gate keeps for cases.
pub(crate) struct CaseState {
    /// Which entities tie detections together.
    pub(crate) linking: Linking,
    /// One intake at a time: two that do not see each other's cases would open one each.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

impl CaseState {
    pub(crate) fn new() -> Result<Self, LinkingError> {
        Ok(Self { linking: Linking::shipped()?, turn: tokio::sync::Mutex::new(()) })
    }
}

/// The same word in another type: the enums of the wire and of the rules have the same words.
pub(crate) fn same<A: Serialize, B: DeserializeOwned>(word: &A) -> Result<B, Refusal> {
    let value = serde_json::to_value(word).map_err(|error| Refusal::bug("a word does not serialise", &error))?;
    serde_json::from_value(value).map_err(|error| Refusal::bug("a word has no counterpart", &error))
}

/// The case that a call acts on: the one it names, in the caller's reach.
pub(crate) async fn case_target(look: &Look<'_>, case: CaseId) -> Result<Target, Refusal> {
    let head: Stored<Case> = look.one("case", &case.to_string()).await?;
    let Case { title, tenant, opened, tags, .. } = head.value;
    let mut target = Target::new("Case", case.to_string(), Owner::Tenant(tenant)).named(title).made_by(opened.by);
    target.tags = tags;
    Ok(target)
}

/// A case, or the one that it became part of.
pub(crate) async fn root(snapshot: &Snapshot, case: CaseId) -> Result<Stored<Case>, Refusal> {
    let mut id = case;
    for _ in 0..STEPS_MAX {
        let head: Option<Stored<Case>> = snapshot.read(&id.to_string()).await?;
        let head = head.ok_or_else(|| Refusal::not_found("case"))?;
        match head.value.merged_into {
            Some(next) => id = next,
            None => return Ok(head),
        }
    }
    Err(Refusal::bug("cases are merged in a circle", &case))
}

/// Every document of a kind that belongs to a case or to what became part of it; at most `most`, and whether that is all.
pub(crate) async fn belongings<R: Resource>(
    snapshot: &Snapshot,
    case: &Case,
    most: usize,
) -> Result<(Vec<Stored<R>>, bool), Refusal> {
    let mut found: Vec<Stored<R>> = Vec::new();
    for part in std::iter::once(&case.id).chain(&case.merged) {
        let mut after = None;
        loop {
            let key = Some(("case", part.to_string()));
            let page = store::Page { after, limit: 500, key, ..store::Page::default() };
            let some: Vec<Stored<R>> = snapshot.list(&page).await?;
            after = some.last().map(|last| last.value.id());
            let whole = some.len() >= 500;
            found.extend(some);
            if found.len() > most {
                found.truncate(most);
                return Ok((found, false));
            }
            if !whole {
                break;
            }
        }
    }
    Ok((found, true))
}

/// Who makes something by this call.
pub(crate) fn made(admitted: &Admitted<'_>, content: &Value) -> Result<Made, Refusal> {
    let canonical =
        canonical_json(content).map_err(|error| Refusal::bug("what was made has no canonical form", &error))?;
    Ok(made_of(admitted, &Digest::of(&canonical)))
}

/// The same for something whose digest is known.
pub(crate) fn made_of(admitted: &Admitted<'_>, digest: &Digest) -> Made {
    let (by, run) = (admitted.identity.principal.clone(), admitted.identity.run);
    Made { by, run, call: admitted.call, at: admitted.now, digest: digest.to_hex() }
}

/// Whether the platform itself calls: it acknowledges nothing.
pub(crate) fn by_platform(admitted: &Admitted<'_>) -> bool {
    admitted.identity.principal.kind() == PrincipalKind::System
}

/// What an entry of a timeline says.
#[derive(Default)]
pub(crate) struct Note {
    pub(crate) text: String,
    pub(crate) time: Option<Timestamp>,
    pub(crate) detections: Vec<DetectionId>,
    pub(crate) events: Vec<EventId>,
    pub(crate) evidence: Vec<EvidenceId>,
}

impl Note {
    pub(crate) fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// An entry of a case's timeline by this call.
pub(crate) fn entry(admitted: &Admitted<'_>, case: &Case, part: u16, kind: EntryKind, note: Note) -> CaseEntry {
    let Note { text, time, detections, events, evidence } = note;
    CaseEntry {
        case: case.id,
        tenant: case.tenant,
        call: admitted.call,
        part,
        kind,
        at: admitted.now,
        time,
        actor: admitted.identity.principal.clone(),
        run: admitted.identity.run,
        operation: admitted.operation.to_owned(),
        text,
        detections,
        events,
        evidence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both<A: Serialize + DeserializeOwned, B: Serialize + DeserializeOwned>(all: &[A], words: usize) {
        assert_eq!(all.len(), words);
        for one in all {
            let other: B = same(one).unwrap();
            assert_eq!(serde_json::to_value(one).unwrap(), serde_json::to_value(&other).unwrap());
        }
    }

    #[test]
    fn wire_and_rules_have_the_same_words() {
        both::<case::Status, api::CaseStatus>(case::Status::ALL, 7);
        both::<case::Verdict, api::CaseVerdict>(case::Verdict::ALL, 11);
        both::<EntryKind, api::TimelineKind>(EntryKind::ALL, 10);
        both::<case::TaskState, api::CaseTaskState>(case::TaskState::ALL, 4);
        let kinds: Vec<&str> = case::EntityKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(kinds, api::EntityName::KINDS);
    }
}

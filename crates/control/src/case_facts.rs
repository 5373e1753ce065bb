//! What policy is told about the case that a run works on, besides whether it names the target: whether it was concluded to
//! be an attack, and whether it is about a process or only about what that process made. Looked up by the platform alone.

use crate::context::Control;
use crate::identity::Identity;
use crate::refusal::Refusal;
use crate::target::Target;
use case::{Entity, EntityKind, Verdict};
use ids::{CaseId, Scope};
use store::{CaseDetection, Page, Snapshot, Stored};

/// Detections of a case that are looked through for a process.
const DETECTIONS_MAX: u32 = 500;

impl Control {
    /// Whether the case of the caller's credential was concluded to be an attack, or that it may well be one.
    pub(crate) async fn case_verdict(&self, identity: &Identity, target: &Target) -> Result<bool, Refusal> {
        let (Some(case), Some(tenant)) = (identity.case, target.owner.tenant()) else { return Ok(false) };
        let case = crate::cases::root(&self.store.snapshot(Scope::Tenant(tenant)), case).await?.value;
        let verdict = case.conclusion.map(|conclusion| conclusion.verdict);
        Ok(matches!(verdict, Some(Verdict::TruePositive | Verdict::Suspicious)))
    }
}

/// Whether a detection of a case is about this process: its makers, which are named too, are not what was found.
pub(crate) async fn is_found(snapshot: &Snapshot, case: CaseId, process: &Entity) -> Result<bool, Refusal> {
    let key = Some(("case", case.to_string()));
    let page = Page { key, limit: DETECTIONS_MAX, ..Page::default() };
    let found: Vec<Stored<CaseDetection>> = snapshot.list(&page).await?;
    Ok(found.iter().any(|one| subject(&one.value.detection.entities) == Some(process)))
}

/// The process that a detection is about: the first that it names.
fn subject(entities: &[Entity]) -> Option<&Entity> {
    entities.iter().find(|entity| entity.kind() == EntityKind::Lineage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_what_was_found_and_not_who_made_it() {
        let of = |kind, value: &str| Entity::new(kind, value).unwrap();
        let (own, maker) = (of(EntityKind::Lineage, "ws01/b:7:1"), of(EntityKind::Lineage, "ws01/b:6:1"));
        let entities = [of(EntityKind::Host, "ws01"), own.clone(), maker.clone()];
        assert_eq!(subject(&entities), Some(&own));
        assert_ne!(subject(&entities), Some(&maker));
        assert_eq!(subject(&[]), None);
    }
}

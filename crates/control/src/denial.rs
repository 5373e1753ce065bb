//! Refusals: what the caller of a denied call is told, and the record of a call that came to nothing. What a caller may
//! not know of looks like what is not there.

use crate::context::Control;
use crate::decide::Circumstances;
use crate::gate::{Passage, Progress, asked};
use crate::record::Ending;
use crate::refusal::Refusal;
use crate::target::Target;
use api::{Effect, Problem, ProblemKind};
use policy::Decision;
use store::{Commit, CommitError};

impl Control {
    /// The refusal of a denied call: `denied` where the caller may know of the target, else `not found`.
    pub(crate) async fn denied(
        &self,
        passage: &Passage<'_>,
        target: &Target,
        decision: &Decision,
        human_only: bool,
    ) -> Result<Refusal, Refusal> {
        if !self.may_know(passage, target).await? {
            return Ok(Refusal::not_found(&noun(target.kind)));
        }
        let detail = if human_only {
            format!("`{}` is for people only; an agent cannot even propose it", passage.spec.meta.id)
        } else if decision.policies.is_empty() {
            format!("no role of yours allows `{}` here; ask an administrator", passage.spec.meta.id)
        } else {
            format!("policy forbids `{}` here", passage.spec.meta.id)
        };
        let policies = decision.policies.iter().map(ToString::to_string).collect();
        Ok(Problem { policies, ..Problem::new(ProblemKind::Denied, detail) }.into())
    }

    /// Whether the caller may know that the target exists: it is the caller's own place, or the caller may look at it.
    pub(crate) async fn may_know(&self, passage: &Passage<'_>, target: &Target) -> Result<bool, Refusal> {
        if matches!(target.kind, "Provider" | "Self" | "Tenant") && target.owner == passage.identity.place() {
            return Ok(true);
        }
        let family = if target.kind == "Tenant" { "tenant" } else { passage.spec.meta.family() };
        let looks = ["get", "list", "status"].iter().find_map(|verb| self.registry.spec(&format!("{family}.{verb}")));
        let Some(spec) = looks else { return Ok(false) };
        let target = if spec.meta.resource == target.kind {
            target.clone()
        } else if matches!(spec.meta.resource, "Tenant" | "Provider") {
            Target::place(target.owner)
        } else {
            return Ok(false);
        };
        let circumstances = Circumstances::default();
        let request = self.question(&passage.identity, spec, &target, passage.origin.face, &circumstances).await?;
        let face = passage.origin.face;
        let weighed = self.weigh_both(&passage.identity, spec, &target, (face, &circumstances), &request).await?;
        Ok(weighed.0.permits())
    }

    /// Write the record of a call that came to nothing; the problem that its caller gets.
    pub(crate) async fn record_refusal(&self, passage: &Passage<'_>, progress: &Progress, refusal: Refusal) -> Refusal {
        if let Refusal::Commit(CommitError::Unavailable | CommitError::Overloaded) | Refusal::Read(_) = refusal {
            return refusal;
        }
        let mut problem = refusal.into_problem();
        let ending = Ending { status: problem.status, problem: Some(&problem), replay: None };
        let entry = self.leaf(&passage.facts(progress.target.as_ref(), progress.decision.as_ref(), ending));
        let committed = match entry {
            Ok(entry) => {
                let commit = Commit::new(passage.started, entry);
                // What was denied is what a wider policy would let through: it can be decided again too.
                let commit = match (&progress.request, &progress.target) {
                    (Some(request), Some(target)) if passage.spec.meta.effect != Effect::Read => {
                        asked(commit, passage, target.owner, request)
                    }
                    _ => commit,
                };
                self.store.commit(commit).await.map_err(Refusal::from)
            }
            Err(refusal) => Err(refusal),
        };
        match committed {
            Ok(_) => {
                problem.call = Some(passage.call.to_string());
                problem.into()
            }
            Err(refusal) => refusal,
        }
    }
}

/// What people call a target of this type: `ServiceKey` is a service key.
pub(crate) fn noun(kind: &str) -> String {
    let mut words = String::new();
    for (place, character) in kind.chars().enumerate() {
        if character.is_ascii_uppercase() && place > 0 {
            words.push(' ');
        }
        words.push(character.to_ascii_lowercase());
    }
    words
}

//! A decision in words: which policies hold, and what each rung would have changed.
//!
//! Asks every policy that could match alone, so it is slower than deciding; the decision inside is the same one.

use crate::{
    decision::{Decision, DenyReason, Outcome},
    engine::Engine,
    facts::Request,
    polarity::Point,
    question::{Question, Wrong},
    weigh::Scale,
};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// A decision and how it came about.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Explanation {
    /// The decision, as [`Engine::decide`] gives it.
    pub decision: Decision,
    /// It in one sentence.
    pub sentence: String,
    /// The policies that hold as things are, permits and forbids, by reference.
    pub holding: Vec<HoldingPolicy>,
    /// The rungs in order, each with what became of it; empty where the call needs none.
    pub rungs: Vec<RungTrial>,
}

/// A policy that holds.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct HoldingPolicy {
    /// `document/id`.
    pub policy: Arc<str>,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// What its author says that it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

/// One rung, tried with the evidence that is there.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RungTrial {
    /// Its name.
    pub rung: Arc<str>,
    /// Distinct approvers that it stands for.
    pub needs: BTreeMap<String, i64>,
    /// Whether the call would go through.
    pub passes: bool,
    /// The forbids that would still hold.
    pub forbidden_by: Vec<Arc<str>>,
    /// Whether a permit would hold.
    pub permitted: bool,
}

impl Engine {
    /// Decide one call, and say why.
    #[must_use]
    pub fn explain(&self, request: &Request) -> Explanation {
        let decision = self.decide(request);
        let (holding, rungs) = self.reasons(request, &decision).unwrap_or_default();
        let sentence = self.sentence(request, &decision);
        Explanation { decision, sentence, holding, rungs }
    }

    fn reasons(&self, request: &Request, decision: &Decision) -> Result<(Vec<HoldingPolicy>, Vec<RungTrial>), Wrong> {
        let question = self.question(request)?;
        let mut scale = Scale::new(self, &question, request)?;
        let candidates = scale.candidates();
        let holding = self.holding_at(&question, &candidates, &question.base)?;
        let mut holding: Vec<_> = holding
            .into_iter()
            .filter_map(|index| self.clauses.get(index))
            .map(|clause| HoldingPolicy {
                policy: Arc::clone(&clause.reference),
                effect: if clause.permit { "permit" } else { "forbid" },
                summary: clause.summary.clone(),
            })
            .collect();
        holding.sort_by(|one, other| one.policy.cmp(&other.policy));
        let mut trials = Vec::new();
        if !decision.permits() {
            for (index, (rung, _)) in self.rungs.iter().enumerate() {
                let point = self.raised(index, &question.base);
                let (permits, forbids): (Vec<_>, Vec<_>) =
                    self.holding_at(&question, &candidates, &point)?.into_iter().partition(|index| self.permit(*index));
                trials.push(RungTrial {
                    rung: Arc::clone(rung),
                    needs: self.step_up(index).needs,
                    passes: scale.passes(&point)?,
                    forbidden_by: self.references(forbids),
                    permitted: !permits.is_empty(),
                });
            }
        }
        Ok((holding, trials))
    }

    fn permit(&self, index: usize) -> bool {
        self.clauses.get(index).is_some_and(|clause| clause.permit)
    }

    /// Which of these policies hold at a point, each asked alone. A forbid that fails holds.
    fn holding_at(&self, question: &Question<'_>, candidates: &[usize], point: &Point) -> Result<Vec<usize>, Wrong> {
        let request = question.at(point)?;
        let mut holding = Vec::new();
        for index in candidates {
            let Some(asked) = self.asked.get(*index) else { continue };
            if question.ask_authorizer(&request, &asked.alone).unwrap_or_else(|| !self.permit(*index)) {
                holding.push(*index);
            }
        }
        Ok(holding)
    }

    fn sentence(&self, request: &Request, decision: &Decision) -> String {
        let what = format!("`{}` may not run `{}`", request.principal.id, request.action);
        let said = |policies: &[Arc<str>]| {
            let words = policies.iter().map(|policy| self.in_words(policy)).collect::<Vec<_>>();
            words.join("; ")
        };
        match &decision.outcome {
            Outcome::Allow => {
                format!("`{}` may run `{}`: {}", request.principal.id, request.action, said(&decision.policies))
            }
            Outcome::Modify { .. } => format!(
                "`{}` may run `{}` under obligations: {}",
                request.principal.id,
                request.action,
                said(&decision.policies)
            ),
            Outcome::StepUp(step) if decision.held_by.is_empty() => {
                format!("{what} without `{}`: {}", step.rung, said(&decision.policies))
            }
            Outcome::StepUp(step) => format!("{what} without `{}`: {}", step.rung, said(&decision.held_by)),
            Outcome::Defer(defer) => {
                let held = if decision.held_by.is_empty() { &decision.policies } else { &decision.held_by };
                format!("{what} before `{}` is there: {}", defer.missing.join("` and `"), said(held))
            }
            Outcome::Deny(deny) => match &deny.reason {
                DenyReason::Forbidden => format!("{what}: {}", said(&decision.policies)),
                DenyReason::NotPermitted => format!("{what}: no policy permits it, whoever approves"),
                DenyReason::WrongQuestion(why) => format!("{what}: the question is wrong, {why}"),
            },
        }
    }

    /// A policy's summary, or its reference where it has none.
    fn in_words(&self, reference: &Arc<str>) -> String {
        let clause = self.clauses.iter().find(|clause| clause.reference == *reference);
        let summary = clause.and_then(|clause| clause.summary.as_ref());
        summary.map_or_else(|| format!("`{reference}`"), |summary| format!("{summary} (`{reference}`)"))
    }
}

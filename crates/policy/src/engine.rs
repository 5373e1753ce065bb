//! The decision point: one question in, one decision out. Pure: no clock, no I/O, nothing remembered between calls.
//!
//! Order of outcomes (CONTRACTS): a forbid without remedy denies; then missing evidence defers; then an approval
//! is asked for; then the call is allowed, under the strictest union of the obligations of all permits that hold.

use crate::{
    decision::{Decision, Defer, Deny, DenyReason, Obligations, Outcome, StepUp},
    document::Clause,
    facts::{ContextFacts, Request},
    fault::PolicyFault,
    polarity::{EVIDENCE_ALL, Point},
    question::{Names, Question, Wrong},
    slices::{Asked, Plans},
    spec::{APPROVAL_COUNTS, EVIDENCE},
    weigh::Scale,
};
use cedar_policy::Entity;
use ids::{PrincipalKind, Timestamp};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

const HOUR_MICROS: i64 = 3_600_000_000;

/// One operation as the engine keeps it.
#[derive(Debug)]
pub(crate) struct Action {
    pub(crate) entity: Entity,
    pub(crate) types: Vec<String>,
}

/// A checked and indexed set of policies. Immutable: another set is another engine.
#[derive(Debug)]
pub struct Engine {
    pub(crate) names: Names,
    pub(crate) actions: HashMap<String, Action>,
    /// The names of `context` that some policy looks at: what nobody looks at is not built for each call.
    pub(crate) looked_at: Vec<&'static str>,
    /// In the order of their references.
    pub(crate) clauses: Vec<Clause>,
    pub(crate) asked: Vec<Asked>,
    pub(crate) everywhere: Plans,
    pub(crate) tenants: HashMap<String, Plans>,
    pub(crate) rungs: Vec<(Arc<str>, Point)>,
    pub(crate) schema_text: String,
    pub(crate) canonical: String,
    pub(crate) warnings: Vec<PolicyFault>,
}

impl Engine {
    /// Decide one call.
    #[must_use]
    pub fn decide(&self, request: &Request) -> Decision {
        self.weigh(request).unwrap_or_else(|wrong| {
            let deny = Deny { reason: DenyReason::WrongQuestion(wrong.0), human_only: false };
            Decision { outcome: Outcome::Deny(deny), policies: Vec::new(), held_by: Vec::new(), failed: Vec::new() }
        })
    }

    /// The question without what no policy of this set looks at: two questions with the same essence have the same
    /// decision, so that one may be remembered for the other. None where a policy looks at the exact time.
    #[must_use]
    pub fn essence(&self, request: &Request) -> Option<Request> {
        let asked = |name: &str| self.looked_at.contains(&name);
        if asked("now_micros") {
            return None;
        }
        let default = ContextFacts::default();
        let facts = &request.context;
        // Hour and weekday are those of the hour that the instant is in.
        let hours = if asked("hour") || asked("weekday") { facts.now.as_micros().div_euclid(HOUR_MICROS) } else { 0 };
        let number = |name: &str, value: i64, other: i64| if asked(name) { value } else { other };
        let truth = |name: &str, value: bool| asked(name) && value;
        let context = ContextFacts {
            tenant: facts.tenant.clone(),
            tenant_tags: if asked("tenant_tags") { facts.tenant_tags.clone() } else { default.tenant_tags },
            origin: if asked("origin") { facts.origin.clone() } else { default.origin },
            now: Timestamp::from_micros(hours.saturating_mul(HOUR_MICROS)),
            autonomy: if asked("autonomy") { facts.autonomy.clone() } else { default.autonomy },
            tainted: truth("tainted", facts.tainted),
            target_in_case: truth("target_in_case", facts.target_in_case),
            target_count: number("target_count", facts.target_count, default.target_count),
            recent_count: number("recent_count", facts.recent_count, default.recent_count),
            budget_left: number("budget_left", facts.budget_left, default.budget_left),
            on_behalf_of: if asked("on_behalf_of") { facts.on_behalf_of.clone() } else { default.on_behalf_of },
            granted_roles: if asked("granted_roles") { facts.granted_roles.clone() } else { default.granted_roles },
            approvals: facts.approvals.clone(),
            evidence: facts.evidence.clone(),
            break_glass: truth("break_glass", facts.break_glass),
            self_approval: truth("self_approval", facts.self_approval),
        };
        Some(Request {
            principal: request.principal.clone(),
            action: request.action.clone(),
            resource: request.resource.clone(),
            context,
        })
    }

    /// Whether some policy of this set can matter where somebody of this kind, with this role or without any, calls an
    /// operation: where none can, the set says nothing of it. Told from the index alone.
    #[must_use]
    pub fn speaks_of(&self, operation: &str, kind: PrincipalKind, role: Option<&str>) -> bool {
        let role = role.map(|role| self.names.role(role));
        let all = std::iter::once(&self.everywhere).chain(self.tenants.values());
        let mut plans = all.filter_map(|plans| plans.get(operation));
        plans.any(|plan| plan.can_match(self.names.principal_type(kind), role.as_ref()))
    }

    /// Everything that decisions depend on, as one text. Its digest is the version of the policy set.
    #[must_use]
    pub fn canonical_text(&self) -> &str {
        &self.canonical
    }

    /// The Cedar schema that the documents were checked against.
    #[must_use]
    pub fn schema_text(&self) -> &str {
        &self.schema_text
    }

    /// Policies that can never apply today, for example because a family has no operations yet.
    #[must_use]
    pub fn warnings(&self) -> &[PolicyFault] {
        &self.warnings
    }

    pub(crate) fn question<'a>(&'a self, request: &'a Request) -> Result<Question<'a>, Wrong> {
        let action = self.actions.get(&request.action);
        let action = action.ok_or_else(|| Wrong(format!("`{}` is no operation", request.action)))?;
        if !action.types.contains(&request.resource.kind) {
            let right = action.types.join("` or `");
            return Err(Wrong(format!("`{}` acts on `{right}`, not on `{}`", request.action, request.resource.kind)));
        }
        Question::new(&self.names, &action.entity, request, &self.looked_at)
    }

    fn weigh(&self, request: &Request) -> Result<Decision, Wrong> {
        let question = self.question(request)?;
        let mut scale = Scale::new(self, &question, request)?;
        if scale.forbidden() {
            return Ok(self.denied(&scale, DenyReason::Forbidden));
        }
        let base = question.base;
        if scale.passes(&base)? {
            return self.allowed(&mut scale, &base);
        }
        scale.reach_top()?;
        let informed = Point { evidence: EVIDENCE_ALL, ..base };
        let now = self.first_rung(&mut scale, &base)?;
        let free = scale.passes(&informed)?;
        if let (false, Some(rung)) = (free, now) {
            let goal = self.raised(rung, &base);
            let outcome = Outcome::StepUp(self.step_up(rung));
            return self.held(&mut scale, outcome, &goal);
        }
        let then = if free { None } else { self.first_rung(&mut scale, &informed)? };
        if !free && then.is_none() {
            // Where no permit could ever hold, no forbid is to blame.
            let permitted = !scale.permits(&Point::TOP)?.is_empty();
            let forbidden = scale.blocked(&Point::TOP)? || (permitted && scale.blocked(&base)?);
            let reason = if forbidden { DenyReason::Forbidden } else { DenyReason::NotPermitted };
            return Ok(self.denied(&scale, reason));
        }
        let mut goal = then.map_or(informed, |rung| self.raised(rung, &informed));
        fewest_evidence(&mut scale, &mut goal, base.evidence)?;
        let added = goal.evidence & !base.evidence;
        let missing = EVIDENCE.iter().enumerate().filter(|(bit, _)| added & (1 << bit) != 0);
        let defer = Defer {
            missing: missing.map(|(_, name)| Arc::from(*name)).collect(),
            or: now.map(|rung| self.step_up(rung)),
            then: then.map(|rung| self.step_up(rung)),
        };
        self.held(&mut scale, Outcome::Defer(defer), &goal)
    }

    /// A point with the approvals of a rung, never fewer than there are.
    pub(crate) fn raised(&self, rung: usize, from: &Point) -> Point {
        let mut point = *from;
        if let Some((_, rung)) = self.rungs.get(rung) {
            for (count, least) in point.counts.iter_mut().zip(rung.counts) {
                *count = (*count).max(least);
            }
        }
        point
    }

    fn first_rung(&self, scale: &mut Scale<'_>, from: &Point) -> Result<Option<usize>, Wrong> {
        for rung in 0..self.rungs.len() {
            if scale.passes(&self.raised(rung, from))? {
                return Ok(Some(rung));
            }
        }
        Ok(None)
    }

    pub(crate) fn step_up(&self, rung: usize) -> StepUp {
        let (name, counts) = self
            .rungs
            .get(rung)
            .map_or(("".into(), [0; APPROVAL_COUNTS.len()]), |(name, point)| (Arc::clone(name), point.counts));
        let needs = APPROVAL_COUNTS.iter().zip(counts).filter(|(_, count)| *count > 0);
        StepUp { rung: name, needs: needs.map(|(name, count)| ((*name).to_owned(), count)).collect::<BTreeMap<_, _>>() }
    }

    pub(crate) fn references(&self, indices: impl IntoIterator<Item = usize>) -> Vec<Arc<str>> {
        let mut indices: Vec<_> = indices.into_iter().collect();
        indices.sort_unstable();
        indices.dedup();
        indices
            .iter()
            .filter_map(|index| self.clauses.get(*index))
            .map(|clause| Arc::clone(&clause.reference))
            .collect()
    }

    fn allowed(&self, scale: &mut Scale<'_>, at: &Point) -> Result<Decision, Wrong> {
        let permits = scale.permits(at)?;
        let mut obligations = Obligations::default();
        for clause in permits.iter().filter_map(|index| self.clauses.get(*index)) {
            obligations.tighten(&clause.obligations);
        }
        let outcome = if obligations.is_empty() { Outcome::Allow } else { Outcome::Modify { obligations } };
        let failed = self.references(scale.failed());
        Ok(Decision { outcome, policies: self.references(permits), held_by: Vec::new(), failed })
    }

    fn held(&self, scale: &mut Scale<'_>, outcome: Outcome, goal: &Point) -> Result<Decision, Wrong> {
        let policies = self.references(scale.permits(goal)?);
        let held_by = self.references(scale.forbids_now());
        Ok(Decision { outcome, policies, held_by, failed: self.references(scale.failed()) })
    }

    fn denied(&self, scale: &Scale<'_>, reason: DenyReason) -> Decision {
        let forbids = scale.final_forbids();
        let human_only = forbids.iter().filter_map(|index| self.clauses.get(*index)).any(|clause| clause.human_only);
        let policies = if reason == DenyReason::Forbidden { self.references(forbids) } else { Vec::new() };
        let failed = self.references(scale.failed());
        Decision { outcome: Outcome::Deny(Deny { reason, human_only }), policies, held_by: Vec::new(), failed }
    }
}

/// Take evidence away again, one fact after the other, as long as the goal still passes.
fn fewest_evidence(scale: &mut Scale<'_>, goal: &mut Point, there: u8) -> Result<(), Wrong> {
    for bit in 0..EVIDENCE.len() {
        let less = Point { evidence: goal.evidence & !(1 << bit) | there, ..*goal };
        if less != *goal && scale.passes(&less)? {
            *goal = less;
        }
    }
    Ok(())
}

//! The policies of one call on a scale: which hold now, and which would hold with other approvals and evidence.
//!
//! Cedar is asked for what holds now, once more with all approvals and evidence where the call does not pass as
//! it is, and after that only for a policy whose atoms are answered in a way not seen before. Sound because
//! `polarity` admits only monotone policies: one that says the same at both ends says it in between.

use crate::{
    engine::Engine,
    facts::Request,
    polarity::Point,
    question::{Question, Wrong},
    slices::{Bundle, Group, Summary},
};
use cedar_policy::Request as CedarRequest;
use std::collections::HashMap;

/// A policy that approvals or evidence may change.
#[derive(Debug)]
struct Swing {
    clause: usize,
    permit: bool,
    now: bool,
    top: Option<bool>,
    /// Answers seen, by the atoms' answers.
    seen: Vec<(u16, bool)>,
}

/// One call's policies and what is known of them so far.
pub(crate) struct Scale<'a> {
    engine: &'a Engine,
    question: &'a Question<'a>,
    groups: Vec<&'a Group>,
    fixed_permits: Vec<usize>,
    fixed_forbids: Vec<usize>,
    swings: Vec<Swing>,
    failed: Vec<usize>,
    /// What was asked at points between the ends.
    between: Vec<Asking>,
}

/// Cedar's request at one point, and what was answered there: policies with the same conditions are asked once.
struct Asking {
    point: Point,
    request: CedarRequest,
    answers: HashMap<usize, Option<bool>>,
}

impl Asking {
    fn new(question: &Question<'_>, point: Point) -> Result<Self, Wrong> {
        Ok(Self { point, request: question.at(&point)?, answers: HashMap::new() })
    }
}

impl<'a> Scale<'a> {
    /// Ask what holds as things are.
    pub(crate) fn new(engine: &'a Engine, question: &'a Question<'a>, request: &'a Request) -> Result<Self, Wrong> {
        let above = question.principal_and_ancestors();
        let own = engine.tenants.get(&request.context.tenant);
        let plans = [Some(&engine.everywhere), own].into_iter().flatten();
        let plans = plans.filter_map(|plans| plans.get(&request.action));
        let groups: Vec<_> = plans.flat_map(|plan| plan.groups(&question.principal, &above)).collect();
        let mut scale = Self {
            engine,
            question,
            groups,
            fixed_permits: Vec::new(),
            fixed_forbids: Vec::new(),
            swings: Vec::new(),
            failed: Vec::new(),
            between: Vec::new(),
        };
        let mut now = Asking::new(question, question.base)?;
        for group in scale.groups.clone() {
            let holding = scale.holding(&mut now, &group.fixed_forbids);
            scale.fixed_forbids.extend(holding);
        }
        if scale.fixed_forbids.is_empty() {
            for group in scale.groups.clone() {
                let holding = scale.holding(&mut now, &group.fixed_permits);
                scale.fixed_permits.extend(holding);
            }
            scale.ask_swings(&mut now);
        }
        Ok(scale)
    }

    /// Which of some policies hold; a forbid that cannot be evaluated holds, such a permit does not.
    fn holding(&mut self, asking: &mut Asking, bundle: &Bundle) -> Vec<usize> {
        let mut possible = self.guarded(bundle);
        let none = |any| self.question.ask(&asking.request, any) == Some(false);
        if !bundle.summary.any.as_deref().is_some_and(none) {
            possible.extend(bundle.summary.open.iter().copied());
        }
        possible.sort_unstable();
        possible.dedup();
        possible.retain(|clause| self.holds_at(asking, *clause));
        possible
    }

    /// The guarded policies of a bundle that may hold: a word that each of them has to see is there.
    fn guarded(&self, bundle: &Bundle) -> Vec<usize> {
        let mut possible = Vec::new();
        for (fact, clauses) in bundle.summary.guarded.iter() {
            self.question.words(*fact, |word| possible.extend(clauses.get(word).into_iter().flatten().copied()));
        }
        possible
    }

    fn holds_at(&mut self, asking: &mut Asking, clause: usize) -> bool {
        let said = self.engine.asked.get(clause).and_then(|asked| {
            let ask = || self.question.ask(&asking.request, &asked.expression);
            *asking.answers.entry(asked.same_as).or_insert_with(ask)
        });
        said.unwrap_or_else(|| {
            self.failed.push(clause);
            self.engine.clauses.get(clause).is_none_or(|clause| !clause.permit)
        })
    }

    fn ask_swings(&mut self, now: &mut Asking) {
        for group in self.groups.clone() {
            for (permit, bundle) in [(false, &group.swing_forbids), (true, &group.swing_permits)] {
                let mut holding = self.holding(now, bundle).into_iter().peekable();
                for clause in bundle.clauses.iter().copied() {
                    // Both lists are in the order of the clauses.
                    let now = holding.next_if_eq(&clause).is_some();
                    self.swings.push(Swing { clause, permit, now, top: None, seen: Vec::new() });
                }
            }
        }
    }

    /// Ask what would hold with all approvals and all evidence. Only of the forbids that hold now and the permits
    /// that do not: for the others there is nothing more to gain.
    pub(crate) fn reach_top(&mut self) -> Result<(), Wrong> {
        if self.swings.is_empty() {
            return Ok(());
        }
        let mut top = Asking::new(self.question, Point::TOP)?;
        let mut bundles = Vec::new();
        for group in &self.groups {
            bundles.extend([&group.swing_forbids, &group.swing_permits]);
        }
        // The swings were made in the order of the bundles.
        let mut start = 0;
        for bundle in bundles {
            let end = start + bundle.clauses.len();
            let open = |swing: &Swing| swing.now != swing.permit;
            let count =
                self.swings.get(start..end).map_or(0, |swings| swings.iter().filter(|swing| open(swing)).count());
            // One question for all costs as much as about half of them alone.
            let none = count * 2 > bundle.clauses.len() && self.none_holds(&top, bundle);
            for index in start..end {
                let Some(swing) = self.swings.get(index) else { continue };
                let (clause, now, asks) = (swing.clause, swing.now, open(swing));
                let held = if !asks { now } else { !none && self.holds_at(&mut top, clause) };
                if let Some(swing) = self.swings.get_mut(index) {
                    swing.top = Some(held);
                }
            }
            start = end;
        }
        Ok(())
    }

    /// Whether it is seen at once that no policy of a bundle holds.
    fn none_holds(&self, asking: &Asking, bundle: &Bundle) -> bool {
        let Summary { any, open, .. } = &bundle.summary;
        let none = |any| self.question.ask(&asking.request, any) == Some(false);
        (open.is_empty() || any.as_deref().is_some_and(none)) && self.guarded(bundle).is_empty()
    }

    /// A forbid holds that nothing can lift.
    pub(crate) fn forbidden(&self) -> bool {
        !self.fixed_forbids.is_empty()
    }

    /// Whether the call would be permitted with these approvals and this evidence.
    pub(crate) fn passes(&mut self, point: &Point) -> Result<bool, Wrong> {
        if self.forbidden() || self.blocked(point)? {
            return Ok(false);
        }
        Ok(!self.fixed_permits.is_empty() || self.any(point, true)?)
    }

    /// Whether a forbid would hold.
    pub(crate) fn blocked(&mut self, point: &Point) -> Result<bool, Wrong> {
        self.any(point, false)
    }

    fn any(&mut self, point: &Point, permit: bool) -> Result<bool, Wrong> {
        for index in 0..self.swings.len() {
            if self.swings.get(index).is_some_and(|swing| swing.permit == permit) && self.holds(index, point)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The permits that would hold.
    pub(crate) fn permits(&mut self, point: &Point) -> Result<Vec<usize>, Wrong> {
        let mut all = self.fixed_permits.clone();
        for index in 0..self.swings.len() {
            let permit = self.swings.get(index).filter(|swing| swing.permit).map(|swing| swing.clause);
            if let Some(clause) = permit
                && self.holds(index, point)?
            {
                all.push(clause);
            }
        }
        Ok(all)
    }

    /// Whether one swing would hold.
    fn holds(&mut self, index: usize, point: &Point) -> Result<bool, Wrong> {
        let Some(swing) = self.swings.get(index) else { return Ok(false) };
        let Some(clause) = self.engine.clauses.get(swing.clause) else { return Ok(false) };
        let base = self.question.base;
        // `@defer` promises that this evidence, once there, lifts the forbid.
        let promised = clause.defer != 0 && clause.defer & !point.evidence == 0 && clause.defer & !base.evidence != 0;
        if promised {
            return Ok(false);
        }
        if *point == base || swing.top == Some(swing.now) {
            return Ok(swing.now);
        }
        let answers = point.answers(&clause.atoms);
        if answers == base.answers(&clause.atoms) {
            return Ok(swing.now);
        }
        if let (Some(top), true) = (swing.top, answers == Point::TOP.answers(&clause.atoms)) {
            return Ok(top);
        }
        if let Some((_, held)) = swing.seen.iter().find(|(seen, _)| *seen == answers) {
            return Ok(*held);
        }
        let clause = swing.clause;
        let held = self.asked_between(point, clause)?;
        if let Some(swing) = self.swings.get_mut(index) {
            swing.seen.push((answers, held));
        }
        Ok(held)
    }

    /// Whether a policy would hold at a point between the ends.
    fn asked_between(&mut self, point: &Point, clause: usize) -> Result<bool, Wrong> {
        let known = self.between.iter().position(|asking| asking.point == *point);
        let mut asking = match known {
            Some(index) => self.between.swap_remove(index),
            None => Asking::new(self.question, *point)?,
        };
        let held = self.holds_at(&mut asking, clause);
        self.between.push(asking);
        Ok(held)
    }

    /// The forbids that hold as things are.
    pub(crate) fn forbids_now(&self) -> Vec<usize> {
        let swings = self.swings.iter().filter(|swing| !swing.permit && swing.now).map(|swing| swing.clause);
        self.fixed_forbids.iter().copied().chain(swings).collect()
    }

    /// Of the forbids that hold, those that no approval or evidence lifts; where each could be lifted alone, all.
    pub(crate) fn final_forbids(&self) -> Vec<usize> {
        if self.forbidden() {
            return self.fixed_forbids.clone();
        }
        let lasting = self.swings.iter().filter(|swing| !swing.permit && swing.top == Some(true));
        let deferring = |clause: &usize| self.engine.clauses.get(*clause).is_some_and(|clause| clause.defer != 0);
        let lasting: Vec<_> = lasting.map(|swing| swing.clause).filter(|clause| !deferring(clause)).collect();
        if lasting.is_empty() { self.forbids_now() } else { lasting }
    }

    /// All policies whose scope may match.
    pub(crate) fn candidates(&self) -> Vec<usize> {
        self.groups.iter().flat_map(|group| group.clauses()).collect()
    }

    /// Policies that could not be evaluated.
    pub(crate) fn failed(&self) -> Vec<usize> {
        self.failed.clone()
    }
}

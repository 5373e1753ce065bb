//! What roles give, and a grant that would be enough for what was used. Asks policy sets and changes nothing. Must never propose
//! what it did not compare: nothing wider than what is held, and nothing lost of what was used.

use super::usage::Usage;
use crate::authenticate::held_by;
use crate::context::Control;
use crate::decide::{PolicyState, compile, role_spec};
use crate::identity::{Held, Identity};
use crate::policy_questions::authority;
use crate::simulate::{reach, width};
use api::Authority;
use ids::{Owner, RoleId};
use policy::{Decision, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::{Assignment, Role};

/// Roles that one proposal looks at.
const ASSIGNMENTS_MAX: usize = 50;
/// How often what cannot be given as narrowly is left to the roles that are held, and the rest tried again.
const ROUNDS: usize = 3;

/// A place where roles count, with the question of each operation there.
pub(super) struct Place {
    pub(super) owner: Owner,
    /// In the order of the registry.
    pub(super) questions: Vec<Question>,
}

/// A question, and the place of its target: of some operations the provider, wherever they are asked.
pub(super) struct Question {
    pub(super) at: Owner,
    pub(super) request: Request,
}

/// What somebody's roles give, place by place and operation by operation.
pub(super) struct Rights {
    control: Control,
    identity: Identity,
    places: Vec<Place>,
    now: Arc<PolicyState>,
    held: Vec<Vec<Decision>>,
    /// The same without any role.
    none: Vec<Vec<Decision>>,
}

/// A role that would be made, for all roles that are held at one place.
pub(super) struct Candidate {
    pub(super) role: Role,
    pub(super) place: Owner,
    pub(super) selector: Option<String>,
}

/// What would be enough.
pub(super) struct Proposed {
    pub(super) candidates: Vec<Candidate>,
    /// Assignments that would end.
    pub(super) end: Vec<Assignment>,
    /// Assignments that have to stay, with the operations because of which.
    pub(super) keep: Vec<(Assignment, BTreeSet<usize>)>,
    pub(super) takes: Vec<String>,
    pub(super) compared: u64,
}

/// How far an authority reaches; what is for people only is not more than a no.
fn rank(decision: &Decision) -> u8 {
    reach(decision).max(1)
}

/// Whether a decision lets through what the other would not, or cannot be told from that: another rung, other obligations.
fn wider(new: &Decision, held: &Decision) -> bool {
    let (new_width, held_width) = (width(new), width(held));
    new_width > held_width || (new_width == held_width && new_width > 0 && new.outcome != held.outcome)
}

/// A question in circumstances that policies look at.
fn circumstances(plain: &Request) -> Vec<Request> {
    let changed = |change: &dyn Fn(&mut Request)| {
        let mut request = plain.clone();
        change(&mut request);
        request
    };
    let mut all: Vec<Request> = ["critical", "crown-jewel", "protected"]
        .iter()
        .map(|tag| changed(&|request| request.resource.tags.extend([(*tag).to_owned()])))
        .collect();
    all.push(changed(&|request| request.context.tainted = true));
    all.push(changed(&|request| request.context.recent_count = 21));
    all.push(changed(&|request| request.context.target_count = 26));
    all.push(changed(&|request| request.resource.created_by = Some(request.principal.id.clone())));
    all.push(changed(&|request| request.resource.owner.clone_from(&request.principal.owner)));
    all.push(changed(&|request| request.resource.id.clone_from(&request.principal.id)));
    let in_case = changed(&|request| request.context.target_in_case = true);
    let mut concluded = in_case.clone();
    concluded.context.evidence.insert("case_verdict".to_owned(), true);
    all.extend([in_case, concluded]);
    all
}

impl Rights {
    /// Ask for all of it; takes a while.
    pub(super) fn weigh(control: Control, identity: Identity, places: Vec<Place>, now: Arc<PolicyState>) -> Self {
        let mut rights = Self { control, identity, places, now, held: Vec::new(), none: Vec::new() };
        rights.held = rights.decisions(&rights.now, &rights.identity.roles);
        rights.none = rights.decisions(&rights.now, &[]);
        rights
    }

    /// The roles among these that count for the target of a question.
    fn roles_for(&self, held: &[Held], question: &Question) -> BTreeSet<String> {
        let tags = &question.request.context.tenant_tags;
        Identity { roles: held.to_vec(), ..self.identity.clone() }.roles_at(question.at, tags, None)
    }

    fn decisions(&self, set: &PolicyState, held: &[Held]) -> Vec<Vec<Decision>> {
        let asked = |one: &Question| decide(set, &one.request, &self.roles_for(held, one));
        self.places.iter().map(|place| place.questions.iter().map(asked).collect()).collect()
    }

    fn operation(&self, number: usize) -> &'static str {
        self.control.registry.specs().get(number).map_or("", |spec| spec.meta.id)
    }

    /// The names of operations by their numbers.
    pub(super) fn names(&self, numbers: &BTreeSet<usize>) -> Vec<String> {
        numbers.iter().map(|number| self.operation(*number).to_owned()).collect()
    }

    /// What these roles give of some cells: more, in some circumstances, than nobody's roles.
    fn given(&self, held: &[Held], cells: &BTreeSet<Cell>) -> BTreeSet<Cell> {
        let more = |cell: &&Cell| {
            let Some(question) = self.asked(**cell) else { return false };
            let (roles, none) = (self.roles_for(held, question), BTreeSet::new());
            let mut all = circumstances(&question.request).into_iter().chain([question.request.clone()]);
            all.any(|one| rank(&decide(&self.now, &one, &roles)) > rank(&decide(&self.now, &one, &none)))
        };
        cells.iter().filter(more).copied().collect()
    }

    fn asked(&self, (place, number): Cell) -> Option<&Question> {
        self.places.get(place)?.questions.get(number)
    }

    /// The cells of what was used.
    fn used(&self, usage: &Usage) -> BTreeSet<Cell> {
        let mut used = BTreeSet::new();
        for (index, place) in self.places.iter().enumerate() {
            let numbers = 0..place.questions.len();
            used.extend(
                numbers.filter(|number| usage.at(place.owner, self.operation(*number))).map(|one| (index, one)),
            );
        }
        used
    }

    /// What may be done with each operation at most, and whether roles give it.
    pub(super) fn told(&self, usage: &Usage) -> BTreeMap<&'static str, (Authority, bool)> {
        let mut told: BTreeMap<&'static str, (u8, Authority, bool)> = BTreeMap::new();
        let used = self.given(&self.identity.roles, &self.used(usage));
        for (index, (held, none)) in self.held.iter().zip(&self.none).enumerate() {
            for (number, (held, none)) in held.iter().zip(none).enumerate() {
                let given = rank(held) > rank(none) || used.contains(&(index, number));
                let most = told.entry(self.operation(number)).or_insert_with(|| (reach(held), authority(held), false));
                if reach(held) > most.0 {
                    (most.0, most.1) = (reach(held), authority(held));
                }
                most.2 |= given;
            }
        }
        told.into_iter().map(|(operation, (_, authority, given))| (operation, (authority, given))).collect()
    }

    /// A grant that would be enough, or why there is none. `names` has one for each place where roles are held.
    pub(super) fn propose(&self, held: &[Assignment], usage: &Usage, names: &[String]) -> Result<Proposed, String> {
        if held.len() > ASSIGNMENTS_MAX {
            return Err(format!("it holds {} roles; a proposal looks at {ASSIGNMENTS_MAX} at most", held.len()));
        }
        let used = self.used(usage);
        let needed = self.given(&self.identity.roles, &used);
        self.explained(&used, &needed)?;
        // Which of what was used each assignment gives by itself.
        let alone: Vec<BTreeSet<Cell>> = held.iter().map(|one| self.given(&roles_of(one), &needed)).collect();
        let mut barred: BTreeSet<usize> = BTreeSet::new();
        for _ in 0..ROUNDS {
            let because = |gives: &BTreeSet<Cell>| -> BTreeSet<usize> {
                gives.iter().map(|(_, number)| *number).filter(|number| barred.contains(number)).collect()
            };
            let because: Vec<BTreeSet<usize>> = alone.iter().map(because).collect();
            let stays = || held.iter().zip(&alone).zip(&because).filter(|(_, because)| !because.is_empty());
            let kept: BTreeSet<Cell> = stays().flat_map(|((_, gives), _)| gives.iter().copied()).collect();
            let candidates = self.candidates(held, &alone, &kept, names)?;
            let mut then: Vec<Held> =
                candidates.iter().filter_map(|one| held_by(one.assignment(&self.identity))).collect();
            then.extend(stays().flat_map(|((one, _), _)| roles_of(one)));
            let compared = self.compare(&self.set_with(&candidates)?, &then, &candidates, &needed);
            let made = |number: &usize| {
                let operation = self.operation(*number);
                candidates.iter().any(|one| one.role.operations.iter().any(|own| own == operation))
            };
            let wrong: BTreeSet<usize> =
                compared.wider.iter().copied().filter(made).chain(compared.lost.clone()).collect();
            if compared.wider.is_empty() && wrong.is_empty() {
                return self.finish(held, because, candidates, compared);
            }
            if wrong.is_subset(&barred) {
                break;
            }
            barred.extend(wrong);
        }
        Err("no narrower roles could be shown to give what was used and nothing wider than what is held".to_owned())
    }

    /// That it is seen for all that was used what gives it: else what gives it might be taken.
    fn explained(&self, used: &BTreeSet<Cell>, needed: &BTreeSet<Cell>) -> Result<(), String> {
        let by_nobody = |cell: &Cell| {
            self.asked(*cell).is_some_and(|Question { request, .. }| {
                let mut all = circumstances(request).into_iter().chain([request.clone()]);
                all.any(|one| rank(&decide(&self.now, &one, &BTreeSet::new())) > 1)
            })
        };
        let dark: BTreeSet<&str> = used
            .iter()
            .filter(|cell| !needed.contains(cell) && !by_nobody(cell))
            .map(|(_, number)| self.operation(*number))
            .collect();
        if dark.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = dark.into_iter().take(10).collect();
        Err(format!(
            "it is not seen which of its roles gave `{}`: one that it holds no more, or one with conditions",
            names.join("`, `")
        ))
    }

    /// The set that binds, with these roles in it.
    fn set_with(&self, candidates: &[Candidate]) -> Result<PolicyState, String> {
        let mut documents = self.now.documents.clone();
        for one in candidates {
            let tenant = one.role.tenant.map(|tenant| tenant.to_string());
            let document = policy::role_document(&role_spec(&one.role), 1, tenant.as_deref());
            documents.push(document.map_err(|error| format!("a role for it cannot be made: {error}"))?);
        }
        compile(self.control.registry.specs(), documents).map_err(|problem| problem.detail)
    }

    /// One role for each place where roles are held and something was used that those that stay do not give.
    fn candidates(
        &self,
        held: &[Assignment],
        alone: &[BTreeSet<Cell>],
        kept: &BTreeSet<Cell>,
        names: &[String],
    ) -> Result<Vec<Candidate>, String> {
        let mut groups: BTreeMap<(Owner, Option<String>), BTreeSet<usize>> = BTreeMap::new();
        for (one, gives) in held.iter().zip(alone) {
            let group = groups.entry((one.tenant.into(), one.selector.clone())).or_default();
            group.extend(gives.iter().filter(|cell| !kept.contains(cell)).map(|(_, number)| *number));
        }
        let mut candidates = Vec::new();
        for (((place, selector), operations), name) in groups.into_iter().zip(names) {
            if operations.is_empty() {
                continue;
            }
            let (count, most) = (operations.len(), policy::ROLE_PATTERNS_MAX);
            if count > most {
                return Err(format!("it used {count} operations; a role names {most} at most"));
            }
            let role = Role {
                id: RoleId::derive(&[b"narrower", self.identity.principal.to_string().as_bytes(), name.as_bytes()]),
                tenant: self.identity.home.tenant(),
                name: name.clone(),
                description: String::new(),
                operations: self.names(&operations),
                effects: Vec::new(),
                principals: vec![self.identity.principal.kind()],
            };
            candidates.push(Candidate { role, place, selector });
        }
        Ok(candidates)
    }

    /// Everything as it is decided now, beside how it would be: wholly for targets with nothing special about them, and in
    /// circumstances for what the new roles name and what was used.
    fn compare(&self, set: &PolicyState, then: &[Held], candidates: &[Candidate], needed: &BTreeSet<Cell>) -> Compared {
        let mut compared = Compared::default();
        let named: BTreeSet<&str> =
            candidates.iter().flat_map(|one| one.role.operations.iter().map(String::as_str)).collect();
        for (index, (place, held)) in self.places.iter().zip(&self.held).enumerate() {
            for (number, (question, held)) in place.questions.iter().zip(held).enumerate() {
                let needed = needed.contains(&(index, number));
                let (before, after) = (self.roles_for(&self.identity.roles, question), self.roles_for(then, question));
                let new = decide(set, &question.request, &after);
                compared.one(number, needed, &new, held);
                if rank(&new) < rank(held) {
                    compared.takes.insert(number);
                }
                if needed || named.contains(self.operation(number)) {
                    for request in circumstances(&question.request) {
                        let held = decide(&self.now, &request, &before);
                        compared.one(number, needed, &decide(set, &request, &after), &held);
                    }
                }
            }
        }
        compared
    }

    fn finish(
        &self,
        held: &[Assignment],
        because: Vec<BTreeSet<usize>>,
        candidates: Vec<Candidate>,
        compared: Compared,
    ) -> Result<Proposed, String> {
        if compared.takes.is_empty() {
            return Err("all that its roles give was used, or is given by one that has to stay".to_owned());
        }
        let (mut end, mut keep) = (Vec::new(), Vec::new());
        for (one, because) in held.iter().zip(because) {
            if because.is_empty() {
                end.push(one.clone());
            } else {
                keep.push((one.clone(), because));
            }
        }
        Ok(Proposed { candidates, end, keep, takes: self.names(&compared.takes), compared: compared.questions })
    }
}

/// A place and an operation, by their numbers.
type Cell = (usize, usize);

/// What was compared.
#[derive(Default)]
struct Compared {
    /// Operations that would be decided wider somewhere.
    wider: BTreeSet<usize>,
    /// Operations that were used and would be decided narrower.
    lost: BTreeSet<usize>,
    /// Operations that would be decided narrower.
    takes: BTreeSet<usize>,
    questions: u64,
}

impl Compared {
    fn one(&mut self, number: usize, needed: bool, new: &Decision, held: &Decision) {
        self.questions += 1;
        if wider(new, held) {
            self.wider.insert(number);
        }
        if needed && rank(new) < rank(held) {
            self.lost.insert(number);
        }
    }
}

fn roles_of(assignment: &Assignment) -> Vec<Held> {
    held_by(assignment.clone()).into_iter().collect()
}

impl Candidate {
    /// The assignment of the role, as it would be.
    fn assignment(&self, identity: &Identity) -> Assignment {
        let (role, selector) = (self.role.id.to_string(), self.selector.clone());
        crate::role::role_key(identity.principal.clone(), &role, self.place, selector)
    }
}

fn decide(set: &PolicyState, question: &Request, roles: &BTreeSet<String>) -> Decision {
    let mut question = question.clone();
    question.principal.roles.clone_from(roles);
    set.engine.decide(&question)
}

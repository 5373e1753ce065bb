//! The questions: does a policy set ever allow what a property describes, and does one set allow anything that another does not.
//!
//! Asked sort by sort under one limit of time. A counterexample is told only after the engine allowed that very call; what
//! was not finished is said. Must never answer `Proved` while a sort is open.

use crate::facts;
use crate::shorten::shorten;
use crate::solver::{Solver, SolverError};
use cedar_policy::{Policy, PolicyId, PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::err::Error as SymbolicError;
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicySet, Env};
use policy::{ActionSpec, Engine, Property, Request, Rules, Sort, policy_json};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Counterexamples that are told at most.
const COUNTEREXAMPLES_MAX: usize = 5;
/// The longest time for one question of many.
const QUESTION_MAX: Duration = Duration::from_secs(10);

/// What was found out.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The answer.
    pub answer: Answer,
    /// Sorts of calls that there are to look at.
    pub sorts: usize,
    /// Of these, how many are settled.
    pub settled: usize,
    /// How long it took.
    pub took: Duration,
}

/// The answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// There are calls of which it does not hold; each was decided by the engine too.
    Counterexamples(Vec<Counterexample>),
    /// It holds for all calls.
    Proved {
        /// No call fits the description at all, whatever the policies say: it holds, and says nothing.
        empty: bool,
    },
    /// It is not known, and why.
    Unknown(String),
}

/// A call that refutes.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The call, with no more in it than what matters.
    pub request: Request,
    /// The operations that are like it to the policies; the first is the call's.
    pub operations: Vec<String>,
    /// The policies that allow it, by `document/id`.
    pub policies: Vec<String>,
    /// In one sentence.
    pub sentence: String,
}

/// Why one sort stays open.
enum Open {
    Time,
    Why(String),
}

impl From<SolverError> for Open {
    fn from(error: SolverError) -> Self {
        Self::Why(error.to_string())
    }
}

/// The solver, and what it was asked with.
struct Session<'a> {
    solver: &'a Solver,
    compiler: Option<CedarSymCompiler<LocalSolver>>,
    started: Instant,
    deadline: Instant,
}

/// One sort, ready to be asked about.
struct Ground {
    schema: Schema,
    env: RequestEnv,
}

impl<'a> Session<'a> {
    fn new(solver: &'a Solver, limit: Duration) -> Self {
        let started = Instant::now();
        Self { solver, compiler: None, started, deadline: started + limit }
    }

    /// Look for a call that two sets are not meant to have.
    async fn ask(&mut self, one: &CompiledPolicySet, other: &CompiledPolicySet, what: Ask) -> Result<Found, Open> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Open::Time);
        }
        let mut compiler = match self.compiler.take() {
            Some(compiler) => compiler,
            None => self.solver.start(left.min(QUESTION_MAX))?,
        };
        let asked = async {
            let found = match what {
                Ask::WhetherBoth => {
                    let apart = compiler.check_disjoint_opt(one, other).await;
                    return apart.map(|apart| if apart { Found::None } else { Found::Some });
                }
                Ask::Both => compiler.check_disjoint_with_counterexample_opt(one, other).await,
                Ask::OnlyFirst => compiler.check_implies_with_counterexample_opt(one, other).await,
            };
            found.map(|env| env.map_or(Found::None, |env| Found::Call(Box::new(env))))
        };
        match timeout_at(self.deadline, asked).await {
            Ok(Ok(found)) => {
                self.compiler = Some(compiler);
                Ok(found)
            }
            // Whatever the solver is in the middle of, the next question gets a fresh one.
            Ok(Err(SymbolicError::SolverUnknown)) => Err(Open::Why("the solver gave up on a question".to_owned())),
            Ok(Err(error)) => Err(Open::Why(bounded(&error.to_string()))),
            Err(_) => Err(Open::Time),
        }
    }
}

/// What is looked for.
#[derive(Clone, Copy)]
enum Ask {
    /// A call that both sets allow.
    Both,
    /// A call that the first allows and the second does not.
    OnlyFirst,
    /// Whether there is one that both allow, without saying which.
    WhetherBoth,
}

/// What one question found.
enum Found {
    None,
    Some,
    Call(Box<Env>),
}

fn bounded(text: &str) -> String {
    text.chars().take(300).collect()
}

impl Ground {
    fn of(sort: &Sort) -> Result<Self, Open> {
        let wrong = |error: &dyn std::fmt::Display| Open::Why(bounded(&error.to_string()));
        let schema = Schema::from_json_value(sort.schema.clone()).map_err(|error| wrong(&error))?;
        let operation = sort.operations.first().map(String::as_str).unwrap_or_default();
        let env = schema.request_envs().find(|env| {
            let short = |name: &dyn std::fmt::Display, wanted: &str| name.to_string() == format!("Posse::{wanted}");
            AsRef::<str>::as_ref(env.action().id()) == operation && short(env.resource(), &sort.resource_type)
        });
        let env = env.ok_or_else(|| Open::Why(format!("`{operation}` is not in the schema of its sort")))?;
        Ok(Self { schema, env })
    }

    fn compiled(&self, policies: &[Value]) -> Result<CompiledPolicySet, Open> {
        let wrong = |error: &dyn std::fmt::Display| Open::Why(bounded(&error.to_string()));
        let mut set = PolicySet::new();
        for (index, json) in policies.iter().enumerate() {
            let policy = Policy::from_json(Some(PolicyId::new(index.to_string())), json.clone());
            set.add(policy.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
        }
        CompiledPolicySet::compile(&set, &self.env, &self.schema).map_err(|error| wrong(&error))
    }
}

/// What the sorts came to, so far.
#[derive(Default)]
struct Tally {
    settled: usize,
    found: Vec<Counterexample>,
    open: Vec<String>,
    time: bool,
}

impl Tally {
    fn open(&mut self, why: Open) {
        match why {
            Open::Time => self.time = true,
            Open::Why(why) if self.open.len() < COUNTEREXAMPLES_MAX => self.open.push(why),
            Open::Why(_) => {}
        }
    }

    fn proof(self, sorts: usize, session: &Session<'_>, empty: bool) -> Proof {
        let took = session.started.elapsed();
        let answer = if !self.found.is_empty() {
            Answer::Counterexamples(self.found)
        } else if self.settled == sorts {
            Answer::Proved { empty }
        } else if self.time {
            Answer::Unknown(format!("{} of {sorts} sorts of calls were settled in time", self.settled))
        } else {
            Answer::Unknown(self.open.join("; "))
        };
        Proof { answer, sorts, settled: self.settled, took }
    }
}

/// Whether no call that a property describes is ever allowed.
pub async fn never(
    solver: &Solver,
    engine: &Engine,
    specs: &[ActionSpec<'_>],
    property: &Property,
    limit: Duration,
) -> Proof {
    let mut session = Session::new(solver, limit);
    let sorts = match engine.sorts(specs, property) {
        Ok(sorts) => sorts,
        Err(why) => return unknown(why, &session),
    };
    let mut tally = Tally::default();
    let mut ruled_out: HashMap<(&str, &std::collections::BTreeSet<String>, String), bool> = HashMap::new();
    let mut empty = true;
    for sort in &sorts {
        let key = (sort.alike.as_str(), &sort.rules.forbids, sort.described.to_string());
        let known = ruled_out.get(&key).copied();
        match settle(&mut session, sort, engine, property, known, &mut empty).await {
            Ok((shared, None)) => {
                ruled_out.insert(key, shared);
                tally.settled += 1;
            }
            Ok((shared, Some(found))) => {
                ruled_out.insert(key, shared);
                tally.settled += 1;
                tally.found.push(found);
            }
            Err(why) => tally.open(why),
        }
        if tally.time || tally.found.len() >= COUNTEREXAMPLES_MAX {
            break;
        }
    }
    tally.proof(sorts.len(), &session, empty)
}

/// One sort: whether its forbids alone rule out what is described, and if not, a call that is allowed, where there is one.
async fn settle(
    session: &mut Session<'_>,
    sort: &Sort,
    engine: &Engine,
    property: &Property,
    known: Option<bool>,
    empty: &mut bool,
) -> Result<(bool, Option<Counterexample>), Open> {
    let nothing = sort.rules.permits.is_empty();
    let known = known.or_else(|| sort.plainly_forbidden().then_some(true));
    if !*empty && (nothing || known == Some(true)) {
        return Ok((!nothing, None));
    }
    let ground = Ground::of(sort)?;
    let question = ground.compiled(&[sort.question()])?;
    let anything = json!({ "Value": true });
    if *empty {
        let all = ground.compiled(&[policy_json(true, &anything)])?;
        *empty = matches!(session.ask(&all, &question, Ask::WhetherBoth).await?, Found::None);
    }
    if nothing {
        return Ok((false, None));
    }
    // Many sorts have the same forbids: where these rule it out, no permit matters.
    let ruled_out = match known {
        Some(known) => known,
        None if sort.rules.forbids.is_empty() => false,
        None => {
            let mut walls = Sort::set(&Rules { permits: std::collections::BTreeSet::new(), ..sort.rules.clone() });
            walls.push(policy_json(true, &anything));
            matches!(session.ask(&ground.compiled(&walls)?, &question, Ask::WhetherBoth).await, Ok(Found::None))
        }
    };
    if ruled_out {
        return Ok((true, None));
    }
    let set = ground.compiled(&Sort::set(&sort.rules))?;
    let Found::Call(env) = session.ask(&set, &question, Ask::Both).await? else { return Ok((false, None)) };
    let still = |request: &Request| engine.decide(request).permits() && engine.describes(property, request);
    let told = told(&env, sort, property.roles(), &still, engine);
    told.map(|told| (false, Some(told))).ok_or_else(spurious)
}

/// Whether a policy set allows nothing that another one, `before`, does not.
pub async fn nothing_new(
    solver: &Solver,
    before: &Engine,
    after: &Engine,
    specs: &[ActionSpec<'_>],
    limit: Duration,
) -> Proof {
    let mut session = Session::new(solver, limit);
    let sorts = match before.sorts_against(specs, after) {
        Ok(sorts) => sorts,
        Err(why) => return unknown(why, &session),
    };
    let mut tally = Tally::default();
    for sort in &sorts {
        match widened(&mut session, sort, before, after).await {
            Ok(found) => {
                tally.settled += 1;
                tally.found.extend(found);
            }
            Err(why) => tally.open(why),
        }
        if tally.time || tally.found.len() >= COUNTEREXAMPLES_MAX {
            break;
        }
    }
    let proof = tally.proof(sorts.len(), &session, false);
    match (before.obligations_lost(after), &proof.answer) {
        (Ok(lost), Answer::Proved { .. }) if !lost.is_empty() => {
            let why = format!("obligations are laid otherwise than before, which no proof covers: {}", lost.join(", "));
            Proof { answer: Answer::Unknown(why), ..proof }
        }
        (Err(why), Answer::Proved { .. }) => Proof { answer: Answer::Unknown(why), ..proof },
        _ => proof,
    }
}

/// A call of one sort that the set after allows and the set before does not.
async fn widened(
    session: &mut Session<'_>,
    sort: &Sort,
    before: &Engine,
    after: &Engine,
) -> Result<Option<Counterexample>, Open> {
    let ground = Ground::of(sort)?;
    let old = ground.compiled(&Sort::set(&sort.rules))?;
    let mut new = Sort::set(&sort.other);
    new.push(sort.only_the_world());
    let Found::Call(env) = session.ask(&ground.compiled(&new)?, &old, Ask::OnlyFirst).await? else { return Ok(None) };
    let still = |request: &Request| after.decide(request).permits() && !before.decide(request).permits();
    told(&env, sort, None, &still, after).map(Some).ok_or_else(spurious)
}

fn spurious() -> Open {
    Open::Why("the solver found a call that the decision point does not allow".to_owned())
}

fn unknown(why: String, session: &Session<'_>) -> Proof {
    Proof { answer: Answer::Unknown(why), sorts: 0, settled: 0, took: session.started.elapsed() }
}

fn told(
    env: &Env,
    sort: &Sort,
    roles: Option<&std::collections::BTreeSet<String>>,
    still: &dyn Fn(&Request) -> bool,
    engine: &Engine,
) -> Option<Counterexample> {
    let request = facts::request(env, sort, roles)?;
    if !still(&request) {
        return None;
    }
    let request = shorten(request, still);
    let explained = engine.explain(&request);
    let policies = explained.decision.policies.iter().map(ToString::to_string).collect();
    Some(Counterexample { sentence: sentence(&request), policies, operations: sort.operations.clone(), request })
}

/// A call in one sentence.
fn sentence(request: &Request) -> String {
    let list = |words: &std::collections::BTreeSet<String>| {
        words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
    };
    let (who, what, facts) = (&request.principal, &request.resource, &request.context);
    let mut text = format!("a principal of kind {}", who.kind.as_str());
    if !who.roles.is_empty() {
        text += &format!(" with {}", list(&who.roles));
    }
    if let Some(tenant) = &who.tenant {
        text += &format!(", of the tenant `{tenant}`");
    }
    text += &format!(", may call `{}` on a {} of ", request.action, what.kind);
    text += &what.tenant.as_ref().map_or_else(|| "the provider".to_owned(), |tenant| format!("the tenant `{tenant}`"));
    if !what.tags.is_empty() {
        text += &format!(" tagged {}", list(&what.tags));
    }
    for (fact, whose) in [(&what.created_by, "that it made"), (&what.owner, "that it answers for")] {
        if fact.as_ref() == Some(&who.id) {
            text += &format!(" {whose}");
        }
    }
    let counts = facts.approvals.iter().filter(|(_, count)| **count > 0);
    let counts: Vec<_> = counts.map(|(name, count)| format!("{name} {count}")).collect();
    if counts.is_empty() {
        text += ", without an approval";
    } else {
        text += &format!(", with approvals of {}", counts.join(", "));
    }
    text
}

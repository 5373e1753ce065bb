//! Carries out a plan: phase by phase, steps of a phase at once, each change by its ordinary operation with an idempotency
//! key that is derived from the plan. Stops at the end of a phase in which something failed; what was done stays done, and
//! the next plan begins where this one ended.

use super::observed::{Caller, Observed};
use super::plan::{Call, Field, Plan, Step};
use super::thing::{Key, Kind};
use crate::answer::{Answer, Trouble};
use api::ProblemKind;
use futures::StreamExt as _;
use seal::Digest;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

/// How often a call is sent again that met no answer, or a server that asks for patience.
const TRIES_MAX: u32 = 8;
/// How long to wait before that where the server says nothing.
const PAUSE: Duration = Duration::from_millis(500);

/// What became of a plan.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// Steps that were carried out.
    pub(crate) done: usize,
    /// Steps that wait for people or evidence, with the approval to follow.
    pub(crate) waiting: Vec<(Key, String)>,
    /// Steps that failed, and why.
    pub(crate) failed: Vec<(Key, String)>,
    /// Something changed since the plan was made: planning again may help.
    pub(crate) stale: bool,
}

enum Ended {
    Done,
    Failed { why: String, stale: bool },
    Waiting(String),
}

/// The ids of things, also of those that this plan makes.
struct Ids<'a> {
    observed: &'a Observed,
    made: RefCell<HashMap<Key, String>>,
}

impl Ids<'_> {
    fn of(&self, key: &Key) -> Option<String> {
        let made = self.made.borrow().get(key).cloned();
        made.or_else(|| self.observed.things.get(key).filter(|seen| !seen.ended).map(|seen| seen.id.clone()))
    }

    fn value(&self, field: &Field) -> Result<Value, String> {
        match field {
            Field::Value(value) => Ok(value.clone()),
            Field::Id(key) if key.kind == Kind::Role => {
                let shared = Key { place: None, ..key.clone() };
                // What is no role of the tenant or the provider is a shipped one, or none: the platform says which.
                Ok(self.of(key).or_else(|| self.of(&shared)).unwrap_or_else(|| key.name.clone()).into())
            }
            Field::Id(key) => self.of(key).map(Value::from).ok_or_else(|| format!("{key} is not there")),
            Field::Principal { place, label } => {
                let id = self.made_principal(place.as_deref(), label);
                let id = id.or_else(|| self.observed.principal(place.as_deref(), label));
                id.map(Value::from).ok_or_else(|| {
                    format!("`{label}` is nobody there; write `user:dana@example.com`, `agent:name`, `service:name` or an id")
                })
            }
        }
    }

    fn made_principal(&self, place: Option<&str>, label: &str) -> Option<String> {
        let (kind, name) = label.split_once(':')?;
        let kind = match kind {
            "user" => Kind::User,
            "agent" => Kind::Agent,
            _ => return None,
        };
        let name = name.to_ascii_lowercase();
        let made = self.made.borrow();
        let found = |place: Option<&str>| made.get(&Key::new(place, kind, name.clone())).cloned();
        found(place).or_else(|| found(None))
    }

    fn keep(&self, key: &Key, output: &Value) {
        let field = if key.kind == Kind::Role { "role" } else { "id" };
        if let Some(id) = output.get(field).and_then(Value::as_str) {
            self.made.borrow_mut().insert(key.clone(), id.to_owned());
        }
    }
}

/// Carry out a plan; `nonce` tells it from every other plan.
pub(crate) async fn apply(
    caller: &Caller<'_>,
    observed: &Observed,
    plan: &Plan,
    nonce: &[u8],
    at_once: usize,
    told: &dyn Fn(&Step),
) -> Result<Applied, Trouble> {
    let ids = Ids { observed, made: RefCell::default() };
    let mut applied = Applied::default();
    let mut rest = plan.steps.as_slice();
    while let Some(first) = rest.first() {
        let phase = first.phase;
        let (now, later) = rest.split_at(rest.iter().take_while(|step| step.phase == phase).count());
        rest = later;
        let mut ends = futures::stream::iter(now)
            .map(|step| {
                let ids = &ids;
                async move { (step, one(caller, ids, step, nonce).await) }
            })
            .buffer_unordered(at_once.max(1));
        while let Some((step, ended)) = ends.next().await {
            match ended? {
                Ended::Done => {
                    applied.done += 1;
                    told(step);
                }
                Ended::Failed { why, stale } => {
                    applied.stale |= stale;
                    applied.failed.push((step.key.clone(), why));
                }
                Ended::Waiting(approval) => applied.waiting.push((step.key.clone(), approval)),
            }
        }
        if !applied.failed.is_empty() || !applied.waiting.is_empty() {
            return Ok(applied);
        }
    }
    Ok(applied)
}

async fn one(caller: &Caller<'_>, ids: &Ids<'_>, step: &Step, nonce: &[u8]) -> Result<Ended, Trouble> {
    for (index, call) in step.calls.iter().enumerate() {
        let spec = caller.spec(call.operation)?;
        let input = match input(ids, call) {
            Ok(input) => input,
            Err(why) => return Ok(Ended::Failed { why, stale: false }),
        };
        if let Err(problem) = spec.validate(&input) {
            return Ok(Ended::Failed { why: said(call, &problem), stale: false });
        }
        let key = idempotency_key(nonce, step, index, call, &input);
        match sent(caller, spec, input, &key).await? {
            Answer::Done { output, .. } => ids.keep(&step.key, &output),
            Answer::Pending(document) | Answer::Deferred(document) => {
                let approval = document.get("approval").and_then(Value::as_str).unwrap_or_default();
                return Ok(Ended::Waiting(approval.to_owned()));
            }
            Answer::Refused(problem) => {
                let stale = matches!(
                    problem.problem_kind(),
                    ProblemKind::AlreadyExists | ProblemKind::Conflict | ProblemKind::PreconditionFailed
                );
                return Ok(Ended::Failed { why: said(call, &problem), stale });
            }
        }
    }
    Ok(Ended::Done)
}

fn input(ids: &Ids<'_>, call: &Call) -> Result<Value, String> {
    let fields = call.fields.iter().map(|(name, field)| Ok(((*name).to_owned(), ids.value(field)?)));
    Ok(Value::Object(fields.collect::<Result<Map<String, Value>, String>>()?))
}

/// The problem of a call with each of its faults.
fn said(call: &Call, problem: &api::Problem) -> String {
    let faults: Vec<String> =
        problem.errors.iter().map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect();
    if faults.is_empty() {
        format!("{}: {}", call.operation, problem.detail)
    } else {
        format!("{}: {}", call.operation, faults.join("; "))
    }
}

/// A key that stands for this call of this step of this plan.
fn idempotency_key(nonce: &[u8], step: &Step, index: usize, call: &Call, input: &Value) -> String {
    let name = format!("{}/{index}/{}", step.key, call.operation);
    let digest = Digest::framed("posse.config.apply.v1", &[nonce, name.as_bytes(), input.to_string().as_bytes()]);
    format!("config-{digest}")
}

/// Send a call until there is an answer: the key makes that safe.
async fn sent(caller: &Caller<'_>, spec: &api::Spec, input: Value, key: &str) -> Result<Answer, Trouble> {
    let mut tries = 0;
    loop {
        tries += 1;
        let answer = caller.transport.call(spec, input.clone(), Some(key)).await;
        let pause = match &answer {
            Err(Trouble::Remote(_)) => PAUSE,
            Ok(Answer::Refused(problem)) if patience(problem.problem_kind()) => {
                problem.retry_after_secs.map_or(PAUSE, |secs| Duration::from_secs(u64::from(secs.min(30))))
            }
            _ => return answer,
        };
        if tries >= TRIES_MAX {
            return answer;
        }
        tokio::time::sleep(pause).await;
    }
}

const fn patience(kind: ProblemKind) -> bool {
    matches!(
        kind,
        ProblemKind::Overloaded | ProblemKind::Timeout | ProblemKind::TooManyRequests | ProblemKind::Unavailable
    )
}

//! One call of a run: through the door, with the run's own credential, asked again under the same key while nobody knows what
//! became of it.

use crate::context::Control;
use crate::refusal::Refusal;
use agent::Outcome;
use api::{Call, Credential, Door, Face, Origin, Problem, ProblemKind, Reply};
use ids::{Owner, Principal, Scope, Timestamp};
use serde_json::Value;
use std::time::Duration;
use store::{Agent, Changes, CredentialKind, Run, Stored};

/// How long a run's credential lives: it is made anew when it ends.
const CREDENTIAL_TTL: Duration = Duration::from_secs(900);
/// How long one call may take before it is asked again.
const CALL_MAX: Duration = Duration::from_secs(60);
/// How often a call is asked again where the platform is busy or did not answer.
const TRIES_MAX: u32 = 20;
/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// The most bytes of an answer that a run hears and its journal holds.
const ANSWER_BYTES_MAX: usize = 512 * 1024;

/// What a call came to.
pub(super) enum Heard {
    Outcome(Outcome),
    /// The run may not go on: the kill switch, or its agent does not act any more.
    Stopped(String),
}

/// A run's credential while it is driven.
pub(super) struct Bearer {
    credential: Option<(Credential, Timestamp)>,
}

impl Bearer {
    pub(super) const fn new() -> Self {
        Self { credential: None }
    }
}

impl Control {
    /// Make one call of a run.
    pub(super) async fn call_for(
        &self,
        run: &Run,
        bearer: &mut Bearer,
        (step, operation, input): (u32, &str, &Value),
        key: Option<&str>,
    ) -> Result<Heard, Refusal> {
        let mut refused = 0;
        for tries in 0..TRIES_MAX {
            let Some(credential) = self.run_credential(run, bearer).await? else {
                return Ok(Heard::Stopped("the agent may not act any more".to_owned()));
            };
            let call = Call {
                operation: operation.to_owned(),
                input: input.clone(),
                credential: Some(credential),
                idempotency_key: key.map(str::to_owned),
                origin: Origin {
                    face: Face::Agent,
                    address: None,
                    user_agent: None,
                    request_id: format!("{}/{step}", run.id),
                },
            };
            let Ok(reply) = tokio::time::timeout(CALL_MAX, Door::call(self, call)).await else { continue };
            let problem = match reply {
                Reply::Refused(problem) => problem,
                other => return Ok(Heard::Outcome(outcome_of(other))),
            };
            match problem.problem_kind() {
                ProblemKind::Halted => return Ok(Heard::Stopped(problem.detail)),
                ProblemKind::Unauthenticated if refused < 2 => {
                    refused += 1;
                    bearer.credential = None;
                }
                ProblemKind::TooManyRequests | ProblemKind::Overloaded | ProblemKind::Unavailable => {
                    let secs = problem.retry_after_secs.map_or(Duration::from_millis(200 << tries.min(6)), |secs| {
                        Duration::from_secs(u64::from(secs))
                    });
                    tokio::time::sleep(secs.min(WAIT_MAX)).await;
                }
                _ => return Ok(Heard::Outcome(refusal_of(&problem))),
            }
        }
        let detail = format!("no answer after {TRIES_MAX} tries");
        Ok(Heard::Outcome(Outcome::Failed { kind: "unavailable".to_owned(), detail }))
    }

    /// The run's credential, made anew where it has none that lives; none where its agent does not act any more.
    async fn run_credential(&self, run: &Run, bearer: &mut Bearer) -> Result<Option<Credential>, Refusal> {
        let now = self.now();
        if let Some((credential, until)) = &bearer.credential
            && *until > now
        {
            return Ok(Some(credential.clone()));
        }
        let id = run.agent.to_string();
        let agent: Option<Stored<Agent>> = self.store.snapshot(Scope::Provider).read(&id).await?;
        let active =
            |agent: &Stored<Agent>| agent.value.state == store::AgentState::Active && agent.value.expires_at > now;
        let Some(agent) = agent.filter(active) else { return Ok(None) };
        let home = Owner::from(run.agent_tenant);
        let principal = Principal::Agent(run.agent);
        let name = &agent.value.name;
        let (mut credential, shown) =
            self.new_credential(CredentialKind::Run, principal, home, name, now, CREDENTIAL_TTL)?;
        credential.run = Some(run.id);
        credential.reach = Some(run.tenant);
        credential.case = run.case;
        credential.on_behalf_of.clone_from(&run.on_behalf_of);
        let mut changes = Changes::new();
        changes.create(&credential).expect::<Agent>(&id, agent.version);
        self.commit_as_system("runs", "agent.issue_run_credential", Owner::Tenant(run.tenant), id, changes).await?;
        let made = Credential::new(shown.secret.reveal().to_owned());
        bearer.credential = Some((made.clone(), now.plus(CREDENTIAL_TTL / 2)));
        Ok(Some(made))
    }
}

fn outcome_of(reply: Reply) -> Outcome {
    match reply {
        Reply::Done(done) => bounded(done.output),
        Reply::Pending(pending) => Outcome::Pending { approval: pending.approval.to_string() },
        Reply::Deferred(deferred) => {
            Outcome::Deferred { approval: deferred.approval.to_string(), missing: deferred.missing }
        }
        Reply::Refused(problem) => refusal_of(&problem),
    }
}

/// An output as a run hears it.
pub(super) fn bounded(output: Value) -> Outcome {
    let bytes = serde_json::to_vec(&output).map_or(0, |bytes| bytes.len());
    if bytes > ANSWER_BYTES_MAX {
        let detail = format!("the answer has {bytes} bytes; a run hears at most {ANSWER_BYTES_MAX}, ask for less");
        return Outcome::Failed { kind: "answer-too-large".to_owned(), detail };
    }
    Outcome::Done { output }
}

fn refusal_of(problem: &Problem) -> Outcome {
    let faults = problem.errors.iter().take(5).map(|fault| format!("; `{}` {}", fault.pointer, fault.detail));
    let detail: String = std::iter::once(problem.detail.clone()).chain(faults).collect();
    if problem.problem_kind() == ProblemKind::Denied {
        return Outcome::Denied { detail };
    }
    let kind = problem.kind.rsplit(':').next().unwrap_or_default().to_owned();
    Outcome::Failed { kind, detail }
}

//! Runs as operations: start, look, list, stop, read back.

use super::driver::RUN_JOB;
use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use agent::{Ending, Entry, JournalLine};
use api::{Page, RunCancel, RunGet, RunList, RunStart, RunState, RunStep, RunTranscript};
use ids::{AgentId, CaseId, JobId, Owner, Principal, PrincipalKind, RunId, Scope, TenantId, Timestamp, UserId};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Agent, AgentDefinition, Changes, NewJob, Run, RunLines, Stored};

fn wire(stored: Stored<Run>) -> Result<api::Run, Refusal> {
    let Stored { value, created_at, updated_at, .. } = stored;
    let spent: agent::Spent = serde_json::from_value(value.spent).unwrap_or_default();
    let (outputs, reason) = told(value.ending);
    let started_by = value.on_behalf_of.first().cloned().unwrap_or(Principal::User(value.owner));
    Ok(api::Run {
        id: value.id,
        tenant: value.tenant,
        agent: value.agent,
        case: value.case,
        charter: value.charter,
        state: match value.state {
            store::RunState::Cancelled => RunState::Cancelled,
            store::RunState::Done => RunState::Done,
            store::RunState::Exhausted => RunState::Exhausted,
            store::RunState::Failed => RunState::Failed,
            store::RunState::Queued => RunState::Queued,
            store::RunState::Running => RunState::Running,
            store::RunState::Waiting => RunState::Waiting,
        },
        started_by,
        outputs,
        reason,
        waits_for: value.waits_for,
        tainted: value.tainted,
        spent: api::RunSpent {
            steps: spent.steps,
            tokens: spent.tokens,
            money_micros: spent.money_micros,
            work_ms: spent.work_micros / 1000,
            actions: spent.actions,
        },
        created_at,
        updated_at,
    })
}

/// What came out, or why it ended without.
fn told(ending: Option<Value>) -> (Option<Value>, Option<String>) {
    match ending.and_then(|ending| Ending::deserialize(&ending).ok()) {
        None => (None, None),
        Some(Ending::Done { outputs }) => (Some(outputs), None),
        Some(Ending::Cancelled { reason } | Ending::Failed { reason }) => (None, Some(reason)),
        Some(Ending::Exhausted { budget }) => {
            (None, Some(format!("the budget of {} was used up", format!("{budget:?}").to_lowercase())))
        }
    }
}

async fn run_target(look: &Look<'_>, run: RunId) -> Result<Target, Refusal> {
    let stored: Stored<Run> = look.one("run", &run.to_string()).await?;
    let owner = Principal::User(stored.value.owner);
    Ok(Target::new("Run", run.to_string(), Owner::Tenant(stored.value.tenant)).answered_by(owner))
}

/// What a run that begins is made of, whoever begins it.
pub(super) struct NewRun {
    pub(super) agent: AgentId,
    pub(super) agent_tenant: Option<TenantId>,
    pub(super) charter: String,
    pub(super) owner: UserId,
    pub(super) on_behalf_of: Vec<Principal>,
    pub(super) case: Option<CaseId>,
    pub(super) input: Value,
}

impl NewRun {
    pub(super) fn run(self, id: RunId, tenant: TenantId) -> Run {
        let Self { agent, agent_tenant, charter, owner, on_behalf_of, case, input } = self;
        Run {
            id,
            tenant,
            agent,
            agent_tenant,
            case,
            charter,
            state: store::RunState::Queued,
            on_behalf_of,
            owner,
            input,
            waits_for: None,
            ending: None,
            spent: Value::Null,
            tainted: false,
            lines: 0,
            turns: 1,
        }
    }
}

/// The job of a run's turn.
pub(super) fn turn_job(run: &Run, now: Timestamp) -> NewJob {
    let turn = format!("{}/{}", run.id, run.turns);
    NewJob {
        id: JobId::derive(&[b"run", turn.as_bytes()]),
        kind: RUN_JOB.to_owned(),
        owner: Owner::Tenant(run.tenant),
        payload: json!({ "run": run.id }),
        run_at: now,
        attempts_max: 100,
        dedupe: Some(turn),
    }
}

impl Handle<RunStart> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RunStart) -> Result<Target, Refusal> {
        let stored: Stored<Agent> = look.one("agent", &input.agent.to_string()).await?;
        look.tenant(input.tenant).await?;
        // The right is needed where the run will act, so the tenant decides, not the agent's own place.
        let target = Target::new("Agent", input.agent.to_string(), Owner::Tenant(input.tenant));
        Ok(target.named(stored.value.name).answered_by(Principal::User(stored.value.owner)))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RunStart) -> Result<Outcome<api::Run>, Refusal> {
        if admitted.identity.principal.kind() == PrincipalKind::Agent {
            // A run acts with the rights of its agent, not with those of who starts it.
            return Err(Refusal::conflict("an agent starts no run of another; ask a person to"));
        }
        let id = input.agent.to_string();
        let agent: Stored<Agent> = admitted.reach.read(&id).await?.ok_or_else(|| Refusal::not_found("agent"))?;
        let home = Owner::from(agent.value.tenant);
        if agent.value.state != store::AgentState::Active || agent.value.expires_at <= admitted.now {
            return Err(Refusal::conflict("the agent is not active; activate it first"));
        }
        if home != Owner::Provider && home != Owner::Tenant(input.tenant) {
            return Err(Refusal::fault("/tenant", "is not the agent's own; an agent of one tenant runs there only"));
        }
        let definition: Option<Stored<AgentDefinition>> = self.store.snapshot(Scope::Provider).read(&id).await?;
        let definition = definition
            .ok_or_else(|| Refusal::conflict("the agent has no definition; give it one with `agent.define`"))?;
        let prepared = self.prepared(&definition.value).await?;
        let tags = self.tenant_facts(input.tenant).await?.map(|facts| facts.tags.clone()).unwrap_or_default();
        if !super::trigger::reaches(&prepared.definition.tenants, agent.value.tenant, input.tenant, &tags) {
            let detail =
                "is none of the tenants that the agent's definition selects; see `tenants` in its front matter";
            return Err(Refusal::fault("/tenant", detail));
        }
        admitted.check_case(input.case).await?;
        let mut given = input.input;
        if let Some(case) = input.case {
            given.insert("case".to_owned(), json!(case));
        }
        let new = NewRun {
            agent: input.agent,
            agent_tenant: agent.value.tenant,
            charter: definition.value.charter,
            owner: agent.value.owner,
            on_behalf_of: std::iter::once(admitted.identity.principal.clone())
                .chain(admitted.identity.on_behalf_of.iter().cloned())
                .take(16)
                .collect(),
            case: input.case,
            input: Value::Object(given),
        };
        let run = new.run(RunId::generate(self.clock.as_ref(), self.entropy.as_ref()), input.tenant);
        let mut changes = Changes::new();
        changes.create(&run).expect::<Agent>(&id, agent.version).enqueue(turn_job(&run, admitted.now));
        let stored = Stored { value: run, version: 1, created_at: admitted.now, updated_at: admitted.now };
        Ok(Outcome::changed(wire(stored)?, changes))
    }
}

impl Handle<RunGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RunGet) -> Result<Target, Refusal> {
        run_target(look, input.run).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RunGet) -> Result<Outcome<api::Run>, Refusal> {
        Ok(Outcome::answer(wire(admitted.one("run", &input.run.to_string()).await?)?))
    }
}

impl Handle<RunList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RunList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RunList) -> Result<Outcome<Page<api::Run>>, Refusal> {
        let owner = Some(admitted.target.owner);
        let key = match (input.case, input.state, admitted.target.owner.tenant()) {
            (Some(case), _, _) => Some(("case", case.to_string())),
            (None, Some(state), Some(tenant)) => Some(("state", state_key(tenant, state))),
            _ => None,
        };
        Ok(Outcome::answer(admitted.page(owner, key, input.limit, input.cursor.as_ref(), wire).await?))
    }
}

fn state_key(tenant: TenantId, state: RunState) -> String {
    let word = serde_json::to_value(state).unwrap_or_default();
    format!("{tenant}/{}", word.as_str().unwrap_or_default())
}

impl Handle<RunCancel> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RunCancel) -> Result<Target, Refusal> {
        run_target(look, input.run).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RunCancel) -> Result<Outcome<api::Run>, Refusal> {
        let before: Stored<Run> = admitted.one("run", &input.run.to_string()).await?;
        if before.value.state.ended() {
            return Err(Refusal::conflict("the run has ended; only one that goes on can be stopped"));
        }
        let reason = format!("{}: {}", admitted.identity.principal, input.reason);
        let ending = serde_json::to_value(Ending::Cancelled { reason: reason.clone() }).ok();
        let entry = JournalLine::new(Entry::Cancelled { at: admitted.now, reason });
        let line = serde_json::to_value(&entry).map_err(|error| Refusal::bug("an entry does not serialise", &error))?;
        let first = before.value.lines;
        let lines = RunLines { run: before.value.id, tenant: before.value.tenant, first, lines: vec![line] };
        let mut run = before.value.clone();
        (run.state, run.ending, run.waits_for) = (store::RunState::Cancelled, ending, None);
        run.lines = run.lines.saturating_add(1);
        let mut changes = Changes::new();
        // The worker that drives it meets the new version at its next look, before its next step.
        changes.create(&lines).replace(&run, before.version);
        let version = before.version.saturating_add(1);
        let stored = Stored { value: run, version, created_at: before.created_at, updated_at: admitted.now };
        Ok(Outcome::changed(wire(stored)?, changes))
    }
}

impl Handle<RunTranscript> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RunTranscript) -> Result<Target, Refusal> {
        run_target(look, input.run).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RunTranscript) -> Result<Outcome<Page<RunStep>>, Refusal> {
        let lines = super::turn::stored_lines(&admitted.snapshot, input.run).await?;
        let step = |(place, line): (usize, Value)| {
            let number = u64::try_from(place).unwrap_or(u64::MAX).saturating_add(1);
            let entry = JournalLine::deserialize(&line).ok().map(|line| line.entry);
            let at = entry.as_ref().map(Entry::at).unwrap_or_default();
            let (kind, summary) = entry.as_ref().map(described).unwrap_or_default();
            let entry = line.get("entry").cloned().unwrap_or_default();
            (format!("{number:08}"), RunStep { number, at, kind: kind.to_owned(), summary, entry })
        };
        let steps = lines.into_iter().enumerate().map(step);
        Ok(Outcome::answer(admitted.page_of(steps, input.limit, input.cursor.as_ref())?))
    }
}

/// An entry in words.
fn described(entry: &Entry) -> (&'static str, String) {
    let outcome = |outcome: &agent::Outcome| match outcome {
        agent::Outcome::Denied { detail } => format!("denied: {detail}"),
        agent::Outcome::Failed { kind, detail } => format!("failed ({kind}): {detail}"),
        agent::Outcome::Pending { approval } => format!("waits for approval `{approval}`"),
        agent::Outcome::Deferred { missing, .. } => format!("deferred, missing: {}", missing.join(", ")),
        agent::Outcome::Done { .. } => "done".to_owned(),
    };
    match entry {
        Entry::Answered { step, answer, .. } => {
            ("answered", format!("step {step}: the model answers and asks for {} calls", answer.calls.len()))
        }
        Entry::Began { charter, .. } => ("began", format!("under the charter {charter}")),
        Entry::Called { step, operation, .. } => ("called", format!("step {step}: `{operation}`")),
        Entry::Cancelled { reason, .. } => ("cancelled", reason.clone()),
        Entry::Ended { ending, .. } => match told(serde_json::to_value(ending).ok()) {
            (_, Some(reason)) => ("ended", reason),
            _ => ("ended", "done".to_owned()),
        },
        Entry::Replied { step, outcome: came, .. } => ("replied", format!("step {step}: {}", outcome(came))),
        Entry::Settled { step, outcome: came, .. } => ("settled", format!("step {step}: {}", outcome(came))),
        Entry::Unanswered { step, reason, .. } => ("asked", format!("step {step}: no answer: {reason}")),
    }
}

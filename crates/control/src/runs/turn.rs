//! One turn of a run: from its stored journal on, until it ends, waits for people, or this process stops. What the journal
//! does not hold has not happened: it is written before anything with an effect is sent.

use super::Prepared;
use super::calls::{Bearer, Heard, bounded};
use super::handle::turn_job;
use crate::context::Control;
use crate::refusal::Refusal;
use agent::{Command, Effect, Ending, Entry, JournalLine, Outcome, Plan};
use ids::{ApprovalId, Owner, RunId, Scope};
use seal::Digest;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use store::{
    AgentDefinition, Approval, ApprovalState, Changes, Commit, Lease, Run, RunLines, RunState, Snapshot, Stored,
};

/// How long a worker holds a run before another may take it up.
pub(super) const LEASE: Duration = Duration::from_secs(15);
/// How often it says that it is alive.
const BEAT: Duration = Duration::from_secs(4);
/// The most bytes of journal lines in one document.
const LINES_BYTES_MAX: usize = 3 << 20;

/// A run while a worker drives it.
pub(super) struct Turn<'a> {
    pub(super) control: &'a Control,
    lease: &'a Lease,
    pub(super) stored: Stored<Run>,
    pub(super) run: agent::Run,
    fresh: Vec<Value>,
    bearer: Bearer,
    beaten: Instant,
    /// The step whose call the journal already holds.
    called: Option<u32>,
}

/// All lines of a run's journal.
pub(super) async fn stored_lines(snapshot: &Snapshot, run: RunId) -> Result<Vec<Value>, Refusal> {
    let (mut lines, mut after) = (Vec::new(), None);
    loop {
        let key = Some(("run", run.to_string()));
        let page = store::Page { after, limit: 100, key, ..store::Page::default() };
        let found: Vec<Stored<RunLines>> = snapshot.list(&page).await?;
        after = found.last().map(|last| RunLines::key(run, last.value.first));
        let whole = found.len() >= 100;
        lines.extend(found.into_iter().flat_map(|stored| stored.value.lines));
        if !whole {
            return Ok(lines);
        }
    }
}

impl<'a> Turn<'a> {
    /// Take up a run where its journal ends.
    pub(super) async fn take_up(
        control: &'a Control,
        lease: &'a Lease,
        stored: Stored<Run>,
    ) -> Result<Result<(Self, Arc<Prepared>), String>, Refusal> {
        let snapshot = control.store.snapshot(Scope::Provider);
        let definition: Option<Stored<AgentDefinition>> = snapshot.read(&stored.value.agent.to_string()).await?;
        let Some(definition) = definition.filter(|one| one.value.charter == stored.value.charter) else {
            return Ok(Err("the agent has another charter now than the one the run was started under".to_owned()));
        };
        let prepared = control.prepared(&definition.value).await?;
        let lines = stored_lines(&snapshot, stored.value.id).await?;
        let plan = Plan {
            run: stored.value.id,
            charter: prepared.charter,
            budgets: prepared.definition.budgets,
            tools: prepared.tools.clone(),
            procedure: prepared.procedure.clone(),
            input: stored.value.input.clone(),
        };
        let entries = match JournalLine::read_all(&lines) {
            Ok(entries) => entries,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let run = match agent::Run::resume(plan, &entries) {
            Ok(run) => run,
            Err(error) => return Ok(Err(format!("the journal does not make the run again: {error}"))),
        };
        let called = match entries.last() {
            Some(Entry::Called { step, .. }) => Some(*step),
            _ => None,
        };
        let (fresh, bearer, beaten) = (Vec::new(), Bearer::new(), Instant::now());
        let mut turn = Self { control, lease, stored, run, fresh, bearer, beaten, called };
        if entries.is_empty() {
            let charter = prepared.charter.to_hex();
            turn.tell(Entry::Began { at: control.now(), charter })?;
        }
        Ok(Ok((turn, prepared)))
    }

    /// Drive until it ends, waits, or `stopped` says so.
    pub(super) async fn drive(mut self, stopped: impl Fn() -> bool) -> Result<(), Refusal> {
        while !stopped() {
            self.beat().await?;
            match self.run.command().cloned() {
                None => return Err(Refusal::bug("a run", &"has nothing to do and has not begun")),
                Some(Command::End(ending)) => return self.finish(ending).await,
                Some(Command::Chat { step, request }) => {
                    if self.ask(step, *request, &stopped).await?.is_break() {
                        return Ok(());
                    }
                }
                Some(Command::Wait { step, approval }) => match self.settled(&approval).await? {
                    Some(outcome) => self.tell(Entry::Settled { step, at: self.control.now(), outcome })?,
                    None => return self.park(&approval).await,
                },
                Some(Command::Call { step, operation, input, effect, idempotency_key }) => {
                    if self.was_stopped().await? {
                        return self.let_go().await;
                    }
                    self.call(step, operation, input, effect, &idempotency_key).await?;
                }
            }
        }
        self.give_back().await
    }

    /// This process stops: whoever takes the run up goes on where its journal ends, at once.
    pub(super) async fn give_back(&self) -> Result<(), Refusal> {
        Ok(self.control.store.jobs().give_back(self.lease).await?)
    }

    /// Say now and then that this worker is alive.
    pub(super) async fn beat(&mut self) -> Result<(), Refusal> {
        if self.beaten.elapsed() > BEAT {
            self.control.store.jobs().heartbeat(self.lease, LEASE, None).await?;
            self.beaten = Instant::now();
        }
        Ok(())
    }

    async fn call(
        &mut self,
        step: u32,
        operation: String,
        input: Value,
        effect: Effect,
        key: &str,
    ) -> Result<(), Refusal> {
        if self.called != Some(step) {
            let at = self.control.now();
            self.tell(Entry::Called { step, at, operation: operation.clone(), input: input.clone() })?;
            self.called = Some(step);
        }
        let key = (effect != Effect::Read).then_some(key);
        if key.is_some() {
            self.write(RunState::Running, None, Changes::new(), "run.journal").await?;
        }
        let heard =
            self.control.call_for(&self.stored.value, &mut self.bearer, (step, &operation, &input), key).await?;
        let at = self.control.now();
        match heard {
            Heard::Outcome(outcome) => self.tell(Entry::Replied { step, at, outcome }),
            Heard::Stopped(reason) => self.tell(Entry::Cancelled { at, reason }),
        }
    }

    pub(super) fn tell(&mut self, entry: Entry) -> Result<(), Refusal> {
        self.run.step(&entry).map_err(|error| Refusal::bug("a run does not follow its own commands", &error))?;
        let line = serde_json::to_value(JournalLine::new(entry))
            .map_err(|error| Refusal::bug("an entry does not serialise", &error))?;
        self.fresh.push(line);
        Ok(())
    }

    /// Whether somebody stopped it meanwhile.
    pub(super) async fn was_stopped(&self) -> Result<bool, Refusal> {
        let snapshot = self.control.store.snapshot(Scope::Provider);
        let now: Option<Stored<Run>> = snapshot.read(&self.stored.value.id.to_string()).await?;
        Ok(now.is_none_or(|now| now.value.state.ended()))
    }

    /// The run was stopped from outside: only the job is left to end.
    pub(super) async fn let_go(&self) -> Result<(), Refusal> {
        let mut changes = Changes::new();
        changes.finish_job(self.lease, None);
        let (owner, id) = (Owner::Tenant(self.stored.value.tenant), self.stored.value.id.to_string());
        self.control.commit_as_system("runs", "run.stop", owner, id, changes).await
    }

    /// What became of a proposal; nothing while people have not decided, or the approved call has not run.
    async fn settled(&self, approval: &str) -> Result<Option<Outcome>, Refusal> {
        let stored: Option<Stored<Approval>> = self.control.store.snapshot(Scope::Provider).read(approval).await?;
        let Some(approval) = stored.map(|stored| stored.value) else {
            return Ok(Some(Outcome::Failed {
                kind: "not-found".to_owned(),
                detail: "the approval is gone".to_owned(),
            }));
        };
        let why = |word: &str| approval.problem.clone().unwrap_or_else(|| format!("the approval was {word}"));
        Ok(match approval.state {
            ApprovalState::Pending | ApprovalState::Deferred | ApprovalState::Approved => None,
            ApprovalState::Executed => Some(bounded(approval.result.clone().unwrap_or_default())),
            ApprovalState::Denied | ApprovalState::Expired | ApprovalState::Cancelled => {
                Some(Outcome::Denied { detail: why(approval.state.as_str()) })
            }
            ApprovalState::Failed => {
                Some(Outcome::Failed { kind: "failed".to_owned(), detail: why("not carried out") })
            }
            ApprovalState::Uncertain => {
                let detail = "sent, and nobody knows whether it arrived".to_owned();
                Some(Outcome::Failed { kind: "uncertain".to_owned(), detail })
            }
        })
    }

    async fn park(mut self, approval: &str) -> Result<(), Refusal> {
        let waits_for: Option<ApprovalId> = approval.parse().ok();
        let mut changes = Changes::new();
        changes.finish_job(self.lease, None);
        self.write(RunState::Waiting, waits_for, changes, "run.wait").await?;
        // People may have decided before the run was seen waiting: the next round looks again.
        self.control.runs.parked.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    async fn finish(mut self, ending: Ending) -> Result<(), Refusal> {
        let state = match &ending {
            Ending::Cancelled { .. } => RunState::Cancelled,
            Ending::Done { .. } => RunState::Done,
            Ending::Exhausted { .. } => RunState::Exhausted,
            Ending::Failed { .. } => RunState::Failed,
        };
        self.stored.value.ending = serde_json::to_value(&ending).ok();
        self.tell(Entry::Ended { at: self.control.now(), ending })?;
        let mut changes = Changes::new();
        changes.finish_job(self.lease, None);
        self.write(state, None, changes, "run.end").await
    }

    /// Write what happened since the last time, with the run's new state.
    pub(super) async fn write(
        &mut self,
        state: RunState,
        waits_for: Option<ApprovalId>,
        mut changes: Changes,
        operation: &str,
    ) -> Result<(), Refusal> {
        let run = &mut self.stored.value;
        let text = serde_json::to_vec(&self.fresh).unwrap_or_default();
        for lines in in_documents(std::mem::take(&mut self.fresh)) {
            let count = u64::try_from(lines.len()).unwrap_or(0);
            changes.create(&RunLines { run: run.id, tenant: run.tenant, first: run.lines, lines });
            run.lines = run.lines.saturating_add(count);
        }
        (run.state, run.waits_for) = (state, waits_for);
        run.tainted = self.run.tainted();
        run.spent = serde_json::to_value(self.run.spent()).unwrap_or_default();
        changes.replace(&*run, self.stored.version);
        let control = self.control;
        let (owner, id, digest) = (Owner::Tenant(run.tenant), run.id.to_string(), Some(Digest::of(&text)));
        let entry = control.digested_leaf("runs", operation, owner, Some(id), None, 200, digest)?;
        control.store.commit(Commit::new(control.now(), entry).changes(changes)).await?;
        self.stored.version = self.stored.version.saturating_add(1);
        Ok(())
    }
}

/// Lines in parts that fit a document.
fn in_documents(lines: Vec<Value>) -> Vec<Vec<Value>> {
    let (mut parts, mut bytes) = (Vec::<Vec<Value>>::new(), usize::MAX);
    for line in lines {
        let size = serde_json::to_vec(&line).map_or(0, |text| text.len());
        if bytes.saturating_add(size) > LINES_BYTES_MAX {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes = bytes.saturating_add(size);
        if let Some(part) = parts.last_mut() {
            part.push(line);
        }
    }
    parts
}

impl Control {
    /// Give runs whose proposal was decided their next turn.
    pub(super) async fn wake_settled(&self) -> Result<(), Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        let key = Some(("waiting", "yes".to_owned()));
        let page = store::Page { key, limit: 1000, ..store::Page::default() };
        let waiting: Vec<Stored<Run>> = snapshot.list(&page).await?;
        for stored in waiting {
            let Some(approval) = stored.value.waits_for else { continue };
            let approval: Option<Stored<Approval>> = snapshot.read(&approval.to_string()).await?;
            let open = |state: ApprovalState| state.waits() || state == ApprovalState::Approved;
            if approval.is_some_and(|approval| open(approval.value.state)) {
                continue;
            }
            let mut run = stored.value;
            (run.state, run.turns) = (RunState::Queued, run.turns.saturating_add(1));
            let mut changes = Changes::new();
            changes.replace(&run, stored.version).enqueue(turn_job(&run, self.now()));
            let (owner, id) = (Owner::Tenant(run.tenant), run.id.to_string());
            self.commit_as_system("runs", "run.wake", owner, id, changes).await?;
        }
        Ok(())
    }
}

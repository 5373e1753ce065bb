//! One question of a run to its model: within what its budgets leave, with its lease kept alive, and given up at once when the
//! run may not go on. What a model says has no authority here: an answer is an entry of the journal and nothing else.

use super::turn::Turn;
use crate::context::Control;
use crate::kill::Exposure;
use crate::refusal::Refusal;
use agent::{Budget, ChatRequest, Entry, ModelError, Unanswered, Usage};
use ids::{Owner, Principal, Scope, Timestamp};
use std::ops::ControlFlow;
use std::time::Duration;
use store::{Agent, AgentState, Changes, Run, RunState, Stored};
use tokio::time::{Instant, timeout_at};

/// How often a run that waits for its model looks whether it may go on.
const LOOK: Duration = Duration::from_millis(100);
/// How much longer than its budget allows a model may take before it is left alone: its own bound comes first.
const GRACE: Duration = Duration::from_millis(500);

/// What waiting for an answer came to.
enum Heard {
    /// The model said something, or that it does not.
    Model(Result<agent::Answer, Unanswered>),
    /// The run may not go on.
    Halted(String),
    /// Somebody stopped the run: nothing more of it is written.
    Gone,
    /// This process stops; the question is asked again by whoever takes the run up.
    Left,
}

impl Turn<'_> {
    /// Ask the model. [`ControlFlow::Break`] where this worker has nothing more to do with the run.
    pub(super) async fn ask(
        &mut self,
        step: u32,
        mut request: ChatRequest,
        stopped: &impl Fn() -> bool,
    ) -> Result<ControlFlow<()>, Refusal> {
        let asked_at = self.control.now();
        request.allowance.time = self.run.time_left(asked_at);
        let heard = match (self.control.halts_run(&self.stored.value, asked_at).await?, &self.control.inner.model) {
            (Some(reason), _) => Heard::Halted(reason),
            (None, None) => {
                let error = ModelError::NoSuchModel(request.model.clone());
                Heard::Model(Err(Unanswered { error, usage: Usage::default() }))
            }
            (None, Some(model)) => {
                let model = model.clone();
                self.wait_for(agent::ask(model.as_ref(), &request), request.allowance.time, asked_at, stopped).await?
            }
        };
        let at = self.control.now();
        match heard {
            Heard::Left => {
                self.give_back().await?;
                return Ok(ControlFlow::Break(()));
            }
            Heard::Gone => {
                self.let_go().await?;
                return Ok(ControlFlow::Break(()));
            }
            Heard::Halted(reason) => self.tell(Entry::Cancelled { at, reason })?,
            Heard::Model(Ok(answer)) => {
                self.tell(Entry::Answered { step, at, answer })?;
                // What was paid for is kept: a crash must not pay for it twice.
                self.write(RunState::Running, None, Changes::new(), "run.journal").await?;
            }
            Heard::Model(Err(Unanswered { error, usage })) => {
                let budget = if let ModelError::OverBudget(budget) = &error { Some(*budget) } else { None };
                self.tell(Entry::Unanswered { step, at, reason: error.to_string(), usage, budget })?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn wait_for(
        &mut self,
        answer: impl Future<Output = Result<agent::Answer, Unanswered>>,
        time: Duration,
        asked_at: Timestamp,
        stopped: &impl Fn() -> bool,
    ) -> Result<Heard, Refusal> {
        let mut answer = std::pin::pin!(answer);
        let started = Instant::now();
        let deadline = started.checked_add(time.saturating_add(GRACE)).unwrap_or(started);
        let mut seen = self.control.store.generation(&["run", "agent"]);
        loop {
            let look_at = (Instant::now() + LOOK).min(deadline);
            if let Ok(heard) = timeout_at(look_at, &mut answer).await {
                return Ok(Heard::Model(heard));
            }
            if Instant::now() >= deadline {
                let error = ModelError::OverBudget(Budget::Seconds);
                return Ok(Heard::Model(Err(Unanswered { error, usage: Usage::default() })));
            }
            if stopped() {
                return Ok(Heard::Left);
            }
            self.beat().await?;
            if let Some(reason) = self.control.held_by_switch(&self.stored.value, asked_at) {
                return Ok(Heard::Halted(reason));
            }
            let now = self.control.store.generation(&["run", "agent"]);
            if now == seen {
                continue;
            }
            seen = now;
            if self.was_stopped().await? {
                return Ok(Heard::Gone);
            }
            if let Some(reason) = self.control.halts_run(&self.stored.value, asked_at).await? {
                return Ok(Heard::Halted(reason));
            }
        }
    }
}

impl Control {
    /// Why a run may not go on: the kill switch holds it, or its agent does not act any more.
    async fn halts_run(&self, run: &Run, since: Timestamp) -> Result<Option<String>, Refusal> {
        if let Some(reason) = self.held_by_switch(run, since) {
            return Ok(Some(reason));
        }
        let agent: Option<Stored<Agent>> = self.store.snapshot(Scope::Provider).read(&run.agent.to_string()).await?;
        let now = self.now();
        let acts = agent.is_some_and(|agent| agent.value.state == AgentState::Active && agent.value.expires_at > now);
        Ok((!acts).then(|| "the agent may not act any more".to_owned()))
    }

    fn held_by_switch(&self, run: &Run, since: Timestamp) -> Option<String> {
        let exposure = Exposure {
            agents: Exposure::agents_of(&Principal::Agent(run.agent), &run.on_behalf_of),
            provider_person: false,
            owner: Owner::Tenant(run.tenant),
            home: Owner::from(run.agent_tenant),
            operation: None,
            spared: false,
            issued_at: since,
        };
        self.kill.halts(&exposure).map(|halt| format!("{halt} holds this run"))
    }
}

//! The run machine: told what happened, it says what to do next. It is its journal: [`Run::resume`] with the entries of an
//! earlier process stands where that stood, and asks again only for what has no answer yet, under the same key.

mod budget;
mod journal;

pub use budget::{Budget, Spent};
pub use journal::{Entry, JOURNAL_VERSION, JournalError, JournalLine};

use crate::conversation::{Conversation, ConversationPlan, Turn};
use crate::definition::Budgets;
use crate::model::ChatRequest;
use crate::playbook::{Interpreter, Next, Playbook};
use crate::tools::{Effect, Outcome, Toolset};
use budget::Meter;
use ids::{RunId, Timestamp};
use seal::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// What a run is made of; pinned when it starts.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its id.
    pub run: RunId,
    /// Digest of the charter.
    pub charter: Digest,
    /// How much it may use.
    pub budgets: Budgets,
    /// The operations that the charter lists and the platform has.
    pub tools: Arc<Toolset>,
    /// What drives it.
    pub procedure: Procedure,
    /// What it was started with.
    pub input: Value,
}

/// What drives a run.
#[derive(Clone, Debug)]
pub enum Procedure {
    /// A model.
    Model(Arc<ConversationPlan>),
    /// A playbook.
    Playbook(Arc<Playbook>),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ending {
    /// Somebody stopped it.
    Cancelled {
        /// Why.
        reason: String,
    },
    /// It did what it was to do.
    Done {
        /// What came out.
        outputs: Value,
    },
    /// A budget was used up.
    Exhausted {
        /// Which.
        budget: Budget,
    },
    /// It could not go on.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Make this call, and tell what became of it.
    Call {
        /// Which step.
        step: u32,
        /// Which operation.
        operation: String,
        /// With what.
        input: Value,
        /// What it does: anything but a read wants the journal written before it is sent.
        effect: Effect,
        /// The same whenever this step is asked for.
        idempotency_key: String,
    },
    /// Ask the model, and tell what it said.
    Chat {
        /// Which step.
        step: u32,
        /// What to ask.
        request: Box<ChatRequest>,
    },
    /// The run has ended.
    End(Ending),
    /// Wait until people decided, and tell what became of the call.
    Wait {
        /// Which step.
        step: u32,
        /// The approval that is waited for.
        approval: String,
    },
}

/// Why an entry does not fit a run.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
pub enum RunError {
    /// The run has another charter now.
    #[error("the run began under the charter {0}")]
    Charter(String),
    /// The run has ended.
    #[error("the run has ended")]
    Ended,
    /// What happened is not what the run asked for.
    #[error("{0}")]
    Unexpected(String),
}

/// The key of a step: the same in every process that resumes the run.
#[must_use]
pub fn idempotency_key(run: RunId, step: u32) -> String {
    Digest::framed("posse-run-step-v1", &[run.to_string().as_bytes(), &step.to_be_bytes()]).to_hex()
}

/// What drives a run, under way.
enum Driver {
    Model(Box<Conversation>),
    Playbook(Box<Interpreter>),
}

/// What the driver wants.
enum Wish {
    Call { operation: String, input: Value },
    Chat(Box<ChatRequest>),
    End(Ending),
}

/// A run under way.
pub struct Run {
    plan: Plan,
    driver: Option<Driver>,
    meter: Meter,
    command: Option<Command>,
    step: u32,
    tainted: bool,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("run", &self.plan.run).field("step", &self.step).finish_non_exhaustive()
    }
}

impl Run {
    /// A run that has not begun.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let meter = Meter::new(plan.budgets, Timestamp::from_micros(0));
        Self { plan, driver: None, meter, command: None, step: 0, tainted: false }
    }

    /// A run as these entries left it.
    ///
    /// # Errors
    /// The entries are not those of such a run.
    pub fn resume(plan: Plan, entries: &[Entry]) -> Result<Self, JournalError> {
        let mut run = Self::new(plan);
        for (place, entry) in entries.iter().enumerate() {
            run.step(entry).map_err(|source| JournalError::Order { number: place + 1, source })?;
        }
        Ok(run)
    }

    /// What is to be done; nothing before the run began.
    #[must_use]
    pub fn command(&self) -> Option<&Command> {
        self.command.as_ref()
    }

    /// What it has used.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.meter.spent
    }

    /// Whether it has read text that an outsider may have written.
    #[must_use]
    pub fn tainted(&self) -> bool {
        self.tainted
    }

    /// How much of the time that the run may work is left now.
    #[must_use]
    pub fn time_left(&self, now: Timestamp) -> Duration {
        self.meter.allowance().time.saturating_sub(now.since(self.meter.last()))
    }

    /// Tell what happened; what to do now.
    ///
    /// # Errors
    /// It is not what the run asked for.
    pub fn step(&mut self, entry: &Entry) -> Result<Command, RunError> {
        let next = match entry {
            Entry::Began { at, charter } => self.begin(*at, charter)?,
            Entry::Cancelled { reason, .. } if !self.has_ended() => {
                Command::End(Ending::Cancelled { reason: reason.clone() })
            }
            Entry::Ended { ending, .. } if self.driver.is_some() => Command::End(ending.clone()),
            _ if self.has_ended() => return Err(RunError::Ended),
            Entry::Called { step, operation, input, .. } => self.called(*step, operation, input)?,
            Entry::Replied { step, at, outcome } => self.replied(*step, *at, outcome)?,
            Entry::Settled { step, at, outcome } => self.settled(*step, *at, outcome)?,
            Entry::Answered { step, at, answer } => {
                self.expect_chat(*step)?;
                self.meter.passed(*at, true);
                self.meter.answered(answer.usage);
                let Some(Driver::Model(conversation)) = &mut self.driver else { return Err(unexpected("an answer")) };
                let turn = conversation.heard(answer);
                self.go_on(wish_of(turn))
            }
            Entry::Unanswered { step, at, reason, usage, budget } => {
                self.expect_chat(*step)?;
                self.meter.passed(*at, true);
                self.meter.spend(*usage);
                Command::End(match budget {
                    Some(budget) => Ending::Exhausted { budget: *budget },
                    None => Ending::Failed { reason: reason.clone() },
                })
            }
            Entry::Cancelled { .. } | Entry::Ended { .. } => return Err(unexpected("an end before the beginning")),
        };
        self.command = Some(next.clone());
        Ok(next)
    }

    fn has_ended(&self) -> bool {
        matches!(self.command, Some(Command::End(_)))
    }

    fn begin(&mut self, at: Timestamp, charter: &str) -> Result<Command, RunError> {
        if self.driver.is_some() || self.command.is_some() {
            return Err(unexpected("a second beginning"));
        }
        if *charter != self.plan.charter.to_hex() {
            return Err(RunError::Charter(charter.to_owned()));
        }
        self.meter = Meter::new(self.plan.budgets, at);
        let wish = match &self.plan.procedure {
            Procedure::Playbook(playbook) => match Interpreter::new(playbook.clone(), &self.plan.input) {
                Err(reason) => return Ok(Command::End(Ending::Failed { reason })),
                Ok(mut interpreter) => {
                    let next = interpreter.advance(at);
                    self.driver = Some(Driver::Playbook(Box::new(interpreter)));
                    wish_after(next)
                }
            },
            Procedure::Model(plan) => {
                let mut conversation = Conversation::new(plan.clone(), &self.plan.tools, &self.plan.input);
                let turn = conversation.open();
                self.driver = Some(Driver::Model(Box::new(conversation)));
                wish_of(turn)
            }
        };
        Ok(self.go_on(wish))
    }

    /// From what the driver wants to a command, as far as charter and budgets go.
    fn go_on(&mut self, wish: Wish) -> Command {
        match wish {
            Wish::End(ending) => Command::End(ending),
            Wish::Chat(mut request) => {
                let left = match self.meter.question(request.bytes()) {
                    Ok(left) => u32::try_from(left).unwrap_or(u32::MAX),
                    Err(budget) => return Command::End(Ending::Exhausted { budget }),
                };
                request.output_tokens_max = request.output_tokens_max.min(left);
                request.allowance = self.meter.allowance();
                self.step = self.step.saturating_add(1);
                Command::Chat { step: self.step, request }
            }
            Wish::Call { operation, input } => {
                // A step is used up even where the charter has no such operation: a model that insists comes to an end. It
                // goes to the gate, where it is refused on the record.
                let effect = self.plan.tools.get(&operation).map_or(Effect::Write, |tool| tool.effect);
                if let Err(budget) = self.meter.call(effect) {
                    return Command::End(Ending::Exhausted { budget });
                }
                self.step = self.step.saturating_add(1);
                let idempotency_key = idempotency_key(self.plan.run, self.step);
                Command::Call { step: self.step, operation, input, effect, idempotency_key }
            }
        }
    }

    fn called(&self, step: u32, operation: &str, input: &Value) -> Result<Command, RunError> {
        match &self.command {
            Some(asked @ Command::Call { step: own, operation: wanted, input: with, .. })
                if *own == step && wanted == operation && with == input =>
            {
                Ok(asked.clone())
            }
            _ => Err(RunError::Unexpected(format!("step {step} calls `{operation}`, which the run does not ask for"))),
        }
    }

    fn replied(&mut self, step: u32, at: Timestamp, outcome: &Outcome) -> Result<Command, RunError> {
        let Some(Command::Call { step: own, operation, .. }) = &self.command else { return Err(unexpected("a reply")) };
        if *own != step {
            return Err(RunError::Unexpected(format!("a reply to step {step}; the run is at step {own}")));
        }
        // An operation that is not known is taken for one that reads an outsider's text.
        self.tainted |= self.plan.tools.get(operation).is_none_or(|tool| tool.outsider_text);
        self.meter.passed(at, true);
        if let Outcome::Pending { approval } = outcome
            && self.waits_for_people()
        {
            return Ok(Command::Wait { step, approval: approval.clone() });
        }
        self.hear(outcome, at)
    }

    fn waits_for_people(&self) -> bool {
        match &self.driver {
            Some(Driver::Playbook(interpreter)) => interpreter.waits_for_people(),
            _ => true,
        }
    }

    fn settled(&mut self, step: u32, at: Timestamp, outcome: &Outcome) -> Result<Command, RunError> {
        match &self.command {
            Some(Command::Wait { step: own, .. }) if *own == step => {}
            _ => return Err(unexpected("a decision")),
        }
        self.meter.passed(at, false);
        self.hear(outcome, at)
    }

    fn hear(&mut self, outcome: &Outcome, at: Timestamp) -> Result<Command, RunError> {
        let wish = match &mut self.driver {
            Some(Driver::Playbook(interpreter)) => wish_after(interpreter.resume(outcome, at)),
            Some(Driver::Model(conversation)) => wish_of(conversation.told(outcome)),
            None => return Err(unexpected("an outcome before the beginning")),
        };
        Ok(self.go_on(wish))
    }

    fn expect_chat(&self, step: u32) -> Result<(), RunError> {
        match &self.command {
            Some(Command::Chat { step: own, .. }) if *own == step => Ok(()),
            _ => Err(unexpected("an answer of a model")),
        }
    }
}

fn unexpected(what: &str) -> RunError {
    RunError::Unexpected(format!("{what} came that the run does not wait for"))
}

fn wish_after(next: Next) -> Wish {
    match next {
        Next::Call { operation, input } => Wish::Call { operation, input },
        Next::Done { outputs } => Wish::End(Ending::Done { outputs }),
        Next::Failed { reason } => Wish::End(Ending::Failed { reason }),
    }
}

fn wish_of(turn: Turn) -> Wish {
    match turn {
        Turn::Ask(request) => Wish::Chat(request),
        Turn::Call { operation, input } => Wish::Call { operation, input },
        Turn::Done { outputs } => Wish::End(Ending::Done { outputs }),
        Turn::Failed { reason } => Wish::End(Ending::Failed { reason }),
    }
}

//! What a run has used, held against what it may. Asked before each step, so that no budget is passed by more than the step
//! that was under way.

use crate::definition::Budgets;
use crate::model::{Allowance, Usage, tokens_estimate};
use crate::tools::Effect;
use ids::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A budget, by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// Calls that change something.
    Actions,
    /// Money for models.
    Money,
    /// Seconds of work.
    Seconds,
    /// Calls and questions.
    Steps,
    /// Tokens.
    Tokens,
}

impl Budget {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Actions => "actions",
            Self::Money => "money",
            Self::Seconds => "seconds",
            Self::Steps => "steps",
            Self::Tokens => "tokens",
        }
    }
}

/// What a run has used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// Calls and questions.
    pub steps: u32,
    /// Tokens read and written.
    pub tokens: u64,
    /// Money, in millionths.
    pub money_micros: u64,
    /// Microseconds of work, waiting for people not counted.
    pub work_micros: u64,
    /// Calls that change something.
    pub actions: u32,
}

/// Counts as the journal goes on.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    budgets: Budgets,
    pub(super) spent: Spent,
    last: Timestamp,
    /// Bytes of the question under way.
    asked_bytes: u64,
    /// What a model counted for the last question: its bytes, and its tokens.
    counted: (u64, u64),
}

impl Meter {
    pub(super) fn new(budgets: Budgets, at: Timestamp) -> Self {
        Self { budgets, spent: Spent::default(), last: at, asked_bytes: 0, counted: (0, 0) }
    }

    /// Time went on; `worked` is false where the run waited for people.
    pub(super) fn passed(&mut self, at: Timestamp, worked: bool) {
        let micros = u64::try_from(at.since(self.last).as_micros()).unwrap_or(u64::MAX);
        if worked {
            self.spent.work_micros = self.spent.work_micros.saturating_add(micros);
        }
        self.last = self.last.max(at);
    }

    pub(super) fn answered(&mut self, usage: Usage) {
        self.counted = (self.asked_bytes, usage.input_tokens);
        self.spend(usage);
    }

    pub(super) fn spend(&mut self, usage: Usage) {
        let tokens = usage.input_tokens.saturating_add(usage.output_tokens);
        self.spent.tokens = self.spent.tokens.saturating_add(tokens);
        self.spent.money_micros = self.spent.money_micros.saturating_add(usage.money_micros);
    }

    /// Take a call's worth; the budget that has none left.
    pub(super) fn call(&mut self, effect: Effect) -> Result<(), Budget> {
        self.step()?;
        if effect != Effect::Read {
            if self.spent.actions >= self.budgets.actions {
                return Err(Budget::Actions);
            }
            self.spent.actions += 1;
        }
        self.spent.steps += 1;
        Ok(())
    }

    /// Take the worth of a question of so many bytes; the budget that has not enough left for it and a word of an answer.
    /// Otherwise the most tokens of the answer.
    pub(super) fn question(&mut self, bytes: u64) -> Result<u64, Budget> {
        self.step()?;
        let input = self.estimate(bytes);
        let left = self.tokens_left().saturating_sub(input);
        if left == 0 {
            return Err(Budget::Tokens);
        }
        // Money is metered only where there are prices; then 0 means none. What the next question costs, those before it say.
        let rate = u128::from(self.spent.money_micros) * u128::from(input) / u128::from(self.spent.tokens.max(1));
        if u128::from(self.spent.money_micros) + rate > u128::from(self.budgets.money_micros) {
            return Err(Budget::Money);
        }
        self.asked_bytes = bytes;
        self.spent.steps += 1;
        Ok(left)
    }

    /// How many tokens so many bytes are: by bytes, or by what the model counted last where that is more.
    fn estimate(&self, bytes: u64) -> u64 {
        let (counted_bytes, counted_tokens) = self.counted;
        let scaled = u128::from(bytes) * u128::from(counted_tokens) / u128::from(counted_bytes.max(1));
        tokens_estimate(bytes).max(u64::try_from(scaled).unwrap_or(u64::MAX))
    }

    fn step(&self) -> Result<(), Budget> {
        if self.spent.steps >= self.budgets.steps {
            return Err(Budget::Steps);
        }
        if self.spent.work_micros >= u64::from(self.budgets.seconds) * 1_000_000 {
            return Err(Budget::Seconds);
        }
        Ok(())
    }

    fn tokens_left(&self) -> u64 {
        self.budgets.tokens.saturating_sub(self.spent.tokens)
    }

    /// What the question under way may cost.
    pub(super) fn allowance(&self) -> Allowance {
        let micros = (u64::from(self.budgets.seconds) * 1_000_000).saturating_sub(self.spent.work_micros);
        Allowance {
            tokens: self.tokens_left(),
            money_micros: self.budgets.money_micros.saturating_sub(self.spent.money_micros),
            time: Duration::from_micros(micros),
        }
    }

    /// When the last thing happened.
    pub(super) const fn last(&self) -> Timestamp {
        self.last
    }
}

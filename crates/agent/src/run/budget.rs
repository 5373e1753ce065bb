//! What a run has used, held against what it may. Asked before each step, so that no budget is passed by more than the step
//! that was under way.

use crate::definition::Budgets;
use crate::model::Usage;
use crate::tools::Effect;
use ids::Timestamp;
use serde::{Deserialize, Serialize};

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
}

impl Meter {
    pub(super) fn new(budgets: Budgets, at: Timestamp) -> Self {
        Self { budgets, spent: Spent::default(), last: at }
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

    /// Take a question's worth; the budget that has none left.
    pub(super) fn question(&mut self) -> Result<(), Budget> {
        self.step()?;
        if self.spent.tokens >= self.budgets.tokens {
            return Err(Budget::Tokens);
        }
        // Money is metered only where there are prices; then 0 means none.
        if self.spent.money_micros > self.budgets.money_micros {
            return Err(Budget::Money);
        }
        self.spent.steps += 1;
        Ok(())
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

    /// Tokens that are left, for the bound of the next answer.
    pub(super) fn tokens_left(&self) -> u64 {
        self.budgets.tokens.saturating_sub(self.spent.tokens)
    }
}

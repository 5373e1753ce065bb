//! Which tasks were begun and what came of them, on disk until they expire: so that no task is done twice, also not
//! over a crash of the sensor or of the platform.

use crate::state::{State, StateError};
use crate::wire::{SignedResult, Task};
use ids::{SensorTaskId, Timestamp};
use serde::{Deserialize, Serialize};

const FILE: &str = "tasks.json";
/// Tasks remembered; more at a time are refused until some expire.
const TASKS_MAX: usize = 1024;

/// One task.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    id: SensorTaskId,
    expires_at: Timestamp,
    /// None while it is being done, or was when the sensor died.
    result: Option<SignedResult>,
    /// Whether the platform has the result.
    told: bool,
}

/// All tasks that have not expired.
pub(crate) struct Ledger {
    state: State,
    known: Vec<Known>,
}

/// What is to be done about a task.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// It is new, or was interrupted: do it.
    Begin,
    /// Too many are remembered.
    Full,
    /// It was done: tell this.
    Tell(Box<SignedResult>),
}

impl Ledger {
    pub(crate) fn open(state: State) -> Result<Self, StateError> {
        let known = state.read(FILE)?.unwrap_or_default();
        Ok(Self { state, known })
    }

    /// Decide about a task, and remember on disk that it is begun.
    pub(crate) fn begin(&mut self, task: &Task, now: Timestamp) -> Result<Verdict, StateError> {
        if let Some(known) = self.known.iter().find(|known| known.id == task.id) {
            // A task that was interrupted is done again: each kind finds what it did before as "already so".
            return Ok(known.result.clone().map_or(Verdict::Begin, |result| Verdict::Tell(Box::new(result))));
        }
        // An expired task cannot come again; a result that nobody fetched goes with it.
        self.known.retain(|known| known.expires_at > now || (known.result.is_some() && !known.told));
        if self.known.len() >= TASKS_MAX {
            return Ok(Verdict::Full);
        }
        self.known.push(Known { id: task.id, expires_at: task.expires_at, result: None, told: false });
        self.state.write(FILE, &self.known)?;
        Ok(Verdict::Begin)
    }

    /// Remember what came of a task.
    pub(crate) fn done(&mut self, id: SensorTaskId, result: SignedResult) -> Result<(), StateError> {
        if let Some(known) = self.known.iter_mut().find(|known| known.id == id) {
            known.result = Some(result);
        }
        self.state.write(FILE, &self.known)
    }

    /// The platform has a result, or does not want it.
    pub(crate) fn told(&mut self, id: SensorTaskId) -> Result<(), StateError> {
        if let Some(known) = self.known.iter_mut().find(|known| known.id == id) {
            known.told = true;
        }
        self.state.write(FILE, &self.known)
    }

    /// Results that the platform does not have yet.
    pub(crate) fn untold(&self) -> Vec<(SensorTaskId, SignedResult)> {
        let untold = self.known.iter().filter(|known| !known.told);
        untold.filter_map(|known| Some((known.id, known.result.clone()?))).collect()
    }
}

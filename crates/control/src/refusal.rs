//! Why a call came to nothing, inside this crate: a problem for the caller, or a failure of storage that the gate turns
//! into one. The text of a storage failure goes to the log, never to the caller.

use api::{Problem, ProblemKind};
use store::{CommitError, ReadError};

/// Why a handler, or the gate, stops.
#[derive(Debug)]
pub enum Refusal {
    /// Committing failed; the gate decides whether to try again.
    Commit(CommitError),
    /// The caller gets this.
    Problem(Box<Problem>),
    /// Reading failed.
    Read(ReadError),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Self {
        Self::Commit(error)
    }
}

impl Refusal {
    /// The object's state does not allow this; `detail` says which state and what would be right.
    #[must_use]
    pub fn conflict(detail: impl Into<String>) -> Self {
        Problem::new(ProblemKind::Conflict, detail).into()
    }

    /// One fault of the input.
    #[must_use]
    pub fn fault(pointer: &str, detail: impl Into<String>) -> Self {
        Problem::fault(pointer, detail).into()
    }

    /// Nothing that the caller may know of has this name.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Problem::not_found(what).into()
    }

    /// A state that no input can reach: a bug, told to the log in full and to the caller not at all.
    #[must_use]
    pub fn bug(what: &'static str, error: &dyn std::fmt::Display) -> Self {
        tracing::error!(what, %error, "a bug of the platform");
        Problem::internal().into()
    }

    /// What the caller is told.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        match self {
            Self::Problem(problem) => *problem,
            Self::Read(error) => {
                tracing::error!(%error, "reading state failed");
                unavailable()
            }
            Self::Commit(error) => commit_problem(&error),
        }
    }
}

fn unavailable() -> Problem {
    Problem {
        retry_after_secs: Some(5),
        ..Problem::new(ProblemKind::Unavailable, "storage does not answer; nothing was done")
    }
}

fn commit_problem(error: &CommitError) -> Problem {
    match error {
        CommitError::Conflict { .. } => {
            Problem::new(ProblemKind::Conflict, "the object changed meanwhile; read it again and decide anew")
        }
        CommitError::Duplicate { kind, key } => Problem::new(
            ProblemKind::AlreadyExists,
            format!("another {} has this {key}; choose another", kind.replace('_', " ")),
        ),
        CommitError::Guarded => {
            Problem::new(ProblemKind::Halted, "the kill switch was engaged while the call ran; nothing was done")
        }
        CommitError::Overloaded => Problem {
            retry_after_secs: Some(1),
            ..Problem::new(ProblemKind::Overloaded, "too many calls wait to be recorded; nothing was done")
        },
        CommitError::Unavailable => unavailable(),
        CommitError::IdempotencyRace | CommitError::LeaseLost { .. } => {
            Problem::new(ProblemKind::Conflict, "another call did this meanwhile")
        }
        CommitError::Invalid { .. } => {
            tracing::error!(%error, "a commit was not well formed");
            Problem::internal()
        }
    }
}

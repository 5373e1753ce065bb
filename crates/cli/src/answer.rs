//! What became of a call, whichever way it was sent, and what can go wrong before there is an answer.

use crate::Exit;
use api::{Future, Problem, ProblemKind, Spec};
use serde_json::Value;
use thiserror::Error;

/// What became of a call.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Waits for evidence; the document says where to follow it.
    Deferred(Value),
    /// Carried out, with the output and the obligations that policy laid on it.
    Done { output: Value, obligations: Option<Value> },
    /// Waits for people; the document says where to follow it.
    Pending(Value),
    /// Refused, with nothing changed.
    Refused(Problem),
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum Trouble {
    /// The input does not fit the operation: nothing was sent.
    #[error("{0}")]
    Input(Problem),
    /// A file or stream of this machine.
    #[error("{what}: {reason}")]
    Local { what: String, reason: String },
    /// The other side did not answer, or not in a way that can be read.
    #[error("{0}")]
    Remote(String),
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
}

impl Trouble {
    pub(crate) fn local(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Local { what: what.into(), reason: reason.to_string() }
    }

    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Input(_) | Self::Usage(_) => Exit::Usage,
            Self::Local { .. } | Self::Remote(_) => Exit::Failed,
        }
    }
}

/// How a refusal ends the command.
pub(crate) fn exit_of(problem: &Problem) -> Exit {
    match problem.problem_kind() {
        ProblemKind::Denied | ProblemKind::Halted => Exit::Denied,
        ProblemKind::InvalidInput | ProblemKind::Malformed => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// A way to put a call through the gate.
pub(crate) trait Transport: Sync {
    /// Send one call whose input was judged.
    fn call<'a>(
        &'a self,
        spec: &'a Spec,
        input: Value,
        idempotency_key: Option<&'a str>,
    ) -> Future<'a, Result<Answer, Trouble>>;
}

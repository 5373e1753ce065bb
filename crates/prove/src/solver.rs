//! The solver's process: found, started with nothing of our environment, ended with its time.

use cedar_policy_symcc::CedarSymCompiler;
use cedar_policy_symcc::solver::LocalSolver;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;
use tokio::process::Command;

/// Why there is no solver to ask.
#[derive(Debug, Error)]
pub enum SolverError {
    /// No such program.
    #[error("the solver `{0}` is not there; install cvc5, or name its program in the configuration")]
    Missing(PathBuf),
    /// It is there and does not start.
    #[error("the solver does not start: {0}")]
    Start(String),
}

/// A solver that speaks SMT-LIB on its standard streams: cvc5.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Solver {
    program: PathBuf,
}

impl Solver {
    /// The program of this name: as a path where it has a folder, else in the folders of `search` (a `PATH`).
    ///
    /// # Errors
    /// [`SolverError::Missing`] where there is no such file.
    pub fn find(name: &Path, search: Option<&OsStr>) -> Result<Self, SolverError> {
        let plain = name.components().count() == 1;
        let folders = search.filter(|_| plain).map(std::env::split_paths).into_iter().flatten();
        let mut places = folders.map(|folder| folder.join(name)).chain((!plain).then(|| name.to_owned()));
        let found = places.find(|place| place.is_file());
        found.map(|program| Self { program }).ok_or_else(|| SolverError::Missing(name.to_owned()))
    }

    /// Where it is.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A process that gives up on one question after some time. It ends when this is dropped.
    pub(crate) fn start(&self, per_question: Duration) -> Result<CedarSymCompiler<LocalSolver>, SolverError> {
        let millis = per_question.as_millis().max(1);
        let mut command = Command::new(&self.program);
        command.args(["--lang", "smt", &format!("--tlimit-per={millis}")]).env_clear().kill_on_drop(true);
        let solver = LocalSolver::from_command(&mut command).map_err(|error| SolverError::Start(error.to_string()))?;
        CedarSymCompiler::new(solver).map_err(|error| SolverError::Start(error.to_string()))
    }
}

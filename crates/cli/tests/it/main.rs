//! The command line as a whole: arguments in, output and exit code out, against a scripted HTTP server or a gate in
//! this process.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail where it stands")]

mod audit_verify;
mod borrow;
mod configuration;
mod every_operation;
mod help;
mod http_calls;
mod mcp_bridge;
mod peer;
mod policy_check;
mod reference_page;
mod rule_files;

use cli::{Exit, Program, Surroundings};
use std::collections::BTreeMap;
use std::io::Cursor;

/// What a command line came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// The program with every operation there is.
pub(crate) fn program() -> Program {
    Program { specs: api::specs(), version: "0.0.0", others: Vec::new(), open_data_dir: None, ingest: None }
}

/// A command line and what surrounds it.
#[derive(Default)]
pub(crate) struct Line {
    variables: BTreeMap<String, String>,
    input: String,
    terminal: bool,
}

impl Line {
    pub(crate) fn at(url: &str) -> Self {
        Self::default().with("POSSE_URL", url).with("POSSE_TOKEN", "secret-token")
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn input(mut self, text: &str) -> Self {
        text.clone_into(&mut self.input);
        self
    }

    pub(crate) fn terminal(mut self) -> Self {
        self.terminal = true;
        self
    }

    pub(crate) fn run(self, arguments: &[&str]) -> Ran {
        self.run_in(&program(), arguments)
    }

    pub(crate) fn run_in(self, program: &Program, arguments: &[&str]) -> Ran {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let variable = |name: &str| self.variables.get(name).cloned();
        let around = Surroundings {
            variable: &variable,
            input: Box::new(Cursor::new(self.input.clone().into_bytes())),
            output: &mut output,
            errors: &mut errors,
            terminal: self.terminal,
        };
        let words = std::iter::once("posse").chain(arguments.iter().copied()).map(Into::into);
        let exit = cli::run(program, words, around);
        Ran { exit, output: String::from_utf8(output).unwrap(), errors: String::from_utf8(errors).unwrap() }
    }
}

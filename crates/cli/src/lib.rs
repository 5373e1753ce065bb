//! The command line: every operation as a command, derived at run time from the same declarations as the API, and
//! the few commands that need no server.
//!
//! `posse <resource> <verb> --field value` sends one call over HTTP (or, with `--data-dir`, through a gate that the
//! binary opens in its own process). The credential comes from the environment or a file, never from an argument,
//! where every user of the machine could read it. What comes from outside is stripped of control characters before
//! it reaches a terminal. Holds no logic of any operation: a new operation is a new command without a line here.

mod answer;
mod argument;
mod audit_folder;
mod borrow;
mod certificate;
mod command;
mod config;
mod door;
mod exit;
mod export;
mod import;
mod input;
mod mcp;
mod operate;
mod policy_check;
mod remote;
mod rule_folder;
mod rules;
mod show;
mod source;
mod table;
mod target;
mod teach;

pub use exit::Exit;
pub use import::{Ingest, Taken};
pub use teach::reference;

use api::{Door, Future, Spec};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Opens a data folder and starts the gate in this process: what `--data-dir` does.
pub type OpenDataDir = Box<dyn Fn(PathBuf) -> Future<'static, Result<Arc<dyn Door>, String>>>;

/// Opens a data folder to take records into it: what `import --data-dir` does.
pub type OpenIngest = Box<dyn Fn(PathBuf) -> Future<'static, Result<Arc<dyn Ingest>, String>>>;

/// A command of the binary that is not an operation, for the help.
#[derive(Clone, Copy, Debug)]
pub struct Other {
    /// Its name, for example `serve`.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
}

/// What the command line is made of.
pub struct Program {
    /// Every operation.
    pub specs: Vec<Spec>,
    /// The binary's version.
    pub version: &'static str,
    /// The binary's other commands; they are shown in the help and carried out by the binary.
    pub others: Vec<Other>,
    /// How to open a data folder, where the binary can.
    pub open_data_dir: Option<OpenDataDir>,
    /// How to take records into a data folder, where the binary can.
    pub ingest: Option<OpenIngest>,
}

/// What surrounds the process: passed in, so that a test can be one.
pub struct Surroundings<'a> {
    /// Reads a variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Standard input.
    pub input: Box<dyn Read + Send>,
    /// Standard output.
    pub output: &'a mut dyn Write,
    /// Standard error.
    pub errors: &'a mut dyn Write,
    /// Whether standard output is a terminal: then a table is the default.
    pub terminal: bool,
}

/// Carry out one command line; `arguments` begin with the program's name.
pub fn run(program: &Program, arguments: impl IntoIterator<Item = OsString>, around: Surroundings<'_>) -> Exit {
    let Surroundings { variable, input, output, errors, terminal } = around;
    let Ok(arguments) = arguments.into_iter().map(OsString::into_string).collect::<Result<Vec<String>, _>>() else {
        return exit::complain(errors, "an argument is not UTF-8", Exit::Usage);
    };
    if let Some(words) = teach::asked(&arguments) {
        return teach::answer(program, &words, output, errors);
    }
    let matches = match command::tree(program).try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return command::refused(&error, output, errors),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::complain(errors, &format!("no runtime can be started: {error}"), Exit::Failed),
    };
    let mut around = operate::Around { variable, input: source::Input::new(input), output, errors, terminal };
    let exit = runtime.block_on(operate::carry_out(program, &matches, &mut around));
    // A thread may still wait for standard input, which nobody will close.
    runtime.shutdown_background();
    exit
}

//! `posse evaluate …`: what the shipped triage and the gate really do, on recordings and calls that others give. Everything
//! runs in a platform of its own in a folder that goes away; nothing here may touch a data folder of anybody.

mod chunk;
mod injections;
mod labels;
mod map;
mod options;
mod outcome;
mod recording;
mod rules;
mod stage;
mod triage;
mod world;

use anyhow::bail;
use std::ffi::OsString;
use std::process::ExitCode;

/// What `posse evaluate --help` says.
const HELP: &str = "\
Judge triage and the gate on recordings and calls of your own

Usage: posse evaluate triage FILE… [--rules DIR] [--json] [--labels FILE] [--skill DIR] [--jobs N]
       posse evaluate injections --calls FILE --map FILE [--json]

  triage      Bring each recording into a throw-away tenant, detect, put findings into cases, run the triage playbook on
              each case as an agent through the gate, and print one line for each recording.
              FILE          JSON lines or arrays, CloudTrail, Windows event logs, plain or compressed by gzip, zstd or zip
              --rules DIR   Sigma rules in place of those that ship: a folder or a file
              --json        One JSON object a line: {file, events, detections, cases: [{verdict, severity, score,
                            evidence, techniques, seconds, ...}]}; where something failed, `error` says what
              --labels FILE What the cases are: JSON lines {file, from, to, hosts, label: attack|benign}; the confusion
                            matrix and three dummies beside it go to standard error, and as a last line {summary} with --json
              --skill DIR   The skill `triage` of this folder in place of the one that ships
              --jobs N      Cases that are worked on at once, default 8

  injections  Put each call through the real gate as an agent of the roles that it names, in a run that has read an
              outsider's text or has not, and print what was decided and what changed.
              --calls FILE  JSON lines {run, tainted, operation or tool, input}, also role and benign
              --map FILE    Which operation has the effect of which foreign tool; spec/agent/injections/README.md
              --json        One JSON object a line, the last one {summary}

Exit codes: 0 everything was judged, and no call of a run that had read an outsider's text had a consequential effect
without an approval; 1 something was not judged, or had; 2 the command is not right.
";

/// How an evaluation ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Whole,
    Parts,
}

/// Carry out `posse evaluate` with these arguments.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    match carry_out(arguments) {
        Ok(End::Whole) => ExitCode::SUCCESS,
        Ok(End::Parts) => ExitCode::from(1),
        Err(error) => {
            eprintln!("posse evaluate: {error:#}");
            ExitCode::from(if error.is::<options::Usage>() { 2 } else { 1 })
        }
    }
}

fn carry_out(arguments: &[OsString]) -> anyhow::Result<End> {
    let words: Vec<String> = arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    match words.split_first() {
        Some((word, rest)) if word == "triage" => triage::run(rest),
        Some((word, rest)) if word == "injections" => injections::run(rest),
        None => {
            print!("{HELP}");
            Ok(End::Whole)
        }
        Some((word, _)) if word == "-h" || word == "--help" => {
            print!("{HELP}");
            Ok(End::Whole)
        }
        Some((other, _)) => {
            bail!(options::Usage(format!("`{other}` is nothing that can be judged; see `posse evaluate --help`")))
        }
    }
}

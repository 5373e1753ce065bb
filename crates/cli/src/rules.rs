//! `posse rule match`, `correlate` and `lint`: Sigma rules on files of this machine, without a server.

mod lint;
mod matching;

use crate::Exit;
use crate::answer::Trouble;
use crate::operate::Around;
use crate::show::Format;
use crate::source::read_file;
use clap::{Arg, ArgMatches, Command};
use detection::sigma::Collection;
use std::path::{Path, PathBuf};

/// The word on the command line.
pub(crate) const COMMAND: &str = "rule";
/// A rule file's bound: the largest published ones have some hundred kilobytes.
const RULE_BYTES_MAX: usize = 4 << 20;
/// Folders in folders at most.
const DEPTH_MAX: usize = 32;

/// The commands below `rule`.
pub(crate) fn commands() -> Vec<Command> {
    let threads = Arg::new("threads")
        .long("threads")
        .value_name("NUMBER")
        .value_parser(clap::value_parser!(u16).range(1..=256))
        .help("Threads; as many as there are processors where nothing is said");
    vec![
        on_records(Command::new("match"))
            .about("Print `record index <tab> rule id` for every match of rules on recorded events")
            .arg(threads),
        on_records(Command::new("correlate")).about(
            "Print `time <tab> correlation id <tab> group <tab> number` for every correlation on recorded events",
        ),
        Command::new("lint")
            .about("Check Sigma rules: what is not loaded and why, what is weak")
            .arg(Arg::new("rules").value_name("DIR").required(true).help("Sigma rules: a folder or a file"))
            .after_help("Ends with: 0 nothing wrong, 1 a rule that does not load or can never match."),
    ]
}

fn on_records(command: Command) -> Command {
    command
        .arg(Arg::new("rules").long("rules").value_name("DIR").required(true).help("Sigma rules: a folder or a file"))
        .arg(
            Arg::new("input")
                .long("input")
                .value_name("FILE")
                .required(true)
                .help("Records: JSON lines, a JSON array, a Windows event log; also compressed by gzip or zstd"),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .default_value("auto")
                .help("Where the records come from: auto, json, windows-flat, windows-evtx, cloudtrail, ..."),
        )
}

/// Carry out one of them; nothing where the word is none of them.
pub(crate) fn carry_out(word: &str, matches: &ArgMatches, format: Format, around: &mut Around<'_>) -> Option<Exit> {
    let outcome = match word {
        "match" => matching::run(matches, around),
        "correlate" => matching::correlate(matches, around),
        // `posse rule lint` without a folder is the operation.
        "lint" if matches!(matches.try_get_one::<String>("rules"), Ok(Some(_))) => lint::run(matches, format, around),
        _ => return None,
    };
    Some(outcome.unwrap_or_else(|trouble| crate::exit::complain(around.errors, &trouble.to_string(), trouble.exit())))
}

/// Every rule below a folder, in the order of the paths.
fn load(matches: &ArgMatches) -> Result<Collection, Trouble> {
    let path = matches.get_one::<String>("rules").map(PathBuf::from).unwrap_or_default();
    let mut files = Vec::new();
    gather(&path, DEPTH_MAX, &mut files)?;
    files.sort();
    let mut collection = Collection::default();
    for file in &files {
        let name = file.to_string_lossy();
        collection.add(&name, &read_file(&name, RULE_BYTES_MAX)?, &|_| None);
    }
    collection.finish();
    Ok(collection)
}

/// Every rule file below a folder, or the file itself.
pub(crate) fn gather(path: &Path, depth_left: usize, files: &mut Vec<PathBuf>) -> Result<(), Trouble> {
    let failed = |error: std::io::Error| Trouble::local(format!("cannot read `{}`", path.display()), error);
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let Some(depth_left) = depth_left.checked_sub(1) else {
        return Err(Trouble::Usage(format!("`{}` is nested too deep", path.display())));
    };
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let below = entry.map_err(failed)?.path();
        if below.is_dir() || below.extension().is_some_and(|end| end == "yml" || end == "yaml") {
            gather(&below, depth_left, files)?;
        }
    }
    Ok(())
}

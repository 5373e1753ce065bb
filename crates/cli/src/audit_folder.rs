//! `posse audit verify FOLDER`: the offline verifier on a real folder. Needs no server and trusts nothing in the
//! folder: the key comes from elsewhere.

use crate::answer::Trouble;
use crate::operate::Around;
use crate::show::{Format, render};
use crate::source::read_file;
use crate::{Exit, exit};
use audit::{AnchorLine, Folder, FolderError, NoteVerifier, Verdict, VerifyOptions};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The word on the command line, below `audit`.
pub(crate) const COMMAND: &str = "verify";
/// What an auditor brings is small.
pub(crate) const BROUGHT_BYTES_MAX: usize = 1 << 20;
/// What an anchor kept of years is not.
const ANCHOR_BYTES_MAX: usize = 256 << 20;
/// No file of an export is larger: an entry bundle of 256 entries.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Faults that a person reads; the rest is in the other formats.
const FAULTS_SHOWN: usize = 20;
/// Folders in folders at most; the layout has six.
const DEPTH_MAX: usize = 32;

/// The command.
pub(crate) fn command() -> Command {
    let given = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).action(ArgAction::Append).help(help)
    };
    Command::new(COMMAND)
        .about("Verify an exported log or an evidence pack offline, with nothing but the public key")
        .arg(
            Arg::new("folder")
                .value_name("FOLDER")
                .required(true)
                .help("What `posse audit export --out` or `posse audit evidence-pack --out` wrote"),
        )
        .arg(given("key", "FILE", "The public key from elsewhere (`posse audit key`); again after a key rotation"))
        .arg(given("since", "CHECKPOINT", "A checkpoint that you kept: the log must extend it"))
        .arg(given("anchor", "FILE", "What an anchor kept (lines of checkpoints): the log must extend each of them"))
        .after_help(
            "Ends with: 0 all holds under the key, 1 something is wrong, 3 consistent but not authenticated (no --key).",
        )
}

/// Verify and say what was found.
pub(crate) fn verify(matches: &ArgMatches, format: Format, around: &mut Around<'_>) -> Exit {
    let folder = matches.get_one::<String>("folder").map(PathBuf::from).unwrap_or_default();
    let options = match options(matches) {
        Ok(options) => options,
        // What was brought and cannot be used must not look like success, nor like a key that was left out.
        Err(trouble) => return exit::complain(around.errors, &trouble.to_string(), Exit::Failed),
    };
    let report = audit::verify(&OnDisk(folder), &options);
    let document = serde_json::to_value(&report).unwrap_or_default();
    let shown = if format == Format::Table { text(&report) } else { render(&document, format) };
    if let Err(error) = around.output.write_all(shown.as_bytes()) {
        return exit::complain(around.errors, &format!("cannot write the output: {error}"), Exit::Failed);
    }
    match report.verdict {
        Verdict::Valid => Exit::Done,
        Verdict::Unauthenticated => Exit::Unauthenticated,
        Verdict::Invalid => Exit::Failed,
    }
}

fn options(matches: &ArgMatches) -> Result<VerifyOptions, Trouble> {
    let since = brought(matches, "since", "checkpoint")?;
    let since = since.into_iter().map(|(_, text)| text).collect();
    let mut anchors = Vec::new();
    for path in matches.get_many::<String>("anchor").into_iter().flatten() {
        let lines = AnchorLine::read_all(&read_file(path, ANCHOR_BYTES_MAX)?);
        let lines = lines.map_err(|error| Trouble::local(format!("`{path}`"), error))?;
        let notes = lines.iter().flat_map(|line| line.checkpoints.iter().map(|note| note.as_str().to_owned()));
        let before = anchors.len();
        anchors.extend(notes);
        if anchors.len() == before {
            // An empty file would look like an anchor that agrees.
            return Err(Trouble::Usage(format!("`{path}` holds no checkpoint")));
        }
    }
    Ok(VerifyOptions { keys: keys(matches)?, since, anchors })
}

/// The public keys that `--key` names.
pub(crate) fn keys(matches: &ArgMatches) -> Result<Vec<NoteVerifier>, Trouble> {
    let mut verifiers = Vec::new();
    for (path, text) in brought(matches, "key", "verifier_key")? {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            return Err(Trouble::Usage(format!("`{path}` holds no key")));
        }
        for line in lines {
            verifiers.push(NoteVerifier::parse(line).map_err(|error| Trouble::local(format!("`{path}`"), error))?);
        }
    }
    Ok(verifiers)
}

/// The files that a flag names, each with its text.
fn brought(matches: &ArgMatches, flag: &str, field: &str) -> Result<Vec<(String, String)>, Trouble> {
    let paths = matches.get_many::<String>(flag).into_iter().flatten();
    paths.map(|path| Ok((path.clone(), field_of(read_file(path, BROUGHT_BYTES_MAX)?, field)))).collect()
}

/// The text itself, or its field where it is the JSON that `--output json` gave.
pub(crate) fn field_of(text: String, field: &str) -> String {
    let document = serde_json::from_str::<Value>(&text).ok();
    document.as_ref().and_then(|document| document.get(field)?.as_str()).map_or(text.clone(), str::to_owned)
}

fn text(report: &audit::Report) -> String {
    use crate::table::clean;
    let verdict = match report.verdict {
        Verdict::Valid => "valid: all holds under the key",
        Verdict::Unauthenticated => "consistent, NOT authenticated: give the public key with --key",
        Verdict::Invalid => "INVALID",
    };
    let mut lines = vec![verdict.to_owned(), format!("files checked: {}", report.files)];
    if let Some(log) = &report.log {
        lines.push(format!("log: {}", clean(log, false)));
    }
    if let (Verdict::Unauthenticated, Some(key)) = (report.verdict, &report.key) {
        lines.push(format!("it says that it was signed by: {}", clean(key, false)));
    }
    for tree in &report.trees {
        let mut line = format!("tree {}: {} records, {} payloads", tree.owner, tree.size, tree.payloads);
        for (count, what) in [(tree.payloads_absent, "not kept any more"), (tree.payloads_erased, "erased")] {
            if count > 0 {
                line.push_str(&format!(", {count} {what}"));
            }
        }
        lines.push(line);
    }
    if let Some(evidence) = &report.evidence {
        lines.push(format!(
            "evidence: {} of {} records drawn by the seed `{}`: {} consequential, {} under an approval; {} sets of policies decided",
            evidence.sampled,
            evidence.population,
            clean(&evidence.seed, false),
            evidence.consequential,
            evidence.approved,
            evidence.policy_versions,
        ));
    }
    for fault in report.faults.iter().take(FAULTS_SHOWN) {
        lines.push(clean(&format!("fault: {}: {}", fault.file, fault.why), false));
    }
    let listed = u64::try_from(report.faults.len().saturating_sub(FAULTS_SHOWN)).unwrap_or(u64::MAX);
    let more = listed.saturating_add(report.faults_omitted);
    if more > 0 {
        lines.push(format!("and {more} more faults; --output json lists the first thousand"));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// A folder of the file system. Links are listed and not followed: what a link leads to is not part of an export.
struct OnDisk(PathBuf);

impl Folder for OnDisk {
    fn list(&self) -> Result<Vec<String>, FolderError> {
        let mut found = Vec::new();
        list_below(&self.0, "", DEPTH_MAX, &mut found)?;
        Ok(found)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FolderError> {
        let failed = |error: std::io::Error| FolderError(format!("cannot be read: {error}"));
        let full = self.0.join(path);
        let kind = std::fs::symlink_metadata(&full).map_err(failed)?;
        if !kind.is_file() {
            return Err(FolderError("is not a file".to_owned()));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(&full)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(failed)?;
        if kind.len() > FILE_BYTES_MAX {
            return Err(FolderError(format!("is over {FILE_BYTES_MAX} bytes")));
        }
        Ok(bytes)
    }
}

fn list_below(folder: &Path, prefix: &str, depth_left: usize, found: &mut Vec<String>) -> Result<(), FolderError> {
    let failed = |error: std::io::Error| FolderError(format!("cannot list `{}`: {error}", folder.display()));
    let Some(depth_left) = depth_left.checked_sub(1) else {
        return Err(FolderError(format!("`{}` is nested too deep", folder.display())));
    };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry
            .file_name()
            .into_string()
            .map_err(|name| FolderError(format!("`{}` is not a name of an export", name.to_string_lossy())))?;
        let path = format!("{prefix}{name}");
        if entry.file_type().map_err(failed)?.is_dir() {
            list_below(&entry.path(), &format!("{path}/"), depth_left, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

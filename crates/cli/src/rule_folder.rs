//! `posse rule import FOLDER…`: Sigma rules of folders, files or a git repository, sent in as many calls as they need; the
//! reports of the calls are told as one.

use crate::Exit;
use crate::answer::{Answer, Transport, Trouble};
use crate::operate::{Around, finish};
use crate::rules::gather;
use crate::show::Format;
use crate::source::read_file;
use api::Spec;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The operation that this goes with.
pub(crate) const OPERATION: &str = "rule.import";
/// Where the rules come from.
const FROM: &str = "from";
/// Files and bytes of one call, well below what a server takes of a body.
const FILES_MAX: usize = 140;
const BYTES_MAX: usize = 600 << 10;
/// A rule file's bound: the operation's own.
const RULE_BYTES_MAX: usize = 256 << 10;
/// Folders in folders at most.
const DEPTH_MAX: usize = 32;

/// The arguments of its own.
pub(crate) fn arguments(command: Command) -> Command {
    let help = "Folders or files with Sigma rules (*.yml, *.yaml), or the URL of a git repository, in place of --files";
    command
        .mut_arg("field:files", |arg| arg.required_unless_present_any(["input", FROM]))
        .arg(Arg::new(FROM).value_name("FOLDER|FILE|URL").action(ArgAction::Append).num_args(1..).help(help))
}

/// Where the rules come from, where that was asked.
pub(crate) fn places(matches: &ArgMatches) -> Option<Vec<String>> {
    Some(matches.get_many::<String>(FROM)?.cloned().collect())
}

/// Send every file; one call after the other, so that a refusal ends it and says what was written before.
pub(crate) async fn send(
    transport: &dyn Transport,
    spec: &Spec,
    base: &Value,
    places: &[String],
    format: Format,
    around: &mut Around<'_>,
) -> Result<Exit, Trouble> {
    let mut cloned = None;
    let mut files: Vec<(PathBuf, PathBuf)> = Vec::new();
    for place in places {
        let root =
            if is_repository(place) { cloned.insert(Checkout::of(place)?).0.clone() } else { PathBuf::from(place) };
        let mut found = Vec::new();
        gather(&root, DEPTH_MAX, &mut found)?;
        found.sort();
        files.extend(found.into_iter().map(|file| (root.clone(), file)));
    }
    if files.is_empty() {
        return Err(Trouble::Usage(format!("no *.yml or *.yaml below `{}`", places.join("`, `"))));
    }
    let (mut report, mut batch, mut bytes, mut sent) = (Report::default(), Vec::new(), 0, 0);
    let all = files.len();
    for (root, file) in files {
        let text = match read_file(&file.to_string_lossy(), RULE_BYTES_MAX) {
            Ok(text) => text,
            Err(trouble) => {
                report.reject(&file, &trouble);
                continue;
            }
        };
        if batch.len() >= FILES_MAX || (bytes + text.len() > BYTES_MAX && !batch.is_empty()) {
            sent += batch.len();
            if let Some(answer) = report.take(transport, spec, base, std::mem::take(&mut batch)).await? {
                return finish(answer, spec, format, around);
            }
            if around.terminal {
                // A terminal that is gone is met at the end.
                let _ = write!(around.errors, "\r{sent} of {all} files");
            }
            bytes = 0;
        }
        bytes += text.len();
        let name = file.strip_prefix(&root).ok().filter(|name| !name.as_os_str().is_empty()).unwrap_or(&file);
        let name: String =
            name.to_string_lossy().chars().rev().take(300).collect::<Vec<char>>().into_iter().rev().collect();
        batch.push(json!({ "name": name, "text": text }));
    }
    if !batch.is_empty()
        && let Some(answer) = report.take(transport, spec, base, batch).await?
    {
        return finish(answer, spec, format, around);
    }
    if around.terminal {
        let _ = writeln!(around.errors, "\r{all} of {all} files");
    }
    finish(Answer::Done { output: report.told(), obligations: None }, spec, format, around)
}

/// What all calls together came to.
#[derive(Default)]
struct Report {
    loaded: u64,
    unchanged: u64,
    rejected: Vec<Value>,
    gaps: Vec<Value>,
}

impl Report {
    fn reject(&mut self, file: &Path, trouble: &Trouble) {
        self.rejected.push(
            json!({ "file": file.to_string_lossy(), "line": 1, "code": "unreadable", "reason": trouble.to_string() }),
        );
    }

    /// One call; an answer that is not a report ends the import.
    async fn take(
        &mut self,
        transport: &dyn Transport,
        spec: &Spec,
        base: &Value,
        files: Vec<Value>,
    ) -> Result<Option<Answer>, Trouble> {
        let mut input = base.clone();
        if let Some(fields) = input.as_object_mut() {
            fields.insert("files".to_owned(), Value::Array(files));
        }
        spec.validate(&input).map_err(Trouble::Input)?;
        let output = match transport.call(spec, input, None).await? {
            Answer::Done { output, .. } => output,
            other => return Ok(Some(other)),
        };
        let count = |name: &str| output.get(name).and_then(Value::as_u64).unwrap_or(0);
        let list = |name: &str| output.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        self.loaded += count("loaded");
        self.unchanged += count("unchanged");
        self.rejected.extend(list("rejected"));
        self.gaps.extend(list("gaps"));
        Ok(None)
    }

    fn told(self) -> Value {
        json!({ "loaded": self.loaded, "unchanged": self.unchanged, "rejected": self.rejected, "gaps": self.gaps })
    }
}

fn is_repository(place: &str) -> bool {
    place.contains("://") || place.ends_with(".git")
}

/// A shallow copy of a repository, which goes away again.
struct Checkout(PathBuf);

impl Checkout {
    fn of(url: &str) -> Result<Self, Trouble> {
        let folder = std::env::temp_dir().join(format!("posse-rules-{}", std::process::id()));
        let copy = Self(folder);
        // `--` ends the options: an address cannot be one. Nobody is asked for a password.
        let done = std::process::Command::new("git")
            .args(["clone", "--quiet", "--depth", "1", "--"])
            .arg(url)
            .arg(&copy.0)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh")
            .status()
            .map_err(|error| Trouble::local("cannot start `git`", error))?;
        if !done.success() {
            return Err(Trouble::Usage(format!("`{url}` cannot be cloned; git says why above")));
        }
        Ok(copy)
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // At worst a copy of public files stays in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

//! `posse rule import FOLDER…`: Sigma rules of folders, files, zip archives or a git repository, sent in as many calls as they need; the
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
/// Bytes of an archive, and of all that it unpacks to.
const ARCHIVE_BYTES_MAX: usize = 64 << 20;
const UNPACKED_BYTES_MAX: usize = 256 << 20;

/// A rule file, by the name that the report knows it by.
enum Found {
    /// On the disk, below a folder that was named.
    OnDisk(PathBuf, PathBuf),
    /// Out of an archive: its name there, and its text or why there is none.
    Inside(String, Result<String, Trouble>),
}

impl Found {
    /// The name for the report and the text.
    fn read(self) -> (String, Result<String, Trouble>) {
        match self {
            Self::Inside(name, text) => (name, text),
            Self::OnDisk(root, file) => {
                let name = file.strip_prefix(&root).ok().filter(|name| !name.as_os_str().is_empty()).unwrap_or(&file);
                (name.to_string_lossy().into_owned(), read_file(&file.to_string_lossy(), RULE_BYTES_MAX))
            }
        }
    }
}

/// The rule files of an archive.
fn inside(place: &Path) -> Result<Vec<Found>, Trouble> {
    let bytes =
        std::fs::read(place).map_err(|error| Trouble::local(format!("cannot read `{}`", place.display()), error))?;
    if bytes.len() > ARCHIVE_BYTES_MAX {
        let most = ARCHIVE_BYTES_MAX >> 20;
        return Err(Trouble::Usage(format!(
            "`{}` is larger than {most} MiB; give its folder unpacked",
            place.display()
        )));
    }
    let is_rule = |name: &str| {
        let name = name.to_ascii_lowercase();
        (name.ends_with(".yml") || name.ends_with(".yaml")) && !name.starts_with("__macosx/")
    };
    let mut found = Vec::new();
    let read = event::read::each_file_of_zip(&bytes, UNPACKED_BYTES_MAX, is_rule, |name, content| {
        let text = match std::str::from_utf8(content) {
            _ if content.len() > RULE_BYTES_MAX => {
                Err(Trouble::Usage(format!("is larger than {} KiB", RULE_BYTES_MAX >> 10)))
            }
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Trouble::Usage("is not UTF-8".to_owned())),
        };
        found.push(Found::Inside(name.to_owned(), text));
    });
    read.map_err(|fault| Trouble::Usage(format!("`{}`: {fault}", place.display())))?;
    Ok(found)
}

fn is_archive(place: &Path) -> bool {
    place.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip")) && place.is_file()
}

/// The arguments of its own.
pub(crate) fn arguments(command: Command) -> Command {
    let help = "Folders, files or zip archives with Sigma rules (*.yml, *.yaml), or the URL of a git repository, in place of --files";
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
    let mut files: Vec<Found> = Vec::new();
    for place in places {
        let root =
            if is_repository(place) { cloned.insert(Checkout::of(place)?).0.clone() } else { PathBuf::from(place) };
        if is_archive(&root) {
            files.extend(inside(&root)?);
            continue;
        }
        let mut found = Vec::new();
        gather(&root, DEPTH_MAX, &mut found)?;
        found.sort();
        files.extend(found.into_iter().map(|file| Found::OnDisk(root.clone(), file)));
    }
    if files.is_empty() {
        return Err(Trouble::Usage(format!("no *.yml or *.yaml below `{}`", places.join("`, `"))));
    }
    let (mut report, mut batch, mut bytes, mut sent) = (Report::default(), Vec::new(), 0, 0);
    let all = files.len();
    for file in files {
        let (name, text) = file.read();
        let text = match text {
            Ok(text) => text,
            Err(trouble) => {
                report.reject(&name, &trouble);
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
        let name: String = name.chars().rev().take(300).collect::<Vec<char>>().into_iter().rev().collect();
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
    fn reject(&mut self, file: &str, trouble: &Trouble) {
        let reason = trouble.to_string();
        self.rejected.push(json!({ "file": file, "line": 1, "code": "unreadable", "reason": reason }));
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

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;

    /// `rules/one.yml`, `rules/bad.yaml` (no UTF-8), `README.md` and what a Mac puts beside files.
    const ARCHIVE: &str = "UEsDBBQAAAAIAAAAIVwcO1NPUAAAAGEAAAANAAAAcnVsZXMvb25lLnltbCWKQQrAMAgE73mFD+gL/E0bpQiiJTHNoeTvFXIYFmYnJJQR3LgI7VW/u49WU39Pcxo1EKYY+eyrEAfXELd8e3IiXOuA6kaydUbKLyuC+iw/UEsDBBQAAAAIAAAAIVxCiuoODQAAAAsAAAAOAAAAcnVsZXMvYmFkLnlhbWz7/08hL79EoSS1ogQAUEsDBBQAAAAIAAAAIVydCRoZCQAAAAcAAAAJAAAAUkVBRE1FLm1ky8tXKCrNSQUAUEsDBBQAAAAIAAAAIVydCRoZCQAAAAcAAAAYAAAAX19NQUNPU1gvcnVsZXMvLl9vbmUueW1sy8tXKCrNSQUAUEsBAhQDFAAAAAgAAAAhXBw7U09QAAAAYQAAAA0AAAAAAAAAAAAAAIABAAAAAHJ1bGVzL29uZS55bWxQSwECFAMUAAAACAAAACFcQorqDg0AAAALAAAADgAAAAAAAAAAAAAAgAF7AAAAcnVsZXMvYmFkLnlhbWxQSwECFAMUAAAACAAAACFcnQkaGQkAAAAHAAAACQAAAAAAAAAAAAAAgAG0AAAAUkVBRE1FLm1kUEsBAhQDFAAAAAgAAAAhXJ0JGhkJAAAABwAAABgAAAAAAAAAAAAAAIAB5AAAAF9fTUFDT1NYL3J1bGVzLy5fb25lLnltbFBLBQYAAAAABAAEAPQAAAAjAQAAAAA=";

    #[test]
    fn an_archive_gives_its_rules_and_says_what_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("rules.ZIP");
        std::fs::write(&place, base64::engine::general_purpose::STANDARD.decode(ARCHIVE).unwrap()).unwrap();
        assert!(is_archive(&place));
        let found: Vec<(String, Result<String, Trouble>)> =
            inside(&place).unwrap().into_iter().map(Found::read).collect();
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["rules/one.yml", "rules/bad.yaml"]);
        assert!(found[0].1.as_ref().unwrap().starts_with("title: one\n"));
        assert!(found[1].1.as_ref().unwrap_err().to_string().contains("UTF-8"));
        std::fs::write(&place, b"no archive").unwrap();
        assert!(inside(&place).is_err());
        assert!(!is_archive(folder.path()));
    }
}

//! Flags of `posse evaluate`: each with a value or alone, everything else is a file.

use std::path::PathBuf;
use thiserror::Error;

/// The command is not right.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

/// Flags with their values, and what is no flag.
#[derive(Debug, Default)]
pub(super) struct Given {
    flags: Vec<(String, Option<String>)>,
    pub(super) files: Vec<PathBuf>,
}

impl Given {
    /// Read arguments; `alone` are flags without a value, `valued` those with one.
    pub(super) fn read(words: &[String], alone: &[&str], valued: &[&str]) -> Result<Self, Usage> {
        let mut given = Self::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if !word.starts_with("--") {
                given.files.push(word.into());
                continue;
            }
            let (flag, inline) = word.split_once('=').map_or((word.as_str(), None), |(flag, text)| (flag, Some(text)));
            if given.flags.iter().any(|(known, _)| known == flag) {
                return Err(Usage(format!("`{flag}` stands twice")));
            }
            let value = if valued.contains(&flag) {
                let value = inline.map(str::to_owned).or_else(|| rest.next().cloned());
                Some(value.ok_or_else(|| Usage(format!("`{flag}` needs a value")))?)
            } else if alone.contains(&flag) && inline.is_none() {
                None
            } else {
                return Err(Usage(format!("`{word}` is no option here; see `posse evaluate --help`")));
            };
            given.flags.push((flag.to_owned(), value));
        }
        Ok(given)
    }

    /// Whether a flag is there.
    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|(known, _)| known == flag)
    }

    /// The value of a flag.
    pub(super) fn value(&self, flag: &str) -> Option<&str> {
        self.flags.iter().find(|(known, _)| known == flag)?.1.as_deref()
    }

    /// The value of a flag as a path.
    pub(super) fn path(&self, flag: &str) -> Option<PathBuf> {
        self.value(flag).map(PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_files_are_told_apart() {
        let read = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            Given::read(&words, &["--json"], &["--rules"])
        };
        let given = read(&["a.json", "--rules", "dir", "--json", "b.zip"]).unwrap();
        assert_eq!((given.files.len(), given.has("--json"), given.value("--rules")), (2, true, Some("dir")));
        assert_eq!(read(&["--rules=x"]).unwrap().path("--rules"), Some(PathBuf::from("x")));
        for wrong in [&["--rules"][..], &["--json=1"], &["--other"], &["--json", "--json"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}

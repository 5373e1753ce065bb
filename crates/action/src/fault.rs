//! What is wrong with a connector's document, and where.

use std::fmt;

/// A fault of a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// 1-based line; 0 where the fault is not at one line.
    pub line: usize,
    /// Path of the value, for example `actions.send.execute.path`; empty for the document as a whole.
    pub path: String,
    /// What is wrong, with what would be right.
    pub message: String,
}

impl Fault {
    /// A fault at a path.
    pub(crate) fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { line: 0, path: path.into(), message: message.into() }
    }

    /// A fault that the YAML reader found; its text begins with the path where it has one.
    pub(crate) fn of_yaml(error: &serde_yaml_ng::Error) -> Self {
        let text = error.to_string();
        let line = error.location().map_or(0, |place| place.line());
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(head, _)| head);
        let named = |path: &str| !path.is_empty() && !path.contains(|c: char| c.is_whitespace() || c == '`');
        match text.split_once(": ") {
            Some((path, message)) if named(path) => Self { line, path: path.to_owned(), message: message.to_owned() },
            _ => Self { line, path: String::new(), message: text.to_owned() },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

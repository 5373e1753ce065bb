//! Why a document is not loaded: typed, with the place in the document and what would be right.

/// The class of a rejection; stable words for reports.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectCode {
    /// A condition does not parse or names what is not there.
    Condition,
    /// A correlation is not well formed.
    Correlation,
    /// A detection is empty or of a shape that Sigma does not know.
    Detection,
    /// A filter is not well formed.
    Filter,
    /// An id or name stands twice in the collection.
    Identity,
    /// The log source is missing or not a map of text.
    LogSource,
    /// A modifier is unknown, or stands where it cannot.
    Modifier,
    /// A key that must be there is not.
    Missing,
    /// A rule or correlation that is referenced does not exist.
    Reference,
    /// A regular expression does not compile.
    Regexp,
    /// A value does not fit its modifier.
    Value,
    /// The text is not YAML that this crate reads.
    Yaml,
}

/// One document that was not loaded.
#[derive(Debug, Clone, Eq, PartialEq, serde::Serialize, thiserror::Error)]
#[error("{file}:{line}: {path}: {message}; {hint}")]
pub struct Rejection {
    /// The file as the caller named it.
    pub file: String,
    /// 1-based line of the value at fault, 1 where unknown.
    pub line: usize,
    /// The class.
    pub code: RejectCode,
    /// Where in the document, such as `detection.selection.Image|re`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: String,
}

/// A rejection before the file and the outer path are known.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) code: RejectCode,
    pub(super) line: usize,
    pub(super) path: String,
    pub(super) message: String,
    pub(super) hint: String,
}

impl Fault {
    pub(super) fn new(code: RejectCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, line: 0, path: String::new(), message: message.into(), hint: hint.into() }
    }

    /// Put `segment` before the path, and the line where none is known yet.
    pub(super) fn within(mut self, segment: &str, line: usize) -> Self {
        self.path = if self.path.is_empty() { segment.to_owned() } else { format!("{segment}.{}", self.path) };
        if self.line == 0 {
            self.line = line;
        }
        self
    }

    pub(super) fn in_file(self, file: &str) -> Rejection {
        Rejection {
            file: file.to_owned(),
            line: self.line.max(1),
            code: self.code,
            path: self.path,
            message: self.message,
            hint: self.hint,
        }
    }
}

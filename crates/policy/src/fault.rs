//! What is wrong with a policy document, where, and what would be right.
//!
//! One type for every phase (parse, annotations, validation), so that a document's faults are reported together.

use serde::Serialize;

/// One fault of one document.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("`{document}` line {line}, column {column}: {why}")]
pub struct PolicyFault {
    /// The document's name.
    pub document: String,
    /// The `@id` of the policy, where it is known.
    pub policy: Option<String>,
    /// Line of the first character, from 1; 0 where the fault is not at a place in the text.
    pub line: usize,
    /// Column of the first character, from 1, in characters; 0 like `line`.
    pub column: usize,
    /// Length of the place in bytes.
    pub length: usize,
    /// What is wrong.
    pub why: String,
    /// What would be right, where that is known.
    pub hint: Option<String>,
}

/// A place in a document's text, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

impl PolicyFault {
    pub(crate) fn new(document: &str, policy: Option<&str>, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            document: document.to_owned(),
            policy: policy.map(str::to_owned),
            line: 0,
            column: 0,
            length: 0,
            why: why.into(),
            hint: Some(hint.into()).filter(|hint: &String| !hint.is_empty()),
        }
    }

    /// The same fault at a place of `text`.
    pub(crate) fn at(mut self, text: &str, place: Place) -> Self {
        let before = text.get(..place.offset).unwrap_or(text);
        self.line = before.matches('\n').count() + 1;
        self.column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        self.length = place.length;
        self
    }

    /// The fault that a Cedar diagnostic tells of.
    pub(crate) fn from_cedar(
        document: &str,
        policy: Option<&str>,
        text: &str,
        diagnostic: &dyn miette::Diagnostic,
    ) -> Self {
        let help = diagnostic.help().map(|help| help.to_string()).unwrap_or_default();
        let label = diagnostic.labels().and_then(|mut labels| labels.next());
        let mut why = diagnostic.to_string();
        if let Some(said) = label.as_ref().and_then(|label| label.label()) {
            why = format!("{why}: {said}");
        }
        let fault = Self::new(document, policy, why, help);
        match label {
            Some(label) => fault.at(text, Place { offset: label.offset(), length: label.len() }),
            None => fault,
        }
    }
}

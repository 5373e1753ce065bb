//! Field paths: `Image`, `Event.System.EventID`, `userIdentity.sessionContext.attributes.mfaAuthenticated`.
//!
//! A path is text with dots. It means every reading at once: a flat key that holds the dots itself, nested objects,
//! and any mix of both; arrays on the way stand for each of their elements, and a number picks one of them; a `*`
//! between dots stands for any key.

use thiserror::Error;

/// Longest path, in bytes.
pub(crate) const PATH_BYTES_MAX: usize = 1024;

/// A dotted field path, matched case-sensitively.
// INVARIANT: 1 to PATH_BYTES_MAX bytes.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct FieldPath(Box<str>);

/// Why a text is not a field path.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
pub enum FieldPathFault {
    /// Nothing there.
    #[error("a field path is empty; write a field name, for example `user.name`")]
    Empty,
    /// Longer than any field a source has.
    #[error("a field path is {0} bytes long; at most 1024 are allowed")]
    TooLong(usize),
}

impl FieldPath {
    /// Parse a dotted path.
    ///
    /// # Errors
    /// [`FieldPathFault`] for an empty or over-long text.
    pub fn new(text: &str) -> Result<Self, FieldPathFault> {
        match text.len() {
            0 => Err(FieldPathFault::Empty),
            length if length > PATH_BYTES_MAX => Err(FieldPathFault::TooLong(length)),
            _ => Ok(Self(text.into())),
        }
    }

    /// The path as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for FieldPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for FieldPath {
    type Err = FieldPathFault;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

/// How a member's key relates to the path that is still to go.
pub(crate) enum Step<'p> {
    /// The key is not on the path.
    Off,
    /// The key is the whole rest of the path.
    Here,
    /// The key is the beginning; this is the rest.
    Down(&'p str),
}

/// Where `key` leads on the way along `rest`.
#[inline]
pub(crate) fn step<'p>(rest: &'p str, key: &str) -> Step<'p> {
    if let Some(tail) = rest.strip_prefix("*.") {
        return Step::Down(tail);
    }
    // Lengths and one byte tell almost every key off before any text is compared: most of the time goes here.
    match rest.as_bytes().get(key.len()) {
        None if rest.len() == key.len() && rest == key => Step::Here,
        Some(b'.') => match rest.split_at_checked(key.len()) {
            Some((head, tail)) if head == key && tail.len() > 1 => Step::Down(tail.strip_prefix('.').unwrap_or(tail)),
            _ => Step::Off,
        },
        _ => Step::Off,
    }
}

/// The array index that a path begins with, and what follows it.
pub(crate) fn index(rest: &str) -> Option<(usize, Option<&str>)> {
    let (head, tail) = rest.split_once('.').map_or((rest, None), |(head, tail)| (head, Some(tail)));
    let short = head.len() <= 6 && head.bytes().all(|byte| byte.is_ascii_digit());
    if short { head.parse().ok().map(|number| (number, tail)) } else { None }
}

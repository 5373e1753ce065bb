//! Conditions: `not`, `and`, `or` in that order of binding, parentheses, `1 of` and `all of` with a name pattern or `them`.

use super::Expr;
use thiserror::Error;

/// The deepest nesting of one condition.
const DEPTH_MAX: usize = 64;
/// The most words of one condition.
const WORDS_MAX: usize = 4096;

/// A parsed condition over detection names.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// All hold.
    And(Vec<Condition>),
    /// At least one holds.
    Or(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// The detection of this name.
    Name(String),
    /// At least one, or every one, of the detections that the pattern names.
    Of {
        /// Every one, not at least one.
        every: bool,
        /// A name with `*`, or `them`.
        pattern: String,
    },
}

/// Why a condition cannot be used.
#[derive(Debug, Clone, Eq, PartialEq, Error)]
pub enum ConditionError {
    /// Something else was expected at this word.
    #[error("`{found}` stands where {expected} should")]
    Unexpected {
        /// The word, or `the end`.
        found: String,
        /// What could stand there.
        expected: &'static str,
    },
    /// The aggregation syntax of old rules.
    #[error("the aggregation after `|` was removed from Sigma")]
    Pipe,
    /// No detection has this name.
    #[error("no detection is called `{0}`")]
    Unknown(String),
    /// No detection fits this pattern.
    #[error("no detection fits `{0}`")]
    Nothing(String),
    /// More words or deeper nesting than is read.
    #[error("is longer or deeper than is read")]
    TooLarge,
}

impl ConditionError {
    /// What would be right.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Unexpected { .. } => "write for example `selection and not 1 of filter_*`",
            Self::Pipe => "write a correlation rule",
            Self::Unknown(_) | Self::Nothing(_) => {
                "name a detection of this rule; names with a leading `_` need a pattern with one"
            }
            Self::TooLarge => "split the rule",
        }
    }
}

impl Condition {
    /// Parse.
    ///
    /// # Errors
    /// [`ConditionError`] at the first word that does not fit.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        if text.contains('|') {
            return Err(ConditionError::Pipe);
        }
        let words = words(text);
        if words.len() > WORDS_MAX {
            return Err(ConditionError::TooLarge);
        }
        let mut reader = Reader { words: &words, at: 0 };
        let condition = reader.or(0)?;
        match reader.peek() {
            None => Ok(condition),
            Some(word) => Err(unexpected(word, "`and`, `or` or the end")),
        }
    }

    /// Put the detections in the place of their names.
    ///
    /// # Errors
    /// [`ConditionError::Unknown`] and [`ConditionError::Nothing`] for names that no detection has.
    pub fn resolve(&self, detections: &[(String, Expr)]) -> Result<Expr, ConditionError> {
        Ok(match self {
            Self::And(items) => Expr::all(items.iter().map(|item| item.resolve(detections)).collect::<Result<_, _>>()?),
            Self::Or(items) => Expr::any(items.iter().map(|item| item.resolve(detections)).collect::<Result<_, _>>()?),
            Self::Not(inner) => Expr::Not(Box::new(inner.resolve(detections)?)),
            Self::Name(name) => detections
                .iter()
                .find(|(other, _)| other == name)
                .map(|(_, expr)| expr.clone())
                .ok_or_else(|| ConditionError::Unknown(name.clone()))?,
            Self::Of { every, pattern } => {
                let chosen: Vec<Expr> =
                    detections.iter().filter(|(name, _)| chosen(pattern, name)).map(|(_, expr)| expr.clone()).collect();
                if chosen.is_empty() {
                    return Err(ConditionError::Nothing(pattern.clone()));
                }
                if *every { Expr::all(chosen) } else { Expr::any(chosen) }
            }
        })
    }

    /// The condition names this detection.
    #[must_use]
    pub fn names(&self, detection: &str) -> bool {
        match self {
            Self::And(items) | Self::Or(items) => items.iter().any(|item| item.names(detection)),
            Self::Not(inner) => inner.names(detection),
            Self::Name(name) => name == detection,
            Self::Of { pattern, .. } => chosen(pattern, detection),
        }
    }

    /// Every plain name, in order of reading.
    pub(crate) fn plain_names(&self, names: &mut Vec<String>) {
        match self {
            Self::And(items) | Self::Or(items) => items.iter().for_each(|item| item.plain_names(names)),
            Self::Not(inner) => inner.plain_names(names),
            Self::Name(name) => {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
            Self::Of { .. } => {}
        }
    }
}

/// `them` and patterns leave out names with a leading `_`, unless the pattern itself starts so.
fn chosen(pattern: &str, name: &str) -> bool {
    if name.starts_with('_') && !pattern.starts_with('_') {
        return false;
    }
    pattern == "them" || star_match(pattern.as_bytes(), name.as_bytes())
}

fn star_match(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|from| name.get(from..).is_some_and(|tail| star_match(rest, tail))),
        Some((byte, rest)) => name.split_first().is_some_and(|(first, tail)| first == byte && star_match(rest, tail)),
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace()
        .flat_map(|chunk| chunk.split_inclusive(['(', ')']))
        .flat_map(|piece| match piece.strip_suffix(['(', ')']) {
            Some("") | None => [Some(piece), None],
            Some(word) => [Some(word), piece.get(word.len()..)],
        })
        .flatten()
        .collect()
}

fn unexpected(word: &str, expected: &'static str) -> ConditionError {
    ConditionError::Unexpected { found: word.to_owned(), expected }
}

struct Reader<'a> {
    words: &'a [&'a str],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|next| next.eq_ignore_ascii_case(word));
        if found {
            self.at = self.at.saturating_add(1);
        }
        found
    }

    fn or(&mut self, depth: usize) -> Result<Condition, ConditionError> {
        let mut items = vec![self.and(depth)?];
        while self.take("or") {
            items.push(self.and(depth)?);
        }
        Ok(if items.len() == 1 { items.remove(0) } else { Condition::Or(items) })
    }

    fn and(&mut self, depth: usize) -> Result<Condition, ConditionError> {
        let mut items = vec![self.not(depth)?];
        while self.take("and") {
            items.push(self.not(depth)?);
        }
        Ok(if items.len() == 1 { items.remove(0) } else { Condition::And(items) })
    }

    fn not(&mut self, depth: usize) -> Result<Condition, ConditionError> {
        if depth > DEPTH_MAX {
            return Err(ConditionError::TooLarge);
        }
        let deeper = depth.saturating_add(1);
        if self.take("not") {
            return Ok(Condition::Not(Box::new(self.not(deeper)?)));
        }
        if self.take("(") {
            let inner = self.or(deeper)?;
            return if self.take(")") { Ok(inner) } else { Err(unexpected(self.peek().unwrap_or("the end"), "`)`")) };
        }
        let word = self.peek().ok_or_else(|| unexpected("the end", "a detection name"))?;
        if matches!(word, ")" | "and" | "or" | "of") {
            return Err(unexpected(word, "a detection name"));
        }
        self.at = self.at.saturating_add(1);
        if !self.peek().is_some_and(|next| next.eq_ignore_ascii_case("of")) {
            return if named(word, false) {
                Ok(Condition::Name(word.to_owned()))
            } else {
                Err(unexpected(word, "a detection name of letters, digits, `_` and `-`"))
            };
        }
        self.at = self.at.saturating_add(1);
        let every = match word {
            "1" | "any" => false,
            "all" => true,
            other => return Err(unexpected(other, "`1`, `any` or `all`")),
        };
        let pattern = self.peek().ok_or_else(|| unexpected("the end", "a name pattern or `them`"))?;
        if !named(pattern, true) {
            return Err(unexpected(pattern, "a name pattern or `them`"));
        }
        self.at = self.at.saturating_add(1);
        Ok(Condition::Of { every, pattern: pattern.to_owned() })
    }
}

fn named(word: &str, starred: bool) -> bool {
    !word.is_empty()
        && word.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.') || (starred && c == '*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binding_and_words() {
        let name = |text: &str| Condition::Name(text.into());
        assert_eq!(
            Condition::parse("a or b and not(c)").unwrap(),
            Condition::Or(vec![name("a"), Condition::And(vec![name("b"), Condition::Not(Box::new(name("c")))])])
        );
        assert_eq!(
            Condition::parse("(1 of sel_*)and notepad").unwrap(),
            Condition::And(vec![Condition::Of { every: false, pattern: "sel_*".into() }, name("notepad")])
        );
        for wrong in ["", "a b", "(a", "a and", "2 of x", "a | count() > 3", "not", "a)"] {
            assert!(Condition::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Condition::parse(&"(".repeat(5000)), Err(ConditionError::TooLarge));
        assert_eq!(Condition::parse(&format!("{}a", "not ".repeat(500))), Err(ConditionError::TooLarge));
    }
}

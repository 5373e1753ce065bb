//! Selectors over a tenant's tags: `env=prod and (region=eu or not tier=3)`. `and` binds tighter than `or`.
//! Pure; bounded by the length of its text and by depth.

use std::collections::BTreeSet;

/// A parsed selector.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selector {
    /// Each of these fits.
    All(Vec<Selector>),
    /// One of these fits.
    Any(Vec<Selector>),
    /// This does not fit.
    Not(Box<Selector>),
    /// The tag is there.
    Tag(String),
}

const DEPTH_MAX: usize = 16;

impl Selector {
    /// Read a selector.
    ///
    /// # Errors
    /// A fragment that says what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words = words(text)?;
        let mut reader = Reader { words: &words, at: 0 };
        let selector = reader.any(0)?;
        match reader.peek() {
            None => Ok(selector),
            Some(word) => Err(format!("has `{word}` where `and`, `or` or the end should be")),
        }
    }

    /// Whether these tags fit.
    #[must_use]
    pub fn fits(&self, tags: &BTreeSet<String>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.fits(tags)),
            Self::Any(parts) => parts.iter().any(|part| part.fits(tags)),
            Self::Not(part) => !part.fits(tags),
            Self::Tag(tag) => tags.contains(tag),
        }
    }
}

fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for character in text.chars() {
        match character {
            '(' | ')' | ' ' => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                if character != ' ' {
                    words.push(character.to_string());
                }
            }
            'a'..='z' | '0'..='9' | '-' | '_' | '.' | '=' => word.push(character),
            other => {
                return Err(format!("has `{other}`; write tags `key=value` with `and`, `or`, `not` and parentheses"));
            }
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

struct Reader<'a> {
    words: &'a [String],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).map(String::as_str)
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        if found {
            self.at += 1;
        }
        found
    }

    fn any(&mut self, depth: usize) -> Result<Selector, String> {
        let mut parts = vec![self.all(depth)?];
        while self.take("or") {
            parts.push(self.all(depth)?);
        }
        Ok(single_or(parts, Selector::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Selector, String> {
        let mut parts = vec![self.one(depth)?];
        while self.take("and") {
            parts.push(self.one(depth)?);
        }
        Ok(single_or(parts, Selector::All))
    }

    fn one(&mut self, depth: usize) -> Result<Selector, String> {
        if depth > DEPTH_MAX {
            return Err(format!("is nested deeper than {DEPTH_MAX}"));
        }
        if self.take("not") {
            return Ok(Selector::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take("(") {
            let inner = self.any(depth + 1)?;
            return if self.take(")") { Ok(inner) } else { Err("lacks a closing parenthesis".to_owned()) };
        }
        match self.peek() {
            Some(word) if !matches!(word, "and" | "or" | ")") => {
                self.at += 1;
                Ok(Selector::Tag(word.to_owned()))
            }
            _ => Err("lacks a tag such as `env=prod`".to_owned()),
        }
    }
}

fn single_or(mut parts: Vec<Selector>, many: fn(Vec<Selector>) -> Selector) -> Selector {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            many(parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_read_as_they_are_written() {
        let tags: BTreeSet<String> = ["env=prod", "region=eu"].map(str::to_owned).into();
        for (text, fits) in [
            ("env=prod", true),
            ("env=prod and region=us", false),
            ("env=prod and not region=us", true),
            ("region=us or env=prod and region=eu", true),
            ("(region=us or env=prod) and not region=eu", false),
        ] {
            assert_eq!(Selector::parse(text).map(|selector| selector.fits(&tags)), Ok(fits), "{text}");
        }
        for text in ["", "and", "env=prod env=dev", "(env=prod", "env=prod;", "not"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}

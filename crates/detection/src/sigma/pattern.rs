//! Text patterns: literal text, `*` (any characters, newlines too), `?` (one character) and dashes.
//!
//! Escapes as Sigma has them: a backslash makes `*`, `?` and a backslash literal, before anything else it is itself.

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// These characters.
    Text(Box<str>),
    /// Any characters, also none, also newlines.
    Any,
    /// One character.
    One,
    /// One of `-`, `/`, `–`, `—`, `―`.
    Dash,
    /// A `%name%` that a pipeline must replace.
    Placeholder(Box<str>),
}

/// The characters that [`Part::Dash`] stands for.
pub(super) const DASHES: [char; 5] = ['-', '/', '–', '—', '―'];

/// A text pattern.
// INVARIANT: no two `Text` and no two `Any` stand side by side; no `Text` is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Pattern {
    parts: Vec<Part>,
    cased: bool,
}

impl Pattern {
    /// Read Sigma's text form.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut pattern = Self::default();
        let mut literal = String::new();
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\\' => match characters.peek() {
                    Some('*' | '?' | '\\') => literal.extend(characters.next()),
                    _ => literal.push('\\'),
                },
                '*' | '?' => {
                    pattern.push_text(&literal);
                    literal.clear();
                    pattern.push(if character == '*' { Part::Any } else { Part::One });
                }
                other => literal.push(other),
            }
        }
        pattern.push_text(&literal);
        pattern
    }

    /// A pattern of literal text only.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        let mut pattern = Self::default();
        pattern.push_text(text);
        pattern
    }

    /// The pieces in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Case counts.
    #[must_use]
    pub const fn cased(&self) -> bool {
        self.cased
    }

    /// The text, where the pattern is literal.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The first placeholder that is left.
    #[must_use]
    pub fn placeholder(&self) -> Option<&str> {
        self.parts.iter().find_map(|part| if let Part::Placeholder(name) = part { Some(&**name) } else { None })
    }

    pub(super) fn set_cased(&mut self) {
        self.cased = true;
    }

    pub(super) fn open_start(&mut self) {
        if self.parts.first() != Some(&Part::Any) {
            self.parts.insert(0, Part::Any);
        }
    }

    pub(super) fn open_end(&mut self) {
        self.push(Part::Any);
    }

    /// Replace dashes that start a parameter: not after a word character, before one.
    pub(super) fn widen_dashes(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        for part in parts {
            let Part::Text(text) = part else {
                self.push(part);
                continue;
            };
            let mut before_word = false;
            let mut literal = String::new();
            let mut characters = text.chars().peekable();
            while let Some(character) = characters.next() {
                let starts = DASHES.contains(&character) && !before_word && characters.peek().is_some_and(|c| word(*c));
                if starts {
                    self.push_text(&literal);
                    literal.clear();
                    self.push(Part::Dash);
                } else {
                    literal.push(character);
                }
                before_word = word(character);
            }
            self.push_text(&literal);
        }
    }

    /// Turn `%name%` into placeholders.
    pub(super) fn mark_placeholders(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        for part in parts {
            let Part::Text(text) = part else {
                self.push(part);
                continue;
            };
            let mut rest: &str = &text;
            while let Some((before, after)) = rest.split_once('%') {
                match after.split_once('%') {
                    Some((name, tail)) if !name.is_empty() && !name.contains('\\') => {
                        self.push_text(before);
                        self.push(Part::Placeholder(name.into()));
                        rest = tail;
                    }
                    _ => {
                        self.push_text(before);
                        self.push_text("%");
                        rest = after;
                    }
                }
            }
            self.push_text(rest);
        }
    }

    /// The patterns that arise when each placeholder is replaced by each of its values, at most 1,000.
    #[must_use]
    pub fn resolve(&self, values: &dyn Fn(&str) -> Option<Vec<String>>) -> Option<Vec<Self>> {
        let mut results = vec![Self { parts: Vec::new(), cased: self.cased }];
        for part in &self.parts {
            match part {
                Part::Placeholder(name) => {
                    let choices = values(name)?;
                    if results.len().saturating_mul(choices.len()) > 1000 {
                        return None;
                    }
                    results = results
                        .iter()
                        .flat_map(|result| {
                            choices.iter().map(|choice| {
                                let mut next = result.clone();
                                for part in Self::parse(choice).parts {
                                    next.append(part);
                                }
                                next
                            })
                        })
                        .collect();
                }
                other => results.iter_mut().for_each(|result| result.append(other.clone())),
            }
        }
        Some(results)
    }

    fn append(&mut self, part: Part) {
        match part {
            Part::Text(text) => self.push_text(&text),
            other => self.push(other),
        }
    }

    fn push(&mut self, part: Part) {
        if part != Part::Any || self.parts.last() != Some(&Part::Any) {
            self.parts.push(part);
        }
    }

    fn push_text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Some(Part::Text(last)) = self.parts.last_mut() {
            *last = format!("{last}{text}").into();
        } else {
            self.parts.push(Part::Text(text.into()));
        }
    }
}

fn word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => f.write_str(text)?,
                Part::Any => f.write_str("*")?,
                Part::One => f.write_str("?")?,
                Part::Dash => f.write_str("[-/]")?,
                Part::Placeholder(name) => write!(f, "%{name}%")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        for (text, shown) in [
            (r"a\b", r"a\b"),
            (r"a\\b", r"a\b"),
            (r"\\\\srv", r"\\srv"),
            (r"a\*b", "a*b"),
            (r"C:\\*", r"C:\*"),
            (r"end\", r"end\"),
        ] {
            assert_eq!(Pattern::parse(text).to_string(), shown, "{text}");
        }
        assert_eq!(Pattern::parse(r"a\*b").as_literal(), Some("a*b"));
        assert_eq!(Pattern::parse(r"C:\\*").parts(), [Part::Text("C:\\".into()), Part::Any]);
        assert_eq!(Pattern::parse("a**b").parts().len(), 3);
    }

    #[test]
    fn dashes_only_where_a_parameter_starts() {
        let mut pattern = Pattern::parse(" -f a-b /c -");
        pattern.widen_dashes();
        assert_eq!(pattern.to_string(), " [-/]f a-b [-/]c -");
    }

    #[test]
    fn placeholders_resolve_to_every_value() {
        let mut pattern = Pattern::parse("100% of %admins%\\x");
        pattern.mark_placeholders();
        assert_eq!(pattern.placeholder(), Some(" of "));
        let mut pattern = Pattern::parse("u\\%admins%");
        pattern.mark_placeholders();
        let resolved = pattern.resolve(&|name| (name == "admins").then(|| vec!["a".into(), "b*".into()])).unwrap();
        assert_eq!(resolved.iter().map(ToString::to_string).collect::<Vec<_>>(), ["u\\a", "u\\b*"]);
        assert!(pattern.resolve(&|_| None).is_none());
    }
}

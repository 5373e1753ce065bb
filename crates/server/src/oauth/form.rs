//! A form or query, read strictly: a name that stands twice is an error, because which one counts would be anyone's guess.

use crate::route::percent_decoded;
use api::{Problem, ProblemKind};
use std::collections::BTreeMap;

/// The fields of a form.
#[derive(Debug, Default)]
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let malformed = |detail: &str| Problem::new(ProblemKind::Malformed, detail);
        let mut fields = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = |text: &str| percent_decoded(&text.replace('+', " "));
            let (Some(name), Some(value)) = (decoded(name), decoded(value)) else {
                return Err(malformed("the form is not UTF-8 behind its percent signs"));
            };
            if fields.insert(name, value).is_some() {
                return Err(malformed("a field of the form stands twice; send it once"));
            }
        }
        Ok(Self(fields))
    }

    /// A field; empty where it is missing.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// A text in a query.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_strictly() {
        let form = Form::parse("a=1+2&b=%C3%A9&c").unwrap();
        assert_eq!((form.text("a"), form.text("b"), form.text("c"), form.text("d")), ("1 2", "é", "", ""));
        assert!(Form::parse("a=1&a=2").is_err());
        assert!(Form::parse("a=%FF").is_err());
        assert_eq!(escaped("a b&c=é"), "a%20b%26c%3D%C3%A9");
    }
}

//! Judges what a caller gives to an action: every input declared, of its kind, within its bounds. All faults at once.

use crate::document::{Input, InputKind, Step};
use regex::Regex;
use serde_json::{Map, Value};

/// Characters of a text where nothing is said, and at most.
const CHARS: usize = 256;
pub(crate) const CHARS_MAX: usize = 4096;
/// Bytes of a JSON input.
pub(crate) const JSON_BYTES_MAX: usize = 16 << 10;

impl Step {
    /// Judge what a caller gives.
    ///
    /// # Errors
    /// Each fault as (name of the input, what is wrong).
    pub fn check(&self, inputs: &Map<String, Value>) -> Result<(), Vec<(String, String)>> {
        let mut faults = Vec::new();
        for name in inputs.keys().filter(|name| !self.inputs.contains_key(*name)) {
            let known: Vec<&str> = self.inputs.keys().map(String::as_str).collect();
            faults.push((name.clone(), format!("is no input of this action; it takes {}", known.join(", "))));
        }
        for (name, input) in &self.inputs {
            match inputs.get(name) {
                None if input.optional => {}
                None => faults.push((name.clone(), format!("is missing; give {}", input.description))),
                Some(value) => faults.extend(input.judge(value).map(|why| (name.clone(), why))),
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

impl Input {
    fn judge(&self, value: &Value) -> Option<String> {
        match (self.kind, value) {
            (InputKind::Boolean, Value::Bool(_)) => None,
            (InputKind::Boolean, _) => Some("is not true or false".to_owned()),
            (InputKind::Integer, value) => {
                let whole = value.as_i64().is_some_and(|number| number.unsigned_abs() < 1 << 53);
                (!whole).then(|| "is not a whole number".to_owned())
            }
            (InputKind::Json, value) => (value.to_string().len() > JSON_BYTES_MAX)
                .then(|| format!("is over {JSON_BYTES_MAX} bytes of JSON; say less")),
            (InputKind::Text, Value::String(text)) => self.judge_text(text),
            (InputKind::Text, _) => Some("is not a text".to_owned()),
        }
    }

    fn judge_text(&self, text: &str) -> Option<String> {
        let most = self.chars_max.unwrap_or(CHARS);
        if text.is_empty() {
            return Some("is empty".to_owned());
        }
        if text.chars().count() > most {
            return Some(format!("is over {most} characters"));
        }
        if !self.one_of.is_empty() && !self.one_of.iter().any(|one| one == text) {
            return Some(format!("is none of {}", self.one_of.join(", ")));
        }
        let pattern = self.pattern.as_ref()?;
        let fits = whole(pattern).is_ok_and(|pattern| pattern.is_match(text));
        (!fits).then(|| format!("does not match `{pattern}`"))
    }
}

/// The pattern over the whole text.
pub(crate) fn whole(pattern: &str) -> Result<Regex, String> {
    let built = regex::RegexBuilder::new(&format!("\\A(?:{pattern})\\z")).size_limit(1 << 20).build();
    built.map_err(|error| format!("is no pattern: {}", error.to_string().lines().last().unwrap_or_default()))
}

//! Strict reading of JSON from outside: a key that stands twice, a depth or a number past the limit is an error
//! with its place, because what two readers would understand differently must not pass the gate.

use crate::{Fault, Problem, ProblemKind};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Bounds on one document.
#[derive(Clone, Copy, Debug)]
pub struct JsonLimits {
    /// Greatest nesting of arrays and objects.
    pub depth_max: usize,
    /// Greatest number of values in all.
    pub values_max: usize,
}

impl Default for JsonLimits {
    fn default() -> Self {
        Self { depth_max: 32, values_max: 100_000 }
    }
}

/// Integers outside are not the same number for every reader (RFC 8785 section 3.2.2.3, RFC 7493 section 2.2).
pub(crate) const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Read one JSON document; an empty input is an empty object.
///
/// # Errors
/// [`ProblemKind::Malformed`] with the place of the fault.
pub fn parse(bytes: &[u8], limits: JsonLimits) -> Result<Value, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        malformed(format!("the body is not UTF-8 from byte {} on; send JSON in UTF-8", error.valid_up_to()))
    })?;
    if text.trim().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let mut left = limits.values_max;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // Our own bound comes first, with a better message; the reader's own (128) would be above it.
    let value = Strict { depth_left: limits.depth_max, values_left: &mut left, pointer: String::new() }
        .deserialize(&mut deserializer)
        .map_err(|error| malformed(format!("{error}")))?;
    deserializer.end().map_err(|error| malformed(format!("{error}; send exactly one JSON document")))?;
    Ok(value)
}

fn malformed(detail: String) -> Problem {
    // serde_json's messages carry line and column; ours carry a pointer between backticks.
    let pointer = detail.split('`').nth(1).filter(|text| text.starts_with('/')).unwrap_or_default().to_owned();
    Problem { errors: vec![Fault { pointer, detail: detail.clone() }], ..Problem::new(ProblemKind::Malformed, detail) }
}

struct Strict<'a> {
    depth_left: usize,
    values_left: &'a mut usize,
    pointer: String,
}

impl Strict<'_> {
    fn deeper<E: Error>(&self) -> Result<usize, E> {
        self.depth_left.checked_sub(1).ok_or_else(|| E::custom(format!("`{}` is nested too deep", self.pointer)))
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.values_left.checked_sub(1) {
            Some(left) => *self.values_left = left,
            None => return Err(D::Error::custom("the document holds too many values")),
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > INTEGER_MAX {
            return Err(E::custom(format!("`{}` is an integer beyond 2^53 - 1; send it as text", self.pointer)));
        }
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        if value > INTEGER_MAX {
            return Err(E::custom(format!("`{}` is an integer beyond 2^53 - 1; send it as text", self.pointer)));
        }
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        if let Some(whole) = whole(value) {
            return Ok(Value::Number(whole.into()));
        }
        // 2^53 is the first whole double that stands for more than one integer; it has no canonical form either.
        if value.fract() == 0.0 && value.abs() >= 9_007_199_254_740_992.0 {
            return Err(E::custom(format!("`{}` is an integer beyond 2^53 - 1; send it as text", self.pointer)));
        }
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom(format!("`{}` is not a finite number", self.pointer)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let depth_left = self.deeper()?;
        let mut items = Vec::new();
        loop {
            let pointer = format!("{}/{}", self.pointer, items.len());
            match access.next_element_seed(Strict { depth_left, values_left: &mut *self.values_left, pointer })? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let depth_left = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let pointer = format!("{}/{}", self.pointer, key.replace('~', "~0").replace('/', "~1"));
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("`{pointer}` stands twice; send each key once")));
            }
            let value = access.next_value_seed(Strict { depth_left, values_left: &mut *self.values_left, pointer })?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

/// `6.0` is the integer 6, for JSON Schema (section 6.1.1 of its validation) and in canonical form (RFC 8785) alike.
fn whole(value: f64) -> Option<i64> {
    // The text of a whole number in this range has neither fraction nor exponent.
    (value.fract() == 0.0 && value.abs() < 1e15).then(|| format!("{value:.0}").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_an_integer_however_it_is_written() {
        for (text, wanted) in [("6.0", "6"), ("1e3", "1000"), ("-0.0", "0"), ("6.5", "6.5"), ("-2.0", "-2")] {
            assert_eq!(parse(text.as_bytes(), JsonLimits::default()).unwrap().to_string(), wanted);
        }
    }

    #[test]
    fn what_two_readers_understand_differently_is_refused() {
        for (text, pointer) in [
            ("{\"a\":1,\"a\":2}", "/a"),
            ("{\"a\":{\"b/c\":1,\"b/c\":2}}", "/a/b~1c"),
            ("{\"n\":9007199254740993}", "/n"),
            ("{\"n\":[1,1.6e254]}", "/n/1"),
            ("{\"n\":-9007199254740992.0}", "/n"),
            ("[1,2", ""),
            ("{} {}", ""),
        ] {
            let problem = parse(text.as_bytes(), JsonLimits::default()).unwrap_err();
            assert_eq!((problem.status, problem.errors[0].pointer.as_str()), (400, pointer), "{text}");
        }
        assert!(parse(b"\xff", JsonLimits::default()).is_err());
        let deep = "[".repeat(40) + &"]".repeat(40);
        assert!(parse(deep.as_bytes(), JsonLimits::default()).is_err());
    }

    #[test]
    fn an_empty_body_is_an_empty_object() {
        assert_eq!(parse(b" ", JsonLimits::default()).unwrap(), serde_json::json!({}));
    }
}

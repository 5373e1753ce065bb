//! Text and lists from outside, with a bound in their type. Lengths count characters, as JSON Schema does.

use thiserror::Error;

/// Why a value does not fit its bounded type.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Error)]
#[error("is {length} {unit} long; at most {max} are allowed")]
pub struct TooLong {
    length: usize,
    max: usize,
    unit: &'static str,
}

/// Text of at most `MAX` characters, without NUL (which `PostgreSQL` cannot store).
// INVARIANT: at most MAX chars, no '\0'.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Default)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// The text, where it fits; a NUL character is dropped.
    ///
    /// # Errors
    /// [`TooLong`] past `MAX` characters.
    pub fn new(text: impl Into<String>) -> Result<Self, TooLong> {
        let mut text = text.into();
        text.retain(|character| character != '\0');
        let length = text.chars().count();
        if length > MAX { Err(TooLong { length, max: MAX, unit: "characters" }) } else { Ok(Self(text)) }
    }

    /// The first `MAX` characters of the text, for what the platform itself writes.
    #[must_use]
    pub fn truncated(text: &str) -> Self {
        if text.len() <= MAX && !text.as_bytes().contains(&0) {
            // As most are: bytes are at least as many as characters.
            return Self(text.to_owned());
        }
        Self(text.chars().filter(|character| *character != '\0').take(MAX).collect())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, owned.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<const MAX: usize> std::ops::Deref for Text<MAX> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> std::fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> std::fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.0, f)
    }
}

impl<const MAX: usize> serde::Serialize for Text<MAX> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de, const MAX: usize> serde::Deserialize<'de> for Text<MAX> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.contains('\0') {
            return Err(serde::de::Error::custom("holds a NUL character; leave it out"));
        }
        Self::new(text).map_err(serde::de::Error::custom)
    }
}

impl<const MAX: usize> schemars::JsonSchema for Text<MAX> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Text{MAX}").into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // The pattern says what the type enforces: no NUL.
        schemars::json_schema!({ "type": "string", "maxLength": MAX, "pattern": "^[^\\u0000]*$" })
    }
}

/// A list of at most `MAX` items.
// INVARIANT: at most MAX items.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> List<T, MAX> {
    /// The list, where it fits.
    ///
    /// # Errors
    /// [`TooLong`] past `MAX` items.
    pub fn new(items: Vec<T>) -> Result<Self, TooLong> {
        let length = items.len();
        if length > MAX { Err(TooLong { length, max: MAX, unit: "items" }) } else { Ok(Self(items)) }
    }

    /// The items, owned.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> std::ops::Deref for List<T, MAX> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> IntoIterator for List<T, MAX> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T: serde::Serialize, const MAX: usize> serde::Serialize for List<T, MAX> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: serde::Deserialize<'de>, const MAX: usize> serde::Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl<T: schemars::JsonSchema, const MAX: usize> schemars::JsonSchema for List<T, MAX> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("List{MAX}Of{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let items = generator.subschema_for::<T>();
        schemars::json_schema!({ "type": "array", "items": items, "maxItems": MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_counts_characters() {
        assert!(Text::<3>::new("äöü").is_ok());
        assert_eq!(Text::<3>::new("four").unwrap_err().to_string(), "is 4 characters long; at most 3 are allowed");
        assert!(serde_json::from_str::<Text<9>>("\"a\\u0000b\"").is_err());
    }
}

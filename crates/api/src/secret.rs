//! Secrets on the wire: write-only going in, shown once coming out, never in a log or a digest.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use zeroize::Zeroizing;

/// A secret text of 1 to `MAX` characters. Its schema carries `x-secret`, by which the gate redacts it.
#[derive(Clone)]
pub struct Secret<const MAX: usize = 1024>(Zeroizing<String>);

impl<const MAX: usize> Secret<MAX> {
    /// Wrap a secret that the platform made.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret, for the one place that uses it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> std::fmt::Debug for Secret<MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<const MAX: usize> Serialize for Secret<MAX> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Secret<MAX> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.chars().count() {
            0 => Err(serde::de::Error::custom("is empty; a secret has at least one character")),
            length if length > MAX => {
                Err(serde::de::Error::custom(format!("is {length} characters long; at most {MAX} are allowed")))
            }
            // As every text on the wire: one engine cannot store it, and C would cut the secret there.
            _ if text.contains('\0') => Err(serde::de::Error::custom("holds the character U+0000; leave it out")),
            _ => Ok(Self::new(text)),
        }
    }
}

impl<const MAX: usize> JsonSchema for Secret<MAX> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Secret{MAX}").into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "minLength": 1, "maxLength": MAX, "pattern": "^[^\\u0000]*$", "x-secret": true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_holds_no_nul() {
        assert!(serde_json::from_str::<Secret>("\"correct horse\"").is_ok());
        assert!(serde_json::from_str::<Secret>("\"correct\\u0000horse\"").is_err());
        assert!(serde_json::from_str::<Secret<3>>("\"four\"").is_err());
    }
}

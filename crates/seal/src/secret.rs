//! Secrets in memory: wiped when dropped, hidden from `Debug` and `Display`, never serialised.

use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

/// A secret text from outside (password, connector key), at most 1024 characters.
// INVARIANT: at most TEXT_MAX chars.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

const TEXT_MAX: usize = 1024;
const HIDDEN: &str = "[secret]";

/// Why a text is no [`SecretText`]. Holds nothing of it.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Error)]
#[error("a secret is longer than {TEXT_MAX} characters")]
pub struct SecretTooLong;

impl SecretText {
    /// Take a text over.
    ///
    /// # Errors
    /// [`SecretTooLong`] past 1024 characters.
    pub fn new(text: impl Into<String>) -> Result<Self, SecretTooLong> {
        let text = Zeroizing::new(text.into());
        if text.chars().count() > TEXT_MAX { Err(SecretTooLong) } else { Ok(Self(text)) }
    }

    /// The text itself: for the one place that uses it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SecretText {}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl std::fmt::Display for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl<'de> serde::Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for SecretText {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretText".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "maxLength": TEXT_MAX, "writeOnly": true, "x-secret": true })
    }
}

/// Secret bytes: keys, opened envelopes.
#[derive(Clone)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Take bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves: for the one place that uses them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for SecretBytes {}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_secret() {
        let secret: SecretText = serde_json::from_str("\"hunter2\"").unwrap();
        assert_eq!(format!("{secret} {secret:?} {:?}", SecretBytes::new(b"k".to_vec())), "[secret] [secret] [secret]");
        assert_eq!(secret.expose(), "hunter2");
        let error = serde_json::from_str::<SecretText>(&format!("\"{}\"", "x".repeat(1025))).unwrap_err().to_string();
        assert!(!error.contains("xx"), "{error}");
    }
}

//! Inputs of calls, kept beside the trees so that they can expire: an entry names its input by a salted digest, and
//! without the salt nobody can guess a short input from it. A payload must never be used without [`crate::Record::check_payload`].

use ids::{CallId, Entropy};
use seal::{CanonicalError, Digest, canonical_json};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// Why a payload is not the input of a record.
#[derive(Debug, Clone, Eq, PartialEq, Error)]
pub enum PayloadError {
    /// Another call's.
    #[error("belongs to another call")]
    Call,
    /// The input has no canonical form.
    #[error("the input {0}")]
    Canonical(#[from] CanonicalError),
    /// Not what the record's digest was taken of.
    #[error("does not match the digest in a record of its call")]
    Changed,
    /// Not a payload as one is written.
    #[error("is not a payload line in canonical form")]
    Format,
    /// The record names no input.
    #[error("its record names no input")]
    Unnamed,
}

/// 32 random bytes that go before the input into its digest. On the wire 64 hex digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Salt([u8; 32]);

impl Salt {
    /// A fresh salt.
    #[must_use]
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0_u8; 32];
        entropy.fill(&mut bytes);
        Self(bytes)
    }

    /// The salt of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Serialize for Salt {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Digest::from_bytes(self.0).to_hex())
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes =
            Digest::from_hex(&text).map_err(|_| serde::de::Error::custom("a salt is 64 lower-case hex digits"))?;
        Ok(Self(*bytes.as_bytes()))
    }
}

/// The input of one call, secrets already redacted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// The call.
    pub call: CallId,
    /// The salt.
    pub salt: Salt,
    /// The input, as the operation was called with it.
    pub input: Value,
}

impl Payload {
    /// What the record names as `input_digest`: SHA-256 over the salt and the canonical JSON of the input.
    ///
    /// # Errors
    /// [`CanonicalError`] where the input has no canonical form.
    pub fn digest(&self) -> Result<Digest, CanonicalError> {
        Ok(Digest::salted(self.salt.as_bytes(), &canonical_json(&self.input)?))
    }

    /// One line of a payload file, without its newline.
    ///
    /// # Errors
    /// [`PayloadError::Canonical`] where the input has no canonical form.
    pub fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        let value = serde_json::to_value(self).map_err(|_| PayloadError::Format)?;
        Ok(canonical_json(&value)?)
    }

    /// The payload on this line.
    ///
    /// # Errors
    /// [`PayloadError`] unless [`Payload::encode`] gives exactly these bytes.
    pub fn decode(line: &[u8]) -> Result<Self, PayloadError> {
        let payload: Self = serde_json::from_slice(line).map_err(|_| PayloadError::Format)?;
        if payload.encode()? == line { Ok(payload) } else { Err(PayloadError::Format) }
    }
}

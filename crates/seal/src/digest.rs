//! SHA-256 digests and their text form. Must never be used on a low-entropy secret without a salt: a digest of a guessable
//! text is the text.

use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// A SHA-256 digest. On the wire `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is not a digest.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Error)]
#[error("is not a digest; write `sha256:` and 64 lower-case hex digits")]
pub struct ParseDigestError;

const PREFIX: &str = "sha256:";

/// SHA-256 over the concatenation of `parts`, without any framing: for formats that bring their own (RFC 6962, signed
/// notes). Where the boundary between parts must count, use [`Digest::framed`].
#[must_use]
pub fn sha256_parts(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    Digest(hash.finalize().into())
}

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        sha256_parts(&[bytes])
    }

    /// The digest of 32 bytes of salt and then `bytes`: what a guess at `bytes` does not reveal without the salt.
    #[must_use]
    pub fn salted(salt: &[u8; 32], bytes: &[u8]) -> Self {
        sha256_parts(&[salt, bytes])
    }

    /// The digest of several parts under a domain name: each is preceded by its length (64 bits, big endian), so that
    /// no other split of the same bytes gives the same digest.
    #[must_use]
    pub fn framed(domain: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// A digest whose bytes are known.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits, without the prefix: for file names.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.with_text(|text| text.strip_prefix(PREFIX).unwrap_or_default().to_owned())
    }

    /// The text form, given to `then` without a trip to the heap.
    fn with_text<T>(&self, then: impl FnOnce(&str) -> T) -> T {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
        let mut text = [0_u8; PREFIX.len() + 64];
        let digits = self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        for (place, letter) in text.iter_mut().zip(PREFIX.bytes().chain(digits)) {
            *place = letter;
        }
        // ASCII all of it.
        then(std::str::from_utf8(&text).unwrap_or_default())
    }

    /// The digest whose 64 lower-case hex digits these are.
    ///
    /// # Errors
    /// [`ParseDigestError`] for every other text.
    pub fn from_hex(hex: &str) -> Result<Self, ParseDigestError> {
        let nibble = |letter: u8| match letter {
            b'0'..=b'9' => Ok(letter - b'0'),
            b'a'..=b'f' => Ok(letter - b'a' + 10),
            _ => Err(ParseDigestError),
        };
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(ParseDigestError);
        }
        let mut bytes = [0_u8; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = (nibble(*high)? << 4) | nibble(*low)?;
        }
        Ok(Self(bytes))
    }
}

/// A digest in the making, for what does not fit in memory: gives what [`Digest::of`] gives for the whole.
#[derive(Clone, Debug, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Go on with these bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes so far.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Digest {
    type Err = ParseDigestError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_hex(text.strip_prefix(PREFIX).ok_or(ParseDigestError)?)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| serializer.serialize_str(text))
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Digest {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^sha256:[0-9a-f]{64}$",
            "minLength": 71,
            "maxLength": 71,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4, the example of one block.
    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn text_form_is_the_standard_one() {
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
        assert_eq!(ABC.parse(), Ok(Digest::of(b"abc")));
        for wrong in
            ["", "abc", &ABC.to_uppercase(), ABC.strip_suffix("d").unwrap_or_default(), &format!("{ABC}0"), "sha256:é"]
        {
            assert_eq!(wrong.parse::<Digest>(), Err(ParseDigestError), "{wrong}");
        }
    }

    #[test]
    fn framing_keeps_part_boundaries() {
        assert_ne!(Digest::framed("d", &[b"ab", b"c"]), Digest::framed("d", &[b"a", b"bc"]));
        assert_eq!(sha256_parts(&[b"a", b"bc"]), Digest::of(b"abc"));
        assert_ne!(Digest::salted(&[1; 32], b"x"), Digest::salted(&[2; 32], b"x"));
    }
}

//! A request's body: its declared encoding, and bounded decompression. The decompression itself is `event`'s.

use crate::Limits;
use event::read::ReadFault;
use std::borrow::Cow;
use thiserror::Error;

/// What `Content-Encoding` may say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Encoding {
    /// gzip, of one or more members.
    Gzip,
    /// As it is. Senders that forget the header are understood all the same: the first bytes show it.
    #[default]
    Identity,
    /// Zstandard.
    Zstd,
}

/// Why a body cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Broken, or more bytes than allowed.
    #[error("the body cannot be unpacked")]
    Broken(#[source] ReadFault),
    /// The header names an encoding that the bytes do not have.
    #[error("the body is not {0} as its content encoding says")]
    Mismatch(&'static str),
    /// Over [`Limits::body_bytes_max`].
    #[error("the body has more than {0} bytes; send smaller batches")]
    TooLarge(usize),
    /// Not an encoding that is understood.
    #[error("`{0}` is not a content encoding that is understood; use gzip, zstd or identity")]
    Unknown(String),
}

impl std::str::FromStr for Encoding {
    type Err = BodyError;
    fn from_str(text: &str) -> Result<Self, BodyError> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("gzip") || text.eq_ignore_ascii_case("x-gzip") {
            Ok(Self::Gzip)
        } else if text.eq_ignore_ascii_case("zstd") {
            Ok(Self::Zstd)
        } else if text.is_empty() || text.eq_ignore_ascii_case("identity") {
            Ok(Self::Identity)
        } else {
            Err(BodyError::Unknown(text.chars().take(64).collect()))
        }
    }
}

/// The body as it was before it was packed.
///
/// # Errors
/// [`BodyError`]; never more than [`Limits::body_bytes_max`] bytes are unpacked.
pub fn unpack(body: Vec<u8>, encoding: Encoding, limits: &Limits) -> Result<Vec<u8>, BodyError> {
    let (expected, name): (&[u8], _) = match encoding {
        Encoding::Gzip => (&[0x1f, 0x8b], "gzip"),
        Encoding::Zstd => (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
        Encoding::Identity => (&[], "identity"),
    };
    if !body.starts_with(expected) && !body.is_empty() {
        return Err(BodyError::Mismatch(name));
    }
    let max = limits.body_bytes_max.min(1 << 30);
    let unpacked = match event::read::unpack(&body, max) {
        Ok(Cow::Owned(unpacked)) => unpacked,
        Ok(Cow::Borrowed(_)) => body,
        Err(ReadFault::TooLarge(max)) => return Err(BodyError::TooLarge(max)),
        Err(fault) => return Err(BodyError::Broken(fault)),
    };
    if unpacked.len() > max { Err(BodyError::TooLarge(max)) } else { Ok(unpacked) }
}

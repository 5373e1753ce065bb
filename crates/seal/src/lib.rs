//! Digests, signatures, envelope encryption, tokens, password hashes and secret types.
//!
//! Sole owner of the cryptographic libraries: no other crate names them. Does no I/O except asking the operating system for
//! randomness ([`SystemEntropy`]), keeps no keys of its own, and never shows a secret through `Debug`, `Display` or `Serialize`.

mod canonical;
mod digest;
mod entropy;
mod jws;
mod mac;
mod password;
mod sealer;
mod secret;
mod signing;
mod token;
mod totp;

pub use canonical::{CanonicalError, INTEGER_MAX, canonical_json};
pub use digest::{Digest, Hasher, ParseDigestError, sha256_parts};
pub use entropy::{SeededEntropy, SystemEntropy};
pub use jws::{JwkSet, JwsError};
pub use mac::{Mac, hmac_sha256};
pub use password::{PasswordCost, PasswordError, PasswordHash};
pub use sealer::{SealError, Sealer};
pub use secret::{SecretBytes, SecretText, SecretTooLong};
pub use signing::{Signature, SigningKey, SigningKeyError, VerifyingKey};
pub use token::{Token, TokenKindError};
pub use totp::TotpKey;

//! Ed25519 signatures (RFC 8032). Must never sign what the caller did not spell out: no hidden prefixes, no defaults.

use ed25519_dalek::Signer as _;
use ids::Entropy;
use thiserror::Error;
use zeroize::Zeroizing;

/// The 64 bytes of a signature.
pub type Signature = [u8; 64];

/// Why bytes are not a public key.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Error)]
#[error("these 32 bytes are not an ed25519 public key")]
pub struct SigningKeyError;

/// A private key. Wiped when dropped, hidden from `Debug`.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A fresh key.
    #[must_use]
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut seed = Zeroizing::new([0_u8; 32]);
        entropy.fill(seed.as_mut_slice());
        Self::from_bytes(&seed)
    }

    /// The key of this 32-byte seed (RFC 8032 section 5.1.5).
    #[must_use]
    pub fn from_bytes(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, to be sealed and stored.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// Sign exactly these bytes.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        self.0.sign(message).to_bytes()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey([secret])")
    }
}

/// A public key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// The key of these 32 bytes.
    ///
    /// # Errors
    /// [`SigningKeyError`] where they encode no point, or a weak one (of small order) under which anything verifies.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SigningKeyError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| SigningKeyError)?;
        if key.is_weak() { Err(SigningKeyError) } else { Ok(Self(key)) }
    }

    /// The 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Whether this key signed these bytes. Strict: a signature has one form, so it cannot be altered and still verify.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, SeededEntropy};

    #[test]
    fn the_first_vector_of_rfc_8032() {
        let seed = Digest::from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = SigningKey::from_bytes(seed.as_bytes());
        let public = Digest::from_bytes(key.verifying_key().to_bytes()).to_hex();
        assert_eq!(public, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let signature = key.sign(b"");
        assert_eq!(signature.first_chunk::<4>().unwrap(), &[0xe5, 0x56, 0x43, 0x00]);
        assert!(key.verifying_key().verify(b"", &signature));
    }

    #[test]
    fn only_the_signed_bytes_verify() {
        let key = SigningKey::generate(&SeededEntropy::new(1));
        let public = VerifyingKey::from_bytes(&key.verifying_key().to_bytes()).unwrap();
        let mut signature = key.sign(b"message");
        assert!(public.verify(b"message", &signature));
        assert!(!public.verify(b"messagf", &signature));
        assert!(!public.verify(b"message", signature.get(..63).unwrap()));
        signature[0] ^= 1;
        assert!(!public.verify(b"message", &signature));
        assert!(VerifyingKey::from_bytes(&[0; 32]).is_err(), "the point of small order");
        assert_eq!(format!("{key:?}"), "SigningKey([secret])");
    }
}

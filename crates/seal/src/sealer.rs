//! Envelope encryption of secrets at rest: a fresh data key per secret under XChaCha20-Poly1305, itself sealed by the master key. Must
//! never open an envelope in another context than it was sealed for (row, column, tenant), nor tell more than that it failed.
//!
//! Format 1: `1`, key id (4), nonce (24), sealed data key (48), nonce (24), ciphertext and tag (n + 16).

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use ids::Entropy;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{Digest, SecretBytes};

const VERSION: u8 = 1;
const NONCE_LENGTH: usize = 24;
const WRAPPED_LENGTH: usize = 48;

/// Why an envelope does not open.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Error)]
pub enum SealError {
    /// Changed, or sealed for another context.
    #[error("the sealed secret was changed or belongs elsewhere")]
    Forged,
    /// Not an envelope of a format that this version reads.
    #[error("the sealed secret has a format this version cannot read")]
    Format,
    /// Sealed under another master key.
    #[error("the sealed secret needs another master key; give the one it was sealed with")]
    Key,
}

/// Seals and opens under one master key.
#[derive(Clone)]
pub struct Sealer {
    key: Zeroizing<[u8; 32]>,
    id: [u8; 4],
}

impl Sealer {
    /// The sealer of this master key: 32 random bytes from a file or the environment.
    #[must_use]
    pub fn new(master_key: [u8; 32]) -> Self {
        let digest = Digest::framed("posse sealer key id", &[&master_key]);
        let id = digest.as_bytes().first_chunk::<4>().copied().unwrap_or_default();
        Self { key: Zeroizing::new(master_key), id }
    }

    /// Seal `plaintext` for `context`: what names its place, for example table, column and row id.
    #[must_use]
    pub fn seal(&self, context: &[u8], plaintext: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        let mut data_key = Zeroizing::new([0_u8; 32]);
        entropy.fill(data_key.as_mut_slice());
        let mut out = self.wrap(context, &data_key, entropy);
        out.extend_from_slice(&encrypt(&data_key, &body_context(context), plaintext, entropy));
        out
    }

    /// Open what [`Sealer::seal`] made for the same context.
    ///
    /// # Errors
    /// [`SealError`]; nothing of the plaintext is released unless all of it is authentic.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<SecretBytes, SealError> {
        let (data_key, body) = self.unwrap_key(context, sealed)?;
        decrypt(&data_key, &body_context(context), body).map(SecretBytes::new)
    }

    /// Move an envelope to another master key. The secret itself is not decrypted.
    ///
    /// # Errors
    /// [`SealError`] where it does not open under this key.
    pub fn rewrap(
        &self,
        successor: &Self,
        context: &[u8],
        sealed: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, SealError> {
        let (data_key, body) = self.unwrap_key(context, sealed)?;
        let mut out = successor.wrap(context, &data_key, entropy);
        out.extend_from_slice(body);
        Ok(out)
    }

    fn wrap(&self, context: &[u8], data_key: &[u8; 32], entropy: &dyn Entropy) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&encrypt(&self.key, &self.key_context(context), data_key, entropy));
        out
    }

    fn unwrap_key<'a>(&self, context: &[u8], sealed: &'a [u8]) -> Result<(Zeroizing<[u8; 32]>, &'a [u8]), SealError> {
        let (version, rest) = sealed.split_first().ok_or(SealError::Format)?;
        if *version != VERSION {
            return Err(SealError::Format);
        }
        let (id, rest) = rest.split_first_chunk::<4>().ok_or(SealError::Format)?;
        if *id != self.id {
            return Err(SealError::Key);
        }
        let (wrapped, body) = rest.split_at_checked(NONCE_LENGTH + WRAPPED_LENGTH).ok_or(SealError::Format)?;
        let data_key = Zeroizing::new(decrypt(&self.key, &self.key_context(context), wrapped)?);
        let data_key = data_key.first_chunk::<32>().copied().ok_or(SealError::Format)?;
        Ok((Zeroizing::new(data_key), body))
    }

    fn key_context(&self, context: &[u8]) -> Vec<u8> {
        [&[VERSION], b"key".as_slice(), &self.id, context].concat()
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer([secret])")
    }
}

/// Without the key id: the body stays as it is when the master key changes.
fn body_context(context: &[u8]) -> Vec<u8> {
    [&[VERSION], b"body".as_slice(), context].concat()
}

fn encrypt(key: &[u8; 32], aad: &[u8], plaintext: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    let mut nonce = [0_u8; NONCE_LENGTH];
    entropy.fill(&mut nonce);
    let cipher = XChaCha20Poly1305::new(key.into());
    // Only a plaintext past 256 GiB fails; then nothing is written and opening says so.
    let body = cipher.encrypt(&XNonce::from(nonce), Payload { msg: plaintext, aad }).unwrap_or_default();
    [nonce.as_slice(), &body].concat()
}

fn decrypt(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LENGTH>().ok_or(SealError::Format)?;
    let cipher = XChaCha20Poly1305::new(key.into());
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg: body, aad }).map_err(|_| SealError::Forged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededEntropy;

    #[test]
    fn opens_only_with_the_key_in_the_context_and_unchanged() {
        let (entropy, sealer) = (SeededEntropy::new(1), Sealer::new([7; 32]));
        let sealed = sealer.seal(b"secret/1", b"hunter2", &entropy);
        assert_eq!(sealer.open(b"secret/1", &sealed).unwrap().expose(), b"hunter2");
        assert_eq!(sealer.open(b"secret/2", &sealed), Err(SealError::Forged));
        assert_eq!(Sealer::new([8; 32]).open(b"secret/1", &sealed), Err(SealError::Key));
        assert_ne!(sealer.seal(b"secret/1", b"hunter2", &entropy), sealed);
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 0x20;
            assert!(sealer.open(b"secret/1", &changed).is_err(), "byte {place}");
            assert!(sealer.open(b"secret/1", &sealed[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn a_new_master_key_takes_over() {
        let (entropy, old, new) = (SeededEntropy::new(1), Sealer::new([7; 32]), Sealer::new([8; 32]));
        let sealed = old.seal(b"c", b"hunter2", &entropy);
        let moved = old.rewrap(&new, b"c", &sealed, &entropy).unwrap();
        assert_eq!(new.open(b"c", &moved).unwrap().expose(), b"hunter2");
        assert_eq!(old.open(b"c", &moved), Err(SealError::Key));
        assert_eq!(old.rewrap(&new, b"d", &sealed, &entropy), Err(SealError::Forged));
    }
}

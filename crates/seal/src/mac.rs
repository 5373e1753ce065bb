//! A keyed authenticator (HMAC-SHA-256, RFC 2104) for what the platform hands out and takes back, such as cursors. Must never
//! be compared other than by [`Mac::verify`], which takes the same time for every wrong tag.

use hmac::{Hmac, KeyInit, Mac as _};
use ids::Entropy;
use sha2::Sha256;
use zeroize::Zeroizing;

/// HMAC-SHA-256 of a message, without any framing: for formats of others that bring their own (AWS signatures, Standard
/// Webhooks). For what the platform itself hands out, use [`Mac`].
#[must_use]
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    // RFC 2104: a key over the block is hashed, a shorter one filled with zeros.
    let hashed = crate::Digest::of(key);
    let key = if key.len() > 64 { hashed.as_bytes().as_slice() } else { key };
    let mut block = Zeroizing::new([0_u8; 64]);
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    let mut state = <Hmac<Sha256> as KeyInit>::new((&*block).into());
    state.update(message);
    state.finalize().into_bytes().into()
}

/// A key that authenticates.
#[derive(Clone)]
pub struct Mac(Zeroizing<[u8; 32]>);

impl Mac {
    /// A fresh key.
    #[must_use]
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut key = Zeroizing::new([0_u8; 32]);
        entropy.fill(key.as_mut_slice());
        Self(key)
    }

    /// The key of these 32 bytes.
    #[must_use]
    pub fn from_bytes(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// A key for one purpose, derived from this one. Knowing it tells nothing about this key or other purposes.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Self {
        Self::from_bytes(self.tag(&[b"posse derived key", purpose.as_bytes()]))
    }

    /// The tag over `parts`. Each part is framed by its length, so that their boundaries count.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.state(parts).finalize().into_bytes().into()
    }

    /// Whether `tag` is the tag over `parts`. A tag of another length is wrong.
    #[must_use]
    pub fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        self.state(parts).verify_slice(tag).is_ok()
    }

    fn state(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        // RFC 2104 fills a short key with zeros up to the block; doing it here leaves nothing that could fail.
        let mut block = Zeroizing::new([0_u8; 64]);
        for (place, byte) in block.iter_mut().zip(self.0.iter()) {
            *place = *byte;
        }
        let mut state = <Hmac<Sha256> as KeyInit>::new((&*block).into());
        for part in parts {
            state.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            state.update(part);
        }
        state
    }
}

impl std::fmt::Debug for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mac([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededEntropy;

    #[test]
    fn nothing_under_a_zero_key_has_the_known_tag() {
        let state = Mac::from_bytes([0; 32]).state(&[]).finalize().into_bytes();
        // HMAC-SHA-256 of nothing under an all-zero key, as every implementation gives it.
        assert_eq!(state.first_chunk::<4>().unwrap(), &[0xb6, 0x13, 0x67, 0x9a]);
    }

    #[test]
    fn rfc_4231_holds_for_short_and_long_keys() {
        let begins = |key: &[u8], message: &[u8]| hmac_sha256(key, message).first_chunk::<4>().copied().unwrap();
        assert_eq!(begins(&[0x0b; 20], b"Hi There"), [0xb0, 0x34, 0x4c, 0x61]);
        assert_eq!(begins(b"Jefe", b"what do ya want for nothing?"), [0x5b, 0xdc, 0xc1, 0x46]);
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(begins(&[0xaa; 131], long), [0x60, 0xe4, 0x31, 0x59]);
    }

    #[test]
    fn only_the_same_key_and_parts_verify() {
        let key = Mac::generate(&SeededEntropy::new(1));
        let tag = key.tag(&[b"tenant", b"key"]);
        assert!(key.verify(&[b"tenant", b"key"], &tag));
        assert!(!key.verify(&[b"tenantk", b"ey"], &tag));
        assert!(!key.verify(&[b"tenant", b"key"], tag.get(..16).unwrap()));
        assert!(!key.verify(&[b"tenant", b"key"], &[]));
        assert!(!key.derive("cursor").verify(&[b"tenant", b"key"], &tag));
        assert_eq!(format!("{key:?}"), "Mac([secret])");
    }
}

//! Time-based one-time passwords (RFC 6238) as authenticator apps make them: HMAC-SHA-1, six digits, thirty seconds. The caller
//! keeps the last step that was taken, so that no code is good twice.

use hmac::{Hmac, KeyInit, Mac as _};
use ids::{Entropy, Timestamp};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// How long one code lives, in seconds.
const STEP_SECS: i64 = 30;
/// RFC 4648 section 6, as apps read it.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The secret that an authenticator shares: 20 bytes.
#[derive(Clone)]
pub struct TotpKey(Zeroizing<[u8; 20]>);

impl TotpKey {
    /// A fresh key.
    #[must_use]
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new([0_u8; 20]);
        entropy.fill(bytes.as_mut_slice());
        Self(bytes)
    }

    /// The key of these 20 bytes; none where there are more or fewer.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        <[u8; 20]>::try_from(bytes).ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// The bytes, to be sealed and stored.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 20]> {
        self.0.clone()
    }

    /// The key as it is typed into an app: 32 letters of base32.
    #[must_use]
    pub fn base32(&self) -> String {
        let (mut text, mut held, mut bits) = (String::with_capacity(32), 0_u32, 0_u32);
        for byte in self.0.iter() {
            held = (held << 8) | u32::from(*byte);
            bits += 8;
            while bits >= 5 {
                bits -= 5;
                let place = usize::try_from((held >> bits) & 31).unwrap_or_default();
                text.extend(BASE32.get(place).map(|letter| char::from(*letter)));
            }
        }
        text
    }

    /// The step that a code is good for at this time: the present one, the one before or the one after, and later than the
    /// last that was taken. None where the code is good for none of them.
    #[must_use]
    pub fn accepts(&self, code: &str, now: Timestamp, last_step: i64) -> Option<i64> {
        let present = now.as_micros().div_euclid(STEP_SECS * 1_000_000);
        let mut good = None;
        // All of them are looked at, so that the time taken tells nothing.
        for step in [present - 1, present, present + 1] {
            let fits: bool = self.code(step).as_bytes().ct_eq(code.as_bytes()).into();
            if fits && step > last_step {
                good = Some(step);
            }
        }
        good
    }

    /// The code of a step.
    #[must_use]
    pub fn code(&self, step: i64) -> String {
        // RFC 2104: a short key is filled with zeros up to the block.
        let mut block = Zeroizing::new([0_u8; 64]);
        for (place, byte) in block.iter_mut().zip(self.0.iter()) {
            *place = *byte;
        }
        let mut state = <Hmac<Sha1> as KeyInit>::new((&*block).into());
        state.update(&step.to_be_bytes());
        let digest: [u8; 20] = state.finalize().into_bytes().into();
        // RFC 4226 section 5.3: the low four bits of the last byte say where the number stands.
        let offset = usize::from(digest.last().copied().unwrap_or_default() & 15);
        let number = digest.iter().skip(offset).take(4).fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
        format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
    }
}

impl std::fmt::Debug for TotpKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpKey([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_micros(secs * 1_000_000)
    }

    /// RFC 6238 appendix B, the last six of eight digits.
    #[test]
    fn the_vectors_of_rfc_6238() {
        let key = TotpKey::from_bytes(b"12345678901234567890").unwrap();
        assert_eq!(key.base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        for (secs, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(key.code(secs / 30), code, "{secs}");
        }
    }

    #[test]
    fn a_code_is_good_for_a_minute_and_once() {
        let key = TotpKey::from_bytes(b"12345678901234567890").unwrap();
        let step = key.accepts("287082", at(59), 0);
        assert_eq!(step, Some(1));
        assert_eq!(key.accepts("287082", at(59), 1), None, "taken");
        assert_eq!(key.accepts("287082", at(89), 0), Some(1), "a slow clock");
        assert_eq!(key.accepts("287082", at(90), 0), None, "over");
        for odd in ["", "28708", "2870822", "abcdef", "287083"] {
            assert_eq!(key.accepts(odd, at(59), 0), None, "{odd}");
        }
    }
}

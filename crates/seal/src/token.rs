//! Bearer tokens: `posse_<kind>_` and 43 letters and digits, the last six a checksum, so that secret scanners can tell one from noise
//! and a mistyped one is refused without a look-up. Only [`Token::lookup_hash`] is ever stored: reading it takes an
//! index over hashes, where timing says nothing about the token.

use ids::Entropy;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::Digest;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 37 digits of base 62 hold 220 bits.
const RANDOM_LENGTH: usize = 37;
const CHECK_LENGTH: usize = 6;
const KIND_MAX: usize = 16;

/// A bearer token: known when it is made and when a caller shows it, never stored.
// INVARIANT: the text is `posse_<kind>_<37 digits><checksum over all before>`.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

/// Why a word cannot name a kind of token.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Error)]
#[error("the kind of a token is 1 to {KIND_MAX} lower-case letters")]
pub struct TokenKindError;

impl Token {
    /// A fresh token of this kind (`session`, `api`, `run`, ...).
    ///
    /// # Errors
    /// [`TokenKindError`] where the kind is not 1 to 16 lower-case letters.
    pub fn generate(kind: &str, entropy: &dyn Entropy) -> Result<Self, TokenKindError> {
        if !kind_valid(kind) {
            return Err(TokenKindError);
        }
        let length = "posse__".len() + kind.len() + RANDOM_LENGTH + CHECK_LENGTH;
        let mut text = Zeroizing::new(String::with_capacity(length));
        text.push_str("posse_");
        text.push_str(kind);
        text.push('_');
        let end = length - CHECK_LENGTH;
        let mut bytes = Zeroizing::new([0_u8; 64]);
        while text.len() < end {
            entropy.fill(bytes.as_mut_slice());
            for byte in bytes.iter() {
                // 248 is the last multiple of 62: past it some digits would be likelier than others.
                if *byte < 248 && text.len() < end {
                    text.push(digit(u32::from(*byte)));
                }
            }
        }
        let check = checksum(&text);
        text.push_str(&check);
        Ok(Self(text))
    }

    /// The token that a caller showed. Total: no text panics, and `None` says nothing about why.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > "posse__".len() + KIND_MAX + RANDOM_LENGTH + CHECK_LENGTH {
            return None;
        }
        let (kind, digits) = text.strip_prefix("posse_")?.split_once('_')?;
        let well_formed = kind_valid(kind)
            && digits.len() == RANDOM_LENGTH + CHECK_LENGTH
            && digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let (body, check) = text.split_at_checked(text.len().checked_sub(CHECK_LENGTH)?)?;
        // The checksum is no secret (anyone can compute it), so this comparison need not be constant in time.
        (well_formed && checksum(body) == check).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.split('_').nth(1).unwrap_or_default()
    }

    /// The whole text: to be shown once, to its owner.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored and looked up in place of the token. No salt: 220 random bits cannot be guessed.
    #[must_use]
    pub fn lookup_hash(&self) -> Digest {
        Digest::framed("posse token v1", &[self.0.as_bytes()])
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token(posse_{}_[secret])", self.kind())
    }
}

fn kind_valid(kind: &str) -> bool {
    (1..=KIND_MAX).contains(&kind.len()) && kind.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn digit(value: u32) -> char {
    usize::try_from(value % 62).ok().and_then(|place| ALPHABET.get(place)).copied().map_or('0', char::from)
}

/// CRC-32 (IEEE 802.3) as six digits of base 62, most significant first.
fn checksum(text: &str) -> String {
    let crc = text.bytes().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    });
    let crc = !crc;
    (0..6_u32).rev().map(|place| digit(crc / 62_u32.pow(place))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededEntropy;
    use proptest::prelude::*;

    #[test]
    fn a_token_parses_and_a_mistyped_one_does_not() {
        let token = Token::generate("api", &SeededEntropy::new(1)).unwrap();
        let text = token.expose().to_owned();
        assert_eq!(text.len(), "posse_api_".len() + 43);
        assert_eq!(Token::parse(&text).unwrap().lookup_hash(), token.lookup_hash());
        assert_eq!(token.kind(), "api");
        assert!(!format!("{token:?}").contains(text.strip_prefix("posse_api_").unwrap()));
        for place in 0..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[place] = if wrong[place] == b'x' { b'y' } else { b'x' };
            assert!(Token::parse(std::str::from_utf8(&wrong).unwrap()).is_none(), "{place}");
        }
        assert!(Token::generate("", &SeededEntropy::new(1)).is_err());
        assert!(Token::generate("a_b", &SeededEntropy::new(1)).is_err());
        assert_ne!(Token::generate("api", &SeededEntropy::new(2)).unwrap().expose(), text);
    }

    #[test]
    fn the_checksum_is_crc_32() {
        // The check value of CRC-32/ISO-HDLC: 0xcbf43926 over `123456789`.
        let value = checksum("123456789")
            .bytes()
            .fold(0_u64, |sum, byte| sum * 62 + ALPHABET.iter().position(|letter| *letter == byte).unwrap() as u64);
        assert_eq!(value, 0xcbf4_3926);
    }

    proptest! {
        #[test]
        fn parse_is_total(text in "(posse_[a-z]{0,4}_)?\\PC{0,60}") {
            prop_assert!(Token::parse(&text).is_none());
        }
    }
}

//! Crockford base32 in lower case for 128-bit values: 26 characters, sortable as text, no look-alikes.

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Number of characters of an encoded 128-bit value.
pub(crate) const LENGTH: usize = 26;

/// What no character of the alphabet stands for.
const NO_DIGIT: u8 = u8::MAX;

/// The digit of each byte: ids are read and written several times in each call.
#[expect(clippy::indexing_slicing, reason = "evaluated while compiling: an index out of bounds does not compile")]
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut digit = 0_u8;
    while digit < 32 {
        digits[ALPHABET[digit as usize] as usize] = digit;
        digit += 1;
    }
    digits
};

/// Write `value` to the end of `text`, most significant digit first, so that text order is numeric order. What is before
/// its last 26 bytes stays.
pub(crate) fn encode_into(mut value: u128, text: &mut [u8]) {
    for place in text.iter_mut().rev().take(LENGTH) {
        // Five bits are an index of the alphabet.
        *place = usize::try_from(value & 31).ok().and_then(|digit| ALPHABET.get(digit)).copied().unwrap_or(b'0');
        value >>= 5;
    }
}

fn digit_of(letter: u8) -> Option<u8> {
    DIGITS.get(usize::from(letter)).copied().filter(|digit| *digit != NO_DIGIT)
}

/// Decode exactly what [`encode_into`] writes: one spelling for each value, so that ids compare as text.
pub(crate) fn decode(text: &str) -> Option<u128> {
    if text.len() != LENGTH {
        return None;
    }
    text.bytes().enumerate().try_fold(0_u128, |value, (place, byte)| {
        let digit = digit_of(byte)?;
        // 26 digits hold 130 bits: the first may only carry the top three.
        if place == 0 && digit > 7 {
            return None;
        }
        Some((value << 5) | u128::from(digit))
    })
}

/// Encode bytes, most significant bit first; the last character's spare bits are zero.
pub(crate) fn encode_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(8).div_ceil(5));
    let (mut held, mut bits) = (0_u32, 0_u32);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(letter(held >> bits));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(letter(held << (5 - bits)));
    }
    text
}

fn letter(digit: u32) -> char {
    usize::try_from(digit & 31).ok().and_then(|digit| ALPHABET.get(digit)).copied().map_or('0', char::from)
}

/// Decode exactly what [`encode_bytes`] writes.
pub(crate) fn decode_bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len().saturating_mul(5) / 8);
    let (mut held, mut bits) = (0_u32, 0_u32);
    for byte in text.bytes() {
        held = (held << 5) | u32::from(digit_of(byte)?);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    // What is left is padding: less than a character, and zero.
    (bits < 5 && held == 0).then_some(bytes)
}

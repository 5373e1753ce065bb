//! Crockford base32 in lower case for 128-bit values: 26 characters, sortable as text, no look-alikes.

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Number of characters of an encoded 128-bit value.
pub(crate) const LENGTH: usize = 26;

/// Encode most significant digit first, so that text order is numeric order.
pub(crate) fn encode(value: u128) -> String {
    (0..LENGTH)
        .rev()
        .map(|place| {
            let digit = usize::try_from((value >> (place * 5)) & 31).unwrap_or(0);
            ALPHABET.get(digit).copied().map_or('0', char::from)
        })
        .collect()
}

/// Decode exactly what [`encode`] writes: one spelling for each value, so that ids compare as text.
pub(crate) fn decode(text: &str) -> Option<u128> {
    if text.len() != LENGTH {
        return None;
    }
    text.bytes().enumerate().try_fold(0_u128, |value, (place, byte)| {
        let digit = ALPHABET.iter().position(|letter| *letter == byte)?;
        // 26 digits hold 130 bits: the first may only carry the top three.
        if place == 0 && digit > 7 {
            return None;
        }
        Some((value << 5) | u128::try_from(digit).ok()?)
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
        let digit = ALPHABET.iter().position(|letter| *letter == byte)?;
        held = (held << 5) | u32::try_from(digit).ok()?;
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

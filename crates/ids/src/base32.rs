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

//! Which observables occur in a run of rows: a sorted set of 32-bit hashes, Elias-Fano coded.
//!
//! About `2 + log2(2^32 / n)` bits for each of n values: 20 bits at 10,000. A Bloom filter of 10 bits is half of that,
//! but cannot be merged without loss, and compaction merges runs all the time; and this one is wrong for a value that is
//! absent only once in 2^32 / n. It answers on its stored bytes, nothing is decoded.

/// A set of hashes as it is stored: count (u32, little-endian), width of the low halves (u8), low halves, high halves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ObservableSet {
    count: u64,
    width: u32,
    bytes: Vec<u8>,
    /// Where the high halves start.
    high: usize,
}

const HEADER: usize = 5;

impl ObservableSet {
    /// The set of these hashes; sorts them and drops doubles in place.
    pub(crate) fn new(hashes: &mut Vec<u32>) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        let count = u64::try_from(hashes.len()).unwrap_or(u64::MAX);
        let width = (32_u32).saturating_sub(64 - count.leading_zeros()).min(31);
        let low_bytes = usize::try_from(count * u64::from(width)).unwrap_or(0).div_ceil(8);
        let top = hashes.last().map_or(0, |last| u64::from(*last >> width));
        let high_bytes = usize::try_from(count + top + 1).unwrap_or(0).div_ceil(8);
        let mut bytes = vec![0_u8; HEADER + low_bytes + high_bytes];
        for (place, byte) in u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes().into_iter().enumerate() {
            set_byte(&mut bytes, place, byte);
        }
        set_byte(&mut bytes, 4, u8::try_from(width).unwrap_or(0));
        let high = HEADER + low_bytes;
        for (rank, hash) in (0_u64..).zip(hashes.iter()) {
            let low = u64::from(*hash) & ((1 << width) - 1);
            for bit in 0..width {
                if low >> bit & 1 == 1 {
                    set_bit(&mut bytes, HEADER, rank * u64::from(width) + u64::from(bit));
                }
            }
            set_bit(&mut bytes, high, rank + u64::from(*hash >> width));
        }
        Self { count, width, bytes, high }
    }

    /// Read what [`ObservableSet::into_bytes`] gave; none where the bytes do not fit themselves.
    pub(crate) fn read(bytes: Vec<u8>) -> Option<Self> {
        let count = u64::from(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?));
        let width = u32::from(*bytes.get(4)?);
        let high = HEADER + usize::try_from(count * u64::from(width)).ok()?.div_ceil(8);
        let ones: u64 = bytes.get(high..)?.iter().map(|byte| u64::from(byte.count_ones())).sum();
        (width < 32 && ones == count).then_some(Self { count, width, bytes, high })
    }

    /// The bytes to store.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How much memory it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }

    /// Whether the hash is one of the set.
    pub(crate) fn contains(&self, hash: u32) -> bool {
        let bucket = u64::from(hash >> self.width);
        let low = u64::from(hash) & ((1 << self.width) - 1);
        // Each value is a one, each step to the next bucket a zero: skip `bucket` zeros.
        let high = self.bytes.get(self.high..).unwrap_or(&[]);
        let (mut zeros, mut start) = (0_u64, 0_u64);
        let mut words = high.chunks(8);
        for chunk in words.by_ref() {
            let word = word_of(chunk);
            let bits = 8 * u64::try_from(chunk.len()).unwrap_or(0);
            let here = bits - u64::from(word.count_ones());
            if zeros + here >= bucket {
                break;
            }
            zeros += here;
            start += bits;
        }
        let mut position = start;
        while zeros < bucket {
            match self.high_bit(position) {
                Some(false) => zeros += 1,
                Some(true) => {}
                None => return false,
            }
            position += 1;
        }
        while self.high_bit(position) == Some(true) {
            let rank = position - bucket;
            match self.low(rank) {
                value if value == low => return true,
                value if value > low => return false,
                _ => position += 1,
            }
        }
        false
    }

    /// Every hash, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let end = 8 * u64::try_from(self.bytes.len() - self.high).unwrap_or(0);
        let mut rank = 0_u64;
        (0..end).filter_map(move |position| {
            if self.high_bit(position) != Some(true) {
                return None;
            }
            let value = ((position - rank) << self.width) | self.low(rank);
            rank += 1;
            u32::try_from(value).ok()
        })
    }

    fn high_bit(&self, position: u64) -> Option<bool> {
        let byte = self.bytes.get(self.high + usize::try_from(position / 8).ok()?)?;
        Some(byte >> (position % 8) & 1 == 1)
    }

    fn low(&self, rank: u64) -> u64 {
        let bit = rank * u64::from(self.width);
        let from = HEADER + usize::try_from(bit / 8).unwrap_or(0);
        let word = word_of(self.bytes.get(from..).unwrap_or(&[]));
        (word >> (bit % 8)) & ((1 << self.width) - 1)
    }
}

/// Up to eight bytes as a little-endian number.
fn word_of(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => bytes.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte)),
    }
}

fn set_byte(bytes: &mut [u8], place: usize, value: u8) {
    if let Some(byte) = bytes.get_mut(place) {
        *byte = value;
    }
}

fn set_bit(bytes: &mut [u8], base: usize, bit: u64) {
    if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|place| bytes.get_mut(base + place)) {
        *byte |= 1 << (bit % 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn ten_thousand_values_take_about_twenty_bits_each() {
        let mut hashes: Vec<u32> = (0..10_000_u32).map(|n| n.wrapping_mul(2_654_435_761)).collect();
        let set = ObservableSet::new(&mut hashes);
        assert!(set.into_bytes().len() * 8 < 10_000 * 21);
    }

    #[test]
    fn bytes_that_do_not_fit_are_refused() {
        assert_eq!(ObservableSet::read(vec![]), None);
        assert_eq!(ObservableSet::read(vec![255; 40]), None);
        let mut bytes = ObservableSet::new(&mut vec![1, 2, 3]).into_bytes();
        bytes.pop();
        assert_eq!(ObservableSet::read(bytes), None);
    }

    proptest! {
        #[test]
        fn holds_what_was_put_in_and_nothing_else(
            values in prop::collection::vec(prop_oneof![any::<u32>(), 0_u32..500, Just(u32::MAX)], 0..600),
            asked in prop::collection::vec(prop_oneof![any::<u32>(), 0_u32..500], 0..200),
        ) {
            let expected: BTreeSet<u32> = values.iter().copied().collect();
            let set = ObservableSet::new(&mut values.clone());
            let set = ObservableSet::read(set.into_bytes()).unwrap();
            prop_assert!(set.iter().eq(expected.iter().copied()));
            for hash in values.iter().chain(&asked) {
                prop_assert_eq!(set.contains(*hash), expected.contains(hash));
            }
        }
    }
}

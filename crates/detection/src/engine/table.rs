//! Small chained hash tables from integers to integers, immutable once built: no allocation and few branches on reading.

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// From a 32-bit key to any number of values.
#[derive(Debug, Default)]
pub(super) struct Table {
    // INVARIANT: the length is a power of two, or zero for an empty table.
    heads: Box<[u32]>,
    links: Box<[Link]>,
    shift: u32,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    key: u32,
    value: u32,
    next: u32,
}

impl Table {
    pub(super) fn new(pairs: &[(u32, u32)]) -> Self {
        if pairs.is_empty() {
            return Self::default();
        }
        let size = pairs.len().saturating_mul(2).next_power_of_two();
        let shift = 32_u32.saturating_sub(size.trailing_zeros());
        let mut heads = vec![NONE; size].into_boxed_slice();
        let mut links = Vec::with_capacity(pairs.len());
        for (index, (key, value)) in pairs.iter().enumerate() {
            if let Some(head) = heads.get_mut(slot(*key, shift)) {
                links.push(Link { key: *key, value: *value, next: *head });
                *head = u32::try_from(index).unwrap_or(NONE);
            }
        }
        Self { heads, links: links.into_boxed_slice(), shift }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Every value of the key.
    #[inline]
    pub(super) fn each(&self, key: u32, mut found: impl FnMut(u32)) {
        let mut at = self.heads.get(slot(key, self.shift)).copied().unwrap_or(NONE);
        while let Some(link) = self.links.get(at as usize) {
            if link.key == key {
                found(link.value);
            }
            at = link.next;
        }
    }

    /// The first value of the key that is accepted.
    #[inline]
    pub(super) fn find(&self, key: u32, mut accept: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.heads.get(slot(key, self.shift)).copied().unwrap_or(NONE);
        while let Some(link) = self.links.get(at as usize) {
            if link.key == key && accept(link.value) {
                return Some(link.value);
            }
            at = link.next;
        }
        None
    }
}

#[inline]
fn slot(key: u32, shift: u32) -> usize {
    // Fibonacci hashing: the upper bits of the product are well mixed. A table of one place shifts all of them out.
    key.wrapping_mul(0x9E37_79B1).checked_shr(shift).unwrap_or(0) as usize
}

/// A hash of bytes, good enough for tables that compare afterwards.
#[inline]
pub(super) fn hash(bytes: &[u8]) -> u32 {
    let mut state = bytes.len() as u64 ^ 0x51_7C_C1_B7_27_22_0A_95;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = (state.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(0x51_7C_C1_B7_27_22_0A_95);
    }
    let mut tail = [0_u8; 8];
    for (to, from) in tail.iter_mut().zip(rest) {
        *to = *from;
    }
    state = (state.rotate_left(5) ^ u64::from_le_bytes(tail)).wrapping_mul(0x51_7C_C1_B7_27_22_0A_95);
    // The upper half is the mixed one.
    (state >> 32) as u32
}

/// Equality without a call: keys are short, and most comparisons confirm an equal hash.
#[inline]
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let (words, rest) = a.as_chunks::<8>();
    let (others, other_rest) = b.as_chunks::<8>();
    words.iter().zip(others).all(|(a, b)| u64::from_le_bytes(*a) == u64::from_le_bytes(*b))
        && rest.iter().zip(other_rest).all(|(a, b)| a == b)
}

/// From text to its number, in the order of insertion.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Box<[Box<str>]>,
    table: Table,
}

impl Names {
    pub(super) fn new(names: Vec<Box<str>>) -> Self {
        let pairs: Vec<(u32, u32)> =
            names.iter().zip(0_u32..).map(|(name, index)| (hash(name.as_bytes()), index)).collect();
        Self { table: Table::new(&pairs), names: names.into_boxed_slice() }
    }

    #[inline]
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.table.find(hash(name.as_bytes()), |index| {
            self.names.get(index as usize).is_some_and(|other| same(other.as_bytes(), name.as_bytes()))
        })
    }
}

//! RFC 6962 section 2.1 hashing and the appender. The appender's whole state is its right edge: at most 53 hashes for any
//! size, so a sequencer restores it without reading the tree. It must never revise a hash that it has given out.

use seal::{Digest, sha256_parts};
use thiserror::Error;

/// Hashes in a full tile, and entries in a full bundle (tlog-tiles: tile height 8).
pub const TILE_WIDTH: u64 = 256;

/// The hash of an entry: `SHA-256(0x00 || entry)`.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Digest {
    sha256_parts(&[&[0], entry])
}

/// The hash of two subtrees: `SHA-256(0x01 || left || right)`.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    sha256_parts(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// The root of the tree without entries: the digest of nothing.
#[must_use]
pub fn empty_root() -> Digest {
    Digest::of(&[])
}

/// Where proofs read stored hashes. `hash(l, n)` is the hash of the complete subtree over entries `n * 256^l` up to
/// `(n + 1) * 256^l`: level 0 holds the leaf hashes, higher levels what [`Appended::finished`] yielded.
pub trait HashSource {
    /// The hash, where it is known.
    fn hash(&self, level: u8, index: u64) -> Option<Digest>;
}

impl HashSource for std::collections::BTreeMap<(u8, u64), Digest> {
    fn hash(&self, level: u8, index: u64) -> Option<Digest> {
        self.get(&(level, index)).copied()
    }
}

/// A hash of a tile at level 1 or above that an append completed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TileHash {
    /// The tile level, from 1.
    pub level: u8,
    /// The place within the level.
    pub index: u64,
    /// The hash of the 256 hashes below it.
    pub hash: Digest,
}

/// What an append added. All of it is final.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Appended {
    /// The index of the entry, from 0.
    pub index: u64,
    /// The entry's hash: level 0.
    pub leaf_hash: Digest,
    /// Hashes of higher levels that this entry completed: none in 255 of 256 appends.
    pub finished: Vec<TileHash>,
}

/// Why stored peaks are not the right edge of a tree.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Error)]
#[error("a tree of {size} entries has {expected} peaks, not {found}")]
pub struct FrontierError {
    size: u64,
    expected: u32,
    found: usize,
}

/// The right edge of a tree: the roots of its complete subtrees, largest first. Appends and knows the root.
// INVARIANT: one peak for each set bit of `size`, most significant first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The right edge that was stored as [`Frontier::size`] and [`Frontier::peaks`].
    ///
    /// # Errors
    /// [`FrontierError`] where the number of peaks does not fit the size.
    pub fn restore(size: u64, peaks: Vec<Digest>) -> Result<Self, FrontierError> {
        let expected = size.count_ones();
        if usize::try_from(expected) == Ok(peaks.len()) {
            Ok(Self { size, peaks })
        } else {
            Err(FrontierError { size, expected, found: peaks.len() })
        }
    }

    /// How many entries the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// Append an entry.
    pub fn append(&mut self, entry: &[u8]) -> Appended {
        self.append_hash(leaf_hash(entry))
    }

    /// Append an entry whose [`leaf_hash`] is known.
    pub fn append_hash(&mut self, leaf_hash: Digest) -> Appended {
        let index = self.size;
        let (mut hash, mut finished, mut height) = (leaf_hash, Vec::new(), 0_u8);
        // Each trailing one of the size is a complete subtree as large as what was just built: they join.
        while (index >> height) & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            height += 1;
            if height.is_multiple_of(8) {
                finished.push(TileHash { level: height / 8, index: index >> height, hash });
            }
        }
        self.peaks.push(hash);
        self.size += 1;
        Appended { index, leaf_hash, finished }
    }

    /// The root at the present size.
    #[must_use]
    pub fn root(&self) -> Digest {
        let joined = self.peaks.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
        joined.unwrap_or_else(empty_root)
    }
}

//! Inclusion and consistency proofs (RFC 6962 section 2.1.1 and 2.1.2), made from stored hashes and checked without them
//! (RFC 9162 section 2.1.3.2 and 2.1.4.2). Checking must never accept a proof with a hash too many or too few.

use crate::tile::{TileId, TileKind, perfect_root};
use crate::tree::{HashSource, TILE_WIDTH, empty_root, node_hash};
use seal::Digest;
use std::collections::BTreeSet;
use thiserror::Error;

/// Why a proof cannot be made or does not hold.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Error)]
pub enum ProofError {
    /// A stored hash is missing.
    #[error("the hash at level {level}, place {index} is missing from the store")]
    Missing {
        /// The tile level.
        level: u8,
        /// The place within the level.
        index: u64,
    },
    /// The index or size asked for lies beyond the tree.
    #[error("{asked} is beyond a tree of {size} entries")]
    Range {
        /// What was asked for.
        asked: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The proof does not lead to the root.
    #[error("the proof does not lead to the root")]
    Wrong,
}

/// The root of the tree when it had `size` entries.
///
/// # Errors
/// [`ProofError::Missing`] where the source lacks a hash; see [`tiles_needed`].
pub fn root_at(source: &impl HashSource, size: u64) -> Result<Digest, ProofError> {
    range_hash(source, 0, size)
}

/// The tiles that a proof about these entry indexes in a tree of `size` entries reads (for consistency: `old_size - 1`), so that
/// a store can load them first. Without indexes: those for the root. At most two per level and index.
#[must_use]
pub fn tiles_needed(indexes: &[u64], size: u64) -> Vec<TileId> {
    let mut tiles = BTreeSet::new();
    for level in 0..8_u8 {
        let in_level = size >> (8 * u32::from(level));
        let (full_tiles, rest) = (in_level / TILE_WIDTH, in_level % TILE_WIDTH);
        let kind = TileKind::Hashes(level);
        let edge = u16::try_from(rest).unwrap_or(0);
        if edge > 0 {
            tiles.insert(TileId { kind, number: full_tiles, width: edge });
        }
        for index in indexes {
            let number = (index >> (8 * u32::from(level))) / TILE_WIDTH;
            if number < full_tiles {
                tiles.insert(TileId { kind, number, width: 256 });
            }
        }
    }
    tiles.into_iter().collect()
}

/// The proof that entry `index` is in the tree of `size` entries: the sibling hashes, lowest first.
///
/// # Errors
/// [`ProofError`] where the index is beyond the size or the source lacks a hash.
pub fn inclusion_proof(source: &impl HashSource, index: u64, size: u64) -> Result<Vec<Digest>, ProofError> {
    if index >= size {
        return Err(ProofError::Range { asked: index, size });
    }
    let (mut low, mut high) = (0, size);
    let mut proof = Vec::new();
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            proof.push(range_hash(source, middle, high)?);
            high = middle;
        } else {
            proof.push(range_hash(source, low, middle)?);
            low = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `old` entries is a prefix of the tree of `new` entries. Empty where either is trivial.
///
/// # Errors
/// [`ProofError`] where `old` is beyond `new` or the source lacks a hash.
pub fn consistency_proof(source: &impl HashSource, old: u64, new: u64) -> Result<Vec<Digest>, ProofError> {
    if old > new {
        return Err(ProofError::Range { asked: old, size: new });
    }
    let mut proof = Vec::new();
    if old == 0 || old == new {
        return Ok(proof);
    }
    let (mut low, mut high, mut whole) = (0, new, true);
    while old < high {
        let middle = low + split(high - low);
        if old <= middle {
            proof.push(range_hash(source, middle, high)?);
            high = middle;
        } else {
            proof.push(range_hash(source, low, middle)?);
            low = middle;
            whole = false;
        }
    }
    // Where the old tree is itself a subtree of the new one, the verifier knows its hash: it is the old root.
    if !whole {
        proof.push(range_hash(source, low, high)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Check an inclusion proof.
///
/// # Errors
/// [`ProofError`] where it does not hold.
pub fn verify_inclusion(
    leaf_hash: Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: Digest,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range { asked: index, size });
    }
    let (mut place, mut last, mut hash) = (index, size - 1, leaf_hash);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Wrong);
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(sibling, &hash);
            // Levels where the right edge has no sibling are skipped.
            let skip = if place & 1 == 1 { 0 } else { place.trailing_zeros().min(63) };
            place >>= skip;
            last >>= skip;
        } else {
            hash = node_hash(&hash, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == root { Ok(()) } else { Err(ProofError::Wrong) }
}

/// Check a consistency proof: that the tree with the new root begins with all that the old one held.
///
/// # Errors
/// [`ProofError`] where it does not hold.
pub fn verify_consistency(
    old: u64,
    old_root: Digest,
    new: u64,
    new_root: Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Range { asked: old, size: new });
    }
    if old == 0 || old == new {
        let expected = if old == new { new_root } else { empty_root() };
        return if proof.is_empty() && old_root == expected { Ok(()) } else { Err(ProofError::Wrong) };
    }
    let mut path = proof.iter();
    let first = if old.is_power_of_two() { &old_root } else { path.next().ok_or(ProofError::Wrong)? };
    let complete = (old - 1).trailing_ones();
    let (mut place, mut last) = ((old - 1) >> complete, (new - 1) >> complete);
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in path {
        if last == 0 {
            return Err(ProofError::Wrong);
        }
        if place & 1 == 1 || place == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            let skip = if place & 1 == 1 { 0 } else { place.trailing_zeros().min(63) };
            place >>= skip;
            last >>= skip;
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    if last == 0 && old_hash == old_root && new_hash == new_root { Ok(()) } else { Err(ProofError::Wrong) }
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (count - 1).max(1).ilog2()
}

/// The hash over entries `low` up to `high`, as RFC 6962 splits them. `low` is a multiple of the range's largest subtree.
fn range_hash(source: &impl HashSource, low: u64, high: u64) -> Result<Digest, ProofError> {
    let (mut low, mut lefts) = (low, Vec::new());
    // Complete subtrees from the left; the loop runs once for each bit of the range.
    while low < high {
        let height = (high - low).ilog2();
        lefts.push(subtree_hash(source, height, low >> height)?);
        low += 1 << height;
    }
    let joined = lefts.into_iter().rev().reduce(|right, left| node_hash(&left, &right));
    Ok(joined.unwrap_or_else(empty_root))
}

/// The hash of the complete subtree of 2^height entries at this place, from one stored tile.
fn subtree_hash(source: &impl HashSource, height: u32, place: u64) -> Result<Digest, ProofError> {
    let level = u8::try_from(height / 8).unwrap_or(u8::MAX);
    let span = height % 8;
    let first = place << span;
    let hashes: Result<Vec<_>, _> = (first..first + (1 << span))
        .map(|index| source.hash(level, index).ok_or(ProofError::Missing { level, index }))
        .collect();
    Ok(perfect_root(hashes?))
}

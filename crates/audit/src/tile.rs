//! The C2SP tlog-tiles layout: names of tiles and bundles, and what is in them. Must never emit a tile whose hashes are not
//! final: partial ones come out only at the end.

use crate::record::ENTRY_BYTES_MAX;
use crate::tree::{TILE_WIDTH, node_hash};
use seal::Digest;

/// What a tile holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum TileKind {
    /// Entries, each preceded by its length (16 bits, big endian).
    Entries,
    /// Hashes of this level, 32 bytes each.
    Hashes(u8),
}

/// One tile or bundle of one tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct TileId {
    /// What it holds.
    pub kind: TileKind,
    /// Its number within the level, from 0.
    pub number: u64,
    /// How many items it holds, 1 to 256; 256 is a full one.
    pub width: u16,
}

impl TileId {
    /// The path below the tree's folder, for example `tile/0/x001/234` or `tile/entries/000.p/7`.
    #[must_use]
    pub fn path(&self) -> String {
        let number = number_path(self.number);
        let head = match self.kind {
            TileKind::Entries => format!("tile/entries/{number}"),
            TileKind::Hashes(level) => format!("tile/{level}/{number}"),
        };
        if u64::from(self.width) < TILE_WIDTH { format!("{head}.p/{}", self.width) } else { head }
    }
}

/// A number in path elements of three digits, all but the last with an `x`: 1234067 is `x001/x234/067`.
pub(crate) fn number_path(number: u64) -> String {
    let mut path = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

fn full(kind: TileKind, number: u64) -> TileId {
    TileId { kind, number, width: 256 }
}

fn partial(kind: TileKind, number: u64, items: usize) -> Option<TileId> {
    let width = u16::try_from(items).ok().filter(|width| *width > 0)?;
    Some(TileId { kind, number, width })
}

/// Lays leaf hashes out as tiles of all levels.
#[derive(Clone, Debug, Default)]
pub struct TileBuilder {
    rows: Vec<Row>,
}

#[derive(Clone, Debug, Default)]
struct Row {
    full_tiles: u64,
    hashes: Vec<Digest>,
}

impl TileBuilder {
    /// Add the next leaf hash. Returns the tiles that it filled.
    pub fn push(&mut self, leaf_hash: Digest) -> Vec<(TileId, Vec<u8>)> {
        let mut tiles = Vec::new();
        let mut carried = Some(leaf_hash);
        let mut level = 0_u8;
        while let Some(hash) = carried.take() {
            if self.rows.len() <= usize::from(level) {
                self.rows.push(Row::default());
            }
            let Some(row) = self.rows.get_mut(usize::from(level)) else { break };
            row.hashes.push(hash);
            if row.hashes.len() == 256 {
                tiles.push((full(TileKind::Hashes(level), row.full_tiles), tile_bytes(&row.hashes)));
                carried = Some(perfect_root(std::mem::take(&mut row.hashes)));
                row.full_tiles += 1;
            }
            level += 1;
        }
        tiles
    }

    /// The partial tiles of the right edge.
    #[must_use]
    pub fn finish(self) -> Vec<(TileId, Vec<u8>)> {
        let edge = (0_u8..).zip(&self.rows).filter_map(|(level, row)| {
            let id = partial(TileKind::Hashes(level), row.full_tiles, row.hashes.len())?;
            Some((id, tile_bytes(&row.hashes)))
        });
        edge.collect()
    }
}

fn tile_bytes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// The root over a power of two of hashes; [`crate::empty_root`] over none.
pub(crate) fn perfect_root(mut hashes: Vec<Digest>) -> Digest {
    while hashes.len() > 1 {
        let (pairs, _) = hashes.as_chunks::<2>();
        hashes = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    hashes.first().copied().unwrap_or_else(crate::empty_root)
}

/// Lays entries out as bundles.
#[derive(Clone, Debug, Default)]
pub struct BundleBuilder {
    full_bundles: u64,
    entries: usize,
    bytes: Vec<u8>,
}

impl BundleBuilder {
    /// The number of the bundle that the next entry goes into.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.full_bundles
    }

    /// Add the next entry. Returns the bundle that it filled; `None` also where the entry is longer than
    /// [`ENTRY_BYTES_MAX`] and was not added (callers bound entries first).
    pub fn push(&mut self, entry: &[u8]) -> Option<(TileId, Vec<u8>)> {
        let length = u16::try_from(entry.len()).ok()?;
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(entry);
        self.entries += 1;
        if self.entries < 256 {
            return None;
        }
        let id = full(TileKind::Entries, self.full_bundles);
        self.full_bundles += 1;
        self.entries = 0;
        Some((id, std::mem::take(&mut self.bytes)))
    }

    /// The partial bundle at the end, where there is one.
    #[must_use]
    pub fn finish(self) -> Option<(TileId, Vec<u8>)> {
        Some((partial(TileKind::Entries, self.full_bundles, self.entries)?, self.bytes))
    }
}

/// The entries of a bundle; `None` where the bytes do not divide into entries exactly.
#[must_use]
pub fn read_bundle(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    const { assert!(ENTRY_BYTES_MAX == 65_535, "an entry's length has 16 bits") };
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        bytes = rest;
    }
    Some(entries)
}

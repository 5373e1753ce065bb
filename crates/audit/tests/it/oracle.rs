//! Proofs, tiles, paths and checkpoints against `tlog_tiles`, another implementation of the same specifications.

use crate::tree::{entries, stored, tree_hash};
use audit::{
    BundleBuilder, Checkpoint, ProofError, TileBuilder, TileId, TileKind, consistency_proof, inclusion_proof,
    leaf_hash, read_bundle, root_at, tiles_needed, verify_consistency, verify_inclusion,
};
use proptest::prelude::*;
use seal::Digest;
use std::collections::BTreeMap;
use tlog_tiles::tlog;

fn theirs(digest: Digest) -> tlog::Hash {
    tlog::Hash(*digest.as_bytes())
}

fn all_theirs(proof: &[Digest]) -> Vec<tlog::Hash> {
    proof.iter().copied().map(theirs).collect()
}

fn size_of(entries: &[Vec<u8>]) -> u64 {
    u64::try_from(entries.len()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn inclusion_proofs_hold_for_both(count in 1_usize..900, place in any::<prop::sample::Index>()) {
        let entries = entries(count);
        let (frontier, hashes) = stored(&entries);
        let (size, at) = (size_of(&entries), place.index(count));
        let (index, leaf) = (u64::try_from(at).unwrap(), leaf_hash(&entries[at]));
        let proof = inclusion_proof(&hashes, index, size).unwrap();
        let root = frontier.root();
        prop_assert_eq!(verify_inclusion(leaf, index, size, &proof, root), Ok(()));
        prop_assert!(tlog::check_record(&all_theirs(&proof), size, theirs(root), index, theirs(leaf)).is_ok());
        // Nothing else holds: another place, another leaf, a hash too many, too few, or changed.
        prop_assert!(verify_inclusion(leaf_hash(b"other"), index, size, &proof, root).is_err());
        prop_assert!(size == 1 || verify_inclusion(leaf, (index + 1) % size, size, &proof, root).is_err());
        prop_assert!(verify_inclusion(leaf, index, size, &[proof.as_slice(), &[leaf]].concat(), root).is_err());
        for wrong in 0..proof.len() {
            let mut changed = proof.clone();
            changed.remove(wrong);
            prop_assert!(verify_inclusion(leaf, index, size, &changed, root).is_err());
            changed.insert(wrong, leaf_hash(b"other"));
            prop_assert!(verify_inclusion(leaf, index, size, &changed, root).is_err());
        }
    }

    #[test]
    fn consistency_proofs_hold_for_both(count in 1_usize..900, place in any::<prop::sample::Index>()) {
        let entries = entries(count);
        let (frontier, hashes) = stored(&entries);
        let at = place.index(count + 1);
        let (old, new, root) = (u64::try_from(at).unwrap(), size_of(&entries), frontier.root());
        let old_root = tree_hash(&entries[..at]);
        let proof = consistency_proof(&hashes, old, new).unwrap();
        prop_assert_eq!(verify_consistency(old, old_root, new, root, &proof), Ok(()));
        if old > 0 {
            prop_assert!(tlog::check_tree(&all_theirs(&proof), new, theirs(root), old, theirs(old_root)).is_ok());
        }
        prop_assert!(verify_consistency(old, leaf_hash(b"other"), new, root, &proof).is_err());
        prop_assert!(verify_consistency(old, old_root, new, leaf_hash(b"other"), &proof).is_err() || old == 0);
        prop_assert!(verify_consistency(old, old_root, new, root, &[proof.as_slice(), &[root]].concat()).is_err());
        for wrong in 0..proof.len() {
            let mut changed = proof.clone();
            changed.remove(wrong);
            prop_assert!(verify_consistency(old, old_root, new, root, &changed).is_err());
        }
    }

    #[test]
    fn the_tiles_that_are_named_suffice(count in 1_usize..1400, place in any::<prop::sample::Index>()) {
        let entries = entries(count);
        let (_, hashes) = stored(&entries);
        let (size, index) = (size_of(&entries), u64::try_from(place.index(count)).unwrap());
        let mut loaded = BTreeMap::new();
        for tile in tiles_needed(&[index], size) {
            let TileKind::Hashes(level) = tile.kind else { panic!("only hashes are needed") };
            for at in tile.number * 256..tile.number * 256 + u64::from(tile.width) {
                loaded.insert((level, at), hashes[&(level, at)]);
            }
        }
        prop_assert!(inclusion_proof(&loaded, index, size).is_ok());
        prop_assert!(consistency_proof(&loaded, index + 1, size).is_ok());
        prop_assert!(root_at(&loaded, size).is_ok());
    }

    #[test]
    fn paths_are_theirs(level in 0_u8..8, number in 0_u64..2_000_000_000, width in 1_u16..=256) {
        let id = TileId { kind: TileKind::Hashes(level), number, width };
        // Their path names the tile height as well: `tile/8/<level>/...`.
        let path = tlog_tiles::Tile::new(8, level, number, u32::from(width), false).path();
        prop_assert_eq!(id.path().replacen("tile/", "tile/8/", 1), path);
    }

    #[test]
    fn checkpoints_are_theirs(size in 0_u64..1 << 53, root in any::<[u8; 32]>()) {
        let ours = Checkpoint { origin: "example.com/log".to_owned(), size, root: Digest::from_bytes(root) };
        let read = tlog_tiles::Checkpoint::from_bytes(ours.to_string().as_bytes()).unwrap();
        prop_assert_eq!((read.origin(), read.size(), read.hash().0), ("example.com/log", size, root));
        prop_assert_eq!(Checkpoint::from_text(&ours.to_string()), Ok(ours));
    }
}

#[test]
fn tiles_hold_what_theirs_do() {
    // 70,000 entries: the example of tlog-tiles, section "Partial Tiles".
    let (mut builder, mut tiles) = (TileBuilder::default(), BTreeMap::new());
    for index in 0..70_000_u32 {
        tiles.extend(builder.push(leaf_hash(&index.to_be_bytes())));
    }
    tiles.extend(builder.finish());
    let count = |level, full: bool| {
        tiles.keys().filter(|id| id.kind == TileKind::Hashes(level) && (id.width == 256) == full).count()
    };
    assert_eq!([count(0, true), count(0, false), count(1, true), count(1, false), count(2, false)], [273, 1, 1, 1, 1]);
    let widths: Vec<_> = tiles.keys().filter(|id| id.width < 256).map(TileId::path).collect();
    assert_eq!(widths, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
    for (id, bytes) in tiles.iter().filter(|(id, _)| id.width == 256) {
        let TileKind::Hashes(level) = id.kind else { panic!("only hashes") };
        let above = TileId { kind: TileKind::Hashes(level + 1), number: id.number / 256, width: 256 };
        let above = tiles.range(..=above).next_back().unwrap();
        let at = usize::try_from(id.number % 256).unwrap() * 32;
        assert_eq!(above.1[at..at + 32], tlog_tiles::Tile::subtree_hash(bytes).0, "{}", id.path());
    }
}

#[test]
fn bundles_divide_into_the_entries_they_were_made_of() {
    let entries = entries(300);
    let mut builder = BundleBuilder::default();
    let mut bundles: Vec<_> = entries.iter().filter_map(|entry| builder.push(entry)).collect();
    bundles.extend(builder.finish());
    let paths: Vec<_> = bundles.iter().map(|(id, _)| id.path()).collect();
    assert_eq!(paths, ["tile/entries/000", "tile/entries/001.p/44"]);
    let read: Vec<_> = bundles.iter().flat_map(|(_, bytes)| read_bundle(bytes).unwrap()).collect();
    assert_eq!(read, entries);
    let whole = &bundles[1].1;
    assert!(read_bundle(&whole[..whole.len() - 1]).is_none());
    assert!(read_bundle(&[0]).is_none());
    assert_eq!(read_bundle(&[]), Some(Vec::new()));
}

#[test]
fn out_of_range_is_said_and_missing_hashes_are_named() {
    let (_, mut hashes) = stored(&entries(300));
    assert_eq!(inclusion_proof(&hashes, 300, 300), Err(ProofError::Range { asked: 300, size: 300 }));
    assert_eq!(consistency_proof(&hashes, 301, 300), Err(ProofError::Range { asked: 301, size: 300 }));
    hashes.remove(&(1, 0));
    assert_eq!(inclusion_proof(&hashes, 299, 300), Err(ProofError::Missing { level: 1, index: 0 }));
}

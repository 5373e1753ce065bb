//! Hashing and appending, against the vectors of RFC 6962's reference implementation and a definition written from the RFC.

use audit::{Frontier, HashSource, TILE_WIDTH, empty_root, leaf_hash, node_hash, root_at};
use proptest::prelude::*;
use seal::Digest;
use std::collections::BTreeMap;

/// RFC 6962 section 2.1, word for word.
pub(crate) fn tree_hash(entries: &[Vec<u8>]) -> Digest {
    match entries {
        [] => empty_root(),
        [entry] => leaf_hash(entry),
        _ => {
            let mut middle = 1;
            while middle * 2 < entries.len() {
                middle *= 2;
            }
            let (left, right) = entries.split_at(middle);
            node_hash(&tree_hash(left), &tree_hash(right))
        }
    }
}

/// What a store keeps of the tree: leaf hashes and finished tile hashes.
pub(crate) fn stored(entries: &[Vec<u8>]) -> (Frontier, BTreeMap<(u8, u64), Digest>) {
    let (mut frontier, mut hashes) = (Frontier::new(), BTreeMap::new());
    for entry in entries {
        let appended = frontier.append(entry);
        hashes.insert((0, appended.index), appended.leaf_hash);
        hashes.extend(appended.finished.iter().map(|tile| ((tile.level, tile.index), tile.hash)));
    }
    (frontier, hashes)
}

pub(crate) fn entries(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|index| format!("entry {index}").into_bytes()).collect()
}

/// The eight entries and roots of the Certificate Transparency reference tests (`merkletree` of the CT project).
#[test]
fn the_roots_of_the_reference_tests() {
    let inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root().to_hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (input, root) in inputs.iter().zip(roots) {
        let entry: Vec<u8> = (0..input.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(input.get(at..at + 2).unwrap(), 16).unwrap())
            .collect();
        frontier.append(&entry);
        assert_eq!(frontier.root().to_hex(), root);
    }
}

#[test]
fn a_restored_right_edge_goes_on_as_before() {
    let entries = entries(777);
    let (mut whole, hashes) = stored(&entries);
    let (mut part, _) = stored(entries.get(..300).unwrap());
    part = Frontier::restore(part.size(), part.peaks().to_vec()).unwrap();
    let rest: Vec<_> = entries.iter().skip(300).map(|entry| part.append(entry)).collect();
    assert_eq!(part, whole);
    assert_eq!(rest.iter().map(|appended| appended.finished.len()).sum::<usize>(), 2, "tiles of 512 and 768 entries");
    assert_eq!(root_at(&hashes, 777).unwrap(), whole.root());
    assert!(Frontier::restore(3, vec![empty_root()]).is_err());
    assert_eq!(whole.append(b"x").index, 777);
}

#[test]
fn finished_tile_hashes_appear_when_a_tile_is_full() {
    let count = usize::try_from(TILE_WIDTH).unwrap();
    let (frontier, hashes) = stored(&entries(count));
    assert_eq!(hashes.hash(1, 0), Some(frontier.root()));
    assert_eq!(hashes.hash(1, 1), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_root_is_that_of_the_definition(count in 0_usize..700) {
        let entries = entries(count);
        let (frontier, hashes) = stored(&entries);
        prop_assert_eq!(frontier.root(), tree_hash(&entries));
        let earlier = count / 3;
        let expected = tree_hash(entries.get(..earlier).unwrap());
        prop_assert_eq!(root_at(&hashes, u64::try_from(earlier).unwrap()).unwrap(), expected);
    }
}

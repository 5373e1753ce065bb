//! Seeded changes to an export or a pack: what an attacker may try, and how far he goes to cover it. Used by the test of the
//! verifier, and by the example that writes folders for the verifier in another language.

use crate::fixture::{FileMap, LOG, Log, tenant};
use audit::{EvidenceAsk, EvidenceFilter, Manifest, ManifestFile, NoteSigner, read_bundle};
use ids::{Entropy, Owner, Text};
use seal::{Digest, SeededEntropy, canonical_json};

/// How far the attacker goes to cover the change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cover {
    /// Not at all.
    None,
    /// Lists the changed files in the manifest.
    Manifest,
    /// And has the manifest signed by the log's own key.
    Signed,
}

pub(crate) struct Dice(pub(crate) SeededEntropy);

impl Dice {
    /// A number below `bound`.
    pub(crate) fn below(&self, bound: usize) -> usize {
        let mut bytes = [0_u8; 8];
        self.0.fill(&mut bytes);
        usize::try_from(u64::from_be_bytes(bytes) % u64::try_from(bound).unwrap()).unwrap()
    }

    pub(crate) fn pick<'a, T>(&self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

pub(crate) struct Folders {
    pub(crate) log: Log,
    pub(crate) newest: FileMap,
    pub(crate) older: FileMap,
    pub(crate) since: Vec<String>,
}

impl Folders {
    /// A log as it is and as it was, as plain exports or as packs.
    pub(crate) fn new(entries: usize, ask: Option<&EvidenceAsk>) -> Self {
        let acme = Owner::Tenant(tenant("acme"));
        let mut log = Log::sample(1, 3, &[("acme", entries), ("globex", 5)]);
        let older = log.pack(ask);
        log.grow(acme, 7);
        log.grow(Owner::Tenant(tenant("globex")), 5);
        log.answer(acme);
        log.erase(acme, 1);
        log.commit();
        let since = log.trees.keys().map(|owner| log.checkpoint(*owner)).collect();
        Self { newest: log.pack(ask), older, since, log }
    }
}

/// What an auditor asks: everything consequential, a few drawn.
pub(crate) fn ask(seed: &str, sample: u32) -> EvidenceAsk {
    let filter = EvidenceFilter { consequential: true, ..EvidenceFilter::default() };
    EvidenceAsk { filter, seed: Text::new(seed).unwrap(), sample }
}

/// Files under the manifest, by whether a test of their path holds.
fn paths(files: &FileMap, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    files.keys().filter(|path| !path.starts_with("manifest") && wanted(path)).cloned().collect()
}

fn is_bundle(path: &str) -> bool {
    path.contains("/tile/entries/")
}

/// Reorder, drop or repeat entries of one bundle.
fn shuffle_bundle(dice: &Dice, files: &mut FileMap) {
    let bundles = paths(files, is_bundle);
    let bytes = files.get_mut(dice.pick(&bundles)).unwrap();
    let mut entries: Vec<Vec<u8>> = read_bundle(bytes).unwrap().into_iter().map(<[u8]>::to_vec).collect();
    let first = dice.below(entries.len() - 1);
    let second = first + 1 + dice.below(entries.len() - first - 1);
    match dice.below(3) {
        0 => entries.swap(first, second),
        1 => drop(entries.remove(first)),
        _ => entries[second] = entries[first].clone(),
    }
    *bytes = entries
        .iter()
        .flat_map(|entry| [&u16::try_from(entry.len()).unwrap().to_be_bytes(), entry.as_slice()].concat())
        .collect();
}

/// Make one change. Returns what it was, and whether even a signed manifest must not cover it.
pub(crate) fn mutate(dice: &Dice, folders: &Folders, files: &mut FileMap) -> (String, bool) {
    let any: Vec<String> = files.keys().cloned().collect();
    // The manifest's own bytes are the manifest's to cover, and a payload may leave (it expires): not in a signed one.
    let in_tree = |path: &str| {
        let evidence = path.starts_with("evidence/") || path.contains("/population/");
        path.contains("/tile/") || path.ends_with("/checkpoint") || evidence
    };
    match dice.below(10) {
        0..=2 => {
            let path = dice.pick(&any).clone();
            let bytes = files.get_mut(&path).unwrap();
            let place = dice.below(bytes.len());
            bytes[place] ^= u8::try_from(1 + dice.below(255)).unwrap();
            (format!("byte {place} of {path}"), !path.starts_with("manifest"))
        }
        3 => {
            let path = dice.pick(&any).clone();
            files.remove(&path);
            (format!("{path} deleted"), in_tree(&path))
        }
        4 => {
            shuffle_bundle(dice, files);
            ("entries reordered, dropped or repeated".to_owned(), true)
        }
        5 => {
            let path = dice.pick(&any).clone();
            let bytes = files.get_mut(&path).unwrap();
            bytes.truncate(dice.below(bytes.len()));
            let kept = bytes.len();
            (format!("{path} cut to {kept}"), in_tree(&path))
        }
        6 => {
            let (left, right) = (dice.pick(&any).clone(), dice.pick(&any).clone());
            let (one, other) = (files[&left].clone(), files[&right].clone());
            if one == other {
                return mutate(dice, folders, files);
            }
            files.insert(left.clone(), other);
            files.insert(right.clone(), one);
            (format!("{left} and {right} swapped"), in_tree(&left) || in_tree(&right))
        }
        7 => {
            let path = dice.pick(&[
                "extra",
                "provider/payloads/x001/000.jsonl",
                "tenants/x/checkpoint",
                "provider/tile/7/000",
            ]);
            files.insert((*path).to_owned(), b"extra".to_vec());
            (format!("{path} added"), true)
        }
        8 => {
            let path = dice.pick(&any).clone();
            let bytes = files.remove(&path).unwrap();
            files.insert(format!("{path}.old"), bytes);
            (format!("{path} renamed"), in_tree(&path))
        }
        _ => {
            let owner = *dice.pick(&folders.log.trees.keys().copied().collect::<Vec<_>>());
            let prefix = if owner == Owner::Provider { "provider/".to_owned() } else { format!("tenants/{owner}/") };
            files.retain(|path, _| !path.starts_with(&prefix));
            let old = folders.older.iter().filter(|(path, _)| path.starts_with(&prefix));
            files.extend(old.map(|(path, bytes)| (path.clone(), bytes.clone())));
            (format!("{prefix} rolled back"), true)
        }
    }
}

/// List the files as they are now; sign the list where `signer` is given.
pub(crate) fn cover(files: &mut FileMap, signer: Option<&NoteSigner>) {
    let Some(mut manifest) =
        files.get("manifest.json").and_then(|bytes| serde_json::from_slice::<Manifest>(bytes).ok())
    else {
        return;
    };
    let listed = files.iter().filter(|(path, _)| !path.starts_with("manifest"));
    manifest.files = listed
        .map(|(path, bytes)| ManifestFile { path: path.clone(), bytes: bytes.len() as u64, sha256: Digest::of(bytes) })
        .collect();
    let bytes = canonical_json(&serde_json::to_value(&manifest).unwrap()).unwrap();
    if let Some(signer) = signer {
        let note = signer.sign(&format!("{LOG}/export\n{}\n", Digest::of(&bytes))).unwrap();
        files.insert("manifest.note".to_owned(), note.into_bytes());
    }
    files.insert("manifest.json".to_owned(), bytes);
}

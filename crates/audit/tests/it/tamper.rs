//! Tampering: seeded changes to an export, each of which the verifier must notice. Each is made as it
//! is, or by someone who also corrects the manifest, or by someone who even has the manifest signed (so that the trees must tell).
//! `POSSE_TAMPER_MUTATIONS` sets how many; 200 by default, 1,000 in acceptance.

use crate::fixture::{FileMap, LOG, Log, signer, tenant};
use audit::{Manifest, ManifestFile, NoteSigner, Verdict, VerifyOptions, read_bundle, verify};
use ids::{Entropy, Owner};
use seal::{Digest, SeededEntropy, canonical_json};
use std::collections::BTreeMap;

/// How far the attacker goes to cover the change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cover {
    /// Not at all.
    None,
    /// Lists the changed files in the manifest.
    Manifest,
    /// And has the manifest signed by the log's own key.
    Signed,
}

struct Dice(SeededEntropy);

impl Dice {
    /// A number below `bound`.
    fn below(&self, bound: usize) -> usize {
        let mut bytes = [0_u8; 8];
        self.0.fill(&mut bytes);
        usize::try_from(u64::from_be_bytes(bytes) % u64::try_from(bound).unwrap()).unwrap()
    }

    fn pick<'a, T>(&self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

struct Folders {
    log: Log,
    newest: FileMap,
    older: FileMap,
    since: Vec<String>,
}

impl Folders {
    fn new(entries: usize) -> Self {
        let mut log = Log::sample(1, 3, &[("acme", entries), ("globex", 5)]);
        let older = log.export();
        log.grow(Owner::Tenant(tenant("acme")), 7);
        log.grow(Owner::Tenant(tenant("globex")), 5);
        log.commit();
        let since = log.trees.keys().map(|owner| log.checkpoint(*owner)).collect();
        Self { newest: log.export(), older, since, log }
    }
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
fn mutate(dice: &Dice, folders: &Folders, files: &mut FileMap) -> (String, bool) {
    let any: Vec<String> = files.keys().cloned().collect();
    // The manifest's own bytes are the manifest's to cover, and a payload may leave (it expires): not in a signed one.
    let in_tree = |path: &str| path.contains("/tile/") || path.ends_with("/checkpoint");
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
fn cover(files: &mut FileMap, signer: Option<&NoteSigner>) {
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

fn mutations() -> usize {
    std::env::var("POSSE_TAMPER_MUTATIONS").map_or(200, |count| count.parse().unwrap())
}

#[test]
fn every_change_is_noticed() {
    // One change in eight to a log that fills a bundle: in a debug build that one takes most of the time.
    let sizes = [Folders::new(12), Folders::new(270)];
    let with_key = VerifyOptions { keys: vec![sizes[0].log.key()], since: Vec::new() };
    for folders in &sizes {
        assert_eq!(verify(&folders.newest, &with_key).verdict, Verdict::Valid, "before any change");
    }
    let mut tried = BTreeMap::new();
    for seed in 0..mutations() {
        let dice = Dice(SeededEntropy::new(u64::try_from(seed).unwrap()));
        let folders = &sizes[usize::from(seed % 8 == 7)];
        let mut files = folders.newest.clone();
        let (what, deep) = mutate(&dice, folders, &mut files);
        let mut covers = vec![Cover::None, Cover::Manifest];
        covers.extend(deep.then_some(Cover::Signed));
        let covering = *dice.pick(&covers);
        match covering {
            Cover::None => {}
            Cover::Manifest => cover(&mut files, None),
            Cover::Signed => cover(&mut files, Some(&folders.log.signer)),
        }
        if files == folders.newest {
            // The cover undid the change: the manifest itself was what was changed.
            continue;
        }
        let report = verify(&files, &with_key);
        assert_eq!(report.verdict, Verdict::Invalid, "{seed}: {what}, {covering:?}");
        assert!(report.faults.iter().all(|fault| !fault.why.is_empty()));
        let report = verify(&files, &VerifyOptions::default());
        assert_eq!(report.verdict, Verdict::Invalid, "{seed}, without a key: {what}, {covering:?}");
        *tried.entry(format!("{covering:?}")).or_insert(0) += 1;
    }
    assert!(mutations() < 50 || tried.len() == 3, "each cover was tried: {tried:?}");
}

#[test]
fn a_whole_older_export_is_noticed_by_an_older_checkpoint() {
    let folders = Folders::new(12);
    let keys = vec![folders.log.key()];
    assert_eq!(
        verify(&folders.older, &VerifyOptions { keys: keys.clone(), since: Vec::new() }).verdict,
        Verdict::Valid
    );
    for since in &folders.since {
        for keys in [keys.clone(), Vec::new()] {
            let report = verify(&folders.older, &VerifyOptions { keys, since: vec![since.clone()] });
            assert_eq!(report.verdict, Verdict::Invalid);
        }
    }
    let options = VerifyOptions { keys, since: folders.since.clone() };
    assert_eq!(verify(&folders.newest, &options).verdict, Verdict::Valid);
}

#[test]
fn a_log_rewritten_under_another_key_is_noticed_by_the_key() {
    let folders = Folders::new(12);
    let options = VerifyOptions { keys: vec![folders.log.key()], since: Vec::new() };
    for seed in 2..6 {
        let mut forged = folders.log.clone();
        forged.signer = signer(seed);
        let acme = Owner::Tenant(tenant("acme"));
        forged.trees.get_mut(&acme).unwrap().truncate(5);
        forged.trees.insert(Owner::Provider, Vec::new());
        forged.commit();
        let files = forged.export();
        assert_eq!(verify(&files, &VerifyOptions::default()).verdict, Verdict::Unauthenticated, "it is consistent");
        assert_eq!(verify(&files, &options).verdict, Verdict::Invalid);
        // Also where it names the true key but cannot sign with it.
        let mut manifest: Manifest = serde_json::from_slice(&files["manifest.json"]).unwrap();
        manifest.key = folders.log.key().to_string();
        let mut named = files;
        named.insert("manifest.json".to_owned(), canonical_json(&serde_json::to_value(&manifest).unwrap()).unwrap());
        cover(&mut named, Some(&forged.signer));
        assert_eq!(verify(&named, &options).verdict, Verdict::Invalid);
        assert_eq!(verify(&named, &VerifyOptions::default()).verdict, Verdict::Invalid);
    }
}

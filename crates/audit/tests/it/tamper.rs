//! Tampering: seeded changes to an export, each of which the verifier must notice. Each is made as it
//! is, or by someone who also corrects the manifest, or by someone who even has the manifest signed (so that the trees must tell).
//! `POSSE_TAMPER_MUTATIONS` sets how many; 200 by default, 1,000 in acceptance.

use crate::fixture::{signer, tenant};
use crate::mutation::{Cover, Dice, Folders, ask, cover, mutate};
use audit::{Manifest, Verdict, VerifyOptions, verify};
use ids::Owner;
use seal::{SeededEntropy, canonical_json};
use std::collections::BTreeMap;

fn mutations() -> usize {
    std::env::var("POSSE_TAMPER_MUTATIONS").map_or(200, |count| count.parse().unwrap())
}

#[test]
fn every_change_is_noticed() {
    // One change in eight to a log that fills a bundle: in a debug build that one takes most of the time.
    let sizes = [Folders::new(12, None), Folders::new(270, None), Folders::new(12, Some(&ask("4 2 6", 4)))];
    let with_key = VerifyOptions::under(vec![sizes[0].log.key()]);
    for folders in &sizes {
        assert_eq!(verify(&folders.newest, &with_key).verdict, Verdict::Valid, "before any change");
    }
    let mut tried = BTreeMap::new();
    for seed in 0..mutations() {
        let dice = Dice(SeededEntropy::new(u64::try_from(seed).unwrap()));
        // Every second one an evidence pack.
        let folders = &sizes[if seed % 8 == 7 { 1 } else { (seed % 2) * 2 }];
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
    let folders = Folders::new(12, None);
    let keys = vec![folders.log.key()];
    assert_eq!(verify(&folders.older, &VerifyOptions::under(keys.clone())).verdict, Verdict::Valid);
    for since in &folders.since {
        for keys in [keys.clone(), Vec::new()] {
            let report =
                verify(&folders.older, &VerifyOptions { keys, since: vec![since.clone()], ..VerifyOptions::default() });
            assert_eq!(report.verdict, Verdict::Invalid);
        }
    }
    let options = VerifyOptions { keys, since: folders.since.clone(), ..VerifyOptions::default() };
    assert_eq!(verify(&folders.newest, &options).verdict, Verdict::Valid);
}

#[test]
fn a_log_rewritten_under_another_key_is_noticed_by_the_key() {
    let folders = Folders::new(12, None);
    let options = VerifyOptions::under(vec![folders.log.key()]);
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

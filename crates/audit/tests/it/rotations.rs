//! A log whose key was changed: the old key leads to the new one and back, and nothing else does.

use crate::fixture::{FileMap, LOG, Log, time};
use audit::{
    ExportBuilder, FormatVersion, KeyRotation, Leaf, NoteSigner, NoteVerifier, Verdict, VerifyOptions, verify,
};
use ids::Owner;
use seal::{SeededEntropy, SigningKey};

fn key(seed: u64) -> NoteSigner {
    NoteSigner::new(LOG, SigningKey::generate(&SeededEntropy::new(seed))).unwrap()
}

/// A provider's log whose key was changed: entries before and after the change, and the export under `signer`.
fn export(log: &mut Log, keys: &[&NoteSigner], forget: bool) -> FileMap {
    let mut notes = Vec::new();
    for pair in keys.windows(2) {
        let rotation = KeyRotation::sign(pair[0], pair[1], time(9)).unwrap();
        notes.push(rotation.rotation.clone());
        log.push(Owner::Provider, Leaf::Rotation(rotation).encode().unwrap());
    }
    log.grow(Owner::Provider, 3);
    let last = keys[keys.len() - 1];
    let mut builder = ExportBuilder::new(last, time(10)).unwrap();
    if !forget {
        builder = builder.rotated(notes).unwrap();
    }
    let mut files = Vec::new();
    let mut tree = builder.tree(Owner::Provider).unwrap();
    for (entry, payload) in log.entries(Owner::Provider) {
        files.extend(tree.push(entry, payload.as_ref()).unwrap());
    }
    let head = log.frontier(Owner::Provider);
    let origin = audit::LogName::new(LOG).unwrap().origin(Owner::Provider);
    // Signed before the change where the log has not grown since: an earlier key of the chain.
    let by = if forget { last } else { keys[0] };
    let note = audit::Checkpoint { origin, size: head.size(), root: head.root() }.sign(by).unwrap();
    files.extend(tree.finish(&note).unwrap());
    files.extend(builder.finish().unwrap());
    files.into_iter().map(|file| (file.path, file.bytes)).collect()
}

fn judged(files: &FileMap, keys: &[NoteVerifier]) -> Verdict {
    verify(files, &VerifyOptions::under(keys.to_vec())).verdict
}

#[test]
fn either_end_of_the_chain_leads_to_the_other() {
    let (one, two, three, foreign) = (key(1), key(2), key(3), key(4));
    let mut log = Log::provider(5);
    let files = export(&mut log, &[&one, &two, &three], false);
    for trusted in [&one, &two, &three] {
        assert_eq!(judged(&files, &[trusted.verifier().clone()]), Verdict::Valid);
    }
    assert_eq!(judged(&files, &[]), Verdict::Unauthenticated);
    assert_eq!(judged(&files, &[foreign.verifier().clone()]), Verdict::Invalid);
}

#[test]
fn a_rotation_that_the_log_holds_cannot_be_left_out() {
    let (one, two) = (key(1), key(2));
    let mut log = Log::provider(5);
    let files = export(&mut log, &[&one, &two], true);
    assert_eq!(judged(&files, &[two.verifier().clone()]), Verdict::Invalid);
    assert_eq!(judged(&files, &[one.verifier().clone()]), Verdict::Invalid);
}

#[test]
fn one_signature_is_no_rotation() {
    let (old, new, thief) = (key(1), key(2), key(3));
    let log = audit::LogName::new(LOG).unwrap();
    let text = format!("{LOG}/key-rotation\n{}\n{}\n", old.verifier(), new.verifier());
    for note in [
        old.sign(&text).unwrap(),
        new.sign(&text).unwrap(),
        old.sign_with(&text, &thief).unwrap(),
        new.sign_with(&text, &thief).unwrap(),
    ] {
        assert!(KeyRotation::keys(&note, &log).is_err(), "{note}");
    }
    let whole = KeyRotation::sign(&old, &new, time(1)).unwrap();
    assert_eq!(KeyRotation::keys(&whole.rotation, &log), Ok((old.verifier().clone(), new.verifier().clone())));
    let entry = Leaf::Rotation(whole.clone()).encode().unwrap();
    assert_eq!(Leaf::decode(&entry), Ok(Leaf::Rotation(whole)));
    let _ = FormatVersion;
}

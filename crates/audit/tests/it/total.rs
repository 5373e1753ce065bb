//! Every reader of outside bytes ends with a value or an error, and what it accepts it writes back the same.

use crate::fixture::{FileMap, record, signer};
use audit::{Checkpoint, Leaf, Note, NoteVerifier, Payload, VerifyOptions, read_bundle, verify};
use proptest::prelude::*;

/// Bytes from nowhere, or one of the real ones with a few bytes changed.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let (record, payload) = record(ids::Owner::Provider, 3);
    let real = [
        Leaf::Call(Box::new(record)).encode().unwrap(),
        payload.encode().unwrap(),
        signer(1).sign("origin\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n").unwrap().into_bytes(),
        signer(1).verifier().to_string().into_bytes(),
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let changed = (prop::sample::select(real.to_vec()), changes).prop_map(|(mut bytes, changes)| {
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes
    });
    prop_oneof![prop::collection::vec(any::<u8>(), 0..200), changed]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn readers_are_total_and_exact(bytes in bytes()) {
        if let Ok(leaf) = Leaf::decode(&bytes) {
            prop_assert_eq!(leaf.encode().unwrap(), bytes.clone());
        }
        if let Ok(payload) = Payload::decode(&bytes) {
            prop_assert_eq!(payload.encode().unwrap(), bytes.clone());
        }
        if let Some(entries) = read_bundle(&bytes) {
            prop_assert_eq!(entries.iter().map(|entry| entry.len() + 2).sum::<usize>(), bytes.len());
        }
        if let Ok(text) = std::str::from_utf8(&bytes) {
            if let Ok(note) = Note::parse(text) {
                prop_assert_eq!(note.to_string(), text);
            }
            if let Ok(key) = NoteVerifier::parse(text) {
                prop_assert_eq!(key.to_string(), text);
            }
            if let Ok(head) = Checkpoint::from_text(text) {
                prop_assert_eq!(head.to_string(), text);
            }
        }
        let paths = ["manifest.json", "manifest.note", "provider/checkpoint"];
        let files: FileMap = paths.iter().map(|path| ((*path).to_owned(), bytes.clone())).collect();
        prop_assert_eq!(verify(&files, &VerifyOptions::default()).verdict, audit::Verdict::Invalid);
    }
}

//! Signed notes and checkpoints: the specification's own example, and what is refused.

use crate::fixture::{LOG, signer};
use audit::{Checkpoint, CheckpointError, LogName, Note, NoteError, NoteVerifier};
use seal::{Digest, SeededEntropy, SigningKey};

/// The example of Go's `golang.org/x/mod/sumdb/note`, whose format signed-note specifies.
const PETER_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

#[test]
fn the_note_of_the_go_implementation_opens() {
    let key = NoteVerifier::parse(PETER_KEY).unwrap();
    assert_eq!(key.to_string(), PETER_KEY);
    let note = Note::parse(PETER_NOTE).unwrap();
    assert!(note.open(std::slice::from_ref(&key)).unwrap().starts_with("If you think"));
    assert_eq!(note.to_string(), PETER_NOTE);
    assert_eq!(note.open(&[]), Err(NoteError::Unsigned));
    let changed = PETER_NOTE.replacen("cryptography", "cryptographz", 1);
    assert_eq!(Note::parse(&changed).unwrap().open(&[key]), Err(NoteError::Signature));
}

#[test]
fn keys_in_another_spelling_are_refused() {
    for wrong in ["", "x", "a+b+c", &PETER_KEY.replace("c74f20a3", "c74f20a4"), &PETER_KEY.replace("ARpc", "AhpC")] {
        assert_eq!(NoteVerifier::parse(wrong), Err(NoteError::Key), "{wrong}");
    }
}

#[test]
fn signatures_of_unknown_keys_are_ignored_and_wrong_ones_of_known_keys_are_not() {
    let (own, witness) = (signer(1), signer(2));
    let text = "origin\n1\nAAAA\n";
    let both =
        own.sign(text).unwrap() + witness.sign(text).unwrap().strip_prefix(text).unwrap().trim_start_matches('\n');
    let note = Note::parse(&both).unwrap();
    assert_eq!(note.signature_count(), 2);
    assert_eq!(note.open(&[own.verifier().clone()]), Ok(text));
    assert_eq!(note.open(&[signer(3).verifier().clone()]), Err(NoteError::Unsigned));
    assert_eq!(own.sign("no newline"), Err(NoteError::Format));
    assert_eq!(own.sign("bell\u{7}\n"), Err(NoteError::Format));
}

#[test]
fn notes_in_another_spelling_are_refused() {
    let note = signer(1).sign("text\n").unwrap();
    let trailing = format!("{note}\n");
    let windows = note.replace('\n', "\r\n");
    let cut = note.strip_suffix('\n').unwrap();
    for wrong in
        ["", "\n\n", "text\n", cut, &trailing, &windows, &note.replace('\u{2014}', "-"), &note.replace('=', "")]
    {
        assert_eq!(Note::parse(wrong), Err(NoteError::Format), "{wrong:?}");
    }
}

#[test]
fn a_checkpoint_names_its_tree() {
    let key = SigningKey::generate(&SeededEntropy::new(9));
    assert!(NoteVerifier::new("with space", key.verifying_key()).is_err());
    assert!(LogName::new("a+b").is_err());
    let name = LogName::new(LOG).unwrap();
    assert_eq!(name.origin(ids::Owner::Provider), "posse.example.com/audit/provider");
    let head = Checkpoint { origin: name.origin(ids::Owner::Provider), size: 7, root: Digest::of(b"root") };
    let note = head.sign(&signer(1)).unwrap();
    assert_eq!(Checkpoint::open(&note, &[signer(1).verifier().clone()]), Ok(head));
    assert!(matches!(Checkpoint::open(&note, &[signer(2).verifier().clone()]), Err(CheckpointError::Note(_))));
    for wrong in [
        "",
        "a\n1\n",
        "a\n01\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        "a\n1\nAAAA\n",
        "a\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\nextension\n",
        "\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
    ] {
        assert_eq!(Checkpoint::from_text(wrong), Err(CheckpointError::Format), "{wrong:?}");
    }
}

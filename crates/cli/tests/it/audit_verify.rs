//! `posse audit verify` on the export in spec/audit: its four ends, on a real file system.

use crate::Line;
use cli::Exit;
use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../spec/audit")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            std::fs::copy(entry.path(), target).map(|_| ()).unwrap()
        }
    }
}

fn verify(arguments: &[&Path]) -> (Exit, String, String) {
    let words = arguments.iter().map(|path| path.to_str().unwrap());
    let words: Vec<&str> = ["audit", "verify"].into_iter().chain(words).collect();
    let ran = Line::default().terminal().run(&words);
    (ran.exit, ran.output, ran.errors)
}

#[test]
fn all_holds_only_under_the_key() {
    let (folder, key) = (corpus().join("v1"), corpus().join("v1.key"));
    let (exit, output, _) = verify(&[&folder, Path::new("--key"), &key]);
    assert_eq!((exit, exit.code()), (Exit::Done, 0), "{output}");
    let (exit, output, _) = verify(&[&folder]);
    assert_eq!((exit, exit.code()), (Exit::Unauthenticated, 3), "{output}");
    assert!(output.contains("NOT authenticated"), "{output}");
}

#[test]
fn the_key_may_also_be_what_json_output_gave() {
    let brought = tempfile::tempdir().unwrap();
    let key = std::fs::read_to_string(corpus().join("v1.key")).unwrap();
    let file = brought.path().join("key.json");
    std::fs::write(&file, serde_json::json!({ "verifier_key": key.trim() }).to_string()).unwrap();
    let (folder, since) = (corpus().join("v1"), corpus().join("v1/provider/checkpoint"));
    let (exit, output, errors) = verify(&[&folder, Path::new("--key"), &file, Path::new("--since"), &since]);
    assert_eq!(exit, Exit::Done, "{output}{errors}");
}

#[test]
fn what_was_touched_is_noticed() {
    let key = corpus().join("v1.key");
    let first_entry = |folder: &Path| folder.join("provider/checkpoint");
    type Touch = fn(&Path, &Path);
    let touches: [(&str, Touch); 5] = [
        ("a byte", |folder, checkpoint| {
            let mut bytes = std::fs::read(checkpoint).unwrap();
            bytes[3] ^= 1;
            std::fs::write(folder.join("provider/checkpoint"), bytes).unwrap();
        }),
        ("a file less", |_, checkpoint| std::fs::remove_file(checkpoint).unwrap()),
        ("a file more", |folder, _| std::fs::write(folder.join("more"), "x").unwrap()),
        ("a link", |folder, checkpoint| std::os::unix::fs::symlink(checkpoint, folder.join("link")).unwrap()),
        ("nothing there", |folder, _| std::fs::remove_dir_all(folder).unwrap()),
    ];
    for (name, touch) in touches {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("log");
        copy(&corpus().join("v1"), &folder);
        touch(&folder, &first_entry(&folder));
        let (exit, output, _) = verify(&[&folder, Path::new("--key"), &key]);
        assert_eq!((exit, exit.code()), (Exit::Failed, 1), "{name}: {output}");
    }
}

#[test]
fn a_key_that_cannot_be_used_is_not_a_key_left_out() {
    let place = tempfile::tempdir().unwrap();
    let (empty, nonsense) = (place.path().join("empty"), place.path().join("nonsense"));
    std::fs::write(&empty, "\n").unwrap();
    std::fs::write(&nonsense, "not a key\n").unwrap();
    for key in [&empty, &nonsense, &place.path().join("absent")] {
        let (exit, output, _) = verify(&[&corpus().join("v1"), Path::new("--key"), key]);
        assert_eq!(exit, Exit::Failed, "{output}");
    }
    assert_eq!(verify(&[]).0, Exit::Usage);
}

#[test]
fn what_an_anchor_kept_is_held_against_the_log() {
    let place = tempfile::tempdir().unwrap();
    let (folder, key) = (corpus().join("v1"), corpus().join("v1.key"));
    let note = std::fs::read_to_string(folder.join("provider/checkpoint")).unwrap();
    let line = |note: &str| {
        let line = serde_json::json!({
            "checkpoints": [note], "log": "posse.example.com/audit", "time": "2026-11-22T00:00:00Z", "v": 1
        });
        format!("{line}\n")
    };
    // One that was signed and is not this log's: its size says more than the log has.
    let longer = note.replacen("\n4\n", "\n5\n", 1);
    assert_ne!(longer, note);
    for (name, text, wanted) in [
        ("the log's own", format!("{0}{0}", line(&note)), Exit::Done),
        ("a note that nobody signed", line(&longer), Exit::Failed),
        ("no line", "\n".to_owned(), Exit::Failed),
        ("not an anchor's", "{\"checkpoints\":[]}\n".to_owned(), Exit::Failed),
    ] {
        let anchor = place.path().join("anchor.jsonl");
        std::fs::write(&anchor, text).unwrap();
        let (exit, output, errors) = verify(&[&folder, Path::new("--key"), &key, Path::new("--anchor"), &anchor]);
        assert_eq!(exit, wanted, "{name}: {output}{errors}");
    }
}

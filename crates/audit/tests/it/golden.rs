//! The format on disk, byte for byte: `spec/audit/v1` is an export that every later version must still call valid, and that this
//! version must still write. `POSSE_BLESS=1` writes it anew; a change of it is a change of the format.

use crate::fixture::{FileMap, Log};
use audit::{NoteVerifier, Verdict, VerifyOptions, verify};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../spec/audit")
}

fn read_all(root: &Path, below: &Path, files: &mut FileMap) {
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

#[test]
fn format_1_is_written_and_read_as_ever() {
    let (root, key) = (folder().join("v1"), folder().join("v1.key"));
    let log = Log::sample(1, 2, &[("acme", 260), ("globex", 3)]);
    let written = log.export();
    if std::env::var_os("POSSE_BLESS").is_some() {
        drop(std::fs::remove_dir_all(&root));
        for (path, bytes) in &written {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        std::fs::write(&key, format!("{}\n", log.key())).unwrap();
    }
    let mut golden = FileMap::new();
    read_all(&root, &root, &mut golden);
    assert_eq!(golden.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>());
    for (path, bytes) in &golden {
        assert!(written[path] == *bytes, "`{path}` is written differently");
    }
    let key = NoteVerifier::parse(std::fs::read_to_string(&key).unwrap().trim_end()).unwrap();
    let report = verify(&golden, &VerifyOptions::under(vec![key]));
    assert_eq!((report.verdict, report.faults), (Verdict::Valid, Vec::new()));
}

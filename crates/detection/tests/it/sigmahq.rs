//! All of SigmaHQ's rules load, or are rejected with a reason that is on the list here.

use detection::sigma::Collection;
use std::path::Path;

pub(crate) fn files_with(dir: &Path, extension: &str, out: &mut Vec<std::path::PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files_with(&path, extension, out);
        } else if path.extension().is_some_and(|e| e == extension) {
            out.push(path);
        }
    }
}

pub(crate) fn load(dir: &Path) -> Collection {
    let mut files = Vec::new();
    files_with(dir, "yml", &mut files);
    let mut collection = Collection::default();
    for file in files {
        collection.add(&file.to_string_lossy(), &std::fs::read_to_string(&file).unwrap(), &|_| None);
    }
    collection.finish();
    collection
}

#[test]
fn every_rule_loads() {
    let Some(data) = crate::test_data() else {
        eprintln!("skipped: POSSE_TEST_DATA is not set or absent");
        return;
    };
    let collection = load(&data.join("sigma/rules"));
    let shown: Vec<String> = collection.rejections.iter().map(ToString::to_string).collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
    eprintln!(
        "{} rules, {} correlations, {} filters",
        collection.rules.len(),
        collection.correlations.len(),
        collection.filters.len()
    );
    assert!(collection.rules.len() > 3700);
}

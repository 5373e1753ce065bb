//! File reading for the examples: rule folders, record files, and the process's own counters.

use anyhow::{Context, Result};
use detection::sigma::Collection;
use std::path::{Path, PathBuf};

/// The value after `--name`.
pub(crate) fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

/// All `.yml` below a folder, or the file itself, in order of path.
pub(crate) fn rules(path: &Path, most: usize) -> Result<Collection> {
    let mut files = Vec::new();
    gather(path, &mut files)?;
    files.sort();
    let mut collection = Collection::default();
    for file in files.iter().take(most) {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        collection.add(&file.to_string_lossy(), &text, &|_| None);
    }
    collection.finish();
    Ok(collection)
}

fn gather(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            gather(&entry?.path(), files)?;
        }
    } else if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
        files.push(path.to_owned());
    }
    Ok(())
}

/// Every record of a file as JSON bytes, in file order; an unreadable one is empty.
pub(crate) fn records(path: &Path) -> Result<Vec<Vec<u8>>> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let mut records = Vec::new();
    event::read::each_record(&bytes, 8 << 30, |_, record| {
        records.push(record.map(<[u8]>::to_vec).unwrap_or_default());
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(records)
}

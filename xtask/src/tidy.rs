//! What the compiler does not check: the arrows between crates and the owners of libraries (read from the tables
//! in ARCHITECTURE.md), the head, length and name of each file, the form of manifests, words that must not stay.
//!
//! A rule lives in the module of what it looks at; each is a pure function from text to findings, with a test that
//! shows it can fail. Never changes a file.

mod crates;
mod manifests;
mod sources;
mod tables;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// One finding, with the place it was found at.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Finding {
    /// Path from the root, with a line number where there is one.
    place: String,
    /// What is wrong, and what would be right.
    text: String,
    /// Fails the check; else it is only said.
    fails: bool,
}

impl Finding {
    pub(crate) fn fault(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into(), fails: true }
    }

    pub(crate) fn warning(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into(), fails: false }
    }
}

/// Print every finding; fail where one fails.
pub(crate) fn run(root: &Path) -> Result<()> {
    let findings = findings(root)?;
    for finding in &findings {
        let kind = if finding.fails { "error" } else { "warning" };
        println!("{kind}: {}: {}", finding.place, finding.text);
    }
    let faults = findings.iter().filter(|finding| finding.fails).count();
    if faults > 0 {
        bail!("tidy: {faults} faults");
    }
    println!("tidy: no faults, {} warnings", findings.len());
    Ok(())
}

/// Every finding of every rule.
fn findings(root: &Path) -> Result<Vec<Finding>> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"));
    let architecture = read("ARCHITECTURE.md")?;
    let mut found = crates::check(&tables::arrows(&architecture)?, &tables::owners(&architecture)?, root)?;
    found.extend(manifests::check_workspace(&read("Cargo.toml")?, &read("docs/decisions/dependencies.md")?)?);
    for path in files(root)? {
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        // `fuzz/` and `bench/` are workspaces of their own, which nothing of the product may pull in.
        let member = name.starts_with("crates/") || name.starts_with("xtask/");
        if member && name.ends_with("/Cargo.toml") {
            found.extend(manifests::check_crate(&name, &text)?);
        }
        found.extend(sources::check(&name, &text));
    }
    Ok(found)
}

/// The files that people write: not what a build or a package manager made.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    const SKIPPED: &[&str] = &["target", "node_modules", ".git", "corpus", "snapshots", "golden", "data"];
    const KINDS: &[&str] = &["rs", "toml", "md", "sh", "sql", "cedar", "yml", "yaml"];
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                folders.push(entry.path());
            } else if kind.is_file() && KINDS.iter().any(|end| name.ends_with(&format!(".{end}"))) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_is_tidy() {
        let faults: Vec<String> = super::findings(&crate::root().unwrap())
            .unwrap()
            .into_iter()
            .filter(|finding| finding.fails)
            .map(|finding| format!("{}: {}", finding.place, finding.text))
            .collect();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

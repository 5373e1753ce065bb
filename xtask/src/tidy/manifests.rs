//! The form of manifests: what is shared stands once, in the root; each foreign library has a reason on record.

use super::Finding;
use anyhow::{Context, Result};
use toml::{Table, Value};

const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "publish"];

/// A member's manifest inherits versions, lints and package facts from the workspace.
pub(crate) fn check_crate(name: &str, text: &str) -> Result<Vec<Finding>> {
    let manifest: Table = text.parse().with_context(|| format!("{name} is not TOML"))?;
    let mut found = Vec::new();
    let package = manifest.get("package");
    for key in INHERITED {
        if !package.and_then(|package| package.get(key)).is_some_and(inherits) {
            found.push(Finding::fault(name, format!("write `{key}.workspace = true`")));
        }
    }
    if !manifest.get("lints").is_some_and(inherits) {
        found.push(Finding::fault(name, "write `[lints]` with `workspace = true`"));
    }
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let entries = manifest.get(section).and_then(Value::as_table).into_iter().flatten();
        for (dependency, value) in entries.filter(|(_, value)| !inherits(value)) {
            let text =
                format!("`{dependency} = {value}` stands outside the workspace; write `{dependency}.workspace = true`");
            found.push(Finding::fault(name, text));
        }
    }
    Ok(found)
}

/// Each foreign library of the root manifest has a line in the record of dependencies.
pub(crate) fn check_workspace(manifest: &str, record: &str) -> Result<Vec<Finding>> {
    let manifest: Table = manifest.parse().context("Cargo.toml is not TOML")?;
    let dependencies = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(Value::as_table)
        .context("Cargo.toml has no [workspace.dependencies]")?;
    let recorded: Vec<&str> = record
        .lines()
        .filter_map(|line| line.strip_prefix("- ")?.split_once(": "))
        .flat_map(|(names, _)| names.split(','))
        .map(|name| name.trim().trim_matches('`'))
        .collect();
    Ok(dependencies
        .iter()
        .filter(|(_, value)| value.get("path").is_none())
        .filter(|(name, _)| !recorded.contains(&name.as_str()))
        .map(|(name, _)| {
            let text = format!("no line for `{name}`; write `- {name}: why; considered: ...`");
            Finding::fault("docs/decisions/dependencies.md", text)
        })
        .collect())
}

fn inherits(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nname = \"x\"\nversion.workspace = true\nedition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n[dependencies]\nids.workspace = true\ntokio = { workspace = true, features = [\"rt\"] }\n[lints]\nworkspace = true\n";

    #[test]
    fn a_member_inherits() {
        assert_eq!(check_crate("x", GOOD).unwrap(), []);
        for (from, to) in [
            ("edition.workspace = true", "edition = \"2021\""),
            ("ids.workspace = true", "ids = \"1\""),
            ("[lints]\nworkspace = true\n", ""),
        ] {
            assert_eq!(check_crate("x", &GOOD.replace(from, to)).unwrap().len(), 1, "{from}");
        }
    }

    #[test]
    fn a_library_without_a_reason_is_a_fault() {
        let manifest = "[workspace.dependencies]\nids = { path = \"crates/ids\" }\nserde = \"1\"\nbytes = \"1\"\n";
        assert_eq!(check_workspace(manifest, "- serde, bytes: words; considered: none.\n").unwrap(), []);
        assert_eq!(check_workspace(manifest, "- serde: words; considered: bytes.\n").unwrap().len(), 1);
    }
}

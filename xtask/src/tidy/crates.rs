//! The arrows between crates, and who may depend on which library, against what cargo says.
//!
//! Only normal and build dependencies count: a test may reach anywhere up to `testkit`.

use super::{Finding, tables::Arrows};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// A crate of the workspace and what it depends on.
struct Package {
    name: String,
    uses: Vec<String>,
}

/// Every arrow and owner rule over the workspace at `root`.
pub(crate) fn check(
    arrows: &BTreeMap<String, Arrows>,
    owners: &BTreeMap<String, Vec<String>>,
    root: &Path,
) -> Result<Vec<Finding>> {
    let packages = packages(&metadata(root)?)?;
    let mut found = check_arrows(arrows, &packages);
    found.extend(check_owners(owners, &packages));
    Ok(found)
}

fn metadata(root: &Path) -> Result<Value> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("cannot start cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata did not answer with JSON")
}

fn packages(metadata: &Value) -> Result<Vec<Package>> {
    let packages = metadata.get("packages").and_then(Value::as_array).context("cargo metadata names no packages")?;
    Ok(packages
        .iter()
        .map(|package| Package {
            name: text(package, "name"),
            uses: package
                .get("dependencies")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter(|dependency| dependency.get("kind").and_then(Value::as_str) != Some("dev"))
                .map(|dependency| text(dependency, "name"))
                .collect(),
        })
        .collect())
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn check_arrows(arrows: &BTreeMap<String, Arrows>, packages: &[Package]) -> Vec<Finding> {
    let mut found = Vec::new();
    for package in packages {
        let Some(row) = arrows.get(&package.name) else {
            found.push(Finding::fault("ARCHITECTURE.md", format!("the crate `{}` has no row of arrows", package.name)));
            continue;
        };
        for used in package.uses.iter().filter(|name| packages.iter().any(|other| other.name == **name)) {
            if !row.may_use.contains(used) {
                found.push(Finding::fault(
                    format!("crates/{}/Cargo.toml", package.name),
                    format!("the arrow to `{used}` is not in ARCHITECTURE.md; if it must be, change the table first"),
                ));
            }
        }
        for used in &row.may_use {
            if arrows.get(used).is_none_or(|below| below.level >= row.level) {
                found.push(Finding::fault(
                    "ARCHITECTURE.md",
                    format!("the arrow from `{}` to `{used}` does not point down", package.name),
                ));
            }
        }
    }
    found
}

fn check_owners(owners: &BTreeMap<String, Vec<String>>, packages: &[Package]) -> Vec<Finding> {
    let mut found = Vec::new();
    for package in packages {
        for library in &package.uses {
            let Some(crates) = owners.get(library).filter(|crates| !crates.contains(&package.name)) else { continue };
            found.push(Finding::fault(
                format!("crates/{}/Cargo.toml", package.name),
                format!("`{library}` belongs to {}; ask that crate for what you need", crates.join(", ")),
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, uses: &[&str]) -> Package {
        Package { name: name.into(), uses: uses.iter().map(|name| (*name).to_owned()).collect() }
    }

    fn row(level: u32, may_use: &[&str]) -> Arrows {
        Arrows { level, may_use: may_use.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn an_arrow_that_the_table_does_not_have_is_a_fault() {
        let arrows = BTreeMap::from([("ids".to_owned(), row(0, &[])), ("api".to_owned(), row(1, &["ids"]))]);
        assert_eq!(check_arrows(&arrows, &[package("ids", &["serde"]), package("api", &["ids"])]), []);
        assert_eq!(check_arrows(&arrows, &[package("ids", &["api"]), package("api", &[])]).len(), 1);
        assert_eq!(check_arrows(&arrows, &[package("new", &[])]).len(), 1, "a crate without a row");
    }

    #[test]
    fn an_arrow_of_the_table_that_points_up_is_a_fault() {
        let arrows = BTreeMap::from([("ids".to_owned(), row(0, &["api"])), ("api".to_owned(), row(1, &[]))]);
        assert_eq!(check_arrows(&arrows, &[package("ids", &[]), package("api", &[])]).len(), 1);
    }

    #[test]
    fn a_library_belongs_to_its_owner() {
        let owners = BTreeMap::from([("sqlx".to_owned(), vec!["store".to_owned()])]);
        assert_eq!(check_owners(&owners, &[package("store", &["sqlx"])]), []);
        assert_eq!(check_owners(&owners, &[package("control", &["sqlx"])]).len(), 1);
    }

    #[test]
    fn a_dev_dependency_is_not_an_arrow() {
        let metadata = serde_json::json!({"packages": [{"name": "api", "dependencies": [
            {"name": "ids", "kind": null}, {"name": "testkit", "kind": "dev"}, {"name": "cc", "kind": "build"}]}]});
        assert_eq!(packages(&metadata).unwrap()[0].uses, ["ids", "cc"]);
    }
}

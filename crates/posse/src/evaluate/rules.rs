//! A folder of Sigma rules as a pack of the provider's: read once, compiled once, run by every tenant of an evaluation.

use super::stage::Stage;
use anyhow::Context as _;
use api::ImportReport;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Files of one call.
const FILES: usize = 100;
/// Characters of one file.
const TEXT_CHARS_MAX: usize = 65_536;
/// Folders in folders at most.
const DEPTH_MAX: usize = 32;

/// Which packs tenants run.
pub(super) struct Packs {
    /// The pack of a folder, in place of the one that ships.
    own: Option<Value>,
    shipped: Value,
}

impl Packs {
    /// Take in the rules of a folder or a file; without one, those that ship.
    pub(super) async fn read(stage: &Stage, rules: Option<&Path>) -> anyhow::Result<Self> {
        let listed: Value = stage.must("pack.list", json!({})).await?;
        let shipped = listed.pointer("/items/0/id").cloned().context("a pack ships")?;
        let Some(rules) = rules else { return Ok(Self { own: None, shipped }) };
        let pack: Value = stage.must("pack.create", json!({ "name": "evaluated", "imported": true })).await?;
        let pack = pack.get("id").cloned().context("a pack has an id")?;
        let mut files = Vec::new();
        below(rules, DEPTH_MAX, &mut files)?;
        files.sort();
        let (mut loaded, mut rejected) = (0_u32, 0_usize);
        for part in files.chunks(FILES) {
            let read: Vec<Option<Value>> =
                part.iter().map(|file| rule_file(rules, file)).collect::<anyhow::Result<_>>()?;
            rejected = rejected.saturating_add(read.iter().filter(|text| text.is_none()).count());
            let texts: Vec<Value> = read.into_iter().flatten().collect();
            if texts.is_empty() {
                continue;
            }
            let report: ImportReport = stage.must("rule.import", json!({ "pack": pack, "files": texts })).await?;
            loaded = loaded.saturating_add(report.loaded);
            rejected = rejected.saturating_add(report.rejected.len());
        }
        anyhow::ensure!(loaded > 0, "`{}` holds no rule that loads", rules.display());
        eprintln!("{loaded} rules of {} files, {rejected} documents rejected", files.len());
        Ok(Self { own: Some(pack), shipped })
    }

    /// Let a tenant run them.
    pub(super) async fn assign(&self, stage: &Stage, tenant: &str) -> anyhow::Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        stage.done("pack.assign", json!({ "tenant": tenant, "pack": own })).await?;
        stage.done("pack.unassign", json!({ "tenant": tenant, "pack": self.shipped })).await
    }
}

/// A file as `rule.import` takes it; none where it is longer than any rule.
fn rule_file(root: &Path, file: &Path) -> anyhow::Result<Option<Value>> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    if text.chars().count() > TEXT_CHARS_MAX {
        return Ok(None);
    }
    let name = file.strip_prefix(root).unwrap_or(file).to_string_lossy();
    let name: String = name.chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect();
    Ok(Some(json!({ "name": name, "text": text })))
}

fn below(path: &Path, depth_left: usize, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let failed = || format!("cannot read `{}`", path.display());
    if !std::fs::metadata(path).with_context(failed)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let depth_left = depth_left.checked_sub(1).with_context(|| format!("`{}` is nested too deep", path.display()))?;
    for entry in std::fs::read_dir(path).with_context(failed)? {
        let entry = entry.with_context(failed)?.path();
        let rule = entry.extension().is_some_and(|ending| ending == "yml" || ending == "yaml");
        if rule || entry.is_dir() {
            below(&entry, depth_left, files)?;
        }
    }
    Ok(())
}

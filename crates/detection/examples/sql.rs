//! Prints each rule of a folder as SQL: one JSON object a line, `{"id", "sql"}` or `{"id", "error"}`.
//! `spec/detection/oracle/sql.py` runs them.
//!
//! `sql --rules DIR [--format F]`

#[expect(dead_code, reason = "this one reads no records")]
mod files;

use anyhow::{Context, Result};
use detection::export;
use detection::profile::Profile;
use std::io::Write as _;
use std::path::PathBuf;

fn main() -> Result<()> {
    let rules = PathBuf::from(files::option("--rules").context("--rules is missing")?);
    let profile = Profile::new(files::option("--format").as_deref().unwrap_or("windows-flat").parse()?);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for rule in &files::rules(&rules, usize::MAX)?.rules {
        let line = match export::sql(rule, &profile) {
            Ok(export) => serde_json::json!({"id": rule.id, "sql": export.sql}),
            Err(error) => serde_json::json!({"id": rule.id, "error": error.to_string()}),
        };
        writeln!(out, "{line}")?;
    }
    Ok(())
}

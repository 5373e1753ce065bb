//! Prints `record index <tab> rule id` for every match of a rule folder on a record file.
//!
//! `match --rules DIR --input FILE [--format F] [--engine reference]`

mod files;

use anyhow::{Context, Result};
use detection::engine::{Engine, Scratch};
use detection::profile::{Format, Profile};
use std::io::Write as _;
use std::path::PathBuf;

fn main() -> Result<()> {
    let rules = PathBuf::from(files::option("--rules").context("--rules is missing")?);
    let input = PathBuf::from(files::option("--input").context("--input is missing")?);
    let collection = files::rules(&rules, usize::MAX)?;
    for rejection in &collection.rejections {
        eprintln!("{rejection}");
    }
    let records = files::records(&input)?;
    let format = match files::option("--format").as_deref() {
        None | Some("auto") => records
            .iter()
            .find_map(|record| serde_json::from_slice(record).ok())
            .map_or(Format::Generic, |record| Format::detect(&record)),
        Some(name) => name.parse()?,
    };
    let profile = Profile::new(format);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let plain = files::option("--engine").as_deref() == Some("reference");
    let engine = Engine::compile(&collection.rules, &profile);
    let (mut parser, mut scratch, mut found) = (event::Parser::new(), Scratch::default(), Vec::new());
    for (index, record) in records.iter().enumerate() {
        let mut ids: Vec<&str> = if plain {
            let Ok(value) = serde_json::from_slice::<serde_json::Value>(record) else { continue };
            collection
                .rules
                .iter()
                .filter(|rule| detection::reference::matches(rule, &value, &profile))
                .map(|rule| rule.id.as_str())
                .collect()
        } else {
            let Ok(view) = parser.parse(record) else { continue };
            engine.matches(&view, &mut scratch, &mut found);
            found.iter().filter_map(|rule| collection.rules.get(*rule as usize)).map(|rule| rule.id.as_str()).collect()
        };
        ids.sort_unstable();
        for id in ids {
            writeln!(out, "{index}\t{id}")?;
        }
    }
    Ok(())
}

//! Reads the two tables of ARCHITECTURE.md that are law: which crate may use which, and who owns which library.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;

/// One row of the table of arrows.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Arrows {
    /// An arrow may only point to a smaller level.
    pub(crate) level: u32,
    /// The workspace crates that it may use.
    pub(crate) may_use: Vec<String>,
}

/// Rows behind the marker `<!-- tidy: arrows -->`: level, crate, job, may use.
pub(crate) fn arrows(document: &str) -> Result<BTreeMap<String, Arrows>> {
    let mut table = BTreeMap::new();
    for cells in rows(document, "arrows")? {
        let [level, name, _, may_use] = cells.as_slice() else { bail!("a row of arrows has four cells: {cells:?}") };
        let level = level.parse().with_context(|| format!("`{level}` is not a level"))?;
        table.insert(bare(name), Arrows { level, may_use: names(may_use) });
    }
    Ok(table)
}

/// Rows behind the marker `<!-- tidy: owners -->`: libraries, the crates that may depend on them.
pub(crate) fn owners(document: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut table = BTreeMap::new();
    for cells in rows(document, "owners")? {
        let [libraries, crates, ..] = cells.as_slice() else { bail!("a row of owners has two cells: {cells:?}") };
        for library in names(libraries) {
            table.insert(library, names(crates));
        }
    }
    Ok(table)
}

fn rows(document: &str, marker: &str) -> Result<Vec<Vec<String>>> {
    let start = format!("<!-- tidy: {marker} -->");
    let (_, rest) = document.split_once(&start).with_context(|| format!("ARCHITECTURE.md has no `{start}`"))?;
    let rows: Vec<Vec<String>> = rest
        .lines()
        .map(str::trim)
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2) // the heading and the line under it
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    if rows.is_empty() {
        bail!("ARCHITECTURE.md has no table behind `{start}`");
    }
    Ok(rows)
}

fn names(cell: &str) -> Vec<String> {
    cell.split(',').map(bare).filter(|name| !name.is_empty() && name != "-").collect()
}

fn bare(text: &str) -> String {
    text.trim().trim_matches('`').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_to_its_end_and_no_further() {
        let document = "x\n<!-- tidy: arrows -->\n\n| l | c | job | may use |\n|---|---|---|---|\n| 0 | `ids` | words | - |\n| 1 | `api` | wire | `ids`, `seal` |\n\n| 9 | `other` | x | - |\n";
        let table = arrows(document).unwrap();
        assert_eq!(table.len(), 2);
        assert_eq!(table["api"], Arrows { level: 1, may_use: vec!["ids".into(), "seal".into()] });
        assert!(owners(document).is_err());
    }
}

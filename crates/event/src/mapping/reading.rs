//! The name of the way in which this build reads records: tables keep what an earlier build made of them, and who leaves
//! out records by their columns must know that they were made as this build would make them. Must never stay the same
//! where a mapping or the code that runs it changed.

use super::{COLUMNS, FILES};
use std::sync::LazyLock;

/// Counts up with each change of the code that lets a record become another class or other columns.
const CODE: &str = "1";
/// The names of all builds so far, oldest first; the last is this one's, by test.
const KNOWN: &str = include_str!("../../../../spec/event/readings.txt");

/// Names of ways to read records.
#[derive(Clone, Debug)]
pub struct Readings {
    /// This build's.
    pub current: u64,
    /// Those of builds before it that are known.
    pub earlier: Vec<u64>,
}

/// The ways to read records that are known.
#[must_use]
pub fn readings() -> &'static Readings {
    static READINGS: LazyLock<Readings> = LazyLock::new(|| {
        let current = name();
        let known = KNOWN.lines().filter_map(|line| u64::from_str_radix(line.trim(), 16).ok());
        Readings { current, earlier: known.filter(|name| *name != current).collect() }
    });
    &READINGS
}

/// FNV-1a over all that decides: it is a name and no seal.
fn name() -> u64 {
    let columns = COLUMNS.iter().flat_map(|column| [column.name, column.path]);
    let texts = FILES.iter().flat_map(|(name, text)| [*name, *text]).chain(columns).chain([CODE]);
    texts.fold(0xcbf2_9ce4_8422_2325, |name, text| {
        let bytes = text.bytes().chain([0xff]);
        bytes.fold(name, |name, byte| (name ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_in_which_this_build_reads_is_known_to_those_that_follow() {
        let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        let path = std::path::PathBuf::from(root).join("../../spec/event/readings.txt");
        let line = format!("{:016x}", readings().current);
        if std::env::var_os("POSSE_BLESS").is_some() && KNOWN.lines().last() != Some(&line) {
            std::fs::write(path, format!("{KNOWN}{line}\n")).unwrap();
            return;
        }
        assert_eq!(
            KNOWN.lines().last(),
            Some(line.as_str()),
            "run with POSSE_BLESS=1 to add it to spec/event/readings.txt"
        );
        assert!(COLUMNS.len() <= 62, "each column has a bit of its own in `Odd`");
    }
}

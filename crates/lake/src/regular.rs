//! Which runs of rows are regular: made by this build's mappings, of records that say no more than their classes and
//! columns. Marks among a run's observables tell. Only there may columns decide what is left out of a scan; must never
//! call a run regular of which that is not known.

use crate::observable::mark;
use crate::scan::Needed;
use event::mapping::{COLUMNS, Odd, readings};
use std::collections::BTreeSet;

/// What the marks are about; stored in catalogs, never changed.
const ODD_CLASS: u64 = 100;
const ODD_COLUMN: u64 = 101;
const READ_OTHERWISE: u64 = 102;
const READING: [u64; 2] = [103, 104];

/// The marks of one row.
pub(crate) fn marks_of_row(odd: Odd) -> impl Iterator<Item = u32> {
    let class = odd.class().then(|| mark(ODD_CLASS, ""));
    let otherwise = odd.read_otherwise().then(|| mark(READ_OTHERWISE, ""));
    let columns = odd.columns().filter_map(|place| COLUMNS.get(place)).map(|column| mark(ODD_COLUMN, column.name));
    class.into_iter().chain(otherwise).chain(columns)
}

/// The marks of a run that this build makes.
pub(crate) fn marks_of_run() -> [u32; 2] {
    marks_of(readings().current)
}

/// Two, because one would be met by chance among thousands of observables.
fn marks_of(reading: u64) -> [u32; 2] {
    READING.map(|seed| mark(seed, &format!("{reading:016x}")))
}

/// What must be known of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Regular {
    with: [u32; 2],
    without: Vec<u32>,
    earlier: Vec<[u32; 2]>,
}

impl Regular {
    /// So that these conditions may decide about its rows; none where they decide nothing.
    pub(crate) fn of(needed: &Needed) -> Option<Self> {
        let mut columns = BTreeSet::new();
        let decides = collect(needed, &mut columns);
        let without = [mark(ODD_CLASS, ""), mark(READ_OTHERWISE, "")].into_iter();
        decides.then(|| Self {
            with: marks_of_run(),
            without: without.chain(columns.into_iter().map(|column| mark(ODD_COLUMN, column))).collect(),
            earlier: readings().earlier.iter().map(|reading| marks_of(*reading)).collect(),
        })
    }

    /// Whether a run with these marks is regular.
    pub(crate) fn holds(&self, has: impl Fn(u32) -> bool) -> bool {
        self.with.iter().all(|mark| has(*mark))
            && !self.without.iter().any(|mark| has(*mark))
            && !self.earlier.iter().any(|marks| marks.iter().all(|mark| has(*mark)))
    }
}

/// The columns that are named; whether anything is decided at all.
fn collect(needed: &Needed, columns: &mut BTreeSet<&'static str>) -> bool {
    match needed {
        Needed::All(parts) => parts.iter().filter(|part| collect(part, columns)).count() > 0,
        Needed::Any(parts) => parts.iter().fold(parts.is_empty(), |decides, part| collect(part, columns) || decides),
        Needed::Class(_) => true,
        Needed::Contains(column, _) | Needed::Equals(column, _) => {
            columns.insert(*column);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_regular_where_its_marks_say_so_and_nothing_speaks_against_it() {
        let needed = Needed::All(vec![Needed::Class(1007), Needed::Contains("process_path", "x".to_owned())]);
        let regular = Regular::of(&needed).unwrap();
        let with = |more: &[u32]| {
            let all: Vec<u32> = marks_of_run().into_iter().chain(more.iter().copied()).collect();
            regular.holds(|mark| all.contains(&mark))
        };
        assert!(with(&[]));
        assert!(!regular.holds(|_| false), "nobody knows who made it");
        assert!(!with(&[mark(ODD_CLASS, "")]) && !with(&[mark(READ_OTHERWISE, "")]));
        assert!(!with(&[mark(ODD_COLUMN, "process_path")]));
        assert!(with(&[mark(ODD_COLUMN, "file_path")]), "that column is not asked");
        let older = Regular { earlier: vec![marks_of(7)], ..regular.clone() };
        let merged: Vec<u32> = marks_of_run().into_iter().chain(marks_of(7)).collect();
        assert!(!older.holds(|mark| merged.contains(&mark)), "some of its rows were read by another build");
        assert!(Regular::of(&Needed::All(Vec::new())).is_none() && Regular::of(&Needed::Any(Vec::new())).is_some());
    }
}

//! A change of the table and the rules that it must keep: compaction loses no row, nothing under hold is dropped.

use crate::{Day, EntityCount, File, FileId, Hold, LEVEL_DAY, NewFile, Table};
use ids::TenantId;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// What a change is for; decides what it may do to rows that were there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Intent {
    /// New rows only: nothing is removed.
    #[default]
    Append,
    /// Retention or erasing: per tenant, class and day rows become fewer, never more, and none that a hold covers.
    Drop,
    /// Compaction: per tenant, class and day as many rows as before.
    Rewrite,
}

/// One change: all of it or nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Change {
    /// What it is for.
    pub intent: Intent,
    /// Files that become part of the table; written and synced before.
    pub add: Vec<NewFile>,
    /// Files that cease to be part of it; [`CatalogError::Conflict`](crate::CatalogError::Conflict) where one is not.
    pub remove: Vec<FileId>,
    /// Cursors to set.
    pub cursors: Vec<(String, Vec<u8>)>,
    /// Sightings to add to the entity summary.
    pub entities: Vec<EntityCount>,
    /// Cursors that must stand so before the change; none: that is not there yet. Otherwise
    /// [`CatalogError::Moved`](crate::CatalogError::Moved).
    pub was: Vec<(String, Option<Vec<u8>>)>,
    /// Files that must still be part of the table besides those removed.
    pub expect: Vec<FileId>,
    /// What happened, for people: at most 200 characters are kept.
    pub note: String,
}

/// A change that was made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Committed {
    /// The number of the snapshot that shows it; the same as before where no file was added or removed.
    pub snapshot: u64,
    /// The numbers of the files that were added, in their order.
    pub ids: Vec<FileId>,
}

/// The rule that a change breaks.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
pub enum Refused {
    /// A file's description does not fit itself or the table.
    #[error("file `{path}`: {reason}")]
    File {
        /// The file.
        path: String,
        /// What does not fit.
        reason: String,
    },
    /// A hold covers rows that would go.
    #[error("{lost} rows of {tenant}, class {class_uid}, {day} are under the hold `{hold}`")]
    Held {
        /// The hold.
        hold: String,
        /// Whose rows.
        tenant: TenantId,
        /// Their class.
        class_uid: u32,
        /// Their day.
        day: Day,
        /// How many.
        lost: u64,
    },
    /// The intent does not allow this.
    #[error(
        "{tenant}, class {class_uid}, {day}: {before} rows before and {after} after; {intent:?} does not allow that"
    )]
    Rows {
        /// The intent.
        intent: Intent,
        /// Whose rows.
        tenant: TenantId,
        /// Their class.
        class_uid: u32,
        /// Their day.
        day: Day,
        /// Rows in the removed files.
        before: u64,
        /// Rows in the added files.
        after: u64,
    },
    /// A change that only adds removes files.
    #[error("a change that appends removes {0} files; say what it is for")]
    Removes(usize),
    /// A file is removed twice.
    #[error("file {0} stands twice among those to remove")]
    Twice(FileId),
    /// A cursor or hold has a name that cannot be stored.
    #[error("`{0}` is not a name; at most 128 bytes without NUL, at least one")]
    Name(String),
}

const PATH_BYTES_MAX: usize = 512;
const NAME_BYTES_MAX: usize = 128;

/// Rows per tenant, class and day.
type Rows = BTreeMap<(TenantId, u32, Day), u64>;

impl Change {
    /// Whether it makes a snapshot: one that only moves cursors and counts does not.
    #[must_use]
    pub fn changes_files(&self) -> bool {
        !self.add.is_empty() || !self.remove.is_empty()
    }

    /// Whether the change may be applied, given the files that it removes and the holds at that instant.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check<'a>(
        &self,
        table: &Table,
        removed: impl IntoIterator<Item = &'a File>,
        holds: &[Hold],
    ) -> Result<(), Refused> {
        for (name, _) in &self.cursors {
            check_name(name)?;
        }
        let mut paths = BTreeSet::new();
        for file in &self.add {
            check_file(file, table)?;
            if !paths.insert(&file.path) {
                return Err(refused(file, "stands twice in one change"));
            }
        }
        let mut seen = BTreeSet::new();
        if let Some(id) = self.remove.iter().find(|id| !seen.insert(**id)) {
            return Err(Refused::Twice(*id));
        }
        if self.intent == Intent::Append {
            return if self.remove.is_empty() { Ok(()) } else { Err(Refused::Removes(self.remove.len())) };
        }
        let mut before = Rows::new();
        for file in removed {
            for group in &file.row_groups {
                *before.entry((group.tenant, file.class_uid, file.day)).or_default() += group.rows;
            }
        }
        let mut after = Rows::new();
        for file in &self.add {
            for group in &file.row_groups {
                *after.entry((group.tenant, file.class_uid, file.day)).or_default() += group.rows;
            }
        }
        self.check_rows(&before, &after, holds)
    }

    fn check_rows(&self, before: &Rows, after: &Rows, holds: &[Hold]) -> Result<(), Refused> {
        for key in before.keys().chain(after.keys()) {
            let (tenant, class_uid, day) = *key;
            let [was, is] = [before, after].map(|rows| rows.get(key).copied().unwrap_or(0));
            if is > was || (self.intent == Intent::Rewrite && is != was) {
                return Err(Refused::Rows { intent: self.intent, tenant, class_uid, day, before: was, after: is });
            }
            if is < was
                && let Some(hold) = holds.iter().find(|hold| hold.covers(tenant, class_uid, day))
            {
                return Err(Refused::Held { hold: hold.id.clone(), tenant, class_uid, day, lost: was - is });
            }
        }
        Ok(())
    }
}

/// Whether a text may name a cursor or a hold.
pub(crate) fn check_name(name: &str) -> Result<(), Refused> {
    let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains('\0');
    if fits { Ok(()) } else { Err(Refused::Name(name.chars().take(64).collect())) }
}

fn refused(file: &NewFile, reason: impl Into<String>) -> Refused {
    Refused::File { path: file.path.chars().take(200).collect(), reason: reason.into() }
}

fn check_file(file: &NewFile, table: &Table) -> Result<(), Refused> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    if file.path.len() > PATH_BYTES_MAX || !file.path.split('/').all(plain) || file.path.contains(['\0', '\\']) {
        return Err(refused(file, "its path must be relative, plain and at most 512 bytes"));
    }
    if file.level > LEVEL_DAY {
        return Err(refused(file, format!("level {} is none; at most {LEVEL_DAY}", file.level)));
    }
    if file.received_min > file.received_max {
        return Err(refused(file, "its first event came in after its last"));
    }
    let rows = file.row_groups.iter().fold(0_u64, |sum, group| sum.saturating_add(group.rows));
    if rows != file.rows || rows == 0 {
        return Err(refused(
            file,
            format!("has {} rows and {rows} in its row groups; one or more, the same", file.rows),
        ));
    }
    for group in &file.row_groups {
        if group.time_min > group.time_max || [group.time_min, group.time_max].map(Day::of) != [file.day; 2] {
            let (min, max) = (group.time_min, group.time_max);
            return Err(refused(file, format!("a row group from {min} to {max} does not lie on {}", file.day)));
        }
    }
    for stats in &file.columns {
        if table.column(&stats.column).is_none() {
            return Err(refused(file, format!("the table has no column `{}`", stats.column)));
        }
        if stats.values.checked_add(stats.nulls) != Some(file.rows) {
            return Err(refused(file, format!("the counts of column `{}` do not add up to its rows", stats.column)));
        }
    }
    Ok(())
}

//! Files of the table, their row groups and their statistics.

use ids::{TenantId, Timestamp};
use std::collections::BTreeSet;

/// Written by a flush.
pub const LEVEL_FLUSH: u8 = 0;
/// Made by the hourly compaction.
pub const LEVEL_HOUR: u8 = 1;
/// Made by the daily compaction.
pub const LEVEL_DAY: u8 = 2;

/// A file's number in the catalog (`data_file_id` of `DuckLake`); never given twice.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct FileId(u64);

impl FileId {
    /// From the number in the catalog.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number in the catalog.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for FileId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A day in UTC: days since 1970-01-01.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Day(i32);

const DAY_MICROS: i64 = 86_400_000_000;

impl Day {
    /// From days since 1970-01-01.
    #[must_use]
    pub const fn new(days: i32) -> Self {
        Self(days)
    }

    /// The day that holds this instant.
    #[must_use]
    pub fn of(time: Timestamp) -> Self {
        // i64 microseconds are at most 106,751,991 days.
        Self(i32::try_from(time.as_micros().div_euclid(DAY_MICROS)).unwrap_or(i32::MAX))
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }

    /// The day that lies this many days earlier.
    #[must_use]
    pub const fn minus(self, days: i32) -> Self {
        Self(self.0.saturating_sub(days))
    }

    /// Its first instant.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp::from_micros(i64::from(self.0).saturating_mul(DAY_MICROS))
    }

    /// Its last microsecond.
    #[must_use]
    pub fn end(self) -> Timestamp {
        Timestamp::from_micros(i64::from(self.0).saturating_add(1).saturating_mul(DAY_MICROS).saturating_sub(1))
    }

    /// Year, month (1 to 12) and day of the month (1 to 31) in the proleptic Gregorian calendar.
    ///
    /// The algorithm is `civil_from_days` of Howard Hinnant's "chrono-compatible low-level date algorithms".
    #[must_use]
    pub fn civil(self) -> (i64, u8, u8) {
        let shifted = i64::from(self.0) + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
        let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        (year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// An instant as `DuckLake` writes it in statistics: `2026-01-02 03:04:05.678901+00`.
#[must_use]
pub fn time_text(time: Timestamp) -> String {
    let of_day = time.as_micros().rem_euclid(DAY_MICROS);
    let (seconds, micros) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{} {hour:02}:{minute:02}:{second:02}.{micros:06}+00", Day::of(time))
}

/// A run of rows of one tenant within a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RowGroup {
    /// Whose rows: a row group never spans tenants.
    pub tenant: TenantId,
    /// How many.
    pub rows: u64,
    /// Its share of the file's bytes.
    pub bytes: u64,
    /// The earliest event.
    pub time_min: Timestamp,
    /// The latest event.
    pub time_max: Timestamp,
    /// Opaque to the catalog: what `lake` asks whether a value may be inside. Not part of a [`State`](crate::State);
    /// ask [`Catalog::filters`](crate::Catalog::filters).
    pub filter: Option<Vec<u8>>,
}

/// What is known of one column in one file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ColumnStats {
    /// The column's name.
    pub column: String,
    /// Rows without a value.
    pub nulls: u64,
    /// Rows with a value.
    pub values: u64,
    /// Compressed bytes.
    pub bytes: u64,
    /// The smallest value in `DuckLake`'s text: numbers in decimal, times as [`time_text`](crate::time_text) writes
    /// them, text as it is; none where it is not known or long.
    pub min: Option<String>,
    /// The largest value, likewise.
    pub max: Option<String>,
}

/// A file that is written and synced, to be made part of the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewFile {
    /// Its place below the table's folder, with `/`; at most 512 bytes, no `..`.
    pub path: String,
    /// The class of all its events.
    pub class_uid: u32,
    /// The day of all its events.
    pub day: Day,
    /// Rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The size of the Parquet footer, for readers that fetch it in one go.
    pub footer_bytes: u64,
    /// Its columns.
    pub columns: Vec<ColumnStats>,
    /// Its row groups in the file's order.
    pub row_groups: Vec<RowGroup>,
    /// [`LEVEL_FLUSH`], [`LEVEL_HOUR`] or [`LEVEL_DAY`].
    pub level: u8,
    /// When the first of its events came in.
    pub received_min: Timestamp,
    /// When the last of its events came in.
    pub received_max: Timestamp,
}

/// A file of the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File {
    /// Its number.
    pub id: FileId,
    /// Its place below the table's folder.
    pub path: String,
    /// The class of all its events.
    pub class_uid: u32,
    /// The day of all its events.
    pub day: Day,
    /// Rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The size of the Parquet footer.
    pub footer_bytes: u64,
    /// Its row groups in the file's order, without filters.
    pub row_groups: Vec<RowGroup>,
    /// [`LEVEL_FLUSH`], [`LEVEL_HOUR`] or [`LEVEL_DAY`].
    pub level: u8,
    /// When the first of its events came in.
    pub received_min: Timestamp,
    /// When the last of its events came in.
    pub received_max: Timestamp,
}

impl File {
    /// The file that `new` becomes under the number `id`.
    #[must_use]
    pub fn of(id: FileId, new: &NewFile) -> Self {
        let bare = |group: &RowGroup| RowGroup { filter: None, ..group.clone() };
        Self {
            id,
            path: new.path.clone(),
            class_uid: new.class_uid,
            day: new.day,
            rows: new.rows,
            bytes: new.bytes,
            footer_bytes: new.footer_bytes,
            row_groups: new.row_groups.iter().map(bare).collect(),
            level: new.level,
            received_min: new.received_min,
            received_max: new.received_max,
        }
    }

    /// Whose rows it holds.
    #[must_use]
    pub fn tenants(&self) -> BTreeSet<TenantId> {
        self.row_groups.iter().map(|group| group.tenant).collect()
    }

    /// The earliest and latest event.
    #[must_use]
    pub fn times(&self) -> Option<(Timestamp, Timestamp)> {
        let min = self.row_groups.iter().map(|group| group.time_min).min()?;
        let max = self.row_groups.iter().map(|group| group.time_max).max()?;
        Some((min, max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_the_calendars() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (19_782, "2024-02-29"),
            (20_779, "2026-11-22"),
            (-134_774, "1601-01-01"),
        ] {
            assert_eq!(Day::new(days).to_string(), text);
            assert_eq!(Day::of(Day::new(days).start()), Day::new(days));
            assert_eq!(Day::of(Day::new(days).end()), Day::new(days));
            assert!(time_text(Day::new(days).end()).ends_with("23:59:59.999999+00"));
            assert_eq!(format!("{text}T00:00:00Z").parse::<Timestamp>(), Ok(Day::new(days).start()));
        }
    }
}

//! The columns of the table, with the field ids by which Parquet files name them. A column keeps its id for good: a
//! file of an older schema is read by it.

use thiserror::Error;

/// The type of a column.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum ColumnKind {
    /// 16 signed bits.
    Int16,
    /// 32 signed bits.
    Int32,
    /// 64 signed bits.
    Int64,
    /// UTF-8 text.
    Text,
    /// Microseconds since 1970 in UTC.
    Time,
}

impl ColumnKind {
    /// The type as `DuckLake` 1.0 writes it.
    #[must_use]
    pub const fn ducklake(self) -> &'static str {
        match self {
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Text => "varchar",
            Self::Time => "timestamptz",
        }
    }

    /// The kind that `DuckLake` writes so.
    #[must_use]
    pub fn from_ducklake(text: &str) -> Option<Self> {
        [Self::Int16, Self::Int32, Self::Int64, Self::Text, Self::Time].into_iter().find(|kind| kind.ducklake() == text)
    }
}

/// One column.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Column {
    /// The field id in Parquet files and the column id in the catalog; from 1.
    pub id: u32,
    /// Its name in SQL.
    pub name: String,
    /// Its type.
    pub kind: ColumnKind,
}

/// The table's columns.
// INVARIANT: ids ascend, names are unique.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Table {
    columns: Vec<Column>,
}

/// Why columns do not make a table.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
pub enum TableError {
    /// A name stands twice.
    #[error("column `{0}` stands twice")]
    Doubled(String),
    /// The catalog knows the column with another type, in which files were written.
    #[error("column `{name}` is {found:?} in the catalog, not {wanted:?}; give the new column another name")]
    Kind {
        /// The column.
        name: String,
        /// Its type in the catalog.
        found: ColumnKind,
        /// The type that was asked for.
        wanted: ColumnKind,
    },
    /// The files' places hang on these.
    #[error("the table needs a column `{name}` of type {kind:?}")]
    Missing {
        /// The column.
        name: &'static str,
        /// The type it must have.
        kind: ColumnKind,
    },
}

/// The columns by which files are partitioned.
const PARTITION: [(&str, ColumnKind); 2] = [("class_uid", ColumnKind::Int32), ("time", ColumnKind::Time)];

impl Table {
    /// A table of these columns; ids are given in their order, from 1.
    ///
    /// # Errors
    /// A name that stands twice; no `class_uid` or no `time`.
    pub fn new<N: Into<String>>(columns: impl IntoIterator<Item = (N, ColumnKind)>) -> Result<Self, TableError> {
        let wanted = columns.into_iter().map(|(name, kind)| (name.into(), kind)).collect::<Vec<(String, _)>>();
        let table = Self::default().grown(&wanted)?;
        for (name, kind) in PARTITION {
            if table.column(name).is_none_or(|column| column.kind != kind) {
                return Err(TableError::Missing { name, kind });
            }
        }
        Ok(table)
    }

    /// The table that a catalog has stored.
    #[must_use]
    pub fn stored(mut columns: Vec<Column>) -> Self {
        columns.sort_by_key(|column| column.id);
        Self { columns }
    }

    /// This table with the columns of `wanted` that it lacks; what it has beyond them stays, for the files that hold it.
    ///
    /// # Errors
    /// A column that both have with different types.
    pub fn merged(&self, wanted: &Self) -> Result<Self, TableError> {
        let wanted = wanted.columns.iter().map(|column| (column.name.clone(), column.kind)).collect::<Vec<_>>();
        self.grown(&wanted)
    }

    fn grown(&self, wanted: &[(String, ColumnKind)]) -> Result<Self, TableError> {
        let mut columns = self.columns.clone();
        for (place, (name, kind)) in wanted.iter().enumerate() {
            if wanted.iter().skip(place + 1).any(|(other, _)| other == name) {
                return Err(TableError::Doubled(name.clone()));
            }
            match self.column(name) {
                Some(column) if column.kind == *kind => {}
                Some(column) => {
                    return Err(TableError::Kind { name: name.clone(), found: column.kind, wanted: *kind });
                }
                None => {
                    let id = columns.last().map_or(1, |column| column.id + 1);
                    columns.push(Column { id, name: name.clone(), kind: *kind });
                }
            }
        }
        Ok(Self { columns })
    }

    /// The columns by ascending id.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column of this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Vec<(&'static str, ColumnKind)> {
        vec![("class_uid", ColumnKind::Int32), ("time", ColumnKind::Time), ("old", ColumnKind::Text)]
    }

    #[test]
    fn a_column_keeps_its_id_when_others_come_and_go() {
        let stored = Table::new(base()).unwrap();
        let wanted =
            Table::new([("new", ColumnKind::Int64), ("time", ColumnKind::Time), ("class_uid", ColumnKind::Int32)]);
        let merged = stored.merged(&wanted.unwrap()).unwrap();
        let ids: Vec<_> = merged.columns().iter().map(|column| (column.id, column.name.as_str())).collect();
        assert_eq!(ids, [(1, "class_uid"), (2, "time"), (3, "old"), (4, "new")]);
    }

    #[test]
    fn a_column_never_changes_its_type() {
        let mut changed = base();
        changed[2].1 = ColumnKind::Int64;
        let refused = Table::new(base()).unwrap().merged(&Table::new(changed).unwrap());
        assert!(matches!(refused, Err(TableError::Kind { .. })), "{refused:?}");
        assert!(matches!(Table::new([("a", ColumnKind::Text), ("a", ColumnKind::Text)]), Err(TableError::Doubled(_))));
        assert!(matches!(Table::new([("a", ColumnKind::Text)]), Err(TableError::Missing { .. })));
    }
}

//! Statements over many rows: one text for each power of two up to 64, built once from constant parts.
//!
//! A batch of calls becomes a handful of statements instead of several for each call; the fixed sizes keep the
//! statement cache small. Only constant text goes in; values are always bound.

use crate::engine::{Connection, Fault, Row, Value};

/// The most rows of one question. 64 rows of 17 columns stay far below both engines' limits (32766 and 65535).
pub(crate) const ROWS_MAX: usize = 64;

const SIZES: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

/// Rows that one statement writes. Dense where batches of calls are: each statement has a cost of its own.
const WRITTEN_SIZES: [usize; 17] = [256, 128, 64, 48, 32, 24, 16, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1];

/// A statement whose middle is a list of tuples: `head ($1,$2),($3,$4) tail`.
pub(crate) struct Bulk {
    width: usize,
    // INVARIANT: from the largest size to 1, so that any count can be made up.
    texts: [(usize, &'static str); SIZES.len()],
    // INVARIANT: as `texts`.
    written: [Written; WRITTEN_SIZES.len()],
}

/// A statement that writes so many rows, for each engine. `SQLite` looks each `$n` up in a list of all of a statement's
/// names, which makes long statements dearer for each row than short ones; a bare `?` has no name.
struct Written {
    rows: usize,
    sqlite: &'static str,
    postgres: &'static str,
}

fn text(head: &str, tail: &str, rows: usize, width: usize, place: impl Fn(usize) -> String) -> &'static str {
    let tuples: Vec<String> = (0..rows)
        .map(|row| {
            let places: Vec<String> = (1..=width).map(|column| place(row * width + column)).collect();
            format!("({})", places.join(", "))
        })
        .collect();
    format!("{head} {} {tail}", tuples.join(", ")).leak()
}

impl Bulk {
    /// Tuples of `width` values between `head` and `tail`, after `fixed` values that `head` or `tail` uses itself. One
    /// that writes has none.
    ///
    /// The texts live as long as the process, as the constants they are made of.
    pub(crate) fn new(head: &str, fixed: usize, width: usize, tail: &str) -> Self {
        let numbered = |place: usize| format!("${}", fixed + place);
        let texts = SIZES.map(|rows| (rows, text(head, tail, rows, width, numbered)));
        let written = WRITTEN_SIZES.map(|rows| {
            let postgres = match texts.iter().find(|(size, _)| *size == rows) {
                Some((_, text)) => text,
                None => text(head, tail, rows, width, numbered),
            };
            let sqlite = if fixed == 0 { text(head, tail, rows, width, |_| "?".to_owned()) } else { postgres };
            Written { rows, sqlite, postgres }
        });
        Self { width, texts, written }
    }

    /// All texts of an engine, for the test that prepares each.
    #[cfg(test)]
    pub(crate) fn texts(&self, sqlite: bool) -> impl Iterator<Item = &'static str> {
        let written = move |one: &Written| if sqlite { one.sqlite } else { one.postgres };
        self.written.iter().map(written).chain(self.texts.iter().map(|(_, text)| *text))
    }

    /// Run for all `rows` (values one after the other, `width` to a row): the fewest statements whose sizes add up.
    pub(crate) async fn execute(&self, connection: &mut Connection, rows: Vec<Value>) -> Result<u64, Fault> {
        // Taken from the front: splitting the rest off would copy all of it for each statement.
        let mut rest = rows.into_iter();
        let mut changed = 0;
        for written in &self.written {
            let values = written.rows * self.width;
            let text = if connection.is_sqlite() { written.sqlite } else { written.postgres };
            while rest.len() >= values && rest.len() > 0 {
                changed += connection.execute(text, rest.by_ref().take(values).collect()).await?;
            }
        }
        Ok(changed)
    }

    /// Ask for all `rows` and collect the answers; a short last statement repeats its last tuple.
    pub(crate) async fn rows(&self, connection: &mut Connection, rows: Vec<Value>) -> Result<Vec<Row>, Fault> {
        let mut answers = Vec::new();
        for chunk in rows.chunks(ROWS_MAX * self.width) {
            let (text, values) = self.padded(Vec::new(), chunk);
            answers.extend(connection.rows(text, values).await?);
        }
        Ok(answers)
    }

    /// The text that holds these tuples (at most 64 of them) and its values: `fixed` first, the last tuple repeated.
    pub(crate) fn padded(&self, fixed: Vec<Value>, tuples: &[Value]) -> (&'static str, Vec<Value>) {
        let count = tuples.len() / self.width;
        let fitting = self.texts.iter().rev().find(|(size, _)| *size >= count);
        let (size, text) = fitting.copied().unwrap_or((0, ""));
        let mut values = fixed;
        values.extend_from_slice(tuples);
        let last = tuples.rchunks(self.width).next().unwrap_or_default();
        for _ in count..size {
            values.extend_from_slice(last);
        }
        (text, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_numbers_its_places_after_the_fixed_ones() {
        let bulk = Bulk::new("SELECT $1 IN (VALUES", 1, 2, ")");
        assert_eq!(bulk.texts(false).last(), Some("SELECT $1 IN (VALUES ($2, $3) )"));
        assert!(bulk.texts(false).any(|text| text.ends_with("($2, $3), ($4, $5) )")));
    }

    #[test]
    fn a_short_question_repeats_its_last_tuple() {
        let bulk = Bulk::new("", 0, 2, "");
        let tuples: Vec<Value> = (0..6).map(Value::Int).collect();
        let (text, values) = bulk.padded(Vec::new(), &tuples);
        let numbers: Vec<i64> =
            values.iter().filter_map(|v| if let Value::Int(n) = v { Some(*n) } else { None }).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 4, 5]);
        assert!(text.contains("$8") && !text.contains("$9"));
    }
}

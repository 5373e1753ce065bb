//! A rule as a question to the lake's `events` table, in the lake's own dialect.
//!
//! Values are read out of `raw` by `json_text`, so any field of the record can be asked for. What SQL cannot say as the
//! engine says it is refused with its reason; where it says nearly the same, the export carries a [`SqlCaveat`].
//! `NOT` is written as `IS NOT TRUE`: a field that is absent makes a test false, never unknown.

use crate::fold::fold;
use crate::profile::{CHANNEL, EVENT_ID, Gate, Profile, Step};
use crate::sigma::{Comparison, Expr, Matcher, Part, Pattern, Rule, Test};
use std::collections::BTreeSet;
use thiserror::Error;

/// Operators that the lake takes in one statement; some are left for what others add.
const OPERATORS_MAX: usize = 200;
/// Open parentheses that the lake takes in one statement.
const NESTING_MAX: usize = 38;
/// Bytes that the lake takes in one statement.
const SQL_BYTES_MAX: usize = 120 << 10;

/// A rule as SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlExport {
    /// One `SELECT` over `events`, without limit and order.
    pub sql: String,
    /// Where it may answer otherwise than the rule, in order.
    pub caveats: Vec<SqlCaveat>,
}

/// Where the SQL may answer otherwise than the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlCaveat {
    /// A list in a record is compared as its JSON text, not value by value.
    Lists,
    /// Of several places where a field may stand the first that holds a value counts.
    FirstPlace,
    /// `exists` does not see a field whose value is null.
    NullIsAbsent,
    /// Records of other sources are asked too: add `source = '...'`.
    AnySource,
}

/// The rule cannot be said in SQL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SqlError {
    /// It looks at every value of a record.
    #[error("a keyword looks at every value of a record; bind it to a field to export the rule")]
    Keyword,
    /// The lake has no arithmetic of networks.
    #[error("`{0}|cidr` has no counterpart in SQL; compare with prefixes of addresses instead")]
    Network(String),
    /// Parts of times are read leniently by the engine and not by SQL.
    #[error("a part of the time in `{0}` has no counterpart in SQL; use the time range of the question")]
    TimePart(String),
    /// An expression needs lookaround or backreferences.
    #[error("the expression of `{0}` needs lookaround or backreferences, which SQL has not; rewrite it")]
    Backtracking(String),
    /// Records of the format are never asked.
    #[error("the rule is not asked of records in this format: {0}; choose the format of its log source")]
    OtherFormat(&'static str),
    /// The statement is longer than the lake takes.
    #[error("the statement has {found} {what}; the lake takes {most}: split the rule")]
    TooLong {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// At most.
        most: usize,
    },
}

/// The rule as SQL for records of a format. Correlations have none: they are not about one row.
///
/// # Errors
/// [`SqlError`] names what cannot be said.
pub fn sql(rule: &Rule, profile: &Profile) -> Result<SqlExport, SqlError> {
    let mut writer = Writer { profile, caveats: BTreeSet::new(), operators: 0 };
    let gate = match profile.gate(&rule.logsource) {
        Gate::Closed(reason) => return Err(SqlError::OtherFormat(reason)),
        Gate::Open(gate) => gate,
    };
    if gate == Expr::And(Vec::new()) {
        writer.caveats.insert(SqlCaveat::AnySource);
    }
    let condition = writer.expr(&Expr::And(vec![gate, rule.expr.clone()]))?;
    // Part 0 is the record itself; others are findings made from it.
    let sql = format!("SELECT id, time, source, raw FROM events WHERE log_part = 0 AND {condition}");
    let bound = |what, found, most| if found > most { Err(SqlError::TooLong { what, found, most }) } else { Ok(()) };
    bound("operators", writer.operators, OPERATORS_MAX)?;
    bound("open parentheses", nesting(&sql), NESTING_MAX)?;
    bound("bytes", sql.len(), SQL_BYTES_MAX)?;
    Ok(SqlExport { sql, caveats: writer.caveats.into_iter().collect() })
}

/// The deepest open parentheses outside quotes.
fn nesting(sql: &str) -> usize {
    let (mut open, mut deepest, mut quoted) = (0_usize, 0, false);
    for byte in sql.bytes() {
        match byte {
            b'\'' => quoted = !quoted,
            b'(' if !quoted => {
                open = open.saturating_add(1);
                deepest = deepest.max(open);
            }
            b')' if !quoted => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

struct Writer<'a> {
    profile: &'a Profile,
    caveats: BTreeSet<SqlCaveat>,
    operators: usize,
}

impl Writer<'_> {
    fn expr(&mut self, expr: &Expr) -> Result<String, SqlError> {
        match expr {
            Expr::Test(test) => self.test(test),
            Expr::Not(inner) => {
                let inner = self.expr(inner)?;
                self.operators = self.operators.saturating_add(1);
                Ok(format!("({inner}) IS NOT TRUE"))
            }
            Expr::And(_) => {
                let mut parts = Vec::new();
                self.conjunction(expr, &mut parts)?;
                Ok(self.joined(parts, " AND ", "true"))
            }
            Expr::Or(items) => {
                let parts = self.alternatives(items)?;
                Ok(self.joined(parts, " OR ", "false"))
            }
        }
    }

    /// The parts of nested conjunctions, side by side.
    fn conjunction(&mut self, expr: &Expr, parts: &mut Vec<String>) -> Result<(), SqlError> {
        match expr {
            Expr::And(items) => items.iter().try_for_each(|item| self.conjunction(item, parts)),
            other => {
                parts.push(self.expr(other)?);
                Ok(())
            }
        }
    }

    fn joined(&mut self, mut parts: Vec<String>, operator: &str, none: &str) -> String {
        match parts.len() {
            0 => none.to_owned(),
            1 => parts.remove(0),
            count => {
                self.operators = self.operators.saturating_add(count.saturating_sub(1));
                format!("({})", parts.join(operator))
            }
        }
    }

    /// Texts of one field go together: long chains of `OR` are what planners are worst at.
    fn alternatives(&mut self, items: &[Expr]) -> Result<Vec<String>, SqlError> {
        let mut fields: Vec<(&str, Vec<&Pattern>)> = Vec::new();
        let mut parts = Vec::new();
        for item in items {
            match item {
                Expr::Test(Test { field: Some(field), matcher: Matcher::Text(pattern) })
                    if !pattern.cased() && pattern.placeholder().is_none() && *pattern.parts() != [Part::Any] =>
                {
                    match fields.iter_mut().find(|(name, _)| *name == &**field) {
                        Some((_, patterns)) => patterns.push(pattern),
                        None => fields.push((field, vec![pattern])),
                    }
                }
                other => parts.push(self.expr(other)?),
            }
        }
        for (field, patterns) in fields {
            let value = self.value(field);
            let plain = |pattern: &&Pattern| pattern.as_literal().is_some_and(str::is_ascii);
            let (whole, open): (Vec<&Pattern>, Vec<&Pattern>) = patterns.into_iter().partition(plain);
            match whole.as_slice() {
                [] => {}
                [only] => parts.push(self.pattern(&value, only)),
                several => {
                    let literals = several.iter().filter_map(|pattern| pattern.as_literal());
                    let texts: Vec<String> = literals.map(|text| quoted(&text.to_ascii_lowercase())).collect();
                    self.operators = self.operators.saturating_add(1);
                    parts.push(format!("lower({value}) IN ({})", texts.join(", ")));
                }
            }
            match open.as_slice() {
                [] => {}
                [only] => parts.push(self.pattern(&value, only)),
                several => {
                    let pieces: Vec<String> = several.iter().map(|pattern| expression(pattern)).collect();
                    parts.push(format!("regexp_like({value}, {})", quoted(&format!("(?is){}", pieces.join("|")))));
                }
            }
        }
        Ok(parts)
    }

    fn test(&mut self, test: &Test) -> Result<String, SqlError> {
        let Some(field) = test.field.as_deref() else { return Err(SqlError::Keyword) };
        let value = self.value(field);
        Ok(match &test.matcher {
            Matcher::Exists => {
                self.caveats.insert(SqlCaveat::NullIsAbsent);
                self.operator(format!("{value} IS NOT NULL"))
            }
            Matcher::Null => self.operator(format!("{value} IS NULL")),
            Matcher::Text(pattern) if pattern.placeholder().is_some() => "false".to_owned(),
            Matcher::Text(pattern) => self.pattern(&value, pattern),
            Matcher::Number(number) => self.operator(format!("{value} = '{number}'")),
            Matcher::Compare(comparison, number) => {
                let operator = match comparison {
                    Comparison::Less => "<",
                    Comparison::LessEqual => "<=",
                    Comparison::Greater => ">",
                    Comparison::GreaterEqual => ">=",
                };
                self.operator(format!("try_cast({value} AS DOUBLE) {operator} {number}"))
            }
            Matcher::Cidr(_) => return Err(SqlError::Network(field.to_owned())),
            Matcher::Time(..) => return Err(SqlError::TimePart(field.to_owned())),
            Matcher::Regexp(regexp) if regexp.backtracks() => return Err(SqlError::Backtracking(field.to_owned())),
            Matcher::Regexp(regexp) => {
                let flags = regexp.flags();
                let letters = [(flags.ignore_case, "i"), (flags.multi_line, "m"), (flags.dot_all, "s")];
                let letters: String = letters.into_iter().filter(|(on, _)| *on).map(|(_, letter)| letter).collect();
                let prefix = if letters.is_empty() { String::new() } else { format!("(?{letters})") };
                format!("regexp_like({value}, {})", quoted(&format!("{prefix}{}", regexp.source())))
            }
            Matcher::FieldRef { other, open_start, open_end, cased } => {
                let other = self.value(other);
                let folded = |text: &str| if *cased { text.to_owned() } else { format!("lower({text})") };
                let (mine, theirs) = (folded(&value), folded(&other));
                match (open_start, open_end) {
                    (false, false) => self.operator(format!("{mine} = {theirs}")),
                    (false, true) => format!("starts_with({mine}, {theirs})"),
                    (true, false) => format!("ends_with({mine}, {theirs})"),
                    (true, true) => self.operator(format!("strpos({mine}, {theirs}) > 0")),
                }
            }
            Matcher::Unresolved(_) => "false".to_owned(),
        })
    }

    fn operator(&mut self, text: String) -> String {
        self.operators = self.operators.saturating_add(1);
        text
    }

    fn pattern(&mut self, value: &str, pattern: &Pattern) -> String {
        let ascii = pattern.parts().iter().all(|part| match part {
            Part::Text(text) => text.is_ascii(),
            Part::Dash | Part::Placeholder(_) => false,
            Part::Any | Part::One => true,
        });
        match (pattern.parts(), pattern.cased()) {
            ([Part::Any], _) => self.operator(format!("{value} IS NOT NULL")),
            ([], _) => self.operator(format!("{value} = ''")),
            ([Part::Text(text)], true) => self.operator(format!("{value} = {}", quoted(text))),
            ([Part::Text(text)], false) if ascii => format!("equals_fold({value}, {})", quoted(text)),
            ([Part::Any, Part::Text(text), Part::Any], false) if ascii => {
                format!("contains_fold({value}, {})", quoted(text))
            }
            (parts, false) if ascii => {
                let like: String = parts.iter().map(like).collect();
                self.operator(format!("{value} ILIKE {} ESCAPE '\\'", quoted(&like)))
            }
            (_, cased) => {
                let flags = if cased { "(?s)" } else { "(?is)" };
                format!("regexp_like({value}, {})", quoted(&format!("{flags}{}", expression(pattern))))
            }
        }
    }

    /// The text of a field's value.
    fn value(&mut self, field: &str) -> String {
        self.caveats.insert(SqlCaveat::Lists);
        let named = match field {
            CHANNEL | EVENT_ID => self.profile.paths(field),
            _ => self.profile.paths(field).into_iter().filter(|path| !path.contains(&Step::AnyKey)).collect(),
        };
        let mut paths: Vec<String> = Vec::new();
        for path in named {
            let names: Vec<&str> = path
                .iter()
                .map(|step| match step {
                    Step::Key(name) | Step::Blank(name) => &**name,
                    Step::AnyKey => "",
                })
                .collect();
            // `json_text` takes a flat key with dots and nesting for the same.
            let path = names.join(".");
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        let mut texts: Vec<String> = paths.iter().map(|path| format!("json_text(raw, {})", quoted(path))).collect();
        if texts.len() == 1 {
            return texts.remove(0);
        }
        self.caveats.insert(SqlCaveat::FirstPlace);
        format!("coalesce({})", texts.join(", "))
    }
}

fn like(part: &Part) -> String {
    match part {
        Part::Text(text) => text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"),
        Part::Any => "%".to_owned(),
        _ => "_".to_owned(),
    }
}

/// A pattern as a regular expression, to be read with `s` and, unless case counts, `i`.
fn expression(pattern: &Pattern) -> String {
    let parts = pattern.parts();
    let open = |part: Option<&Part>| part == Some(&Part::Any);
    let inner = match (open(parts.first()), open(parts.last())) {
        (true, true) if parts.len() > 1 => parts.get(1..parts.len().saturating_sub(1)),
        (true, false) => parts.get(1..),
        (false, true) => parts.get(..parts.len().saturating_sub(1)),
        _ => Some(parts),
    };
    let mut text = String::new();
    if !open(parts.first()) {
        text.push_str("\\A");
    }
    for part in inner.unwrap_or_default() {
        match part {
            // Folded, so that the expression shows what is compared; the flag does the rest.
            Part::Text(literal) if !pattern.cased() => text.push_str(&regex::escape(&fold(literal))),
            Part::Text(literal) => text.push_str(&regex::escape(literal)),
            Part::Any => text.push_str(".*"),
            Part::One => text.push('.'),
            Part::Dash => text.push_str("[-/–—―]"),
            Part::Placeholder(_) => text.push_str("[^\\s\\S]"),
        }
    }
    if !open(parts.last()) {
        text.push_str("\\z");
    }
    text
}

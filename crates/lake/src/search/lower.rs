//! A search's tree into a condition on the table's columns.

use super::token::fault;
use super::{Bound, Node, Test};
use crate::ask::{AskError, near};
use crate::functions::named;
use crate::observable::{self, columns_of_kind, kind_named};
use crate::schema::{logical, time_type};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::prelude::{Expr, col, lit};
use event::mapping::{COLUMNS, ObservableKind};
use event::ocsf::Schema;
use ids::Timestamp;

/// What a field's name stands for.
enum Field {
    Class,
    Column(&'static str, DataType),
    Kind(&'static str, ObservableKind),
    /// A path within the record's own text.
    Raw(String),
    Severity,
}

const SEVERITIES: [(&str, i32); 8] = [
    ("unknown", 0),
    ("informational", 1),
    ("info", 1),
    ("low", 2),
    ("medium", 3),
    ("high", 4),
    ("critical", 5),
    ("fatal", 6),
];

/// The condition of a search.
pub(crate) fn lower(node: &Node) -> Result<Expr, AskError> {
    match node {
        Node::All(parts) => joined(parts, Expr::and),
        Node::Any(parts) => joined(parts, Expr::or),
        // What has no value does not have this value.
        Node::Not(inner) => Ok(!datafusion::functions::core::expr_fn::coalesce(vec![lower(inner)?, lit(false)])),
        Node::Term { at, field: None, test } => bare(*at, test),
        Node::Term { at, field: Some(name), test } => match resolve(*at, name)? {
            Field::Class => class(*at, test),
            Field::Severity => severity(*at, test),
            Field::Raw(path) => text(*at, call("json_text", vec![col("raw"), lit(path)]), test),
            Field::Kind(kind, of) => observed(*at, kind, of, test),
            Field::Column(name, DataType::Utf8View) => text(*at, col(name), test),
            Field::Column(name, kind) => ordered(*at, name, &kind, test),
        },
    }
}

/// A balanced tree: a chain of a hundred would be as deep as it is long.
fn joined(parts: &[Node], with: fn(Expr, Expr) -> Expr) -> Result<Expr, AskError> {
    match parts {
        [only] => lower(only),
        parts => {
            let (left, right) = parts.split_at(parts.len() / 2);
            Ok(with(joined(left, with)?, joined(right, with)?))
        }
    }
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    // The functions are ours and registered; a name without one cannot be written here.
    named(name).map_or(lit(false), |function| function.call(arguments))
}

fn resolve(at: usize, name: &str) -> Result<Field, AskError> {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "class" | "class_name" => return Ok(Field::Class),
        "severity" => return Ok(Field::Severity),
        _ => {}
    }
    if let Some(path) = name.strip_prefix("raw.") {
        return Ok(Field::Raw(path.to_owned()));
    }
    if let Some((kind, of)) = observable::KINDS.iter().find(|(kind, _)| *kind == lower) {
        debug_assert!(kind_named(kind) == Some(*of));
        return Ok(Field::Kind(kind, *of));
    }
    let by_path = COLUMNS.iter().find(|column| column.path == lower).map(|column| column.name);
    let column = by_path.unwrap_or(lower.as_str());
    if column == "id" {
        return Ok(Field::Column("id", DataType::Utf8View));
    }
    let field = logical().fields().iter().find(|field| field.name() == column);
    if let Some(field) = field {
        return Ok(Field::Column(field.name(), field.data_type().clone()));
    }
    let names = logical().fields().iter().map(|field| field.name().as_str());
    let near = near(&lower.replace('.', "_"), names);
    let hint = match near.as_slice() {
        [] => format!("ask `fields` for those that exist, or write `raw.{name}:` for the source's own field"),
        near => format!("perhaps `{}`; the source's own fields are `raw.{name}:`", near.join("`, `")),
    };
    Err(fault(at, format!("there is no field `{name}`"), hint))
}

fn bare(at: usize, test: &Test) -> Result<Expr, AskError> {
    match test {
        Test::Text(value) => Ok(in_raw(value)),
        Test::Wild(pattern) => Ok(col("raw").ilike(lit(format!("%{}%", like(pattern))))),
        Test::Exists => Ok(lit(true)),
        Test::Range(..) => Err(fault(at, "a range without a field", "write `field:[low TO high]`")),
    }
}

/// A text in raw, as it is or as JSON writes it.
fn in_raw(value: &str) -> Expr {
    let found = |value: &str| call("contains_fold", vec![col("raw"), lit(value)]);
    let quoted = serde_json::to_string(value).unwrap_or_default();
    match quoted.get(1..quoted.len().saturating_sub(1)) {
        Some(inner) if inner != value => found(value).or(found(inner)),
        _ => found(value),
    }
}

/// `*` and `?` as LIKE writes them.
fn like(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len() + 4);
    for letter in pattern.chars() {
        match letter {
            '*' => text.push('%'),
            '?' => text.push('_'),
            '%' | '_' | '\\' => text.extend(['\\', letter]),
            letter => text.push(letter),
        }
    }
    text
}

fn text(at: usize, column: Expr, test: &Test) -> Result<Expr, AskError> {
    Ok(match test {
        Test::Exists => column.is_not_null(),
        Test::Text(value) => call("equals_fold", vec![column, lit(value.as_str())]),
        Test::Wild(pattern) => {
            let inner = pattern.strip_prefix('*').and_then(|rest| rest.strip_suffix('*'));
            match inner.filter(|inner| !inner.contains(['*', '?'])) {
                Some(inner) => call("contains_fold", vec![column, lit(inner)]),
                None => column.ilike(lit(like(pattern))),
            }
        }
        Test::Range(low, high) => between(at, column, low, high, |bound| Ok(lit(bound)))?,
    })
}

fn between(
    at: usize,
    column: Expr,
    low: &Option<Bound>,
    high: &Option<Bound>,
    value: impl Fn(&str) -> Result<Expr, AskError>,
) -> Result<Expr, AskError> {
    let mut conditions = Vec::new();
    if let Some(Bound { text, inclusive }) = low {
        let bound = value(text)?;
        conditions.push(if *inclusive { column.clone().gt_eq(bound) } else { column.clone().gt(bound) });
    }
    if let Some(Bound { text, inclusive }) = high {
        let bound = value(text)?;
        conditions.push(if *inclusive { column.clone().lt_eq(bound) } else { column.lt(bound) });
    }
    let none = || fault(at, "a range without bounds", "write `field:*` for any value");
    conditions.into_iter().reduce(Expr::and).ok_or_else(none)
}

fn ordered(at: usize, name: &str, kind: &DataType, test: &Test) -> Result<Expr, AskError> {
    let column = col(name);
    let value = |text: &str| -> Result<Expr, AskError> {
        if let DataType::Timestamp(..) = kind {
            return Ok(lit(ScalarValue::TimestampMicrosecond(Some(time(at, text)?.as_micros()), Some("UTC".into()))));
        }
        let number: i64 = text.parse().map_err(|_| {
            fault(at, format!("`{text}` is not a whole number"), format!("`{name}` holds whole numbers"))
        })?;
        Ok(match kind {
            DataType::Int16 => i16::try_from(number).map_or_else(|_| lit(number), lit),
            DataType::Int32 => i32::try_from(number).map_or_else(|_| lit(number), lit),
            _ => lit(number),
        })
    };
    match test {
        Test::Exists => Ok(column.is_not_null()),
        Test::Text(text) => Ok(column.eq(value(text)?)),
        Test::Range(low, high) => between(at, column, low, high, value),
        Test::Wild(_) => {
            Err(fault(at, format!("`{name}` does not hold text"), "write a value, or a range `[low TO high]`"))
        }
    }
}

/// RFC 3339, or a day.
fn time(at: usize, text: &str) -> Result<Timestamp, AskError> {
    let whole = text.parse::<Timestamp>().or_else(|_| format!("{text}T00:00:00Z").parse());
    whole.map_err(|_| {
        fault(at, format!("`{text}` is not a time"), "write `2026-11-22T15:04:05Z` or `2026-11-22`; `*` for open")
    })
}

fn class(at: usize, test: &Test) -> Result<Expr, AskError> {
    let Test::Text(name) = test else {
        return Err(fault(at, "a class is named whole", "write `class:process_activity` or `class:1007`"));
    };
    let lower = name.to_ascii_lowercase();
    let by_number = || lower.parse::<u32>().ok();
    let by_name = || Schema::built_in().class_named(&lower).map(|class| class.uid);
    let detections = || (lower == "detections").then_some(crate::DETECTION_CLASS);
    let uid = by_number().or_else(by_name).or_else(detections).and_then(|uid| i32::try_from(uid).ok());
    let uid = uid.ok_or_else(|| fault(at, format!("there is no class `{name}`"), "write `process_activity`, say"))?;
    Ok(col("class_uid").eq(lit(uid)))
}

fn severity(at: usize, test: &Test) -> Result<Expr, AskError> {
    let value = |text: &str| -> Result<Expr, AskError> {
        let lower = text.to_ascii_lowercase();
        let named = SEVERITIES.iter().find(|(name, _)| *name == lower).map(|(_, id)| *id);
        let id = named.or_else(|| lower.parse().ok()).ok_or_else(|| {
            fault(
                at,
                format!("`{text}` is not a severity"),
                "write informational, low, medium, high, critical or fatal",
            )
        })?;
        Ok(lit(id))
    };
    match test {
        Test::Text(text) => Ok(col("severity_id").eq(value(text)?)),
        Test::Range(low, high) => between(at, col("severity_id"), low, high, value),
        Test::Exists => Ok(lit(true)),
        Test::Wild(_) => Err(fault(at, "a severity is named whole", "write `severity:>=high`")),
    }
}

fn observed(at: usize, name: &str, kind: ObservableKind, test: &Test) -> Result<Expr, AskError> {
    let columns = columns_of_kind(kind).map(|column| text(at, col(column), test));
    // A mapping may have made the value from something that raw writes otherwise: the columns count as well.
    let raw = match test {
        Test::Text(value) => Some(Ok(call("has_observable", vec![col("raw"), lit(name), lit(value.as_str())]))),
        _ => None,
    };
    let whole = columns.chain(raw).reduce(|left, right| Ok(left?.or(right?)));
    whole.unwrap_or_else(|| Ok(lit(false)))
}

/// The type of times, for those who build conditions of their own.
pub(crate) fn instant(time: Timestamp) -> Expr {
    debug_assert!(matches!(time_type(), DataType::Timestamp(..)));
    lit(ScalarValue::TimestampMicrosecond(Some(time.as_micros()), Some("UTC".into())))
}

//! A document as SigmaHQ writes it: keys in its order, four blanks an indentation, what only Posse knows left out and
//! told. What is written is read again before it is given out, so that it cannot mean something else.

use crate::sigma::{Document, Rejection, parse};
use crate::yaml::{self, Node, Value};
use std::fmt::Write as _;
use thiserror::Error;

/// The keys of Sigma's documents, in SigmaHQ's order.
const KEYS: [&str; 21] = [
    "title",
    "id",
    "name",
    "taxonomy",
    "related",
    "status",
    "description",
    "license",
    "references",
    "author",
    "date",
    "modified",
    "tags",
    "logsource",
    "detection",
    "correlation",
    "filter",
    "fields",
    "falsepositives",
    "level",
    "scope",
];
/// Words that readers of YAML 1.1 take for truth values.
const TRUTHS: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "true", "false"];
/// Deepest nesting that is written.
const DEPTH_MAX: usize = 40;

/// A text in SigmaHQ's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigmaExport {
    /// Every document, `---` between them.
    pub yaml: String,
    /// Keys that were left out, each once.
    pub left_out: Vec<String>,
}

/// The text cannot be given as SigmaHQ's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SigmaExportError {
    /// It does not load.
    #[error("{0}")]
    Rejected(Box<Rejection>),
    /// A correlation of a type that Sigma has not.
    #[error("`{0}` learns what is usual, which no type of Sigma does; other tools cannot read it")]
    OwnType(String),
    /// Something in it cannot be written so that it is read as the same.
    #[error("`{0}` holds something that does not survive being written; simplify it")]
    Unfaithful(String),
    /// There is nothing in it.
    #[error("the text holds no document; give a rule, a correlation or a filter")]
    Empty,
}

/// A rule file as SigmaHQ writes it.
///
/// # Errors
/// [`SigmaExportError`] where a document does not load, or is of a type that Sigma has not.
pub fn sigma(text: &str) -> Result<SigmaExport, SigmaExportError> {
    let before = load(text)?;
    if before.is_empty() {
        return Err(SigmaExportError::Empty);
    }
    for document in &before {
        if let Document::Correlation(correlation) = document
            && correlation.kind.learns()
        {
            return Err(SigmaExportError::OwnType(correlation.title.clone()));
        }
    }
    // It has loaded, so it is YAML.
    let nodes = yaml::documents(text).unwrap_or_default();
    let mut export = SigmaExport { yaml: String::new(), left_out: Vec::new() };
    for node in nodes.iter().filter(|node| node.value != Value::Null) {
        if !export.yaml.is_empty() {
            export.yaml.push_str("---\n");
        }
        let Value::Map(pairs) = &node.value else { continue };
        for key in KEYS {
            if let Some(value) = node.entry(key) {
                entry(&mut export.yaml, key, value, 0);
            }
        }
        for (key, _) in pairs.iter().filter(|(key, _)| !KEYS.contains(&key.as_str())) {
            if !export.left_out.contains(key) {
                export.left_out.push(key.clone());
            }
        }
    }
    let after = load(&export.yaml)?;
    let faithful = before.len() == after.len() && before.iter().zip(&after).all(|(before, after)| same(before, after));
    if faithful { Ok(export) } else { Err(SigmaExportError::Unfaithful(title(before.first()))) }
}

fn load(text: &str) -> Result<Vec<Document>, SigmaExportError> {
    let documents: Result<Vec<Document>, Rejection> = parse("", text, &|_| None).into_iter().collect();
    documents.map_err(|rejection| SigmaExportError::Rejected(Box::new(rejection)))
}

fn title(document: Option<&Document>) -> String {
    match document {
        Some(Document::Rule(rule)) => rule.title.clone(),
        Some(Document::Filter(filter)) => filter.title.clone(),
        Some(Document::Correlation(correlation)) => correlation.title.clone(),
        None => String::new(),
    }
}

/// The same but for its lines.
fn same(before: &Document, after: &Document) -> bool {
    let mut after = after.clone();
    match (before, &mut after) {
        (Document::Rule(before), Document::Rule(after)) => after.source = before.source.clone(),
        (Document::Filter(before), Document::Filter(after)) => after.source = before.source.clone(),
        (Document::Correlation(before), Document::Correlation(after)) => after.source = before.source.clone(),
        _ => return false,
    }
    *before == after
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("    ", depth.min(DEPTH_MAX)));
}

fn entry(out: &mut String, key: &str, value: &Node, depth: usize) {
    indent(out, depth);
    out.push_str(&scalar(key));
    out.push(':');
    below(out, value, depth);
}

/// What stands behind `key:` or `-`.
fn below(out: &mut String, node: &Node, depth: usize) {
    match &node.value {
        Value::Map(pairs) if !pairs.is_empty() => {
            out.push('\n');
            for (key, value) in pairs {
                entry(out, key, value, depth.saturating_add(1));
            }
        }
        Value::List(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                element(out, item, depth.saturating_add(1));
            }
        }
        Value::Text(text) if block(text) => {
            out.push_str(if text.ends_with('\n') { " |\n" } else { " |-\n" });
            for line in text.trim_end_matches('\n').split('\n') {
                if !line.is_empty() {
                    indent(out, depth.saturating_add(1));
                    out.push_str(line);
                }
                out.push('\n');
            }
        }
        other => {
            out.push(' ');
            out.push_str(&plain(other));
            out.push('\n');
        }
    }
}

fn element(out: &mut String, item: &Node, depth: usize) {
    indent(out, depth);
    out.push('-');
    match &item.value {
        Value::Map(pairs) if !pairs.is_empty() => {
            // The first key stands behind the dash, the others below it.
            let mut inner = String::new();
            for (key, value) in pairs {
                entry(&mut inner, key, value, depth.saturating_add(1));
            }
            out.push_str("   ");
            out.push_str(inner.trim_start_matches(' '));
        }
        _ => below(out, item, depth),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Text(text) => scalar(text),
        Value::List(_) => "[]".to_owned(),
        Value::Map(_) => "{}".to_owned(),
    }
}

/// A text of several lines that a literal block keeps as it is.
fn block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\t', '\n'])
        && body.chars().all(|c| c == '\n' || !c.is_control() && !matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}'))
}

/// `2024-01-31`, as Sigma writes dates, without quotes.
fn date(text: &str) -> bool {
    text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-') && text.matches('-').count() == 2
}

/// Some reader may take it for a number: of base 8, 16 or 60, or a version.
fn number_like(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_hexdigit() || b".+-_xo:".contains(&b))
}

/// A text on one line: as it is where no reader takes it for something else, otherwise in quotes.
fn scalar(text: &str) -> String {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '/');
    let safe = |c: char| c.is_ascii_alphanumeric() || " _./()|,-+;@=<>".contains(c);
    let bare = first
        && !text.ends_with(' ')
        && text.chars().all(safe)
        && !TRUTHS.contains(&text.to_ascii_lowercase().as_str())
        && yaml::documents(text)
            .is_ok_and(|nodes| matches!(nodes.as_slice(), [Node { value: Value::Text(read), .. }] if read == text))
        && (date(text) || !number_like(text));
    if bare {
        return text.to_owned();
    }
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{85}')) {
        let mut escaped = String::from("\"");
        for character in text.chars() {
            match character {
                '"' | '\\' => {
                    escaped.push('\\');
                    escaped.push(character);
                }
                '\n' => escaped.push_str("\\n"),
                '\t' => escaped.push_str("\\t"),
                c if c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}') => {
                    // Writing to a string cannot fail.
                    let _written = write!(escaped, "\\U{:08x}", u32::from(c));
                }
                c => escaped.push(c),
            }
        }
        escaped.push('"');
        return escaped;
    }
    format!("'{}'", text.replace('\'', "''"))
}

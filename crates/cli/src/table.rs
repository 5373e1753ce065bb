//! Answers as text for people. What comes from outside cannot move the cursor, change colours or hide text.

use api::Spec;
use serde_json::Value;

/// Columns of a list at most; the rest is in the other formats.
const COLUMNS_MAX: usize = 7;
/// Characters of a cell at most.
const CELL_CHARS_MAX: usize = 48;

/// A list: a heading and a line for each item.
pub(crate) fn of_items(items: &[Value], spec: &Spec) -> String {
    let declared = spec.output_schema().pointer("/properties/items/items/properties").and_then(Value::as_object);
    of_rows(items, declared.map(|fields| fields.keys().cloned().collect()))
}

fn of_rows(items: &[Value], declared: Option<Vec<String>>) -> String {
    let columns = columns(items, declared);
    if columns.is_empty() {
        return items.iter().map(|item| format!("{}\n", cell(item))).collect();
    }
    let mut rows = vec![columns.iter().map(|name| clean(name, false).to_uppercase()).collect::<Vec<_>>()];
    rows.extend(
        items
            .iter()
            .map(|item| columns.iter().map(|name| item.get(name.as_str()).map(cell).unwrap_or_default()).collect()),
    );
    aligned(&rows)
}

/// One object: a line for each field; texts of several lines stand below their name.
pub(crate) fn of_object(document: &Value) -> String {
    let Some(fields) = document.as_object() else { return format!("{}\n", cell(document)) };
    let width = fields.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, value) in fields {
        let name = clean(name, false);
        match value {
            Value::String(text) if text.contains('\n') => {
                out.push_str(&format!("{name}\n"));
                out.extend(clean(text, true).lines().map(|line| format!("  {line}\n")));
            }
            Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
                out.push_str(&format!("{name}\n"));
                out.extend(of_rows(items, None).lines().map(|line| format!("  {line}\n")));
            }
            value => out.push_str(&format!("{name:<width$}  {}\n", whole(value))),
        }
    }
    out
}

/// The fields that a person looks for first: those that are declared, else those of the first item, in that order, as
/// far as they hold plain values.
fn columns(items: &[Value], declared: Option<Vec<String>>) -> Vec<String> {
    let seen = || items.first().and_then(Value::as_object).map(|item| item.keys().cloned().collect());
    let fits = |name: &String| {
        let mut values = items.iter().filter_map(|item| item.get(name.as_str())).peekable();
        let plain = |value: &Value| match value {
            Value::Array(parts) => parts.iter().all(|part| !part.is_object() && !part.is_array()),
            Value::Object(_) => false,
            _ => true,
        };
        name != "etag" && (items.is_empty() || values.peek().is_some()) && values.all(plain)
    };
    declared.or_else(seen).unwrap_or_default().into_iter().filter(fits).take(COLUMNS_MAX).collect()
}

fn aligned(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            let length = cell.chars().count();
            match widths.get_mut(at) {
                Some(width) => *width = (*width).max(length),
                None => widths.push(length),
            }
        }
    }
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn cell(value: &Value) -> String {
    let text = whole(value);
    if text.chars().count() <= CELL_CHARS_MAX {
        return text;
    }
    text.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect()
}

fn whole(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => clean(text, false),
        Value::Array(items) => items.iter().map(whole).collect::<Vec<_>>().join(", "),
        value => clean(&value.to_string(), false),
    }
}

/// Text without control characters and without those that turn the direction of text; line ends stay where asked.
pub(crate) fn clean(text: &str, keep_lines: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (keep_lines && character == '\n') || !(character.is_control() || turns) {
            out.push(character);
        } else {
            out.extend(character.escape_default());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_from_outside_does_not_reach_the_terminal_raw() {
        assert_eq!(clean("a\u{1b}[31mb\r\n\u{202e}c", false), "a\\u{1b}[31mb\\r\\n\\u{202e}c");
        assert_eq!(clean("a\nb\t", true), "a\nb\\t");
        assert!(
            !of_object(&json!({ "x\u{1b}": "\u{7}", "y": { "z": "\u{9b}" } })).contains(['\u{1b}', '\u{7}', '\u{9b}'])
        );
    }

    #[test]
    fn an_object_is_a_line_for_each_field() {
        let text = of_object(
            &json!({ "id": "x", "tags": ["a", "b"], "note": "one\ntwo", "parts": [{ "n": 1, "of": "x" }], "no": null }),
        );
        assert_eq!(text, "id     x\ntags   a, b\nnote\n  one\n  two\nparts\n  N  OF\n  1  x\nno     \n");
    }
}

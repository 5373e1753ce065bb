//! As much of XML 1.0 as services answer with: elements, attributes (passed over), text, CDATA, comments, a declaration. No
//! document type and no entity but the five of the standard, so nothing expands. Bounded in depth and number.

use serde_json::{Map, Value};
use thiserror::Error;

/// The deepest nesting.
const DEPTH_MAX: usize = 64;
/// The most elements.
const ELEMENTS_MAX: usize = 50_000;

/// Why a text is not XML that is read here.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
pub enum XmlError {
    /// Something that is not well formed.
    #[error("is not well-formed XML")]
    Form,
    /// A document type, or an entity that is not of the standard.
    #[error("has a document type or an entity of its own, which is not read")]
    Refused,
    /// Too deep or too many elements.
    #[error("is nested deeper, or has more elements, than is read")]
    TooLarge,
}

/// An element under way: its name, its children, its text.
struct Open<'a> {
    name: &'a str,
    children: Map<String, Value>,
    text: String,
}

/// Read a document as `{root: ...}`. An element with children is an object of them, one without a text; several of one name
/// become a list, and `member` (the AWS query protocol's word for an item) always is one.
///
/// # Errors
/// [`XmlError`].
pub fn read(text: &str) -> Result<Value, XmlError> {
    let mut open = vec![Open { name: "", children: Map::new(), text: String::new() }];
    let mut rest = text.trim_start_matches('\u{feff}');
    let mut elements = 0_usize;
    while let Some((before, after)) = rest.split_once('<') {
        push_text(&mut open, before)?;
        rest = if let Some(after) = after.strip_prefix("?") {
            past(after, "?>")?
        } else if let Some(after) = after.strip_prefix("!--") {
            past(after, "-->")?
        } else if let Some(after) = after.strip_prefix("![CDATA[") {
            let (inside, after) = after.split_once("]]>").ok_or(XmlError::Form)?;
            open.last_mut().ok_or(XmlError::Form)?.text.push_str(inside);
            after
        } else if after.starts_with('!') {
            return Err(XmlError::Refused);
        } else if let Some(after) = after.strip_prefix('/') {
            let (name, after) = after.split_once('>').ok_or(XmlError::Form)?;
            close(&mut open, name.trim_end())?;
            after
        } else {
            elements += 1;
            if elements > ELEMENTS_MAX || open.len() > DEPTH_MAX {
                return Err(XmlError::TooLarge);
            }
            begin(&mut open, after)?
        };
    }
    push_text(&mut open, rest)?;
    match (open.pop(), open.is_empty()) {
        (Some(root), true) if root.children.len() == 1 && root.text.trim().is_empty() => {
            Ok(Value::Object(root.children))
        }
        _ => Err(XmlError::Form),
    }
}

fn past<'a>(text: &'a str, end: &str) -> Result<&'a str, XmlError> {
    text.split_once(end).map(|(_, after)| after).ok_or(XmlError::Form)
}

/// A start tag; what stands behind it.
fn begin<'a>(open: &mut Vec<Open<'a>>, text: &'a str) -> Result<&'a str, XmlError> {
    let end = end_of_tag(text).ok_or(XmlError::Form)?;
    let (tag, after) = text.split_at_checked(end).ok_or(XmlError::Form)?;
    let after = after.strip_prefix('>').ok_or(XmlError::Form)?;
    let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
    let name = tag.split_whitespace().next().filter(|_| !tag.starts_with(char::is_whitespace)).ok_or(XmlError::Form)?;
    if name.contains(['<', '"', '\'', '=', '&']) {
        return Err(XmlError::Form);
    }
    open.push(Open { name, children: Map::new(), text: String::new() });
    if empty {
        close(open, name)?;
    }
    Ok(after)
}

/// Where the tag's `>` stands: not one within quotes.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut quote = None;
    for (place, letter) in text.char_indices() {
        match (quote, letter) {
            (None, '>') => return Some(place),
            (None, '"' | '\'') => quote = Some(letter),
            (Some(mark), letter) if mark == letter => quote = None,
            _ => {}
        }
    }
    None
}

fn close(open: &mut Vec<Open<'_>>, name: &str) -> Result<(), XmlError> {
    let done = open.pop().filter(|done| done.name == name && !name.is_empty()).ok_or(XmlError::Form)?;
    let value = if done.children.is_empty() { Value::String(done.text) } else { Value::Object(done.children) };
    let above = &mut open.last_mut().ok_or(XmlError::Form)?.children;
    match above.get_mut(name) {
        Some(Value::Array(items)) => items.push(value),
        Some(one) => *one = Value::Array(vec![one.take(), value]),
        None if name == "member" => drop(above.insert(name.to_owned(), Value::Array(vec![value]))),
        None => drop(above.insert(name.to_owned(), value)),
    }
    Ok(())
}

fn push_text(open: &mut [Open<'_>], text: &str) -> Result<(), XmlError> {
    let into = &mut open.last_mut().ok_or(XmlError::Form)?.text;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        into.push_str(before);
        let (name, after) = after.split_once(';').ok_or(XmlError::Form)?;
        into.push(entity(name)?);
        rest = after;
    }
    into.push_str(rest);
    Ok(())
}

fn entity(name: &str) -> Result<char, XmlError> {
    let number =
        |text: &str, radix| u32::from_str_radix(text, radix).ok().and_then(char::from_u32).ok_or(XmlError::Form);
    match name {
        "amp" => Ok('&'),
        "apos" => Ok('\''),
        "gt" => Ok('>'),
        "lt" => Ok('<'),
        "quot" => Ok('"'),
        name => match (name.strip_prefix("#x"), name.strip_prefix('#')) {
            (Some(digits), _) => number(digits, 16),
            (None, Some(digits)) => number(digits, 10),
            (None, None) => Err(XmlError::Refused),
        },
    }
}

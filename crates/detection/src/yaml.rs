//! YAML into a small tree that knows its lines. Bounds everything: bytes, depth, nodes, alias copies.
//!
//! Scalars follow YAML 1.2's core schema, so `yes` and `off` stay text. Never resolves tags into code or files.

use saphyr_parser::{Event, Parser, ScalarStyle, Span, SpannedEventReceiver};
use std::collections::HashMap;
use thiserror::Error;

/// The longest YAML text that is read, in bytes.
pub const BYTES_MAX: usize = 4 << 20;
/// The deepest nesting that is read.
pub const DEPTH_MAX: usize = 64;
/// The most nodes one text may hold, aliases counted at each use.
pub const NODES_MAX: usize = 200_000;

/// Why a text is not a YAML tree that this crate reads.
#[derive(Debug, Clone, Eq, PartialEq, Error)]
pub enum YamlError {
    /// The text breaks YAML's grammar.
    #[error("line {line}: {message}")]
    Syntax {
        /// 1-based line.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A bound was passed.
    #[error("{0} than this reader takes; split the file")]
    TooLarge(&'static str),
}

/// A value with the line where it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// 1-based line of the value.
    pub line: usize,
    /// The value.
    pub value: Value,
}

/// What a YAML node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without fraction.
    Int(i64),
    /// A number with fraction or exponent.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Pairs in file order.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value under `key` of a map.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(pairs) => pairs.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The text, where the node is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The scalar as text: text itself, numbers and truth values as written canonically.
    #[must_use]
    pub fn scalar_text(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Int(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        }
    }

    /// The noun for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    fn count(&self) -> usize {
        match &self.value {
            Value::List(items) => items.iter().map(Node::count).sum::<usize>().saturating_add(1),
            Value::Map(pairs) => pairs.iter().map(|(_, node)| node.count()).sum::<usize>().saturating_add(1),
            _ => 1,
        }
    }
}

/// Read every document of a text.
///
/// # Errors
/// [`YamlError`] with the line, for broken YAML and for what passes a bound.
pub fn documents(text: &str) -> Result<Vec<Node>, YamlError> {
    if text.len() > BYTES_MAX {
        return Err(YamlError::TooLarge("more bytes"));
    }
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    let outcome = parser.load(&mut builder, true);
    if let Some(failure) = builder.failure {
        return Err(failure);
    }
    outcome.map_err(|e| YamlError::Syntax { line: e.marker().line(), message: e.info().to_owned() })?;
    Ok(builder.documents)
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    failure: Option<YamlError>,
}

enum Open {
    List { line: usize, anchor: usize, items: Vec<Node> },
    Map { line: usize, anchor: usize, pairs: Vec<(String, Node)>, key: Option<String> },
}

impl<'input> SpannedEventReceiver<'input> for Builder {
    fn on_event(&mut self, event: Event<'input>, span: Span) {
        if self.failure.is_some() {
            return;
        }
        if let Err(failure) = self.take(event, span.start.line()) {
            self.failure = Some(failure);
        }
    }
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let forced = tag.is_some_and(|tag| tag.suffix == "str");
                let value =
                    if style == ScalarStyle::Plain && !forced { plain(&text) } else { Value::Text(text.into_owned()) };
                self.place(Node { line, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.enter(Open::List { line, anchor, items: Vec::new() }),
            Event::MappingStart(anchor, _) => self.enter(Open::Map { line, anchor, pairs: Vec::new(), key: None }),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { line, anchor, items }) => {
                    self.place(Node { line, value: Value::List(items) }, anchor)
                }
                Some(Open::Map { line, anchor, pairs, .. }) => {
                    self.place(Node { line, value: Value::Map(pairs) }, anchor)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().ok_or_else(|| YamlError::Syntax {
                    line,
                    message: "alias without an anchor before it".to_owned(),
                })?;
                self.nodes = self.nodes.saturating_add(node.count());
                self.place(node, 0)
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn enter(&mut self, open: Open) -> Result<(), YamlError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(YamlError::TooLarge("deeper nesting"));
        }
        self.open.push(open);
        Ok(())
    }

    fn place(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > NODES_MAX {
            return Err(YamlError::TooLarge("more nodes"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.documents.push(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { pairs, key, .. }) => match key.take() {
                None => {
                    let name = node.scalar_text().or_else(|| (node.value == Value::Null).then(String::new));
                    let Some(name) = name else {
                        return Err(YamlError::Syntax { line: node.line, message: "a key must be text".to_owned() });
                    };
                    if pairs.iter().any(|(other, _)| *other == name) {
                        return Err(YamlError::Syntax {
                            line: node.line,
                            message: format!("key `{name}` stands twice in one map; keep one"),
                        });
                    }
                    *key = Some(name);
                }
                Some(name) => pairs.push((name, node)),
            },
        }
        Ok(())
    }
}

/// YAML 1.2 core schema for an unquoted scalar.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(hex) = text.strip_prefix("0x") {
        if let Ok(number) = i64::from_str_radix(hex, 16) {
            return Value::Int(number);
        }
    } else if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        if let Ok(number) = text.parse::<i64>() {
            return Value::Int(number);
        }
    } else if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && let Ok(number) = text.parse::<f64>()
        && number.is_finite()
    {
        return Value::Float(number);
    }
    Value::Text(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_follow_the_core_schema() {
        let text = "a: yes\nb: 4688\nc: '4688'\nd: 1.5\ne: ~\nf: true\ng: 0x1f\nh: 1.2.3.4\ni: 1e3\n";
        let document = documents(text).unwrap().remove(0);
        assert_eq!(document.entry("a").unwrap().value, Value::Text("yes".into()));
        assert_eq!(document.entry("b").unwrap().value, Value::Int(4688));
        assert_eq!(document.entry("c").unwrap().value, Value::Text("4688".into()));
        assert_eq!(document.entry("d").unwrap().value, Value::Float(1.5));
        assert_eq!(document.entry("e").unwrap().value, Value::Null);
        assert_eq!(document.entry("f").unwrap().value, Value::Bool(true));
        assert_eq!(document.entry("g").unwrap().value, Value::Int(31));
        assert_eq!(document.entry("h").unwrap().value, Value::Text("1.2.3.4".into()));
        assert_eq!(document.entry("i").unwrap().value, Value::Float(1000.0));
        assert_eq!(document.entry("d").unwrap().line, 4);
    }

    #[test]
    fn bounds_hold() {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(documents(&deep).is_err());
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..9 {
            let previous = level - 1;
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{previous}"); 10].join(",")));
        }
        assert_eq!(documents(&bomb), Err(YamlError::TooLarge("more nodes")));
        assert!(documents("a: 1\na: 2\n").unwrap_err().to_string().contains("twice"));
    }
}

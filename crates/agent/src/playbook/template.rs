//! Values with expressions in them: a text that is one `${...}` becomes the expression's value, one among other text is
//! written into it. `$${` stands for `${` itself.

use super::expression::{Bound, Expression, ExpressionError};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A value with expressions in it.
#[derive(Debug)]
pub(crate) enum Template {
    Fields(Vec<(String, Template)>),
    Items(Vec<Template>),
    Mixed(Vec<Part>),
    Plain(Value),
    Whole(Expression),
}

#[derive(Debug)]
pub(crate) enum Part {
    Text(String),
    Value(Expression),
}

impl Part {
    fn value(&self) -> Option<&Expression> {
        match self {
            Self::Text(_) => None,
            Self::Value(expression) => Some(expression),
        }
    }
}

impl Template {
    /// Read a value; `path` leads to it, for the fault.
    pub(crate) fn read(value: &Value, path: &str) -> Result<Self, (String, ExpressionError)> {
        match value {
            Value::String(text) => read_text(text).map_err(|error| (path.to_owned(), error)),
            Value::Array(items) => {
                let item = |(place, item): (usize, &Value)| Self::read(item, &format!("{path}[{place}]"));
                Ok(Self::Items(items.iter().enumerate().map(item).collect::<Result<_, _>>()?))
            }
            Value::Object(fields) => {
                let field = |(key, value): (&String, &Value)| {
                    Self::read(value, &format!("{path}.{key}")).map(|inner| (key.clone(), inner))
                };
                Ok(Self::Fields(fields.iter().map(field).collect::<Result<_, _>>()?))
            }
            plain => Ok(Self::Plain(plain.clone())),
        }
    }

    /// Every expression in it.
    pub(crate) fn expressions(&self) -> Vec<&Expression> {
        match self {
            Self::Fields(fields) => fields.iter().flat_map(|(_, inner)| inner.expressions()).collect(),
            Self::Items(items) => items.iter().flat_map(Self::expressions).collect(),
            Self::Mixed(parts) => parts.iter().filter_map(Part::value).collect(),
            Self::Plain(_) => Vec::new(),
            Self::Whole(expression) => vec![expression],
        }
    }

    /// Its value. A field whose expression is null is left out, so that optional inputs can be passed on.
    pub(crate) fn fill(&self, scope: &BTreeMap<String, Bound>) -> Result<Value, ExpressionError> {
        Ok(match self {
            Self::Plain(value) => value.clone(),
            Self::Whole(expression) => expression.evaluate(scope)?,
            Self::Items(items) => Value::Array(items.iter().map(|item| item.fill(scope)).collect::<Result<_, _>>()?),
            Self::Fields(fields) => {
                let mut filled = Map::new();
                for (key, inner) in fields {
                    let value = inner.fill(scope)?;
                    if !(value.is_null() && matches!(inner, Self::Whole(_))) {
                        filled.insert(key.clone(), value);
                    }
                }
                Value::Object(filled)
            }
            Self::Mixed(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Text(plain) => text.push_str(plain),
                        Part::Value(expression) => match expression.evaluate(scope)? {
                            Value::String(inner) => text.push_str(&inner),
                            other => text.push_str(&other.to_string()),
                        },
                    }
                }
                Value::String(text)
            }
        })
    }
}

fn read_text(text: &str) -> Result<Template, ExpressionError> {
    let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            plain.push_str(before);
            plain.push_str("${");
            rest = after;
            continue;
        }
        plain.push_str(before);
        let Some((inner, behind)) = closed(after) else {
            let message = "`${` has no `}`; write `$${` for the two characters themselves".to_owned();
            return Err(ExpressionError::Parse { text: text.chars().take(80).collect(), message });
        };
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(Part::Value(Expression::parse(inner)?));
        rest = behind;
    }
    plain.push_str(rest);
    if parts.is_empty() {
        return Ok(Template::Plain(Value::String(plain)));
    }
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    if parts.len() == 1
        && let Some(Part::Value(_)) = parts.first()
        && let Some(Part::Value(only)) = parts.pop()
    {
        return Ok(Template::Whole(only));
    }
    Ok(Template::Mixed(parts))
}

/// The text up to the brace that closes, and what follows it; braces in quotes do not count.
fn closed(text: &str) -> Option<(&str, &str)> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (place, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) => quote = Some(open).filter(|open| *open != c),
            (None, '\'' | '"') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth > 0 => depth -= 1,
            (None, '}') => return Some((text.get(..place)?, text.get(place + 1..)?)),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_fill() -> Result<(), (String, ExpressionError)> {
        let scope = BTreeMap::from([("n".to_owned(), Bound::of(&json!(3)).map_err(|e| (String::new(), e))?)]);
        let cases = [
            (json!("${n}"), json!(3)),
            (json!("${n} of ${n + 1}"), json!("3 of 4")),
            (json!("costs $${n}"), json!("costs ${n}")),
            (json!({ "a": ["${ {'}': n} }"], "b": 1 }), json!({ "a": [{ "}": 3 }], "b": 1 })),
            (json!({ "a": "${null}", "b": null }), json!({ "b": null })),
        ];
        for (template, expected) in cases {
            let filled = Template::read(&template, "")?.fill(&scope);
            assert_eq!(filled.map_err(|e| (String::new(), e))?, expected, "{template}");
        }
        assert!(Template::read(&json!("${n"), "").is_err());
        Ok(())
    }
}

//! One `field|modifier|...: value` becomes an expression: modifiers are applied from left to right, as written.

use super::modifier::{Modifier, RegexpFlag, Utf16};
use super::pattern::Pattern;
use super::regexp::{Regexp, RegexpFlags};
use super::reject::{Fault, RejectCode};
use super::{Cidr, Comparison, Expr, Matcher, Number, Test, TimePart};
use crate::yaml::{Node, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Values that a pipeline gives to placeholders.
pub(super) type Placeholders<'a> = &'a dyn Fn(&str) -> Option<Vec<String>>;

/// A value on its way through the modifiers.
#[derive(Clone)]
enum Draft {
    Null,
    Bool(bool),
    Number(Number),
    Text {
        pattern: Pattern,
        source: String,
    },
    /// Bytes that are not text, on the way to base64.
    Bytes(Vec<u8>),
    /// One of these; made by one value.
    Choice(Vec<Pattern>),
    Regexp {
        source: String,
        flags: RegexpFlags,
    },
    FieldRef {
        other: String,
        open_start: bool,
        open_end: bool,
        cased: bool,
    },
    Compare(Comparison, Number),
    Time(TimePart, i64),
    Cidr(Cidr),
    Exists(bool),
}

/// Lower one item of a detection map. An empty field is a keyword.
pub(super) fn lower(key: &str, node: &Node, placeholders: Placeholders<'_>) -> Result<Expr, Fault> {
    let mut names = key.split('|');
    let field = names.next().filter(|name| !name.is_empty());
    let mut modifiers = Vec::new();
    for name in names {
        modifiers.push(Modifier::named(name).ok_or_else(|| {
            Fault::new(RejectCode::Modifier, format!("`{name}` is not a modifier of Sigma 2.1"), near(name))
        })?);
    }
    let nodes: &[Node] = match &node.value {
        Value::List(items) => items,
        _ => std::slice::from_ref(node),
    };
    if nodes.is_empty() {
        return match field {
            Some(field) => Ok(test(Some(field), Matcher::Null)),
            None => Err(Fault::new(RejectCode::Detection, "a keyword list is empty", "write at least one keyword")),
        };
    }
    let every = modifiers.contains(&Modifier::All);
    let unequal = modifiers.contains(&Modifier::NotEqual);
    let mut items = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let mut draft = start(node, &modifiers).map_err(|fault| fault.within(&index.to_string(), node.line))?;
        for (place, modifier) in modifiers.iter().enumerate() {
            let before = modifiers.get(..place).unwrap_or_default();
            draft = apply(draft, *modifier, before).map_err(|fault| fault.within(&index.to_string(), node.line))?;
        }
        let anchored = modifiers.iter().any(|m| matches!(m, Modifier::StartsWith | Modifier::EndsWith));
        items.push(
            finish(draft, field, anchored, placeholders)
                .map_err(|fault| fault.within(&index.to_string(), node.line))?,
        );
    }
    let expr = if every { Expr::all(items) } else { Expr::any(items) };
    Ok(if unequal { Expr::Not(Box::new(expr)) } else { expr })
}

fn near(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "equals" | "eq" => "leave the modifier out".to_owned(),
        "regex" | "regexp" => "write `re`".to_owned(),
        "notequals" | "ne" | "not" => "write `neq`".to_owned(),
        _ if Modifier::named(&lower).is_some() => format!("write `{lower}`"),
        _ => "see the list of modifiers in the Sigma specification".to_owned(),
    }
}

fn start(node: &Node, modifiers: &[Modifier]) -> Result<Draft, Fault> {
    let regexp = modifiers.contains(&Modifier::Regexp);
    Ok(match &node.value {
        Value::Null => Draft::Null,
        Value::Bool(truth) => Draft::Bool(*truth),
        Value::Int(number) if regexp => Draft::Text { pattern: Pattern::default(), source: number.to_string() },
        Value::Int(number) => Draft::Number(Number::Int(*number)),
        Value::Float(number) => Draft::Number(Number::Float(*number)),
        Value::Text(text) => Draft::Text {
            pattern: if regexp { Pattern::default() } else { Pattern::parse(text) },
            source: text.clone(),
        },
        Value::List(_) | Value::Map(_) => {
            return Err(Fault::new(
                RejectCode::Detection,
                format!("{} stands where a plain value should", node.kind()),
                "write text, a number, true, false or null",
            ));
        }
    })
}

fn misfit(modifier: &str, draft: &Draft, hint: &str) -> Fault {
    let kind = match draft {
        Draft::Null => "null",
        Draft::Bool(_) => "true or false",
        Draft::Number(_) => "a number",
        Draft::Text { .. } | Draft::Choice(_) => "text",
        Draft::Bytes(_) => "encoded bytes",
        Draft::Regexp { .. } => "a regular expression",
        Draft::FieldRef { .. } => "a field reference",
        Draft::Compare(..) => "a comparison",
        Draft::Time(..) => "a part of a time",
        Draft::Cidr(_) => "a network",
        Draft::Exists(_) => "an existence check",
    };
    Fault::new(RejectCode::Modifier, format!("`{modifier}` does not apply to {kind}"), hint)
}

fn apply(draft: Draft, modifier: Modifier, before: &[Modifier]) -> Result<Draft, Fault> {
    Ok(match modifier {
        Modifier::All | Modifier::NotEqual => draft,
        Modifier::Contains => open(draft, true, true, "contains")?,
        Modifier::StartsWith => open(draft, false, true, "startswith")?,
        Modifier::EndsWith => open(draft, true, false, "endswith")?,
        Modifier::Cased => match draft {
            Draft::FieldRef { other, open_start, open_end, .. } => {
                Draft::FieldRef { other, open_start, open_end, cased: true }
            }
            other => patterns(other, "cased", Pattern::set_cased)?,
        },
        Modifier::WinDash => patterns(draft, "windash", Pattern::widen_dashes)?,
        Modifier::Expand => match draft {
            // Regular expressions keep their text; a placeholder inside one is not resolved.
            regexp @ Draft::Regexp { .. } => regexp,
            other => patterns(other, "expand", Pattern::mark_placeholders)?,
        },
        Modifier::Utf16(form) => utf16(draft, form)?,
        Modifier::Base64 => Draft::Choice(vec![Pattern::literal(&STANDARD.encode(encodable(&draft, "base64")?))]),
        Modifier::Base64Offset => Draft::Choice(offsets(&encodable(&draft, "base64offset")?)),
        Modifier::Regexp => match draft {
            Draft::Text { source, .. } if before.iter().all(|m| matches!(m, Modifier::All | Modifier::NotEqual)) => {
                Draft::Regexp { source, flags: RegexpFlags::default() }
            }
            other => return Err(misfit("re", &other, "put `re` first and give it text")),
        },
        Modifier::Flag(flag) => match draft {
            Draft::Regexp { source, mut flags } => {
                match flag {
                    RegexpFlag::IgnoreCase => flags.ignore_case = true,
                    RegexpFlag::MultiLine => flags.multi_line = true,
                    RegexpFlag::DotAll => flags.dot_all = true,
                }
                Draft::Regexp { source, flags }
            }
            other => return Err(misfit("i, m, s", &other, "put the flag after `re`, such as `field|re|i`")),
        },
        Modifier::Cidr => match &draft {
            Draft::Text { source, .. } => Draft::Cidr(Cidr::parse(source).ok_or_else(|| {
                Fault::new(
                    RejectCode::Value,
                    format!("`{source}` is not a network"),
                    "write for example `10.0.0.0/8` or `fe80::/10`",
                )
            })?),
            other => return Err(misfit("cidr", other, "put `cidr` first and give it a network")),
        },
        Modifier::Compare(comparison) => Draft::Compare(
            comparison,
            number(&draft).ok_or_else(|| misfit("lt, lte, gt, gte", &draft, "give a number"))?,
        ),
        Modifier::Time(part) => match number(&draft) {
            Some(Number::Int(value)) => Draft::Time(part, value),
            _ => return Err(misfit("minute ... year", &draft, "give a whole number, such as `EventTime|hour: 3`")),
        },
        Modifier::FieldRef => match draft {
            Draft::Text { pattern, .. } => {
                let parts = pattern.parts();
                let cased = pattern.cased();
                let open_start = parts.first() == Some(&super::Part::Any);
                let open_end = parts.len() > 1 && parts.last() == Some(&super::Part::Any);
                match pattern.parts().iter().filter(|part| **part != super::Part::Any).collect::<Vec<_>>()[..] {
                    [super::Part::Text(text)] => {
                        Draft::FieldRef { other: text.to_string(), open_start, open_end, cased }
                    }
                    _ => {
                        return Err(Fault::new(
                            RejectCode::Value,
                            "a field reference holds a wildcard",
                            "give the name of one field",
                        ));
                    }
                }
            }
            other => return Err(misfit("fieldref", &other, "give the name of a field")),
        },
        Modifier::Exists => match draft {
            Draft::Bool(truth) => Draft::Exists(truth),
            other => return Err(misfit("exists", &other, "give true or false without quotes")),
        },
    })
}

fn number(draft: &Draft) -> Option<Number> {
    match draft {
        Draft::Number(number) => Some(*number),
        Draft::Text { source, .. } => {
            source.parse().map(Number::Int).ok().or_else(|| source.parse().map(Number::Float).ok())
        }
        _ => None,
    }
}

fn as_text(draft: Draft) -> Draft {
    match draft {
        Draft::Number(number) => text_draft(&number.to_string()),
        Draft::Bool(truth) => text_draft(&truth.to_string()),
        other => other,
    }
}

fn text_draft(text: &str) -> Draft {
    Draft::Text { pattern: Pattern::literal(text), source: text.to_owned() }
}

fn open(draft: Draft, at_start: bool, at_end: bool, name: &str) -> Result<Draft, Fault> {
    match draft {
        Draft::FieldRef { other, open_start, open_end, cased } => {
            Ok(Draft::FieldRef { other, open_start: open_start || at_start, open_end: open_end || at_end, cased })
        }
        // A search is unanchored already: `contains` adds nothing; the others would be ambiguous.
        regexp @ Draft::Regexp { .. } if at_start && at_end => Ok(regexp),
        other => patterns(other, name, |pattern| {
            if at_start {
                pattern.open_start();
            }
            if at_end {
                pattern.open_end();
            }
        }),
    }
}

fn patterns(draft: Draft, name: &str, change: impl Fn(&mut Pattern)) -> Result<Draft, Fault> {
    match as_text(draft) {
        Draft::Text { mut pattern, source } => {
            change(&mut pattern);
            Ok(Draft::Text { pattern, source })
        }
        Draft::Choice(mut choices) => {
            choices.iter_mut().for_each(change);
            Ok(Draft::Choice(choices))
        }
        Draft::Bytes(bytes) => {
            let text = String::from_utf8(bytes).map_err(|_| {
                Fault::new(RejectCode::Value, "the encoded text is not text any more", "add `base64` or `base64offset`")
            })?;
            patterns(text_draft(&text), name, change)
        }
        other => Err(misfit(name, &other, "give text, or leave the modifier out")),
    }
}

fn utf16(draft: Draft, form: Utf16) -> Result<Draft, Fault> {
    let draft = as_text(draft);
    let Draft::Text { pattern, .. } = &draft else {
        return Err(misfit("utf16, utf16le, utf16be, wide", &draft, "give text"));
    };
    let Some(text) = pattern.as_literal() else {
        return Err(Fault::new(
            RejectCode::Value,
            "text with wildcards cannot be encoded",
            "escape them: `\\*`, `\\?`",
        ));
    };
    let mut bytes = Vec::new();
    if form == Utf16::Marked {
        bytes.extend([0xff, 0xfe]);
    }
    for unit in text.encode_utf16() {
        bytes.extend(if form == Utf16::Big { unit.to_be_bytes() } else { unit.to_le_bytes() });
    }
    Ok(Draft::Bytes(bytes))
}

fn encodable(draft: &Draft, name: &str) -> Result<Vec<u8>, Fault> {
    match as_text(draft.clone()) {
        Draft::Bytes(bytes) => Ok(bytes),
        Draft::Text { pattern, .. } => match pattern.as_literal() {
            Some(text) if !text.is_empty() => Ok(text.as_bytes().to_vec()),
            _ => Err(Fault::new(
                RejectCode::Value,
                "empty text and text with wildcards cannot be encoded",
                "escape them (`\\*`, `\\?`), and put `contains` after the encoding",
            )),
        },
        other => Err(misfit(name, &other, "give text")),
    }
}

/// base64 of the bytes at the three offsets, without the characters that neighbours change.
fn offsets(bytes: &[u8]) -> Vec<Pattern> {
    let mut choices = Vec::with_capacity(3);
    for (offset, skip) in [(0_usize, 0_usize), (1, 2), (2, 3)] {
        let mut padded = vec![b' '; offset];
        padded.extend(bytes);
        let cut = match padded.len() % 3 {
            0 => 0,
            1 => 3,
            _ => 2,
        };
        let text = STANDARD.encode(&padded);
        if let Some(stable) = text.get(skip..text.len().saturating_sub(cut)).filter(|text| !text.is_empty()) {
            choices.push(Pattern::literal(stable));
        }
    }
    choices
}

fn test(field: Option<&str>, matcher: Matcher) -> Expr {
    Expr::Test(Test { field: field.map(Into::into), matcher })
}

fn finish(draft: Draft, field: Option<&str>, anchored: bool, placeholders: Placeholders<'_>) -> Result<Expr, Fault> {
    if field.is_none() {
        return keyword(draft, anchored, placeholders);
    }
    Ok(match draft {
        Draft::Null => test(field, Matcher::Null),
        Draft::Bool(truth) => test(field, Matcher::Text(Pattern::literal(&truth.to_string()))),
        Draft::Number(number) => test(field, Matcher::Number(number)),
        Draft::Text { pattern, .. } => text(pattern, field, placeholders),
        Draft::Bytes(_) => match patterns(draft, "utf16", |_| {})? {
            Draft::Text { pattern, .. } => text(pattern, field, placeholders),
            other => return Err(misfit("utf16", &other, "give text")),
        },
        Draft::Choice(choices) => {
            Expr::any(choices.into_iter().map(|pattern| test(field, Matcher::Text(pattern))).collect())
        }
        Draft::Regexp { source, flags } => test(field, Matcher::Regexp(regexp(&source, flags)?)),
        Draft::FieldRef { other, open_start, open_end, cased } => {
            test(field, Matcher::FieldRef { other: other.into(), open_start, open_end, cased })
        }
        Draft::Compare(comparison, number) => test(field, Matcher::Compare(comparison, number)),
        Draft::Time(part, value) => test(field, Matcher::Time(part, value)),
        Draft::Cidr(cidr) => test(field, Matcher::Cidr(cidr)),
        Draft::Exists(true) => test(field, Matcher::Exists),
        Draft::Exists(false) => Expr::Not(Box::new(test(field, Matcher::Exists))),
    })
}

fn regexp(source: &str, flags: RegexpFlags) -> Result<Regexp, Fault> {
    Regexp::new(source, flags).map_err(|message| {
        Fault::new(RejectCode::Regexp, format!("`{source}`: {message}"), "use the regular subset of the specification")
    })
}

fn text(pattern: Pattern, field: Option<&str>, placeholders: Placeholders<'_>) -> Expr {
    let Some(name) = pattern.placeholder() else {
        return test(field, Matcher::Text(pattern));
    };
    match pattern.resolve(placeholders) {
        Some(resolved) => Expr::any(resolved.into_iter().map(|pattern| test(field, Matcher::Text(pattern))).collect()),
        None => test(field, Matcher::Unresolved(name.into())),
    }
}

/// A keyword is looked for inside every value of the event, unless a modifier anchors it.
fn keyword(draft: Draft, anchored: bool, placeholders: Placeholders<'_>) -> Result<Expr, Fault> {
    match as_text(draft) {
        Draft::Regexp { source, flags } => Ok(test(None, Matcher::Regexp(regexp(&source, flags)?))),
        Draft::Cidr(cidr) => Ok(test(None, Matcher::Cidr(cidr))),
        draft @ (Draft::Text { .. } | Draft::Choice(_) | Draft::Bytes(_)) => {
            let widened = open(draft, !anchored, !anchored, "contains")?;
            match widened {
                Draft::Text { pattern, .. } => Ok(text(pattern, None, placeholders)),
                Draft::Choice(choices) => {
                    Ok(Expr::any(choices.into_iter().map(|pattern| test(None, Matcher::Text(pattern))).collect()))
                }
                other => Err(misfit("contains", &other, "give text")),
            }
        }
        other => Err(misfit("no field", &other, "bind the value to a field, such as `field: null`")),
    }
}

//! Which operation of the platform has the effect of a foreign tool, and with which input. A table that people write and
//! read; the words in it are all that is looked at.

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// Characters of a foreign argument that go into a text.
const TEXT_CHARS_MAX: usize = 200;

/// The table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToolMap {
    /// The format's version: 1.
    v: u32,
    /// Roles of the agent where a call names none.
    #[serde(default)]
    pub(super) roles: Vec<String>,
    /// By the tool's name.
    tools: BTreeMap<String, Tool>,
}

/// A foreign tool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tool {
    /// The operation of like effect.
    pub(super) operation: String,
    /// Its input; `${name}` is a thing of the evaluation's tenant, `${input.name}` an argument of the tool.
    #[serde(default)]
    input: Map<String, Value>,
    /// Whether its effect needs a person, where that does not follow from the operation's kind.
    pub(super) consequential: Option<bool>,
    /// In what the two are alike; for people.
    #[serde(rename = "why")]
    _why: String,
}

impl ToolMap {
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        let map: Self = serde_json::from_str(&text).with_context(|| format!("`{}` is no map", file.display()))?;
        if map.v != 1 {
            bail!("`{}` has the format {}; this release reads 1", file.display(), map.v);
        }
        Ok(map)
    }

    pub(super) fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools.get(name)
    }
}

impl Tool {
    /// The operation's input for these arguments.
    pub(super) fn input(&self, arguments: &Value, things: &BTreeMap<&str, Value>) -> Value {
        filled(&Value::Object(self.input.clone()), arguments, things)
    }
}

/// A value with its places filled; what is not known stays as it stands, so that the gate refuses it by name.
pub(super) fn filled(value: &Value, arguments: &Value, things: &BTreeMap<&str, Value>) -> Value {
    match value {
        Value::String(text) => text_filled(text, arguments, things),
        Value::Array(items) => items.iter().map(|item| filled(item, arguments, things)).collect(),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| (name.clone(), filled(value, arguments, things));
            Value::Object(fields.iter().map(field).collect())
        }
        other => other.clone(),
    }
}

fn text_filled(text: &str, arguments: &Value, things: &BTreeMap<&str, Value>) -> Value {
    let known = |name: &str| match name.strip_prefix("input.") {
        Some(argument) => arguments.get(argument).cloned(),
        None => things.get(name).cloned(),
    };
    let whole = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    if let Some(found) = whole.filter(|name| !name.contains("${")).and_then(known) {
        return found;
    }
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            out.push_str("${");
            rest = after;
            continue;
        };
        match known(name) {
            Some(Value::String(found)) => out.extend(found.chars().take(TEXT_CHARS_MAX)),
            Some(found) => out.extend(found.to_string().chars().take(TEXT_CHARS_MAX)),
            None => out.push_str(&format!("${{{name}}}")),
        }
        rest = tail;
    }
    out.push_str(rest);
    Value::String(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_are_filled_and_unknown_ones_stay() {
        let things = BTreeMap::from([("sensor", json!("sensor_1"))]);
        let arguments = json!({ "amount": 5, "to": "x".repeat(300), "list": [1] });
        let template = json!({
            "sensor": "${sensor}", "reason": "pay ${input.amount} to ${input.to}!", "all": ["${input.list}"],
            "odd": "${nobody} ${", "other": 3
        });
        let filled = filled(&template, &arguments, &things);
        assert_eq!(filled["sensor"], "sensor_1");
        assert_eq!(filled["reason"], format!("pay 5 to {}!", "x".repeat(200)));
        assert_eq!(filled["all"], json!([[1]]));
        assert_eq!(filled["odd"], "${nobody} ${");
        assert_eq!(filled["other"], 3);
    }
}

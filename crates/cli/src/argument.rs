//! One field of an operation's input as one flag.

use api::{FieldKind, Spec};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction};
use serde_json::Value;

/// Flags that mean the same on every command; a field of the same name gets `--field-NAME`.
const RESERVED: &[&str] = &[
    "ai-help",
    "all",
    "data-dir",
    "help",
    "idempotency-key",
    "input",
    "out",
    "output",
    "token-file",
    "url",
    "version",
];

/// The name under which the parser keeps the plain argument.
pub(crate) const PLAIN: &str = "plain";

/// The field that may also stand without its flag, as the first plain argument: what the operation is asked.
pub(crate) fn plain_field(operation: &str) -> Option<&'static str> {
    match operation {
        "event.estimate" | "event.export" | "event.query" => Some("sql"),
        "event.search" | "event.tail" => Some("query"),
        _ => None,
    }
}

/// A field and the flag that it is given by.
pub(crate) struct Argument<'a> {
    /// The field's name.
    pub(crate) field: &'a str,
    /// The flag without its dashes.
    pub(crate) flag: String,
    /// What it holds.
    pub(crate) kind: FieldKind,
    /// Whether it is given again for each item, as JSON where the items are no texts.
    pub(crate) items_are_text: bool,
    /// Whether the input must have it.
    pub(crate) required: bool,
    /// Whether its text must not be shown.
    pub(crate) secret: bool,
    /// The words that it may be, where they are few and fixed.
    pub(crate) choices: Vec<&'a str>,
    /// What it means.
    description: &'a str,
    /// Its schema, without a `null` branch.
    schema: &'a Value,
}

impl<'a> Argument<'a> {
    /// The flags of an operation, required ones first.
    pub(crate) fn all(spec: &'a Spec) -> Vec<Self> {
        let mut all: Vec<Self> = spec.fields().map(|(field, schema)| Self::of(spec, field, schema)).collect();
        all.sort_by_key(|argument| !argument.required);
        all
    }

    fn of(spec: &'a Spec, field: &'a str, schema: &'a Value) -> Self {
        let inner = without_null(schema);
        let kind = match spec.field_kind(field) {
            // A choice among objects is no text, whatever a query would make of it.
            FieldKind::Text if !is_text(inner) => FieldKind::Json,
            kind => kind,
        };
        let flag = field.replace('_', "-");
        let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        Self {
            field,
            flag: if RESERVED.contains(&flag.as_str()) { format!("field-{flag}") } else { flag },
            kind,
            items_are_text: inner.get("items").is_none_or(|items| is_text(without_null(items))),
            required: spec.requires(field),
            secret: inner.get("x-secret").is_some(),
            choices: choices(inner),
            description,
            schema: inner,
        }
    }

    /// The name under which the parser keeps it; no flag of ours has a colon.
    pub(crate) fn id(&self) -> String {
        format!("field:{}", self.field)
    }

    /// The flag of a field that a plain argument may stand for.
    pub(crate) fn to_arg_beside_plain(&self) -> Arg {
        let arg = self.to_arg().conflicts_with(PLAIN);
        if self.required { arg.required(false).required_unless_present_any(["input", PLAIN]) } else { arg }
    }

    /// The flag for the command line's parser.
    pub(crate) fn to_arg(&self) -> Arg {
        let arg = Arg::new(self.id())
            .long(self.flag.clone())
            .value_name(self.value_name())
            .help(self.help())
            .allow_hyphen_values(true);
        let arg = if self.required { arg.required_unless_present("input") } else { arg };
        match self.kind {
            FieldKind::Boolean => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(PossibleValuesParser::new(["true", "false"]))
                .hide_possible_values(true),
            FieldKind::List => arg.action(ArgAction::Append),
            FieldKind::Text if !self.choices.is_empty() => {
                arg.value_parser(PossibleValuesParser::new(self.choices.iter().map(|word| (*word).to_owned())))
            }
            FieldKind::Integer | FieldKind::Json | FieldKind::Text => arg,
        }
    }

    /// `--flag VALUE` for one value of the field, quoted for a shell.
    pub(crate) fn example(&self, value: &Value) -> Vec<String> {
        let flag = &self.flag;
        match (self.kind, value) {
            (_, Value::Null) => Vec::new(),
            (FieldKind::Boolean, value) => vec![format!("--{flag}={value}")],
            (FieldKind::List, Value::Array(items)) => {
                items.iter().map(|item| format!("--{flag} {}", quoted(&literal(item)))).collect()
            }
            _ if self.secret => vec![format!("--{flag} @FILE")],
            _ => vec![format!("--{flag} {}", quoted(&literal(value)))],
        }
    }

    fn value_name(&self) -> &'static str {
        match self.kind {
            FieldKind::Boolean => "true|false",
            FieldKind::Integer => "NUMBER",
            FieldKind::Json => "JSON",
            FieldKind::List if !self.items_are_text => "JSON",
            FieldKind::List | FieldKind::Text => "TEXT",
        }
    }

    /// What it means, and the limits that a value meets.
    pub(crate) fn help(&self) -> String {
        let mut notes = Vec::new();
        if self.required {
            notes.push("required".to_owned());
        }
        if self.kind == FieldKind::List {
            notes.push("may be given again".to_owned());
        }
        if self.secret {
            notes.push("secret: give @FILE or -".to_owned());
        }
        let number = |key: &str| self.schema.get(key).filter(|value| value.is_number()).map(Value::to_string);
        match (number("minimum"), number("maximum")) {
            (Some(least), Some(most)) => notes.push(format!("{least} to {most}")),
            (Some(least), None) => notes.push(format!("at least {least}")),
            (None, Some(most)) => notes.push(format!("at most {most}")),
            (None, None) => {}
        }
        if let Some(default) = self
            .schema
            .get("default")
            .filter(|value| value.is_number() || value.as_str().is_some_and(|text| !text.is_empty()))
        {
            notes.push(format!("default {}", plain(default)));
        }
        let description = self.description.split_whitespace().collect::<Vec<_>>().join(" ");
        if notes.is_empty() { description } else { format!("{description} [{}]", notes.join("; ")) }
    }
}

/// The branch of an optional field that is not `null`.
fn without_null(schema: &Value) -> &Value {
    schema
        .get("anyOf")
        .and_then(Value::as_array)
        .and_then(|all| all.iter().find(|one| one.get("type") != Some(&Value::from("null"))))
        .unwrap_or(schema)
}

fn is_text(schema: &Value) -> bool {
    let named = match schema.get("type") {
        Some(Value::String(name)) => name == "string",
        Some(Value::Array(names)) => names.iter().all(|name| name == "string" || name == "null"),
        _ => false,
    };
    named || !choices(schema).is_empty()
}

/// The words of an `enum`, or of a `oneOf` of constants (how a documented enum is described).
fn choices(schema: &Value) -> Vec<&str> {
    let plain = schema.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let documented = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let documented = documented.flat_map(|one| {
        let several = one.get("enum").and_then(Value::as_array).into_iter().flatten();
        one.get("const").into_iter().chain(several).filter_map(Value::as_str)
    });
    plain.chain(documented).collect()
}

/// As an argument that stands for itself, also where it begins like a file's name.
fn literal(value: &Value) -> String {
    let text = plain(value);
    if text.starts_with('@') { format!("@{text}") } else { text }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Quoted for a POSIX shell where it must be.
pub(crate) fn quoted(text: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !text.is_empty() && text.bytes().all(bare) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

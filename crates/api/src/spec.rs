//! An operation with its type erased: what every face derives from.

use crate::{Fault, Meta, Operation, Problem};
use jsonschema::Validator;
use schemars::generate::SchemaSettings;
use serde_json::Value;
use std::sync::OnceLock;

/// How a field's text in a path or query becomes JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FieldKind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// Several values: the parameter is repeated.
    List,
    /// JSON text: an object or a mixture of types.
    Json,
    /// Text as it stands.
    Text,
}

/// A piece of a route's path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PathSegment {
    /// Stands as it is.
    Fixed(&'static str),
    /// A field of the input.
    Field(&'static str),
}

/// One operation: its constant facts, schemas and example.
pub struct Spec {
    /// The constant facts.
    pub meta: Meta,
    /// First line of the description.
    pub summary: String,
    /// What it does, for people and for agents.
    pub description: String,
    /// JSON Schema 2020-12 of the input; self-contained.
    pub input_schema: Value,
    /// One plausible input.
    pub example: Value,
    output: fn() -> Value,
    /// Built when first asked, since most calls do not.
    output_schema: OnceLock<Value>,
    /// Built when first asked: a command line that only names operations judges none of them.
    validator: OnceLock<Validator>,
}

impl Spec {
    /// The erased form of `O`.
    #[must_use]
    pub fn of<O: Operation>() -> Self {
        let input_schema = schema::<O>();
        let description = input_schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
        let summary = description.lines().next().unwrap_or_default().trim_end_matches('.').to_owned();
        Self {
            meta: O::META,
            summary,
            description,
            input_schema,
            example: O::example(),
            output: schema::<O::Output>,
            output_schema: OnceLock::new(),
            validator: OnceLock::new(),
        }
    }

    /// JSON Schema 2020-12 of the output; self-contained.
    #[must_use]
    pub fn output_schema(&self) -> &Value {
        self.output_schema.get_or_init(self.output)
    }

    /// `resource_verb`: the MCP tool's name.
    #[must_use]
    pub fn mcp_tool(&self) -> String {
        self.meta.id.replace('.', "_")
    }

    /// `posse resource verb`: the command.
    #[must_use]
    pub fn cli(&self) -> String {
        format!("posse {}", self.meta.id.replace('.', " ").replace('_', "-"))
    }

    /// The route's path, piece by piece.
    pub fn path_segments(&self) -> impl Iterator<Item = PathSegment> {
        self.meta.path.split('/').filter(|piece| !piece.is_empty()).map(|piece| {
            match piece.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(field) => PathSegment::Field(field),
                None => PathSegment::Fixed(piece),
            }
        })
    }

    /// The input's fields with their schemas.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.input_schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|fields| fields.iter().map(|(name, schema)| (name.as_str(), schema)))
    }

    /// Whether the input must have this field.
    #[must_use]
    pub fn requires(&self, field: &str) -> bool {
        self.input_schema
            .get("required")
            .and_then(Value::as_array)
            .is_some_and(|required| required.iter().any(|name| name.as_str() == Some(field)))
    }

    /// How text in a path or query becomes this field's JSON.
    #[must_use]
    pub fn field_kind(&self, field: &str) -> FieldKind {
        self.fields().find(|(name, _)| *name == field).map_or(FieldKind::Text, |(_, schema)| kind_of(schema))
    }

    /// The JSON of a field from the texts given for it. What does not parse stays text, for the validator to judge.
    #[must_use]
    pub fn field_value(&self, field: &str, texts: &[String]) -> Value {
        let one = |text: &String, kind: FieldKind| {
            let read = serde_json::from_str::<Value>(text).ok();
            // `null` would be absence, which leaving the parameter out already says.
            let value = match kind {
                FieldKind::Boolean => read.filter(Value::is_boolean),
                FieldKind::Integer => read.filter(Value::is_number),
                FieldKind::Json => read.filter(|value| !value.is_null()),
                FieldKind::List | FieldKind::Text => None,
            };
            value.unwrap_or_else(|| Value::String(text.clone()))
        };
        match (self.field_kind(field), texts) {
            (FieldKind::List, texts) => Value::Array(texts.iter().map(|text| one(text, FieldKind::Text)).collect()),
            (kind, [only]) => one(only, kind),
            // A parameter given twice where one is meant: the validator will say that a list is not the type.
            (_, several) => Value::Array(several.iter().map(|text| Value::String(text.clone())).collect()),
        }
    }

    fn validator(&self) -> &Validator {
        self.validator.get_or_init(|| {
            #[expect(
                clippy::expect_used,
                reason = "a derived schema is valid by construction; the registry's test judges every example"
            )]
            jsonschema::draft202012::options()
                .should_validate_formats(true)
                .build(&self.input_schema)
                .expect("a derived schema is valid")
        })
    }

    /// Judge an input: all faults at once, each with its JSON pointer.
    ///
    /// # Panics
    /// Where a declaration's own schema is not a valid schema: a bug that every test of the registry meets.
    ///
    /// # Errors
    /// [`crate::ProblemKind::InvalidInput`].
    pub fn validate(&self, input: &Value) -> Result<(), Problem> {
        let faults: Vec<Fault> = self.validator().iter_errors(input).take(64).map(|error| fault(&error)).collect();
        if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults)) }
    }

    /// Read a judged input into its type.
    ///
    /// # Errors
    /// [`crate::ProblemKind::InvalidInput`] where the type asks for more than its schema can say.
    pub fn read<O: Operation>(&self, input: &Value) -> Result<O, Problem> {
        // Where it went wrong is looked for only once something did.
        O::deserialize(input).or_else(|_| {
            serde_path_to_error::deserialize(input)
                .map_err(|error| Problem::fault(pointer(error.path()), error.inner().to_string()))
        })
    }
}

/// The JSON pointer (RFC 6901) of a place in an input.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|step| match step {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            // Which variant of a choice was read is no place in the text.
            Segment::Enum { .. } | Segment::Unknown => String::new(),
        })
        .collect()
}

impl std::fmt::Debug for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spec").field("meta", &self.meta).finish_non_exhaustive()
    }
}

fn schema<T: schemars::JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    strip_noise(&mut schema);
    schema
}

/// Say what only Rust means (`format: uint32`) as the bound that it is, so that every face names and enforces it.
fn strip_noise(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            let bound = match object.get("format").and_then(Value::as_str) {
                Some("uint8") => Some(u64::from(u8::MAX)),
                Some("uint16") => Some(u64::from(u16::MAX)),
                Some("uint32") => Some(u64::from(u32::MAX)),
                Some("uint" | "uint64" | "int64") => Some(crate::json::INTEGER_MAX),
                _ => None,
            };
            if let Some(bound) = bound {
                object.entry("maximum").or_insert_with(|| bound.into());
                if object.get("format") == Some(&Value::from("int64")) {
                    let least = i64::try_from(bound).map_or(i64::MIN, |bound| -bound);
                    object.entry("minimum").or_insert_with(|| least.into());
                }
            }
            let foreign = object.get("format").and_then(Value::as_str).is_some_and(|format| {
                matches!(
                    format,
                    "uint" | "uint8" | "uint16" | "uint32" | "uint64" | "int8" | "int16" | "int64" | "double" | "float"
                )
            });
            if foreign && object.contains_key("type") {
                object.remove("format");
            }
            object.values_mut().for_each(strip_noise);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_noise),
        _ => {}
    }
}

fn kind_of(schema: &Value) -> FieldKind {
    let names: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name.as_str()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
        // An enum or id, perhaps optional: choices of which one may be null. Where they differ, only JSON tells them apart.
        _ => {
            let choices = ["anyOf", "oneOf"].into_iter().find_map(|word| schema.get(word)?.as_array());
            let Some(choices) = choices else {
                let worded = schema.get("enum").is_some() || schema.get("const").is_some_and(Value::is_string);
                return if worded { FieldKind::Text } else { FieldKind::Json };
            };
            let mut kinds = choices.iter().filter(|one| one.get("type") != Some(&Value::from("null"))).map(kind_of);
            let first = kinds.next().unwrap_or(FieldKind::Json);
            return if kinds.all(|kind| kind == first) { first } else { FieldKind::Json };
        }
    };
    match names.as_slice() {
        ["boolean"] => FieldKind::Boolean,
        ["integer"] => FieldKind::Integer,
        ["array"] => FieldKind::List,
        ["string"] => FieldKind::Text,
        _ => FieldKind::Json,
    }
}

fn fault(error: &jsonschema::ValidationError<'_>) -> Fault {
    use jsonschema::error::ValidationErrorKind as Kind;
    let at = error.instance_path().to_string();
    let below = |name: &str| format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
    match error.kind() {
        Kind::AdditionalProperties { unexpected } => Fault {
            pointer: unexpected.first().map_or_else(|| at.clone(), |name| below(name)),
            detail: format!("is not a field of this input; leave out {}", listed(unexpected)),
        },
        Kind::Required { property } => Fault {
            pointer: property.as_str().map_or_else(|| at.clone(), below),
            detail: "is missing; this field is required".to_owned(),
        },
        // The default text quotes the instance, which can be an outsider's megabyte.
        _ => Fault { pointer: at, detail: error.masked_with("the value").to_string() },
    }
}

fn listed(names: &[String]) -> String {
    names
        .iter()
        .take(8)
        .map(|name| format!("`{}`", name.chars().take(64).collect::<String>()))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn regression_a_choice_of_objects_is_json() {
        let object = json!({ "type": "object", "properties": { "stop": { "const": "agent" } } });
        for (schema, kind) in [
            (json!({ "oneOf": [object, object] }), FieldKind::Json),
            (json!({ "anyOf": [{ "oneOf": [object, object] }, { "type": "null" }] }), FieldKind::Json),
            (json!({ "oneOf": [{ "const": "a", "type": "string" }, { "const": "b" }] }), FieldKind::Text),
            (json!({ "anyOf": [{ "enum": ["a", "b"] }, { "type": "null" }] }), FieldKind::Text),
            (json!({ "anyOf": [{ "type": "integer" }, { "type": "string" }] }), FieldKind::Json),
            (json!({ "type": ["integer", "null"] }), FieldKind::Integer),
            (json!({}), FieldKind::Json),
        ] {
            assert_eq!(kind_of(&schema), kind, "{schema}");
        }
    }

    #[test]
    fn regression_a_fault_that_only_the_type_finds_names_its_place() {
        let spec = Spec::of::<crate::CaseAddEvidence>();
        let input = json!({ "case": crate::example::CASE, "events": ["event_xw3xdh020e0200r0", format!("event_{}", "0".repeat(60))] });
        assert!(spec.validate(&input).is_ok(), "the pattern says no more than the alphabet");
        let problem = spec.read::<crate::CaseAddEvidence>(&input).unwrap_err();
        assert_eq!(problem.errors.first().map(|fault| fault.pointer.as_str()), Some("/events/1"), "{problem:?}");
    }
}

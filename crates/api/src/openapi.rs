//! The OpenAPI 3.1 document of the REST face, derived from the registry and from nothing else.
//!
//! Pure and deterministic: the same declarations give the same bytes, so the committed copy shows every change of
//! the API in review. It describes what `server` does with a [`Spec`]; it never decides anything itself.

use crate::{FieldKind, Method, Obligation, PathSegment, Problem, ProblemKind, Spec};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The input field that travels as the `If-Match` header, never in a path, query or body.
pub const IF_MATCH_FIELD: &str = "if_match";

/// Greatest length of an idempotency key, in characters.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";
const NOTE: &str = "Posse is a security operations platform whose product is this API. People, agents, rules and \
    schedules are principals that call the same operations, under the same policy, on the same record. A call \
    that needs people is answered with 202 and an approval; every refusal is a problem document (RFC 9457).";

/// The document as it is committed and served: keys sorted, two spaces, a newline at the end.
#[must_use]
pub fn text(specs: &[Spec]) -> String {
    // `Display` with `#` of a JSON value cannot fail and is pretty-printed.
    format!("{:#}\n", document(specs))
}

/// The document of these operations.
#[must_use]
pub fn document(specs: &[Spec]) -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for spec in specs {
        let methods = paths.entry(spec.meta.path.to_owned()).or_default();
        methods.insert(spec.meta.method.as_str().to_ascii_lowercase(), operation(spec));
    }
    let families: BTreeSet<&str> = specs.iter().map(|spec| spec.meta.family()).collect();
    let tags: Vec<Value> = families
        .iter()
        .map(|family| json!({ "name": family, "description": format!("The operations `{family}.*`.") }))
        .collect();
    let mut whole = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Posse",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Headless security operations: one API for people, agents, rules and schedules.",
            "description": NOTE,
            "license": { "name": "Apache License 2.0", "identifier": "Apache-2.0" },
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{
            "url": "/",
            "description": "The server that serves this document, in production as in a local installation.",
            "x-internal": false,
        }],
        "security": [{ "bearer": [] }],
        "tags": tags,
        "paths": paths,
        "components": components(),
    });
    crate::openapi_bounds::bound(&mut whole);
    sorted(whole)
}

/// Keys in alphabetical order whatever map `serde_json` was built with: another crate's feature must not be able
/// to change committed bytes.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let ordered: BTreeMap<String, Value> = object.into_iter().collect();
            Value::Object(ordered.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn operation(spec: &Spec) -> Value {
    let meta = &spec.meta;
    let mut object = json!({
        "operationId": spec.mcp_tool(),
        "tags": [meta.family()],
        "summary": spec.summary,
        "description": spec.description,
        "parameters": parameters(spec),
        "responses": responses(spec),
        "x-effect": meta.effect.as_str(),
        "x-idempotent": meta.idempotent,
        "x-operation": meta.id,
        "x-resource": meta.resource,
    });
    let Some(entries) = object.as_object_mut() else { return object };
    if !meta.obligations.is_empty() {
        let names: Vec<&str> = meta.obligations.iter().map(|obligation| obligation.as_str()).collect();
        entries.insert("x-obligations".to_owned(), json!(names));
    }
    if meta.long_running {
        entries.insert("x-long-running".to_owned(), json!(true));
    }
    if meta.anonymous {
        // The empty requirement: none is needed.
        entries.insert("security".to_owned(), json!([{}]));
    }
    if meta.method.has_body()
        && let Some(body) = request_body(spec)
    {
        entries.insert("requestBody".to_owned(), body);
    }
    object
}

fn path_fields(spec: &Spec) -> Vec<&'static str> {
    spec.path_segments()
        .filter_map(|segment| match segment {
            PathSegment::Field(field) => Some(field),
            PathSegment::Fixed(_) => None,
        })
        .collect()
}

fn parameters(spec: &Spec) -> Vec<Value> {
    let in_path = path_fields(spec);
    let mut parameters = Vec::new();
    for field in &in_path {
        if let Some((_, schema)) = spec.fields().find(|(name, _)| name == field) {
            parameters.push(parameter(spec, field, schema, "path"));
        }
    }
    if !spec.meta.method.has_body() {
        // In alphabetical order: the order of an object's keys depends on how `serde_json` was built.
        let in_query: BTreeMap<&str, &Value> =
            spec.fields().filter(|(name, _)| !in_path.contains(name) && *name != IF_MATCH_FIELD).collect();
        parameters.extend(in_query.iter().map(|(field, schema)| parameter(spec, field, schema, "query")));
    }
    if let Some((field, schema)) = spec.fields().find(|(name, _)| *name == IF_MATCH_FIELD) {
        let mut header = parameter(spec, field, schema, "header");
        if let Some(entries) = header.as_object_mut() {
            entries.insert("name".to_owned(), json!("If-Match"));
        }
        parameters.push(header);
    }
    if spec.meta.method != Method::Get {
        parameters.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
    }
    parameters
}

fn parameter(spec: &Spec, field: &str, schema: &Value, place: &str) -> Value {
    let mut schema = without_null(schema);
    let description = schema.as_object_mut().and_then(|object| object.remove("description")).unwrap_or_default();
    let mut object = json!({
        "name": field,
        "in": place,
        "required": place == "path" || spec.requires(field),
        "description": description,
    });
    let Some(entries) = object.as_object_mut() else { return object };
    if let Some(example) = spec.example.get(field).filter(|example| !example.is_null()) {
        entries.insert("example".to_owned(), example.clone());
    }
    match spec.field_kind(field) {
        FieldKind::Json => {
            entries.insert("content".to_owned(), json!({ JSON: { "schema": schema } }));
            entries.remove("example");
        }
        FieldKind::List => {
            entries.insert("schema".to_owned(), schema);
            entries.insert("style".to_owned(), json!("form"));
            entries.insert("explode".to_owned(), json!(true));
        }
        FieldKind::Boolean | FieldKind::Integer | FieldKind::Text => {
            entries.insert("schema".to_owned(), schema);
        }
    }
    object
}

/// A schema that does not admit `null`, which no path, query or header can say: absence says it.
fn without_null(schema: &Value) -> Value {
    let mut schema = schema.clone();
    let Some(object) = schema.as_object_mut() else { return schema };
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    if let Some(Value::Array(names)) = object.get_mut("type") {
        names.retain(|name| name != "null");
        if let [only] = names.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(mut choices)) = object.remove("anyOf") {
        choices.retain(|choice| choice.get("type") != Some(&Value::from("null")));
        match choices.as_slice() {
            [Value::Object(only)] => {
                for (key, value) in only {
                    object.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            _ => {
                object.insert("anyOf".to_owned(), Value::Array(choices));
            }
        }
    }
    schema
}

fn request_body(spec: &Spec) -> Option<Value> {
    let elsewhere: Vec<&str> = path_fields(spec).into_iter().chain([IF_MATCH_FIELD]).collect();
    let mut schema = spec.input_schema.clone();
    let object = schema.as_object_mut()?;
    for name in ["title", "description"] {
        object.remove(name);
    }
    if let Some(Value::Object(fields)) = object.get_mut("properties") {
        fields.retain(|name, _| !elsewhere.contains(&name.as_str()));
    }
    if let Some(Value::Array(required)) = object.get_mut("required") {
        required.retain(|name| name.as_str().is_none_or(|name| !elsewhere.contains(&name)));
    }
    let required = object.get("required").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
    if !required {
        object.remove("required");
    }
    if spec.fields().all(|(name, _)| elsewhere.contains(&name)) {
        return None;
    }
    let mut example = spec.example.clone();
    if let Some(fields) = example.as_object_mut() {
        fields.retain(|name, _| !elsewhere.contains(&name.as_str()));
    }
    Some(json!({ "required": required, "content": { JSON: { "schema": schema, "example": example } } }))
}

/// The schema of what a call that was carried out answers, with `obligations` where policy may lay some on it.
#[must_use]
pub fn output_schema(spec: &Spec) -> Value {
    let mut schema = spec.output_schema().clone();
    if !spec.meta.obligations.is_empty()
        && let Some(Value::Object(fields)) = schema.get_mut("properties")
    {
        fields.insert("obligations".to_owned(), obligations_schema(spec.meta.obligations));
    }
    schema
}

fn obligations_schema(obligations: &[Obligation]) -> Value {
    let fields: Map<String, Value> = obligations
        .iter()
        .map(|obligation| {
            let schema = match obligation {
                Obligation::MaxRows | Obligation::TtlSecsMax => json!({ "type": "integer", "minimum": 0 }),
                Obligation::Mask => json!({ "type": "array", "items": { "type": "string" } }),
            };
            (obligation.as_str().to_owned(), schema)
        })
        .collect();
    json!({
        "type": "object",
        "description": "The conditions that policy laid on this answer.",
        "properties": fields,
        "additionalProperties": false,
    })
}

fn responses(spec: &Spec) -> Value {
    let schema = output_schema(spec);
    let mut headers = json!({ "Posse-Call": { "$ref": "#/components/headers/Call" } });
    on_every_answer(&mut headers);
    if let Some(entries) = headers.as_object_mut() {
        if schema.get("properties").and_then(|fields| fields.get("etag")).is_some() {
            entries.insert("ETag".to_owned(), json!({ "$ref": "#/components/headers/ETag" }));
        }
        if !spec.meta.obligations.is_empty() {
            entries.insert("Posse-Obligations".to_owned(), json!({ "$ref": "#/components/headers/Obligations" }));
        }
        if spec.meta.method != Method::Get {
            entries.insert("Idempotency-Replayed".to_owned(), json!({ "$ref": "#/components/headers/Replayed" }));
        }
    }
    let mut responses = Map::new();
    let done = json!({ "description": "Carried out.", "headers": headers, "content": { JSON: { "schema": schema } } });
    responses.insert("200".to_owned(), done);
    if !spec.meta.anonymous {
        responses.insert("202".to_owned(), json!({ "$ref": "#/components/responses/Waiting" }));
    }
    for status in statuses() {
        let reference = format!("#/components/responses/Problem{status}");
        responses.insert(status.to_string(), json!({ "$ref": reference }));
    }
    Value::Object(responses)
}

/// The headers that the server puts on every answer, whatever it is.
fn on_every_answer(headers: &mut Value) {
    for name in ["Access-Control-Allow-Origin", "X-RateLimit-Limit"] {
        if let Some(entries) = headers.as_object_mut() {
            entries.insert(name.to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
        }
    }
}

fn statuses() -> BTreeSet<u16> {
    ProblemKind::ALL.iter().map(|kind| kind.status()).collect()
}

/// The schema of a call that waits for people or for evidence, self-contained.
#[must_use]
pub fn waiting_schema() -> Value {
    json!({
        "type": "object",
        "description": "The call was not carried out; it waits for people or for evidence.",
        "properties": {
            "status": { "enum": ["pending_approval", "deferred"] },
            "approval": { "type": "string", "maxLength": 64, "description": "Follow it with `approval.get`." },
            "call": { "type": "string", "maxLength": 64, "description": "The id of the call's audit record." },
            "expires_at": { "type": "string", "format": "date-time", "description": "After this the answer is no." },
            "rung": { "type": "string", "maxLength": 64, "description": "Which approval is asked for." },
            "missing": { "type": "array", "items": { "type": "string" }, "description": "Which evidence is missing." },
        },
        "required": ["status", "approval", "call", "expires_at"],
        "additionalProperties": false,
    })
}

fn problem_schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<Problem>().to_value();
    if let Some(Value::Object(fields)) = schema.get_mut("properties") {
        let urns: Vec<&str> = ProblemKind::ALL.iter().map(|kind| kind.urn()).collect();
        if let Some(Value::Object(kind)) = fields.get_mut("type") {
            kind.insert("enum".to_owned(), json!(urns));
        }
        for field in ["status", "retry_after_secs"] {
            if let Some(Value::Object(number)) = fields.get_mut(field) {
                number.remove("format");
            }
        }
    }
    schema
}

fn components() -> Value {
    let mut responses = Map::new();
    for status in statuses() {
        let kinds: Vec<&ProblemKind> = ProblemKind::ALL.iter().filter(|kind| kind.status() == status).collect();
        let titles: Vec<&str> = kinds.iter().map(|kind| kind.title()).collect();
        let mut response = json!({
            "description": format!("Refused: {}.", titles.join("; or ")),
            "content": { PROBLEM_JSON: { "schema": { "$ref": "#/components/schemas/Problem" } } },
        });
        let header = match status {
            401 => Some("WWW-Authenticate"),
            405 => Some("Allow"),
            429 | 503 => Some("Retry-After"),
            _ => None,
        };
        let mut headers = json!({});
        on_every_answer(&mut headers);
        if let (Some(name), Some(entries)) = (header, headers.as_object_mut()) {
            let reference = format!("#/components/headers/{}", name.replace('-', ""));
            entries.insert(name.to_owned(), json!({ "$ref": reference }));
        }
        if let Some(entries) = response.as_object_mut() {
            entries.insert("headers".to_owned(), headers);
        }
        responses.insert(format!("Problem{status}"), response);
    }
    let mut waiting = json!({
        "description": "Not carried out: waits for people (`pending_approval`) or for evidence (`deferred`).",
        "headers": {
            "Location": { "$ref": "#/components/headers/Location" },
            "Posse-Call": { "$ref": "#/components/headers/Call" },
        },
        "content": { JSON: { "schema": { "$ref": "#/components/schemas/Waiting" } } },
    });
    if let Some(headers) = waiting.get_mut("headers") {
        on_every_answer(headers);
    }
    responses.insert("Waiting".to_owned(), waiting);
    json!({
        "schemas": { "Problem": problem_schema(), "Waiting": waiting_schema() },
        "responses": responses,
        "headers": headers(),
        "parameters": { "IdempotencyKey": idempotency_key() },
        "securitySchemes": { "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API token, a service key or a run credential.",
        } },
    })
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "required": false,
        "description": "The caller's key for safe retries: the same key with the same input brings back the first \
            answer, with another input it is refused.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": IDEMPOTENCY_KEY_CHARS_MAX,
            "pattern": "^[!-~]+$",
        },
    })
}

fn headers() -> Value {
    let text = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    json!({
        "Access-Control-Allow-Origin": text("The server's own origin: pages of no other may read an answer."),
        "X-RateLimit-Limit": {
            "description": "Calls per second that one principal may make in the long run.",
            "schema": { "type": "integer", "minimum": 0, "maximum": u32::MAX },
        },
        "Allow": text("The methods that the route has."),
        "Call": text("The id of the call, which is that of its audit record."),
        "ETag": text("The version of the object; give it back as `If-Match`."),
        "Location": text("Where to follow the approval."),
        "Obligations": text("The conditions that policy laid on this answer, as one JSON object."),
        "Replayed": text("`true` where the idempotency key brought back an earlier answer."),
        "RetryAfter": {
            "description": "After how many seconds a retry may help.",
            "schema": { "type": "integer", "minimum": 0 },
        },
        "WWWAuthenticate": text("`Bearer` with the address of the protected-resource metadata (RFC 9728)."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_absence_where_it_cannot_be_said() {
        for (given, wanted) in [
            (json!({ "type": ["string", "null"], "default": null }), json!({ "type": "string" })),
            (json!({ "anyOf": [{ "enum": ["a"] }, { "type": "null" }] }), json!({ "enum": ["a"] })),
            (json!({ "type": "integer", "default": 100 }), json!({ "type": "integer", "default": 100 })),
        ] {
            assert_eq!(without_null(&given), wanted);
        }
    }

    #[test]
    fn every_reference_has_its_component_and_every_component_is_used() {
        let document = document(&[]);
        let text = document.to_string();
        for status in statuses() {
            assert!(document["components"]["responses"].get(format!("Problem{status}")).is_some());
        }
        for name in text.split("\"#/components/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document["components"].pointer(&format!("/{name}")).is_some(), "{name}");
        }
    }
}

//! Every limit that a schema names is enforced: one past it is answered with 4xx and the pointer of the field.

use serde_json::{Value, json};
use testkit::{Cast, Place, Platform};

/// Texts of which at least one is against any pattern of ours.
const ODD: [&str; 4] = ["\u{1F980} crab", "two\nlines", "\u{0}", " "];

/// A value that is one past a limit of this schema, for each limit; with the name of the limit.
fn past(schema: &Value) -> Vec<(&'static str, Value)> {
    let mut found = Vec::new();
    let number = |word: &str| schema.get(word).and_then(Value::as_i64);
    let length = |word: &str| schema.get(word).and_then(Value::as_u64).and_then(|most| usize::try_from(most).ok());
    if let Some(most) = length("maxLength") {
        found.push(("maxLength", Value::from("a".repeat(most + 1))));
    }
    if let Some(least) = length("minLength").filter(|least| *least > 0) {
        found.push(("minLength", Value::from("a".repeat(least - 1))));
    }
    if let Some(most) = number("maximum") {
        found.push(("maximum", Value::from(most + 1)));
    }
    if let Some(least) = number("minimum") {
        found.push(("minimum", Value::from(least - 1)));
    }
    if let Some(most) = length("maxItems") {
        let item = schema["items"]["enum"].get(0).cloned().unwrap_or_else(|| "a=b".into());
        found.push(("maxItems", Value::from(vec![item; most + 1])));
    }
    if schema.get("pattern").is_some() {
        found.extend(ODD.iter().map(|odd| ("pattern", Value::from(*odd))));
    }
    if schema.get("enum").is_some() || schema.get("const").is_some() {
        found.push(("enum", Value::from("no-such-word")));
    }
    found
}

/// Every limit below a schema: pointer, what limit, and a value for the whole field with one thing past it.
fn all_past(pointer: &str, schema: &Value, depth: usize) -> Vec<(String, &'static str, Value)> {
    let mut found: Vec<_> = past(schema).into_iter().map(|(limit, value)| (pointer.to_owned(), limit, value)).collect();
    if depth == 0 {
        return found;
    }
    for word in ["anyOf", "allOf"] {
        for part in schema[word].as_array().into_iter().flatten().filter(|part| part["type"] != "null") {
            found.extend(all_past(pointer, part, depth));
        }
    }
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        for (pointer, limit, value) in all_past(&format!("{pointer}/{name}"), below, depth - 1) {
            found.push((pointer, limit, json!({ (name.as_str()): value })));
        }
    }
    if let Some(items) = schema.get("items") {
        for (pointer, limit, value) in all_past(&format!("{pointer}/0"), items, depth - 1) {
            found.push((pointer, limit, json!([value])));
        }
    }
    found
}

#[tokio::test]
async fn one_past_every_limit_is_refused_with_its_place() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (mut tried, mut wrong) = (0, Vec::new());
    for spec in &api::specs() {
        let base = cast.input(spec, Place::Own).unwrap();
        let fields: Vec<(String, Value)> =
            spec.fields().map(|(name, schema)| (name.to_owned(), schema.clone())).collect();
        for (name, schema) in fields {
            for (pointer, limit, value) in all_past(&format!("/{name}"), &schema, 4) {
                // Of the odd texts only those that are against this pattern.
                if limit == "pattern" {
                    let alone = spec.validate(&json!({ (name.as_str()): value }));
                    let broken =
                        alone.is_err_and(|problem| problem.errors.iter().any(|fault| fault.pointer == pointer));
                    if !broken {
                        continue;
                    }
                }
                // An empty text in a path is another path; a header cannot carry what is not visible ASCII.
                let in_path = spec.meta.path.contains(&format!("{{{name}}}"));
                let unspeakable = value.as_str().is_some_and(|text| {
                    let visible = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
                    text.is_empty() && in_path || !visible && name == "if_match"
                });
                if unspeakable {
                    continue;
                }
                let mut input = base.clone();
                input[&name] = value;
                let answer = platform.call(&cast.chief.token, spec.meta.id, &input).await;
                tried += 1;
                let named =
                    answer.pointers().iter().any(|told| *told == pointer || told.starts_with(&format!("{pointer}/")));
                if !(400..500).contains(&answer.status) || !named {
                    wrong.push(format!(
                        "{} {pointer} {limit}: {} {:?}",
                        spec.meta.id,
                        answer.status,
                        answer.pointers()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {tried}: {wrong:#?}", wrong.len());
    assert!(tried > 250, "only {tried}");
}

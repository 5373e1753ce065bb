//! Blanking: secrets before a digest is shown or a payload kept, and fields that policy masks in an answer.

use serde_json::Value;
use std::collections::BTreeSet;

/// What stands in place of a secret or a masked field.
pub(crate) const BLANK: &str = "[redacted]";

/// The value with every field blanked whose schema carries `x-secret`; true where there was one.
pub(crate) fn blank_secrets(schema: &Value, value: &mut Value) -> bool {
    if schema.get("x-secret").and_then(Value::as_bool) == Some(true) {
        if value.is_null() {
            return false;
        }
        *value = Value::from(BLANK);
        return true;
    }
    let mut found = false;
    for word in ["anyOf", "oneOf", "allOf"] {
        for part in schema.get(word).and_then(Value::as_array).into_iter().flatten() {
            found |= blank_secrets(part, value);
        }
    }
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, field) in fields.iter_mut() {
                if let Some(below) = properties.and_then(|all| all.get(name)) {
                    found |= blank_secrets(below, field);
                }
            }
        }
        Value::Array(items) => {
            if let Some(below) = schema.get("items") {
                for item in items.iter_mut() {
                    found |= blank_secrets(below, item);
                }
            }
        }
        _ => {}
    }
    found
}

/// Blank the fields at these dotted paths, in each item of a list too.
pub(crate) fn mask(paths: &BTreeSet<String>, value: &mut Value) {
    for path in paths {
        let steps: Vec<&str> = path.split('.').collect();
        mask_one(&steps, value);
    }
}

fn mask_one(steps: &[&str], value: &mut Value) {
    match (steps.split_first(), value) {
        (None, Value::Null) => {}
        (None, value) => *value = Value::from(BLANK),
        (Some(_), Value::Array(items)) => items.iter_mut().for_each(|item| mask_one(steps, item)),
        (Some((first, rest)), Value::Object(fields)) => match fields.get_mut(*first) {
            Some(field) => mask_one(rest, field),
            // A page's fields are those of its items.
            None => {
                if let Some(items @ Value::Array(_)) = fields.get_mut("items") {
                    mask_one(steps, items);
                }
            }
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_found_through_options_and_lists() {
        let schema = json!({ "properties": {
            "password": { "anyOf": [{ "type": "string", "x-secret": true }, { "type": "null" }] },
            "keys": { "items": { "properties": { "secret": { "x-secret": true } } } },
            "name": {} } });
        let mut value = json!({ "password": "p", "keys": [{ "secret": "s" }], "name": "n" });
        assert!(blank_secrets(&schema, &mut value));
        assert_eq!(value, json!({ "password": BLANK, "keys": [{ "secret": BLANK }], "name": "n" }));
    }

    #[test]
    fn a_mask_reaches_the_items_of_a_page() {
        let mut page = json!({ "items": [{ "email": "a@b", "id": 1 }] });
        mask(&["email".to_owned()].into(), &mut page);
        assert_eq!(page, json!({ "items": [{ "email": BLANK, "id": 1 }] }));
    }
}

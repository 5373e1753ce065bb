//! Is one input provably narrower than another? Lists may lose items, whole numbers that end in `_secs` may get
//! smaller (but stay positive), everything else must be equal. What this cannot see to be narrower is wider.

use serde_json::Value;

/// The pointer of the first place where `narrower` is not a subset of `wider`.
pub(crate) fn first_widening(wider: &Value, narrower: &Value) -> Option<String> {
    compare("", "", wider, narrower)
}

fn compare(pointer: &str, name: &str, wider: &Value, narrower: &Value) -> Option<String> {
    match (wider, narrower) {
        (Value::Object(wide), Value::Object(narrow)) => {
            let below = |key: &str| format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
            narrow.keys().find(|key| !wide.contains_key(*key)).map(|key| below(key)).or_else(|| {
                wide.iter().find_map(|(key, value)| match narrow.get(key) {
                    Some(other) => compare(&below(key), key, value, other),
                    None => Some(below(key)),
                })
            })
        }
        (Value::Array(wide), Value::Array(narrow)) => {
            // A list that loses its last item asks for something else altogether (often: for everything).
            let shrinks = (!narrow.is_empty() || wide.is_empty()) && narrow.len() <= wide.len();
            let known = narrow.iter().all(|item| wide.contains(item));
            (!(shrinks && known)).then(|| pointer.to_owned())
        }
        (Value::Number(wide), Value::Number(narrow)) if name.ends_with("_secs") => {
            let shorter = match (wide.as_u64(), narrow.as_u64()) {
                (Some(wide), Some(narrow)) => narrow <= wide && (narrow > 0 || wide == 0),
                _ => false,
            };
            (!shorter).then(|| pointer.to_owned())
        }
        _ => (wider != narrower).then(|| pointer.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_subset_is_narrower() {
        let asked = json!({ "hosts": ["a", "b"], "ttl_secs": 600, "reason": "x" });
        for (narrowed, widening) in [
            (json!({ "hosts": ["a"], "ttl_secs": 60, "reason": "x" }), None),
            (json!({ "hosts": ["a", "b"], "ttl_secs": 600, "reason": "x" }), None),
            (json!({ "hosts": ["a", "c"], "ttl_secs": 60, "reason": "x" }), Some("/hosts")),
            (json!({ "hosts": [], "ttl_secs": 60, "reason": "x" }), Some("/hosts")),
            (json!({ "hosts": ["a"], "ttl_secs": 601, "reason": "x" }), Some("/ttl_secs")),
            (json!({ "hosts": ["a"], "ttl_secs": 0, "reason": "x" }), Some("/ttl_secs")),
            (json!({ "hosts": ["a"], "ttl_secs": 60, "reason": "y" }), Some("/reason")),
            (json!({ "hosts": ["a"], "reason": "x" }), Some("/ttl_secs")),
            (json!({ "hosts": ["a"], "ttl_secs": 60, "reason": "x", "force": true }), Some("/force")),
        ] {
            assert_eq!(first_widening(&asked, &narrowed).as_deref(), widening, "{narrowed}");
        }
    }
}

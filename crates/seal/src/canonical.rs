//! Canonical JSON (RFC 8785, JCS): one byte string for one value, so that a digest of it means the value. Must never write
//! a number that a reader with double precision would read as another.

use serde_json::{Number, Value};
use std::cmp::Ordering;
use thiserror::Error;

/// The largest integer that every JSON reader agrees about: 2^53 - 1 (RFC 7493 section 2.2). Its negative is the smallest.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Nesting past this is refused; `serde_json` reads no deeper either.
const DEPTH_MAX: usize = 128;

/// Why a value has no canonical form.
#[derive(Debug, Clone, Eq, PartialEq, Error)]
pub enum CanonicalError {
    /// More than 128 levels of arrays and objects.
    #[error("is nested more than {DEPTH_MAX} levels deep; flatten it")]
    Depth,
    /// A whole number that a double cannot hold exactly.
    #[error("`{0}` is beyond 2^53; write such a number as text")]
    Integer(String),
    /// Not a finite number.
    #[error("`{0}` is not a finite number")]
    NotFinite(String),
}

/// The canonical bytes of `value`: no white space, members sorted by UTF-16 code units, numbers as ECMAScript writes them.
///
/// # Errors
/// [`CanonicalError`] for whole numbers beyond 2^53 - 1 either way (also where written like `1e300`) and for deep nesting.
pub fn canonical_json(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(256);
    write_value(value, &mut out, 0)?;
    Ok(out)
}

fn write_value(value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), CanonicalError> {
    if depth > DEPTH_MAX {
        return Err(CanonicalError::Depth);
    }
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, out)?,
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write_value(item, out, depth + 1)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by(|(left, _), (right, _)| utf16_order(left, right));
            out.push(b'{');
            for (place, (name, member)) in sorted.into_iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write_text(name, out);
                out.push(b':');
                write_value(member, out, depth + 1)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// RFC 8785 section 3.2.3. It differs from the order of UTF-8 bytes only beyond the basic plane.
fn utf16_order(left: &str, right: &str) -> Ordering {
    if left.is_ascii() && right.is_ascii() { left.cmp(right) } else { left.encode_utf16().cmp(right.encode_utf16()) }
}

fn write_number(number: &Number, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    let beyond = || CanonicalError::Integer(number.to_string().chars().take(64).collect());
    if let Some(integer) = number.as_i64() {
        if integer.unsigned_abs() > INTEGER_MAX {
            return Err(beyond());
        }
        out.extend_from_slice(integer.to_string().as_bytes());
        return Ok(());
    }
    if number.is_u64() {
        return Err(beyond());
    }
    let float = number.as_f64().filter(|float| float.is_finite());
    let float = float.ok_or_else(|| CanonicalError::NotFinite(number.to_string().chars().take(64).collect()))?;
    // An integer too long for 64 bits arrives as a double that has already lost digits: 2^53 is the first unsafe one.
    if float.fract() == 0.0 && float.abs() >= 9_007_199_254_740_992.0 {
        return Err(beyond());
    }
    let text = serde_json_canonicalizer::to_vec(&float).map_err(|_| CanonicalError::NotFinite(float.to_string()))?;
    out.extend_from_slice(&text);
    Ok(())
}

/// RFC 8785 section 3.2.2.2: only what JSON must escape is escaped.
fn write_text(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for byte in text.bytes() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            0x08 => b'b',
            0x09 => b't',
            0x0a => b'n',
            0x0c => b'f',
            0x0d => b'r',
            0x00..=0x1f => {
                let low = HEX.get(usize::from(byte & 15)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), low]);
                continue;
            }
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn the_example_of_rfc_8785_section_3_2_2() {
        let value: Value = serde_json::from_str(
            r#"{"numbers":[333333333.33333329,1E9,4.50,2e-3,0.000000000000000000000000001],
                "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#,
        )
        .unwrap();
        let expected = r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1000000000,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
        assert_eq!(String::from_utf8(canonical_json(&value).unwrap()).unwrap(), expected);
    }

    #[test]
    fn members_sort_by_utf_16() {
        let value = json!({"\u{fb33}": 1, "\u{1f600}": 2, "\u{20ac}": 3, "a": 4, "": 5, "\r": 6});
        let expected = "{\"\":5,\"\\r\":6,\"a\":4,\"\u{20ac}\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}";
        assert_eq!(String::from_utf8(canonical_json(&value).unwrap()).unwrap(), expected);
    }

    #[test]
    fn numbers_that_a_double_cannot_hold_are_refused() {
        for text in ["9007199254740992", "-9007199254740992", "18446744073709551615", "18446744073709551616", "1e300"] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert!(matches!(canonical_json(&value), Err(CanonicalError::Integer(_))), "{text}");
        }
        for text in ["9007199254740991", "-9007199254740991", "0"] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(canonical_json(&value).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(canonical_json(&deep), Err(CanonicalError::Depth));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-(1_i64 << 53) + 1..(1_i64 << 53)).prop_map(Value::from),
            (-1e15_f64..1e15).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_the_reference_implementation(value in any_value()) {
            let ours = canonical_json(&value).unwrap();
            prop_assert_eq!(&ours, &serde_json_canonicalizer::to_vec(&value).unwrap());
            let read: Value = serde_json::from_slice(&ours).unwrap();
            prop_assert_eq!(ours, canonical_json(&read).unwrap());
        }
    }
}

//! One value out of a JSON text by a dotted path, skipping everything else without building it.
//!
//! Reads what the ingest has parsed before: of text that is not JSON it finds nothing, it never fails.

use std::borrow::Cow;

/// The scalar at the path as text, or an object or array as its JSON text; none where there is none or it is null. A flat
/// key with dots in it counts like nesting.
pub(crate) fn text_at<'a>(json: &'a str, path: &[&str]) -> Option<Cow<'a, str>> {
    // The last key must stand somewhere: most records lack it, and this is a fast search.
    let last = path.last()?;
    memchr::memmem::find(json.as_bytes(), last.as_bytes())?;
    let mut scan = Scan { json, at: 0 };
    scan.find(path)?;
    scan.value_text()
}

struct Scan<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        self.blank();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Stand at the value of the path, from the start of an object or array.
    fn find(&mut self, path: &[&str]) -> Option<()> {
        self.blank();
        if path.is_empty() {
            return Some(());
        }
        match self.peek()? {
            b'{' => self.member(path),
            b'[' => self.element(path),
            _ => None,
        }
    }

    fn member(&mut self, path: &[&str]) -> Option<()> {
        self.at += 1;
        self.blank();
        if self.peek()? == b'}' {
            return None;
        }
        loop {
            self.blank();
            let key = self.string()?;
            self.eat(b':')?;
            let taken = (1..=path.len()).find(|length| joined(path.get(..*length), key));
            if let Some(taken) = taken {
                let back = self.at;
                if self.find(path.get(taken..)?).is_some() {
                    return Some(());
                }
                self.at = back;
            }
            self.skip()?;
            self.blank();
            match self.peek()? {
                b',' => self.at += 1,
                _ => return None,
            }
        }
    }

    fn element(&mut self, path: &[&str]) -> Option<()> {
        let wanted: usize = path.first()?.parse().ok()?;
        self.at += 1;
        for _ in 0..wanted {
            self.skip()?;
            self.eat(b',')?;
        }
        self.blank();
        if self.peek()? == b']' {
            return None;
        }
        self.find(path.get(1..)?)
    }

    /// The text between the quotes, escapes and all.
    fn string(&mut self) -> Option<&'a str> {
        self.eat(b'"')?;
        let start = self.at;
        loop {
            let hit = memchr::memchr2(b'"', b'\\', self.json.as_bytes().get(self.at..)?)?;
            self.at += hit;
            if self.peek()? == b'"' {
                let text = self.json.get(start..self.at)?;
                self.at += 1;
                return Some(text);
            }
            self.at += 2;
        }
    }

    /// Go past the value that comes next.
    fn skip(&mut self) -> Option<()> {
        self.blank();
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' | b'[' => {
                let mut depth = 0_usize;
                loop {
                    let rest = self.json.as_bytes().get(self.at..)?;
                    let hit = rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']'))?;
                    self.at += hit;
                    match self.peek()? {
                        b'"' => {
                            self.string()?;
                            continue;
                        }
                        b'{' | b'[' => depth += 1,
                        _ => depth -= 1,
                    }
                    self.at += 1;
                    if depth == 0 {
                        return Some(());
                    }
                }
            }
            _ => {
                let rest = self.json.as_bytes().get(self.at..)?;
                let length = rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']')).unwrap_or(rest.len());
                self.at += length;
                Some(())
            }
        }
    }

    fn value_text(&mut self) -> Option<Cow<'a, str>> {
        self.blank();
        let start = self.at;
        if self.peek()? == b'"' {
            let text = self.string()?;
            if !text.contains('\\') {
                return Some(Cow::Borrowed(text));
            }
            let quoted = self.json.get(start..self.at)?;
            return serde_json::from_str(quoted).ok().map(Cow::Owned);
        }
        self.skip()?;
        let text = self.json.get(start..self.at)?.trim_end();
        (text != "null").then_some(Cow::Borrowed(text))
    }
}

/// Whether a key is these steps joined by dots.
fn joined(steps: Option<&[&str]>, key: &str) -> bool {
    let Some(steps) = steps else { return false };
    let mut rest = key;
    for (place, step) in steps.iter().enumerate() {
        if place > 0 {
            let Some(tail) = rest.strip_prefix('.') else { return false };
            rest = tail;
        }
        let Some(tail) = rest.strip_prefix(step) else { return false };
        rest = tail;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn finds_values_nested_flat_and_in_arrays() {
        let json = r#"{"a": {"b": [1, {"c": "x\ny"}], "n": null, "}": 0}, "d.e": {"f": true}, "g": "{\"h\": 1}", "z" : -1.5 }"#;
        for (path, expected) in [
            ("a.b.0", Some("1")),
            ("a.b.1.c", Some("x\ny")),
            ("a.b.2", None),
            ("a.b", Some(r#"[1, {"c": "x\ny"}]"#)),
            ("a.n", None),
            ("d.e.f", Some("true")),
            ("g.h", None),
            ("z", Some("-1.5")),
            ("missing", None),
        ] {
            let path: Vec<&str> = path.split('.').collect();
            assert_eq!(text_at(json, &path).as_deref(), expected, "{path:?}");
        }
        for broken in ["", "{", "{\"a\"", "{\"a\":", "[", "{\"a\":\"", "\u{0}", "{\"a\\", "}"] {
            assert_eq!(text_at(broken, &["a"]), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_whole_parse(keys in prop::collection::vec("[ab\"\\\\{}]{1,2}", 1..5), value in "[a-c\"\\\\\\n]{0,4}") {
            let mut json = Value::String(value.clone());
            for key in keys.iter().rev() {
                json = serde_json::json!({ "x{": [1, "}"], key.as_str(): json, "y": {"z": "]"} });
            }
            let path: Vec<&str> = keys.iter().map(String::as_str).collect();
            // Keys that need escapes are not found by their plain text; all others are.
            if keys.iter().all(|key| !key.contains(['"', '\\'])) {
                let text = json.to_string();
                let found = text_at(&text, &path);
                prop_assert_eq!(found.as_deref(), Some(value.as_str()));
            }
        }

        #[test]
        fn never_fails_on_any_text(text in "[\\[\\]{}\",:a\\\\ 1]{0,40}") {
            let _ = text_at(&text, &["a", "1"]);
        }
    }
}

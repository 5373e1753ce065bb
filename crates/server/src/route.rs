//! Which operation a method and a path name. Built once from the declarations; holds no other route.

use api::{Method, PathSegment, Spec};
use std::collections::BTreeMap;
use thiserror::Error;

/// Two operations that a request could not tell apart.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[error("`{second}` has the route of `{first}`; give one of them another path or method")]
pub struct RouteConflict {
    first: &'static str,
    second: &'static str,
}

/// The routes as a tree of path segments.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    fixed: BTreeMap<&'static str, Node>,
    field: Option<Box<Node>>,
    methods: Vec<Route>,
}

#[derive(Clone, Debug)]
struct Route {
    method: Method,
    id: &'static str,
    fields: Vec<&'static str>,
}

/// What a request's method and path come to.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Found {
    /// This operation, with the fields of its path, still percent-decoded text.
    Operation { id: &'static str, fields: Vec<(&'static str, String)> },
    /// There is the path, but not with this method; `id` is the first operation that it does have.
    OtherMethods { id: &'static str, methods: Vec<Method> },
    /// There is no such path.
    Nothing,
    /// A segment is not UTF-8 behind its percent signs.
    Malformed,
}

impl Routes {
    pub(crate) fn of(specs: &[Spec]) -> Result<Self, RouteConflict> {
        let mut routes = Self::default();
        for spec in specs {
            routes.add(spec)?;
        }
        Ok(routes)
    }

    fn add(&mut self, spec: &Spec) -> Result<(), RouteConflict> {
        let mut node = &mut self.root;
        let mut fields = Vec::new();
        for segment in spec.path_segments() {
            node = match segment {
                PathSegment::Fixed(text) => node.fixed.entry(text).or_default(),
                PathSegment::Field(name) => {
                    fields.push(name);
                    node.field.get_or_insert_default()
                }
            };
        }
        let route = Route { method: spec.meta.method, id: spec.meta.id, fields };
        match node.methods.iter().find(|other| other.method == route.method) {
            Some(other) => Err(RouteConflict { first: other.id, second: route.id }),
            None => {
                node.methods.push(route);
                Ok(())
            }
        }
    }

    /// Find the operation. `method` is absent where HTTP's is none that an operation can have.
    pub(crate) fn find(&self, method: Option<Method>, path: &str) -> Found {
        let Some(path) = path.strip_prefix('/') else { return Found::Nothing };
        let mut pieces = Vec::new();
        for piece in path.split('/') {
            match percent_decoded(piece) {
                Some(text) if text.is_empty() => return Found::Nothing,
                Some(text) => pieces.push(text),
                None => return Found::Malformed,
            }
        }
        let mut values = Vec::new();
        let Some(node) = self.root.descend(&pieces, &mut values) else { return Found::Nothing };
        match (node.methods.iter().find(|route| Some(route.method) == method), node.methods.first()) {
            (Some(route), _) => {
                Found::Operation { id: route.id, fields: route.fields.iter().copied().zip(values).collect() }
            }
            (None, None) => Found::Nothing,
            (None, Some(first)) => {
                let mut methods: Vec<Method> = node.methods.iter().map(|route| route.method).collect();
                methods.sort();
                Found::OtherMethods { id: first.id, methods }
            }
        }
    }
}

impl Node {
    /// The node at the end of these pieces; a fixed segment goes before a field.
    fn descend(&self, pieces: &[String], values: &mut Vec<String>) -> Option<&Self> {
        let Some((piece, rest)) = pieces.split_first() else {
            return (!self.methods.is_empty()).then_some(self);
        };
        if let Some(found) = self.fixed.get(piece.as_str()).and_then(|node| node.descend(rest, values)) {
            return Some(found);
        }
        let node = self.field.as_deref()?;
        values.push(piece.clone());
        let found = node.descend(rest, values);
        if found.is_none() {
            values.pop();
        }
        found
    }
}

/// The text behind percent signs; nothing where it is not UTF-8 or a sign has no two digits.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_signs_are_read_strictly() {
        for (text, wanted) in [
            ("a%20b", Some("a b")),
            ("%C3%A9", Some("é")),
            ("%FF", None),
            ("%2", None),
            ("%zz", None),
            ("+", Some("+")),
        ] {
            assert_eq!(percent_decoded(text).as_deref(), wanted, "{text}");
        }
    }
}

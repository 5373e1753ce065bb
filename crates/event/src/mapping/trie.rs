//! Many field paths looked for in one walk over a record, with the meaning that [`FieldPath`] gives each alone: flat
//! keys, nesting and any mix, arrays opened, numbers picking elements. Never compares a key with more paths than begin
//! with a key of its length.

use crate::path::{self, FieldPath};
use crate::view::{Item, Kind};

/// A set of paths; each has a slot, paths that are equal share one.
#[derive(Debug)]
pub(super) struct Trie {
    // INVARIANT: never empty; the first is the root.
    nodes: Vec<Node>,
    slots: u32,
}

#[derive(Debug, Default)]
struct Node {
    /// By length of the key, then by key.
    children: Vec<(Box<str>, u32)>,
    /// Where the children with keys of each length begin; one more than the longest key.
    starts: Vec<u32>,
    /// Children whose key is a number, which picks an element of an array.
    numbers: Vec<(usize, u32)>,
    /// Below any key.
    any: Option<u32>,
    /// The path that ends here.
    slot: Option<u32>,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], slots: 0 }
    }
}

fn place(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

impl Trie {
    /// The slot of a path, added where it is new.
    pub(super) fn add(&mut self, path: &FieldPath) -> u32 {
        let mut at = 0;
        let mut parts = path.as_str().split('.').peekable();
        while let Some(part) = parts.next() {
            // A star at the end is a key like others.
            at = if part == "*" && parts.peek().is_some() { self.any_below(at) } else { self.below(at, part) };
        }
        let next = self.slots;
        let Some(node) = self.nodes.get_mut(place(at)) else { return next };
        let slot = *node.slot.get_or_insert(next);
        self.slots = self.slots.max(slot.saturating_add(1));
        slot
    }

    /// How many slots there are.
    pub(super) fn slots(&self) -> usize {
        place(self.slots)
    }

    fn any_below(&mut self, at: u32) -> u32 {
        let next = number(self.nodes.len());
        let Some(node) = self.nodes.get_mut(place(at)) else { return at };
        let child = *node.any.get_or_insert(next);
        if child == next {
            self.nodes.push(Node::default());
        }
        child
    }

    fn below(&mut self, at: u32, key: &str) -> u32 {
        let next = number(self.nodes.len());
        let Some(node) = self.nodes.get_mut(place(at)) else { return at };
        if let Some(child) = node.child(key) {
            return child;
        }
        node.children.push((key.into(), next));
        node.index();
        self.nodes.push(Node::default());
        next
    }

    /// Every value that stands at one of the paths, with the path's slot; for each path in document order.
    pub(super) fn visit<'v>(&self, root: Item<'v>, found: &mut impl FnMut(u32, Item<'v>)) {
        if let Some(node) = self.nodes.first() {
            self.walk(node, root, found);
        }
    }

    fn walk<'v>(&self, node: &Node, item: Item<'v>, found: &mut impl FnMut(u32, Item<'v>)) {
        match item.kind() {
            Kind::Scalar(_) => {}
            Kind::Object(members) => {
                for (key, value) in members {
                    if let Some(any) = node.any.and_then(|any| self.nodes.get(place(any))) {
                        self.walk(any, value, found);
                    }
                    if let Some(child) = self.step(node, key) {
                        self.reach(child, value, found);
                    }
                }
            }
            Kind::Array(elements) => {
                for (index, child) in &node.numbers {
                    if let Some(element) = elements.into_iter().nth(*index)
                        && let Some(child) = self.nodes.get(place(*child))
                    {
                        self.reach(child, element, found);
                    }
                }
                elements.into_iter().for_each(|element| self.walk(node, element, found));
            }
        }
    }

    fn reach<'v>(&self, node: &Node, value: Item<'v>, found: &mut impl FnMut(u32, Item<'v>)) {
        if let Some(slot) = node.slot {
            found(slot, value);
        }
        if !node.children.is_empty() || node.any.is_some() {
            self.walk(node, value, found);
        }
    }

    /// Where a key leads; a flat key with dots leads down several steps.
    fn step<'t>(&'t self, node: &'t Node, key: &str) -> Option<&'t Node> {
        if let Some(child) = node.child(key) {
            return self.nodes.get(place(child));
        }
        memchr::memchr(b'.', key.as_bytes())?;
        let mut at = node;
        for part in key.split('.') {
            at = self.nodes.get(place(at.child(part)?))?;
        }
        Some(at)
    }
}

impl Node {
    fn child(&self, key: &str) -> Option<u32> {
        let from = place(*self.starts.get(key.len())?);
        let to = self.starts.get(key.len().saturating_add(1)).map_or(self.children.len(), |end| place(*end));
        self.children.get(from..to)?.iter().find(|(other, _)| **other == *key).map(|(_, child)| *child)
    }

    fn index(&mut self) {
        self.children.sort_by(|(left, _), (right, _)| left.len().cmp(&right.len()).then_with(|| left.cmp(right)));
        let longest = self.children.last().map_or(0, |(key, _)| key.len());
        let start = |length: usize| number(self.children.partition_point(|(key, _)| key.len() < length));
        self.starts = (0..=longest).map(start).collect();
        let numbered = |(key, child): &(Box<str>, u32)| path::index(key).map(|(index, _)| (index, *child));
        self.numbers = self.children.iter().filter_map(numbered).collect();
    }
}

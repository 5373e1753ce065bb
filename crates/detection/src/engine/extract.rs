//! From a parsed record to the values of the fields that rules read: one walk over the record, keys looked up in a trie.

use super::table::{NONE, Names};
use crate::profile::{Profile, Step};
use crate::value::Leaf;
use event::{Elements, Item, Kind, Members, Scalar};
use std::collections::HashMap;

/// Field paths, merged at their common keys.
#[derive(Debug, Default)]
pub(super) struct Trie {
    nodes: Box<[Node]>,
}

#[derive(Debug, Default)]
struct Node {
    /// None where a path ends, as most do.
    keys: Option<Box<Keys>>,
    any: Option<u32>,
    fields: Box<[u32]>,
}

/// The keys below a node.
#[derive(Debug)]
struct Keys {
    names: Names,
    /// The child of a key by number.
    children: Box<[u32]>,
    /// Blanks in the record's keys are left out before they are looked up.
    blank: bool,
}

impl Trie {
    pub(super) fn new(fields: &[Box<str>], profile: &Profile) -> Self {
        #[derive(Default)]
        struct Draft {
            keys: HashMap<Box<str>, usize>,
            order: Vec<Box<str>>,
            any: Option<usize>,
            fields: Vec<u32>,
            blank: bool,
        }
        let mut drafts = vec![Draft::default()];
        for (field, number) in fields.iter().zip(0_u32..) {
            for path in profile.paths(field) {
                let mut at = 0;
                for step in path {
                    let fresh = drafts.len();
                    let Some(draft) = drafts.get_mut(at) else { break };
                    draft.blank |= matches!(step, Step::Blank(_));
                    at = match step {
                        Step::AnyKey => *draft.any.get_or_insert(fresh),
                        Step::Key(key) | Step::Blank(key) => *draft.keys.entry(key.clone()).or_insert_with(|| {
                            draft.order.push(key);
                            fresh
                        }),
                    };
                    if at == fresh {
                        drafts.push(Draft::default());
                    }
                }
                if let Some(draft) = drafts.get_mut(at)
                    && !draft.fields.contains(&number)
                {
                    draft.fields.push(number);
                }
            }
        }
        let to_u32 = |index: usize| u32::try_from(index).unwrap_or(NONE);
        let nodes = drafts
            .into_iter()
            .map(|draft| {
                let children: Box<[u32]> =
                    draft.order.iter().filter_map(|key| draft.keys.get(key).copied()).map(to_u32).collect();
                let keys = || Box::new(Keys { children, names: Names::new(draft.order), blank: draft.blank });
                let inner = !draft.keys.is_empty();
                let (any, fields) = (draft.any.map(to_u32), draft.fields.into_boxed_slice());
                Node { keys: inner.then(keys), any, fields }
            })
            .collect();
        Self { nodes }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }
}

/// The longest text view of a number or truth value that a needle can be longer than.
const NUMBER_BYTES_MAX: usize = 32;

const fn leaf_of(scalar: Scalar<'_>) -> Leaf<'_> {
    match scalar {
        Scalar::Null => Leaf::Null,
        Scalar::Bool(truth) => Leaf::Bool(truth),
        Scalar::Int(int) => Leaf::Int(int),
        Scalar::Big(big) => Leaf::Big(big),
        Scalar::Float(float) => Leaf::Float(float),
        Scalar::Str(text) => Leaf::Text(text),
    }
}

/// A value of a field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held<'v> {
    pub(super) leaf: Leaf<'v>,
    /// The next value of the same field, or `NONE`.
    pub(super) next: u32,
    /// Where its folded text lies in the arena; `NONE` while it was not needed.
    folded_start: u32,
    folded_end: u32,
}

/// Where the values of a field begin, for the record of `epoch`.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    epoch: u32,
    first: u32,
    last: u32,
}

/// The values of one record. Buffers are reused from record to record.
#[derive(Debug, Default)]
pub(super) struct Values<'v> {
    pub(super) held: Vec<Held<'v>>,
    arena: String,
    slots: Vec<Slot>,
    /// By trie node, the object in which its key was last seen.
    seen: Vec<u32>,
    object: u32,
    epoch: u32,
    pub(super) doubled: bool,
    /// A key without its blanks.
    key: String,
}

impl Values<'_> {
    /// The buffers, empty, for a record of another lifetime.
    pub(super) fn reuse<'w>(mut self) -> Values<'w> {
        self.held.clear();
        Values {
            // Collecting an emptied iterator of the same layout keeps the allocation.
            held: self.held.into_iter().map_while(|_| None).collect(),
            arena: self.arena,
            slots: self.slots,
            seen: self.seen,
            object: self.object,
            epoch: self.epoch,
            doubled: false,
            key: self.key,
        }
    }
}

impl<'v> Values<'v> {
    /// Read the fields of a record. `slots` is the number of fields, plus one for keywords.
    pub(super) fn read(&mut self, trie: &Trie, slots: usize, record: Item<'v>) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 || self.slots.len() != slots || self.seen.len() != trie.len() || self.object > u32::MAX / 2 {
            self.slots.clear();
            self.slots.resize(slots, Slot::default());
            self.seen.clear();
            self.seen.resize(trie.len(), 0);
            self.epoch = 1;
            self.object = 0;
        }
        self.arena.clear();
        self.doubled = false;
        self.descend(trie, 0, record);
    }

    fn descend(&mut self, trie: &Trie, node: u32, item: Item<'v>) {
        match item.kind() {
            Kind::Object(members) => self.members(trie, node, members),
            Kind::Array(elements) => elements.into_iter().for_each(|element| self.descend(trie, node, element)),
            Kind::Scalar(_) => {}
        }
    }

    fn members(&mut self, trie: &Trie, number: u32, members: Members<'v>) {
        let Some(node) = trie.nodes.get(number as usize) else { return };
        self.object = self.object.wrapping_add(1);
        let object = self.object;
        let keys = node.keys.as_deref();
        for (key, item) in members {
            let child = keys.and_then(|keys| {
                let number = if keys.blank && key.contains(' ') {
                    self.key.clear();
                    self.key.extend(key.chars().filter(|character| *character != ' '));
                    keys.names.find(&self.key)
                } else {
                    keys.names.find(key)
                };
                keys.children.get(number? as usize)
            });
            if let Some(child) = child {
                if let Some(seen) = self.seen.get_mut(*child as usize) {
                    self.doubled |= std::mem::replace(seen, object) == object;
                }
                self.visit(trie, *child, item);
            }
            if let Some(child) = node.any {
                self.visit(trie, child, item);
            }
        }
    }

    fn visit(&mut self, trie: &Trie, number: u32, item: Item<'v>) {
        let Some(node) = trie.nodes.get(number as usize) else { return };
        for field in &node.fields {
            self.touch(*field);
            match item.kind() {
                Kind::Scalar(scalar) => self.push(*field, scalar),
                Kind::Array(elements) => self.push_all(*field, elements),
                Kind::Object(_) => {}
            }
        }
        if node.any.is_some() || node.keys.is_some() {
            self.descend(trie, number, item);
        }
    }

    fn push_all(&mut self, field: u32, elements: Elements<'v>) {
        for element in elements {
            match element.kind() {
                Kind::Scalar(scalar) => self.push(field, scalar),
                Kind::Array(inner) => self.push_all(field, inner),
                Kind::Object(_) => {}
            }
        }
    }

    /// The folded text of every value of at least `bytes_min` bytes, with a NUL behind each: to see at once that no
    /// keyword occurs.
    pub(super) fn join_all(&self, record: Item<'v>, bytes_min: usize, joined: &mut String) {
        match record.kind() {
            // Folding may lengthen text that is not ASCII.
            Kind::Scalar(Scalar::Str(text)) if text.len() >= bytes_min || !text.is_ascii() => {
                crate::fold::fold_into(text, joined);
                joined.push('\0');
            }
            Kind::Scalar(Scalar::Str(_)) => {}
            Kind::Scalar(scalar) => {
                if bytes_min <= NUMBER_BYTES_MAX && leaf_of(scalar).write_text(joined) {
                    joined.push('\0');
                }
            }
            Kind::Array(elements) => elements.into_iter().for_each(|e| self.join_all(e, bytes_min, joined)),
            Kind::Object(members) => members.into_iter().for_each(|(_, item)| self.join_all(item, bytes_min, joined)),
        }
    }

    /// Every value of the record becomes a value of the keyword slot.
    pub(super) fn read_all(&mut self, slot: u32, record: Item<'v>) {
        match record.kind() {
            Kind::Scalar(scalar) => {
                self.touch(slot);
                self.push(slot, scalar);
            }
            Kind::Array(elements) => elements.into_iter().for_each(|element| self.read_all(slot, element)),
            Kind::Object(members) => members.into_iter().for_each(|(_, item)| self.read_all(slot, item)),
        }
    }

    fn touch(&mut self, field: u32) {
        let epoch = self.epoch;
        if let Some(slot) = self.slots.get_mut(field as usize)
            && slot.epoch != epoch
        {
            *slot = Slot { epoch, first: NONE, last: NONE };
        }
    }

    fn push(&mut self, field: u32, scalar: Scalar<'v>) {
        let leaf = leaf_of(scalar);
        let index = u32::try_from(self.held.len()).unwrap_or(NONE);
        let Some(slot) = self.slots.get_mut(field as usize) else { return };
        if slot.first == NONE {
            slot.first = index;
        } else if let Some(last) = self.held.get_mut(slot.last as usize) {
            last.next = index;
        }
        slot.last = index;
        self.held.push(Held { leaf, next: NONE, folded_start: NONE, folded_end: NONE });
    }

    /// The field is there.
    pub(super) fn present(&self, field: u32) -> bool {
        self.slots.get(field as usize).is_some_and(|slot| slot.epoch == self.epoch)
    }

    /// The number of the first value of a field, or `NONE`.
    pub(super) fn first(&self, field: u32) -> u32 {
        match self.slots.get(field as usize) {
            Some(slot) if slot.epoch == self.epoch => slot.first,
            _ => NONE,
        }
    }

    /// A value by its number.
    pub(super) fn get(&self, index: u32) -> Option<&Held<'v>> {
        self.held.get(index as usize)
    }

    /// The folded text of a value; null has none.
    pub(super) fn folded(&mut self, index: u32) -> Option<&str> {
        let held = self.held.get_mut(index as usize)?;
        if held.folded_start == NONE {
            let start = self.arena.len();
            let written = match held.leaf {
                Leaf::Text(text) => {
                    crate::fold::fold_into(text, &mut self.arena);
                    true
                }
                other => other.write_text(&mut self.arena),
            };
            if !written {
                return None;
            }
            held.folded_start = u32::try_from(start).ok()?;
            held.folded_end = u32::try_from(self.arena.len()).ok()?;
        }
        self.arena.get(held.folded_start as usize..held.folded_end as usize)
    }

    /// The text of a value as it is; null has none.
    pub(super) fn exact(&mut self, index: u32) -> Option<&str> {
        match self.held.get(index as usize)?.leaf {
            Leaf::Text(text) => Some(text),
            // Numbers and truth values have no case.
            _ => self.folded(index),
        }
    }
}

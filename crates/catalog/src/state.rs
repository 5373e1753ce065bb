//! Everything live at one snapshot.

use crate::{Change, Committed, File, FileId};
use std::collections::BTreeMap;

/// What a catalog holds at one snapshot.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct State {
    /// The snapshot's number.
    pub snapshot: u64,
    /// The table's files.
    pub files: BTreeMap<FileId, File>,
    /// How far each reader of a log came: name and its own bytes.
    pub cursors: BTreeMap<String, Vec<u8>>,
}

impl State {
    /// This state after a change that was committed right on top of it.
    pub fn apply(&mut self, change: &Change, committed: &Committed) {
        self.snapshot = committed.snapshot;
        for id in &change.remove {
            self.files.remove(id);
        }
        for (id, new) in committed.ids.iter().zip(&change.add) {
            self.files.insert(*id, File::of(*id, new));
        }
        for (name, cursor) in &change.cursors {
            self.cursors.insert(name.clone(), cursor.clone());
        }
    }
}

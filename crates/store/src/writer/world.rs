//! What the planner knows while it goes through a batch: the stored state that the batch touches, as each accepted call
//! leaves it. Pure: it is filled by `load` and read by `write`.

use crate::commit::CommitError;
use crate::job::JobState;
use crate::message::MessageState;
use crate::resource::Key;
use ids::CallId;
use std::collections::{HashMap, HashSet};

/// Kind and id of a document.
pub(super) type DocumentKey = (&'static str, String);
/// Kind, name and value of a unique key.
pub(super) type HolderKey = (&'static str, String, String);

/// A key as it is stored.
#[derive(Clone, Debug, Eq, PartialEq, Hash)]
pub(super) struct Held {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) exclusive: bool,
}

impl From<Key> for Held {
    fn from(key: Key) -> Self {
        Self { name: key.name.to_owned(), value: key.value, exclusive: key.unique }
    }
}

/// A document without its body.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) owner: String,
    pub(super) version: i64,
    pub(super) keys: Vec<Held>,
    /// Body and time of the change, where this batch wrote it.
    pub(super) written: Option<(String, i64)>,
}

/// A document before the batch and now.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    pub(super) before: Option<Head>,
    pub(super) now: Option<Head>,
}

#[derive(Clone, Debug)]
pub(super) struct JobHead {
    pub(super) owner: String,
    pub(super) state: JobState,
    pub(super) worker: Option<String>,
    pub(super) attempts: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct MessageHead {
    pub(super) state: MessageState,
    pub(super) attempts: u32,
}

/// The state that a batch touches. What was asked for and is absent from a map is absent from the database.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) documents: HashMap<DocumentKey, Document>,
    pub(super) holders: HashMap<HolderKey, String>,
    pub(super) remembered: HashMap<(String, String), i64>,
    pub(super) jobs: HashMap<String, JobHead>,
    pub(super) dedupes: HashSet<(String, String, String)>,
    pub(super) messages: HashMap<String, MessageHead>,
    pub(super) calls: HashSet<(CallId, u8)>,
}

/// What one call would change in a [`World`]: merged if the whole call is accepted, dropped if not.
pub(super) struct Layer<'w> {
    world: &'w World,
    pub(super) delta: Delta,
}

/// The changes of one call.
#[derive(Default)]
pub(super) struct Delta {
    documents: HashMap<DocumentKey, Option<Head>>,
    holders: HashMap<HolderKey, Option<String>>,
    pub(super) remembered: HashMap<(String, String), i64>,
    pub(super) jobs: HashMap<String, JobHead>,
    pub(super) dedupes: HashSet<(String, String, String)>,
    pub(super) messages: HashMap<String, MessageHead>,
    pub(super) calls: HashSet<(CallId, u8)>,
}

impl World {
    pub(super) fn merge(&mut self, delta: Delta) {
        for (key, now) in delta.documents {
            self.documents.entry(key).or_default().now = now;
        }
        for (key, holder) in delta.holders {
            match holder {
                Some(id) => drop(self.holders.insert(key, id)),
                None => drop(self.holders.remove(&key)),
            }
        }
        self.remembered.extend(delta.remembered);
        self.jobs.extend(delta.jobs);
        self.dedupes.extend(delta.dedupes);
        self.messages.extend(delta.messages);
        self.calls.extend(delta.calls);
    }
}

impl<'w> Layer<'w> {
    pub(super) fn new(world: &'w World) -> Self {
        Self { world, delta: Delta::default() }
    }

    pub(super) fn head(&self, key: &DocumentKey) -> Option<&Head> {
        match self.delta.documents.get(key) {
            Some(now) => now.as_ref(),
            None => self.world.documents.get(key).and_then(|document| document.now.as_ref()),
        }
    }

    pub(super) fn job(&self, id: &str) -> Option<&JobHead> {
        self.delta.jobs.get(id).or_else(|| self.world.jobs.get(id))
    }

    pub(super) fn message(&self, id: &str) -> Option<MessageHead> {
        self.delta.messages.get(id).or_else(|| self.world.messages.get(id)).copied()
    }

    pub(super) fn remembered(&self, key: &(String, String)) -> Option<i64> {
        self.delta.remembered.get(key).or_else(|| self.world.remembered.get(key)).copied()
    }

    pub(super) fn is_enqueued(&self, dedupe: &(String, String, String)) -> bool {
        self.delta.dedupes.contains(dedupe) || self.world.dedupes.contains(dedupe)
    }

    /// Whether the call's record is new.
    pub(super) fn record(&mut self, call: CallId, part: u8) -> bool {
        !self.world.calls.contains(&(call, part)) && self.delta.calls.insert((call, part))
    }

    /// Put a document; its unique keys must be free, its old ones become so.
    pub(super) fn put(&mut self, key: DocumentKey, head: Head, names: &[Key]) -> Result<(), CommitError> {
        self.release(&key);
        for named in names.iter().filter(|named| named.unique) {
            let place = (key.0, named.name.to_owned(), named.value.clone());
            let holder = match self.delta.holders.get(&place) {
                Some(holder) => holder.as_ref(),
                None => self.world.holders.get(&place),
            };
            if holder.is_some_and(|id| *id != key.1) {
                return Err(CommitError::Duplicate { kind: key.0, key: named.name });
            }
            self.delta.holders.insert(place, Some(key.1.clone()));
        }
        self.delta.documents.insert(key, Some(head));
        Ok(())
    }

    pub(super) fn delete(&mut self, key: DocumentKey) {
        self.release(&key);
        self.delta.documents.insert(key, None);
    }

    /// The unique keys that a document has now become free.
    fn release(&mut self, key: &DocumentKey) {
        let Some(head) = self.head(key) else { return };
        let places: Vec<HolderKey> = head
            .keys
            .iter()
            .filter(|held| held.exclusive)
            .map(|held| (key.0, held.name.clone(), held.value.clone()))
            .collect();
        for place in places {
            self.delta.holders.insert(place, None);
        }
    }
}

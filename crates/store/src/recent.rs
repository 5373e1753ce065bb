//! Documents that were read lately, kept as text: a look at a thing that did not change costs no trip to the database.
//!
//! An entry is good only while nothing of its kind was committed since before it was read; the writer's generations
//! tell, and they grow before a commit is answered. It must never outlive that: a stale document would be a stale right.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Bytes of documents that are kept at most.
const BYTES_MAX: usize = 8 << 20;

/// A document as the database holds it.
pub(crate) struct Kept {
    pub(crate) owner: String,
    pub(crate) version: i64,
    pub(crate) body: String,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    /// The document as it was first asked for, so that the next look need not parse the text again.
    pub(crate) parsed: OnceLock<Box<dyn Any + Send + Sync>>,
}

#[derive(Default)]
struct Inner {
    kinds: HashMap<&'static str, Kind>,
    bytes: usize,
}

#[derive(Default)]
struct Kind {
    generation: u64,
    documents: HashMap<String, Arc<Kept>>,
}

/// See the module's head.
#[derive(Default)]
pub(crate) struct Recent {
    inner: Mutex<Inner>,
}

impl Recent {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here can be left half-done that the next use would trust.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The document, if it was read since the kind's `generation` began.
    pub(crate) fn get(&self, kind: &'static str, id: &str, generation: u64) -> Option<Arc<Kept>> {
        let inner = self.inner();
        let known = inner.kinds.get(kind).filter(|known| known.generation == generation)?;
        known.documents.get(id).cloned()
    }

    /// Keep what was read; `generation` is the kind's from before the reading.
    pub(crate) fn keep(&self, kind: &'static str, id: &str, generation: u64, document: &Arc<Kept>) {
        // The text, and about as much again for the document made of it.
        let size = id.len().saturating_add(document.body.len().saturating_mul(2)).saturating_add(200);
        let mut inner = self.inner();
        if inner.bytes.saturating_add(size) > BYTES_MAX {
            *inner = Inner::default();
        }
        let known = inner.kinds.entry(kind).or_default();
        if known.generation > generation {
            return;
        }
        if known.generation < generation {
            // What it held counts on until the whole is cleared: an estimate that errs on the small side of memory.
            *known = Kind { generation, documents: HashMap::new() };
        }
        known.documents.insert(id.to_owned(), Arc::clone(document));
        inner.bytes = inner.bytes.saturating_add(size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_of(version: i64, body: String) -> Kept {
        Kept { owner: String::new(), version, body, created_at: 0, updated_at: 0, parsed: OnceLock::new() }
    }

    #[test]
    fn an_older_reading_never_replaces_a_newer_generation() {
        let recent = Recent::default();
        let kept = |version| Arc::new(kept_of(version, String::new()));
        recent.keep("user", "a", 1, &kept(1));
        assert_eq!(recent.get("user", "a", 1).map(|kept| kept.version), Some(1));
        assert!(recent.get("user", "a", 2).is_none());
        recent.keep("user", "a", 2, &kept(2));
        recent.keep("user", "a", 1, &kept(1));
        assert_eq!(recent.get("user", "a", 2).map(|kept| kept.version), Some(2));
        assert!(recent.get("user", "a", 1).is_none());
        assert!(recent.get("tenant", "a", 2).is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let recent = Recent::default();
        let body = "x".repeat(1 << 20);
        for number in 0..64 {
            let kept = kept_of(1, body.clone());
            recent.keep("user", &number.to_string(), 0, &Arc::new(kept));
            assert!(recent.inner().bytes <= BYTES_MAX);
        }
        assert!(recent.get("user", "63", 0).is_some());
    }
}

//! A bounded cache: what was not used for the longest time leaves first.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Held<V> {
    value: V,
    bytes: usize,
    used: u64,
}

struct Shelf<K, V> {
    held: HashMap<K, Held<V>>,
    bytes: usize,
    clock: u64,
}

/// Values by key, at most so many bytes of them.
pub(crate) struct Bounded<K, V> {
    shelf: Mutex<Shelf<K, V>>,
    bytes_max: usize,
}

impl<K: Clone + Eq + Hash, V: Clone> Bounded<K, V> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { shelf: Mutex::new(Shelf { held: HashMap::new(), bytes: 0, clock: 0 }), bytes_max }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let shelf = &mut *self.shelf();
        shelf.clock += 1;
        let held = shelf.held.get_mut(key)?;
        held.used = shelf.clock;
        Some(held.value.clone())
    }

    pub(crate) fn put(&self, key: K, value: V, bytes: usize) {
        let shelf = &mut *self.shelf();
        shelf.clock += 1;
        shelf.bytes += bytes;
        if let Some(before) = shelf.held.insert(key, Held { value, bytes, used: shelf.clock }) {
            shelf.bytes -= before.bytes;
        }
        while shelf.bytes > self.bytes_max {
            // Rare, and over some thousands of entries: a scan is less than a second structure to keep.
            let oldest = shelf.held.iter().min_by_key(|(_, held)| held.used).map(|(key, _)| key.clone());
            let Some(held) = oldest.and_then(|key| shelf.held.remove(&key)) else { return };
            shelf.bytes -= held.bytes;
        }
    }

    pub(crate) fn remove(&self, key: &K) {
        let shelf = &mut *self.shelf();
        if let Some(held) = shelf.held.remove(key) {
            shelf.bytes -= held.bytes;
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf<K, V>> {
        // A shelf is whole between any two statements that could panic.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_leaves_first() {
        let cache = Bounded::new(10);
        cache.put(1, "one", 4);
        cache.put(2, "two", 4);
        assert_eq!(cache.get(&1), Some("one"));
        cache.put(3, "three", 4);
        assert_eq!((cache.get(&1), cache.get(&2), cache.get(&3)), (Some("one"), None, Some("three")));
        cache.put(3, "four", 10);
        assert_eq!((cache.get(&1), cache.get(&3)), (None, Some("four")));
        cache.remove(&3);
        assert_eq!(cache.get(&3), None);
    }
}

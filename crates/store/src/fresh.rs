//! Leaves that were committed lately, kept until the sequencer hashes them: it need not read back what was written a moment
//! ago. Only a saving: whoever finds nothing here reads the database. It must never hold what was not committed.

use ids::Owner;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of leaves that are kept at most; past it all are let go.
const BYTES_MAX: usize = 16 << 20;

#[derive(Default)]
struct Inner {
    trees: HashMap<Owner, VecDeque<(u64, Vec<u8>)>>,
    bytes: usize,
}

/// See the module's head.
#[derive(Default)]
pub(crate) struct Fresh {
    inner: Mutex<Inner>,
}

impl Fresh {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here can be left half-done that the next use would trust.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keep what a batch committed: tree, index and bytes, in the order of their indexes.
    pub(crate) fn keep(&self, leaves: impl Iterator<Item = (Owner, u64, Vec<u8>)>) {
        let mut inner = self.inner();
        for (tree, index, leaf) in leaves {
            if inner.bytes.saturating_add(leaf.len()) > BYTES_MAX {
                *inner = Inner::default();
            }
            inner.bytes = inner.bytes.saturating_add(leaf.len());
            inner.trees.entry(tree).or_default().push_back((index, leaf));
        }
    }

    /// The leaves of a tree from index `from` on, one after the other without a gap, at most `limit`; they and all before
    /// them are let go. Nothing where the first is not here.
    pub(crate) fn take(&self, tree: Owner, from: u64, limit: usize) -> Vec<Vec<u8>> {
        let mut inner = self.inner();
        let (mut taken, mut gone) = (Vec::new(), 0_usize);
        if let Some(leaves) = inner.trees.get_mut(&tree) {
            let mut wanted = from;
            while let Some((index, _)) = leaves.front()
                && (*index < from || (*index == wanted && taken.len() < limit))
            {
                let Some((index, leaf)) = leaves.pop_front() else { break };
                gone = gone.saturating_add(leaf.len());
                if index == wanted {
                    wanted = wanted.saturating_add(1);
                    taken.push(leaf);
                }
            }
            if leaves.is_empty() {
                inner.trees.remove(&tree);
            }
        }
        inner.bytes = inner.bytes.saturating_sub(gone);
        taken
    }

    /// Forget everything: what was committed has to be read from the database again.
    pub(crate) fn clear(&self) {
        *self.inner() = Inner::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: Owner = Owner::Provider;

    fn with(indexes: impl IntoIterator<Item = u64>) -> Fresh {
        let fresh = Fresh::default();
        fresh.keep(indexes.into_iter().map(|index| (TREE, index, index.to_be_bytes().to_vec())));
        fresh
    }

    fn taken(fresh: &Fresh, from: u64, limit: usize) -> Vec<u64> {
        let leaves = fresh.take(TREE, from, limit);
        leaves.into_iter().map(|leaf| u64::from_be_bytes(leaf.try_into().unwrap())).collect()
    }

    #[test]
    fn leaves_come_once_and_without_a_gap() {
        let fresh = with([3, 4, 5, 6]);
        assert_eq!(taken(&fresh, 4, 2), [4, 5]);
        assert_eq!(taken(&fresh, 4, 2), [0; 0]);
        assert_eq!(taken(&fresh, 6, 9), [6]);
        assert_eq!(fresh.inner().bytes, 0);
        assert!(fresh.inner().trees.is_empty());
    }

    #[test]
    fn what_is_missing_is_never_made_up() {
        assert_eq!(taken(&with([5, 6]), 4, 9), [0; 0]);
        assert_eq!(taken(&with([1, 2, 4]), 1, 9), [1, 2]);
        assert_eq!(with([0]).take(Owner::Tenant(ids::TenantId::derive(&[b"a"])), 0, 9), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn memory_is_bounded() {
        let fresh = Fresh::default();
        for index in 0..64 {
            fresh.keep([(TREE, index, vec![0; 1 << 20])].into_iter());
            assert!(fresh.inner().bytes <= BYTES_MAX);
        }
        assert_eq!(fresh.take(TREE, 63, 1).len(), 1);
    }
}

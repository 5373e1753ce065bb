//! The sequencer: hashes what was committed into the trees and signs checkpoints. Calls never wait for it: the one writer
//! gives each leaf its place at commit, so the order is fixed before anything is hashed here.
//!
//! Must never sign two checkpoints of a tree that do not extend each other: sizes only grow, and what is hashed is what is
//! stored.

use crate::context::Control;
use crate::refusal::Refusal;
use audit::{Checkpoint, FormatVersion, Frontier, Leaf, TenantCheckpoint};
use ids::{CallId, Owner, Scope, Timestamp};
use seal::Digest;
use std::time::Duration;
use store::{Advance, AuditEntry, Commit, Node, TreeState};

/// How many leaves one step hashes: bounds its transaction.
const STEP_LEAVES: u32 = 256;
/// How many tenants' heads one commit records.
const COMMIT_LEAVES: usize = 256;
/// How long at most a committed leaf waits to be hashed.
const ROUND: Duration = Duration::from_millis(250);

/// Peaks of a frontier, 32 bytes each, as the store keeps them.
fn peaks(bytes: &[u8]) -> Vec<Digest> {
    bytes.chunks_exact(32).filter_map(|peak| <[u8; 32]>::try_from(peak).ok()).map(Digest::from_bytes).collect()
}

fn frontier_bytes(frontier: &Frontier) -> Vec<u8> {
    frontier.peaks().iter().flat_map(|peak| *peak.as_bytes()).collect()
}

/// Append leaves; the hashes that this adds. Those of the leaves lie one behind the other, a node for each tile that they
/// are in: one row in place of 256.
fn appended(frontier: &mut Frontier, leaves: &[Vec<u8>]) -> Vec<Node> {
    let (mut runs, mut above) = (Vec::<Node>::new(), Vec::new());
    for leaf in leaves {
        let added = frontier.append(leaf);
        let hash = added.leaf_hash.as_bytes();
        match runs.last_mut().filter(|_| !added.index.is_multiple_of(audit::TILE_WIDTH)) {
            Some(run) => run.hash.extend(hash),
            None => runs.push(Node { level: 0, index: added.index, hash: hash.to_vec() }),
        }
        above.extend(added.finished.iter().map(|tile| Node {
            level: tile.level,
            index: tile.index,
            hash: tile.hash.as_bytes().to_vec(),
        }));
    }
    runs.append(&mut above);
    runs
}

impl Control {
    /// Run until `stop` says so; then hash and sign what is left.
    pub(crate) async fn sequence_forever(self, mut stop: tokio::sync::watch::Receiver<bool>) {
        let mut changes = self.store.changes();
        let mut signed_at = self.now();
        loop {
            let stopping = *stop.borrow();
            let due = stopping || self.now() >= signed_at.plus(self.settings.checkpoint_interval);
            let done = if due { self.checkpoint_all().await } else { self.hash_all().await };
            match done {
                Ok(()) if due => signed_at = self.now(),
                Ok(()) => {}
                Err(refusal) => tracing::error!(?refusal, "the log was not brought up to date; it is tried again"),
            }
            if stopping {
                return;
            }
            tokio::select! {
                _ = stop.changed() => {}
                () = async { let _ = changes.changed().await; tokio::time::sleep(ROUND).await; } => {}
                () = tokio::time::sleep(self.settings.checkpoint_interval) => {}
            }
        }
    }

    /// Hash everything that is committed.
    pub(crate) async fn hash_all(&self) -> Result<(), Refusal> {
        let _one_at_a_time = self.sequencing.lock().await;
        for tree in self.store.audit_backlog().await? {
            self.hash_tree(tree, None).await?;
        }
        Ok(())
    }

    /// Hash everything and sign every tree that grew: the tenants' first, then the provider's, which commits to them.
    pub(crate) async fn checkpoint_all(&self) -> Result<(), Refusal> {
        let _one_at_a_time = self.sequencing.lock().await;
        let mut entries = Vec::new();
        for state in self.store.audit_backlog().await? {
            let Owner::Tenant(tenant) = state.tree else { continue };
            if let Some((size, root)) = self.sign_tree(state).await? {
                let leaf =
                    Leaf::Checkpoint(TenantCheckpoint { v: FormatVersion, time: self.now(), tenant, size, root });
                let leaf = leaf.encode().map_err(|error| Refusal::bug("a checkpoint does not encode", &error))?;
                let call = CallId::derive(&[b"checkpoint", tenant.to_string().as_bytes(), &size.to_be_bytes()]);
                entries.push(AuditEntry { tree: Owner::Provider, call, part: 0, leaf, payload: None });
            }
        }
        let mut entries = entries.into_iter();
        while let Some(first) = entries.next() {
            let rest = entries.by_ref().take(COMMIT_LEAVES - 1);
            self.store.commit(rest.fold(Commit::new(self.now(), first), Commit::record)).await?;
        }
        for state in self.store.audit_backlog().await? {
            if state.tree == Owner::Provider {
                self.sign_tree(state).await?;
            }
        }
        Ok(())
    }

    /// Sign a tree where it has leaves that no checkpoint covers; its size and root where it was signed now.
    async fn sign_tree(&self, state: TreeState) -> Result<Option<(u64, Digest)>, Refusal> {
        let latest = self.store.snapshot(Scope::Provider).latest_checkpoint(state.tree).await?;
        if state.leaves == 0 || latest.is_some_and(|latest| latest.size >= state.leaves) {
            return Ok(None);
        }
        let leaves = state.leaves;
        let frontier = self.hash_tree(state, Some(leaves)).await?;
        Ok(Some((frontier.size(), frontier.root())))
    }

    /// Hash a tree up to what is committed, and sign it at `sign_at` where that is given.
    async fn hash_tree(&self, state: TreeState, sign_at: Option<u64>) -> Result<Frontier, Refusal> {
        let tree = state.tree;
        let restored = Frontier::restore(state.size, peaks(&state.frontier));
        let mut frontier = restored.map_err(|error| Refusal::bug("a stored frontier is damaged", &error))?;
        loop {
            let base_size = frontier.size();
            let missing = u32::try_from(state.leaves.saturating_sub(base_size)).unwrap_or(u32::MAX);
            let leaves = match missing.min(STEP_LEAVES) {
                0 => Vec::new(),
                limit => self.store.audit_leaves(tree, base_size, limit).await?,
            };
            let nodes = appended(&mut frontier, &leaves);
            let whole = frontier.size() >= state.leaves;
            let checkpoint = match sign_at.filter(|size| whole && *size == frontier.size()) {
                Some(size) => Some(self.signed(tree, size, frontier.root(), self.now())?),
                None => None,
            };
            if frontier.size() > base_size || checkpoint.is_some() {
                let advance = Advance {
                    tree,
                    base_size,
                    size: frontier.size(),
                    nodes,
                    frontier: frontier_bytes(&frontier),
                    checkpoint,
                };
                self.store.audit_advance(advance).await?;
            }
            if whole || frontier.size() == base_size {
                return Ok(frontier);
            }
        }
    }

    fn signed(&self, tree: Owner, size: u64, root: Digest, made_at: Timestamp) -> Result<store::Checkpoint, Refusal> {
        let checkpoint = Checkpoint { origin: self.log_name.origin(tree), size, root };
        let note = checkpoint
            .sign(&self.log_key.load().signer)
            .map_err(|error| Refusal::bug("a checkpoint cannot be signed", &error))?;
        Ok(store::Checkpoint { size, note: note.into_bytes(), made_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_lie_in_runs_that_cross_no_tile() {
        let leaves: Vec<Vec<u8>> = (0..700_u32).map(|leaf| leaf.to_be_bytes().to_vec()).collect();
        let mut frontier = Frontier::default();
        let (first, second) = leaves.split_at(300);
        let nodes: Vec<Node> = [first, second].into_iter().flat_map(|step| appended(&mut frontier, step)).collect();
        let places: Vec<(u8, u64, usize)> =
            nodes.iter().map(|node| (node.level, node.index, node.hash.len() / 32)).collect();
        assert_eq!(places, [(0, 0, 256), (0, 256, 44), (1, 0, 1), (0, 300, 212), (0, 512, 188), (1, 1, 1)]);
        let stored: Vec<u8> = nodes.iter().filter(|node| node.level == 0).flat_map(|node| node.hash.clone()).collect();
        let wanted: Vec<u8> = leaves.iter().flat_map(|leaf| *audit::leaf_hash(leaf).as_bytes()).collect();
        assert_eq!(stored, wanted);
    }
}

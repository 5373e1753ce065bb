//! The audit log's storage: leaves (placed by the commit that made them), tree nodes and checkpoints (by the sequencer).
//!
//! A leaf has its index from the moment of its commit, since one writer gives it; hashing and signing follow within a second.
//! Nothing here changes or deletes a leaf; what is kept beside one may expire or be erased.

use crate::Store;
use crate::bundle;
use crate::commit::{CommitError, DecisionInput, Payload};
use crate::engine::{Connection, Fault, Row, values};
use crate::resource::{owner_text, parse_owner};
use crate::snapshot::{ReadError, Snapshot};
use crate::statement;
use crate::writer::{Errand, Undone};
use futures::future::BoxFuture;
use ids::{CallId, Owner, Scope, Timestamp};

/// The most items of one answer.
const LIMIT_MAX: u32 = 4096;

/// One record as it was committed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Leaf {
    /// Whose tree.
    pub tree: Owner,
    /// Its place in the tree, from 0.
    pub index: u64,
    /// The call that it records.
    pub call: CallId,
    /// 0 for the call or its intent, 1 for its outcome, further numbers for further records.
    pub part: u8,
    /// The leaf's bytes.
    pub leaf: Vec<u8>,
    /// The time of its commit.
    pub recorded_at: Timestamp,
}

/// How far a tree is hashed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TreeState {
    /// Whose tree.
    pub tree: Owner,
    /// Leaves committed.
    pub leaves: u64,
    /// Leaves hashed into nodes, at most `leaves`.
    pub size: u64,
    /// What the hasher needs to go on from `size`, in its own form; empty at the start.
    pub frontier: Vec<u8>,
}

/// A hash of a tree, or several that follow each other on one level.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    /// Height above the leaves.
    pub level: u8,
    /// Place of the first within the level.
    pub index: u64,
    /// The bytes of all of them.
    pub hash: Vec<u8>,
}

/// A signed statement of a tree's size and root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// Leaves that it covers.
    pub size: u64,
    /// The signed note.
    pub note: Vec<u8>,
    /// When it was signed.
    pub made_at: Timestamp,
}

/// The next step of a tree's hashing: all of it is stored, or nothing.
#[derive(Clone, Debug)]
pub struct Advance {
    /// Whose tree.
    pub tree: Owner,
    /// The size from which it was computed; another one stored is a conflict.
    pub base_size: u64,
    /// The size that it reaches; at least `base_size`, at most what is committed.
    pub size: u64,
    /// Nodes, new ones; at most 1024.
    pub nodes: Vec<Node>,
    /// What the hasher needs to go on.
    pub frontier: Vec<u8>,
    /// A new checkpoint.
    pub checkpoint: Option<Checkpoint>,
}

impl Errand for Advance {
    type Answer = ();
    const TOUCHES: &'static str = "audit";

    fn changed((): &()) -> bool {
        true
    }

    fn rows(&self) -> usize {
        self.nodes.len() + 2
    }

    fn run<'r>(&'r self, connection: &'r mut Connection) -> BoxFuture<'r, Result<(), Undone>> {
        Box::pin(self.advance(connection))
    }
}

impl Advance {
    async fn advance(&self, connection: &mut Connection) -> Result<(), Undone> {
        let tree = owner_text(self.tree);
        let rows = connection.rows(statement::TREE_READ, values![&tree]).await?;
        let stored = rows.first().map(|row| row.count(1)).transpose()?;
        let counted = connection.rows(statement::LEAF_COUNT, values![&tree]).await?;
        let leaves = counted.first().map_or(Ok(0), |row| row.count(0))?;
        if stored != Some(self.base_size) || self.size < self.base_size || self.size > leaves {
            return Err(Undone::Refused(CommitError::Conflict { kind: "audit", id: self.tree.to_string() }));
        }
        connection.execute(statement::TREE_ADVANCE, values![&tree, number(self.size)?, self.frontier.clone()]).await?;
        let mut nodes = Vec::with_capacity(self.nodes.len() * 4);
        for node in &self.nodes {
            nodes.extend(values![&tree, i64::from(node.level), number(node.index)?, node.hash.clone()]);
        }
        statement::NODES_WRITE.execute(connection, nodes).await?;
        if let Some(Checkpoint { size, note, made_at }) = &self.checkpoint {
            let row = values![&tree, number(*size)?, note.clone(), made_at.as_micros()];
            connection.execute(statement::CHECKPOINT_WRITE, row).await?;
        }
        Ok(())
    }
}

impl Store {
    /// Every tree with how much of it waits to be hashed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn audit_backlog(&self) -> Result<Vec<TreeState>, ReadError> {
        let rows = self.readers.rows(statement::TREE_LIST, Vec::new()).await?;
        rows.iter().map(|row| Ok(self.shared.tree(row)?)).collect()
    }

    /// The bytes of a tree's leaves from index `from` on, without a gap, at most `limit` (at most 4096): for the one who
    /// hashes them. From memory where they were committed a moment ago, and then only once.
    ///
    /// # Errors
    /// The database failed.
    pub async fn audit_leaves(&self, tree: Owner, from: u64, limit: u32) -> Result<Vec<Vec<u8>>, ReadError> {
        let fresh = self.shared.fresh.take(tree, from, usize::try_from(limit).unwrap_or(usize::MAX));
        if !fresh.is_empty() {
            return Ok(fresh);
        }
        let stored = self.snapshot(Scope::Provider).leaves(tree, from, limit).await?;
        let unbroken = (from..).zip(stored).take_while(|(index, leaf)| leaf.index == *index);
        Ok(unbroken.map(|(_, leaf)| leaf.leaf).collect())
    }

    /// Store the next step of a tree's hashing. It commits together with the calls that wait.
    ///
    /// # Errors
    /// Conflict where the tree is not at `base_size`, or has not so many leaves.
    pub async fn audit_advance(&self, advance: Advance) -> Result<(), CommitError> {
        if advance.nodes.len() > 1024 {
            return Err(CommitError::Invalid {
                reason: format!("{} nodes at once; at most 1024", advance.nodes.len()),
            });
        }
        self.errand(advance).await
    }
}

impl crate::shared::Shared {
    fn tree(&self, row: &Row) -> Result<TreeState, Fault> {
        let tree = parse_owner(&row.text(0)?).ok_or_else(|| Fault::decode("owner of an audit tree"))?;
        Ok(TreeState { tree, leaves: self.leaves(tree), size: row.count(1)?, frontier: row.blob(2)? })
    }
}

/// Reading the log. A tree outside the scope is empty.
///
/// Each of these fails only where the database does.
#[expect(clippy::missing_errors_doc, reason = "said once for the whole block")]
impl Snapshot {
    /// One tree; none before its first leaf.
    pub async fn tree(&self, tree: Owner) -> Result<Option<TreeState>, ReadError> {
        let rows = self.within(tree, statement::TREE_READ, values![owner_text(tree)]).await?;
        Ok(rows.first().map(|row| self.shared.tree(row)).transpose()?)
    }

    /// Leaves from index `from` on, at most `limit`, at most 4096.
    pub async fn leaves(&self, tree: Owner, from: u64, limit: u32) -> Result<Vec<Leaf>, ReadError> {
        let to = from.saturating_add(u64::from(limit.min(LIMIT_MAX)));
        let to = to.min(u64::try_from(i64::MAX).unwrap_or(u64::MAX));
        let asked = values![owner_text(tree), number(from.min(to))?, number(to)?];
        let mut leaves = Vec::new();
        for row in &self.within(tree, statement::LEAF_LIST, asked).await? {
            leaves.extend(bundled(row)?.into_iter().filter(|leaf| (from..to).contains(&leaf.index)));
        }
        Ok(leaves)
    }

    /// Leaves below index `before`, newest first, at most `limit`, at most 4096.
    pub async fn leaves_down(&self, tree: Owner, before: u64, limit: u32) -> Result<Vec<Leaf>, ReadError> {
        let limit = limit.min(LIMIT_MAX);
        // A tree has no gaps: the newest below are those that end there.
        let before = before.min(self.shared.leaves(tree));
        let from = before.saturating_sub(u64::from(limit));
        let taken = u32::try_from(before.saturating_sub(from)).unwrap_or(limit);
        let mut leaves = self.leaves(tree, from, taken).await?;
        leaves.reverse();
        Ok(leaves)
    }

    /// The leaves of one call, by part.
    pub async fn leaves_of(&self, call: CallId) -> Result<Vec<Leaf>, ReadError> {
        let rows = self.readers.rows(statement::LEAF_BY_CALL, values![call.to_string()]).await?;
        let mut leaves = Vec::new();
        for row in &rows {
            let of_call = |leaf: &Leaf| leaf.call == call && self.scope().covers(leaf.tree);
            leaves.extend(bundled(row)?.into_iter().filter(of_call));
        }
        leaves.sort_by_key(|leaf| leaf.part);
        // Two parts that were committed together stand in one bundle, which came for each of them.
        leaves.dedup_by_key(|leaf| leaf.part);
        Ok(leaves)
    }

    /// The bytes of one node.
    pub async fn node(&self, tree: Owner, level: u8, index: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let asked = values![owner_text(tree), i64::from(level), number(index)?];
        let rows = self.within(tree, statement::NODE_READ, asked).await?;
        Ok(rows.first().map(|row| row.blob(2)).transpose()?)
    }

    /// Nodes of one level whose first place is `from` or later, at most `limit`, at most 4096.
    pub async fn nodes(&self, tree: Owner, level: u8, from: u64, limit: u32) -> Result<Vec<Node>, ReadError> {
        let asked = values![owner_text(tree), i64::from(level), number(from)?, i64::from(limit.min(LIMIT_MAX))];
        let rows = self.within(tree, statement::NODE_LIST, asked).await?;
        let node = |row: &Row| Ok::<_, Fault>(Node { level, index: row.count(1)?, hash: row.blob(2)? });
        Ok(rows.iter().map(node).collect::<Result<_, _>>()?)
    }

    /// Checkpoints of more than `after_size` leaves, at most `limit`, at most 4096.
    pub async fn checkpoints(&self, tree: Owner, after_size: u64, limit: u32) -> Result<Vec<Checkpoint>, ReadError> {
        let asked = values![owner_text(tree), number(after_size)?, i64::from(limit.min(LIMIT_MAX))];
        let rows = self.within(tree, statement::CHECKPOINT_LIST, asked).await?;
        Ok(rows.iter().map(checkpoint).collect::<Result<_, _>>()?)
    }

    /// The checkpoint that covers most.
    pub async fn latest_checkpoint(&self, tree: Owner) -> Result<Option<Checkpoint>, ReadError> {
        let rows = self.within(tree, statement::CHECKPOINT_LAST, values![owner_text(tree)]).await?;
        Ok(rows.first().map(checkpoint).transpose()?)
    }

    /// The text beside a leaf, until it expires. One that was erased says so and holds nothing: see [`Payload::erased`].
    pub async fn payload(&self, call: CallId, part: u8) -> Result<Option<Payload>, ReadError> {
        let rows = self.readers.rows(statement::PAYLOAD_READ, values![call.to_string(), i64::from(part)]).await?;
        match rows.first() {
            Some(row) if self.covers(&row.text(0)?)? => {
                let expires_at = row.maybe_int(3)?.map(Timestamp::from_micros);
                Ok(Some(Payload { salt: row.blob(1)?, body: row.blob(2)?, expires_at }))
            }
            _ => Ok(None),
        }
    }

    /// The canonical input of one decision.
    pub async fn decision_input(&self, call: CallId) -> Result<Option<DecisionInput>, ReadError> {
        let rows = self.readers.rows(statement::DECISION_READ, values![call.to_string()]).await?;
        let input = rows.first().map(decision_input).transpose()?;
        Ok(input.filter(|input| self.scope().covers(input.owner)))
    }

    /// Canonical inputs of decisions with `from <= time < to`, oldest first. The second part of the answer is where to go
    /// on: give it as `after`; none at the end. A page may hold fewer than `limit` (at most 4096), as what is outside the
    /// scope is left out.
    pub async fn decision_inputs(
        &self,
        from: Timestamp,
        to: Timestamp,
        after: Option<(Timestamp, CallId)>,
        limit: u32,
    ) -> Result<(Vec<DecisionInput>, Option<(Timestamp, CallId)>), ReadError> {
        let limit = limit.clamp(1, LIMIT_MAX);
        let (at, call) = after.map_or((from, String::new()), |(at, call)| (at, call.to_string()));
        let asked = values![at.as_micros(), call, to.as_micros(), i64::from(limit)];
        let rows = self.readers.rows(statement::DECISION_LIST, asked).await?;
        let mut found = Vec::new();
        let mut last = None;
        for row in &rows {
            let input = decision_input(row)?;
            last = Some((Timestamp::from_micros(row.int(3)?), input.call));
            if self.scope().covers(input.owner) {
                found.push(input);
            }
        }
        let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        Ok((found, last.filter(|_| full)))
    }

    async fn within(
        &self,
        tree: Owner,
        statement: &'static str,
        values: Vec<crate::engine::Value>,
    ) -> Result<Vec<Row>, Fault> {
        if self.scope().covers(tree) { self.readers.rows(statement, values).await } else { Ok(Vec::new()) }
    }
}

/// The leaves of one row.
pub(crate) fn bundled(row: &Row) -> Result<Vec<Leaf>, Fault> {
    let tree = parse_owner(&row.text(0)?).ok_or_else(|| Fault::decode("owner of a bundle of leaves"))?;
    let leaves = bundle::read(tree, row.count(1)?, &row.blob(3)?)?;
    let counted = u64::try_from(leaves.len()).map_err(Fault::decode)?;
    if counted == row.count(2)? { Ok(leaves) } else { Err(Fault::decode("count of a bundle of leaves")) }
}

fn checkpoint(row: &Row) -> Result<Checkpoint, Fault> {
    Ok(Checkpoint { size: row.count(0)?, note: row.blob(1)?, made_at: Timestamp::from_micros(row.int(2)?) })
}

fn decision_input(row: &Row) -> Result<DecisionInput, Fault> {
    let owner = parse_owner(&row.text(1)?).ok_or_else(|| Fault::decode("owner of a decision's input"))?;
    Ok(DecisionInput { call: row.text(0)?.parse().map_err(Fault::decode)?, owner, body: row.blob(2)? })
}

/// An index as the database counts; nothing real is beyond 2^63.
fn number(value: u64) -> Result<i64, Fault> {
    i64::try_from(value).map_err(Fault::decode)
}

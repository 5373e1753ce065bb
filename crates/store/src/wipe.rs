//! What a tenant leaves beside its documents: texts beside its leaves, inputs of decisions, remembered answers, jobs and
//! messages. Deleted in chunks; then the files are written anew, so that what was deleted is not in them either. It must
//! never touch a leaf, a node or a checkpoint: the log of a tenant that is gone still verifies.

use crate::Store;
use crate::audit::bundled;
use crate::commit::CommitError;
use crate::engine::{Connection, values};
use crate::resource::owner_text;
use crate::statement;
use crate::writer::{Errand, Order, Undone};
use futures::future::BoxFuture;
use ids::{Owner, TenantId};
use std::collections::BTreeSet;
use tokio::sync::oneshot;

/// Rows of each table that one step deletes.
const CHUNK: i64 = 256;
/// Bundles of leaves that one step reads, and how many leaves it goes through before it ends.
const BUNDLES_MAX: i64 = 32;
/// See [`BUNDLES_MAX`].
const LEAVES_ENOUGH: usize = 128;

/// How many rows of each table went.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Wiped {
    /// Texts beside leaves.
    pub payloads: u64,
    /// Inputs of decisions.
    pub decisions: u64,
    /// Answers that were remembered for idempotency keys.
    pub answers: u64,
    /// Jobs.
    pub jobs: u64,
    /// Messages of the outbox.
    pub messages: u64,
}

impl Wiped {
    /// All rows together.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.payloads + self.decisions + self.answers + self.jobs + self.messages
    }

    const fn add(&mut self, other: &Self) {
        self.payloads += other.payloads;
        self.decisions += other.decisions;
        self.answers += other.answers;
        self.jobs += other.jobs;
        self.messages += other.messages;
    }
}

/// One step: the leaves from this index on.
struct Wipe {
    tree: String,
    from: i64,
}

/// What a step did, and where the next one goes on; none after the last.
struct Step {
    wiped: Wiped,
    next: Option<i64>,
}

impl Errand for Wipe {
    type Answer = Step;
    const TOUCHES: &'static str = "sweep";

    fn changed(answer: &Step) -> bool {
        answer.wiped.rows() > 0
    }

    fn run<'r>(&'r self, connection: &'r mut Connection) -> BoxFuture<'r, Result<Step, Undone>> {
        Box::pin(async move {
            let asked = values![&self.tree, self.from, BUNDLES_MAX];
            let (mut calls, mut next) = (BTreeSet::new(), None);
            for row in &connection.rows(statement::WIPE_LEAVES, asked).await? {
                calls.extend(bundled(row)?.into_iter().map(|leaf| leaf.call));
                next = Some(row.int(1)?.saturating_add(row.int(2)?));
                if calls.len() >= LEAVES_ENOUGH {
                    break;
                }
            }
            let mut wiped = Wiped::default();
            for call in calls {
                let call = call.to_string();
                wiped.payloads += connection.execute(statement::WIPE_PAYLOADS, values![&call, &self.tree]).await?;
                wiped.decisions += connection.execute(statement::WIPE_DECISIONS, values![&call, &self.tree]).await?;
            }
            if next.is_some() {
                return Ok(Step { wiped, next });
            }
            for (text, count) in [
                (statement::WIPE_ANSWERS, &mut wiped.answers),
                (statement::WIPE_JOBS, &mut wiped.jobs),
                (statement::WIPE_MESSAGES, &mut wiped.messages),
            ] {
                *count = connection.execute(text, values![&self.tree, CHUNK]).await?;
            }
            let next = (wiped.rows() > 0).then_some(self.from);
            Ok(Step { wiped, next })
        })
    }
}

impl Store {
    /// Delete all that a tenant left beside its documents and its leaves; how much it was. Idempotent.
    ///
    /// # Errors
    /// The database failed; what was deleted until then is gone.
    pub async fn wipe(&self, tenant: TenantId) -> Result<Wiped, CommitError> {
        let tree = owner_text(Owner::Tenant(tenant));
        let (mut all, mut from) = (Wiped::default(), Some(0));
        while let Some(place) = from {
            let step = self.errand(Wipe { tree: tree.clone(), from: place }).await?;
            all.add(&step.wiped);
            from = step.next;
        }
        Ok(all)
    }

    /// Write the database anew, so that nothing of what was deleted or overwritten is left in its files, and empty the
    /// engine's own log. Commits wait meanwhile. On `PostgreSQL` the tables are written anew; its log, replicas and backups
    /// keep what they have until they are recycled.
    ///
    /// # Errors
    /// The database failed or a long read holds the old pages; nothing was lost, try again.
    pub async fn scrub(&self) -> Result<(), CommitError> {
        let (reply, answer) = oneshot::channel();
        self.queue(Order::Scrub(reply))?;
        answer.await.unwrap_or(Err(CommitError::Unavailable))
    }
}

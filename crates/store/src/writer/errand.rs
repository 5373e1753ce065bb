//! Short work of the platform itself that goes through the writer between calls: leases, outbox claims, audit tiles,
//! sweeping. Each runs in a savepoint of the batch's transaction and is answered after its commit.

use crate::commit::CommitError;
use crate::engine::{Connection, Fault};
use futures::future::BoxFuture;
use tokio::sync::oneshot;

/// Why an errand was undone.
pub(crate) enum Undone {
    /// The engine failed: the whole batch is undone.
    Engine(Fault),
    /// The errand itself is refused: only it is undone.
    Refused(CommitError),
}

impl From<Fault> for Undone {
    fn from(fault: Fault) -> Self {
        Self::Engine(fault)
    }
}

/// Work inside the batch's transaction. It may run again if the batch is undone and done anew, so it keeps no state of its own.
pub(crate) trait Errand: Send + Sync + 'static {
    /// What it finds out.
    type Answer: Send + 'static;
    /// Which pseudo kind's generation grows.
    const TOUCHES: &'static str;
    /// Whether the answer stands for a change. Nothing is written to disk for a batch without one.
    fn changed(answer: &Self::Answer) -> bool;
    /// About how many rows it touches: it shares a short transaction with others.
    fn rows(&self) -> usize {
        64
    }
    /// Do it.
    fn run<'r>(&'r self, connection: &'r mut Connection) -> BoxFuture<'r, Result<Self::Answer, Undone>>;
}

/// An errand of any type, with where its answer goes.
pub(crate) trait Waiting: Send {
    /// Run it in a savepoint; whether it changed anything. Refusal is kept for delivery.
    fn run<'r>(&'r mut self, connection: &'r mut Connection) -> BoxFuture<'r, Result<bool, Fault>>;
    /// Answer: what it found out if the batch was committed, else that the store is not available.
    fn deliver(self: Box<Self>, committed: bool);
    /// Which pseudo kind's generation grows.
    fn touches(&self) -> &'static str;
    /// About how many rows it touches.
    fn rows(&self) -> usize;
}

pub(super) struct Pending<E: Errand> {
    pub(super) errand: E,
    pub(super) answer: Option<Result<E::Answer, CommitError>>,
    pub(super) reply: oneshot::Sender<Result<E::Answer, CommitError>>,
}

impl<E: Errand> Waiting for Pending<E> {
    fn run<'r>(&'r mut self, connection: &'r mut Connection) -> BoxFuture<'r, Result<bool, Fault>> {
        Box::pin(async move {
            connection.savepoint().await?;
            let answer = match self.errand.run(connection).await {
                Ok(answer) => Ok(answer),
                Err(Undone::Refused(refusal)) => Err(refusal),
                Err(Undone::Engine(fault)) => return Err(fault),
            };
            let changed = answer.as_ref().is_ok_and(E::changed);
            if answer.is_err() {
                connection.undo_savepoint().await?;
            }
            connection.release_savepoint().await?;
            self.answer = Some(answer);
            Ok(changed)
        })
    }

    fn deliver(self: Box<Self>, committed: bool) {
        let answer = match (committed, self.answer) {
            (true, Some(answer)) => answer,
            _ => Err(CommitError::Unavailable),
        };
        // Whoever asked may be gone; the work is done all the same.
        drop(self.reply.send(answer));
    }

    fn touches(&self) -> &'static str {
        E::TOUCHES
    }

    fn rows(&self) -> usize {
        self.errand.rows()
    }
}

//! The one writer: takes what has queued up, commits it together, answers after the sync.
//!
//! Batching is natural: while one batch is being synced the next one gathers, so an idle store commits at once and a busy
//! one shares each sync among all that wait. It never answers before the commit, never retries a failed commit, and after
//! one writes nothing until the disk has proved that it holds what was acknowledged.

mod errand;
mod load;
mod pace;
mod plan;
mod world;
mod write;

pub(crate) use errand::{Errand, Undone};

use crate::commit::{CommitError, Prepared, Receipt};
use crate::config::OpenError;
use crate::engine::{Connection, Fault};
use crate::open::{Lock, Opener};
use crate::resource::parse_owner;
use crate::shared::{Health, Shared};
use crate::statement;
use errand::{Pending, Waiting};
use ids::{Entropy, Owner};
use pace::Pace;
use plan::{Books, Planner};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How long a writer without a connection waits before it tries again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// `PostgreSQL`: the tables of which a tenant's rows are deleted, written anew.
const STATE_TABLES: &str =
    "VACUUM (FULL) document, document_key, audit_payload, decision_input, idempotency, job, outbox, counter";

type Answer = Result<Receipt, CommitError>;

/// What waits for the writer.
pub(crate) enum Order {
    Close(oneshot::Sender<()>),
    Commit(Box<Prepared>, oneshot::Sender<Answer>),
    Errand(Box<dyn Waiting>),
    /// Write the files anew. Alone, outside of any transaction.
    Scrub(oneshot::Sender<Result<(), CommitError>>),
}

/// What ends a batch, and is done after it.
enum Last {
    Close(oneshot::Sender<()>),
    Scrub(oneshot::Sender<Result<(), CommitError>>),
}

impl Order {
    pub(crate) fn errand<E: Errand>(errand: E, reply: oneshot::Sender<Result<E::Answer, CommitError>>) -> Self {
        Self::Errand(Box::new(Pending { errand, answer: None, reply }))
    }

    fn rows(&self) -> usize {
        match self {
            Self::Close(_) | Self::Scrub(_) => 0,
            Self::Commit(call, _) => call.rows,
            Self::Errand(errand) => errand.rows(),
        }
    }
}

struct Call {
    prepared: Box<Prepared>,
    reply: oneshot::Sender<Answer>,
    outcome: Option<Answer>,
}

/// A batch: calls first, errands after them.
#[derive(Default)]
struct Batch {
    calls: Vec<Call>,
    errands: Vec<Box<dyn Waiting>>,
}

impl Batch {
    /// The leaves of what went through, each with its place; taken out, since nobody else wants their bytes any more.
    fn leaves(&mut self) -> impl Iterator<Item = (Owner, u64, Vec<u8>)> {
        self.calls.iter_mut().flat_map(|Call { prepared, outcome, .. }| {
            let places = outcome.iter().flatten().flat_map(|receipt| &receipt.leaves);
            places.zip(&mut prepared.records).map(|(at, record)| (at.tree, at.index, std::mem::take(&mut record.leaf)))
        })
    }
}

/// The task that owns the writing connection.
pub(crate) struct Writer {
    connection: Option<Connection>,
    opener: Opener,
    books: Books,
    queue: mpsc::Receiver<Order>,
    /// What did not fit into the batch before.
    carried: Option<Order>,
    pace: Pace,
    shared: Arc<Shared>,
    entropy: Arc<dyn Entropy>,
    _lock: Lock,
}

/// How far a batch came.
enum Failed {
    /// Before its commit: the transaction is rolled back.
    Before(Fault),
    /// While it was being committed: nobody knows what the disk holds.
    Commit(Fault),
}

impl Writer {
    pub(crate) async fn new(
        mut connection: Connection,
        opener: Opener,
        queue: mpsc::Receiver<Order>,
        shared: Arc<Shared>,
        entropy: Arc<dyn Entropy>,
        lock: Lock,
    ) -> Result<Self, OpenError> {
        let books = read_books(&mut connection).await.map_err(OpenError::engine)?;
        shared.set_trees(&books.trees);
        let (connection, carried, pace) = (Some(connection), None, Pace::default());
        Ok(Self { connection, opener, books, queue, carried, pace, shared, entropy, _lock: lock })
    }

    /// Whether its engine is reached over a socket.
    pub(crate) const fn has_sockets(&self) -> bool {
        matches!(self.connection, Some(Connection::Postgres(_)))
    }

    /// Serve until every handle is gone or one asks to close.
    pub(crate) async fn run(mut self) {
        loop {
            let first = match self.carried.take() {
                Some(order) => Some(order),
                None if self.connection.is_some() => self.queue.recv().await,
                None => match tokio::time::timeout(RETRY_AFTER, self.queue.recv()).await {
                    Ok(order) => order,
                    Err(_) => {
                        self.reopen().await;
                        continue;
                    }
                },
            };
            let Some(first) = first else { break };
            let (batch, last) = self.gather(first).await;
            self.serve(batch).await;
            match last {
                None => {}
                Some(Last::Scrub(done)) => {
                    let scrubbed = self.scrub().await;
                    // Whoever asked may be gone; the work is done all the same.
                    let _ = done.send(scrubbed);
                }
                Some(Last::Close(done)) => {
                    self.finish().await;
                    // Whoever is told may open the same state at once, and it is this that holds the lock.
                    drop(self);
                    // Whoever asked to close may be gone.
                    let _ = done.send(());
                    return;
                }
            }
        }
        self.finish().await;
    }

    async fn finish(&mut self) {
        self.queue.close();
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
        self.shared.set_health(Health::Closed);
    }

    /// What has queued up, as far as it fits into one short transaction.
    async fn gather(&mut self, first: Order) -> (Batch, Option<Last>) {
        let mut batch = Batch::default();
        let mut rows = first.rows();
        let mut next = Some(first);
        let mut yielded = false;
        loop {
            match next.take() {
                Some(Order::Close(done)) => return (batch, Some(Last::Close(done))),
                Some(Order::Scrub(done)) => return (batch, Some(Last::Scrub(done))),
                Some(Order::Commit(prepared, reply)) => batch.calls.push(Call { prepared, reply, outcome: None }),
                Some(Order::Errand(errand)) => batch.errands.push(errand),
                None => break,
            }
            next = self.queue.try_recv().ok();
            if next.is_none() && !yielded {
                // Those answered a moment ago are about to ask again: let them, once, so that the sync is shared.
                tokio::task::yield_now().await;
                yielded = true;
                next = self.queue.try_recv().ok();
            }
            rows += next.as_ref().map_or(0, Order::rows);
            if rows > self.pace.rows_max() && next.is_some() {
                self.carried = next.take();
                break;
            }
        }
        self.shared.count_queue(self.queue.len());
        (batch, None)
    }

    /// Write the files anew, between two batches.
    async fn scrub(&mut self) -> Result<(), CommitError> {
        if self.connection.is_none() {
            self.reopen().await;
        }
        let Some(connection) = self.connection.as_mut() else { return Err(CommitError::Unavailable) };
        self.opener.scrub(connection, STATE_TABLES).await.map_err(|fault| {
            tracing::warn!(error = %fault, "the state could not be written anew; it is whole, and tried again");
            CommitError::Unavailable
        })
    }

    /// Commit a batch and answer everybody in it.
    async fn serve(&mut self, mut batch: Batch) {
        if batch.calls.is_empty() && batch.errands.is_empty() {
            return;
        }
        if self.connection.is_none() {
            self.reopen().await;
        }
        if self.connection.is_none() {
            return answer(batch, false);
        }
        let committed = match self.commit(&mut batch).await {
            Ok(()) => true,
            Err(Failed::Before(fault)) if fault.is_constraint() && batch.calls.len() + batch.errands.len() > 1 => {
                // One of them breaks a rule of the schema that the plan does not know: find it, spare the others.
                return self.serve_singly(batch).await;
            }
            Err(Failed::Before(fault)) if fault.is_constraint() => {
                tracing::error!(error = %fault, "a commit broke a rule of the schema");
                for call in &mut batch.calls {
                    call.outcome = Some(Err(CommitError::Duplicate { kind: "audit", key: "call" }));
                }
                false
            }
            Err(Failed::Before(fault)) => {
                tracing::error!(error = %fault, "a batch could not be written");
                self.shared.set_health(Health::ReadOnly { reason: fault.to_string() });
                false
            }
            Err(Failed::Commit(fault)) => {
                tracing::error!(error = %fault, "a commit failed; writing stops until the disk has proved itself");
                self.shared.set_health(Health::ReadOnly { reason: fault.to_string() });
                self.connection = None;
                false
            }
        };
        answer(batch, committed);
    }

    async fn serve_singly(&mut self, batch: Batch) {
        for call in batch.calls {
            Box::pin(self.serve(Batch { calls: vec![Call { outcome: None, ..call }], errands: Vec::new() })).await;
        }
        for errand in batch.errands {
            Box::pin(self.serve(Batch { calls: Vec::new(), errands: vec![errand] })).await;
        }
    }

    /// One transaction; a second one without them if guards say no at the last moment.
    async fn commit(&mut self, batch: &mut Batch) -> Result<(), Failed> {
        let Some(mut connection) = self.connection.take() else {
            return Err(Failed::Before(Fault::decode("no connection")));
        };
        loop {
            let began = Instant::now();
            match self.attempt(batch, &mut connection).await {
                Ok(Attempt::Again) => {
                    if let Err(fault) = connection.rollback().await {
                        return Err(Failed::Commit(fault));
                    }
                }
                Ok(Attempt::Idle) => {
                    connection.rollback().await.map_err(Failed::Commit)?;
                    self.connection = Some(connection);
                    return Ok(());
                }
                Ok(Attempt::Written { books, touched }) => {
                    let held = began.elapsed();
                    connection.commit().await.map_err(Failed::Commit)?;
                    self.connection = Some(connection);
                    self.done(books, &touched, batch, held, began.elapsed());
                    return Ok(());
                }
                Err(fault) => {
                    return match connection.rollback().await {
                        Ok(()) => {
                            self.connection = Some(connection);
                            Err(Failed::Before(fault))
                        }
                        // It may have rolled back by itself (a full disk does that): a new connection knows.
                        Err(_) => Err(Failed::Before(fault)),
                    };
                }
            }
        }
    }

    /// Everything of one transaction but its end.
    async fn attempt(&mut self, batch: &mut Batch, connection: &mut Connection) -> Result<Attempt, Fault> {
        connection.begin().await?;
        for call in &mut batch.calls {
            let stopped = matches!(call.outcome, Some(Err(CommitError::Guarded)));
            let goes_on = !stopped && call.prepared.may_go_on();
            call.outcome = if goes_on { None } else { Some(Err(CommitError::Guarded)) };
        }
        let open = |call: &&Call| call.outcome.is_none();
        let world = load::load(batch.calls.iter().filter(open).map(|call| &*call.prepared), connection).await?;
        let mut planner = Planner::new(world, &self.books, self.entropy.as_ref());
        for call in batch.calls.iter_mut().filter(|call| call.outcome.is_none()) {
            call.outcome = Some(planner.call(&call.prepared));
        }
        let Planner { world, mut writes, next, .. } = planner;
        writes.run(world, connection).await?;
        let mut changed = batch.calls.iter().any(|call| matches!(call.outcome, Some(Ok(_))));
        let mut touched = writes.touched;
        for errand in &mut batch.errands {
            if errand.run(connection).await? {
                changed = true;
                touched.insert(errand.touches());
            }
        }
        // A principal that was killed while this was being written must not commit.
        let mut again = false;
        for call in batch.calls.iter_mut().filter(|call| matches!(call.outcome, Some(Ok(_)))) {
            if !call.prepared.may_go_on() {
                call.outcome = Some(Err(CommitError::Guarded));
                again = true;
            }
        }
        Ok(match (again, changed) {
            (true, _) => Attempt::Again,
            (false, false) => Attempt::Idle,
            (false, true) => Attempt::Written { books: next, touched },
        })
    }

    fn done(
        &mut self,
        books: Books,
        touched: &HashSet<&'static str>,
        batch: &mut Batch,
        held: Duration,
        whole: Duration,
    ) {
        self.shared.fresh.keep(batch.leaves());
        self.shared.grow_trees(&books.trees);
        self.books.message_seq = books.message_seq;
        self.books.trees.extend(books.trees);
        self.pace.took(held);
        self.shared.set_health(Health::Ready);
        self.shared.committed(touched, batch.calls.len(), held, whole);
    }

    /// Open the connection again and let the disk prove that it holds what was acknowledged.
    async fn reopen(&mut self) {
        let opened = async {
            let mut connection = self.opener.own_writer().await.map_err(|error| error.to_string())?;
            self.opener.verify(&mut connection).await.map_err(|fault| fault.to_string())?;
            let books = read_books(&mut connection).await.map_err(|fault| fault.to_string())?;
            Ok::<_, String>((connection, books))
        };
        match opened.await {
            Ok((connection, books)) => {
                self.shared.set_trees(&books.trees);
                self.books = books;
                self.connection = Some(connection);
                self.shared.set_health(Health::Ready);
                tracing::warn!("the state database is writable again");
            }
            Err(reason) => self.shared.set_health(Health::ReadOnly { reason }),
        }
    }
}

/// What an attempt came to.
enum Attempt {
    /// A guard said no at the last moment: undo, and do it without those calls.
    Again,
    /// Nothing to commit.
    Idle,
    /// To be committed.
    Written { books: Books, touched: HashSet<&'static str> },
}

fn answer(batch: Batch, committed: bool) {
    for call in batch.calls {
        let outcome = match call.outcome {
            // Refusals were decided on loaded state and hold whatever became of the batch.
            Some(Err(refusal)) => Err(refusal),
            Some(Ok(receipt)) if committed => Ok(receipt),
            _ => Err(CommitError::Unavailable),
        };
        // A caller that went away may ask again with its idempotency key.
        drop(call.reply.send(outcome));
    }
    for errand in batch.errands {
        errand.deliver(committed);
    }
}

async fn read_books(connection: &mut Connection) -> Result<Books, Fault> {
    let number = |rows: Vec<crate::engine::Row>| rows.first().map_or(Ok(0), |row| row.int(0));
    let message_seq = number(connection.rows(statement::MESSAGE_LAST, Vec::new()).await?)?;
    let mut books = Books { message_seq, trees: std::collections::HashMap::new() };
    for row in connection.rows(statement::TREE_LEAVES, Vec::new()).await? {
        let owner = parse_owner(&row.text(0)?).ok_or_else(|| Fault::decode("owner of an audit tree"))?;
        books.trees.insert(owner, row.count(1)?);
    }
    Ok(books)
}

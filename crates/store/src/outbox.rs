//! The senders' side of messages: claim in the order of each lane, with a guard; recover after a crash. How a message
//! ended is said in a commit (`settle`), together with the record of its outcome.

use crate::Store;
use crate::commit::CommitError;
use crate::engine::{Connection, values};
use crate::message::{Message, MessageState};
use crate::statement;
use crate::writer::{Errand, Undone};
use futures::future::BoxFuture;
use ids::Timestamp;
use std::time::Duration;

/// Messages of one claim, and expired ones recovered at once.
const CLAIM_MAX: u32 = 64;

type Guard = Box<dyn Fn(&Message) -> bool + Send + Sync>;

/// The outbox of a store, for senders.
#[derive(Clone, Debug)]
pub struct Outbox {
    store: Store,
}

/// What became of messages whose sender died.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recovered {
    /// Will be sent again: their target notices a second delivery.
    pub pending: Vec<String>,
    /// Parked for a person: nobody knows whether they were sent.
    pub uncertain: Vec<String>,
}

impl Store {
    /// The outbox, for senders.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        Outbox { store: self.clone() }
    }
}

impl Outbox {
    /// Take up to `limit` (at most 64) messages of a channel, the first of each lane, for `lease`. They are durably `sending`
    /// when this returns. A message for which `guard` says no is `stopped` and not returned; ask the guard once more right
    /// before the bytes leave.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claim(
        &self,
        worker: &str,
        channel: &str,
        limit: u32,
        lease: Duration,
        guard: impl Fn(&Message) -> bool + Send + Sync + 'static,
    ) -> Result<Vec<Message>, CommitError> {
        let now = self.store.clock.now();
        let asked = values![channel, now.as_micros(), i64::from(limit.min(CLAIM_MAX))];
        let found = async {
            let rows = self.store.readers.rows(statement::MESSAGE_DUE, asked).await?;
            rows.iter().map(Message::from_row).collect::<Result<Vec<_>, _>>()
        };
        let messages = found.await.map_err(|error| {
            tracing::error!(%error, "pending messages could not be read");
            CommitError::Unavailable
        })?;
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let (worker, until, guard) = (worker.to_owned(), now.plus(lease), Box::new(guard));
        Ok(self.store.errand(Claim { messages, worker, now, until, guard }).await?.sending)
    }

    /// Messages whose sender was not heard of until its lease ran out: pending again where that is safe, else uncertain.
    /// The outcome of the uncertain ones is for the caller to record.
    ///
    /// # Errors
    /// The database failed.
    pub async fn recover(&self) -> Result<Recovered, CommitError> {
        let now = self.store.clock.now();
        self.store.errand(Recover { now }).await
    }
}

struct Claim {
    messages: Vec<Message>,
    worker: String,
    now: Timestamp,
    until: Timestamp,
    guard: Guard,
}

struct Claimed {
    sending: Vec<Message>,
    stopped: bool,
}

impl Errand for Claim {
    type Answer = Claimed;
    const TOUCHES: &'static str = "message";

    fn changed(answer: &Claimed) -> bool {
        answer.stopped || !answer.sending.is_empty()
    }

    fn run<'r>(&'r self, connection: &'r mut Connection) -> BoxFuture<'r, Result<Claimed, Undone>> {
        Box::pin(async move {
            let mut claimed = Claimed { sending: Vec::new(), stopped: false };
            let now = self.now.as_micros();
            for message in &self.messages {
                let row = values![&message.id, &self.worker, self.until.as_micros(), now];
                let begun = connection.rows(statement::MESSAGE_BEGIN, row).await?;
                // Another sender may have been faster.
                let Some(row) = begun.first() else { continue };
                let message = Message::from_row(row)?;
                if (self.guard)(&message) {
                    claimed.sending.push(message);
                } else {
                    let state = MessageState::Stopped.as_str();
                    let row = values![&message.id, state, now, "stopped before it was sent", now];
                    connection.execute(statement::MESSAGE_END, row).await?;
                    claimed.stopped = true;
                }
            }
            Ok(claimed)
        })
    }
}

struct Recover {
    now: Timestamp,
}

impl Errand for Recover {
    type Answer = Recovered;
    const TOUCHES: &'static str = "message";

    fn changed(answer: &Recovered) -> bool {
        !answer.pending.is_empty() || !answer.uncertain.is_empty()
    }

    fn run<'r>(&'r self, connection: &'r mut Connection) -> BoxFuture<'r, Result<Recovered, Undone>> {
        Box::pin(async move {
            let now = self.now.as_micros();
            let mut recovered = Recovered::default();
            for row in connection.rows(statement::MESSAGE_EXPIRED, values![now, i64::from(CLAIM_MAX)]).await? {
                let (id, idempotent, attempts_left) = (row.text(0)?, row.int(1)? != 0, row.int(2)? < row.int(3)?);
                let detail = "the sender was not heard of after it began to send";
                let safe = idempotent && attempts_left;
                let state = if safe { MessageState::Pending } else { MessageState::Uncertain };
                let row = values![&id, state.as_str(), now, detail, now];
                connection.execute(statement::MESSAGE_END, row).await?;
                if safe { recovered.pending.push(id) } else { recovered.uncertain.push(id) }
            }
            Ok(recovered)
        })
    }
}

//! What a handler asks to be changed. Collecting it touches nothing: only a commit with its record can write.

use crate::commit::CommitError;
use crate::job::{Lease, NewJob};
use crate::message::{Message, NewMessage, Outcome};
use crate::resource::{Key, Resource, owner_text};
use ids::{CallId, JobId, Owner};
use serde_json::Value as Json;

/// The most bytes of one document's body, 4 MiB.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// The most bytes of an id, a kind, a channel or a worker's name.
pub const ID_BYTES_MAX: usize = 256;
/// The most bytes of a key's value or a lane: an index entry must hold it on both engines.
pub const KEY_BYTES_MAX: usize = 1024;

/// One change, its documents written as JSON already.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    CancelJob { id: String, owner: String },
    Delete { kind: &'static str, id: String, owner: String, expected: i64 },
    EndJob { id: String, worker: String, attempt: u32, attempts_max: u32, end: JobEnd },
    Enqueue { job: NewJob, payload: String },
    ErasePayload { call: String, tree: String },
    Expect { kind: &'static str, id: String, version: i64 },
    Put { kind: &'static str, id: String, owner: String, keys: Vec<Key>, body: String, expected: Option<i64> },
    Send { message: NewMessage, payload: String },
    Settle { id: String, attempts: u32, attempts_max: u32, outcome: Outcome },
}

#[derive(Clone, Debug)]
pub(crate) enum JobEnd {
    Done(Option<String>),
    Failed(String),
}

/// A list of changes, applied all or not at all, in order.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    list: Vec<Change>,
    // The first fault found while collecting; it surfaces at commit, so that a handler reads as a plain list.
    fault: Option<Fault>,
}

#[derive(Clone, Debug)]
struct Fault(String);

impl Changes {
    /// No changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.fault.is_none()
    }

    /// A new document, whose version will be 1. Conflict where its id is taken, duplicate where a unique key is.
    pub fn create<R: Resource>(&mut self, value: &R) -> &mut Self {
        self.put(value, None)
    }

    /// The document in place of the one with this id, if that is still at `expected_version`; its version will be one more.
    /// Conflict where it is not there, at another version, or of another owner.
    pub fn replace<R: Resource>(&mut self, value: &R, expected_version: i64) -> &mut Self {
        self.put(value, Some(expected_version))
    }

    /// The document away, if it is still at `expected_version` and of this owner.
    pub fn delete<R: Resource>(&mut self, id: &str, owner: Owner, expected_version: i64) -> &mut Self {
        let change =
            Change::Delete { kind: R::KIND, id: id.to_owned(), owner: owner_text(owner), expected: expected_version };
        self.push(change)
    }

    /// A document that was read and not changed must still be at this version: conflict where it is not.
    pub fn expect<R: Resource>(&mut self, id: &str, version: i64) -> &mut Self {
        self.push(Change::Expect { kind: R::KIND, id: id.to_owned(), version })
    }

    /// What was kept beside the leaves of a call in this tree, with its salts, away for good. That it was there stays, without it.
    pub fn erase_payload(&mut self, call: CallId, tree: Owner) -> &mut Self {
        self.push(Change::ErasePayload { call: call.to_string(), tree: owner_text(tree) })
    }

    /// A job, unless one of its kind and owner with the same `dedupe` key was ever enqueued.
    pub fn enqueue(&mut self, job: NewJob) -> &mut Self {
        self.bound("kind of a job", &job.kind, ID_BYTES_MAX);
        self.bound("dedupe key of a job", job.dedupe.as_deref().unwrap_or_default(), KEY_BYTES_MAX);
        let payload = self.json(&job.payload);
        self.push(Change::Enqueue { job, payload })
    }

    /// The job is done, with its result. The commit fails with a lost lease if this worker does not hold it any more.
    pub fn finish_job(&mut self, lease: &Lease, result: Option<&Json>) -> &mut Self {
        let result = result.map(|result| self.json(result));
        self.end_job(lease, JobEnd::Done(result))
    }

    /// The attempt failed: the job waits (longer each time) or is dead after its last attempt.
    pub fn fail_job(&mut self, lease: &Lease, error: &str) -> &mut Self {
        self.end_job(lease, JobEnd::Failed(error.replace('\0', "")))
    }

    /// A queued or leased job stops being one; its worker loses its lease. Conflict where it has ended or is not of this owner.
    pub fn cancel_job(&mut self, id: JobId, owner: Owner) -> &mut Self {
        self.push(Change::CancelJob { id: id.to_string(), owner: owner_text(owner) })
    }

    /// A message to the outside, once this is committed. Duplicate where its id is taken.
    pub fn send(&mut self, message: NewMessage) -> &mut Self {
        self.bound("id of a message", &message.id, ID_BYTES_MAX);
        self.bound("principal of a message", &message.principal, ID_BYTES_MAX);
        self.bound("channel of a message", &message.channel, ID_BYTES_MAX);
        self.bound("lane of a message", &message.lane, KEY_BYTES_MAX);
        let payload = self.json(&message.payload);
        self.push(Change::Send { message, payload })
    }

    /// How the attempt to send a claimed message ended. The commit fails with a lost lease if it is not `sending` any more.
    pub fn settle(&mut self, message: &Message, outcome: Outcome) -> &mut Self {
        let (attempts, attempts_max) = (message.attempts, message.attempts_max);
        self.push(Change::Settle { id: message.id.clone(), attempts, attempts_max, outcome })
    }

    /// The changes of another list after these.
    pub fn append(&mut self, other: Self) -> &mut Self {
        self.list.extend(other.list);
        self.fault = self.fault.take().or(other.fault);
        self
    }

    pub(crate) fn into_list(self) -> Result<Vec<Change>, CommitError> {
        match self.fault {
            None => Ok(self.list),
            Some(Fault(reason)) => Err(CommitError::Invalid { reason }),
        }
    }

    fn put<R: Resource>(&mut self, value: &R, expected: Option<i64>) -> &mut Self {
        let (id, keys) = (value.id(), value.keys());
        self.bound("id of a document", &id, ID_BYTES_MAX);
        for key in &keys {
            self.bound("key of a document", &key.value, KEY_BYTES_MAX);
        }
        let body = self.json(value);
        if body.len() > BODY_BYTES_MAX {
            self.refuse(format!("a document of {} bytes; at most {BODY_BYTES_MAX} are stored", body.len()));
        }
        self.push(Change::Put { kind: R::KIND, id, owner: owner_text(value.owner()), keys, body, expected })
    }

    fn end_job(&mut self, lease: &Lease, end: JobEnd) -> &mut Self {
        let (id, worker) = (lease.job.id.to_string(), lease.worker.clone());
        self.push(Change::EndJob { id, worker, attempt: lease.attempt, attempts_max: lease.job.attempts_max, end })
    }

    fn json(&mut self, value: &impl serde::Serialize) -> String {
        serde_json::to_string(value).unwrap_or_else(|error| {
            self.refuse(format!("a value that is not JSON: {error}"));
            String::new()
        })
    }

    fn bound(&mut self, what: &str, text: &str, bytes_max: usize) {
        if let Err(reason) = check_text(what, text, bytes_max) {
            self.refuse(reason);
        }
    }

    fn refuse(&mut self, reason: String) {
        self.fault.get_or_insert(Fault(reason));
    }

    fn push(&mut self, change: Change) -> &mut Self {
        self.list.push(change);
        self
    }
}

/// A text must fit an index entry and, for `PostgreSQL`, hold no NUL: one caller's bad text must not fail a batch.
pub(crate) fn check_text(what: &str, text: &str, bytes_max: usize) -> Result<(), String> {
    if text.len() > bytes_max {
        return Err(format!("the {what} is {} bytes long; at most {bytes_max} are stored", text.len()));
    }
    if text.contains('\0') { Err(format!("the {what} holds a NUL character; leave it out")) } else { Ok(()) }
}

//! One call's commit: its changes and its record, all or nothing. It cannot be made without a record.

use crate::changes::{Change, Changes, ID_BYTES_MAX, check_text};
use ids::{CallId, Owner, Timestamp};
use thiserror::Error;

/// The most rows that one commit may write; longer work is a job in chunks, so that no transaction holds the writer long.
pub const COMMIT_ROWS_MAX: usize = 1024;

/// A guard that is asked before anything is written, and again before the batch is committed.
pub(crate) type Guard = Box<dyn Fn() -> bool + Send + Sync>;

/// What a call's commit holds.
pub struct Commit {
    pub(crate) at: Timestamp,
    pub(crate) records: Vec<AuditEntry>,
    pub(crate) changes: Changes,
    pub(crate) idempotency: Option<IdempotencyRecord>,
    pub(crate) counts: Vec<(String, i64)>,
    pub(crate) decision_input: Option<DecisionInput>,
    pub(crate) guard: Option<Guard>,
}

impl std::fmt::Debug for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Bodies and payloads may hold secrets.
        f.debug_struct("Commit").field("at", &self.at).field("records", &self.records.len()).finish_non_exhaustive()
    }
}

impl Commit {
    /// A commit of one record. `at` becomes the time of creation and change of what it writes.
    #[must_use]
    pub fn new(at: Timestamp, record: AuditEntry) -> Self {
        Self {
            at,
            records: vec![record],
            changes: Changes::new(),
            idempotency: None,
            counts: Vec::new(),
            decision_input: None,
            guard: None,
        }
    }

    /// A further record.
    #[must_use]
    pub fn record(mut self, record: AuditEntry) -> Self {
        self.records.push(record);
        self
    }

    /// These changes, after those given before.
    #[must_use]
    pub fn changes(mut self, changes: Changes) -> Self {
        self.changes.append(changes);
        self
    }

    /// What to answer when the same call comes again.
    #[must_use]
    pub fn idempotency(mut self, record: IdempotencyRecord) -> Self {
        self.idempotency = Some(record);
        self
    }

    /// One more in this bucket of this counter. The bucket is a time in a unit of the caller's.
    #[must_use]
    pub fn count(mut self, key: impl Into<String>, bucket: i64) -> Self {
        self.counts.push((key.into(), bucket));
        self
    }

    /// The canonical input of the decision, kept for replay.
    #[must_use]
    pub fn decision_input(mut self, input: DecisionInput) -> Self {
        self.decision_input = Some(input);
        self
    }

    /// Asked right before the changes are applied and right before they are committed; `false` takes this call out.
    /// It must not block.
    #[must_use]
    pub fn guard(mut self, guard: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.guard = Some(Box::new(guard));
        self
    }

    /// Taken apart for the writer, its bounds checked.
    pub(crate) fn prepare(self) -> Result<Prepared, CommitError> {
        let changes = self.changes.into_list()?;
        let checked = self.counts.iter().map(|(key, _)| ("key of a counter", key));
        let remembered = self.idempotency.iter();
        let checked = checked.chain(remembered.flat_map(|record| {
            [("principal of an idempotency record", &record.principal), ("idempotency key", &record.key)]
        }));
        for (what, text) in checked {
            check_text(what, text, ID_BYTES_MAX).map_err(|reason| CommitError::Invalid { reason })?;
        }
        let keys: usize =
            changes.iter().map(|change| if let Change::Put { keys, .. } = change { keys.len() } else { 0 }).sum();
        let payloads = self.records.iter().filter(|record| record.payload.is_some()).count();
        let rows = self.records.len() + payloads + changes.len() + keys + self.counts.len() + 2;
        if rows > COMMIT_ROWS_MAX {
            let reason = format!("{rows} rows in one commit; at most {COMMIT_ROWS_MAX}, do longer work in chunks");
            return Err(CommitError::Invalid { reason });
        }
        Ok(Prepared {
            at: self.at,
            records: self.records,
            changes,
            idempotency: self.idempotency,
            counts: self.counts,
            decision_input: self.decision_input,
            guard: self.guard,
            rows,
        })
    }
}

/// A commit on its way to the writer.
pub(crate) struct Prepared {
    pub(crate) at: Timestamp,
    pub(crate) records: Vec<AuditEntry>,
    pub(crate) changes: Vec<Change>,
    pub(crate) idempotency: Option<IdempotencyRecord>,
    pub(crate) counts: Vec<(String, i64)>,
    pub(crate) decision_input: Option<DecisionInput>,
    pub(crate) guard: Option<Guard>,
    pub(crate) rows: usize,
}

impl Prepared {
    pub(crate) fn may_go_on(&self) -> bool {
        self.guard.as_ref().is_none_or(|guard| guard())
    }
}

/// One leaf of an audit tree, with what is stored beside it.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    /// Whose tree.
    pub tree: Owner,
    /// The call that it records.
    pub call: CallId,
    /// 0 for the call or its intent, 1 for its outcome, further numbers for further records; `(call, part)` is unique.
    pub part: u8,
    /// The leaf's bytes.
    pub leaf: Vec<u8>,
    /// What the leaf holds the digest of.
    pub payload: Option<Payload>,
}

/// The text beside a leaf; it may expire, its salted digest in the leaf stays.
#[derive(Clone, Eq, PartialEq)]
pub struct Payload {
    /// Mixed into the digest, so that a short text cannot be guessed from it.
    pub salt: Vec<u8>,
    /// The text.
    pub body: Vec<u8>,
    /// When it may be deleted; never where it is absent.
    pub expires_at: Option<Timestamp>,
}

impl Payload {
    /// Whether it was erased: then neither text nor salt is there any more, only that there was one.
    #[must_use]
    pub fn erased(&self) -> bool {
        self.salt.is_empty()
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.body.len())
    }
}

/// What to answer when the same call comes again.
#[derive(Clone)]
pub struct IdempotencyRecord {
    /// Who called, at most 256 bytes.
    pub principal: String,
    /// The key that came with the call, at most 256 bytes.
    pub key: String,
    /// Whom the answer is about: it goes when that tenant does.
    pub owner: Owner,
    /// Digest of the call's input: another input with the same key is an error.
    pub input_digest: Vec<u8>,
    /// The answer.
    pub response: Vec<u8>,
    /// Until when it is remembered.
    pub expires_at: Timestamp,
}

/// The canonical input of a decision (entities, context), for replay against another policy.
#[derive(Clone, Eq, PartialEq)]
pub struct DecisionInput {
    /// The call that was decided.
    pub call: CallId,
    /// For which tenant, or the provider.
    pub owner: Owner,
    /// The input's bytes.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for DecisionInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DecisionInput({}, {} bytes)", self.call, self.body.len())
    }
}

/// What a commit became. It is durable when this is returned.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Receipt {
    /// Kind, id and new version of each document that was created or replaced.
    pub versions: Vec<(&'static str, String, i64)>,
    /// Where each record went, in the order given.
    pub leaves: Vec<LeafPlace>,
}

/// The place of a leaf, fixed from the moment of its commit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LeafPlace {
    /// Whose tree.
    pub tree: Owner,
    /// Which leaf, from 0.
    pub index: u64,
}

/// Why nothing of a commit was applied. After `Unavailable` it may or may not have been: ask again with an idempotency key.
#[derive(Debug, Error)]
pub enum CommitError {
    /// What was read has changed since.
    #[error("the {kind} `{id}` has changed since it was read, or is there already; read it again")]
    Conflict {
        /// The resource's kind, or `job`, `message`, `audit`.
        kind: &'static str,
        /// Its id.
        id: String,
    },
    /// A unique key is taken.
    #[error("another {kind} has this {key}; choose another")]
    Duplicate {
        /// The resource's kind, or `message`, `audit`.
        kind: &'static str,
        /// The key's name.
        key: &'static str,
    },
    /// The guard said no.
    #[error("the call was stopped before it was committed")]
    Guarded,
    /// Another call with this idempotency key was committed meanwhile: look up what it answered.
    #[error("another call with the same idempotency key was faster")]
    IdempotencyRace,
    /// The commit cannot be stored as it is.
    #[error("not storable: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The job or message is not held by this worker any more.
    #[error("`{id}` is not held by this worker any more")]
    LeaseLost {
        /// The job's or message's id.
        id: String,
    },
    /// The queue of commits is full.
    #[error("too many commits are waiting; try again shortly")]
    Overloaded,
    /// The database failed, or the store is closed.
    #[error("the state database is not available")]
    Unavailable,
}

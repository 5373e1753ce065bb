//! Decide, call by call, what of a batch may be applied. Pure: no statement runs here, so a refused call leaves no trace
//! and needs no savepoint. Sound because one writer holds the write lock from the loading to the commit.

use super::world::{DocumentKey, Head, JobHead, Layer, MessageHead, World};
use super::write::Writes;
use crate::changes::{Change, JobEnd};
use crate::commit::{AuditEntry, CommitError, LeafPlace, Prepared, Receipt};
use crate::engine::values;
use crate::job::{JobState, backoff};
use crate::message::{MessageState, NewMessage, Outcome};
use crate::resource::{Key, owner_text};
use crate::statement;
use ids::{Entropy, Owner, Timestamp};
use std::collections::HashMap;

/// The numbers that only the writer gives out. Read from the database whenever a connection is opened.
#[derive(Clone, Debug, Default)]
pub(super) struct Books {
    pub(super) message_seq: i64,
    /// Leaves of each tree.
    pub(super) trees: HashMap<Owner, u64>,
}

/// One batch in the making.
pub(super) struct Planner<'b> {
    pub(super) world: World,
    pub(super) writes: Writes,
    books: &'b Books,
    /// What the batch makes of the books; taken over once it is committed.
    pub(super) next: Books,
    entropy: &'b dyn Entropy,
}

impl<'b> Planner<'b> {
    pub(super) fn new(world: World, books: &'b Books, entropy: &'b dyn Entropy) -> Self {
        let next = Books { message_seq: books.message_seq, trees: HashMap::new() };
        Self { world, writes: Writes::default(), books, next, entropy }
    }

    /// Plan one call: all of it or nothing.
    pub(super) fn call(&mut self, call: &Prepared) -> Result<Receipt, CommitError> {
        let mut layer = Layer::new(&self.world);
        let mut receipt = Receipt::default();
        for record in &call.records {
            if !layer.record(record.call, record.part) {
                return Err(CommitError::Duplicate { kind: "audit", key: "call" });
            }
        }
        if let Some(record) = &call.idempotency {
            let key = (record.principal.clone(), record.key.clone());
            if layer.remembered(&key).is_some_and(|expires_at| expires_at > call.at.as_micros()) {
                return Err(CommitError::IdempotencyRace);
            }
            layer.delta.remembered.insert(key, record.expires_at.as_micros());
        }
        let mut work = Vec::new();
        for change in &call.changes {
            step(&mut layer, change, call.at, &mut receipt, &mut work)?;
        }
        let delta = layer.delta;
        self.world.merge(delta);
        for item in work {
            self.work(item, call.at);
        }
        self.record(call, &mut receipt);
        Ok(receipt)
    }

    fn record(&mut self, call: &Prepared, receipt: &mut Receipt) {
        for record in &call.records {
            let index = self.leaf(record, call.at);
            receipt.leaves.push(LeafPlace { tree: record.tree, index });
        }
        if let Some(record) = &call.idempotency {
            let (principal, key) = (&record.principal, &record.key);
            self.writes.remember(
                principal,
                key,
                record.owner,
                &record.input_digest,
                &record.response,
                record.expires_at,
            );
        }
        for (key, bucket) in &call.counts {
            self.writes.count(key, *bucket);
        }
        if let Some(input) = &call.decision_input {
            let row = values![input.call.to_string(), owner_text(input.owner), call.at.as_micros(), input.body.clone()];
            self.writes.decisions.extend(row);
        }
    }

    fn leaf(&mut self, record: &AuditEntry, at: Timestamp) -> u64 {
        let known = self.next.trees.get(&record.tree).or_else(|| self.books.trees.get(&record.tree)).copied();
        let (index, tree) = (known.unwrap_or(0), owner_text(record.tree));
        if known.is_none() {
            self.writes.trees.extend(values![&tree, 0, Vec::new()]);
        }
        self.next.trees.insert(record.tree, index + 1);
        let (call, part) = (record.call.to_string(), i64::from(record.part));
        if let Some(payload) = &record.payload {
            let expires_at = payload.expires_at.map(Timestamp::as_micros);
            let row = values![&call, part, &tree, payload.salt.clone(), payload.body.clone(), expires_at];
            self.writes.payloads.extend(row);
        }
        self.writes.leaf(tree, index, (call, record.part), at, &record.leaf);
        self.writes.touched.insert("audit");
        index
    }

    fn work(&mut self, item: Work<'_>, at: Timestamp) {
        let now = at.as_micros();
        match item {
            Work::Enqueue { job, payload } => {
                let (id, owner) = (job.id.to_string(), owner_text(job.owner));
                let (attempts_max, run_at) = (i64::from(job.attempts_max.max(1)), job.run_at.as_micros());
                let row = values![
                    id,
                    &job.kind,
                    owner,
                    payload,
                    "queued",
                    job.dedupe.clone(),
                    0,
                    attempts_max,
                    run_at,
                    0,
                    "",
                    now,
                    now
                ];
                self.writes.jobs.extend(row);
                self.writes.touched.insert("job");
            }
            Work::EndJob { id, attempt, attempts_max, end } => {
                let statement = match end {
                    JobEnd::Done(result) => {
                        (statement::JOB_END, values![id, "done", now, result.clone(), None::<String>, now])
                    }
                    JobEnd::Failed(error) if attempt >= attempts_max => {
                        (statement::JOB_REQUEUE, values![id, "dead", now, error, now])
                    }
                    JobEnd::Failed(error) => {
                        let run_at = at.plus(backoff(attempt, self.entropy)).as_micros();
                        (statement::JOB_REQUEUE, values![id, "queued", run_at, error, now])
                    }
                };
                self.writes.single.push(statement);
                self.writes.touched.insert("job");
            }
            Work::CancelJob { id } => {
                self.writes.single.push((statement::JOB_REQUEUE, values![id, "cancelled", now, "cancelled", now]));
                self.writes.touched.insert("job");
            }
            Work::ErasePayload { call, tree } => {
                self.writes.single.push((statement::PAYLOAD_ERASE, values![call, tree, Vec::<u8>::new()]));
                self.writes.touched.insert("audit");
            }
            Work::Send { message, payload } => self.send(message, payload, now),
            Work::Settle { id, attempts, state, outcome } => {
                let next_at = match state {
                    MessageState::Pending => at.plus(backoff(attempts, self.entropy)).as_micros(),
                    _ => now,
                };
                let detail = outcome_detail(outcome).replace('\0', "");
                self.writes.single.push((statement::MESSAGE_END, values![id, state.as_str(), next_at, detail, now]));
                self.writes.touched.insert("message");
            }
        }
    }

    fn send(&mut self, message: &NewMessage, payload: &str, now: i64) {
        self.next.message_seq += 1;
        self.writes.messages.extend(values![
            self.next.message_seq,
            &message.id,
            message.call.to_string(),
            owner_text(message.owner),
            &message.principal,
            &message.channel,
            &message.lane,
            payload,
            i64::from(message.idempotent),
            "pending",
            0,
            i64::from(message.attempts_max.max(1)),
            now,
            now,
            now,
        ]);
        self.writes.touched.insert("message");
    }
}

/// A row of a job or message, accepted.
enum Work<'c> {
    CancelJob { id: &'c str },
    EndJob { id: &'c str, attempt: u32, attempts_max: u32, end: &'c JobEnd },
    Enqueue { job: &'c crate::job::NewJob, payload: &'c str },
    ErasePayload { call: &'c str, tree: &'c str },
    Send { message: &'c NewMessage, payload: &'c str },
    Settle { id: &'c str, attempts: u32, state: MessageState, outcome: &'c Outcome },
}

/// One change on top of those before it.
fn step<'c>(
    layer: &mut Layer<'_>,
    change: &'c Change,
    at: Timestamp,
    receipt: &mut Receipt,
    work: &mut Vec<Work<'c>>,
) -> Result<(), CommitError> {
    match change {
        Change::Put { kind, id, owner, keys, body, expected } => {
            let key = (*kind, id.clone());
            let version = next_version(layer, &key, owner, *expected)?;
            let held = keys.iter().cloned().map(Into::into).collect();
            let head =
                Head { owner: owner.clone(), version, keys: held, written: Some((body.clone(), at.as_micros())) };
            put(layer, key, head, keys)?;
            receipt.versions.push((kind, id.clone(), version));
        }
        Change::Delete { kind, id, owner, expected } => {
            let key = (*kind, id.clone());
            next_version(layer, &key, owner, Some(*expected))?;
            layer.delete(key);
        }
        Change::Expect { kind, id, version } => {
            if layer.head(&(*kind, id.clone())).is_none_or(|head| head.version != *version) {
                return Err(CommitError::Conflict { kind, id: id.clone() });
            }
        }
        Change::ErasePayload { call, tree } => work.push(Work::ErasePayload { call, tree }),
        Change::Enqueue { job, payload } => enqueue(layer, job, payload, work)?,
        Change::EndJob { .. } | Change::CancelJob { .. } => end_job(layer, change, work)?,
        Change::Send { message, payload } => {
            if layer.message(&message.id).is_some() {
                return Err(CommitError::Duplicate { kind: "message", key: "id" });
            }
            let head = MessageHead { state: MessageState::Pending, attempts: 0 };
            layer.delta.messages.insert(message.id.clone(), head);
            work.push(Work::Send { message, payload });
        }
        Change::Settle { id, attempts, attempts_max, outcome } => {
            let held = layer.message(id).filter(|head| head.state == MessageState::Sending);
            if held.is_none_or(|head| head.attempts != *attempts) {
                return Err(CommitError::LeaseLost { id: id.clone() });
            }
            let state = match outcome {
                Outcome::Sent { .. } => MessageState::Sent,
                Outcome::Retry { .. } if attempts < attempts_max => MessageState::Pending,
                Outcome::Retry { .. } | Outcome::Failed { .. } => MessageState::Failed,
                Outcome::Uncertain { .. } => MessageState::Uncertain,
            };
            layer.delta.messages.insert(id.clone(), MessageHead { state, attempts: *attempts });
            work.push(Work::Settle { id, attempts: *attempts, state, outcome });
        }
    }
    Ok(())
}

fn put(layer: &mut Layer<'_>, key: DocumentKey, head: Head, keys: &[Key]) -> Result<(), CommitError> {
    let mut seen = std::collections::HashSet::new();
    if let Some(twice) = keys.iter().find(|named| !seen.insert((named.name, &named.value))) {
        let reason = format!("the key `{}` of the {} `{}` is given twice with one value", twice.name, key.0, key.1);
        return Err(CommitError::Invalid { reason });
    }
    layer.put(key, head, keys)
}

/// The version that a document gets, if it is where the caller believes it to be.
fn next_version(layer: &Layer<'_>, key: &DocumentKey, owner: &str, expected: Option<i64>) -> Result<i64, CommitError> {
    match (layer.head(key), expected) {
        (None, None) => Ok(1),
        (Some(head), Some(expected)) if head.version == expected && head.owner == owner => Ok(expected + 1),
        _ => Err(CommitError::Conflict { kind: key.0, id: key.1.clone() }),
    }
}

fn enqueue<'c>(
    layer: &mut Layer<'_>,
    job: &'c crate::job::NewJob,
    payload: &'c str,
    work: &mut Vec<Work<'c>>,
) -> Result<(), CommitError> {
    let (id, owner) = (job.id.to_string(), owner_text(job.owner));
    if let Some(dedupe) = &job.dedupe {
        let key = (job.kind.clone(), owner.clone(), dedupe.clone());
        if layer.is_enqueued(&key) {
            return Ok(());
        }
        layer.delta.dedupes.insert(key);
    }
    if layer.job(&id).is_some() {
        return Err(CommitError::Conflict { kind: "job", id });
    }
    layer.delta.jobs.insert(id, JobHead { owner, state: JobState::Queued, worker: None, attempts: 0 });
    work.push(Work::Enqueue { job, payload });
    Ok(())
}

fn end_job<'c>(layer: &mut Layer<'_>, change: &'c Change, work: &mut Vec<Work<'c>>) -> Result<(), CommitError> {
    match change {
        Change::EndJob { id, worker, attempt, attempts_max, end } => {
            let held = layer.job(id).filter(|job| {
                job.state == JobState::Leased && job.worker.as_ref() == Some(worker) && job.attempts == *attempt
            });
            let Some(job) = held.cloned() else { return Err(CommitError::LeaseLost { id: id.clone() }) };
            // Ended for this batch, whatever it becomes: nobody else holds it now.
            layer.delta.jobs.insert(id.clone(), JobHead { state: JobState::Done, worker: None, ..job });
            work.push(Work::EndJob { id, attempt: *attempt, attempts_max: *attempts_max, end });
        }
        Change::CancelJob { id, owner } => {
            let open = layer
                .job(id)
                .filter(|job| matches!(job.state, JobState::Queued | JobState::Leased) && job.owner == *owner);
            let Some(job) = open.cloned() else {
                return Err(CommitError::Conflict { kind: "job", id: id.clone() });
            };
            layer.delta.jobs.insert(id.clone(), JobHead { state: JobState::Cancelled, worker: None, ..job });
            work.push(Work::CancelJob { id });
        }
        _ => {}
    }
    Ok(())
}

fn outcome_detail(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Failed { detail }
        | Outcome::Retry { detail }
        | Outcome::Sent { detail }
        | Outcome::Uncertain { detail } => detail,
    }
}

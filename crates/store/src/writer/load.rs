//! Read what a batch touches, in a few statements, inside the transaction that will write it.

use super::world::{Document, DocumentKey, Head, Held, JobHead, MessageHead, World};
use crate::changes::Change;
use crate::commit::Prepared;
use crate::engine::{Connection, Fault, Value, values};
use crate::job::JobState;
use crate::message::MessageState;
use crate::resource::owner_text;
use crate::statement;
use std::collections::HashSet;

/// What to ask for; each thing once.
#[derive(Default)]
struct Questions {
    documents: HashSet<DocumentKey>,
    /// Those of the documents whose keys may change.
    keyed: HashSet<DocumentKey>,
    holders: HashSet<(&'static str, &'static str, String)>,
    remembered: HashSet<(String, String)>,
    jobs: HashSet<String>,
    dedupes: HashSet<(String, String, String)>,
    messages: HashSet<String>,
}

impl Questions {
    fn call(&mut self, call: &Prepared) {
        if let Some(record) = &call.idempotency {
            self.remembered.insert((record.principal.clone(), record.key.clone()));
        }
        for change in &call.changes {
            self.change(change);
        }
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Put { kind, id, keys, expected, .. } => {
                self.documents.insert((kind, id.clone()));
                if expected.is_some() {
                    self.keyed.insert((kind, id.clone()));
                }
                for key in keys.iter().filter(|key| key.unique) {
                    self.holders.insert((kind, key.name, key.value.clone()));
                }
            }
            Change::Delete { kind, id, .. } => {
                self.documents.insert((kind, id.clone()));
                self.keyed.insert((kind, id.clone()));
            }
            // Whatever is kept beside the leaves of the call goes; nothing has to be known for that.
            Change::ErasePayload { .. } => {}
            Change::Expect { kind, id, .. } => drop(self.documents.insert((kind, id.clone()))),
            Change::EndJob { id, .. } | Change::CancelJob { id, .. } => drop(self.jobs.insert(id.clone())),
            Change::Enqueue { job, .. } => {
                self.jobs.insert(job.id.to_string());
                if let Some(dedupe) = &job.dedupe {
                    self.dedupes.insert((job.kind.clone(), owner_text(job.owner), dedupe.clone()));
                }
            }
            Change::Send { message, .. } => drop(self.messages.insert(message.id.clone())),
            Change::Settle { id, .. } => drop(self.messages.insert(id.clone())),
        }
    }
}

/// The stored state that these calls touch.
pub(super) async fn load<'c>(
    calls: impl Iterator<Item = &'c Prepared>,
    connection: &mut Connection,
) -> Result<World, Fault> {
    let mut questions = Questions::default();
    calls.for_each(|call| questions.call(call));
    let mut world = World::default();
    documents(&questions, &mut world, connection).await?;
    holders(&questions, &mut world, connection).await?;
    for row in statement::REMEMBERED.rows(connection, pairs(&questions.remembered)).await? {
        world.remembered.insert((row.text(0)?, row.text(1)?), row.int(2)?);
    }
    work(&questions, &mut world, connection).await?;
    Ok(world)
}

async fn documents(questions: &Questions, world: &mut World, connection: &mut Connection) -> Result<(), Fault> {
    let kinds: HashSet<&'static str> = questions.documents.iter().map(|(kind, _)| *kind).collect();
    let key = |kind: &str, id: String| kinds.get(kind).map(|kind| (*kind, id));
    for row in statement::HEADS.rows(connection, keys(&questions.documents)).await? {
        let head = Head { owner: row.text(2)?, version: row.int(3)?, keys: Vec::new(), written: None };
        if let Some(key) = key(&row.text(0)?, row.text(1)?) {
            world.documents.insert(key, Document { before: Some(head.clone()), now: Some(head) });
        }
    }
    for row in statement::KEYS_OF.rows(connection, keys(&questions.keyed)).await? {
        let held = Held { name: row.text(2)?, value: row.text(3)?, exclusive: row.int(4)? != 0 };
        let document = key(&row.text(0)?, row.text(1)?).and_then(|key| world.documents.get_mut(&key));
        if let Some(Document { before: Some(before), now: Some(now) }) = document {
            before.keys.push(held.clone());
            now.keys.push(held);
        }
    }
    Ok(())
}

async fn holders(questions: &Questions, world: &mut World, connection: &mut Connection) -> Result<(), Fault> {
    let kinds: HashSet<&'static str> = questions.holders.iter().map(|(kind, ..)| *kind).collect();
    let asked = questions.holders.iter().flat_map(|(kind, name, value)| values![*kind, *name, value]).collect();
    for row in statement::HOLDERS.rows(connection, asked).await? {
        if let Some(kind) = kinds.get(row.text(0)?.as_str()) {
            world.holders.insert((kind, row.text(1)?, row.text(2)?), row.text(3)?);
        }
    }
    Ok(())
}

async fn work(questions: &Questions, world: &mut World, connection: &mut Connection) -> Result<(), Fault> {
    let jobs = questions.jobs.iter().map(Value::from).collect();
    for row in statement::JOB_HEADS.rows(connection, jobs).await? {
        let head = JobHead {
            owner: row.text(1)?,
            state: JobState::parse(&row.text(2)?).ok_or_else(|| Fault::decode("state of a job"))?,
            worker: row.maybe_text(3)?,
            attempts: u32::try_from(row.int(4)?).map_err(Fault::decode)?,
        };
        world.jobs.insert(row.text(0)?, head);
    }
    let dedupes = questions.dedupes.iter().flat_map(|(kind, owner, key)| values![kind, owner, key]).collect();
    for row in statement::JOB_DEDUPES.rows(connection, dedupes).await? {
        world.dedupes.insert((row.text(0)?, row.text(1)?, row.text(2)?));
    }
    let messages = questions.messages.iter().map(Value::from).collect();
    for row in statement::MESSAGE_HEADS.rows(connection, messages).await? {
        let state = MessageState::parse(&row.text(1)?).ok_or_else(|| Fault::decode("state of a message"))?;
        let attempts = u32::try_from(row.int(2)?).map_err(Fault::decode)?;
        world.messages.insert(row.text(0)?, MessageHead { state, attempts });
    }
    Ok(())
}

fn keys(documents: &HashSet<DocumentKey>) -> Vec<Value> {
    documents.iter().flat_map(|(kind, id)| values![*kind, id]).collect()
}

fn pairs(pairs: &HashSet<(String, String)>) -> Vec<Value> {
    pairs.iter().flat_map(|(first, second)| values![first, second]).collect()
}

//! Write an accepted batch: a handful of statements over many rows, in the order that the schema's references want.

use super::world::{Document, Head, Held, World};
use crate::bundle::Bundle;
use crate::engine::{Connection, Fault, Value, values};
use crate::resource::owner_text;
use crate::statement;
use ids::{Owner, Timestamp};
use std::collections::{HashMap, HashSet};

/// The rows of a batch, table by table, values one after the other.
#[derive(Default)]
pub(super) struct Writes {
    pub(super) trees: Vec<Value>,
    pub(super) payloads: Vec<Value>,
    pub(super) decisions: Vec<Value>,
    pub(super) jobs: Vec<Value>,
    pub(super) messages: Vec<Value>,
    /// Statements for one row each: the ends of jobs and messages.
    pub(super) single: Vec<(&'static str, Vec<Value>)>,
    /// Kinds whose generation grows with this batch.
    pub(super) touched: HashSet<&'static str>,
    // By key, as the last of several for one key is the one that counts.
    remembered: HashMap<(String, String), Vec<Value>>,
    counters: HashMap<(String, i64), i64>,
    // By tree, each list in the order of places.
    bundles: HashMap<String, Vec<Bundle>>,
    // Where the record of a call goes.
    calls: Vec<Value>,
    // What could not be put into a bundle: nothing of the batch is written then.
    unfit: Option<Fault>,
}

impl Writes {
    pub(super) fn remember(
        &mut self,
        principal: &str,
        key: &str,
        owner: Owner,
        input_digest: &[u8],
        response: &[u8],
        expires_at: Timestamp,
    ) {
        let row = values![
            principal,
            key,
            owner_text(owner),
            input_digest.to_vec(),
            response.to_vec(),
            expires_at.as_micros()
        ];
        self.remembered.insert((principal.to_owned(), key.to_owned()), row);
    }

    /// The record of a call, at its place in a tree.
    pub(super) fn leaf(&mut self, tree: String, index: u64, (call, part): (String, u8), at: Timestamp, leaf: &[u8]) {
        let bundles = self.bundles.entry(tree.clone()).or_default();
        if !bundles.last().is_some_and(|bundle| bundle.takes(index)) {
            bundles.push(Bundle::new(index));
        }
        let Some(bundle) = bundles.last_mut() else { return };
        match (bundle.push(&call, part, at, leaf), i64::try_from(bundle.first)) {
            (Ok(()), Ok(first)) => self.calls.extend(values![call, i64::from(part), tree, first]),
            (Err(fault), _) => self.unfit = Some(fault),
            (_, Err(error)) => self.unfit = Some(Fault::decode(error)),
        }
    }

    pub(super) fn count(&mut self, key: &str, bucket: i64) {
        *self.counters.entry((key.to_owned(), bucket)).or_default() += 1;
    }

    /// Run everything. A fault leaves the transaction to be rolled back by the caller.
    pub(super) async fn run(&mut self, world: World, connection: &mut Connection) -> Result<(), Fault> {
        if let Some(fault) = self.unfit.take() {
            return Err(fault);
        }
        let documents = Documents::from(world.documents, &mut self.touched);
        statement::KEYS_DELETE.execute(connection, documents.keys_deleted).await?;
        statement::DOCUMENTS_DELETE.execute(connection, documents.deleted).await?;
        statement::DOCUMENTS_WRITE.execute(connection, documents.written).await?;
        statement::KEYS_WRITE.execute(connection, documents.keys_written).await?;
        let remembered = std::mem::take(&mut self.remembered).into_values().flatten().collect();
        statement::IDEMPOTENCY_WRITE.execute(connection, remembered).await?;
        let counters = std::mem::take(&mut self.counters);
        let counters = counters.into_iter().flat_map(|((key, bucket), count)| values![key, bucket, count]).collect();
        statement::COUNTERS_WRITE.execute(connection, counters).await?;
        statement::JOBS_WRITE.execute(connection, std::mem::take(&mut self.jobs)).await?;
        statement::MESSAGES_WRITE.execute(connection, std::mem::take(&mut self.messages)).await?;
        for (text, row) in std::mem::take(&mut self.single) {
            connection.execute(text, row).await?;
        }
        statement::DECISIONS_WRITE.execute(connection, std::mem::take(&mut self.decisions)).await?;
        statement::PAYLOADS_WRITE.execute(connection, std::mem::take(&mut self.payloads)).await?;
        statement::TREES_WRITE.execute(connection, std::mem::take(&mut self.trees)).await?;
        let mut leaves = Vec::new();
        for (tree, bundles) in std::mem::take(&mut self.bundles) {
            for Bundle { first, count, bytes } in bundles {
                let (first, count) = (i64::try_from(first), i64::try_from(count));
                leaves.extend(values![&tree, first.map_err(Fault::decode)?, count.map_err(Fault::decode)?, bytes]);
            }
        }
        statement::LEAVES_WRITE.execute(connection, leaves).await?;
        statement::CALLS_WRITE.execute(connection, std::mem::take(&mut self.calls)).await?;
        Ok(())
    }
}

/// The net change of documents: what one call wrote and a later one of the batch wrote over is written once.
#[derive(Default)]
struct Documents {
    keys_deleted: Vec<Value>,
    deleted: Vec<Value>,
    written: Vec<Value>,
    keys_written: Vec<Value>,
}

impl Documents {
    fn from(documents: HashMap<(&'static str, String), Document>, touched: &mut HashSet<&'static str>) -> Self {
        let mut rows = Self::default();
        for ((kind, id), Document { before, now }) in documents {
            let changed = match (&before, &now) {
                (None, None) => false,
                (_, Some(head)) => head.written.is_some(),
                (Some(_), None) => true,
            };
            if changed {
                touched.insert(kind);
                rows.document(kind, id, before, now);
            }
        }
        rows
    }

    fn document(&mut self, kind: &'static str, id: String, before: Option<Head>, now: Option<Head>) {
        let old: HashSet<Held> = before.as_ref().map(|head| head.keys.iter().cloned().collect()).unwrap_or_default();
        let new: HashSet<Held> = now.as_ref().map(|head| head.keys.iter().cloned().collect()).unwrap_or_default();
        for held in old.difference(&new) {
            self.keys_deleted.extend(values![kind, &held.name, &held.value, &id]);
        }
        // A document that was deleted and made anew within the batch must not keep its time of creation.
        let made_anew = before.is_some() && now.as_ref().is_some_and(|head| head.version == 1);
        if before.is_some() && now.is_none() {
            self.deleted.extend(values![kind, &id]);
        }
        let Some(Head { owner, version, written: Some((body, at)), .. }) = now else { return };
        if made_anew {
            for held in old.intersection(&new) {
                self.keys_deleted.extend(values![kind, &held.name, &held.value, &id]);
            }
            self.deleted.extend(values![kind, &id]);
        }
        let kept = |held: &&Held| made_anew || !old.contains(*held);
        for held in new.iter().filter(kept) {
            let exclusive = i64::from(held.exclusive);
            self.keys_written.extend(values![kind, &held.name, &held.value, &id, &owner, exclusive]);
        }
        self.written.extend(values![kind, id, owner, version, body, at, at]);
    }
}

//! Everything that the state holds, to compare before and after: an attack is judged by what it changed, not by what it
//! was answered.
#![expect(clippy::expect_used, reason = "a test whose state cannot be read has failed")]

use ids::{Owner, Scope};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use store::{Page, Resource, Snapshot, Store};

/// Every document, by kind and id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dump {
    documents: BTreeMap<(String, String), Value>,
}

impl Dump {
    /// All documents of all kinds, all tenants.
    pub async fn of(store: &Store) -> Self {
        let snapshot = store.snapshot(Scope::Provider);
        let mut dump = Self::default();
        dump.take::<store::Agent>(&snapshot).await;
        dump.take::<store::AgentDefinition>(&snapshot).await;
        dump.take::<store::Approval>(&snapshot).await;
        dump.take::<store::Assignment>(&snapshot).await;
        dump.take::<store::BreakGlass>(&snapshot).await;
        dump.take::<store::BucketState>(&snapshot).await;
        dump.take::<store::Case>(&snapshot).await;
        dump.take::<store::CaseComment>(&snapshot).await;
        dump.take::<store::CaseDetection>(&snapshot).await;
        dump.take::<store::CaseEntity>(&snapshot).await;
        dump.take::<store::CaseEntry>(&snapshot).await;
        dump.take::<store::CaseEvidence>(&snapshot).await;
        dump.take::<store::CaseTask>(&snapshot).await;
        dump.take::<store::EntityVerdict>(&snapshot).await;
        dump.take::<store::ExternalTable>(&snapshot).await;
        dump.take::<store::CollectedChunk>(&snapshot).await;
        dump.take::<store::Connector>(&snapshot).await;
        dump.take::<store::Credential>(&snapshot).await;
        dump.take::<store::Deputy>(&snapshot).await;
        dump.take::<store::Grant>(&snapshot).await;
        dump.take::<store::KillSwitch>(&snapshot).await;
        dump.take::<store::Lockdown>(&snapshot).await;
        dump.take::<store::Offboarding>(&snapshot).await;
        dump.take::<store::Policy>(&snapshot).await;
        dump.take::<store::PolicyVersion>(&snapshot).await;
        dump.take::<store::PulledObject>(&snapshot).await;
        dump.take::<store::QueryClock>(&snapshot).await;
        dump.take::<store::QueryResult>(&snapshot).await;
        dump.take::<store::Recertification>(&snapshot).await;
        dump.take::<store::ResponseAction>(&snapshot).await;
        dump.take::<store::Role>(&snapshot).await;
        dump.take::<store::Run>(&snapshot).await;
        dump.take::<store::SavedQuery>(&snapshot).await;
        dump.take::<store::SealedSecret>(&snapshot).await;
        dump.take::<store::Sensor>(&snapshot).await;
        dump.take::<store::ServiceKey>(&snapshot).await;
        dump.take::<store::SourceBucket>(&snapshot).await;
        dump.take::<store::Skill>(&snapshot).await;
        dump.take::<store::Tenant>(&snapshot).await;
        dump.take::<store::User>(&snapshot).await;
        dump.take::<store::Webhook>(&snapshot).await;
        dump
    }

    async fn take<R: Resource>(&mut self, snapshot: &Snapshot) {
        let mut after = None;
        loop {
            let page = Page { after, limit: 1000, ..Page::default() };
            let found = snapshot.list::<R>(&page).await.expect("the state can be read");
            let whole = found.len() >= 1000;
            after = found.last().map(|stored| stored.value.id());
            for stored in found {
                let value = serde_json::to_value(&stored.value).expect("a document is JSON");
                let shown = serde_json::json!({ "version": stored.version, "value": value });
                self.documents.insert((R::KIND.to_owned(), stored.value.id()), shown);
            }
            if !whole {
                return;
            }
        }
    }

    /// What differs: kind and id, and the document as it is in `later` (null where it is gone).
    #[must_use]
    pub fn changed(&self, later: &Self) -> Vec<(String, String, Value)> {
        let keys: BTreeSet<_> = self.documents.keys().chain(later.documents.keys()).collect();
        keys.into_iter()
            .filter(|key| self.documents.get(*key) != later.documents.get(*key))
            .map(|key| (key.0.clone(), key.1.clone(), later.documents.get(key).cloned().unwrap_or_default()))
            .collect()
    }

    /// All documents of a kind.
    pub fn kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.documents.iter().filter(move |((own, _), _)| own == kind).map(|((_, id), value)| (id.as_str(), value))
    }

    /// Whether this text stands anywhere in a document: for secrets that must not.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        self.documents.values().any(|value| value.to_string().contains(text))
    }
}

/// The records of a log, oldest first, as JSON.
pub async fn records(store: &Store, tree: Owner) -> Vec<Value> {
    let snapshot = store.snapshot(Scope::Provider);
    let mut records = Vec::new();
    loop {
        let from = u64::try_from(records.len()).unwrap_or(u64::MAX);
        let leaves = snapshot.leaves(tree, from, 500).await.expect("the log can be read");
        if leaves.is_empty() {
            return records;
        }
        records.extend(leaves.iter().map(|leaf| serde_json::from_slice(&leaf.leaf).unwrap_or_default()));
    }
}

//! A fresh store on each engine, a clock that is moved by hand, entropy that counts, and one small resource.

use ids::{CallId, Clock, Entropy, Owner, Scope, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection, SqlSafeStr as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use store::{AuditEntry, Changes, Commit, Config, Key, Resource, Snapshot, Store, Target};

pub(crate) struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

impl HandClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_790_000_000_000_000)))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

/// Every byte different from fill to fill, the same in every run.
#[derive(Default)]
pub(crate) struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            let step = self.0.fetch_add(1, Ordering::SeqCst).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            *byte = step.to_be_bytes()[0];
        }
    }
}

/// A thing with a unique name and a colour that many may have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gadget {
    pub(crate) id: String,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) name: String,
    pub(crate) colour: String,
}

impl Resource for Gadget {
    const KIND: &'static str = "gadget";
    fn id(&self) -> String {
        self.id.clone()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::unique("name", &self.name), Key::lookup("colour", &self.colour)]
    }
}

/// One store and what a test moves around it.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) config: Config,
    calls: AtomicU64,
}

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::derive(&[name.as_bytes()])
}

pub(crate) fn gadget(id: &str, owner: Option<&str>, name: &str, colour: &str) -> Gadget {
    Gadget { id: id.into(), tenant: owner.map(tenant), name: name.into(), colour: colour.into() }
}

impl World {
    pub(crate) async fn open(config: Config) -> Self {
        let clock = HandClock::new();
        let store = Store::open(config.clone(), clock.clone(), Arc::new(Counting::default())).await.expect("opens");
        Self { store, clock, config, calls: AtomicU64::new(0) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn call(&self) -> CallId {
        CallId::derive(&[&self.calls.fetch_add(1, Ordering::SeqCst).to_be_bytes()])
    }

    pub(crate) fn entry(&self) -> AuditEntry {
        AuditEntry { tree: Owner::Provider, call: self.call(), part: 0, leaf: b"leaf".to_vec(), payload: None }
    }

    pub(crate) fn commit_of(&self, fill: impl FnOnce(&mut Changes) -> &mut Changes) -> Commit {
        let mut changes = Changes::new();
        fill(&mut changes);
        Commit::new(self.now(), self.entry()).changes(changes)
    }

    pub(crate) async fn commit(
        &self,
        fill: impl FnOnce(&mut Changes) -> &mut Changes,
    ) -> Result<store::Receipt, store::CommitError> {
        self.store.commit(self.commit_of(fill)).await
    }

    pub(crate) fn all(&self) -> Snapshot {
        self.store.snapshot(Scope::Provider)
    }
}

/// Run a test on a fresh store of each engine.
pub(crate) async fn each_engine(test: impl AsyncFn(&World)) {
    each_target(async |target| {
        let world = World::open(Config::new(target.clone())).await;
        test(&world).await;
        world.store.close().await;
    })
    .await;
}

/// Run a test where nothing is yet, for each engine.
pub(crate) async fn each_target(test: impl AsyncFn(&Target)) {
    static SCHEMAS: AtomicU64 = AtomicU64::new(0);
    let dir = tempfile::tempdir().unwrap();
    test(&Target::Sqlite { dir: dir.path().to_owned() }).await;
    let Ok(url) = std::env::var("POSSE_TEST_POSTGRES_URL") else { return };
    let schema = format!("t{}_{}", std::process::id(), SCHEMAS.fetch_add(1, Ordering::SeqCst));
    script(&url, format!("CREATE SCHEMA {schema}")).await;
    test(&Target::Postgres { url: format!("{url}&options[search_path]={schema}") }).await;
    script(&url, format!("DROP SCHEMA {schema} CASCADE; DROP SCHEMA IF EXISTS {schema}_lake CASCADE")).await;
}

async fn script(url: &str, text: String) {
    let mut connection = PgConnection::connect(url).await.expect("PostgreSQL of POSSE_TEST_POSTGRES_URL answers");
    sqlx::raw_sql(sqlx::AssertSqlSafe(text).into_sql_str()).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

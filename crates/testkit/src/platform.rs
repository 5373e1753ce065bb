//! A real server in the process of a test: gate, state and faces, on a free port, with a clock that the test moves.
//!
//! State is `SQLite` in a folder of its own; where `POSSE_TEST_POSTGRES_URL` is set, a `PostgreSQL` schema of its own.
#![expect(clippy::expect_used, clippy::panic, reason = "a test whose platform cannot be set up has failed")]

use crate::clock::HandClock;
use crate::http::{Answer, Request};
use crate::recorder::Recorder;
use api::{Call, Credential, Door as _, Future, Origin, Problem, Spec};
use control::{Control, Courier, Opened, Rate, Registry, Running, Settings};
use ids::{Clock, Entropy};
use seal::{PasswordCost, SeededEntropy};
use serde_json::Value;
pub use server::SyslogProtocol;
use server::{Hooks, Server};
use sqlx::{Connection as _, PgConnection, SqlSafeStr as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::{Health, Store};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long a test waits for what the platform does by itself.
const PATIENCE: Duration = Duration::from_secs(20);

static SEEDS: AtomicU64 = AtomicU64::new(1);

/// One running installation.
pub struct Platform {
    /// The gate.
    pub control: Control,
    /// The present.
    pub clock: Arc<HandClock>,
    /// Where it listens.
    pub address: SocketAddr,
    /// The first admin's token.
    pub bootstrap: String,
    /// What stands where the data plane would.
    pub plane: Arc<Recorder>,
    settings: Settings,
    state: store::Config,
    // Held for its drop: the folder goes with the platform.
    folder: TempDir,
    model: Option<Arc<dyn agent::Model>>,
    shipped: Vec<policy::Document>,
    running: Option<Running>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

/// How a platform is opened.
struct Start {
    clock: Arc<HandClock>,
    known: String,
    registry: Registry,
    idle: bool,
    model: Option<Arc<dyn agent::Model>>,
    shipped: Vec<policy::Document>,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            clock: HandClock::new(),
            known: String::new(),
            registry: Registry::platform(),
            idle: false,
            model: None,
            shipped: policy::shipped::documents(),
        }
    }
}

/// Limits and times for tests: cheap passwords, and a rate that no test meets unless it means to.
#[must_use]
pub fn settings() -> Settings {
    Settings {
        password_cost: PasswordCost { memory_kib: 8, passes: 1, lanes: 1 },
        rate: Rate { per_second: 1_000_000, burst: 1_000_000 },
        ..Settings::default()
    }
}

impl Platform {
    /// A new installation.
    pub async fn start() -> Self {
        Self::start_with(settings()).await
    }

    /// A new installation with these settings.
    pub async fn start_with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the state");
        let state = match std::env::var("POSSE_TEST_POSTGRES_URL") {
            Ok(url) => store::Config::postgres(schema_of_its_own(&url).await),
            Err(_) => store::Config::sqlite(folder.path()),
        };
        Self::open(folder, state, settings, Start::default()).await
    }

    /// A new installation whose runs ask this model.
    pub async fn start_with_model(model: Arc<dyn agent::Model>) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the state");
        let state = match std::env::var("POSSE_TEST_POSTGRES_URL") {
            Ok(url) => store::Config::postgres(schema_of_its_own(&url).await),
            Err(_) => store::Config::sqlite(folder.path()),
        };
        Self::open(folder, state, settings(), Start { model: Some(model), ..Start::default() }).await
    }

    /// A new installation with these settings and these policies in place of those that ship: for what must be shown to go
    /// wrong without one.
    pub async fn start_under(shipped: Vec<policy::Document>, settings: Settings) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the state");
        let state = match std::env::var("POSSE_TEST_POSTGRES_URL") {
            Ok(url) => store::Config::postgres(schema_of_its_own(&url).await),
            Err(_) => store::Config::sqlite(folder.path()),
        };
        Self::open(folder, state, settings, Start { shipped, ..Start::default() }).await
    }

    /// A new installation with these operations, whose own work (executions, expiry, the log's hashing) waits for
    /// [`Platform::wake`].
    pub async fn start_idle(registry: Registry) -> Self {
        Self::start_idle_with(settings(), registry).await
    }

    /// The same with settings.
    pub async fn start_idle_with(settings: Settings, registry: Registry) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the state");
        let state = match std::env::var("POSSE_TEST_POSTGRES_URL") {
            Ok(url) => store::Config::postgres(schema_of_its_own(&url).await),
            Err(_) => store::Config::sqlite(folder.path()),
        };
        Self::open(folder, state, settings, Start { registry, idle: true, ..Start::default() }).await
    }

    /// Let the platform do its own work.
    pub fn wake(&mut self) {
        self.wake_with(Vec::new());
    }

    /// Let the platform do its own work, with these couriers to the outside.
    pub fn wake_with(&mut self, couriers: Vec<Arc<dyn Courier>>) {
        self.running.get_or_insert_with(|| self.control.start_with(couriers));
    }

    async fn open(folder: TempDir, state: store::Config, settings: Settings, start: Start) -> Self {
        let Start { clock, known, registry, idle, model, shipped } = start;
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(SEEDS.fetch_add(1, Ordering::Relaxed)));
        let plane = Arc::new(Recorder::default());
        let store = Store::open(state.clone(), clock.clone(), entropy.clone()).await.expect("the state opens");
        let opened = Opened {
            store,
            clock: clock.clone(),
            entropy,
            settings: settings.clone(),
            registry,
            shipped: shipped.clone(),
            master_key: [7; 32],
            master_key_before: None,
            plane: Some(plane.clone()),
            model: model.clone(),
        };
        let mut bootstrap = known;
        let control = opened
            .open(|token| {
                token.clone_into(&mut bootstrap);
                Ok(())
            })
            .await
            .expect("the gate opens");
        let running = (!idle).then(|| control.start());
        let config = server::Config::at(([127, 0, 0, 1], 0).into());
        let hooks = Arc::new(Measured(control.clone()));
        let server = Server::bind(config, Arc::new(control.clone()), hooks).await.expect("the server binds");
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.run(async move {
            // A platform that is dropped stops too.
            let _ = stopped.await;
        }));
        let stop = Some(stop);
        Self {
            control,
            clock,
            address,
            bootstrap,
            plane,
            settings,
            state,
            folder,
            model,
            shipped,
            running,
            stop,
            serving,
        }
    }

    /// The folder of its state; none where that is in `PostgreSQL`.
    #[must_use]
    pub fn data_dir(&self) -> Option<&std::path::Path> {
        matches!(self.state.target, store::Target::Sqlite { .. }).then(|| self.folder.path())
    }

    /// Stop in good order and start again on the same state.
    pub async fn restart(mut self) -> Self {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        (&mut self.serving).await.expect("the server ends");
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        let start = Start {
            clock: self.clock,
            known: self.bootstrap,
            model: self.model,
            shipped: self.shipped,
            ..Start::default()
        };
        Self::open(self.folder, self.state, self.settings, start).await
    }

    /// One more listener on the same gate, for syslog to a source; its address.
    pub async fn listen_for_syslog(&self, protocol: SyslogProtocol, tenant: &str, source: &str) -> SocketAddr {
        let any = ([127, 0, 0, 1], 0).into();
        let mut config = server::Config::at(any);
        config.syslog.push(server::Syslog {
            listen: any,
            protocol,
            tenant: tenant.parse().expect("a tenant's id"),
            source: ids::Text::new(source).expect("a source's name"),
            connections_max: 8,
            idle_timeout: PATIENCE,
        });
        let hooks = Arc::new(Measured(self.control.clone()));
        let server = Server::bind(config, Arc::new(self.control.clone()), hooks).await.expect("the listener binds");
        let address = *server.syslog_addrs().first().expect("the listener's address");
        tokio::spawn(server.run(std::future::pending()));
        address
    }

    /// The declaration of an operation.
    #[must_use]
    pub fn spec(&self, operation: &str) -> &Spec {
        self.control.spec(operation).unwrap_or_else(|| panic!("`{operation}` is no operation"))
    }

    /// Send a request.
    pub async fn send(&self, request: Request) -> Answer {
        request.send(self.address).await.expect("the server answers")
    }

    /// Call an operation over REST.
    pub async fn call(&self, token: &str, operation: &str, input: &Value) -> Answer {
        self.send(Request::of(self.spec(operation), input).bearer(token)).await
    }

    /// Call an operation that must be carried out; its output.
    pub async fn done(&self, token: &str, operation: &str, input: &Value) -> Value {
        let answer = self.call(token, operation, input).await;
        assert_eq!(answer.status, 200, "{operation} {input}: {}", answer.body);
        answer.body
    }

    /// Call an operation that must wait for people; the approval's id.
    pub async fn pending(&self, token: &str, operation: &str, input: &Value) -> String {
        let answer = self.call(token, operation, input).await;
        assert_eq!(answer.status, 202, "{operation} {input}: {}", answer.body);
        answer.body["approval"].as_str().expect("an approval").to_owned()
    }

    /// Wait until a condition holds, looking again after every commit; panics when patience ends.
    pub async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let mut changes = self.control.store().changes();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(tokio::time::Instant::now() < deadline, "still not so: {what}");
            // What the platform does by itself it does within its round, also where nothing is committed meanwhile.
            let _ = tokio::time::timeout(Duration::from_millis(200), changes.changed()).await;
        }
    }

    /// Wait until an approval ends (or is merely approved, where it never runs); the approval as it then stands.
    pub async fn settled(&self, token: &str, approval: &str) -> Value {
        self.until("the approval has ended", async || {
            let now = self.done(token, "approval.get", &serde_json::json!({ "approval": approval })).await;
            let waits = matches!(now["state"].as_str(), Some("pending" | "deferred" | "approved"));
            (!waits).then_some(now)
        })
        .await
    }
}

async fn schema_of_its_own(url: &str) -> String {
    let schema = format!("k{}_{}", std::process::id(), SEEDS.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(url).await.expect("PostgreSQL of POSSE_TEST_POSTGRES_URL answers");
    let text = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}")).into_sql_str();
    sqlx::raw_sql(text).execute(&mut connection).await.expect("a schema is made");
    connection.close().await.expect("the connection closes");
    format!("{url}&options[search_path]={schema}")
}

struct Measured(Control);

impl Hooks for Measured {
    fn clock(&self) -> &dyn Clock {
        self.0.clock()
    }

    fn entropy(&self) -> &dyn Entropy {
        self.0.entropy()
    }

    fn ready(&self) -> Future<'_, Result<(), String>> {
        Box::pin(async move {
            match self.0.store().health() {
                Health::Ready => Ok(()),
                Health::ReadOnly { .. } | Health::Closed => Err("the store takes no commits".to_owned()),
            }
        })
    }

    fn metrics<'a>(
        &'a self,
        credential: Option<&'a Credential>,
        origin: &'a Origin,
    ) -> Future<'a, Result<String, Problem>> {
        Box::pin(async move {
            let call = Call {
                operation: "system.info".to_owned(),
                input: Value::Object(serde_json::Map::new()),
                credential: credential.cloned(),
                idempotency_key: None,
                origin: origin.clone(),
            };
            match self.0.call(call).await {
                api::Reply::Refused(problem) => Err(problem),
                _ => Ok("# EOF\n".to_owned()),
            }
        })
    }
}

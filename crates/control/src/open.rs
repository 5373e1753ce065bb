//! Opening the gate: keys, policies, the kill switch's memory and, in a new installation, the first admin.

use crate::attempts::Attempts;
use crate::authenticate::IdentityCache;
use crate::connectors::ConnectorCourier;
use crate::context::{Control, HASHES_AT_ONCE, Inner};
use crate::courier::Courier;
use crate::decide::{TenantCache, policy_state};
use crate::keys::Keys;
use crate::kill::KillBoard;
use crate::rate::RateLimiter;
use crate::refusal::Refusal;
use crate::registry::Registry;
use crate::settings::Settings;
use crate::sign_in::SignIns;
use crate::signing::{LogKey, SIGNING_KEY, fresh_key, stored_key};
use crate::webhook::WebhookCourier;
use arc_swap::ArcSwap;
use audit::LogName;
use ids::{AssignmentId, Clock, CredentialId, Entropy, Owner, Principal, Scope, UserId};
use seal::{Sealer, Token};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use store::{Assignment, Changes, Credential, CredentialKind, KillSwitch, Lockdown, Store, Stored, User, UserState};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long the first admin's token lives.
const BOOTSTRAP_TTL: Duration = Duration::from_secs(24 * 3600);
/// The first admin's sign-in name; also the id's seed, so that there is only ever one.
const BOOTSTRAP_EMAIL: &str = "admin@localhost";

/// Why the gate does not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A place outside for checkpoints is not set up as it must be.
    #[error("checkpoints cannot be put into the anchor `{0}`: {1}")]
    Anchor(String, String),
    /// Delivering the first admin's token failed; nothing was created.
    #[error("the first admin's token cannot be delivered")]
    Deliver(#[source] std::io::Error),
    /// The log's name cannot be used.
    #[error("`log_name` cannot name a log: {0}")]
    LogName(String),
    /// The sealed signing key does not open: the master key is not the one that this state was made with.
    #[error("the audit signing key does not open; give the master key that this installation was made with")]
    MasterKey,
    /// A provider that people sign in through is not set up as it must be.
    #[error("people cannot sign in through `{0}`: {1}")]
    SignIn(String, String),
    /// State could not be read or written, or what it holds does not compile; the log has the details.
    #[error("the state cannot be used: {0}")]
    State(String),
}

impl From<Refusal> for OpenError {
    fn from(refusal: Refusal) -> Self {
        Self::State(refusal.into_problem().detail)
    }
}

/// What the gate is opened with.
pub struct Opened {
    /// Transactional state.
    pub store: Store,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Limits and times.
    pub settings: Settings,
    /// Every operation with its handler.
    pub registry: Registry,
    /// The policy documents that bind always: those that ship.
    pub shipped: Vec<policy::Document>,
    /// Seals secrets at rest; from a file or the environment, never from the store.
    pub master_key: [u8; 32],
    /// The master key before, where this opening changes it: what it sealed is sealed anew under the one above.
    pub master_key_before: Option<[u8; 32]>,
    /// Where telemetry goes and is asked; without one, whatever needs it answers that it is unavailable.
    pub plane: Option<Arc<dyn api::DataPlane>>,
    /// What runs that a model drives ask, by alias; without one they end at their first question, with that reason.
    pub model: Option<Arc<dyn agent::Model>>,
}

impl Opened {
    /// Open the gate. In a new installation `deliver` gets the first admin's token, before it is good.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was half made.
    pub async fn open(self, deliver: impl FnOnce(&str) -> std::io::Result<()>) -> Result<Control, OpenError> {
        let log_name = LogName::new(&self.settings.log_name).map_err(|error| OpenError::LogName(error.to_string()))?;
        let snapshot = self.store.snapshot(Scope::Provider);
        let sealer = Sealer::new(self.master_key);
        let before = self.master_key_before.map(Sealer::new);
        let stored = match (stored_key(&snapshot, &sealer, log_name.as_str()).await, &before) {
            (Err(OpenError::MasterKey), Some(before)) => stored_key(&snapshot, before, log_name.as_str()).await?,
            (stored, _) => stored?,
        };
        let (log_key, fresh) = match stored {
            Some(key) => (key, None),
            None => {
                let (signer, secret) = fresh_key(&sealer, self.entropy.as_ref(), log_name.as_str())?;
                (LogKey { signer, rotations: Vec::new() }, Some(secret))
            }
        };
        let loaded = Keys::load(sealer.clone(), before.as_ref(), &snapshot, self.entropy.as_ref()).await?;
        let (keys, cursors, fresh_data_key) = loaded;
        let providers = crate::oidc::providers(&self.settings.sign_in, self.entropy.as_ref())?;
        let anchors = crate::anchor::Anchors::new(&self.settings.anchors)
            .map_err(|(name, fault)| OpenError::Anchor(name, fault.to_string()))?;
        let policies = policy_state(&snapshot, self.registry.specs(), &self.shipped).await?;
        let started_at = self.clock.now();
        let control = Control {
            inner: Arc::new(Inner {
                rate: RateLimiter::new(self.settings.rate),
                ingest: crate::ingest::IngestState::new(self.settings.ingest_memory_bytes_max),
                turns: crate::asking::Turns::default(),
                cases: crate::cases::CaseState::new().map_err(|error| OpenError::State(error.to_string()))?,
                anchors,
                plane: self.plane,
                model: self.model,
                store: self.store,
                clock: self.clock,
                entropy: self.entropy,
                settings: self.settings,
                registry: self.registry,
                shipped: self.shipped,
                policies: ArcSwap::from_pointee(policies),
                identities: IdentityCache::default(),
                tenants: TenantCache::default(),
                kill: Arc::new(KillBoard::new(Vec::new(), Vec::new())),
                rules: crate::rule_live::RuleBoard::default(),
                runs: crate::runs::RunBoard::default(),
                attempts: Attempts::default(),
                sign_ins: SignIns::default(),
                providers,
                cursors,
                sealer,
                keys,
                log_name,
                log_key: ArcSwap::from_pointee(log_key),
                started_at,
                freshness: crate::freshness::Freshness::default(),
                jobs_seen: AtomicU64::new(u64::MAX),
                hashing: tokio::sync::Semaphore::new(HASHES_AT_ONCE),
                sequencing: tokio::sync::Mutex::new(()),
            }),
        };
        if fresh.is_some() || fresh_data_key.is_some() {
            let mut changes = Changes::new();
            for secret in fresh.iter().chain(&fresh_data_key) {
                changes.create(secret);
            }
            control
                .commit_as_system(
                    "setup",
                    "system.create_signing_key",
                    Owner::Provider,
                    SIGNING_KEY.to_owned(),
                    changes,
                )
                .await?;
        }
        if let Some(before) = before {
            control.move_keys(&before).await?;
        }
        control.complete_keys().await?;
        control.load_kill_switch().await?;
        control.set_up_all().await?;
        if let Some(plane) = &control.plane {
            control.carry_rules(plane.as_ref()).await?;
            plane.begin();
        }
        control.bootstrap(deliver).await?;
        Ok(control)
    }
}

impl Control {
    /// Make the first admin of a new installation; a new token where the old one ended unused.
    async fn bootstrap(&self, deliver: impl FnOnce(&str) -> std::io::Result<()>) -> Result<(), OpenError> {
        let now = self.now();
        let snapshot = self.store.snapshot(Scope::Provider);
        let id = UserId::derive(&[b"bootstrap"]);
        let principal = Principal::User(id);
        let admin: Option<Stored<User>> = snapshot.read(&id.to_string()).await.map_err(Refusal::from)?;
        let mut changes = Changes::new();
        match admin {
            None => {
                changes.create(&User {
                    id,
                    tenant: None,
                    email: BOOTSTRAP_EMAIL.to_owned(),
                    display_name: "First admin".to_owned(),
                    password: None,
                    state: UserState::Active,
                    credentials_from: now,
                    external: None,
                    totp: None,
                });
                changes.create(&Assignment {
                    id: AssignmentId::derive(&[principal.to_string().as_bytes(), b"provider_admin", b"provider", b""]),
                    principal: principal.clone(),
                    role: "provider_admin".to_owned(),
                    tenant: None,
                    selector: None,
                });
            }
            Some(admin) => {
                let others = crate::decide::all::<User>(&snapshot).await?.len() > 1;
                let key = Some(("principal", principal.to_string()));
                let page = store::Page { key, limit: 1000, ..store::Page::default() };
                let held: Vec<Stored<Credential>> = snapshot.list(&page).await.map_err(Refusal::from)?;
                let alive = held.iter().any(|one| !one.value.revoked && one.value.expires_at > now);
                if admin.value.state == UserState::Deactivated || admin.value.password.is_some() || others || alive {
                    return Ok(());
                }
            }
        }
        let token =
            Token::generate("bootstrap", self.entropy.as_ref()).map_err(|error| OpenError::State(error.to_string()))?;
        changes.create(&Credential {
            id: CredentialId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            kind: CredentialKind::Bootstrap,
            hash: token.lookup_hash().to_string(),
            principal,
            tenant: None,
            name: "bootstrap".to_owned(),
            issued_at: now,
            expires_at: now.plus(BOOTSTRAP_TTL),
            revoked: false,
            run: None,
            reach: None,
            case: None,
            on_behalf_of: Vec::new(),
            grant: None,
        });
        // First the file, then the credential: a crash between leaves a file with a token that was never good, and the
        // next opening makes another.
        deliver(token.expose()).map_err(OpenError::Deliver)?;
        self.commit_as_system("setup", "user.bootstrap", Owner::Provider, id.to_string(), changes).await?;
        Ok(())
    }

    /// Read all engagements of the switch and the lockdowns that hold, and let them hold.
    pub(crate) async fn load_kill_switch(&self) -> Result<(), Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        let engagements = crate::decide::all::<KillSwitch>(&snapshot).await?;
        let lockdowns = crate::decide::all::<Lockdown>(&snapshot).await?;
        let holding = lockdowns.into_iter().map(|stored| stored.value).filter(|one| one.lifted_at.is_none());
        self.kill.replace(engagements.into_iter().map(|stored| stored.value).collect(), holding.collect());
        Ok(())
    }

    /// Start what the platform does by itself.
    #[must_use]
    pub fn start(&self) -> Running {
        self.start_with(Vec::new())
    }

    /// Start what the platform does by itself, with these couriers to the outside; one for each channel.
    #[must_use]
    pub fn start_with(&self, couriers: Vec<Arc<dyn Courier>>) -> Running {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = vec![
            tokio::spawn(self.clone().reconcile(stopped.clone())),
            tokio::spawn(self.clone().sequence_forever(stopped.clone())),
            tokio::spawn(self.clone().look_after_the_lake(stopped.clone())),
            tokio::spawn(self.clone().run_rules_back(stopped.clone())),
            tokio::spawn(self.clone().drive_runs(stopped.clone())),
            tokio::spawn(self.clone().run_saved_queries(stopped.clone())),
            tokio::spawn(self.clone().read_buckets(stopped.clone())),
            tokio::spawn(self.clone().watch_actions(stopped.clone())),
        ];
        let anchors = 0..self.anchors.count();
        tasks.extend(anchors.map(|number| tokio::spawn(self.clone().anchor_forever(number, stopped.clone()))));
        let connectors: Arc<dyn Courier> = Arc::new(ConnectorCourier::new(self.clone()));
        let webhooks: Arc<dyn Courier> = Arc::new(WebhookCourier(self.clone()));
        let couriers = [connectors, webhooks].into_iter().chain(couriers);
        tasks.extend(couriers.map(|courier| tokio::spawn(self.clone().carry(courier, stopped.clone()))));
        Running { control: self.clone(), stop, tasks }
    }

    /// The public key under which the log verifies, as a note verifier key.
    #[must_use]
    pub fn verifier_key(&self) -> String {
        self.log_key.load().signer.verifier().to_string()
    }

    /// The store behind the gate: for readiness, measurements and tests that compare state; reading it needs a scope.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The present, as the gate sees it.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        self.inner.clock.as_ref()
    }

    /// Randomness, for request ids.
    #[must_use]
    pub fn entropy(&self) -> &dyn Entropy {
        self.inner.entropy.as_ref()
    }
}

/// The platform's own work, until it is stopped.
pub struct Running {
    control: Control,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    /// Stop, sign what is left, and close the store.
    pub async fn stop(self) {
        // Nobody listens any more only where every task has ended already.
        let _ = self.stop.send(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the platform ended badly");
            }
        }
        if let Err(refusal) = self.control.record_attempts().await {
            tracing::error!(?refusal, "failed attempts were not recorded");
        }
        if let Err(refusal) = self.control.record_ingest().await {
            tracing::error!(?refusal, "counts of ingest were not recorded");
        }
        self.control.store.close().await;
    }
}

//! What the gate holds: the store, the policy set, keys and the little that is kept in memory.

use crate::attempts::Attempts;
use crate::authenticate::IdentityCache;
use crate::decide::{PolicyState, TenantCache};
use crate::freshness::Freshness;
use crate::kill::KillBoard;
use crate::rate::RateLimiter;
use crate::registry::Registry;
use crate::settings::Settings;
use crate::sign_in::SignIns;
use crate::signing::LogKey;
use arc_swap::ArcSwap;
use audit::LogName;
use ids::{Clock, Entropy, Timestamp};
use seal::{Mac, Sealer};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use store::Store;

/// The gate with everything behind it. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    pub(crate) inner: Arc<Inner>,
}

/// What clones of [`Control`] share. Public in name only: the module is private.
pub struct Inner {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) settings: Settings,
    pub(crate) registry: Registry,
    pub(crate) shipped: Vec<policy::Document>,
    pub(crate) policies: ArcSwap<PolicyState>,
    pub(crate) identities: IdentityCache,
    pub(crate) tenants: TenantCache,
    pub(crate) kill: Arc<KillBoard>,
    pub(crate) rules: crate::rule_live::RuleBoard,
    pub(crate) runs: crate::runs::RunBoard,
    pub(crate) rate: RateLimiter,
    pub(crate) attempts: Attempts,
    pub(crate) sign_ins: SignIns,
    /// Where people sign in besides with a password.
    pub(crate) providers: crate::oidc::Providers,
    pub(crate) cursors: Mac,
    /// Seals under the master key: the signing key, and what lives for minutes.
    pub(crate) sealer: Sealer,
    /// Seal everything else.
    pub(crate) keys: crate::keys::Keys,
    pub(crate) log_name: LogName,
    pub(crate) log_key: ArcSwap<LogKey>,
    pub(crate) started_at: Timestamp,
    pub(crate) freshness: Freshness,
    /// State of the job queue at which the last round of executions found nothing left.
    pub(crate) jobs_seen: AtomicU64,
    /// Turns at hashing passwords: each takes tens of mebibytes, and callers without a credential can ask for it.
    pub(crate) hashing: tokio::sync::Semaphore,
    /// One sequencing at a time: `audit.checkpoint` may ask for one beside the background task.
    pub(crate) sequencing: tokio::sync::Mutex<()>,
    /// Where telemetry goes and is asked; none in an installation that only governs.
    pub(crate) plane: Option<Arc<dyn api::DataPlane>>,
    /// What runs that a model drives ask; none where no model is configured.
    pub(crate) model: Option<Arc<dyn agent::Model>>,
    pub(crate) turns: crate::asking::Turns,
    pub(crate) ingest: crate::ingest::IngestState,
    pub(crate) cases: crate::cases::CaseState,
    /// Where checkpoints are put outside.
    pub(crate) anchors: crate::anchor::Anchors,
}

/// How many passwords are hashed at once.
pub(crate) const HASHES_AT_ONCE: usize = 4;

impl std::ops::Deref for Control {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl Inner {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Control(..)")
    }
}

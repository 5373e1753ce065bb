//! The threads on which SQL is parsed, planned and run: few, with deep stacks, apart from those that serve requests.

use crate::LakeError;
use crate::ask::{AskError, Limits};
use crate::cache::Bounded;
use crate::reader::Footers;
use crate::session;
use datafusion::execution::session_state::SessionState;
use ids::Scope;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

/// A planner walks its trees by recursion; see `guard` for what is left of their depth.
const STACK_BYTES: usize = 64 << 20;

/// Threads, the session that every query copies, and who may run how many queries at once.
pub(crate) struct Workers {
    runtime: Option<Runtime>,
    handle: Handle,
    pub(crate) footers: Arc<Footers>,
    pub(crate) template: SessionState,
    all: Arc<Semaphore>,
    each: Mutex<HashMap<String, Arc<Semaphore>>>,
    per_tenant: usize,
}

/// The right to run one query.
#[derive(Debug)]
pub(crate) struct Turn {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// A task that ends when nobody waits for it any more.
pub(crate) struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Task<T> {
    pub(crate) async fn wait(&mut self) -> Result<T, AskError> {
        (&mut self.0).await.map_err(|error| AskError::Internal(format!("the query's task ended: {error}")))
    }
}

impl Workers {
    pub(crate) fn start(limits: &Limits) -> Result<Self, LakeError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(limits.threads.max(1))
            .thread_stack_size(STACK_BYTES)
            .thread_name("lake")
            .enable_all()
            .build()
            .map_err(|error| LakeError::Worker(error.to_string()))?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
            footers: Arc::new(Bounded::new(limits.footer_bytes_max)),
            template: session::template(limits).map_err(|error| LakeError::Worker(error.to_string()))?,
            all: Arc::new(Semaphore::new(limits.queries_max.max(1))),
            each: Mutex::default(),
            per_tenant: limits.queries_per_tenant_max.max(1),
        })
    }

    /// Run on the lake's threads.
    pub(crate) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        Task(self.handle.spawn(work))
    }

    /// Wait for a turn, at most so long.
    pub(crate) async fn turn(&self, scope: &Scope, patience: Duration) -> Result<Turn, AskError> {
        let key = match scope {
            Scope::Tenant(tenant) => tenant.to_string(),
            // Whoever may see several tenants asks on the provider's account.
            Scope::Provider | Scope::Tenants(_) => String::new(),
        };
        let own = {
            let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
            if each.len() > 4_096 {
                each.retain(|_, own| Arc::strong_count(own) > 1);
            }
            Arc::clone(each.entry(key).or_insert_with(|| Arc::new(Semaphore::new(self.per_tenant))))
        };
        let both = async {
            let own = own.acquire_owned().await.ok()?;
            let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Turn { _own: own, _all: all })
        };
        let turn = tokio::time::timeout(patience, both).await;
        turn.ok().flatten().ok_or(AskError::Busy { most: self.per_tenant })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // A runtime may not be dropped where another one runs.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

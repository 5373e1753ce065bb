//! What every face shares: the door, the bounds, and the one way to put a call through it.

use crate::route::{RouteConflict, Routes};
use crate::{Config, host::HostList};
use api::{Attempt, Call, Credential, Door, Future, Origin, Problem, ProblemKind, Reply};
use bytes::Bytes;
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

/// The operation that stands for another one, named in its input. It is a face: decision, digest and record are the
/// inner operation's.
const CALL_OPERATION: &str = "operation.call";

/// What the faces need besides the door; the composition root has it.
pub trait Hooks: Send + Sync {
    /// Where the present comes from.
    fn clock(&self) -> &dyn ids::Clock;

    /// Where request ids come from.
    fn entropy(&self) -> &dyn ids::Entropy;

    /// Whether calls can be served now; otherwise what is missing, safe to show to anyone.
    fn ready(&self) -> Future<'_, Result<(), String>>;

    /// The metrics in the Prometheus text format, for who may read them.
    ///
    /// # Errors
    /// A problem where the credential is missing or not enough.
    fn metrics<'a>(
        &'a self,
        credential: Option<&'a Credential>,
        origin: &'a Origin,
    ) -> Future<'a, Result<String, Problem>>;

    /// Told of each request when its answer's head is ready.
    fn observed(&self, _seen: &Observed<'_>) {}
}

/// One request, as metrics want it: a bounded set of labels.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The HTTP method; `OTHER` where it is none that an operation can have.
    pub method: &'a str,
    /// The operation's id, the name of a fixed route (`healthz`, `mcp`, ...), or `-` where there is none.
    pub operation: &'a str,
    /// The HTTP status.
    pub status: u16,
    /// From the request's head to the answer's.
    pub duration: Duration,
}

/// The state behind all faces of one server.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) door: Arc<dyn Door>,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) routes: Routes,
    pub(crate) hosts: HostList,
    openapi: OnceLock<Bytes>,
    pub(crate) tasks: TaskTracker,
    /// Terminals that wait for their person.
    pub(crate) devices: crate::oauth::Devices,
    permits: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn new(config: Config, door: Arc<dyn Door>, hooks: Arc<dyn Hooks>) -> Result<Self, RouteConflict> {
        let routes = Routes::of(door.specs())?;
        let hosts = HostList::of(&config);
        let permits = Arc::new(Semaphore::new(config.limits.calls_max.min(Semaphore::MAX_PERMITS)));
        Ok(Self {
            config,
            door,
            hooks,
            routes,
            hosts,
            openapi: OnceLock::new(),
            tasks: TaskTracker::new(),
            devices: crate::oauth::Devices::default(),
            permits,
        })
    }

    /// The OpenAPI document; made when first asked for, since making it takes more memory than all else at rest.
    pub(crate) fn openapi(&self) -> Bytes {
        self.openapi.get_or_init(|| Bytes::from(api::openapi::text(self.door.specs()))).clone()
    }

    /// A fresh request id.
    pub(crate) fn request_id(&self) -> String {
        let mut bytes = [0; 12];
        self.hooks.entropy().fill(&mut bytes);
        let mut id = String::with_capacity(28);
        id.push_str("req_");
        for byte in bytes {
            let digits = [byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            id.extend(digits);
        }
        id
    }

    /// A place among the calls under way.
    pub(crate) fn permit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.permits.clone().try_acquire_owned().map_err(|_| Problem {
            retry_after_secs: Some(1),
            ..Problem::new(ProblemKind::Overloaded, "too many calls are under way; try again in a second")
        })
    }

    /// Put a call through the door. It runs in a task of its own: a client that hangs up, or a time limit, ends the
    /// wait and never the call, so that nothing is ever half done.
    pub(crate) async fn put(&self, call: Call, permit: OwnedSemaphorePermit) -> Reply {
        let call = if call.operation == CALL_OPERATION {
            let (credential, origin) = (call.credential.clone(), call.origin.clone());
            match self.unwrapped(call) {
                Ok(call) => call,
                Err(problem) => {
                    let attempt = Attempt { operation: Some(CALL_OPERATION), credential, origin, problem };
                    return Reply::Refused(self.door.refused(attempt).await);
                }
            }
        } else {
            call
        };
        let door = self.door.clone();
        let request_id = call.origin.request_id.clone();
        let running = self.tasks.spawn(async move {
            let reply = door.call(call).await;
            drop(permit);
            reply
        });
        match tokio::time::timeout(self.config.limits.request_timeout, running).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => {
                tracing::error!(%request_id, %error, "a call panicked");
                Reply::Refused(Problem::internal())
            }
            Err(_) => Reply::Refused(timed_out()),
        }
    }

    /// The inner call of an `operation.call`.
    fn unwrapped(&self, mut call: Call) -> Result<Call, Problem> {
        let Some(spec) = self.door.spec(CALL_OPERATION) else { return Ok(call) };
        spec.validate(&call.input)?;
        let inner = call.input.get("operation").and_then(Value::as_str).map(str::to_owned);
        let inner = inner.ok_or_else(|| Problem::fault("/operation", "is missing; name an operation"))?;
        if inner == CALL_OPERATION {
            return Err(Problem::fault("/operation", "names itself; name the operation that is meant"));
        }
        let input = call.input.get_mut("input").map_or_else(|| Value::Object(serde_json::Map::new()), Value::take);
        Ok(Call { operation: inner, input, ..call })
    }
}

/// The answer where a time limit ended the wait.
pub(crate) fn timed_out() -> Problem {
    Problem::new(
        ProblemKind::Timeout,
        "the answer took too long; the call may still be carried out: repeat it with the same `Idempotency-Key`",
    )
}

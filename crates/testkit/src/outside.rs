//! A world outside that tests can watch: an operation that sends a text through the outbox, and the courier that carries it.

use api::{Gone, Meta, Method, Operation};
use control::{Admitted, Control, Courier, Dispatch, Handle, Look, Outcome, Parcel, Refusal, Registry, Target};
use ids::{TenantId, Text};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use store::{Changes, Store};
use tokio::sync::Semaphore;

/// Send a text to the outside. For tests.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionSend {
    /// In which tenant.
    pub tenant: TenantId,
    /// What to send.
    pub text: Text<100>,
    /// Whether the target notices a second delivery.
    #[serde(default)]
    pub idempotent: bool,
}

impl Operation for ActionSend {
    type Output = Gone;
    const META: Meta = Meta::respond("action.send", Method::Post, "/v1/actions/send", "Tenant");

    fn example() -> Value {
        json!({ "tenant": TenantId::derive(&[b"example"]), "text": "hello" })
    }
}

impl Handle<ActionSend> for Control {
    async fn resolve(&self, _: &Look<'_>, input: &ActionSend) -> Result<Target, Refusal> {
        Ok(Target::tenant(input.tenant))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ActionSend) -> Result<Outcome<Gone>, Refusal> {
        let mut changes = Changes::new();
        let dispatch = Dispatch {
            channel: Outside::CHANNEL,
            lane: input.tenant.to_string(),
            body: json!({ "text": input.text }),
            idempotent: input.idempotent,
            attempts_max: 2,
        };
        admitted.send(&mut changes, vec![dispatch])?;
        Ok(Outcome::changed(Gone { id: admitted.call.to_string() }, changes))
    }
}

/// The platform's operations and [`ActionSend`].
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::platform();
    registry.add::<ActionSend>();
    registry
}

/// What arrived outside, with how many records its call had at that moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrived {
    /// The parcel.
    pub parcel: Parcel,
    /// Which records of the call were there: its intent is 0.
    pub parts: Vec<Value>,
}

/// The other side of the channel. It takes a parcel for each permit that the test gives.
pub struct Outside {
    store: Store,
    /// How many parcels it may take.
    pub permits: Semaphore,
    arrived: Mutex<Vec<Arrived>>,
}

impl Outside {
    /// The channel.
    pub const CHANNEL: &'static str = "outside";

    /// An outside that takes this many parcels.
    #[must_use]
    pub fn taking(store: Store, permits: usize) -> Arc<Self> {
        Arc::new(Self { store, permits: Semaphore::new(permits), arrived: Mutex::default() })
    }

    /// What arrived so far.
    #[must_use]
    pub fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Courier for Outside {
    fn channel(&self) -> &'static str {
        Self::CHANNEL
    }

    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> api::Future<'a, store::Outcome> {
        Box::pin(async move {
            let Ok(permit) = self.permits.acquire().await else {
                return store::Outcome::Failed { detail: "nobody is there".to_owned() };
            };
            permit.forget();
            let leaves = self.store.snapshot(ids::Scope::Provider).leaves_of(parcel.call).await.unwrap_or_default();
            let parts = leaves.iter().map(|leaf| serde_json::from_slice(&leaf.leaf).unwrap_or_default()).collect();
            let arrived = Arrived { parcel: parcel.clone(), parts };
            self.arrived.lock().unwrap_or_else(PoisonError::into_inner).push(arrived);
            store::Outcome::Sent { detail: "accepted".to_owned() }
        })
    }
}

//! Tenants that leave: how far the erasure is, and its certificate. Kept for ever, the provider's. Holds no more of the tenant
//! than its id and counts.

use crate::{Key, Resource};
use ids::{JobId, Owner, Principal, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far an erasure is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OffboardingStage {
    /// Documents, rows and keys go.
    Erasing,
    /// Files were taken out of the lake at this time; questions may still read them.
    Waiting(Timestamp),
    /// Their removal was asked for at this time.
    Removing(Timestamp),
    /// Nothing is left; the certificate is made.
    Done,
}

/// The erasure of one tenant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Offboarding {
    /// Whose data.
    pub tenant: TenantId,
    /// The job that does it.
    pub job: JobId,
    /// Who asked.
    pub asked_by: Principal,
    /// Who approved.
    pub approved_by: Vec<Principal>,
    /// Why.
    pub reason: String,
    /// How far it is.
    pub stage: OffboardingStage,
    /// How much of each kind went.
    pub erased: BTreeMap<String, u64>,
    /// Whether its key was destroyed.
    pub key_destroyed: bool,
    /// When it was asked for.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The certificate: a signed note.
    pub certificate: Option<String>,
}

impl Resource for Offboarding {
    const KIND: &'static str = "offboarding";
    fn id(&self) -> String {
        self.tenant.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Provider
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}

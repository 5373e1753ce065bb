//! Changes of the audit log's key: public, kept for ever, needed by every export.

use crate::{Key, Resource};
use ids::{Owner, Timestamp};
use serde::{Deserialize, Serialize};

/// One change of key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyRotation {
    /// Its number, from 1.
    pub number: u32,
    /// The note that both keys signed.
    pub note: String,
    /// When.
    pub made_at: Timestamp,
}

impl Resource for KeyRotation {
    const KIND: &'static str = "key_rotation";
    fn id(&self) -> String {
        // Lists are ordered by it.
        format!("{:010}", self.number)
    }
    fn owner(&self) -> Owner {
        Owner::Provider
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}

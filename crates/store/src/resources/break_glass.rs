//! Roles that people took for a while in an emergency.

use crate::{Key, Resource, sortable};
use ids::{BreakGlassId, CaseId, Owner, Principal, TenantId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// What somebody said of it afterwards.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GlassReview {
    /// Who.
    pub by: UserId,
    /// When.
    pub at: Timestamp,
    /// Whether it was right.
    pub justified: bool,
    /// What was found.
    pub comment: String,
}

/// A role taken for a while.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BreakGlass {
    /// Its id.
    pub id: BreakGlassId,
    /// The tenant in which the role counts.
    pub tenant: TenantId,
    /// Who took it.
    pub person: UserId,
    /// A role's id, or a shipped role's name.
    pub role: String,
    /// Why.
    pub reason: String,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// When it was closed before that.
    pub closed_at: Option<Timestamp>,
    /// Who closed it; none where it ended by itself.
    pub closed_by: Option<Principal>,
    /// The case that tells of it.
    pub case: CaseId,
    /// What was said of it afterwards.
    pub review: Option<GlassReview>,
}

impl BreakGlass {
    /// When the role ceases to count.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.closed_at.map_or(self.expires_at, |closed| closed.min(self.expires_at))
    }
}

impl Resource for BreakGlass {
    const KIND: &'static str = "break_glass";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        let reviewed = if self.review.is_some() { "yes" } else { "no" };
        let mut keys = vec![Key::lookup("reviewed", reviewed)];
        // Who reads what somebody holds looks at what may still count, and at nothing else.
        if self.closed_at.is_none() && self.review.is_none() {
            keys.push(Key::lookup("holder", self.person.to_string()));
            keys.push(Key::lookup("ends", sortable(self.expires_at)));
        }
        keys
    }
}

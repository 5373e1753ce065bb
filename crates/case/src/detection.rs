//! A detection as cases see it: what was found, when, where, and what it speaks of.

use crate::{Entity, EntityKind};
use ids::{DetectionId, EventId, RuleId, Severity, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// A field that a rule looked at, with what stood in it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Matched {
    /// The field.
    pub field: String,
    /// The values, shortened.
    pub values: Vec<String>,
}

/// What a rule found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Its id, the same when the events are read again.
    pub id: DetectionId,
    /// Whose.
    pub tenant: TenantId,
    /// The rule, where it is one of this installation.
    pub rule: Option<RuleId>,
    /// The rule's own id.
    pub rule_uid: String,
    /// What it says.
    pub title: String,
    /// How grave.
    pub severity: Severity,
    /// ATT&CK techniques, for example `T1059.001`.
    pub techniques: Vec<String>,
    /// The finding's row in the lake, where it is known.
    pub event: Option<EventId>,
    /// The events that it rests on.
    pub events: Vec<EventId>,
    /// When the last of them happened.
    pub time: Timestamp,
    /// When it was found.
    pub found_at: Timestamp,
    /// What they speak of.
    pub entities: Vec<Entity>,
    /// What the rule looked at.
    pub matched: Vec<Matched>,
}

impl Detection {
    /// The host, where there is one: the first that is named.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.entities.iter().find(|entity| entity.kind() == EntityKind::Host).map(Entity::value)
    }
}

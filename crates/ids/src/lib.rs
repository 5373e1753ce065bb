//! Typed ids, scope, principal, time, severity and bounded text: the words every other crate speaks.
//!
//! Sole owner of the id format. Does no I/O, holds no clock and no source of randomness: both are passed in
//! through [`Clock`] and [`Entropy`]. Everything here is parsed once at the edge and then trusted.

mod base32;
mod event_id;
mod id;
mod principal;
mod scope;
mod severity;
mod text;
mod time;

pub use event_id::EventId;
pub use id::{
    ActionId, AgentId, ApprovalId, AssignmentId, BreakGlassId, CallId, CaseId, CommentId, CredentialId, DetectionId,
    EvidenceId, JobId, KillSwitchId, LockdownId, MissionId, ParseIdError, PolicyId, QueryResultId, RoleId,
    RuleExceptionId, RuleId, RulePackId, RunId, SensorId, SensorTaskId, ServiceKeyId, TaskId, TenantId, UserId,
    WebhookId,
};
pub use principal::{Principal, PrincipalKind};
pub use scope::{Owner, Scope};
pub use severity::Severity;
pub use text::{List, Text, TooLong};
pub use time::{Clock, ParseTimestampError, Timestamp};

/// Where random bytes come from. Passed in, so that tests and the simulation are seeded.
pub trait Entropy: Send + Sync {
    /// Fill `buffer` with bytes that nobody can predict.
    fn fill(&self, buffer: &mut [u8]);
}

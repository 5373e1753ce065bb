//! The documents that the platform itself keeps, one module for each resource. Plain data: the rules about them are
//! `control`'s, the wire forms are `api`'s. A field may be added with a default; none may change its meaning.

mod agent;
mod approval;
mod break_glass;
mod case;
mod connector;
mod credential;
mod deputy;
mod external_table;
mod grant;
mod key_rotation;
mod kill_switch;
mod lockdown;
mod offboarding;
mod policy;
mod recertification;
mod retention;
mod role;
mod rule;
mod run;
mod saved_query;
mod secret;
mod sensor;
mod service_key;
mod skill;
mod source;
mod source_bucket;
mod tenant;
mod user;
mod webhook;

pub use agent::{Agent, AgentState};
pub use approval::{Approval, ApprovalState, Caller, Escalation, Vote};
pub use break_glass::{BreakGlass, GlassReview};
pub use case::{
    Case, CaseComment, CaseDetection, CaseEntity, CaseEntry, CaseEvidence, CaseMark, CaseTask, Conclusion,
    EntityVerdict, Exhibit, Made,
};
pub use connector::Connector;
pub use credential::{Credential, CredentialKind};
pub use deputy::Deputy;
pub use external_table::ExternalTable;
pub use grant::Grant;
pub use key_rotation::KeyRotation;
pub use kill_switch::{KillSwitch, KillTarget};
pub use lockdown::Lockdown;
pub use offboarding::{Offboarding, OffboardingStage};
pub use policy::{Policy, PolicyState, PolicyVersion};
pub use recertification::Recertification;
pub use retention::{Hold, Retention};
pub use role::{Assignment, Role};
pub use rule::{Rule, RuleException, RulePack, RulePackAssignment, RulePackRule, RuleState, RuleVersion};
pub use run::{Run, RunLines, RunState, RunTaint};
pub use saved_query::{QueryClock, QueryResult, QueryRun, QuerySchedule, SavedQuery};
pub use secret::SealedSecret;
pub use sensor::{
    ActionEnd, ActionOutcome, ActionState, CollectedChunk, ConnectorCall, ResponseAction, Sensor, SensorState,
};
pub use service_key::ServiceKey;
pub use skill::{AgentDefinition, Skill};
pub use source::{IngestKey, Source};
pub use source_bucket::{BucketState, PulledObject, SourceBucket};
pub use tenant::{Tenant, TenantState};
pub use user::{Totp, User, UserState};
pub use webhook::{Webhook, WebhookDelivery};

//! Agents without their effects: definitions, skills, playbooks and the machine that runs them.
//!
//! Pure: no I/O, no clock, no randomness, nothing is spawned. Whoever drives a run performs the [`Command`]s that it gives
//! and tells it [`Entry`]s, which are the journal: the same entries make the same run again. Must never hold a credential
//! or decide what a run may do: that is the gate's.

mod charter;
mod conversation;
mod definition;
mod fault;
mod model;
mod playbook;
mod run;
mod skill;
mod tool_call;
mod tools;

pub use charter::Charter;
pub use conversation::{ConversationPlan, FINISH};
pub use definition::{
    Autonomy, AutonomyLevel, Budgets, CaseEvent, Definition, DetectionFilter, TenantSelector, Trigger,
};
pub use fault::Fault;
pub use model::{
    Allowance, Answer, ChatRequest, Message, Model, ModelError, Piece, Pieces, Role, StopReason, Unanswered, Usage,
    ask, collect, tokens_estimate,
};
pub use playbook::{Expression, ExpressionError, Playbook, Reason, Score};
pub use run::{
    Budget, Command, Ending, Entry, JOURNAL_VERSION, JournalError, JournalLine, Plan, Procedure, Run, RunError, Spent,
    idempotency_key,
};
pub use skill::{Skill, SkillError, SkillFile, TrustedKey, digest_of_files};
pub use tool_call::{ToolCall, calls_in_text};
pub use tools::{Effect, OperationSet, Outcome, ToolSpec, Tools, Toolset};

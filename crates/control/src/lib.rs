//! The gate and the handlers: every request of a principal passes authenticate, validate, resolve, decide, handle and
//! commit here, and there is no second way in.
//!
//! A handler reads from a snapshot and returns what should change; it cannot write. Only [`gate`] commits, and only
//! together with the record of the call. Faces see nothing of this crate but [`Control`] as an [`api::Door`].

mod admission;
mod approvals;
mod asking;
mod attempts;
mod authenticate;
mod case_facts;
mod catalogue;
mod charter_outside;
mod config;
mod context;
mod courier;
mod cursor;
mod decide;
mod door;
mod freshness;
mod gate;
mod identity;
mod ingest;
mod kill;
mod masking;
mod narrow;
mod offline;
mod open;
mod outcome;
mod purge;
mod rate;
mod reconcile;
mod record;
mod refusal;
mod registry;
mod sequencer;
mod settings;
mod sign_in;
mod signing;
mod simulate;
mod target;

mod action;
mod agent;
mod approval;
mod audit_log;
mod cases;
mod detection;
mod entity;
mod event;
mod job;
mod kill_switch;
mod lake;
mod me;
mod pack;
mod policies;
mod policy_questions;
mod role;
mod rule;
mod rule_exception;
mod rule_import;
mod rule_live;
mod rule_questions;
mod rule_text;
mod runs;
mod sensor;
mod service_key;
mod source;
mod system;
mod tenant;
mod user;

pub use admission::{Admitted, Look};
pub use cases::{ObserveError, finding};
pub use context::Control;
pub use courier::{Courier, Dispatch, Parcel};
pub use identity::Identity;
pub use offline::Offline;
pub use open::{OpenError, Opened, Running};
pub use outcome::Outcome;
pub use refusal::Refusal;
pub use registry::{Handle, Registry};
pub use settings::{QuestionLimits, Rate, Settings};
pub use target::Target;

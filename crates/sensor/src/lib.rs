//! The sensor: sees what happens on a Linux host and carries out tasks that the platform signed. It sees by eBPF and
//! fanotify, keeps what it saw on disk until the platform has it, and speaks to nobody but its platform.
//!
//! It must never act on a task that its platform did not sign for it, never act on a bare process number, and never lose
//! an event without counting it. It trusts nothing that it reads from processes: their names, arguments and files are data.
//!
//! - [`Local`]: telemetry alone, handed to a closure.
//! - [`enrol`], [`run`], [`status`]: the service.
//! - [`wire`]: what sensor and platform say to each other.
//! - [`kill`] and [`Isolation`]: what response does, for whoever responds without a platform.

mod enrich;
mod hash;
mod identity;
mod lineage;
pub mod observation;
mod platform;
mod proc;
pub mod record;
mod run;
pub mod source;
mod spool;
mod state;
mod task;
mod telemetry;
mod uplink;
mod users;
pub mod wire;

pub use identity::{ParseGuidError, ProcessGuid, ProcessKey};
pub use lineage::Lineage;
pub use platform::PlatformError;
pub use proc::boot_id;
pub use record::Record;
pub use run::{Config, RunError, Status, enrol, run, run_with, status};
pub use spool::SpoolError;
pub use state::{StateError, host_facts};
pub use task::isolate::{Firewall, Isolation, IsolationError};
pub use task::{Disbelief, KillRefusal, KillReport, Victim, believe, kill, kill_line};
pub use telemetry::{Choice, Local, SourceHealth, TelemetryError, TelemetryOptions};

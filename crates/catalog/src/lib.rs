//! Which files make up the lake's table: snapshots, statistics, filters, cursors, entity counts, holds.
//!
//! The words, the rules and the commit trait; `store` keeps them in a database, [`Memory`] in a process. Planning
//! (compaction, retention, erasing) is pure: state and rules in, work out. It must never do I/O, hold a clock, or know
//! what stands in a file beyond its statistics.

mod change;
mod compact;
mod contract;
mod entity;
mod file;
mod hold;
mod memory;
mod retain;
mod state;
mod table;

pub use change::{Change, Committed, Intent, Refused};
pub use compact::{Compaction, CompactionOptions, plan_compaction, plan_everything};
pub use contract::{Answer, Catalog, CatalogError, Pruned, Scheduled};
pub use entity::{ENTITY_BYTES_MAX, EntityCount, EntityKind, Prevalence, UnknownEntityKind};
pub use file::{ColumnStats, Day, File, FileId, LEVEL_DAY, LEVEL_FLUSH, LEVEL_HOUR, NewFile, RowGroup, time_text};
pub use hold::Hold;
pub use memory::Memory;
pub use retain::{Removal, Retention, Rewrite, plan_erase, plan_retention};
pub use state::State;
pub use table::{Column, ColumnKind, Table, TableError};

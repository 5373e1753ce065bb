//! The lake: telemetry as Arrow in memory and Parquet on disk, one logical table, SQL and search over both.
//!
//! Sole owner of DataFusion. [`Writer`] takes rows in, [`Lake`] answers questions within a decided [`ids::Scope`]. What a
//! question sees is one immutable snapshot of files and hot batches. Must never decide who may ask, never sync a disk by
//! itself (it is given the call), and never let a query's text choose a tenant, a file or a setting.

mod answer;
mod ask;
mod cache;
mod entity;
mod error;
mod estimate;
mod explore;
mod export;
mod external;
mod external_files;
mod fence;
mod filter;
mod filters;
mod find;
mod folder;
mod functions;
mod guard;
mod hot;
mod json;
mod lake;
mod observable;
mod provider;
mod prune;
mod reader;
mod regular;
mod rewrite;
mod row;
mod runtime;
mod scan;
mod schema;
mod search;
mod session;
mod snapshot;
mod sums;
mod tail;
mod tree;
mod write;
mod writer;

pub use answer::{Answer, AnswerColumn, Cut, Provenance, rows_of};
pub use ask::{Ask, AskError, Batches, Limits};
pub use entity::{normalise_command, parent_child};
pub use error::LakeError;
pub use explore::{Estimate, FieldSeen, Fields, Part};
pub use export::{ExportError, Format, UnknownFormat, export};
pub use external::{ExternalColumn, ExternalKind, ExternalSeen, ExternalTable};
pub use external_files::{ExternalFault, ExternalFolder};
pub use find::{Page, Search};
pub use folder::SyncPath;
pub use guard::SQL_BYTES_MAX;
pub use hot::Chunk;
pub use lake::{Lake, Options, Size};
pub use observable::{KINDS, kind_named};
pub use rewrite::Rewritten;
pub use row::Row;
pub use scan::{Needed, Records, Scan, Scanned, Scanning, Slice};
pub use schema::{DETECTION_CLASS, table};
pub use tail::{Arrived, Tail};
pub use tree::{ProcessForest, ProcessNode, ProcessTree};
pub use writer::{Flush, Flushed, HotSize, Writer};

pub(crate) use schema::HEAD;

//! Append-only framed log on disk: what it acknowledges is durable, and nothing that it lost is lost in silence.
//!
//! Sole owner of fsync. The pipeline's log, the sensor's spool and the store's files sit on it. It must never
//! acknowledge before a completed sync that covers the entry, never retry a failed sync, never skip a damaged
//! frame without saying so, and never interpret a payload.
//!
//! - [`Journal`]: many appenders, one writer thread, one `fdatasync` per group; an append returns a [`Ticket`].
//! - [`Writer`]: the blocking core below it, for whoever has a thread of its own.
//! - [`Reader`]: replay and tail from a [`Position`]; damage is an item, not a silence.
//! - [`Disk`]: every file operation goes through it; [`sim`] is one that forgets, tears and fails by a seed.
//! - [`write_whole`]: one small file, old or new and never between.
//!
//! The format is described in `spec/journal/README.md` and pinned by a golden segment for each version.

mod cause;
mod disk;
mod entry;
mod frame;
mod header;
mod journal;
mod reader;
mod recover;
mod scan;
mod segment;
pub mod sim;
mod ticket;
mod window;
mod writer;

pub use cause::{AppendError, Cause, OpenError, ReadError};
pub use disk::{Disk, DiskFile, Folder, sync_path, write_whole};
pub use entry::{BatchId, Entry, Options, Position, Receipt};
pub use header::VERSION;
pub use journal::{Journal, Status, Tail};
pub use reader::{Frame, Item, Reader, Retained};
pub use recover::{Damage, Recovery, Torn};
pub use ticket::Ticket;
pub use writer::Writer;

//! Telemetry as Posse sees it: one SIMD parse of a raw record ([`Parser`], [`View`]), field paths, readers of the
//! formats that sources write, the OCSF tables, and the mappings that turn a source's record into an OCSF event.
//!
//! Sole owner of source formats. Pure: bytes in, records out; opens no file, no socket, holds no clock.

pub mod mapping;
pub mod ocsf;
mod path;
pub mod read;
mod scalar;
mod view;

pub use path::{FieldPath, FieldPathFault};
pub use scalar::Scalar;
pub use view::{DEPTH_MAX, Elements, Item, Kind, Leaves, Members, ParseFault, Parser, RECORD_BYTES_MAX, View};

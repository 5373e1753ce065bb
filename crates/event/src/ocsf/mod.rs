//! OCSF: the schema as a compact table, and the check of events against it.
//!
//! `table.txt` is compiled from the schema source by `cargo run -p xtask -- ocsf FOLDER` and never edited by hand.

mod schema;
mod validate;

pub use schema::{Attribute, Class, Constraint, Entry, Requirement, Schema};
pub use validate::{OcsfFault, OcsfFaultKind};

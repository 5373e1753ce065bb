//! The lake as its users see it: a folder, a catalog in memory, events from `spec/lake`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may fail loudly")]

mod attack;
mod bed;
mod crash;
mod equal;
mod explore;
mod external;
mod isolation;
mod search;
mod sql;

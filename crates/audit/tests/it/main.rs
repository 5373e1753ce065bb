//! Tests of the formats: known vectors, another implementation as oracle, golden folders, tampering.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod evidence;
mod export;
mod fixture;
mod golden;
mod mutation;
mod notes;
mod oracle;
mod records;
mod rotations;
mod tamper;
mod total;
mod tree;

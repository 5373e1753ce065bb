//! Models against a server of our own on this machine: both wires, failures of every kind, bounds.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod answers;
mod budgets;
mod configuration;
mod failures;
mod fake;
mod requests;

//! Models against a server of our own on this machine: both wires, failures of every kind, bounds.

mod answers;
mod budgets;
mod configuration;
mod failures;
mod fake;
mod requests;

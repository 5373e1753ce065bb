//! The decision point from outside: corpus, schema, faults, roles, differences.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by failing")]

mod compile;
mod corpus;
mod inputs;
mod roles;
mod schema;

//! The gate from outside: real calls over HTTP to a server in process, judged by what was answered, by what the state
//! holds afterwards, and by what is on the record. State is `SQLite`; a `PostgreSQL` where `POSSE_TEST_POSTGRES_URL` is
//! set (`script/postgres -- cargo nextest run -p control`).
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod aarm;
mod actions;
mod adversary;
mod approvals;
mod audit_wide;
mod break_glass;
mod buckets;
mod cases;
mod connectors;
mod effects;
mod faces;
mod golden;
mod grants;
mod ingest;
mod kill_switch;
mod leaks;
mod limits;
mod livable;
mod lockdown;
mod matrix;
mod models;
mod offboard;
mod oidc;
mod outcomes;
mod people;
mod proofs;
mod races;
mod recertification;
mod record;
mod replay;
mod rules;
mod runs;
mod saved_queries;
mod simulate;
mod standing;
mod triggers;
mod webhooks;

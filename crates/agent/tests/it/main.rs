//! Tests of the crate through its public face; the cases are data under `spec/agent`.

mod bed;
mod crash;
mod models;
mod runs;
mod skills;

//! The binary, run as scripts run it: `posse evaluate` on a small recording of our own and on calls that somebody was talked
//! into; `posse demo` as this machine allows.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod demo;
mod evaluate;

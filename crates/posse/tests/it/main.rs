//! The binary, run as scripts run it: `posse evaluate` on a small recording of our own and on calls that somebody was talked
//! into.
#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod evaluate;

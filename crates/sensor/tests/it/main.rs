//! The sensor on a real kernel. Tests that need root or eBPF say so and pass where they cannot run.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests stop at the first surprise")]

mod detect;
mod platform;
mod response;
mod rig;
mod service;
mod telemetry;

//! Sigma detection: parse, check, compile, match and correlate. State and events in, detections out.
//!
//! Does no I/O, reads no clock, starts nothing: callers bring texts and events and take what comes back.
//! Two evaluators live here on purpose: [`reference`] is slow, plain and obviously right; the engine is fast and
//! must agree with it on every event.

pub mod correlate;
pub mod engine;
pub mod export;
pub mod fold;
pub mod indicator;
pub mod lint;
pub mod live;
pub mod offline;
pub mod profile;
pub mod reference;
pub mod shipped;
pub mod sigma;
pub mod value;
pub mod yaml;

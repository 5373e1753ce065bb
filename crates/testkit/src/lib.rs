//! What tests share and nothing ships.

pub mod conformance;

//! What tests share and nothing ships.
#![expect(clippy::indexing_slicing, reason = "a test whose answer lacks a field ends right there, with the place")]

pub mod cast;
pub mod clock;
pub mod conformance;
pub mod dump;
pub mod http;
pub mod openid;
pub mod outside;
pub mod platform;
pub mod provider;
pub mod recorder;
pub mod service;

pub use cast::{Cast, Place};
pub use clock::HandClock;
pub use dump::Dump;
pub use http::{Answer, Request};
pub use platform::{Platform, SyslogProtocol, settings};
pub use provider::{Provider, Say};
pub use recorder::{Reached, Recorder};
pub use service::{Heard, Service};

//! The faces against a scripted door, over real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod door;
mod http;
mod limits;
mod mcp;
mod openapi;
mod transport;

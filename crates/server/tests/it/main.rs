//! The faces against a scripted door, over real sockets.

mod door;
mod http;
mod limits;
mod mcp;
mod openapi;

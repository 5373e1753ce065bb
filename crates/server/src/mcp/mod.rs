//! The MCP face at `/mcp`: operations as tools, over streamable HTTP, in both protocol eras (sessions up to 2025-11-25,
//! stateless from 2026-07-28).
//!
//! A bearer is judged by the door on every HTTP request, sessions included; a session never carries rights. Tools are
//! operations and nothing else, save what a test kit plugs in as an [`Extension`].

mod extension;
mod handler;
mod mount;
mod sessions;
mod tasks;
mod tools;

pub use extension::Extension;
pub(crate) use mount::McpFace;
/// The library whose types an [`Extension`] speaks.
pub use rmcp;

//! The faces: sockets, HTTP and MCP. They turn requests into [`api::Call`]s, hand them to the one [`api::Door`], and
//! render what comes back.
//!
//! Sole owner of HTTP serving. No logic and no rights: nothing here decides whether a call may happen, and there is no
//! route that reaches anything but through the door, save the four named in [`exempt`](self): health, readiness,
//! metrics and the API's own description. Shippers reach the door's intake, which judges their keys.

mod config;
mod exempt;
mod face;
mod host;
mod http_face;
mod ingest;
pub mod mcp;
mod oauth;
mod request;
mod response;
mod route;
mod serve;
mod syslog;
mod tail;

pub use config::{Config, Limits, McpConfig, Syslog, SyslogProtocol, Tls};
pub use face::{Hooks, Observed};
pub use route::RouteConflict;
pub use serve::{ServeError, Server};

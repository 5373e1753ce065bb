//! Outbound HTTP, the only way out of the platform. Sole owner of the HTTP client.
//!
//! Every destination is named beforehand in a [`Policy`]; the addresses that a name resolves to are checked before a
//! connection is made (a name that points inwards must not lead inwards); answers are bounded in bytes and time.
//! TLS is rustls with the ring provider passed in; no global is set. Proxies named by the environment are not used:
//! behind one, the address check would judge the proxy and not the destination. Never retries: the caller knows
//! whether a request may be sent twice.

mod address;
mod client;
mod destination;
mod failure;

pub use address::is_public;
pub use client::{Answer, Client};
pub use destination::{Destination, Policy, Scheme};
pub use failure::Failure;

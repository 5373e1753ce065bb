//! What can go wrong on the way out. Texts name the destination, never a header or a body.

use std::net::IpAddr;
use thiserror::Error;

/// Why a request got no answer.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum Failure {
    /// The name leads to an address that this destination may not have.
    #[error(
        "`{host}` leads to {address}, which is not a public address; allow private addresses for it if this is meant"
    )]
    AddressNotAllowed {
        /// The destination's name.
        host: String,
        /// The first such address.
        address: IpAddr,
    },
    /// The answer ended in the middle, or is not HTTP.
    #[error("the answer of `{host}` cannot be read")]
    BrokenAnswer {
        /// The destination's name.
        host: String,
    },
    /// The request itself is not one that can be sent.
    #[error("`{url}` is not an address to send to; write http://HOST:PORT or https://HOST")]
    InvalidRequest {
        /// What was given, at most 200 characters.
        url: String,
    },
    /// The policy does not have this destination.
    #[error("`{destination}` is not among the allowed destinations")]
    NotAllowed {
        /// Scheme, host and port.
        destination: String,
    },
    /// The client cannot be made: the machine's TLS set-up is broken.
    #[error("no client can be made: {0}")]
    Setup(String),
    /// The answer took longer than the policy allows.
    #[error("`{host}` did not answer in time")]
    Timeout {
        /// The destination's name.
        host: String,
    },
    /// The answer is larger than the policy allows.
    #[error("the answer of `{host}` is over {bytes_max} bytes")]
    TooLarge {
        /// The destination's name.
        host: String,
        /// The bound.
        bytes_max: usize,
    },
    /// One redirect more than the policy allows.
    #[error("`{host}` redirects too often or to where the policy does not allow")]
    TooManyRedirects {
        /// The destination's name.
        host: String,
    },
    /// No connection came about: refused, no route, or a certificate that is not trusted.
    #[error("cannot connect to `{host}`: {reason}")]
    Unreachable {
        /// The destination's name.
        host: String,
        /// What the system or the TLS library said.
        reason: String,
    },
    /// The name resolves to nothing.
    #[error("`{host}` has no address")]
    Unresolved {
        /// The destination's name.
        host: String,
    },
}

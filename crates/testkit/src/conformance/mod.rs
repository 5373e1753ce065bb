//! The server that the protocol's own conformance suite is run against: Posse's MCP face as it ships, with the
//! fixture tools that the suite asks for, and a door that knows no operation and admits everyone.
//!
//! The suite presents no token, so this door must not be the gate; it must never be wired into the product.

mod fixtures;
mod rounds;

pub use fixtures::Fixtures;

use api::{Call, Credential, Door, Future, Listing, Origin, Problem, Reply, Spec};
use seal::SystemEntropy;
use server::{Config, Hooks, ServeError, Server};
use std::net::SocketAddr;
use std::sync::Arc;

/// A door without operations, open to anyone.
struct OpenDoor;

impl Door for OpenDoor {
    fn specs(&self) -> &[Spec] {
        &[]
    }

    fn spec(&self, _: &str) -> Option<&Spec> {
        None
    }

    fn call(&self, _: Call) -> Future<'_, Reply> {
        Box::pin(async { Reply::Refused(Problem::not_found("operation")) })
    }

    fn listing<'a>(&'a self, _: Option<&'a Credential>, _: &'a Origin) -> Future<'a, Result<Listing, Problem>> {
        Box::pin(async { Ok(Listing::default()) })
    }
}

struct TestHooks(SystemEntropy);

impl ids::Clock for TestHooks {
    fn now(&self) -> ids::Timestamp {
        ids::Timestamp::default()
    }
}

impl Hooks for TestHooks {
    fn clock(&self) -> &dyn ids::Clock {
        self
    }

    fn entropy(&self) -> &dyn ids::Entropy {
        &self.0
    }

    fn ready(&self) -> Future<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn metrics<'a>(&'a self, _: Option<&'a Credential>, _: &'a Origin) -> Future<'a, Result<String, Problem>> {
        Box::pin(async { Ok("# EOF\n".to_owned()) })
    }
}

/// Bind the server with its fixtures.
///
/// # Errors
/// [`ServeError`].
pub async fn server(listen: SocketAddr) -> Result<Server, ServeError> {
    let fixtures = Arc::new(Fixtures::load());
    Server::bind_with(Config::at(listen), Arc::new(OpenDoor), Arc::new(TestHooks(SystemEntropy)), Some(fixtures)).await
}

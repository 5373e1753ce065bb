//! What a server is told once, at its start. Typed, with a default for everything but the address.

use crate::ServeError;
use ids::{TenantId, Text};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where to listen, as whom, and within which bounds.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How clients reach the server where that is not its own address, for example `https://soc.example.com`.
    pub public_url: Option<String>,
    /// Names that a `Host` may carry, besides the loopback names, IP addresses and the host of `public_url`. Any other
    /// is refused, so that a web page cannot reach the server through a name of its own (DNS rebinding).
    pub host_names: Vec<String>,
    /// Values of `Origin` that browsers may send, besides those whose host is allowed: `https://portal.example.com`.
    pub allowed_origins: Vec<String>,
    /// Issuers that the protected-resource metadata names (RFC 9728).
    pub authorization_servers: Vec<String>,
    /// Calls per second that one principal may make in the long run, as the gate enforces it; told in every answer.
    pub calls_per_second: u32,
    /// Bounds.
    pub limits: Limits,
    /// Serve TLS with this; plain where absent.
    pub tls: Option<Tls>,
    /// The Model Context Protocol.
    pub mcp: McpConfig,
    /// Where syslog is listened for.
    pub syslog: Vec<Syslog>,
}

impl Config {
    /// Everything by default, at this address.
    #[must_use]
    pub fn at(listen: SocketAddr) -> Self {
        Self {
            listen,
            public_url: None,
            host_names: Vec::new(),
            allowed_origins: Vec::new(),
            authorization_servers: Vec::new(),
            calls_per_second: 2_000,
            limits: Limits::default(),
            tls: None,
            mcp: McpConfig::default(),
            syslog: Vec::new(),
        }
    }
}

/// One syslog listener: everything that it hears belongs to one source of one tenant.
#[derive(Clone, Debug)]
pub struct Syslog {
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How senders connect.
    pub protocol: SyslogProtocol,
    /// Whose telemetry it is.
    pub tenant: TenantId,
    /// The tenant's source.
    pub source: Text<64>,
    /// Connections that may be open at once; one more waits in the kernel's queue.
    pub connections_max: usize,
    /// A connection that is silent for this long is closed.
    pub idle_timeout: Duration,
}

/// How syslog senders connect.
#[derive(Clone, Debug)]
pub enum SyslogProtocol {
    /// TCP, octet counting (RFC 6587) or a line each.
    Tcp,
    /// TCP with TLS (RFC 5425).
    Tls(Tls),
    /// UDP, a message in each datagram (RFC 5426).
    Udp,
}

/// Bounds on what comes from outside. What is over one is answered with a problem, never queued without end.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Greatest body, in bytes.
    pub body_bytes_max: usize,
    /// Calls that may be under way at once; one more is answered 503.
    pub calls_max: usize,
    /// Connections that may be open at once; one more waits in the kernel's queue.
    pub connections_max: usize,
    /// Time for a TLS handshake and for each request's head; also how long a connection may idle.
    pub head_timeout: Duration,
    /// Greatest request head, in bytes.
    pub head_bytes_max: usize,
    /// Requests under way at once on one HTTP/2 connection.
    pub http2_streams_max: u32,
    /// Time from the head of a request to the head of its answer.
    pub request_timeout: Duration,
    /// After the stop signal: time for what is under way to finish.
    pub shutdown_grace: Duration,
    /// Greatest request target (path and query), in bytes.
    pub target_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 1024 * 1024,
            calls_max: 512,
            connections_max: 4096,
            head_timeout: Duration::from_secs(10),
            head_bytes_max: 32 * 1024,
            http2_streams_max: 128,
            request_timeout: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(10),
            target_bytes_max: 8 * 1024,
        }
    }
}

/// What an investigation begins with: these stand before all other operations in a list of tools.
const TOOLS_FIRST: [&str; 21] = [
    "me.get",
    "tenant.list",
    "event.search",
    "event.query",
    "event.fields",
    "event.values",
    "event.histogram",
    "event.get",
    "event.process_tree",
    "event.tail",
    "entity.prevalence",
    "detection.list",
    "detection.get",
    "rule.list",
    "rule.get",
    "source.list",
    "source.health",
    "approval.list",
    "approval.get",
    "job.get",
    "policy.can_i",
];

/// How operations are shown over the Model Context Protocol.
#[derive(Clone, Debug)]
pub struct McpConfig {
    /// Tools in a list at most; `operation_search`, `_describe` and `_call` reach the rest.
    pub tools_max: usize,
    /// Operations that are listed before all others, by id.
    pub tools_first: Vec<String>,
    /// Greatest result of a tool before a list in it is cut, in bytes of JSON; about four to a token.
    pub result_bytes_max: usize,
    /// Sessions of the era before 2026-07-28 that may be open at once; one more is answered 503.
    pub sessions_max: usize,
    /// A session that is silent for this long ends.
    pub session_idle: Duration,
}

impl Default for McpConfig {
    fn default() -> Self {
        Self {
            tools_max: 40,
            tools_first: TOOLS_FIRST.map(str::to_owned).to_vec(),
            result_bytes_max: 40_000,
            sessions_max: 1024,
            session_idle: Duration::from_secs(300),
        }
    }
}

/// A certificate chain with its key, ready to serve.
#[derive(Clone)]
pub struct Tls(pub(crate) Arc<rustls::ServerConfig>);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(..)")
    }
}

impl Tls {
    /// From a chain (leaf first) and its private key, both PEM.
    ///
    /// # Errors
    /// [`ServeError::Tls`] where they cannot be read or do not fit each other.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, ServeError> {
        let wrong = |what: &str, error: &dyn std::fmt::Display| ServeError::Tls(format!("{what}: {error}"));
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong("the certificate chain is not PEM", &error))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong("the private key is not PEM", &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong("no protocol version", &error))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| wrong("certificate and key do not fit", &error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

//! What a face hands to the gate for a shipper: one request with an ingest key, or a listener's stream. Beside
//! [`crate::Door`], because a batch is no call: its key is judged, its records are counted, and nothing else follows.

use crate::{Credential, Delivered, Future, Problem, Protocol, SyslogStream};
use ids::{TenantId, Text};
use std::net::IpAddr;

/// One request of a shipper, before anything about it is believed.
#[derive(Clone, Debug)]
pub struct IngestRequest {
    /// How it speaks, told from the route.
    pub protocol: Protocol,
    /// The source in the path; none on routes that name none: then it is the key's.
    pub source: Option<String>,
    /// The ingest key, from whatever header its protocol uses.
    pub credential: Option<Credential>,
    /// The HTTP method, upper case.
    pub method: String,
    /// The path after what names the source; see [`crate::Delivery::path`].
    pub path: String,
    /// The query, decoded, in order.
    pub query: Vec<(String, String)>,
    /// The headers that protocols read; see [`crate::Delivery::headers`].
    pub headers: Vec<(&'static str, String)>,
    /// The peer.
    pub peer: Option<IpAddr>,
    /// How long the body says it is, in bytes.
    pub content_length: Option<u64>,
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyFault {
    /// The sender went away, or broke HTTP.
    Broken,
    /// It has more bytes than allowed.
    TooLarge,
}

/// A body that is read only once the key is found good.
pub trait IngestBody: Send {
    /// All of it, at most so many bytes.
    fn read(self: Box<Self>, bytes_max: u64) -> Future<'static, Result<Vec<u8>, BodyFault>>;
}

/// Where shippers deliver. `control` implements it.
pub trait Intake: Send + Sync {
    /// Judge the key, read the body, let the data plane take it, count it. Always answers in the protocol's shape.
    fn ingest(&self, request: IngestRequest, body: Box<dyn IngestBody>) -> Future<'_, Delivered>;

    /// Whether the data plane takes records: the answer to `GET /services/collector/health`.
    fn hec_health(&self) -> Delivered;

    /// A syslog connection, or a listener's datagrams, for a source that the server's configuration names.
    ///
    /// # Errors
    /// A problem where there is no such tenant or source, or it takes nothing now.
    fn syslog(
        &self,
        tenant: TenantId,
        source: Text<64>,
        datagrams: bool,
    ) -> Future<'_, Result<Box<dyn SyslogStream>, Problem>>;
}

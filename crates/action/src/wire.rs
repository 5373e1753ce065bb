//! Sends one request of a connector, through `egress` and never past it: only to the hosts of the document, to addresses
//! inside only where the server's setting names the host too, without following redirects, bounded in bytes and in time.

use crate::answer::{Answer, Unreadable};
use crate::document::Reads;
use bytes::Bytes;
use egress::{Client, Destination, Failure, Policy};
use std::time::Duration;
use thiserror::Error;

/// How long one request may take, from its first byte to the last of the answer: four of them fit into the half minute that
/// a delivery has.
const REQUEST_TIME: Duration = Duration::from_secs(7);
/// How long making a connection may take.
const CONNECT_TIME: Duration = Duration::from_secs(4);
/// Bytes of an answer's body.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Why there is no answer, by what it means for whoever sent.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum NoAnswer {
    /// It did not leave, and will not leave another time either.
    #[error("{0}")]
    Never(Failure),
    /// It surely did not arrive; another time it may.
    #[error("{0}")]
    NotNow(Failure),
    /// It may have arrived.
    #[error("{0}")]
    Perhaps(String),
}

/// The way out of one connector.
#[derive(Clone, Debug)]
pub struct Wire {
    client: Client,
}

impl Wire {
    /// A way to these origins. `inside` are the `HOST` or `HOST:PORT` of the server's setting: only they may be spoken to
    /// without TLS, or lead to an address that is not public.
    ///
    /// # Errors
    /// [`Failure`] where an origin is none, or TLS cannot be set up.
    pub fn to(origins: &[String], inside: &[String]) -> Result<Self, Failure> {
        let destinations = origins.iter().map(|origin| place(origin, inside)).collect::<Result<Vec<_>, _>>()?;
        let policy = Policy {
            connect_timeout: CONNECT_TIME,
            pause_timeout: REQUEST_TIME,
            body_bytes_max: ANSWER_BYTES_MAX,
            ..Policy::to(destinations)
        };
        Ok(Self { client: Client::new(policy)? })
    }

    /// Send a request and read its answer.
    ///
    /// # Errors
    /// [`NoAnswer`]; an answer that does not read is [`NoAnswer::Perhaps`]: it came, so the request arrived.
    pub async fn ask(&self, request: http::Request<Bytes>, reads: Reads) -> Result<Answer, NoAnswer> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let answered = tokio::time::timeout(REQUEST_TIME, self.client.send(request)).await;
        let late = || NoAnswer::Perhaps(format!("`{host}` did not answer within {} s", REQUEST_TIME.as_secs()));
        let response = answered.map_err(|_| late())?.map_err(meaning)?;
        Answer::read(&response, reads).map_err(|error: Unreadable| NoAnswer::Perhaps(error.to_string()))
    }
}

/// A destination, inside only where the setting says so too.
pub(crate) fn place(origin: &str, inside: &[String]) -> Result<Destination, Failure> {
    let place = Destination::of(origin)?;
    let exact = format!("{}:{}", place.host, place.port);
    let named = inside.iter().any(|name| name.eq_ignore_ascii_case(&place.host) || name.eq_ignore_ascii_case(&exact));
    match (named, place.scheme) {
        (true, _) => Ok(place.also_private()),
        (false, egress::Scheme::Https) => Ok(place),
        (false, egress::Scheme::Http) => Err(Failure::NotAllowed { destination: origin.chars().take(200).collect() }),
    }
}

fn meaning(failure: Failure) -> NoAnswer {
    match failure {
        Failure::AddressNotAllowed { .. }
        | Failure::InvalidRequest { .. }
        | Failure::NotAllowed { .. }
        | Failure::Setup(_) => NoAnswer::Never(failure),
        Failure::Unreachable { .. } | Failure::Unresolved { .. } => NoAnswer::NotNow(failure),
        other => NoAnswer::Perhaps(other.to_string()),
    }
}

//! Sends requests within a policy. The only place that touches the HTTP library.

use crate::{Failure, Policy, Scheme};
use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect;
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt as _;
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::Arc;

/// A client bound to a policy. Cheap to clone; connections are kept and shared.
#[derive(Clone, Debug)]
pub struct Client {
    inner: reqwest::Client,
    policy: Arc<Policy>,
}

/// An answer whose body is still on its way.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: http::StatusCode,
    /// The headers.
    pub headers: http::HeaderMap,
    inner: reqwest::Response,
    host: String,
    bytes_max: usize,
    bytes_read: usize,
}

impl Client {
    /// A client that keeps to this policy.
    ///
    /// # Errors
    /// [`Failure::Setup`] where TLS cannot be set up.
    pub fn new(policy: Policy) -> Result<Self, Failure> {
        let policy = Arc::new(policy);
        let judge = Arc::clone(&policy);
        let redirects = redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > judge.redirects_max {
                // The redirect itself is the answer where none is followed.
                if judge.redirects_max == 0 { attempt.stop() } else { attempt.error(Refused(None)) }
            } else {
                match judge.judge(attempt.url()) {
                    Ok(()) => attempt.follow(),
                    Err(failure) => attempt.error(Refused(Some(failure))),
                }
            }
        });
        let inner = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(&policy)?)
            .dns_resolver(Arc::new(Resolver(Arc::clone(&policy))))
            .redirect(redirects)
            .no_proxy()
            .connect_timeout(policy.connect_timeout)
            .read_timeout(policy.pause_timeout)
            .build()
            .map_err(|error| Failure::Setup(error.to_string()))?;
        Ok(Self { inner, policy })
    }

    /// Send a request and wait for the head of the answer.
    ///
    /// # Errors
    /// Every [`Failure`] but `Setup` and `TooLarge`. An answer of any status is no failure.
    pub async fn open(&self, request: http::Request<Bytes>) -> Result<Answer, Failure> {
        let shown: String = request.uri().to_string().chars().take(200).collect();
        let request = reqwest::Request::try_from(request).map_err(|_| Failure::InvalidRequest { url: shown })?;
        self.policy.judge(request.url())?;
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let inner = self.inner.execute(request).await.map_err(|error| failure(&host, &error))?;
        Ok(Answer {
            status: inner.status(),
            headers: inner.headers().clone(),
            inner,
            host,
            bytes_max: self.policy.body_bytes_max,
            bytes_read: 0,
        })
    }

    /// Send a request and wait for the whole answer.
    ///
    /// # Errors
    /// Every [`Failure`] but `Setup`. An answer of any status is no failure.
    pub async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Failure> {
        let mut answer = self.open(request).await?;
        let mut body = BytesMut::new();
        while let Some(part) = answer.part().await? {
            body.extend_from_slice(&part);
        }
        let mut response = http::Response::new(body.freeze());
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

impl Answer {
    /// The next part of the body as it arrives; nothing at its end.
    ///
    /// # Errors
    /// [`Failure::TooLarge`], [`Failure::Timeout`] or [`Failure::BrokenAnswer`].
    pub async fn part(&mut self) -> Result<Option<Bytes>, Failure> {
        let part = self.inner.chunk().await.map_err(|error| failure(&self.host, &error))?;
        self.bytes_read = self.bytes_read.saturating_add(part.as_ref().map_or(0, Bytes::len));
        if self.bytes_read > self.bytes_max {
            return Err(Failure::TooLarge { host: self.host.clone(), bytes_max: self.bytes_max });
        }
        Ok(part)
    }
}

/// TLS with the ring provider and the machine's own certificate authorities.
fn tls(policy: &Policy) -> Result<ClientConfig, Failure> {
    let setup = |error: rustls::Error| Failure::Setup(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(setup)?;
    if policy.destinations.iter().any(|place| place.scheme == Scheme::Https) {
        Ok(builder.with_platform_verifier().map_err(setup)?.with_no_client_auth())
    } else {
        // Reading the machine's authorities takes milliseconds and fails where there are none; plain HTTP needs none.
        Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
    }
}

/// The system's resolver, with every address judged: one that may not be is an error, not left out, so that a
/// name with two faces is noticed.
struct Resolver(Arc<Policy>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.0);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await;
            let mut addresses: Vec<SocketAddr> = found.into_iter().flatten().collect();
            if addresses.is_empty() {
                addresses = policy.remembered(&host).iter().map(|address| SocketAddr::new(*address, 0)).collect();
            }
            if addresses.is_empty() {
                return Err(Refused(Some(Failure::Unresolved { host })).into());
            }
            for address in &addresses {
                policy.judge_address(&host, address.ip()).map_err(|failure| Refused(Some(failure)))?;
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Carries our failure through the library's error; nothing inside means one redirect too many.
#[derive(Debug)]
struct Refused(Option<Failure>);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused by the policy for outbound requests")
    }
}

impl StdError for Refused {}

fn failure(host: &str, error: &reqwest::Error) -> Failure {
    let host = host.to_owned();
    let mut last = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(Refused(ours)) = inner.downcast_ref::<Refused>() {
            return ours.clone().unwrap_or(Failure::TooManyRedirects { host });
        }
        last = inner.to_string();
        source = inner.source();
    }
    if error.is_timeout() {
        Failure::Timeout { host }
    } else if error.is_redirect() {
        Failure::TooManyRedirects { host }
    } else if error.is_connect() {
        Failure::Unreachable { host, reason: last }
    } else {
        Failure::BrokenAnswer { host }
    }
}

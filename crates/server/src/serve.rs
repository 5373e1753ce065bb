//! The socket: accept, shake hands, serve, and stop without cutting anyone off.

use crate::face::Shared;
use crate::http_face::{Faces, Peer, answer};
use crate::mcp::{Extension, McpFace};
use crate::syslog::Listener;
use crate::{Config, Hooks, RouteConflict};
use api::Door;
use axum::body::Body;
use http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Why a server cannot start or go on.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on `{address}`; choose another address or end what holds it")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Two operations claim one route: a bug of the declarations.
    #[error(transparent)]
    Route(#[from] RouteConflict),
    /// Certificate or key cannot be used.
    #[error("the TLS certificate or key cannot be used: {0}")]
    Tls(String),
}

/// A server that holds its address and has not begun to answer.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    faces: Faces,
    syslog: Vec<Listener>,
    stop: CancellationToken,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Take the address.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn bind(config: Config, door: Arc<dyn Door>, hooks: Arc<dyn Hooks>) -> Result<Self, ServeError> {
        Self::bind_with(config, door, hooks, None).await
    }

    /// Take the address; the Model Context Protocol also shows what `extension` brings.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn bind_with(
        config: Config,
        door: Arc<dyn Door>,
        hooks: Arc<dyn Hooks>,
        extension: Option<Arc<dyn Extension>>,
    ) -> Result<Self, ServeError> {
        let wanted = config.listen;
        let asked = config.syslog.clone();
        let shared = Arc::new(Shared::new(config, door, hooks)?);
        let failed = |source| ServeError::Bind { address: wanted, source };
        let listener = TcpListener::bind(wanted).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mut syslog = Vec::new();
        for one in asked {
            syslog.push(Listener::bind(one).await?);
        }
        let stop = CancellationToken::new();
        let mcp = Arc::new(McpFace::new(shared.clone(), extension, stop.child_token()));
        Ok(Self { listener, address, faces: Faces { shared, mcp }, syslog, stop })
    }

    /// The address that was taken.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The addresses that syslog listeners took, in the order of the configuration.
    #[must_use]
    pub fn syslog_addrs(&self) -> Vec<SocketAddr> {
        self.syslog.iter().filter_map(Listener::local_addr).collect()
    }

    /// The address that was taken, as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.faces.shared.config.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Answer until `shutdown` is done, then finish what is under way within the grace.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let limits = self.faces.shared.config.limits;
        let slots = Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS)));
        let connections = TaskTracker::new();
        for listener in self.syslog {
            connections.spawn(listener.run(self.faces.shared.clone(), self.stop.clone()));
        }
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = async {
                // A slot first: over the bound, connections wait in the kernel's queue.
                let slot = slots.clone().acquire_owned().await.ok()?;
                Some((self.listener.accept().await, slot))
            };
            let (stream, address, slot) = tokio::select! {
                () = &mut shutdown => break,
                accepted = accepted => match accepted {
                    Some((Ok((stream, address)), slot)) => (stream, address, slot),
                    Some((Err(error), _)) => {
                        // Out of descriptors, most likely: a pause lets some be given back.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                    None => break,
                },
            };
            let faces = self.faces.clone();
            let stop = self.stop.clone();
            connections.spawn(async move {
                connection(faces, stream, address, stop).await;
                drop(slot);
            });
        }
        drop(self.listener);
        self.stop.cancel();
        connections.close();
        self.faces.shared.tasks.close();
        let all = async {
            connections.wait().await;
            self.faces.shared.tasks.wait().await;
        };
        if tokio::time::timeout(limits.shutdown_grace, all).await.is_err() {
            tracing::warn!(connections = connections.len(), "stopping before everything was finished");
        }
    }
}

async fn connection(faces: Faces, stream: TcpStream, address: SocketAddr, stop: CancellationToken) {
    // Answers are small and whole; waiting to fill a packet only adds latency.
    let _ = stream.set_nodelay(true);
    let limits = faces.shared.config.limits;
    match faces.shared.config.tls.clone() {
        None => serve(faces, stream, Peer { address, tls: false }, stop).await,
        Some(tls) => {
            let handshake = tokio_rustls::TlsAcceptor::from(tls.0).accept(stream);
            match tokio::time::timeout(limits.head_timeout, handshake).await {
                Ok(Ok(stream)) => serve(faces, stream, Peer { address, tls: true }, stop).await,
                Ok(Err(error)) => tracing::debug!(%address, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%address, "a TLS handshake took too long"),
            }
        }
    }
}

async fn serve<S>(faces: Faces, stream: S, peer: Peer, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = faces.shared.config.limits;
    let service = tower::service_fn(move |request: Request<hyper::body::Incoming>| {
        let faces = faces.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            Ok::<_, std::convert::Infallible>(answer(faces, request).await)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        // hyper asks for at least 8 KiB.
        .max_buf_size(limits.head_bytes_max.max(8 * 1024))
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams_max)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(limits.head_timeout))
        .keep_alive_timeout(limits.head_timeout);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(address = %peer.address, %error, "a connection ended early");
    }
}

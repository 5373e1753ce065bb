//! Syslog listeners: UDP, TCP and TLS. Bytes go to the intake's stream as they come; a stream that waits holds its
//! sender through TCP's own window. Understands nothing of the bytes.

use crate::config::{Syslog, SyslogProtocol};
use crate::face::Shared;
use crate::serve::ServeError;
use api::{Problem, Pushback, SyslogStream};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Silence after which what was taken so far is made durable.
const PAUSE: Duration = Duration::from_millis(200);
/// How often it is looked again whether a listener's source takes anything.
const RETRY: Duration = Duration::from_secs(5);
/// How long a UDP listener goes on before its source is judged again.
const JUDGED_FOR: Duration = Duration::from_secs(30);
/// The greatest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_536;
const READ_BYTES: usize = 32 << 10;

/// A listener that holds its address.
pub(crate) enum Listener {
    Stream(TcpListener, Syslog),
    Datagrams(UdpSocket, Syslog),
}

impl Listener {
    pub(crate) async fn bind(syslog: Syslog) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Bind { address: syslog.listen, source };
        Ok(match syslog.protocol {
            SyslogProtocol::Udp => Self::Datagrams(UdpSocket::bind(syslog.listen).await.map_err(failed)?, syslog),
            SyslogProtocol::Tcp | SyslogProtocol::Tls(_) => {
                Self::Stream(TcpListener::bind(syslog.listen).await.map_err(failed)?, syslog)
            }
        })
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Stream(listener, _) => listener.local_addr().ok(),
            Self::Datagrams(socket, _) => socket.local_addr().ok(),
        }
    }

    /// Listen until `stop`.
    pub(crate) async fn run(self, shared: Arc<Shared>, stop: CancellationToken) {
        match self {
            Self::Stream(listener, syslog) => streams(&shared, &listener, &syslog, &stop).await,
            Self::Datagrams(socket, syslog) => datagrams(&shared, &socket, &syslog, &stop).await,
        }
    }
}

async fn opened(shared: &Shared, syslog: &Syslog, datagrams: bool) -> Result<Box<dyn SyslogStream>, Problem> {
    let intake = shared.door.intake().ok_or_else(Problem::internal)?;
    intake.syslog(syslog.tenant, syslog.source.clone(), datagrams).await
}

async fn streams(shared: &Arc<Shared>, listener: &TcpListener, syslog: &Syslog, stop: &CancellationToken) {
    let slots = Arc::new(Semaphore::new(syslog.connections_max.clamp(1, Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    loop {
        let accepted = async {
            // A slot first: over the bound, connections wait in the kernel's queue.
            let slot = slots.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, slot))
        };
        let (stream, peer, slot) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => match accepted {
                Some((Ok((stream, peer)), slot)) => (stream, peer, slot),
                Some((Err(error), _)) => {
                    tracing::warn!(%error, "cannot accept a syslog connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                None => break,
            },
        };
        let (shared, syslog, stop) = (shared.clone(), syslog.clone(), stop.clone());
        connections.spawn(async move {
            match &syslog.protocol {
                SyslogProtocol::Tls(tls) => {
                    let handshake = tokio_rustls::TlsAcceptor::from(tls.0.clone()).accept(stream);
                    match tokio::time::timeout(shared.config.limits.head_timeout, handshake).await {
                        Ok(Ok(stream)) => connection(&shared, &syslog, stream, peer, &stop).await,
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                        Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
                    }
                }
                SyslogProtocol::Tcp | SyslogProtocol::Udp => {
                    connection(&shared, &syslog, stream, peer, &stop).await;
                }
            }
            drop(slot);
        });
    }
    connections.close();
    connections.wait().await;
}

async fn connection<S: AsyncRead + Unpin>(
    shared: &Shared,
    syslog: &Syslog,
    mut from: S,
    peer: SocketAddr,
    stop: &CancellationToken,
) {
    let mut stream = match opened(shared, syslog, false).await {
        Ok(stream) => stream,
        Err(problem) => {
            tracing::warn!(%peer, source = %syslog.source, %problem, "a syslog connection is turned away");
            return;
        }
    };
    let mut buffer = vec![0_u8; READ_BYTES];
    let (mut quiet, mut flushed) = (Duration::ZERO, true);
    loop {
        let read = tokio::select! {
            () = stop.cancelled() => break,
            read = tokio::time::timeout(PAUSE, from.read(&mut buffer)) => read,
        };
        let taken = match read {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(count)) => {
                (quiet, flushed) = (Duration::ZERO, false);
                stream.push(Some(peer.ip()), buffer.get(..count).unwrap_or_default()).await
            }
            Err(_) => {
                quiet += PAUSE;
                if quiet >= syslog.idle_timeout {
                    break;
                }
                if flushed { Ok(()) } else { stream.flush().await }
            }
        };
        flushed |= quiet > Duration::ZERO;
        if taken == Err(Pushback::Close) {
            break;
        }
    }
    stream.finish().await;
}

async fn datagrams(shared: &Shared, socket: &UdpSocket, syslog: &Syslog, stop: &CancellationToken) {
    let mut buffer = vec![0_u8; DATAGRAM_BYTES_MAX];
    while !stop.is_cancelled() {
        let stream = match opened(shared, syslog, true).await {
            Ok(stream) => stream,
            Err(problem) => {
                tracing::warn!(source = %syslog.source, %problem, "a syslog listener takes nothing now");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => continue,
                }
            }
        };
        round(socket, stream, &mut buffer, stop).await;
    }
}

/// Take datagrams until the source has to be judged again.
async fn round(socket: &UdpSocket, mut stream: Box<dyn SyslogStream>, buffer: &mut [u8], stop: &CancellationToken) {
    let judged = tokio::time::sleep(JUDGED_FOR);
    let mut judged = std::pin::pin!(judged);
    let mut flushed = true;
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => break,
            () = &mut judged => break,
            received = tokio::time::timeout(PAUSE, socket.recv_from(buffer)) => received,
        };
        let taken = match received {
            Ok(Ok((count, peer))) => {
                flushed = false;
                stream.push(Some(unmapped(peer.ip())), buffer.get(..count).unwrap_or_default()).await
            }
            // An answer that could not be delivered to an earlier sender (ICMP) is reported here; it is no end.
            Ok(Err(error)) => {
                tracing::debug!(%error, "a datagram could not be read");
                Ok(())
            }
            Err(_) if flushed => Ok(()),
            Err(_) => {
                flushed = true;
                stream.flush().await
            }
        };
        if taken == Err(Pushback::Close) {
            break;
        }
    }
    stream.finish().await;
}

/// An IPv4 address that came through an IPv6 socket, as itself.
fn unmapped(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

//! Syslog streams: messages gathered into batches, by size or when the sender pauses. A connection waits while the log
//! is pressed, so that TCP holds its sender; a datagram cannot wait and is dropped and counted.

use crate::syslog::{Decoder, Gather};
use crate::{Batch, Limits, Pressure, Receiver, Refused, Source};
use api::{Future, Pushback, SyslogStream};
use ids::Clock;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection waits before it tries again where the log says neither.
const WAIT: Duration = Duration::from_millis(200);
/// Messages of one batch, and bytes.
const BATCH_RECORDS: usize = 10_000;
/// See [`BATCH_RECORDS`].
const BATCH_BYTES: usize = 1 << 20;

/// One connection, or all datagrams of one listener.
pub(crate) struct Stream {
    receiver: Arc<Receiver>,
    clock: Arc<dyn Clock>,
    source: Source,
    datagrams: bool,
    decoder: Decoder,
    gather: Gather,
    peer: Option<IpAddr>,
}

impl Stream {
    pub(crate) fn new(receiver: Arc<Receiver>, clock: Arc<dyn Clock>, source: Source, datagrams: bool) -> Self {
        let limits = Limits { records_max: BATCH_RECORDS, body_bytes_max: BATCH_BYTES, ..Limits::default() };
        let decoder = Decoder::new(limits.record_bytes_max);
        Self { receiver, clock, source, datagrams, decoder, gather: Gather::new(limits), peer: None }
    }

    /// Make durable what was gathered. A connection waits until that is done; of datagrams what is refused is dropped.
    async fn send(&mut self) -> Result<(), Pushback> {
        let records = self.gather.take();
        if records.is_empty() && records.rejected().is_empty() {
            return Ok(());
        }
        let batch = Batch {
            source: self.source.clone(),
            received: self.clock.now(),
            peer: self.peer,
            client_id: None,
            resent: false,
            records,
        };
        loop {
            let refused = match self.receiver.receive(&batch).await {
                Ok(_) => return Ok(()),
                Err(refused) => refused,
            };
            let dropped = u64::try_from(batch.records.len()).unwrap_or(u64::MAX);
            match refused {
                Refused::ShuttingDown | Refused::TooLarge => {
                    self.receiver.count_dropped(&self.source, dropped);
                    return Err(Pushback::Close);
                }
                _ if self.datagrams => {
                    self.receiver.count_dropped(&self.source, dropped);
                    return Err(Pushback::Dropped);
                }
                other => tokio::time::sleep(other.retry_after().unwrap_or(WAIT).min(Duration::from_secs(2))).await,
            }
        }
    }

    async fn take(&mut self, peer: Option<IpAddr>, bytes: &[u8]) -> Result<(), Pushback> {
        if self.datagrams {
            // Records of one batch have one peer.
            if self.peer != peer {
                self.send().await?;
                self.peer = peer;
            }
            self.gather.push_datagram(bytes);
        } else {
            self.peer = peer;
            while matches!(self.receiver.pressure(), Pressure::Busy { .. }) {
                tokio::time::sleep(WAIT).await;
            }
            let Self { decoder, gather, .. } = self;
            decoder.push(bytes, |framed| gather.push(framed));
        }
        if self.gather.is_full() { self.send().await } else { Ok(()) }
    }
}

impl SyslogStream for Stream {
    fn push<'a>(&'a mut self, peer: Option<IpAddr>, bytes: &'a [u8]) -> Future<'a, Result<(), Pushback>> {
        Box::pin(self.take(peer, bytes))
    }

    fn flush(&mut self) -> Future<'_, Result<(), Pushback>> {
        Box::pin(self.send())
    }

    fn finish(mut self: Box<Self>) -> Future<'static, ()> {
        Box::pin(async move {
            let Self { decoder, gather, .. } = self.as_mut();
            decoder.finish(|framed| gather.push(framed));
            // What cannot be taken was counted.
            let _ = self.send().await;
        })
    }
}

//! From the spool to the platform: one batch at a time, in order, again until the platform has it. A batch keeps its
//! key, so a batch whose answer was lost is not taken twice.

use crate::platform::{Backoff, Platform, PlatformError};
use crate::spool::{Spool, SpoolError};
use crate::state::Identity;
use crate::wire::UplinkHealth;
use http::StatusCode;
use ids::{Clock, Entropy};
use journal::Position;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The longest pause between attempts that is our own choice.
const PAUSE_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Uplink {
    pub(crate) platform: Platform,
    pub(crate) identity: Arc<Identity>,
    pub(crate) spool: Arc<Spool>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) health: Arc<Mutex<UplinkHealth>>,
}

impl Uplink {
    fn note(&self, change: impl FnOnce(&mut UplinkHealth)) {
        change(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Send from a place in the spool on. Ends only with an error of the spool.
    pub(crate) async fn run(&self, from: Position) -> Result<(), SpoolError> {
        let mut reader = self.spool.reader(from);
        let mut place = from;
        let sensor = self.identity.enrolled.sensor.to_string();
        let mut backoff = Backoff::new(PAUSE_MAX);
        loop {
            let Some(batch) = self.spool.next(&mut reader, &sensor)? else {
                match self.spool.tail(place).await {
                    Ok(durable) => place = durable,
                    // Being opened again after a failed write, or closed: look again.
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
                continue;
            };
            let refused = loop {
                let error = match self.platform.ingest(&self.identity, &batch.key, batch.body.clone()).await {
                    Ok(()) => break false,
                    Err(error) => error,
                };
                if never(&error) {
                    tracing::error!(%error, records = batch.records, "the platform will not take a batch; it is dropped");
                    break true;
                }
                let pause = backoff.pause(&error, &*self.entropy);
                tracing::debug!(%error, ?pause, "a batch was not taken");
                self.note(|health| health.failure = Some(error.to_string()));
                tokio::time::sleep(pause).await;
            };
            backoff.reset();
            self.spool.acknowledge(&batch)?;
            let now = self.clock.now();
            self.note(|health| {
                if refused {
                    health.records_refused = health.records_refused.saturating_add(batch.records);
                } else {
                    health.batches = health.batches.saturating_add(1);
                    health.records = health.records.saturating_add(batch.records);
                    health.acknowledged_at = Some(now);
                    health.failure = None;
                }
            });
        }
    }
}

/// Whether trying again is of no use: the batch itself is at fault. A credential or a source can be mended.
fn never(error: &PlatformError) -> bool {
    use StatusCode as S;
    let content = [S::BAD_REQUEST, S::PAYLOAD_TOO_LARGE, S::UNSUPPORTED_MEDIA_TYPE, S::UNPROCESSABLE_ENTITY];
    matches!(error, PlatformError::Refused { status, .. } if content.contains(status))
}

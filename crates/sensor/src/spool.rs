//! What was seen and is not with the platform yet, on disk. A batch is one entry of the journal: how many records it
//! holds, then zstd of NDJSON. The cursor moves only after the platform's word. Full means full: the newest records
//! find no place and are counted, so that what came first (how it began) is kept and no hole is in the middle.

use crate::wire::SpoolHealth;
use ids::Entropy;
use journal::{AppendError, Entry, Folder, Item, Journal, OpenError, Options, Position, ReadError, Reader, Tail};
use seal::{Digest, canonical_json};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

/// Kind of a journal entry that is a batch.
const BATCH: u8 = 1;
const CURSOR: &str = "cursor.json";
/// What is taken off the bound at a time.
const SEGMENT_BYTES: u64 = 8 << 20;
/// Level of compression: three quarters of the best at a tenth of its time.
const LEVEL: i32 = 3;

/// Why the spool cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// Its cursor cannot be read or written.
    #[error("the spool's cursor cannot be kept")]
    Cursor(#[source] io::Error),
    /// The journal does not open.
    #[error("the spool cannot be opened")]
    Open(#[from] OpenError),
    /// The journal cannot be read.
    #[error("the spool cannot be read")]
    Read(#[from] ReadError),
}

/// The spool.
pub(crate) struct Spool {
    journal: Journal,
    segments: PathBuf,
    disk: Folder,
    bytes_max: u64,
    records: AtomicU64,
    records_lost: AtomicU64,
}

/// A batch on its way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Batch {
    /// Zstd of NDJSON.
    pub(crate) body: Vec<u8>,
    pub(crate) records: u64,
    /// The same whenever the same batch is sent.
    pub(crate) key: String,
    next: Position,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    version: u32,
    segment: u64,
    offset: u64,
}

impl Spool {
    pub(crate) fn open(folder: &Path, bytes_max: u64, entropy: &dyn Entropy) -> Result<(Self, Position), SpoolError> {
        let segments = folder.join("journal");
        std::fs::create_dir_all(&segments).map_err(SpoolError::Cursor)?;
        let mut salt = [0; 8];
        entropy.fill(&mut salt);
        let segment_bytes = SEGMENT_BYTES.min(bytes_max / 4);
        let options = Options { segment_bytes, salt: u64::from_ne_bytes(salt), ..Options::default() };
        let (journal, recovery) = Journal::open(&segments, options)?;
        if recovery.torn.is_some() || !recovery.damage.is_empty() {
            tracing::warn!(?recovery, "the spool was not closed well");
        }
        let disk = Folder::open(folder).map_err(SpoolError::Cursor)?;
        let cursor = match std::fs::read(folder.join(CURSOR)) {
            Ok(bytes) => {
                let cursor: Cursor =
                    serde_json::from_slice(&bytes).map_err(|error| SpoolError::Cursor(error.into()))?;
                Position { segment: cursor.segment, offset: cursor.offset }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Position::START,
            Err(error) => return Err(SpoolError::Cursor(error)),
        };
        let spool =
            Self { journal, segments, disk, bytes_max, records: AtomicU64::new(0), records_lost: AtomicU64::new(0) };
        Ok((spool, cursor))
    }

    /// Keep a batch of lines; true once it is durable, false where it found no place (and is counted).
    pub(crate) async fn append(&self, lines: &[u8], records: u64) -> bool {
        let kept = self.keep(lines, records).await;
        let counter = if kept { &self.records } else { &self.records_lost };
        counter.fetch_add(records, Ordering::Relaxed);
        kept
    }

    async fn keep(&self, lines: &[u8], records: u64) -> bool {
        let mut payload = records.to_be_bytes().to_vec();
        match zstd::encode_all(lines, LEVEL) {
            Ok(packed) => payload.extend_from_slice(&packed),
            Err(error) => {
                tracing::error!(%error, "records cannot be compressed");
                return false;
            }
        }
        let bytes = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        if self.bytes().saturating_add(bytes) > self.bytes_max {
            return false;
        }
        let appended = match self.journal.append(Entry { kind: BATCH, batch: None, payload }) {
            Ok(ticket) => ticket.await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = &appended {
            tracing::error!(%error, "records cannot be kept");
            if matches!(error, AppendError::Poisoned(_)) {
                // Read back what the disk holds; what was not acknowledged counts as lost.
                if let Err(error) = self.journal.reopen() {
                    tracing::error!(%error, "the spool cannot be opened again");
                }
            }
        }
        appended.is_ok()
    }

    /// Count records that did not even come here.
    pub(crate) fn lost(&self, records: u64) {
        self.records_lost.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn reader(&self, from: Position) -> Reader {
        self.journal.reader(from)
    }

    /// Resolves when there is something after a place.
    pub(crate) fn tail(&self, position: Position) -> Tail {
        self.journal.tail(position)
    }

    /// The next batch; damage is skipped and counted in the log, for its records cannot be counted.
    pub(crate) fn next(&self, reader: &mut Reader, sensor: &str) -> Result<Option<Batch>, SpoolError> {
        loop {
            match reader.next()? {
                None => return Ok(None),
                Some(Item::Damaged(damage)) => {
                    tracing::error!(?damage, "records in the spool are damaged");
                    self.lost(1);
                }
                Some(Item::Frame(frame)) => {
                    let Some((count, body)) = frame.payload.split_first_chunk() else { continue };
                    let place = frame.position.to_string();
                    let parts = [sensor.as_bytes(), place.as_bytes(), body];
                    let key = Digest::framed("posse.sensor.batch", &parts).to_hex();
                    let records = u64::from_be_bytes(*count);
                    return Ok(Some(Batch { body: body.to_vec(), records, key, next: frame.next }));
                }
            }
        }
    }

    /// The platform has everything up to and with this batch.
    pub(crate) fn acknowledge(&self, batch: &Batch) -> Result<(), SpoolError> {
        let cursor = Cursor { version: 1, segment: batch.next.segment, offset: batch.next.offset };
        let cursor = serde_json::to_value(cursor).ok().and_then(|value| canonical_json(&value).ok());
        journal::write_whole(&self.disk, CURSOR, &cursor.unwrap_or_default()).map_err(SpoolError::Cursor)?;
        self.journal.retain_from(batch.next)?;
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let entries = std::fs::read_dir(&self.segments).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).fold(0, u64::saturating_add)
    }

    pub(crate) fn health(&self) -> SpoolHealth {
        SpoolHealth {
            bytes: self.bytes(),
            bytes_max: self.bytes_max,
            records: self.records.load(Ordering::Relaxed),
            records_lost: self.records_lost.load(Ordering::Relaxed),
        }
    }

    /// Sync and end.
    pub(crate) fn close(&self) {
        self.journal.close();
    }
}

//! A batch: records of one request with their tenant, source, peer and time of receipt, and its form in the journal.
//! The form has a version; a reader accepts every version up to its own.

use crate::records::{Item, Span};
use crate::{Form, Record, Records};
use ids::{TenantId, Text, Timestamp};
use journal::BatchId;
use std::net::IpAddr;
use thiserror::Error;

/// Kind of a batch's entry in the journal.
pub const KIND_BATCH: u8 = 1;
const VERSION: u8 = 1;
const ITEM_BYTES: usize = 17;

/// Whose records and from where: what an ingest key is bound to.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Source {
    /// The tenant.
    pub tenant: TenantId,
    /// The tenant's name for the source.
    pub name: Text<64>,
}

/// What came in with one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    /// Whose.
    pub source: Source,
    /// When its last byte arrived.
    pub received: Timestamp,
    /// Who sent it.
    pub peer: Option<IpAddr>,
    /// The sender's own id for it, where the protocol has one.
    pub client_id: Option<Text<128>>,
    /// Whether, without such an id, a batch of the same bytes is the same batch. True where senders send again after
    /// an error (HTTP); false where they never do (syslog) and equal bytes are two events.
    pub resent: bool,
    /// The records.
    pub records: Records,
}

/// Why bytes from the journal are no batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes do not have the form of a batch.
    #[error("the entry is not a batch, though its checksum holds; this is a fault of Posse")]
    Form,
    /// Written by a newer release.
    #[error("the batch has format version {found}; this release reads up to {known}")]
    Version {
        /// Its version.
        found: u8,
        /// The newest that is known.
        known: u8,
    },
}

/// Who and when, as the journal holds it.
#[derive(serde::Serialize, serde::Deserialize)]
struct Header {
    tenant: TenantId,
    source: Text<64>,
    received_us: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peer: Option<IpAddr>,
}

/// A batch read back from the journal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stored {
    /// Whose.
    pub source: Source,
    /// When it arrived.
    pub received: Timestamp,
    /// Who sent it.
    pub peer: Option<IpAddr>,
    records: Records,
}

impl Batch {
    /// The batch's id over tenant, source, the client's id where there is one, and content. Content counts in any
    /// case: an id that a client uses twice must not make the second batch vanish. None where the protocol neither
    /// has ids nor sends again.
    #[must_use]
    pub fn id(&self) -> Option<BatchId> {
        if self.client_id.is_none() && !self.resent {
            return None;
        }
        let tenant = self.source.tenant.as_u128().to_be_bytes();
        let client = self.client_id.as_ref().map_or(&b""[..], |id| id.as_bytes());
        let parts = [&tenant, self.source.name.as_bytes(), client, self.records.buffer()];
        let digest = seal::Digest::framed("posse ingest batch", &parts);
        digest.as_bytes().first_chunk::<16>().map(|bytes| BatchId::new(*bytes))
    }

    /// As the journal holds it: version, header, spans, bytes. Numbers are little-endian `u32`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let header = Header {
            tenant: self.source.tenant,
            source: self.source.name.clone(),
            received_us: self.received.as_micros(),
            peer: self.peer,
        };
        // A struct of texts and numbers always has a JSON form.
        let header = serde_json::to_vec(&header).unwrap_or_default();
        let Records { buffer, items, .. } = &self.records;
        let mut bytes = Vec::with_capacity(9 + header.len() + items.len() * ITEM_BYTES + buffer.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&u32::try_from(header.len()).unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&u32::try_from(items.len()).unwrap_or(u32::MAX).to_le_bytes());
        for Item { raw, envelope, form } in items {
            for number in [raw.start, raw.bytes, envelope.start, envelope.bytes] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.push(form.code());
        }
        bytes.extend_from_slice(buffer);
        bytes
    }
}

impl Stored {
    /// Read what [`Batch::encode`] wrote.
    ///
    /// # Errors
    /// [`BatchError`]; never a panic, whatever the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let (version, rest) = bytes.split_first().ok_or(BatchError::Form)?;
        if *version == 0 || *version > VERSION {
            return Err(BatchError::Version { found: *version, known: VERSION });
        }
        let (header_bytes, rest) = number(rest)?;
        let (header, rest) = rest.split_at_checked(header_bytes).ok_or(BatchError::Form)?;
        let header: Header = serde_json::from_slice(header).map_err(|_| BatchError::Form)?;
        let (count, rest) = number(rest)?;
        let spans_bytes = count.checked_mul(ITEM_BYTES).ok_or(BatchError::Form)?;
        let (spans, buffer) = rest.split_at_checked(spans_bytes).ok_or(BatchError::Form)?;
        let (spans, _) = spans.as_chunks::<ITEM_BYTES>();
        let items = spans.iter().map(|span| item(span, buffer)).collect::<Option<Vec<Item>>>();
        let mut records = Records::over(buffer.to_vec());
        records.items = items.ok_or(BatchError::Form)?;
        Ok(Self {
            source: Source { tenant: header.tenant, name: header.source },
            received: Timestamp::from_micros(header.received_us),
            peer: header.peer,
            records,
        })
    }

    /// Its records, in the order of the sender; the index of one is part of its event's name.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.records.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

fn number(bytes: &[u8]) -> Result<(usize, &[u8]), BatchError> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or(BatchError::Form)?;
    Ok((usize::try_from(u32::from_le_bytes(*number)).map_err(|_| BatchError::Form)?, rest))
}

fn item(bytes: &[u8; ITEM_BYTES], buffer: &[u8]) -> Option<Item> {
    let (numbers, form) = bytes.split_at(16);
    let (numbers, _) = numbers.as_chunks::<4>();
    let mut numbers = numbers.iter().map(|number| u32::from_le_bytes(*number));
    let mut span = || Some(Span { start: numbers.next()?, bytes: numbers.next()? });
    let (raw, envelope) = (span()?, span()?);
    raw.of(buffer)?;
    if envelope != Span::NONE {
        envelope.of(buffer)?;
    }
    Some(Item { raw, envelope, form: Form::from_code(*form.first()?)? })
}

//! What goes in and what comes back: entries, batch ids, positions, receipts, options. Holds no state.

/// A place in the log. Text form `segment:offset`. Ordered as the log is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Default)]
pub struct Position {
    /// Number of the segment, from 1.
    pub segment: u64,
    /// Bytes from the start of the segment's file.
    pub offset: u64,
}

impl Position {
    /// Before every entry.
    pub const START: Self = Self { segment: 0, offset: 0 };

    /// Whether no entry of its segment stands before it.
    #[must_use]
    pub const fn starts_segment(self) -> bool {
        self.offset <= crate::recover::HEADER
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.segment, self.offset)
    }
}

/// Names one batch, by its sender's id or by a hash of its content; a resent batch carries the same one.
/// Make it from at least 128 bits of a cryptographic hash that also covers whose batch it is: two batches
/// with one id are one batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct BatchId([u8; 16]);

impl BatchId {
    /// From 16 bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

/// One thing to append. The log does not look inside the payload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The owner's own kind, 0 to 239; higher ones are the log's and are refused.
    pub kind: u8,
    /// Where present, an entry with an id that is still in the window is not written again.
    pub batch: Option<BatchId>,
    /// At most [`Options::frame_bytes_max`] bytes.
    pub payload: Vec<u8>,
}

/// Where an entry stands, once durable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// Of the entry's frame.
    pub position: Position,
    /// The batch was there already (or comes earlier in the same group); nothing was written for this one.
    pub duplicate: bool,
}

/// Sizes and bounds. All are clamped to sane ranges at open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
    /// A segment is closed before it would grow past this. Default 128 MiB, at least 4 KiB.
    pub segment_bytes: u64,
    /// Payload bytes written and synced together at most (one entry always goes). Default 8 MiB.
    pub group_bytes_max: usize,
    /// Payload bytes that may wait for the writer; past it an append is refused with
    /// [`AppendError::Full`](crate::AppendError::Full). Default 64 MiB.
    pub queue_bytes_max: usize,
    /// Largest payload of one entry. Default 64 MiB, at most 256 MiB.
    pub frame_bytes_max: u32,
    /// How many batch ids are remembered, also over restart and retention. Default 65,536, at most 262,144.
    pub window_batches: usize,
    /// Free disk space in bytes below which appends are refused, cleanly and before anything is written.
    /// Default 64 MiB.
    pub reserve_bytes: u64,
    /// Mixed into every checksum, so that nobody who writes payloads can forge a frame inside one. Pass random
    /// bits; an existing journal keeps the one it has.
    pub salt: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 128 << 20,
            group_bytes_max: 8 << 20,
            queue_bytes_max: 64 << 20,
            frame_bytes_max: 64 << 20,
            window_batches: 65_536,
            reserve_bytes: 64 << 20,
            salt: 0,
        }
    }
}

impl Options {
    pub(crate) fn clamped(self) -> Self {
        Self {
            segment_bytes: self.segment_bytes.max(4096),
            frame_bytes_max: self.frame_bytes_max.min(256 << 20),
            window_batches: self.window_batches.min(262_144),
            ..self
        }
    }
}

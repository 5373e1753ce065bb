//! Walks the frames of one segment and says where they do not hold. After a bad stretch it goes on at the next
//! place where a whole frame is valid; because checksums are bound to place and salt, a frame inside somebody's
//! payload is never taken for one.

use crate::disk::{DiskFile, read_full};
use crate::entry::BatchId;
use crate::frame::{BEGIN, Body, HEAD_BYTES, Head, Place, frame_bytes};
use std::io;

const CHUNK_BYTES: usize = 256 * 1024;

/// A step of the walk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    Frame {
        offset: u64,
        head: Head,
        batch: Option<BatchId>,
        payload: Vec<u8>,
    },
    /// These bytes are no frames.
    Bad {
        offset: u64,
        bytes: u64,
    },
}

pub(crate) struct Scan {
    file: Box<dyn DiskFile>,
    place: Place,
    at: u64,
    limit: u64,
    /// What the last frame says is durable; it never falls from one frame to the next. A frame that says less was
    /// cut in an earlier life, by a cut that did not reach the disk.
    durable: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Scan {
    /// From offset `from` to at most `limit`.
    pub(crate) fn new(file: Box<dyn DiskFile>, place: Place, from: u64, limit: u64) -> Self {
        Self { file, place, at: from, limit, durable: 0, buffer: Vec::new(), buffer_at: from }
    }

    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    pub(crate) fn at_limit(&self) -> bool {
        self.at >= self.limit
    }

    /// Let the walk go further than before.
    pub(crate) fn extend(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// Let the walk go to the end of the file.
    pub(crate) fn extend_to_end(&mut self) -> io::Result<()> {
        self.limit = self.file.size()?;
        Ok(())
    }

    /// Bytes from `offset`, at most `wanted` and fewer only at the limit or the end of the file.
    fn bytes(&mut self, offset: u64, wanted: usize) -> io::Result<&[u8]> {
        let wanted = wanted.min(to_usize(self.limit.saturating_sub(offset)));
        let skip = to_usize(offset.saturating_sub(self.buffer_at));
        if offset < self.buffer_at || skip > self.buffer.len() {
            self.buffer.clear();
            self.buffer_at = offset;
        } else if self.buffer.len() - skip < wanted {
            self.buffer.drain(..skip);
            self.buffer_at = offset;
        }
        let skip = to_usize(offset - self.buffer_at);
        if self.buffer.len() < skip + wanted {
            let held = self.buffer.len();
            let room = to_usize(self.limit.saturating_sub(self.buffer_at)).min(wanted.max(CHUNK_BYTES));
            self.buffer.resize(room.max(held), 0);
            let target = self.buffer.get_mut(held..).unwrap_or_default();
            let read = read_full(&*self.file, target, self.buffer_at + to_u64(held))?;
            self.buffer.truncate(held + read);
        }
        let end = (skip + wanted).min(self.buffer.len());
        Ok(self.buffer.get(skip..end).unwrap_or_default())
    }

    /// The whole frame at `offset`, where there is one.
    fn frame_at(&mut self, offset: u64) -> io::Result<Option<Found>> {
        let place = self.place;
        let Some(head) = Head::decode(self.bytes(offset, HEAD_BYTES)?, place, offset) else { return Ok(None) };
        let whole = frame_bytes(head.body_bytes);
        if whole > self.limit.saturating_sub(offset) || head.durable > offset || head.durable < self.durable {
            return Ok(None);
        }
        let bytes = self.bytes(offset, to_usize(whole))?;
        let Some(body) = bytes.get(HEAD_BYTES..) else { return Ok(None) };
        let Some(Body { batch, payload }) = head.body(body, place, offset) else { return Ok(None) };
        Ok(Some(Found::Frame { offset, head, batch, payload: payload.to_vec() }))
    }

    /// Where the next whole frame after the bad one at `offset` begins; the limit where there is none.
    fn resynchronise(&mut self, offset: u64) -> io::Result<u64> {
        // Where the head holds, only the body is broken and its end is known.
        let place = self.place;
        if let Some(head) = Head::decode(self.bytes(offset, HEAD_BYTES)?, place, offset) {
            let next = offset.saturating_add(frame_bytes(head.body_bytes));
            if next == self.limit || (next < self.limit && self.frame_at(next)?.is_some()) {
                return Ok(next);
            }
        }
        let mut from = offset + 1;
        while from < self.limit {
            let bytes = self.bytes(from, CHUNK_BYTES)?;
            let taken = bytes.len();
            if taken < BEGIN.len() {
                break;
            }
            match bytes.windows(BEGIN.len()).position(|window| window == BEGIN) {
                Some(found) => {
                    from += to_u64(found);
                    if self.frame_at(from)?.is_some() {
                        return Ok(from);
                    }
                    from += 1;
                }
                None => from += to_u64(taken - BEGIN.len() + 1),
            }
        }
        Ok(self.limit)
    }

    /// The next frame or bad stretch; none at the limit.
    pub(crate) fn next(&mut self) -> io::Result<Option<Found>> {
        if self.at >= self.limit {
            return Ok(None);
        }
        let offset = self.at;
        if let Some(found) = self.frame_at(offset)? {
            if let Found::Frame { head, .. } = &found {
                self.at = offset + frame_bytes(head.body_bytes);
                self.durable = head.durable;
            }
            return Ok(Some(found));
        }
        self.at = self.resynchronise(offset)?;
        Ok(Some(Found::Bad { offset, bytes: self.at - offset }))
    }
}

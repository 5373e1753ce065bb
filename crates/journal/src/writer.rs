//! The blocking core: encode a group, write it, sync it, and only then hand out receipts. After one failed write
//! or sync it never writes again; what the disk holds is found out by opening anew. Spawns nothing.

use crate::cause::{AppendError, Cause, OpenError, Step};
use crate::disk::{Disk, DiskFile, write_all};
use crate::entry::{BatchId, Entry, Options, Position, Receipt};
use crate::frame::{self, Body, KIND_MARK, KIND_OWN, KIND_SEAL, KIND_WINDOW, Place};
use crate::recover::{self, Recovery};
use crate::segment;
use crate::window::Window;
use std::collections::HashMap;
use std::sync::Arc;

/// Writes groups of entries. One per journal; [`Journal`](crate::Journal) gives it a thread.
pub struct Writer {
    disk: Arc<dyn Disk>,
    options: Options,
    file: Box<dyn DiskFile>,
    place: Place,
    /// Where the next frame goes.
    offset: u64,
    /// Up to where the segment is known to be durable.
    durable: u64,
    /// The furthest `durable` that a frame on disk tells of.
    told: u64,
    /// The segment has no frames yet: its first is the window.
    window_due: bool,
    window: Window,
    buffer: Vec<u8>,
    poisoned: Option<Cause>,
    syncs: u64,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("durable", &self.durable()).field("poisoned", &self.poisoned).finish()
    }
}

/// What recovery found: where the writer goes on.
pub(crate) struct Resume {
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) place: Place,
    pub(crate) offset: u64,
    pub(crate) window: Window,
}

impl Writer {
    /// Recover what the disk holds and make ready to write after it. Does not take the disk's lock.
    ///
    /// # Errors
    /// A failed file operation, or a segment from a newer release.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(Self, Recovery), OpenError> {
        let options = options.clamped();
        let (resume, recovery) = recover::recover(&*disk, options)?;
        let header_bytes = recover::HEADER;
        let writer = Self {
            disk,
            options,
            file: resume.file,
            place: resume.place,
            offset: resume.offset,
            durable: resume.offset,
            told: header_bytes,
            window_due: resume.offset == header_bytes,
            window: resume.window,
            buffer: Vec::new(),
            poisoned: None,
            syncs: 0,
        };
        Ok((writer, recovery))
    }

    /// The end of what is durable.
    #[must_use]
    pub fn durable(&self) -> Position {
        Position { segment: self.place.segment, offset: self.durable }
    }

    /// Completed syncs of entries since open.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    /// How many batch ids are remembered.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.window.len()
    }

    pub(crate) fn salt(&self) -> u64 {
        self.place.salt
    }

    /// Write the entries as one group and sync. One receipt for each, in order.
    ///
    /// # Errors
    /// [`AppendError::Poisoned`] where the write or sync failed now or before: nothing of this group is
    /// acknowledged. The other errors come before anything is written.
    pub fn commit(&mut self, entries: &[Entry]) -> Result<Vec<Receipt>, AppendError> {
        if let Some(cause) = &self.poisoned {
            return Err(AppendError::Poisoned(cause.clone()));
        }
        let mut bytes = 0_usize;
        for entry in entries {
            check(entry, &self.options)?;
            bytes = bytes.saturating_add(entry.payload.len());
        }
        match self.write_group(entries, bytes) {
            Ok(receipts) => Ok(receipts),
            Err(Failed::Refused(error)) => Err(error),
            Err(Failed::Broken(cause)) => {
                self.poisoned = Some(cause.clone());
                Err(AppendError::Poisoned(cause))
            }
        }
    }

    fn write_group(&mut self, entries: &[Entry], bytes: usize) -> Result<Vec<Receipt>, Failed> {
        let fresh = |entry: &Entry| entry.batch.is_none_or(|batch| self.window.find(batch).is_none());
        if entries.iter().any(fresh) {
            self.check_space(bytes)?;
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            if self.offset > recover::HEADER && self.offset.saturating_add(bytes) > self.options.segment_bytes {
                self.roll()?;
            }
        }
        let (receipts, new) = self.encode_group(entries)?;
        if !self.buffer.is_empty() {
            self.write_buffer("entries")?;
            self.sync("entries")?;
            self.syncs += 1;
            for (batch, position) in new {
                self.window.insert(batch, position);
            }
        }
        Ok(receipts)
    }

    fn check_space(&self, bytes: usize) -> Result<(), Failed> {
        let free_bytes = self.disk.free_bytes().step(|| "look at the free disk space".to_owned())?;
        let wanted = self.options.reserve_bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.options.reserve_bytes > 0 && free_bytes < wanted {
            return Err(Failed::Refused(AppendError::NoSpace {
                free_bytes,
                reserve_bytes: self.options.reserve_bytes,
            }));
        }
        Ok(())
    }

    /// Put the group's frames into the buffer; receipts, and the batches that are new with it.
    fn encode_group(&mut self, entries: &[Entry]) -> Result<(Vec<Receipt>, HashMap<BatchId, Position>), Failed> {
        self.buffer.clear();
        let mut receipts = Vec::with_capacity(entries.len());
        let mut new = HashMap::new();
        for entry in entries {
            let known = entry.batch.and_then(|batch| new.get(&batch).copied().or_else(|| self.window.find(batch)));
            if let Some(position) = known {
                receipts.push(Receipt { position, duplicate: true });
                continue;
            }
            // Also when empty: where it stands, opening need not look into older segments.
            if std::mem::take(&mut self.window_due) {
                let window = self.window.encode();
                self.encode(KIND_WINDOW, &Body { batch: None, payload: &window })?;
            }
            let offset = self.encode(entry.kind, &Body { batch: entry.batch, payload: &entry.payload })?;
            let position = Position { segment: self.place.segment, offset };
            if let Some(batch) = entry.batch {
                new.insert(batch, position);
            }
            receipts.push(Receipt { position, duplicate: false });
        }
        Ok((receipts, new))
    }

    /// Append one frame to the buffer; the offset where it will stand.
    fn encode(&mut self, kind: u8, body: &Body<'_>) -> Result<u64, Failed> {
        let buffered = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        let offset = self.offset.saturating_add(buffered);
        match frame::encode(&mut self.buffer, self.place, offset, self.durable, kind, body) {
            Some(_) => Ok(offset),
            None => Err(Failed::Refused(AppendError::TooLarge {
                bytes: body.payload.len(),
                max: self.options.frame_bytes_max,
            })),
        }
    }

    fn write_buffer(&mut self, what: &str) -> Result<(), Cause> {
        let segment = self.place.segment;
        write_all(&*self.file, &self.buffer, self.offset).step(|| format!("write of {what} to segment {segment}"))?;
        self.told = self.durable;
        self.offset = self.offset.saturating_add(u64::try_from(self.buffer.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn sync(&mut self, what: &str) -> Result<(), Cause> {
        self.file.sync().step(|| format!("sync of {what} in segment {}", self.place.segment))?;
        self.durable = self.offset;
        Ok(())
    }

    /// Close the segment and begin the next. Its seal is durable before the next one exists.
    fn roll(&mut self) -> Result<(), Failed> {
        self.buffer.clear();
        self.encode(KIND_SEAL, &Body { batch: None, payload: &[] })?;
        self.write_buffer("the seal")?;
        self.sync("the seal")?;
        let segment = self.place.segment.saturating_add(1);
        self.file = segment::create(&*self.disk, segment, self.place.salt)?;
        self.place.segment = segment;
        self.offset = recover::HEADER;
        self.durable = recover::HEADER;
        self.told = recover::HEADER;
        self.window_due = true;
        Ok(())
    }

    /// Close the segment and begin the next, so that what stands in it can be removed; nothing where it has no entry.
    ///
    /// # Errors
    /// [`AppendError::Poisoned`] as for [`Writer::commit`].
    pub fn roll_over(&mut self) -> Result<(), AppendError> {
        if let Some(cause) = &self.poisoned {
            return Err(AppendError::Poisoned(cause.clone()));
        }
        if self.offset == recover::HEADER {
            return Ok(());
        }
        match self.roll() {
            Ok(()) => Ok(()),
            Err(Failed::Refused(error)) => Err(error),
            Err(Failed::Broken(cause)) => {
                self.poisoned = Some(cause.clone());
                Err(AppendError::Poisoned(cause))
            }
        }
    }

    /// Tell the disk, without a sync, how far the segment is durable. Worth its 24 bytes whenever nothing else
    /// waits: a later opening can then tell damage from a torn tail, and need not write the last group again.
    ///
    /// # Errors
    /// [`AppendError::Poisoned`] as for [`Writer::commit`].
    pub fn mark(&mut self) -> Result<(), AppendError> {
        if let Some(cause) = &self.poisoned {
            return Err(AppendError::Poisoned(cause.clone()));
        }
        if self.durable <= self.told {
            return Ok(());
        }
        self.buffer.clear();
        let written = self
            .encode(KIND_MARK, &Body { batch: None, payload: &[] })
            .and_then(|_| self.write_buffer("a mark").map_err(Failed::Broken));
        match written {
            Ok(()) => Ok(()),
            Err(Failed::Refused(error)) => Err(error),
            Err(Failed::Broken(cause)) => {
                self.poisoned = Some(cause.clone());
                Err(AppendError::Poisoned(cause))
            }
        }
    }

    /// Leave a durable mark behind the last entry.
    ///
    /// # Errors
    /// [`AppendError::Poisoned`] as for [`Writer::commit`]; what was acknowledged stays durable all the same.
    pub fn close(mut self) -> Result<(), AppendError> {
        self.mark()?;
        self.sync("the last mark").map_err(AppendError::Poisoned)
    }
}

/// Refuse what can never be written.
pub(crate) fn check(entry: &Entry, options: &Options) -> Result<(), AppendError> {
    if entry.kind >= KIND_OWN {
        return Err(AppendError::Kind(entry.kind));
    }
    let max = options.frame_bytes_max;
    if u32::try_from(entry.payload.len()).is_ok_and(|bytes| bytes <= max) {
        Ok(())
    } else {
        Err(AppendError::TooLarge { bytes: entry.payload.len(), max })
    }
}

enum Failed {
    /// Nothing was written.
    Refused(AppendError),
    /// Something may have been.
    Broken(Cause),
}

impl From<Cause> for Failed {
    fn from(cause: Cause) -> Self {
        Self::Broken(cause)
    }
}

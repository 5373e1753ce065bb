//! Replay and tail. Gives entries in the order of the log, and damage as items in their place. A reader of a live
//! journal never sees what is not durable yet.

use crate::cause::{ReadError, Step};
use crate::disk::Disk;
use crate::entry::{BatchId, Position};
use crate::frame::{KIND_OWN, KIND_SEAL, Place, frame_bytes};
use crate::header::HeaderRead;
use crate::recover::{Damage, HEADER, salt_of};
use crate::scan::{Found, Scan};
use crate::segment;
use std::sync::Arc;

/// One entry, read back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// Where it stands; with its segment's number the stable name of this entry.
    pub position: Position,
    /// Where reading goes on after it: what a consumer stores as its cursor.
    pub next: Position,
    /// The owner's kind.
    pub kind: u8,
    /// The batch id that it was appended with.
    pub batch: Option<BatchId>,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// What reading meets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Item {
    /// Something that was durable is damaged. Reading goes on behind it.
    Damaged(Damage),
    /// An entry.
    Frame(Frame),
}

/// What retention deleted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Retained {
    /// Segments deleted.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

type Edge = Box<dyn Fn() -> Position + Send>;

/// Reads from a position onwards.
pub struct Reader {
    disk: Arc<dyn Disk>,
    edge: Edge,
    at: Position,
    salt: Option<u64>,
    open: Option<Open>,
}

struct Open {
    segment: u64,
    scan: Scan,
    /// The walk may go to the end of the file.
    whole: bool,
    /// The last bytes were damaged.
    bad_end: bool,
    pending: Option<Damage>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Reader {
    /// Of a journal that nobody writes: to the end of the last segment. A torn tail reads as damage.
    ///
    /// # Errors
    /// A failed file operation.
    pub fn offline(disk: Arc<dyn Disk>, from: Position) -> Result<Self, ReadError> {
        let mut salt = None;
        let mut edge = Position::START;
        for number in segment::list(&*disk)? {
            let file = segment::open(&*disk, number)?;
            edge = Position {
                segment: number,
                offset: file.size().step(|| format!("look at the size of segment {number}"))?,
            };
            salt = salt.or(salt_of(segment::read_header(&*file, number)?));
        }
        Ok(Self::new(disk, from, salt, Box::new(move || edge)))
    }

    pub(crate) fn new(disk: Arc<dyn Disk>, from: Position, salt: Option<u64>, edge: Edge) -> Self {
        Self { disk, edge, at: from, salt, open: None }
    }

    /// Where reading goes on.
    #[must_use]
    pub fn position(&self) -> Position {
        self.at
    }

    /// The next entry or damage; none at the end of what is durable, where a later call may find more.
    ///
    /// # Errors
    /// [`ReadError::Gone`] where retention has overtaken this reader; a failed file operation.
    #[expect(clippy::should_implement_trait, reason = "the end is not final, and an iterator's is")]
    pub fn next(&mut self) -> Result<Option<Item>, ReadError> {
        loop {
            let edge = (self.edge)();
            if self.at >= edge {
                return Ok(None);
            }
            let open = match self.open.take() {
                Some(open) => open,
                None => match self.open_segment(edge)? {
                    Opened::Segment(open) => open,
                    Opened::Damaged(damage) => return Ok(Some(Item::Damaged(damage))),
                    Opened::Nothing => return Ok(None),
                },
            };
            match self.step(open, edge)? {
                Stepped::Item(item) => return Ok(Some(item)),
                Stepped::End => return Ok(None),
                Stepped::Again => {}
            }
        }
    }

    /// One frame, bad stretch or end of segment.
    fn step(&mut self, mut open: Open, edge: Position) -> Result<Stepped, ReadError> {
        if let Some(damage) = open.pending.take() {
            self.open = Some(open);
            return Ok(Stepped::Item(Item::Damaged(damage)));
        }
        let segment = open.segment;
        if segment == edge.segment {
            open.scan.extend(edge.offset);
        } else if !open.whole {
            // The writer has left the segment since: now all of it is durable.
            open.scan.extend_to_end().step(|| format!("look at the size of segment {segment}"))?;
            open.whole = true;
        }
        let found = open.scan.next().step(|| format!("read of segment {segment}"))?;
        self.at = Position { segment, offset: open.scan.at() };
        let item = match found {
            None if segment == edge.segment => {
                self.open = Some(open);
                return Ok(Stepped::End);
            }
            None => {
                let damage = Damage::Unsealed { position: self.at };
                self.leave(segment);
                return Ok(if open.bad_end { Stepped::Again } else { Stepped::Item(Item::Damaged(damage)) });
            }
            Some(Found::Bad { offset, bytes }) => {
                // Damage that reaches the end took the seal along: one fact is told once.
                open.bad_end = open.scan.at_limit();
                Some(Item::Damaged(Damage::Frames { position: Position { segment, offset }, bytes }))
            }
            Some(Found::Frame { offset, head, batch, payload }) => {
                if head.kind == KIND_SEAL {
                    // Whatever stands behind a seal was cut once and never acknowledged.
                    self.leave(segment);
                    return Ok(Stepped::Again);
                }
                let position = Position { segment, offset };
                let next = Position { segment, offset: offset.saturating_add(frame_bytes(head.body_bytes)) };
                let frame = Frame { position, next, kind: head.kind, batch, payload };
                (frame.kind < KIND_OWN).then_some(Item::Frame(frame))
            }
        };
        self.open = Some(open);
        Ok(item.map_or(Stepped::Again, Stepped::Item))
    }

    fn leave(&mut self, segment: u64) {
        let next = segment.saturating_add(1);
        self.at = Position { segment: next, offset: HEADER };
        self.open = None;
    }

    fn open_segment(&mut self, edge: Position) -> Result<Opened, ReadError> {
        let segments = segment::list(&*self.disk)?;
        let Some(number) = segments.iter().copied().find(|segment| *segment >= self.at.segment) else {
            return Ok(Opened::Nothing);
        };
        if number != self.at.segment && self.at.segment != Position::START.segment {
            let asked = self.at.segment;
            if segments.first() == Some(&number) {
                return Err(ReadError::Gone { segment: asked, oldest: number });
            }
            self.leave(asked);
            return Ok(Opened::Damaged(Damage::Missing { segment: asked }));
        }
        let file = segment::open(&*self.disk, number)?;
        let size = file.size().step(|| format!("look at the size of segment {number}"))?;
        let header = segment::read_header(&*file, number)?;
        let pending = (!matches!(header, HeaderRead::Whole(_))).then_some(Damage::Header { segment: number });
        // Where neither a header nor a neighbour tells the salt, every frame reads as damage, as it should.
        let salt = salt_of(header).or(self.salt).unwrap_or_default();
        let from = if self.at.segment == number { self.at.offset.max(HEADER) } else { HEADER };
        let limit = if number == edge.segment { edge.offset } else { size };
        self.at = Position { segment: number, offset: from };
        let scan = Scan::new(file, Place { segment: number, salt }, from, limit);
        Ok(Opened::Segment(Open { segment: number, scan, whole: number != edge.segment, bad_end: false, pending }))
    }
}

enum Opened {
    Segment(Open),
    Damaged(Damage),
    Nothing,
}

enum Stepped {
    Item(Item),
    Again,
    End,
}

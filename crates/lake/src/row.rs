//! One event on its way in.

use event::mapping::Normalised;
use ids::{EventId, TenantId, Timestamp};

/// An event as the pipeline hands it over: normalised, with its raw text and its place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Whose it is.
    pub tenant: TenantId,
    /// The source that brought it.
    pub source: &'a str,
    /// When it came in.
    pub received: Timestamp,
    /// The log's segment.
    pub segment: u64,
    /// The frame's byte offset in the segment.
    pub offset: u64,
    /// The record's index in the frame.
    pub index: u32,
    /// 0 for the record itself, 1 and more for findings made from it.
    pub part: u16,
    /// What normalising gave.
    pub event: &'a Normalised,
    /// The record's own text; the OCSF text where there is none (findings).
    pub raw: &'a str,
}

impl Row<'_> {
    /// The event's name.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId {
            class_uid: self.event.class_uid,
            day: catalog::Day::of(self.event.time).get(),
            segment: self.segment,
            offset: self.offset,
            index: self.index,
            part: self.part,
        }
    }
}

//! Opening: find out what the disk holds. Cuts the torn tail of the last segment, reports damage and leaves it in
//! place, and makes durable again whatever no frame on disk proves to be.
//!
//! Why the unproven tail is written anew: after a failed `fdatasync` the system may call pages clean that never
//! reached the disk. A later opening reads them from memory, finds them whole, and a second sync writes nothing.
//! Writing the same bytes again makes the pages dirty, so that the sync that follows is a true one.

use crate::cause::{Cause, OpenError, Step};
use crate::disk::{Disk, DiskFile, read_full, write_all};
use crate::entry::{BatchId, Options, Position};
use crate::frame::{KIND_SEAL, KIND_WINDOW, Place, frame_bytes};
use crate::header::{HEADER_BYTES, HeaderRead, VERSION};
use crate::scan::{Found, Scan};
use crate::segment;
use crate::window::Window;
use crate::writer::Resume;

/// Offset of a segment's first frame; the same as `HEADER_BYTES`.
pub(crate) const HEADER: u64 = 64;
const _: () = assert!(HEADER_BYTES == 64, "the two constants say the same");
const COPY_BYTES: u64 = 1 << 20;

/// Bytes that were durable once and are no longer what was written.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// These bytes hold no valid frame; at least one entry may be lost.
    #[error("{bytes} bytes at {position} are damaged")]
    Frames {
        /// Where the stretch begins.
        position: Position,
        /// How long it is.
        bytes: u64,
    },
    /// A segment's header is damaged; its frames could still be read unless a `Frames` says otherwise.
    #[error("the header of segment {segment} is damaged")]
    Header {
        /// Which segment.
        segment: u64,
    },
    /// A segment between others is not there.
    #[error("segment {segment} is missing")]
    Missing {
        /// Which segment.
        segment: u64,
    },
    /// A segment that has successors ends without its seal; entries at its end may be lost.
    #[error("segment {} ends without its seal at byte {}", position.segment, position.offset)]
    Unsealed {
        /// Where it ends.
        position: Position,
    },
}

/// A tail that was cut: written but never acknowledged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Torn {
    /// Where the cut is.
    pub position: Position,
    /// How many bytes were cut.
    pub bytes: u64,
}

/// What opening found and did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recovery {
    /// Segments on disk.
    pub segments: u64,
    /// The oldest segment's first frame.
    pub first: Position,
    /// Where writing goes on; everything before is durable.
    pub end: Position,
    /// The tail that was cut, where one was.
    pub torn: Option<Torn>,
    /// Damage seen in headers, in the order of segments, and in the last segment. Older segments are not read
    /// here; a [`Reader`](crate::Reader) reports theirs.
    pub damage: Vec<Damage>,
    /// Bytes at the end that nothing proved durable and that were written and synced again; after a clean close
    /// the 24 of the last mark.
    pub rewritten_bytes: u64,
    /// Batch ids that are remembered.
    pub batches: usize,
}

struct Segment {
    number: u64,
    size: u64,
    header: HeaderRead,
}

/// What a walk over a segment gathers.
#[derive(Default)]
struct Walk {
    /// End of the last valid frame.
    end: u64,
    /// How far some frame says that the segment was durable.
    proven: u64,
    bad: Vec<(u64, u64)>,
    sealed: bool,
    batches: Vec<(BatchId, u64)>,
    window: Option<Vec<u8>>,
}

pub(crate) fn recover(disk: &dyn Disk, options: Options) -> Result<(Resume, Recovery), OpenError> {
    let mut recovery = Recovery::default();
    let mut segments = survey(disk)?;
    let mut next = segments.last().map_or(1, |last| last.number.saturating_add(1));
    // A segment that was being created when the power went: it never held a frame.
    while let Some(last) = segments.pop_if(|last| last.size <= HEADER && !matches!(last.header, HeaderRead::Whole(_))) {
        segment::remove(disk, last.number)?;
        recovery.torn = Some(Torn { position: Position { segment: last.number, offset: 0 }, bytes: last.size });
        next = last.number;
    }
    // A name whose sync failed is seen and may not be on disk.
    disk.sync_folder().step(|| "sync of the folder".to_owned())?;
    let salt = segments.iter().find_map(|segment| salt_of(segment.header));
    recovery.damage = header_damage(&segments);
    let salt = salt.unwrap_or(options.salt);

    let mut walks = Vec::new();
    let mut resumed = None;
    if let Some(last) = segments.last() {
        let file = segment::open(disk, last.number)?;
        let place = Place { segment: last.number, salt };
        let mut walk = walk(segment::open(disk, last.number)?, place, last.size)?;
        if last.header == HeaderRead::Broken {
            // Without its salt nothing here can be told from a torn tail: touch nothing, go on in a new segment.
            recovery.damage.extend(walk.bad.iter().map(|(offset, bytes)| Damage::Frames {
                position: Position { segment: last.number, offset: *offset },
                bytes: *bytes,
            }));
        } else {
            mend_tail(&*file, last, &mut walk, &mut recovery)?;
            if !walk.sealed {
                resumed = Some((file, place, walk.end));
            }
        }
        walks.push((last.number, walk));
    }
    let window = gather_window(disk, &segments, salt, walks, options)?;
    let (file, place, offset) = match resumed {
        Some(resumed) => resumed,
        None => (segment::create(disk, next, salt)?, Place { segment: next, salt }, HEADER),
    };
    recovery.batches = window.len();
    recovery.end = Position { segment: place.segment, offset };
    let oldest = segments.first().map_or(place.segment, |first| first.number);
    recovery.first = Position { segment: oldest, offset: HEADER };
    let fresh = u64::from(segments.last().is_none_or(|last| last.number != place.segment));
    recovery.segments = u64::try_from(segments.len()).unwrap_or(u64::MAX).saturating_add(fresh);
    Ok((Resume { file, place, offset, window }, recovery))
}

fn survey(disk: &dyn Disk) -> Result<Vec<Segment>, OpenError> {
    let mut segments = Vec::new();
    for number in segment::list(disk)? {
        let file = segment::open(disk, number)?;
        let size = file.size().step(|| format!("look at the size of segment {number}"))?;
        let header = segment::read_header(&*file, number)?;
        if let HeaderRead::Whole(found) | HeaderRead::OneCopy(found) = header
            && found.version > VERSION
        {
            return Err(OpenError::Version { segment: number, found: found.version, known: VERSION });
        }
        segments.push(Segment { number, size, header });
    }
    Ok(segments)
}

pub(crate) fn salt_of(header: HeaderRead) -> Option<u64> {
    match header {
        HeaderRead::Whole(header) | HeaderRead::OneCopy(header) => Some(header.salt),
        HeaderRead::Broken => None,
    }
}

fn header_damage(segments: &[Segment]) -> Vec<Damage> {
    let mut damage = Vec::new();
    let mut expected = None;
    for segment in segments {
        // A bounded report: a gap of a million segments is one fact.
        if let Some(missing) = expected.filter(|expected| *expected < segment.number) {
            damage.extend((missing..segment.number).take(16).map(|segment| Damage::Missing { segment }));
        }
        expected = segment.number.checked_add(1);
        if !matches!(segment.header, HeaderRead::Whole(_)) {
            damage.push(Damage::Header { segment: segment.number });
        }
    }
    damage
}

fn walk(file: Box<dyn DiskFile>, place: Place, size: u64) -> Result<Walk, Cause> {
    let mut walk = Walk { end: HEADER, proven: HEADER, ..Walk::default() };
    let mut scan = Scan::new(file, place, HEADER, size);
    while let Some(found) = scan.next().step(|| format!("read of segment {}", place.segment))? {
        match found {
            Found::Bad { offset, bytes } => walk.bad.push((offset, bytes)),
            Found::Frame { offset, head, batch, payload } => {
                walk.end = offset.saturating_add(frame_bytes(head.body_bytes));
                walk.proven = walk.proven.max(head.durable);
                walk.sealed = head.kind == KIND_SEAL;
                walk.batches.extend(batch.map(|batch| (batch, offset)));
                if head.kind == KIND_WINDOW && offset == HEADER {
                    walk.window = Some(payload);
                }
                if walk.sealed {
                    break;
                }
            }
        }
    }
    Ok(walk)
}

/// Cut what was never acknowledged, report what was and is gone, and make the rest durable.
fn mend_tail(file: &dyn DiskFile, last: &Segment, walk: &mut Walk, recovery: &mut Recovery) -> Result<(), Cause> {
    let segment = last.number;
    let cut = walk.bad.iter().find(|(offset, _)| *offset >= walk.proven).map(|(offset, _)| *offset);
    for (offset, bytes) in walk.bad.iter().filter(|(offset, _)| cut.is_none_or(|cut| *offset < cut)) {
        recovery.damage.push(Damage::Frames { position: Position { segment, offset: *offset }, bytes: *bytes });
    }
    // Damage may be the last thing in the segment: writing goes on behind it.
    let end = cut.unwrap_or_else(|| last.size.max(HEADER));
    if let Some(cut) = cut {
        recovery.torn = Some(Torn { position: Position { segment, offset: cut }, bytes: last.size - cut });
        file.set_size(cut).step(|| format!("cut of the torn tail of segment {segment}"))?;
        walk.batches.retain(|(_, offset)| *offset < cut);
        walk.sealed &= walk.end <= cut;
    }
    walk.end = end;
    // Where no frame proves anything, the header too may be a page that never reached the disk.
    let from = if walk.proven == HEADER { 0 } else { walk.proven };
    rewrite(file, segment, from, end)?;
    recovery.rewritten_bytes = end.saturating_sub(from);
    if cut.is_some() || recovery.rewritten_bytes > 0 {
        file.sync().step(|| format!("sync of the tail of segment {segment}"))?;
    }
    Ok(())
}

/// Write the same bytes again, so that the next sync is a true one.
fn rewrite(file: &dyn DiskFile, segment: u64, from: u64, end: u64) -> Result<(), Cause> {
    let mut offset = from;
    let mut buffer = Vec::new();
    while offset < end {
        buffer.resize(usize::try_from((end - offset).min(COPY_BYTES)).unwrap_or(0), 0);
        let read = read_full(file, &mut buffer, offset).step(|| format!("read of the tail of segment {segment}"))?;
        buffer.truncate(read);
        if read == 0 {
            break;
        }
        write_all(file, &buffer, offset).step(|| format!("rewrite of the tail of segment {segment}"))?;
        offset = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
    Ok(())
}

/// The batch ids of the newest segment that begins with a whole window, and of all after it.
fn gather_window(
    disk: &dyn Disk,
    segments: &[Segment],
    salt: u64,
    mut walks: Vec<(u64, Walk)>,
    options: Options,
) -> Result<Window, Cause> {
    let older = segments.iter().rev().skip(1);
    for segment in older {
        if walks.last().is_some_and(|(_, walk)| walk.window.is_some()) {
            break;
        }
        let file = segment::open(disk, segment.number)?;
        walks.push((segment.number, walk(file, Place { segment: segment.number, salt }, segment.size)?));
    }
    let mut window = Window::new(options.window_batches);
    for (segment, walk) in walks.into_iter().rev() {
        window.absorb(&walk.window.unwrap_or_default());
        for (batch, offset) in walk.batches {
            window.insert(batch, Position { segment, offset });
        }
    }
    Ok(window)
}

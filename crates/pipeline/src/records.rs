//! Raw records of one batch: one buffer and the spans in it. Nothing is copied where the sender's own bytes serve.

use std::ops::Range;

/// Bounds on what one request may hold. A request over one of them is refused whole; a record over its own is
/// rejected alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of a body after decompression. Default 32 MiB; never above 1 GiB.
    pub body_bytes_max: usize,
    /// Bytes of one record. Default 1 MiB.
    pub record_bytes_max: usize,
    /// Records of one request. Default 200,000.
    pub records_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes_max: 32 << 20, record_bytes_max: 1 << 20, records_max: 200_000 }
    }
}

/// How a record's raw bytes are to be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Form {
    /// A JSON object (not checked yet: what does not parse becomes a dead letter, not a refused request).
    Json,
    /// A syslog message; [`syslog::parse`](crate::syslog::parse) reads it.
    Syslog,
    /// Plain text.
    Text,
}

impl Form {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Json => 1,
            Self::Syslog => 2,
            Self::Text => 3,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Json),
            2 => Some(Self::Syslog),
            3 => Some(Self::Text),
            _ => None,
        }
    }
}

/// One record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record<'a> {
    /// What was sent, byte for byte where the protocol allows.
    pub raw: &'a [u8],
    /// What the protocol says around it, as JSON: Splunk's event object (with `host`, `sourcetype`, `time`), the
    /// action line of a bulk request, the query of a raw request. Absent where the protocol says nothing.
    pub envelope: Option<&'a [u8]>,
    /// How to read `raw`.
    pub form: Form,
}

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
#[non_exhaustive]
pub enum Reject {
    /// Not what the protocol asks for.
    Malformed,
    /// Longer than [`Limits::record_bytes_max`].
    TooLarge,
    /// An operation that a log does not have, such as deleting.
    Unsupported,
}

impl Reject {
    /// Its name in counts and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Unsupported => "unsupported",
        }
    }
}

/// A record that was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rejected {
    /// Its place among the request's records, from 0.
    pub index: usize,
    /// Why.
    pub why: Reject,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) bytes: u32,
}

impl Span {
    pub(crate) const NONE: Self = Self { start: u32::MAX, bytes: 0 };

    /// None past 4 GiB, which the limits do not reach.
    pub(crate) fn new(range: &Range<usize>) -> Option<Self> {
        Some(Self {
            start: u32::try_from(range.start).ok()?,
            bytes: u32::try_from(range.end.checked_sub(range.start)?).ok()?,
        })
    }

    pub(crate) fn of(self, buffer: &[u8]) -> Option<&[u8]> {
        let start = usize::try_from(self.start).ok()?;
        buffer.get(start..start.checked_add(usize::try_from(self.bytes).ok()?)?)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Item {
    pub(crate) raw: Span,
    pub(crate) envelope: Span,
    pub(crate) form: Form,
}

/// The records of one request, in the order of the sender.
// INVARIANT: every raw span, and every envelope span that is not NONE, lies in `buffer`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Records {
    pub(crate) buffer: Vec<u8>,
    pub(crate) items: Vec<Item>,
    rejected: Vec<Rejected>,
}

impl Records {
    /// No records yet, over a buffer that they will point into.
    pub(crate) fn over(buffer: Vec<u8>) -> Self {
        Self { buffer, items: Vec::new(), rejected: Vec::new() }
    }

    pub(crate) fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    /// Take a record that lies in the buffer.
    pub(crate) fn take(&mut self, raw: &Range<usize>, envelope: Option<&Range<usize>>, form: Form) {
        let inside = |range: &Range<usize>| range.end <= self.buffer.len();
        let (Some(raw), true) = (Span::new(raw), inside(raw)) else { return };
        let envelope = envelope.filter(|range| inside(range)).and_then(Span::new).unwrap_or(Span::NONE);
        self.items.push(Item { raw, envelope, form });
    }

    /// Take a record whose bytes are not in the buffer yet.
    pub(crate) fn append(&mut self, raw: &[u8], envelope: Option<&Range<usize>>, form: Form) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(raw);
        self.take(&(start..self.buffer.len()), envelope, form);
    }

    /// Put text that records may share as their envelope behind the buffer.
    pub(crate) fn append_envelope(&mut self, envelope: &[u8]) -> Range<usize> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(envelope);
        start..self.buffer.len()
    }

    pub(crate) fn reject(&mut self, index: usize, why: Reject) {
        self.rejected.push(Rejected { index, why });
    }

    /// Records taken and rejected so far: the index of the next one.
    pub(crate) fn seen(&self) -> usize {
        self.items.len() + self.rejected.len()
    }

    /// How many were taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Those not taken, in order.
    #[must_use]
    pub fn rejected(&self) -> &[Rejected] {
        &self.rejected
    }

    /// Those taken, in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.items.iter().filter_map(|item| {
            Some(Record { raw: item.raw.of(&self.buffer)?, envelope: item.envelope.of(&self.buffer), form: item.form })
        })
    }

    /// Bytes of all raw records.
    #[must_use]
    pub fn raw_bytes(&self) -> u64 {
        self.items.iter().map(|item| u64::from(item.raw.bytes)).sum()
    }
}

/// The lines of `bytes` as ranges, without their ends (`\n` or `\r\n`); lines of white space are left out.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', bytes).chain(std::iter::once(bytes.len()));
    ends.filter_map(move |end| {
        let from = std::mem::replace(&mut start, end.saturating_add(1));
        let line = bytes.get(from..end)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (!line.trim_ascii().is_empty()).then_some(from..from + line.len())
    })
}

/// Where `part` stands in `whole`, of which it is a slice.
pub(crate) fn range_in(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_any_way() {
        let text = b"a\r\n\n  \nb\nc";
        let found: Vec<&[u8]> = lines(text).map(|range| &text[range]).collect();
        assert_eq!(found, [b"a", b"b", b"c"]);
        assert_eq!(lines(b"").count(), 0);
    }

    #[test]
    fn spans_outside_the_buffer_are_not_taken() {
        let mut records = Records::over(b"abc".to_vec());
        records.take(&(0..4), None, Form::Json);
        records.take(&(1..3), Some(&(0..9)), Form::Text);
        let all: Vec<_> = records.iter().collect();
        assert_eq!(all, [Record { raw: b"bc", envelope: None, form: Form::Text }]);
    }
}

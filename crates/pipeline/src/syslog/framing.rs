//! Messages off a byte stream (RFC 6587): octet counting (`83 <34>1 ...`) and newlines, told apart message by
//! message. Holds at most one message and what was pushed; a longer one is skipped and reported.

use crate::{Form, Limits, Records, Reject};

/// What the stream gives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framed<'a> {
    /// A message, without its framing.
    Message(&'a [u8]),
    /// A message over the bound was skipped.
    TooLong,
    /// The stream ended inside a counted message.
    Truncated,
}

/// Takes bytes as they come, gives messages.
#[derive(Clone, Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    max: usize,
    skip: Skip,
    /// Bytes at the start of the buffer in which there is no line end.
    scanned: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Skip {
    Nothing,
    /// The rest of a long line.
    Line,
    /// So many bytes of a long counted message.
    Bytes(usize),
}

/// What the start of the buffer is.
enum Next {
    /// Too little to tell.
    Unknown,
    /// A message of so many bytes after a prefix of so many.
    Counted { prefix: usize, bytes: usize },
    /// A line.
    Line,
}

const DIGITS_MAX: usize = 8;

fn next(buffer: &[u8]) -> Next {
    let digits = buffer.iter().take(DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > DIGITS_MAX || buffer.first() == Some(&b'0') {
        return if buffer.is_empty() { Next::Unknown } else { Next::Line };
    }
    match (buffer.get(digits), buffer.get(digits + 1)) {
        (None, _) | (Some(b' '), None) => Next::Unknown,
        // A line may begin with a number; a counted message goes on with a priority.
        (Some(b' '), Some(b'<')) => {
            let text = buffer.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok());
            match text.and_then(|text| text.parse().ok()) {
                Some(bytes) => Next::Counted { prefix: digits + 1, bytes },
                None => Next::Line,
            }
        }
        _ => Next::Line,
    }
}

impl Decoder {
    /// Messages of at most so many bytes.
    #[must_use]
    pub fn new(message_bytes_max: usize) -> Self {
        Self { buffer: Vec::new(), max: message_bytes_max, skip: Skip::Nothing, scanned: 0 }
    }

    /// Take bytes; every message that they complete goes to `found`.
    pub fn push(&mut self, bytes: &[u8], mut found: impl FnMut(Framed<'_>)) {
        self.buffer.extend_from_slice(bytes);
        while self.step(&mut found) {}
    }

    /// The stream has ended: what is left is a message, where it can be one.
    pub fn finish(&mut self, mut found: impl FnMut(Framed<'_>)) {
        let rest = std::mem::take(&mut self.buffer);
        let skip = std::mem::replace(&mut self.skip, Skip::Nothing);
        self.scanned = 0;
        match (skip, next(&rest)) {
            // A message that was reported too long has been reported.
            (Skip::Line | Skip::Bytes(_), _) => {}
            (Skip::Nothing, Next::Counted { .. }) => found(Framed::Truncated),
            (Skip::Nothing, Next::Line | Next::Unknown) => give(&rest, &mut found),
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// One message or skip; whether there may be another.
    fn step(&mut self, found: &mut impl FnMut(Framed<'_>)) -> bool {
        match self.skip {
            Skip::Bytes(left) => {
                let now = left.min(self.buffer.len());
                self.buffer.drain(..now);
                self.skip = if now == left { Skip::Nothing } else { Skip::Bytes(left - now) };
                now == left
            }
            Skip::Line => match memchr::memchr(b'\n', &self.buffer) {
                Some(end) => {
                    self.buffer.drain(..=end);
                    self.skip = Skip::Nothing;
                    true
                }
                None => {
                    self.buffer.clear();
                    false
                }
            },
            Skip::Nothing => match next(&self.buffer) {
                Next::Unknown => false,
                Next::Counted { prefix, bytes } => self.counted(prefix, bytes, found),
                Next::Line => self.line(found),
            },
        }
    }

    fn counted(&mut self, prefix: usize, bytes: usize, found: &mut impl FnMut(Framed<'_>)) -> bool {
        if bytes > self.max {
            found(Framed::TooLong);
            self.buffer.drain(..prefix);
            self.skip = Skip::Bytes(bytes);
            return true;
        }
        let Some(message) = self.buffer.get(prefix..prefix + bytes) else { return false };
        give(message, found);
        self.buffer.drain(..prefix + bytes);
        self.scanned = 0;
        true
    }

    fn line(&mut self, found: &mut impl FnMut(Framed<'_>)) -> bool {
        let rest = self.buffer.get(self.scanned..).unwrap_or_default();
        if let Some(end) = memchr::memchr(b'\n', rest).map(|end| end + self.scanned) {
            if end > self.max {
                found(Framed::TooLong);
            } else {
                give(self.buffer.get(..end).unwrap_or_default(), found);
            }
            self.buffer.drain(..=end);
            self.scanned = 0;
            return true;
        }
        self.scanned = self.buffer.len();
        if self.buffer.len() > self.max {
            found(Framed::TooLong);
            self.buffer.clear();
            self.scanned = 0;
            self.skip = Skip::Line;
        }
        false
    }
}

fn give(message: &[u8], found: &mut impl FnMut(Framed<'_>)) {
    let end = message.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | b'\0')).map_or(0, |last| last + 1);
    let message = message.get(..end).unwrap_or_default();
    if !message.trim_ascii().is_empty() {
        found(Framed::Message(message));
    }
}

/// Gathers messages into the records of a batch.
#[derive(Debug)]
pub struct Gather {
    records: Records,
    limits: Limits,
}

impl Gather {
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { records: Records::over(Vec::new()), limits }
    }

    /// Take what the stream gave.
    pub fn push(&mut self, framed: Framed<'_>) {
        let index = self.records.seen();
        match framed {
            Framed::Message(message) if message.len() <= self.limits.record_bytes_max => {
                self.records.append(message, None, Form::Syslog);
            }
            Framed::Message(_) | Framed::TooLong => self.records.reject(index, Reject::TooLarge),
            Framed::Truncated => self.records.reject(index, Reject::Malformed),
        }
    }

    /// Take a datagram, which is one message.
    pub fn push_datagram(&mut self, datagram: &[u8]) {
        give(datagram, &mut |framed| self.push(framed));
    }

    /// Whether the batch should go now, whatever the wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.records.seen() >= self.limits.records_max || self.records.buffer().len() >= self.limits.body_bytes_max
    }

    /// The records so far, and begin anew.
    #[must_use]
    pub fn take(&mut self) -> Records {
        std::mem::replace(&mut self.records, Records::over(Vec::new()))
    }
}

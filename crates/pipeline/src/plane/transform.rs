//! Batches from the log into rows: each record parsed once, mapped, matched, put into a chunk of the lake. What cannot
//! be read becomes a dead letter, a row like others with the reason. The same batch gives the same rows each time.

use super::fare::{SAMPLE_EVERY, SAMPLE_FIRST, Share};
use super::finding::{self, Sighted};
use super::notice::Notice;
use super::rules::Matcher;
use super::setup::{Reading, Tenant};
use super::spared::Spared;
use crate::{Form, Record, Source, Stored};
use event::mapping::{COLUMNS, ColumnValue, Mapping, Mappings, Normalised, Normaliser};
use event::{ParseFault, Parser, View};
use ids::Timestamp;
use journal::{Frame, Position};
use lake::{Chunk, Row};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::ControlFlow;

/// What `status_detail` of a dead letter says.
pub(crate) const DEAD_LETTER: &str = "dead_letter";

/// Rows of some batches, in the order of the log.
#[derive(Default)]
pub(crate) struct Portion {
    pub(crate) chunk: Chunk,
    pub(crate) shares: Vec<(Source, Share)>,
    /// Matches that correlations count, and findings for those who follow them.
    pub(crate) sighted: Vec<Sighted>,
    /// Findings made.
    pub(crate) findings: Vec<finding::Finding>,
    /// What the platform says of sources by itself.
    pub(crate) notices: Vec<Notice>,
    /// What exceptions held back.
    pub(crate) spared: Spared,
}

/// The buffers of one worker.
pub(crate) struct Transform {
    parser: Parser,
    inner: Parser,
    normaliser: Normaliser,
    event: Normalised,
    whole: Normalised,
    matcher: Matcher,
    counter: u64,
    status_detail: usize,
    message: usize,
    status_id: usize,
}

/// What is the same for all records of one batch.
struct Around<'a> {
    stored: &'a Stored,
    place: Position,
    tenant: &'a Tenant,
    reading: Reading,
}

fn column(name: &str) -> usize {
    COLUMNS.iter().position(|column| column.name == name).unwrap_or(usize::MAX)
}

/// The word for a parse fault in counts.
fn reason(fault: &ParseFault) -> &'static str {
    match fault {
        ParseFault::Empty => "empty",
        ParseFault::NotAnObject => "not_an_object",
        ParseFault::NotJson { .. } => "not_json",
        ParseFault::TooDeep => "too_deep",
        ParseFault::TooLarge(_) => "too_large",
    }
}

impl Transform {
    pub(crate) fn new() -> Self {
        Self {
            parser: Parser::new(),
            inner: Parser::new(),
            normaliser: Normaliser::new(),
            event: Normalised::default(),
            whole: Normalised::default(),
            matcher: Matcher::default(),
            counter: 0,
            status_detail: column("status_detail"),
            message: column("message"),
            status_id: column("status_id"),
        }
    }

    /// Read one batch. `sampled` is how many records of its source were looked at for what is unmapped.
    pub(crate) fn batch(
        &mut self,
        frame: &Frame,
        stored: &Stored,
        tenants: &HashMap<ids::TenantId, Tenant>,
        sampled: u64,
        out: &mut Portion,
    ) {
        let nobody = Tenant::default();
        let tenant = tenants.get(&stored.source.tenant).unwrap_or(&nobody);
        let reading = tenant.reading(&stored.source.name);
        let around = Around { stored, place: frame.position, tenant, reading };
        let mut share = Share { received: stored.received, sampled: 0, ..Share::default() };
        for (index, record) in stored.records().enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            self.counter = self.counter.wrapping_add(1);
            let sample =
                sampled.saturating_add(share.sampled) < SAMPLE_FIRST || self.counter.is_multiple_of(SAMPLE_EVERY);
            share.events = share.events.saturating_add(1);
            share.bytes = share.bytes.saturating_add(u64::try_from(record.raw.len()).unwrap_or(0));
            self.record(&around, index, &record, sample, &mut share, out);
        }
        out.shares.push((stored.source.clone(), share));
    }

    fn record(
        &mut self,
        around: &Around<'_>,
        index: u32,
        record: &Record<'_>,
        sample: bool,
        share: &mut Share,
        out: &mut Portion,
    ) {
        // What replaces bad bytes looks at each byte by itself: nearly every record is whole, which is told much faster.
        let whole = std::str::from_utf8(record.raw).map(Cow::Borrowed);
        let text = whole.unwrap_or_else(|_| String::from_utf8_lossy(record.raw));
        let received = around.stored.received;
        let json: Cow<'_, [u8]> = match record.form {
            Form::Json if record.raw.trim_ascii_start().starts_with(b"{") => Cow::Borrowed(record.raw),
            // A file of lines that was sent as it is: what is known as one is read, the rest is no JSON.
            Form::Json => match event::read::line_record(&text, received) {
                Some(json) => Cow::Owned(json.into_bytes()),
                None => Cow::Borrowed(record.raw),
            },
            Form::Syslog | Form::Text => Cow::Owned(line(&text, received)),
        };
        let mut parser = std::mem::take(&mut self.parser);
        // A record that brings the program to a fault of its own must not stop all that come after it.
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match parser.parse(&json) {
            Ok(view) => self.event(around, index, record, &text, &view, sample, share, out),
            Err(fault) => self.dead_letter(around, index, &text, (reason(&fault), &fault.to_string()), share, out),
        }));
        if read.is_err() {
            tracing::error!(position = %around.place, index, "a record brought its reader to a panic; it is a dead letter");
            *self = Self { counter: self.counter, ..Self::new() };
            let why = ("reader_failed", "the reader failed on this record, which is a fault of the program");
            self.dead_letter(around, index, &text, why, share, out);
        } else {
            self.parser = parser;
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the record's parts, each borrowed from another place")]
    fn event(
        &mut self,
        around: &Around<'_>,
        index: u32,
        record: &Record<'_>,
        text: &str,
        view: &View<'_>,
        sample: bool,
        share: &mut Share,
        out: &mut Portion,
    ) {
        let received = around.stored.received;
        // There always is one: the last built-in mapping takes any object.
        let Some(mapping) = choose(&around.reading, view) else { return };
        let mut event = std::mem::take(&mut self.event);
        self.normaliser.normalise_columns(mapping, view, received, &mut event);
        if !matches!(around.reading, Reading::Told) {
            event.odd.set_read_otherwise();
        }
        if !event.time_from_source
            && let Some(time) = record.envelope.and_then(envelope_time)
        {
            event.time = time;
            event.time_from_source = true;
        }
        if event.time_from_source {
            share.skews.push(event.time.as_micros().saturating_sub(received.as_micros()));
            share.last_event = share.last_event.max(Some(event.time));
        }
        let row = around.row(index, 0, &event, text);
        let id = row.id();
        out.chunk.append(&row);
        if sample {
            self.sample(mapping, view, received, share);
        }
        if let Some(detectors) = &around.tenant.detectors {
            let mut inner = std::mem::take(&mut self.inner);
            // Fields of a line stand below the name of its kind; rules name them without it.
            let inside = inside(view.raw());
            let parsed = inside.and_then(|bytes| inner.parse(bytes).ok());
            let seen = finding::Seen {
                id,
                event: &event,
                source: &around.stored.source,
                received,
                place: around.place,
                index,
            };
            self.matcher.matches(detectors, mapping.name(), parsed.as_ref().unwrap_or(view), &seen, out);
            drop(parsed);
            self.inner = inner;
        }
        self.event = event;
    }

    /// Look at what the mapping leaves unmapped.
    fn sample(&mut self, mapping: &Mapping, view: &View<'_>, received: Timestamp, share: &mut Share) {
        self.normaliser.normalise(mapping, view, received, &mut self.whole);
        let mut leaves = 0_u64;
        view.leaves(&mut event::Leaves::default(), |_, _| {
            leaves = leaves.saturating_add(1);
            ControlFlow::Continue(())
        });
        share.sampled = share.sampled.saturating_add(1);
        share.leaves = share.leaves.saturating_add(leaves);
        let unmapped = u64::try_from(self.whole.unmapped.len()).unwrap_or(u64::MAX);
        share.unmapped = share.unmapped.saturating_add(unmapped.min(leaves));
    }

    fn dead_letter(
        &mut self,
        around: &Around<'_>,
        index: u32,
        text: &str,
        (reason, fault): (&'static str, &str),
        share: &mut Share,
        out: &mut Portion,
    ) {
        let count = share.dead.entry(reason).or_default();
        *count = count.saturating_add(1);
        let event = Normalised {
            class_uid: 0,
            activity_id: 99,
            severity_id: 1,
            time: around.stored.received,
            columns: vec![
                (self.message, ColumnValue::Text(format!("{reason}: {fault}"))),
                (self.status_id, ColumnValue::Int(2)),
                (self.status_detail, ColumnValue::Text(DEAD_LETTER.to_owned())),
            ],
            ..Normalised::default()
        };
        out.chunk.append(&around.row(index, 0, &event, text));
    }
}

impl Around<'_> {
    fn row<'r>(&'r self, index: u32, part: u16, event: &'r Normalised, raw: &'r str) -> Row<'r> {
        Row {
            tenant: self.stored.source.tenant,
            source: &self.stored.source.name,
            received: self.stored.received,
            segment: self.place.segment,
            offset: self.place.offset,
            index,
            part,
            event,
            raw,
        }
    }
}

/// The mapping of a record.
pub(crate) fn choose<'m>(reading: &'m Reading, view: &View<'_>) -> Option<&'m Mapping> {
    match reading {
        Reading::BuiltIn(mapping) => Some(mapping),
        Reading::Own(all) => all.iter().find(|mapping| mapping.recognises(view)).or_else(|| all.first()),
        Reading::Told => Mappings::built_in().detect(view).or_else(|| Mappings::built_in().named("json")),
    }
}

/// A line of text as a JSON object.
pub(crate) fn line(text: &str, received: Timestamp) -> Vec<u8> {
    match event::read::line_record(text, received) {
        Some(json) => json.into_bytes(),
        None => serde_json::json!({ "message": text }).to_string().into_bytes(),
    }
}

/// `{...}` of `{"syslog":{...}}`.
pub(crate) fn inside(json: &[u8]) -> Option<&[u8]> {
    let start = memchr::memchr(b':', json)?.checked_add(1)?;
    let inner = json.get(start..json.len().checked_sub(1)?)?;
    (json.starts_with(b"{\"auditd\":") || json.starts_with(b"{\"syslog\":")).then_some(inner)
}

/// `time` of a Splunk event.
fn envelope_time(envelope: &[u8]) -> Option<Timestamp> {
    #[derive(serde::Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        time: Option<&'a serde_json::value::RawValue>,
    }
    let envelope: Envelope<'_> = serde_json::from_slice(envelope).ok()?;
    event::mapping::parse_time(envelope.time?.get().trim_matches('"'))
}

//! An answer while it comes in: bounded text and calls, whatever wire brings them, streamed or whole. Never panics on what
//! a provider sends, and holds no more of it than [`Bounds`] say.

use crate::config::Kind;
use crate::names::WireNames;
use crate::sse::Events;
use crate::{anthropic, openai};
use agent::{Piece, StopReason, ToolCall};
use serde_json::{Map, Value};
use thiserror::Error;

/// How many bytes one token of an answer may have; what comes after so many is cut.
const BYTES_PER_TOKEN_MAX: usize = 16;
/// Least and most bytes of text, and most bytes of arguments, of one answer.
const TEXT_BYTES_MIN: usize = 4 * 1024;
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// The most calls of one answer.
const CALLS_MAX: usize = 32;
/// The most bytes of a call's id or name.
const NAME_BYTES_MAX: usize = 256;
/// The most bytes of an answer that is not streamed.
const WHOLE_BYTES_MAX: usize = 4 << 20;
/// The most characters of what a provider says about an error: kept, and shown in a reason.
const KEPT_CHARS_MAX: usize = 4096;
const SHOWN_CHARS_MAX: usize = 300;

/// Why an answer cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
pub(crate) enum Broken {
    /// It is not what the wire says.
    #[error("the answer cannot be read: {0}")]
    Answer(String),
    /// The provider told of an error, in the stream or in its place.
    #[error("the provider says {kind}: {message}")]
    Provider {
        /// Its word for it.
        kind: String,
        /// Its text, bounded.
        message: String,
    },
}

impl Broken {
    pub(crate) fn answer(why: impl Into<String>) -> Self {
        Self::Answer(why.into())
    }

    /// An error object of either wire.
    pub(crate) fn provider(error: &Value) -> Self {
        let word = |key: &str| error.get(key).and_then(|value| value.as_str().map(str::to_owned));
        let kind = word("type").or_else(|| word("code")).unwrap_or_else(|| "error".to_owned());
        let message = word("message").or_else(|| error.as_str().map(str::to_owned)).unwrap_or_default();
        let kept = |text: String| text.chars().take(KEPT_CHARS_MAX).collect();
        Self::Provider { kind: kept(kind), message: kept(message) }
    }
}

/// An outsider's text as it may stand in a reason: one line, bounded.
pub(crate) fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_CHARS_MAX).collect()
}

/// How much of an answer is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    text_bytes: usize,
}

impl Bounds {
    pub(crate) fn of(output_tokens_max: u32) -> Self {
        let bytes = usize::try_from(output_tokens_max).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN_MAX);
        Self { text_bytes: bytes.clamp(TEXT_BYTES_MIN, TEXT_BYTES_MAX) }
    }
}

#[derive(Debug, Default)]
struct CallDraft {
    /// Its number on the wire, where that has one.
    place: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

/// What came in so far.
#[derive(Debug)]
pub(crate) struct Draft {
    bounds: Bounds,
    text: String,
    calls: Vec<CallDraft>,
    arguments_bytes: usize,
    stop: Option<StopReason>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    /// A bound was met; nothing more is taken.
    cut: bool,
    /// The wire said that this was all.
    ended: bool,
}

impl Draft {
    fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            text: String::new(),
            calls: Vec::new(),
            arguments_bytes: 0,
            stop: None,
            input_tokens: None,
            output_tokens: None,
            cut: false,
            ended: false,
        }
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.cut |= !push(&mut self.text, text, self.bounds.text_bytes);
    }

    /// A call begins, or goes on under the same number. Some servers number every call 0 and tell them apart by id only.
    pub(crate) fn call(&mut self, place: Option<u64>, id: &str, name: &str) {
        let goes_on = self.calls.iter().rposition(|call| match place {
            Some(_) => call.place == place,
            None => id.is_empty() || call.id == id,
        });
        let goes_on = goes_on.filter(|found| {
            let own = self.calls.get(*found).map_or("", |call| call.id.as_str());
            id.is_empty() || own.is_empty() || own == id
        });
        let Some(call) = goes_on.and_then(|found| self.calls.get_mut(found)) else {
            if self.calls.len() >= CALLS_MAX {
                self.cut = true;
                return;
            }
            let mut call = CallDraft { place, ..CallDraft::default() };
            push(&mut call.id, id, NAME_BYTES_MAX);
            push(&mut call.name, name, NAME_BYTES_MAX);
            self.calls.push(call);
            return;
        };
        if call.id.is_empty() {
            push(&mut call.id, id, NAME_BYTES_MAX);
        }
        if call.name.is_empty() {
            push(&mut call.name, name, NAME_BYTES_MAX);
        }
    }

    /// More of the arguments of a call; of the last one where the wire does not number them.
    pub(crate) fn arguments(&mut self, place: Option<u64>, text: &str) {
        let found = self.calls.iter_mut().rev().find(|call| place.is_none() || call.place == place);
        let Some(call) = found else { return };
        let room = TEXT_BYTES_MAX.saturating_sub(self.arguments_bytes);
        self.arguments_bytes = self.arguments_bytes.saturating_add(text.len());
        let bound = call.arguments.len().saturating_add(room);
        self.cut |= !push(&mut call.arguments, text, bound);
    }

    pub(crate) fn stop(&mut self, stop: StopReason) {
        self.stop = Some(stop);
    }

    pub(crate) fn input_tokens(&mut self, tokens: u64) {
        self.input_tokens = Some(tokens);
    }

    pub(crate) fn output_tokens(&mut self, tokens: u64) {
        self.output_tokens = Some(tokens);
    }

    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether nothing more is wanted.
    fn is_done(&self) -> bool {
        self.cut || self.ended
    }

    /// Tokens read and written, as the provider counts them; nothing where it does not, or says that it was nothing.
    pub(crate) fn counted(&self) -> Option<(u64, u64)> {
        let (input, output) = (self.input_tokens.unwrap_or(0), self.output_tokens.unwrap_or(0));
        // What was cut was not counted to its end.
        (!self.cut && input > 0 && (output > 0 || self.output_tokens.is_some())).then_some((input, output))
    }

    /// Bytes that the model wrote.
    pub(crate) fn bytes(&self) -> u64 {
        u64::try_from(self.text.len().saturating_add(self.arguments_bytes)).unwrap_or(u64::MAX)
    }

    /// That this is a whole answer.
    fn whole(self) -> Result<Self, Broken> {
        let says = !self.text.is_empty() || !self.calls.is_empty();
        if self.cut || self.stop.is_some() || (self.ended && says) {
            return Ok(self);
        }
        Err(Broken::answer(if says { "it ends in the middle" } else { "it says nothing" }))
    }

    /// The answer as its pieces, with the names of operations.
    pub(crate) fn into_parts(self, names: &WireNames) -> Vec<Piece> {
        let mut pieces = Vec::with_capacity(self.calls.len().saturating_add(2));
        if !self.text.is_empty() {
            pieces.push(Piece::Text(self.text));
        }
        let called = !self.calls.is_empty();
        for (place, call) in self.calls.into_iter().enumerate() {
            let id = if call.id.is_empty() { format!("c{place}") } else { call.id };
            let name = names.operation(&call.name);
            pieces.push(Piece::Call(ToolCall { id, name, arguments: read(call.arguments) }));
        }
        let plain = if called { StopReason::ToolCalls } else { StopReason::End };
        pieces.push(Piece::Stop(if self.cut { StopReason::Length } else { self.stop.unwrap_or(plain) }));
        pieces
    }
}

/// Arguments as a model wrote them: none is an empty object, and what is no JSON stays a text.
fn read(arguments: String) -> Value {
    if arguments.trim().is_empty() {
        return Value::Object(Map::new());
    }
    serde_json::from_str(&arguments).unwrap_or(Value::String(arguments))
}

/// Append as much as there is room for; whether all of it was.
fn push(to: &mut String, text: &str, bytes_max: usize) -> bool {
    let room = bytes_max.saturating_sub(to.len());
    if text.len() <= room {
        to.push_str(text);
        return true;
    }
    to.extend(text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= room).map(|(_, c)| c));
    false
}

/// Reads a body as it arrives.
#[derive(Debug)]
pub(crate) struct Decoder {
    kind: Kind,
    draft: Draft,
    body: Body,
    found: Vec<String>,
}

/// What kind of body it is, which its first letter says: servers are not careful with the content type.
#[derive(Debug)]
enum Body {
    Events(Events),
    Unknown,
    Whole(Vec<u8>),
}

impl Decoder {
    pub(crate) fn new(kind: Kind, bounds: Bounds) -> Self {
        Self { kind, draft: Draft::new(bounds), body: Body::Unknown, found: Vec::new() }
    }

    /// What came in so far.
    pub(crate) fn draft(&self) -> &Draft {
        &self.draft
    }

    /// Take a part of the body; whether nothing more is wanted.
    pub(crate) fn take(&mut self, part: &[u8]) -> Result<bool, Broken> {
        if matches!(self.body, Body::Unknown)
            && let Some(first) = part.iter().find(|byte| !byte.is_ascii_whitespace())
        {
            self.body = if *first == b'{' { Body::Whole(Vec::new()) } else { Body::Events(Events::default()) };
        }
        match &mut self.body {
            Body::Unknown => {}
            Body::Whole(body) => {
                if body.len().saturating_add(part.len()) > WHOLE_BYTES_MAX {
                    return Err(Broken::answer(format!("it is over {WHOLE_BYTES_MAX} bytes")));
                }
                body.extend_from_slice(part);
            }
            Body::Events(events) => {
                let taken = events.take(part, &mut self.found);
                self.read_events()?;
                taken.map_err(|error| Broken::answer(error.to_string()))?;
            }
        }
        Ok(self.draft.is_done())
    }

    /// The body ended, or nothing more is wanted of it.
    pub(crate) fn finish(mut self) -> Result<Draft, Broken> {
        match &mut self.body {
            Body::Unknown => return Err(Broken::answer("it is empty")),
            Body::Whole(body) => {
                let value: Value = serde_json::from_slice(body).map_err(|_| Broken::answer("it is no JSON"))?;
                match self.kind {
                    Kind::Anthropic => anthropic::read_whole(&value, &mut self.draft)?,
                    Kind::Openai => openai::read_whole(&value, &mut self.draft)?,
                }
            }
            Body::Events(events) => {
                if !self.draft.is_done() {
                    events.finish(&mut self.found);
                    self.read_events()?;
                }
            }
        }
        self.draft.whole()
    }

    fn read_events(&mut self) -> Result<(), Broken> {
        for event in self.found.drain(..) {
            if self.draft.is_done() {
                break;
            }
            if event == "[DONE]" {
                self.draft.end();
                continue;
            }
            if event.trim().is_empty() {
                continue;
            }
            let value: Value =
                serde_json::from_str(&event).map_err(|_| Broken::answer("an event of the stream is no JSON"))?;
            match self.kind {
                Kind::Anthropic => anthropic::read_event(&value, &mut self.draft)?,
                Kind::Openai => openai::read_event(&value, &mut self.draft)?,
            }
        }
        Ok(())
    }
}

/// A number of tokens in a provider's count.
pub(crate) fn tokens(usage: &Value, key: &str) -> Option<u64> {
    usage.get(key).and_then(Value::as_u64)
}

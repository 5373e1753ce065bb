//! Language models behind `agent`'s trait: OpenAI-compatible chat completions and Anthropic messages.
//!
//! An alias of the configuration stands for a model; a run knows nothing else of it. Everything that comes back is an
//! outsider's text: bounded in bytes, time and money, parsed without trust, retried within the request's allowance. Must
//! never log or show a key, follow a redirect, reach an address that the configuration does not name, or decide what a
//! call may do: that is the gate's.

mod anthropic;
mod attempt;
mod config;
mod draft;
mod history;
mod in_text;
mod models;
mod names;
mod openai;
mod retry;
mod sse;

pub use config::{ConfigError, Kind, OutputLimit, Prices, Section, Surroundings, Timeouts, ToolStyle};
pub use models::{Models, Pause, TokioPause};

/// What the fuzz targets reach.
#[doc(hidden)]
pub mod fuzzing {
    use crate::config::Kind;
    use crate::draft::{Bounds, Decoder};
    use crate::names::WireNames;

    /// Read a body as one kind of provider sends it, in parts of this size; how many bytes of it were kept.
    #[must_use]
    pub fn read(anthropic: bool, body: &[u8], part: usize) -> usize {
        let kind = if anthropic { Kind::Anthropic } else { Kind::Openai };
        let bounds = Bounds::of(1024);
        let mut decoder = Decoder::new(kind, bounds);
        for part in body.chunks(part.max(1)) {
            match decoder.take(part) {
                Ok(false) => {}
                Ok(true) => break,
                Err(_) => return 0,
            }
        }
        let draft = decoder.finish();
        draft.ok().map_or(0, |draft| draft.into_parts(&WireNames::of(&[])).iter().map(size).sum())
    }

    fn size(piece: &agent::Piece) -> usize {
        match piece {
            agent::Piece::Text(text) => text.len(),
            agent::Piece::Call(call) => call.name.len() + call.id.len() + call.arguments.to_string().len(),
            agent::Piece::Stop(_) | agent::Piece::Usage(_) => 0,
        }
    }
}

//! Patterns of any shape on folded text, without allocation: segments between `*` are found from left to right.

use crate::fold::fold;
use crate::sigma::{Part, Pattern};
use memchr::memmem;

/// A compiled pattern. Give it folded text, or the text as it is where the pattern is cased.
#[derive(Debug)]
pub(super) struct Glob {
    segments: Box<[Segment]>,
    open_start: bool,
    open_end: bool,
}

/// Pieces that follow each other without a gap.
#[derive(Debug, Default)]
struct Segment {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Text(Box<str>),
    One,
    Dash,
}

impl Glob {
    pub(super) fn new(pattern: &Pattern) -> Self {
        let mut segments = Vec::new();
        let mut current = Segment::default();
        for part in pattern.parts() {
            match part {
                Part::Text(text) => {
                    current.pieces.push(Piece::Text(if pattern.cased() { text.clone() } else { fold(text).into() }))
                }
                Part::One => current.pieces.push(Piece::One),
                Part::Dash => current.pieces.push(Piece::Dash),
                Part::Any => segments.push(std::mem::take(&mut current)),
                // Lowering leaves none; a character that no text holds keeps it from matching.
                Part::Placeholder(_) => current.pieces.push(Piece::Text("\u{10ffff}".into())),
            }
        }
        segments.push(current);
        let open_start = segments.len() > 1 && segments.first().is_some_and(|s| s.pieces.is_empty());
        let open_end = segments.len() > 1 && segments.last().is_some_and(|s| s.pieces.is_empty());
        if segments.len() > 1 {
            segments.retain(|segment| !segment.pieces.is_empty());
        }
        Self { segments: segments.into_boxed_slice(), open_start, open_end }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let mut at = 0;
        let last = self.segments.len().saturating_sub(1);
        for (index, segment) in self.segments.iter().enumerate() {
            let fixed_start = index == 0 && !self.open_start;
            let fixed_end = index == last && !self.open_end;
            let found = match (fixed_start, fixed_end) {
                (true, true) => segment.fits(text, 0).filter(|end| *end == text.len()),
                (true, false) => segment.fits(text, 0),
                (false, end) => segment.find(text, at, end),
            };
            match found {
                Some(end) => at = end,
                None => return false,
            }
        }
        true
    }
}

impl Segment {
    /// The segment lies at byte `at`; returns its end.
    fn fits(&self, text: &str, at: usize) -> Option<usize> {
        let mut rest = text.get(at..)?;
        for piece in &self.pieces {
            rest = match piece {
                Piece::Text(literal) => rest.strip_prefix(&**literal)?,
                Piece::One => {
                    let mut characters = rest.chars();
                    characters.next()?;
                    characters.as_str()
                }
                Piece::Dash => rest.strip_prefix(['-', '/', '–', '—', '―'])?,
            };
        }
        Some(text.len().saturating_sub(rest.len()))
    }

    /// The first place at or after `from`; with `to_end` the place that reaches the end of the text.
    fn find(&self, text: &str, from: usize, to_end: bool) -> Option<usize> {
        let mut at = from;
        loop {
            if let Some(Piece::Text(literal)) = self.pieces.first() {
                at = at.saturating_add(memmem::find(text.as_bytes().get(at..)?, literal.as_bytes())?);
            }
            if let Some(end) = self.fits(text, at)
                && (!to_end || end == text.len())
            {
                return Some(end);
            }
            at = at.saturating_add(text.get(at..)?.chars().next()?.len_utf8());
        }
    }
}

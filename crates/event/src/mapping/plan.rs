//! A mapping in the form in which it runs: conditions, fields in the order in which they are written, and what a
//! record needs to be recognised. Made by `compile`, run by `run`; holds no file format and no schema.

use super::trie::Trie;
use super::value::{Target, Value};
use crate::path::FieldPath;
use crate::scalar::Scalar;
use crate::view::View;
use regex::Regex;
use std::collections::{BTreeMap, HashSet};
use thiserror::Error;

/// What is wrong with a mapping file.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[error("{file}, {place}: {reason}")]
pub struct MappingFault {
    /// The file.
    pub file: String,
    /// The class, field or form.
    pub place: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

/// A compiled mapping: one source in one form.
pub struct Mapping {
    pub(super) name: String,
    pub(super) passthrough: bool,
    pub(super) absent: Vec<String>,
    pub(super) detect: Vec<Detect>,
    /// Fields that may stand besides where the mapping looks, in records whose fields stand in Windows' envelope.
    pub(super) elsewhere: Vec<String>,
    /// The fields that classes are chosen by, each read once a record.
    pub(super) conditions: Vec<Vec<FieldPath>>,
    /// Slots of the conditions' paths.
    pub(super) condition_slots: Vec<Vec<u32>>,
    /// Every path that a condition or a field of any plan reads.
    pub(super) trie: Trie,
    pub(super) plans: Vec<Plan>,
}

#[derive(Clone)]
pub(super) struct Detect {
    pub(super) exists: Vec<FieldPath>,
    pub(super) equals: Vec<(FieldPath, Vec<Pattern>)>,
}

/// A text with `*` at its ends, compared without ASCII case.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    open_start: bool,
    open_end: bool,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        let (open_start, rest) = text.strip_prefix('*').map_or((false, text), |rest| (true, rest));
        let (open_end, rest) = rest.strip_suffix('*').map_or((false, rest), |rest| (true, rest));
        Self { text: rest.to_ascii_lowercase(), open_start, open_end }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let (text, wanted) = (text.as_bytes(), self.text.as_bytes());
        match (self.open_start, self.open_end) {
            (false, false) => text.eq_ignore_ascii_case(wanted),
            (false, true) => text.get(..wanted.len()).is_some_and(|head| head.eq_ignore_ascii_case(wanted)),
            (true, false) => {
                let from = text.len().checked_sub(wanted.len());
                from.and_then(|from| text.get(from..)).is_some_and(|tail| tail.eq_ignore_ascii_case(wanted))
            }
            (true, true) => {
                wanted.is_empty() || text.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted))
            }
        }
    }
}

/// How records become events of one class.
pub(super) struct Plan {
    pub(super) class_uid: u32,
    pub(super) category_uid: u32,
    /// Places in the mapping's conditions and what they must be; no pattern asks for presence.
    pub(super) when: Vec<(usize, Vec<Pattern>)>,
    pub(super) activity: Source,
    pub(super) activity_target: Target,
    /// Sorted by path.
    pub(super) fields: Vec<Field>,
    pub(super) groups: usize,
    /// Places of the fields that columns, observables, time and severity need, with those that decide whether they
    /// are written.
    pub(super) columns: Vec<usize>,
    /// Places of the fields that a column keeps as the source wrote them.
    pub(super) kept: Vec<usize>,
    /// The profiles that any of the fields comes with.
    pub(super) profiles: Vec<&'static str>,
    pub(super) consumed: Consumed,
}

/// One step of an OCSF path.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(super) enum Segment {
    Index(u32),
    Key(String),
}

/// One OCSF attribute that is written.
pub(super) struct Field {
    pub(super) path: Vec<Segment>,
    pub(super) text: String,
    pub(super) target: Target,
    pub(super) list: bool,
    pub(super) source: Source,
    /// Places of the objects around it, outermost first.
    pub(super) around: Vec<usize>,
    pub(super) observable: Option<u16>,
    pub(super) column: Option<usize>,
    pub(super) profile: Option<&'static str>,
    /// Written only where none of these fields is: what OCSF asks for at least one of.
    pub(super) instead_of: Vec<usize>,
}

/// Where a value comes from, compiled.
#[derive(Clone, Default)]
pub(super) struct Source {
    pub(super) paths: Vec<FieldPath>,
    /// Slots of the paths in the mapping's trie.
    pub(super) slots: Vec<u32>,
    pub(super) regex: Option<Regex>,
    pub(super) convert: Convert,
    pub(super) lookup: BTreeMap<String, String>,
    pub(super) constant: Option<Value<'static>>,
    /// The constant is written even where nothing else of its object is.
    pub(super) alone: bool,
    pub(super) default: Option<Value<'static>>,
    /// Written only where something else of the object is.
    pub(super) fill: Option<Value<'static>>,
    /// The profiles that the event makes use of.
    pub(super) profiles: bool,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub(super) enum Convert {
    /// What follows the last slash or backslash.
    Basename,
    Lower,
    /// What stands before the last slash or backslash.
    Parent,
    #[default]
    None,
}

/// The source paths that a plan reads, to tell what stays unmapped.
#[derive(Default)]
pub(super) struct Consumed {
    exact: HashSet<String>,
    under: Vec<String>,
    any: Vec<(String, String)>,
}

impl Consumed {
    pub(super) fn add(&mut self, path: &FieldPath, whole: bool) {
        let numbered = |segment: &&str| segment.parse::<u32>().is_err();
        let path = path.as_str().split('.').filter(numbered).collect::<Vec<_>>().join(".");
        if let Some((head, tail)) = path.split_once(".*.") {
            self.any.push((format!("{head}."), format!(".{tail}")));
        } else if whole {
            self.under.push(format!("{path}."));
            self.exact.insert(path);
        } else {
            self.exact.insert(path);
        }
    }

    pub(super) fn holds(&self, path: &str) -> bool {
        self.exact.contains(path)
            || self.under.iter().any(|head| path.starts_with(head.as_str()))
            || self.any.iter().any(|(head, tail)| path.starts_with(head.as_str()) && path.ends_with(tail.as_str()))
    }
}

impl Mapping {
    /// The mapping's name, unique among all.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Compile a mapping file: one mapping for each form of the source.
    ///
    /// # Errors
    /// Every fault of the file: unknown keys, classes, attributes, captions; required attributes that are not mapped.
    pub fn compile_file(name: &str, text: &str) -> Result<Vec<Self>, Vec<MappingFault>> {
        super::compile::compile_file(name, text)
    }

    /// Whether a record is of this source and form.
    #[must_use]
    pub fn recognises(&self, record: &View<'_>) -> bool {
        let mut recogniser = Recogniser::default();
        recogniser.add(self);
        recogniser.first(record).is_some()
    }
}

/// How records are recognised, for many mappings in one walk over the record.
#[derive(Default)]
pub(super) struct Recogniser {
    trie: Trie,
    /// By slot, what is asked there: a question's number and the patterns of which a scalar must be one; none asks
    /// for presence.
    asked: Vec<Vec<(usize, Vec<Pattern>)>>,
    /// How many questions there are.
    questions: usize,
    /// For each mapping its alternatives, each the questions that must all hold, as a range.
    alternatives: Vec<Vec<std::ops::Range<usize>>>,
}

impl Recogniser {
    /// Ask for one more mapping, after all that were added before.
    pub(super) fn add(&mut self, mapping: &Mapping) {
        let mut alternatives = Vec::new();
        for Detect { exists, equals } in &mapping.detect {
            let from = self.questions;
            exists.iter().for_each(|path| self.ask(path, Vec::new()));
            equals.iter().for_each(|(path, patterns)| self.ask(path, patterns.clone()));
            alternatives.push(from..self.questions);
        }
        self.alternatives.push(alternatives);
    }

    fn ask(&mut self, path: &FieldPath, patterns: Vec<Pattern>) {
        let slot = usize::try_from(self.trie.add(path)).unwrap_or(usize::MAX);
        self.asked.resize_with(self.trie.slots(), Vec::new);
        if let Some(asked) = self.asked.get_mut(slot) {
            asked.push((self.questions, patterns));
        }
        self.questions = self.questions.saturating_add(1);
    }

    /// The place of the first mapping that recognises a record.
    pub(super) fn first(&self, record: &View<'_>) -> Option<usize> {
        let mut holds = vec![false; self.questions];
        self.trie.visit(record.root(), &mut |slot, item| {
            let asked = usize::try_from(slot).ok().and_then(|slot| self.asked.get(slot));
            for (question, patterns) in asked.into_iter().flatten() {
                let Some(held) = holds.get_mut(*question).filter(|held| !**held) else { continue };
                *held = patterns.is_empty();
                if !*held {
                    let _ = item.scalars(&mut |scalar: Scalar<'_>| {
                        *held = *held || patterns.iter().any(|pattern| pattern.matches(&scalar.to_text()));
                        std::ops::ControlFlow::Continue(())
                    });
                }
            }
        });
        self.alternatives.iter().position(|alternatives| {
            alternatives.iter().any(|range| holds.get(range.clone()).is_some_and(|all| all.iter().all(|held| *held)))
        })
    }
}

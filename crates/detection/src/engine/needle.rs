//! What must occur in a text for a test to hold: the literals by which tests are found instead of asked.

use crate::fold::fold;
use crate::sigma::{Matcher, Part, Pattern, Regexp};
use regex_syntax::hir::{Class, Hir, HirKind};

/// Where a needle must lie in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    Whole,
    Start,
    End,
    Anywhere,
}

/// A folded literal at a place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Needle {
    pub(super) place: Place,
    pub(super) text: Box<str>,
}

/// How a test can be found.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Finding {
    /// One of these occurs when the test holds; `decides`: and only then.
    Needles { needles: Vec<Needle>, decides: bool },
    /// The field is there when the test holds.
    Presence,
    /// It can hold of a record that lacks the field.
    Never,
}

/// Most variants of a run with dashes.
const VARIANTS_MAX: usize = 25;
/// Most alternatives that a regular expression may demand.
const ALTERNATIVES_MAX: usize = 64;
/// Shortest literal of a regular expression that is worth finding.
const REGEXP_LITERAL_MIN: usize = 3;

pub(super) fn finding(matcher: &Matcher) -> Finding {
    match matcher {
        Matcher::Null => Finding::Never,
        Matcher::Text(pattern) => pattern_finding(pattern),
        Matcher::Number(number) => Finding::Needles {
            needles: vec![Needle { place: Place::Whole, text: number.to_string().into() }],
            decides: false,
        },
        Matcher::Regexp(regexp) => match regexp_literals(regexp) {
            Some(texts) => Finding::Needles {
                needles: texts.into_iter().map(|t| Needle { place: Place::Anywhere, text: t.into() }).collect(),
                decides: false,
            },
            None => Finding::Presence,
        },
        Matcher::Exists
        | Matcher::Compare(..)
        | Matcher::Cidr(_)
        | Matcher::FieldRef { .. }
        | Matcher::Time(..)
        | Matcher::Unresolved(_) => Finding::Presence,
    }
}

fn pattern_finding(pattern: &Pattern) -> Finding {
    let parts = pattern.parts();
    if parts.is_empty() {
        let needle = Needle { place: Place::Whole, text: "".into() };
        return Finding::Needles { needles: vec![needle], decides: true };
    }
    // Runs of text and dashes between wildcards, each with its place.
    let mut best: Option<(usize, Vec<Needle>)> = None;
    let mut start = 0;
    while start < parts.len() {
        let gap = |part: &Part| matches!(part, Part::Any | Part::One);
        let end = parts.iter().enumerate().skip(start).find(|(_, p)| gap(p)).map_or(parts.len(), |(index, _)| index);
        if let Some(run) = parts.get(start..end).filter(|run| !run.is_empty()) {
            let place = match (start == 0, end == parts.len()) {
                (true, true) => Place::Whole,
                (true, false) => Place::Start,
                (false, true) => Place::End,
                (false, false) => Place::Anywhere,
            };
            let needles = run_needles(run, place);
            let length = needles.iter().map(|n| n.text.len()).min().unwrap_or(0);
            if best.as_ref().is_none_or(|(other, _)| length > *other) {
                best = Some((length, needles));
            }
        }
        start = end.saturating_add(1);
    }
    let needles = match best {
        Some((_, needles)) if !needles.is_empty() => needles,
        _ => return Finding::Presence,
    };
    let inner = parts.strip_prefix(&[Part::Any]).unwrap_or(parts);
    let inner = inner.strip_suffix(&[Part::Any]).unwrap_or(inner);
    let one_run = !inner.iter().any(|part| matches!(part, Part::Any | Part::One));
    let whole_run = needles.first().is_some_and(|needle| expanded(parts, needle));
    Finding::Needles { needles, decides: one_run && whole_run && !pattern.cased() }
}

/// The needle is as long as all literal parts together, so nothing was left out of it.
fn expanded(parts: &[Part], needle: &Needle) -> bool {
    let characters: usize = parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.chars().count(),
            Part::Dash => 1,
            _ => 0,
        })
        .sum();
    needle.text.chars().count() == characters
}

fn run_needles(run: &[Part], place: Place) -> Vec<Needle> {
    let dashes = run.iter().filter(|part| matches!(part, Part::Dash)).count();
    let variants = 5_usize.checked_pow(u32::try_from(dashes).unwrap_or(u32::MAX)).unwrap_or(usize::MAX);
    if variants > VARIANTS_MAX {
        let longest =
            run.iter().filter_map(|p| if let Part::Text(t) = p { Some(t) } else { None }).max_by_key(|t| t.len());
        return longest.map(|t| vec![Needle { place: Place::Anywhere, text: fold(t).into() }]).unwrap_or_default();
    }
    let mut texts = vec![String::new()];
    for part in run {
        match part {
            Part::Text(text) => texts.iter_mut().for_each(|t| t.push_str(&fold(text))),
            _ => {
                texts = texts.iter().flat_map(|t| ['-', '/', '–', '—', '―'].map(|dash| format!("{t}{dash}"))).collect();
            }
        }
    }
    texts.into_iter().map(|text| Needle { place, text: text.into() }).collect()
}

/// Folded literals of which one occurs in every match.
fn regexp_literals(regexp: &Regexp) -> Option<Vec<String>> {
    if regexp.backtracks() {
        return None;
    }
    let flags = regexp.flags();
    let hir = regex_syntax::ParserBuilder::new()
        .case_insensitive(flags.ignore_case)
        .multi_line(flags.multi_line)
        .dot_matches_new_line(flags.dot_all)
        .build()
        .parse(regexp.source())
        .ok()?;
    demanded(&hir).filter(|texts| texts.iter().all(|t| t.len() >= REGEXP_LITERAL_MIN))
}

fn demanded(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).ok().map(|text| vec![fold(text)]),
        HirKind::Class(class) => one_letter(class).map(|letter| vec![letter.to_string()]),
        HirKind::Capture(capture) => demanded(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => demanded(&repetition.sub),
        HirKind::Alternation(items) => {
            let mut all = Vec::new();
            for item in items {
                all.extend(demanded(item)?);
            }
            (all.len() <= ALTERNATIVES_MAX).then_some(all)
        }
        HirKind::Concat(items) => {
            let mut best: Option<Vec<String>> = None;
            let mut consider = |texts: Vec<String>| {
                let shortest = |t: &Vec<String>| t.iter().map(String::len).min().unwrap_or(0);
                if best.as_ref().is_none_or(|b| shortest(&texts) > shortest(b)) {
                    best = Some(texts);
                }
            };
            let mut run = String::new();
            for item in items {
                let letters = match item.kind() {
                    HirKind::Literal(literal) => std::str::from_utf8(&literal.0).ok().map(fold),
                    HirKind::Class(class) => one_letter(class).map(String::from),
                    _ => None,
                };
                match letters {
                    Some(letters) => run.push_str(&letters),
                    None => {
                        consider(vec![std::mem::take(&mut run)]);
                        if let Some(texts) = demanded(item) {
                            consider(texts);
                        }
                    }
                }
            }
            consider(vec![run]);
            best.filter(|texts| texts.iter().all(|t| !t.is_empty()))
        }
        HirKind::Empty | HirKind::Look(_) | HirKind::Repetition(_) => None,
    }
}

/// The letter, where the class is one letter in its cases.
fn one_letter(class: &Class) -> Option<char> {
    let Class::Unicode(class) = class else { return None };
    let mut letters = class.ranges().iter().flat_map(|range| range.start()..=range.end()).take(5);
    let first = crate::fold::fold_char(letters.next()?);
    letters.all(|other| crate::fold::fold_char(other) == first).then_some(first)
}

//! Patterns by definition: character by character, with memory of the last `*`.

use crate::fold::fold_char;
use crate::sigma::{Part, Pattern};

enum Unit {
    One(char),
    AnyOne,
    Dash,
    AnyMany,
}

/// The whole text fits the pattern.
pub(super) fn matches(pattern: &Pattern, text: &str) -> bool {
    let canonical = |c: char| if pattern.cased() { c } else { fold_char(c) };
    let mut units = Vec::new();
    for part in pattern.parts() {
        match part {
            Part::Text(literal) => units.extend(literal.chars().map(|c| Unit::One(canonical(c)))),
            Part::Any => units.push(Unit::AnyMany),
            Part::One => units.push(Unit::AnyOne),
            Part::Dash => units.push(Unit::Dash),
            // A placeholder that nothing resolved never matches.
            Part::Placeholder(_) => return false,
        }
    }
    let text: Vec<char> = text.chars().map(canonical).collect();
    let (mut unit, mut at) = (0, 0);
    let mut resume: Option<(usize, usize)> = None;
    loop {
        let step = match (units.get(unit), text.get(at)) {
            (None, None) => return true,
            (Some(Unit::AnyMany), _) => {
                resume = Some((unit, at));
                unit += 1;
                continue;
            }
            (Some(Unit::One(want)), Some(have)) => want == have,
            (Some(Unit::AnyOne), Some(_)) => true,
            (Some(Unit::Dash), Some(have)) => matches!(have, '-' | '/' | '–' | '—' | '―'),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if step {
            unit += 1;
            at += 1;
        } else {
            match resume {
                Some((star, from)) if from < text.len() => {
                    resume = Some((star, from + 1));
                    unit = star + 1;
                    at = from + 1;
                }
                _ => return false,
            }
        }
    }
}

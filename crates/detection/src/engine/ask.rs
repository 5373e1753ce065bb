//! One test of one record: answered once, remembered for every rule that shares it.

use super::extract::Values;
use super::program::{Check, KEYWORD, Kind, Texts};
use super::{Engine, Scratch};
use crate::value::{Leaf, order};
use event::View;

impl Engine {
    /// Whether a test holds of the record.
    pub(super) fn ask<'v>(
        &self,
        test: u32,
        view: &'v View<'_>,
        values: &mut Values<'v>,
        scratch: &mut Scratch,
    ) -> bool {
        let memo = scratch.memo.get(test as usize).copied().unwrap_or(0);
        if memo >> 1 == scratch.epoch {
            return memo & 1 == 1;
        }
        let held = self.checks.get(test as usize).is_some_and(|check| self.evaluate(check, view, values, scratch));
        if let Some(memo) = scratch.memo.get_mut(test as usize) {
            *memo = scratch.epoch << 1 | u32::from(held);
        }
        held
    }

    fn evaluate<'v>(&self, check: &Check, view: &'v View<'_>, values: &mut Values<'v>, scratch: &mut Scratch) -> bool {
        let field = if check.field == KEYWORD {
            if !scratch.keywords_read {
                scratch.keywords_read = true;
                values.read_all(self.fields, view.root());
            }
            self.fields
        } else {
            check.field
        };
        match &check.kind {
            Kind::Exists => return check.field == KEYWORD || values.present(field),
            Kind::Null if !values.present(field) => return check.field != KEYWORD,
            _ => {}
        }
        let mut at = values.first(field);
        while let Some(held) = values.get(at) {
            let next = held.next;
            if holds(&check.kind, &self.texts, at, held.leaf, values, &mut scratch.other) {
                return true;
            }
            at = next;
        }
        false
    }
}

fn holds(
    kind: &Kind,
    texts: &Texts,
    at: u32,
    leaf: Leaf<'_>,
    values: &mut Values<'_>,
    other_text: &mut String,
) -> bool {
    match kind {
        Kind::Exists => true,
        Kind::Null => leaf == Leaf::Null,
        Kind::Whole(text) => values.folded(at).is_some_and(|mine| mine == texts.of(*text)),
        Kind::Start(text) => values.folded(at).is_some_and(|mine| mine.starts_with(texts.of(*text))),
        Kind::End(text) => values.folded(at).is_some_and(|mine| mine.ends_with(texts.of(*text))),
        Kind::Contains(text) => {
            let found = |mine: &str| memchr::memmem::find(mine.as_bytes(), texts.of(*text).as_bytes()).is_some();
            values.folded(at).is_some_and(found)
        }
        Kind::Anywhere(finder) => values.folded(at).is_some_and(|mine| finder.find(mine.as_bytes()).is_some()),
        Kind::Glob { glob, cased: false } => values.folded(at).is_some_and(|mine| glob.matches(mine)),
        Kind::Glob { glob, cased: true } => values.exact(at).is_some_and(|mine| glob.matches(mine)),
        Kind::Number(number) => match leaf {
            Leaf::Text(text) => *text == *number.1,
            other => other.equals(number.0),
        },
        Kind::Compare(comparison, number) => {
            leaf.number().and_then(|mine| order(mine, **number)).is_some_and(|order| comparison.admits(order))
        }
        Kind::Cidr(cidr) => match leaf {
            Leaf::Text(text) => text.parse().is_ok_and(|address| cidr.contains(address)),
            _ => false,
        },
        Kind::Regexp(regexp) => values.exact(at).is_some_and(|mine| regexp.found_in(mine)),
        Kind::Time(part, value) => leaf.time_part(*part) == Some(**value),
        Kind::Reference { other, open_start, open_end, cased } => {
            let mut their = values.first(*other);
            while let Some(held) = values.get(their) {
                let next = held.next;
                other_text.clear();
                let text = if *cased { values.exact(their) } else { values.folded(their) };
                if let Some(text) = text {
                    other_text.push_str(text);
                    let mine = if *cased { values.exact(at) } else { values.folded(at) };
                    let fits = mine.is_some_and(|mine| match (open_start, open_end) {
                        (false, false) => mine == other_text.as_str(),
                        (false, true) => mine.starts_with(other_text.as_str()),
                        (true, false) => mine.ends_with(other_text.as_str()),
                        (true, true) => mine.contains(other_text.as_str()),
                    });
                    if fits {
                        return true;
                    }
                }
                their = next;
            }
            false
        }
    }
}

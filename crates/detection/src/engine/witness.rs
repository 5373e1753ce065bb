//! Which tests betray a rule: a set of tests of which at least one holds whenever the rule does, the rarer the better.

use super::needle::Finding;
use super::program::{Interner, KEYWORD, Kind, Tree};
use super::typical;

/// Share of records that are thought to hold a field that a rule only wants to be there.
const PRESENCE_SHARE: f64 = 0.3;
/// A keyword index reads every value of a record.
const KEYWORD_SHARE: f64 = 0.2;
/// What one more needle costs, so that of two rare sets the smaller wins.
const NEEDLE_SHARE: f64 = 0.000_05;

/// A set of tests and how often one of them is thought to hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Witness {
    pub(super) tests: Vec<u32>,
    pub(super) share: f64,
}

/// The best witness of a tree, leaving out tests of the fields in `routed`, which the partition already implies.
pub(super) fn witness(tree: &Tree, interner: &Interner, routed: &[u32]) -> Option<Witness> {
    match tree {
        Tree::Test(test) => {
            let check = interner.checks.get(*test as usize)?;
            if routed.contains(&check.field) {
                return None;
            }
            let keyword = check.field == KEYWORD;
            let reading = interner.fields.get(check.field as usize).map_or(0.0, |name| typical::reading(name));
            let share = match interner.findings.get(*test as usize)? {
                Finding::Never => return None,
                Finding::Presence if keyword => return None,
                Finding::Presence => PRESENCE_SHARE,
                Finding::Needles { needles, .. } => {
                    let whole = matches!(check.kind, Kind::Whole(_) | Kind::Number(_));
                    let each = |text: &str| typical::share(text, whole) + NEEDLE_SHARE;
                    needles.iter().map(|needle| each(&needle.text)).sum::<f64>()
                        + if keyword { KEYWORD_SHARE } else { reading }
                }
            };
            Some(Witness { tests: vec![*test], share })
        }
        Tree::Not(_) => None,
        Tree::All(items) => {
            items.iter().filter_map(|item| witness(item, interner, routed)).min_by(|a, b| a.share.total_cmp(&b.share))
        }
        Tree::Any(items) => {
            let mut all = Witness { tests: Vec::new(), share: 0.0 };
            for item in items {
                let one = witness(item, interner, routed)?;
                all.tests.extend(one.tests);
                all.share += one.share;
            }
            (!all.tests.is_empty()).then_some(all)
        }
    }
}

/// Folded texts of which a field of `fields` holds one whenever the tree holds.
pub(super) fn required(tree: &Tree, interner: &Interner, fields: &[u32]) -> Option<Vec<Box<str>>> {
    match tree {
        Tree::Test(test) => {
            let check = interner.checks.get(*test as usize).filter(|check| fields.contains(&check.field))?;
            match &check.kind {
                Kind::Whole(text) => Some(vec![interner.text(*text).into()]),
                Kind::Number(number) => Some(vec![number.1.clone()]),
                _ => None,
            }
        }
        Tree::Not(_) => None,
        Tree::All(items) => items.iter().filter_map(|item| required(item, interner, fields)).min_by_key(Vec::len),
        Tree::Any(items) => {
            let mut all = Vec::new();
            for item in items {
                all.extend(required(item, interner, fields)?);
            }
            all.sort();
            all.dedup();
            (!all.is_empty()).then_some(all)
        }
    }
}

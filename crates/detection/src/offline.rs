//! What the command line does without a server: match a file's records, correlate them. Records come as bytes; reading
//! files, printing and threads are the caller's.

use crate::correlate::{Correlator, Limits, Match, Sighting};
use crate::engine::{Engine, Scratch};
use crate::profile::{Format, Profile, UnknownFormat};
use crate::reference;
use crate::sigma::{Collection, Rule};
use crate::value::Leaf;
use ids::Timestamp;
use serde_json::Value;

/// Where the instant of a record is looked for, in this order.
const TIME_FIELDS: [&str; 14] = [
    "@timestamp",
    "timestamp",
    "EventTime",
    "TimeCreated",
    "eventTime",
    "UtcTime",
    "time",
    "_time",
    "ts",
    "published",
    "Timestamp",
    "properties.timestamp",
    "requestReceivedTimestamp",
    "created_at",
];

/// A rule held of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// The record, from 0 in file order.
    pub index: u64,
    /// The rule's position in the collection.
    pub rule: u32,
}

/// The format by name; `auto` looks at the first record that is JSON.
///
/// # Errors
/// [`UnknownFormat`] lists the names that are known.
pub fn format_named<'r>(name: &str, records: impl IntoIterator<Item = &'r [u8]>) -> Result<Format, UnknownFormat> {
    if name != "auto" {
        return name.parse();
    }
    let first = records.into_iter().find_map(|record| serde_json::from_slice::<Value>(record).ok());
    Ok(first.map_or(Format::Generic, |record| Format::detect(&record)))
}

/// Every match of a run of records, of which the first has the number `first_index`. Ordered by record, then by the
/// rule's position. A record that is not a JSON object keeps its number and matches nothing. For several threads split
/// the records into runs and share the engine.
pub fn match_records<'r>(engine: &Engine, first_index: u64, records: impl IntoIterator<Item = &'r [u8]>) -> Vec<Found> {
    let (mut parser, mut scratch, mut rules, mut found) =
        (event::Parser::new(), Scratch::default(), Vec::new(), Vec::new());
    for (record, index) in records.into_iter().zip(first_index..) {
        let Ok(view) = parser.parse(record) else { continue };
        engine.matches(&view, &mut scratch, &mut rules);
        found.extend(rules.iter().map(|rule| Found { index, rule: *rule }));
    }
    found
}

/// The lines of `posse rule match`: record index, tab, rule id; unique, by index and then by id.
#[must_use]
pub fn match_lines(found: &[Found], rules: &[Rule]) -> String {
    let mut pairs: Vec<(u64, &str)> =
        found.iter().filter_map(|found| Some((found.index, rules.get(found.rule as usize)?.id.as_str()))).collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs.iter().map(|(index, id)| format!("{index}\t{id}\n")).collect()
}

/// Every correlation match of the records, by time, event and correlation. A record without a time has that of the
/// record before it.
pub fn correlate<'r>(
    collection: &Collection,
    profile: &Profile,
    limits: Limits,
    records: impl IntoIterator<Item = &'r [u8]>,
) -> Vec<Match> {
    let engine = Engine::compile(&collection.rules, profile);
    let mut correlator = Correlator::new(collection, limits);
    let (mut parser, mut scratch, mut rules, mut matches) =
        (event::Parser::new(), Scratch::default(), Vec::new(), Vec::new());
    let mut last_us = 0;
    for (record, index) in records.into_iter().zip(0_u64..) {
        let Ok(view) = parser.parse(record) else { continue };
        engine.matches(&view, &mut scratch, &mut rules);
        let counted: Vec<&Rule> = rules
            .iter()
            .filter_map(|rule| collection.rules.get(*rule as usize))
            .filter(|rule| correlator.counts(&rule.id))
            .collect();
        if counted.is_empty() {
            continue;
        }
        let Ok(value) = serde_json::from_slice::<Value>(record) else { continue };
        last_us = time_of(&value, profile).unwrap_or(last_us);
        let field = |name: &str| text_of(&value, name, profile);
        for rule in counted {
            let sighting = Sighting { rule: &rule.id, time_us: last_us, event: index };
            correlator.observe(sighting, &field, &mut matches);
        }
    }
    correlator.finish(&mut matches);
    matches.sort_by(|a, b| (a.time_us, a.event, &a.correlation).cmp(&(b.time_us, b.event, &b.correlation)));
    matches
}

/// The lines of `posse rule correlate`: time, tab, correlation id, tab, group as `field=value` joined by commas, tab,
/// the computed number.
#[must_use]
pub fn correlate_lines(matches: &[Match]) -> String {
    matches
        .iter()
        .map(|found| {
            let group: Vec<String> = found.group.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let time = Timestamp::from_micros(found.time_us);
            format!("{time}\t{}\t{}\t{}\n", found.correlation, group.join(","), found.value)
        })
        .collect()
}

/// The instant of a record in microseconds.
#[must_use]
pub fn time_of(record: &Value, profile: &Profile) -> Option<i64> {
    TIME_FIELDS
        .iter()
        .find_map(|field| reference::find(record, field, profile).leaves.into_iter().find_map(Leaf::micros))
}

/// The text of a field's first value that is not null.
#[must_use]
pub fn text_of(record: &Value, field: &str, profile: &Profile) -> Option<String> {
    reference::find(record, field, profile).leaves.into_iter().find_map(|leaf| {
        let mut text = String::new();
        leaf.write_text(&mut text).then_some(text)
    })
}

//! Correlations against their definition: every sighting's window recomputed from the whole stream, by brute force.

use detection::correlate::{Checkpoint, Correlator, Limits, Match, Sighting};
use detection::sigma::Collection;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// A sighting of the generated stream.
#[derive(Debug, Clone)]
struct Seen {
    rule: &'static str,
    secs: i64,
    event: u64,
    user: Option<&'static str>,
    value: Option<i64>,
}

const RULES: [&str; 3] = ["r0", "r1", "r2"];

fn collection(body: &str) -> Collection {
    let mut text = String::new();
    for id in RULES {
        text.push_str(&format!(
            "title: t\nid: {id}\nname: {id}_name\nlogsource: {{category: test}}\ndetection: {{s: {{A: x}}, condition: s}}\n---\n"
        ));
    }
    text.push_str(body);
    let collection = Collection::load([("f", text.as_str())], &|_| None);
    assert_eq!(collection.rejections, []);
    collection
}

const BODIES: [(&str, &str); 10] = [
    ("event_count", "rules: [r0, r1], condition: {gte: 3}"),
    ("event_count", "rules: [r0], condition: {lt: 2}"),
    ("event_count", "rules: [r0, r2], condition: {gt: 1, lte: 3}"),
    ("value_count", "rules: [r0, r1], condition: {field: value, gte: 2}"),
    ("value_sum", "rules: [r0], condition: {field: value, gt: 5}"),
    ("value_avg", "rules: [r0, r1], condition: {field: value, lte: 2}"),
    ("value_percentile", "rules: [r0], condition: {field: value, gte: 3, percentile: 75}"),
    ("value_median", "rules: [r0], condition: {field: value, eq: 2}"),
    ("temporal", "rules: [r0, r1_name, r2], condition: {gte: 2}"),
    ("temporal_ordered", "rules: [r0, r1, r2]"),
];

type Key = (i64, u64, String);

/// The definition, straight: sort, look back from every event, compute.
fn brute(kind: &str, body: &str, span: i64, stream: &[Seen], lateness: i64) -> BTreeSet<Key> {
    let mut newest = i64::MIN;
    let mut kept: Vec<&Seen> = Vec::new();
    for seen in stream {
        newest = newest.max(seen.secs);
        let repeated = kept.iter().any(|k| (k.secs, k.event, k.rule) == (seen.secs, seen.event, seen.rule));
        if seen.secs >= newest - lateness && !repeated {
            kept.push(seen);
        }
    }
    let listed: Vec<&str> =
        RULES.into_iter().filter(|rule| body.split("condition").next().unwrap().contains(rule)).collect();
    let valued = kind.starts_with("value_");
    kept.retain(|k| listed.contains(&k.rule) && (!valued || k.value.is_some()));
    kept.sort_by_key(|k| (k.secs, k.event, k.rule));
    let mut result = BTreeSet::new();
    for (at, own) in kept.iter().enumerate() {
        if kept
            .get(at + 1)
            .is_some_and(|next| (next.secs, next.event) == (own.secs, own.event) && next.user == own.user)
        {
            continue;
        }
        let window: Vec<&&Seen> =
            kept[..=at].iter().filter(|k| k.user == own.user && k.secs >= own.secs - span).collect();
        let mut values: Vec<i64> = window.iter().filter_map(|k| k.value).collect();
        values.sort_unstable();
        let n = values.len();
        let rules: BTreeSet<&str> = window.iter().map(|k| k.rule).collect();
        let holds = match (kind, body) {
            ("event_count", b) if b.contains("gte: 3") => window.len() >= 3,
            ("event_count", b) if b.contains("lt: 2") => window.len() < 2,
            ("event_count", _) => window.len() > 1 && window.len() <= 3,
            ("value_count", _) => values.iter().collect::<BTreeSet<_>>().len() >= 2,
            ("value_sum", _) => values.iter().sum::<i64>() > 5,
            ("value_avg", _) => values.iter().sum::<i64>() <= 2 * n as i64,
            ("value_percentile", _) => {
                let rank = 0.75 * (n - 1) as f64;
                let (low, high) = (values[rank.floor() as usize] as f64, values[rank.ceil() as usize] as f64);
                low + (rank - rank.floor()) * (high - low) >= 3.0
            }
            ("value_median", _) => (values[(n - 1) / 2] + values[n / 2]) == 4,
            ("temporal", _) => rules.len() >= 2,
            _ => {
                let mut wanted = listed.iter();
                let mut next = wanted.next();
                for k in &window {
                    if Some(&k.rule) == next {
                        next = wanted.next();
                    }
                }
                next.is_none()
            }
        };
        if holds {
            result.insert((own.secs, own.event, own.user.unwrap_or("-").to_owned()));
        }
    }
    result
}

fn key(found: &Match) -> Key {
    (found.time_us / 1_000_000, found.event, found.group.first().map_or("-", |(_, value)| value).to_owned())
}

fn observe(correlator: &mut Correlator, seen: &Seen, out: &mut Vec<Match>) {
    let field = |name: &str| match name {
        "user" => seen.user.map(str::to_owned),
        "value" => seen.value.map(|v| v.to_string()),
        _ => None,
    };
    correlator.observe(Sighting { rule: seen.rule, time_us: seen.secs * 1_000_000, event: seen.event }, &field, out);
}

fn stream() -> impl Strategy<Value = Vec<Seen>> {
    let one =
        (0..3_usize, 0..60_i64, prop::option::of(prop::sample::select(vec!["ann", "bob"])), prop::option::of(0..5_i64));
    let jitter = prop::collection::vec((0..12_i64, 0..8_u8), 0..60);
    (prop::collection::vec(one, 0..60), jitter).prop_map(|(ones, jitter)| {
        let mut seen: Vec<Seen> = ones
            .into_iter()
            .enumerate()
            .map(|(n, (rule, secs, user, value))| Seen { rule: RULES[rule], secs, event: n as u64 / 2, user, value })
            .collect();
        // One event has one time and one user, whichever rules see it.
        for n in 0..seen.len() {
            if n % 2 == 1 {
                let (secs, user, value) = (seen[n - 1].secs, seen[n - 1].user, seen[n - 1].value);
                (seen[n].secs, seen[n].user, seen[n].value) = (secs, user, value);
            }
        }
        // Arrival: by time, disturbed; some sightings come twice.
        let mut arrivals: Vec<(i64, Seen)> = Vec::new();
        for (n, s) in seen.into_iter().enumerate() {
            let (late, again) = jitter.get(n).copied().unwrap_or((0, 0));
            if again == 0 {
                arrivals.push((s.secs + late + 3, s.clone()));
            }
            arrivals.push((s.secs + late, s));
        }
        arrivals.sort_by_key(|(arrival, _)| *arrival);
        arrivals.into_iter().map(|(_, s)| s).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn equal_to_brute_force(
        stream in stream(), body in 0..BODIES.len(), span in 1..20_i64, lateness in 0..10_i64, crash in 0..60_usize, replay in 0..10_usize,
    ) {
        let (kind, rest) = BODIES[body];
        let text = format!(
            "title: c\nid: c\ncorrelation: {{type: {kind}, timespan: {span}s, group-by: [user], {rest}}}\n"
        );
        let collection = collection(&text);
        let limits = Limits { lateness: Duration::from_secs(lateness as u64), ..Limits::default() };
        let mut correlator = Correlator::new(&collection, limits);
        let mut out = Vec::new();
        for (n, seen) in stream.iter().enumerate() {
            if n == crash {
                // The state is stored, the process dies, and the log is read again from a little before.
                let stored = serde_json::to_string(&correlator.checkpoint()).unwrap();
                correlator = Correlator::new(&collection, limits);
                correlator.restore(serde_json::from_str::<Checkpoint>(&stored).unwrap()).unwrap();
                for again in &stream[n.saturating_sub(replay)..n] {
                    observe(&mut correlator, again, &mut out);
                }
            }
            observe(&mut correlator, seen, &mut out);
        }
        correlator.finish(&mut out);
        let keys: Vec<Key> = out.iter().map(key).collect();
        let set: BTreeSet<Key> = keys.iter().cloned().collect();
        prop_assert_eq!(keys.len(), set.len(), "a match came twice");
        prop_assert_eq!(set, brute(kind, rest, span, &stream, lateness));
    }
}

#[test]
fn bounds_hold_and_are_counted() {
    let collection = collection(
        "title: c\nid: c\ncorrelation: {type: event_count, rules: r0, timespan: 1h, group-by: user, condition: {gte: 1000}}\n",
    );
    let limits = Limits { groups_max: 64, sightings_max: 10, ..Limits::default() };
    let mut correlator = Correlator::new(&collection, limits);
    let mut out = Vec::new();
    for event in 0..1000_u64 {
        let user = format!("user{}", if event % 2 == 0 { 0 } else { event });
        let field = |name: &str| (name == "user").then(|| user.clone());
        correlator.observe(Sighting { rule: "r0", time_us: event as i64, event }, &field, &mut out);
    }
    assert!(correlator.groups() <= 64);
    assert!(correlator.dropped().groups > 400);
    assert_eq!(correlator.dropped().sightings, 490);
    assert!(out.is_empty());
}

#[test]
fn another_checkpoint_version_is_refused() {
    let collection = collection("");
    let mut correlator = Correlator::new(&collection, Limits::default());
    let mut stored = serde_json::to_value(correlator.checkpoint()).unwrap();
    stored["version"] = 99.into();
    let error = correlator.restore(serde_json::from_value(stored).unwrap()).unwrap_err();
    assert!(error.to_string().contains("version 99"));
}

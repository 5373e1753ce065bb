//! Correlations that learn what is usual, against their definition: everything recomputed from the whole stream in
//! closed form, under late, repeated and disordered sightings and a crash in the middle.

use detection::correlate::{Checkpoint, Correlator, Limits, Match, Sighting};
use detection::sigma::Collection;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Debug, Clone)]
struct Seen {
    secs: i64,
    event: u64,
    group: &'static str,
    values: [&'static str; 2],
}

/// Half-life and other times in seconds; odd, so that no weight comes to lie on its bound.
const HALF_LIFE: f64 = 37.0;
const LEARN: i64 = 20;
const SPAN: i64 = 7;
const FORGOTTEN: f64 = 1.0 / 16.0;

const KINDS: [(&str, &str); 5] = [
    ("first_seen", "condition: {field: a}, baseline: {learn: 20s, half-life: 37s}"),
    ("new_pair", "condition: {field: [a, b]}, baseline: {learn: 20s, half-life: 37s}"),
    ("rare_value", "condition: {field: a, lt: 0.23}, baseline: {learn: 20s, half-life: 37s, floor: 3}"),
    ("volume", "timespan: 7s, condition: {gte: 1.7}, baseline: {learn: 20s, half-life: 37s, season: none}"),
    ("silence", "timespan: 7s, baseline: {learn: 20s, half-life: 37s, times: 1.5}"),
];

fn collection(kind: &str, rest: &str) -> Collection {
    let text = format!(
        "title: t\nid: r\nlogsource: {{category: test}}\ndetection: {{s: {{A: x}}, condition: s}}\n---\n\
         title: c\nid: c\ncorrelation: {{type: {kind}, rules: r, group-by: [group], {rest}}}\n"
    );
    let collection = Collection::load([("f", text.as_str())], &|_| None);
    assert_eq!(collection.rejections, []);
    collection
}

/// The weight of sightings at these times, now; none where they are forgotten. What was forgotten once counts no more.
fn weight(times: &[i64], now: i64) -> Option<f64> {
    let sum = |from: usize, to: usize, at: i64| {
        times[from..to].iter().map(|time| (-((at - time) as f64) / HALF_LIFE).exp2()).sum::<f64>()
    };
    let mut from = 0;
    for (at, time) in times.iter().enumerate().skip(1) {
        if sum(from, at, *time) < FORGOTTEN {
            from = at;
        }
    }
    Some(sum(from, times.len(), now)).filter(|sum| *sum >= FORGOTTEN)
}

/// Where the group began that is there now: what came before was forgotten.
fn began(times: &[i64], now: i64) -> Option<usize> {
    let mut from = 0;
    for at in 1..=times.len() {
        let time = times.get(at).copied().unwrap_or(now);
        if weight(&times[from..at], time).is_none() {
            from = at;
        }
    }
    (from < times.len()).then_some(from)
}

type Key = (i64, u64, &'static str);

fn of_values(kind: &str, group: &'static str, sorted: &[&Seen]) -> BTreeSet<Key> {
    let mut result = BTreeSet::new();
    for (at, own) in sorted.iter().enumerate() {
        let times: Vec<i64> = sorted[..at].iter().map(|seen| seen.secs).collect();
        let Some(from) = began(&times, own.secs) else { continue };
        let before = &sorted[from..at];
        let times_of = |like: &dyn Fn(&Seen) -> bool| -> Vec<i64> {
            before.iter().filter(|seen| like(seen)).map(|seen| seen.secs).collect()
        };
        let known = |like: &dyn Fn(&Seen) -> bool| weight(&times_of(like), own.secs);
        let total = weight(&times[from..], own.secs).unwrap();
        let holds = match kind {
            "first_seen" => known(&|seen| seen.values[0] == own.values[0]).is_none(),
            "new_pair" => {
                known(&|seen| seen.values == own.values).is_none()
                    && known(&|seen| seen.values[0] == own.values[0]).is_some()
                    && known(&|seen| seen.values[1] == own.values[1]).is_some()
            }
            _ => total >= 3.0 && known(&|seen| seen.values[0] == own.values[0]).unwrap_or(0.0) / total < 0.23,
        };
        if holds && own.secs - times[from] >= LEARN {
            result.insert((own.secs, own.event, group));
        }
    }
    result
}

fn of_volume(group: &'static str, sorted: &[&Seen], newest: i64) -> BTreeSet<Key> {
    let mut result = BTreeSet::new();
    let Some(first) = sorted.first() else { return result };
    let (mut learned, mut quiet): (Vec<(i64, f64)>, u32) = (Vec::new(), 0);
    for bucket in first.secs.div_euclid(SPAN) + 1.. {
        let end = (bucket + 1) * SPAN;
        if end > newest {
            break;
        }
        let number = sorted.iter().filter(|seen| seen.secs.div_euclid(SPAN) == bucket).count() as f64;
        let weights: Vec<f64> =
            learned.iter().map(|(at, _)| (-((learned.last().unwrap().0 - at) as f64) / HALF_LIFE).exp2()).collect();
        let sum = weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let mean = learned.iter().zip(&weights).map(|((_, n), w)| n * w).sum::<f64>() / sum;
        let variance = learned.iter().zip(&weights).map(|((_, n), w)| w * (n - mean) * (n - mean)).sum::<f64>() / sum;
        let deviation = variance.max(mean).max(1.0).sqrt();
        let holds = learned.len() >= 3 && end - first.secs >= LEARN && (number - mean) / deviation >= 1.7;
        let kept = if holds { number.clamp(mean - 3.0 * deviation, mean + 3.0 * deviation) } else { number };
        learned.push((end, kept));
        if holds {
            let last = sorted.iter().rfind(|seen| seen.secs < end).unwrap();
            result.insert((end, last.event, group));
        }
        quiet = if number == 0.0 { quiet + 1 } else { 0 };
        if quiet > 64 && !holds {
            // After 64 empty spans it is a new group that comes.
            let rest: Vec<&Seen> = sorted.iter().copied().filter(|seen| seen.secs >= end).collect();
            result.extend(of_volume(group, &rest, newest));
            break;
        }
    }
    result
}

fn of_silence(group: &'static str, sorted: &[&Seen], newest: i64) -> BTreeSet<Key> {
    let mut result = BTreeSet::new();
    let (mut since, mut gaps): (i64, Vec<(i64, f64)>) = (0, Vec::new());
    for (at, own) in sorted.iter().enumerate() {
        let over = (HALF_LIFE * 4.0) as i64;
        match at.checked_sub(1).map(|before| sorted[before]) {
            Some(before) if own.secs - before.secs <= over => {
                let gap = (own.secs - before.secs) as f64;
                // A silence that was told counts up to where it was told.
                let told = usual(&gaps, before.secs);
                gaps.push((own.secs, if gap >= told { told } else { gap }));
            }
            _ => (since, gaps) = (own.secs, Vec::new()),
        }
        let due = own.secs as f64 + usual(&gaps, own.secs);
        let next = sorted.get(at + 1).map_or(f64::MAX, |next| next.secs as f64);
        if due <= next && due <= newest as f64 && due - own.secs as f64 <= over as f64 && own.secs - since >= LEARN {
            result.insert((due.floor() as i64, own.event, group));
        }
    }
    result
}

/// How long a silence is told, by the gaps before.
fn usual(gaps: &[(i64, f64)], now: i64) -> f64 {
    let faded = gaps.iter().map(|(at, gap)| gap * (-((now - at) as f64) / HALF_LIFE).exp2()).fold(0.0, f64::max);
    (faded * 1.5).max(SPAN as f64)
}

fn brute(kind: &str, stream: &[Seen], lateness: i64) -> BTreeSet<Key> {
    let mut newest = i64::MIN;
    let mut kept: Vec<&Seen> = Vec::new();
    for seen in stream {
        newest = newest.max(seen.secs);
        if seen.secs >= newest - lateness && !kept.iter().any(|k| (k.secs, k.event) == (seen.secs, seen.event)) {
            kept.push(seen);
        }
    }
    kept.sort_by_key(|seen| (seen.secs, seen.event));
    let groups: BTreeSet<&'static str> = kept.iter().map(|seen| seen.group).collect();
    let of = |group: &'static str| {
        let own: Vec<&Seen> = kept.iter().copied().filter(|seen| seen.group == group).collect();
        match kind {
            "volume" => of_volume(group, &own, newest),
            "silence" => of_silence(group, &own, newest),
            _ => of_values(kind, group, &own),
        }
    };
    groups.into_iter().flat_map(of).collect()
}

fn observe(correlator: &mut Correlator, seen: &Seen, out: &mut Vec<Match>) {
    let field = |name: &str| match name {
        "group" => Some(seen.group.to_owned()),
        "a" => Some(seen.values[0].to_owned()),
        "b" => Some(seen.values[1].to_owned()),
        _ => None,
    };
    correlator.observe(Sighting { rule: "r", time_us: seen.secs * 1_000_000, event: seen.event }, &field, out);
}

fn stream() -> impl Strategy<Value = Vec<Seen>> {
    let value = || prop::sample::select(vec!["x", "x", "y", "z"]);
    let step = prop_oneof![8 => 0..4_i64, 3 => 4..16_i64, 1 => 60..220_i64];
    let one = (step, prop::sample::select(vec!["g", "g", "h"]), value(), value(), 0..12_i64, 0..8_u8);
    prop::collection::vec(one, 0..90).prop_map(|ones| {
        let (mut secs, mut arrivals) = (1000, Vec::new());
        for (event, (step, group, a, b, late, again)) in (0..).zip(ones) {
            secs += step;
            let seen = Seen { secs, event, group, values: [a, b] };
            if again == 0 {
                arrivals.push((secs + late + 3, seen.clone()));
            }
            arrivals.push((secs + late, seen));
        }
        arrivals.sort_by_key(|(arrival, _)| *arrival);
        arrivals.into_iter().map(|(_, seen)| seen).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn equal_to_the_definition(
        stream in stream(), kind in 0..KINDS.len(), lateness in 0..12_i64, crash in 0..90_usize, replay in 0..10_usize,
    ) {
        let (kind, rest) = KINDS[kind];
        let collection = collection(kind, rest);
        let limits = Limits { lateness: Duration::from_secs(lateness.unsigned_abs()), ..Limits::default() };
        let mut correlator = Correlator::new(&collection, limits);
        let mut out = Vec::new();
        for (n, seen) in stream.iter().enumerate() {
            if n == crash {
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
        let key = |found: &Match| {
            let group = if found.group[0].1 == "g" { "g" } else { "h" };
            (found.time_us.div_euclid(1_000_000), found.event, group)
        };
        let keys: Vec<Key> = out.iter().map(key).collect();
        let set: BTreeSet<Key> = keys.iter().copied().collect();
        prop_assert_eq!(keys.len(), set.len(), "a match came twice");
        prop_assert_eq!(set, brute(kind, &stream, lateness), "{}", kind);
    }
}

#[test]
fn bounds_hold_and_are_counted() {
    let (kind, rest) = KINDS[0];
    let collection = collection(kind, rest);
    let limits = Limits { groups_max: 64, sightings_max: 16, lateness: Duration::ZERO };
    let mut correlator = Correlator::new(&collection, limits);
    let mut out = Vec::new();
    for event in 0..1000_u64 {
        let field = |name: &str| match name {
            "group" => Some(if event % 2 == 0 { "one".to_owned() } else { format!("g{event}") }),
            _ => Some(format!("value {event}")),
        };
        correlator.observe(Sighting { rule: "r", time_us: event as i64, event }, &field, &mut out);
    }
    assert!(correlator.groups() <= 64);
    assert!(correlator.dropped().groups > 400, "{:?}", correlator.dropped());
    assert!(correlator.dropped().sightings > 300, "{:?}", correlator.dropped());
    let stored = serde_json::to_string(&correlator.checkpoint()).unwrap();
    assert!(stored.len() < 100_000, "{}", stored.len());
}

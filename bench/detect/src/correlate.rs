//! rsigma-eval's correlations beside ours: on every stream of `spec/detection/correlation-*.md`, and on streams made
//! from a seed. Each difference must be judged in `spec/detection/peers/rsigma-correlation.md`; one that is not, or a judgement
//! of what does not differ, fails.
//!
//! `detect-bench correlate SPEC_FOLDER`

use anyhow::{Context, Result, bail};
use detection::correlate::Limits;
use detection::offline;
use detection::profile::{Format, Profile};
use detection::sigma::Collection;
use rsigma_eval::{CorrelationConfig, CorrelationEngine, JsonEvent, ResultBody};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// Events of each made stream.
const EVENTS: u64 = 3000;

/// Time in seconds, correlation, group, number.
type Line = (i64, String, String, String);

struct Case {
    name: String,
    rules: String,
    events: Vec<String>,
    lateness: u64,
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let folder = Path::new(arguments.first().context("name the folder of the specification")?);
    let judged = judged(&std::fs::read_to_string(folder.join("peers/rsigma-correlation.md"))?);
    let mut cases = Vec::new();
    for file in ["correlation-counts", "correlation-time", "correlation-numbers"] {
        cases.extend(read(file, &std::fs::read_to_string(folder.join(file).with_extension("md"))?));
    }
    let written = cases.len();
    cases.extend(made());
    let (mut differ, mut wrong) = (BTreeSet::new(), Vec::new());
    for case in &cases {
        let (ours, theirs) = (ours(case), theirs(case));
        if theirs.as_ref().is_ok_and(|theirs| *theirs == ours) {
            continue;
        }
        differ.insert(case.name.clone());
        if let Some(reason) = judged.get(&case.name) {
            println!("judged   {}: {reason}", case.name);
            continue;
        }
        wrong.push(case.name.clone());
        println!("UNJUDGED {}", case.name);
        match theirs {
            Err(e) => println!("  theirs: {e:#}"),
            Ok(theirs) => {
                let only =
                    |a: &BTreeSet<Line>, b: &BTreeSet<Line>| a.difference(b).take(5).cloned().collect::<Vec<_>>();
                println!("  only ours:   {:?}\n  only theirs: {:?}", only(&ours, &theirs), only(&theirs, &ours));
            }
        }
    }
    wrong.extend(judged.keys().filter(|name| !differ.contains(*name)).map(|name| format!("{name} (judged, equal)")));
    println!(
        "{written} written streams, {} made ones: {} equal, {} differ and are judged",
        cases.len() - written,
        cases.len() - differ.len(),
        differ.len() - differ.iter().filter(|name| !judged.contains_key(*name)).count(),
    );
    if wrong.is_empty() { Ok(()) } else { bail!("not judged, or judged and equal: {}", wrong.join("; ")) }
}

/// `- **file: section** reason`, by `file: section`.
fn judged(text: &str) -> BTreeMap<String, String> {
    let entry = |line: &str| {
        let (name, reason) = line.strip_prefix("- **")?.split_once("**")?;
        Some((name.to_owned(), reason.trim().to_owned()))
    };
    text.lines().filter_map(entry).collect()
}

/// The sections of a file that hold a stream.
fn read(file: &str, text: &str) -> Vec<Case> {
    let (mut prelude, mut cases, mut streams) = (String::new(), Vec::<Case>::new(), BTreeSet::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("## ") {
            let (name, rules) = (format!("{file}: {name}"), prelude.clone());
            cases.push(Case { name, rules, events: Vec::new(), lateness: 60 });
        } else if let Some(info) = line.strip_prefix("```") {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let (kind, option) = info.split_once(' ').unwrap_or((info, ""));
            match (kind, cases.last_mut()) {
                ("yaml", None) => prelude.push_str(&format!("{}\n---\n", body.join("\n"))),
                ("yaml", Some(case)) => case.rules.push_str(&format!("{}\n---\n", body.join("\n"))),
                ("jsonl", Some(case)) => case.events = body.iter().map(|line| (*line).to_owned()).collect(),
                ("correlate", Some(case)) => {
                    streams.insert(case.name.clone());
                    case.lateness = option.strip_prefix("lateness=").and_then(|secs| secs.parse().ok()).unwrap_or(60);
                }
                _ => {}
            }
        }
    }
    cases.retain(|case| streams.contains(&case.name));
    cases
}

/// For each type and some conditions a stream in order of time, two seconds apart at most.
fn made() -> Vec<Case> {
    let bodies = [
        ("event_count gte", "type: event_count, rules: [r0, r1], condition: {gte: 4}"),
        ("event_count range", "type: event_count, rules: [r0], condition: {gt: 1, lte: 3}"),
        ("value_count gte", "type: value_count, rules: [r0, r1], condition: {field: value, gte: 3}"),
        ("value_sum gt", "type: value_sum, rules: [r0], condition: {field: value, gt: 9}"),
        ("value_avg lte", "type: value_avg, rules: [r0, r1], condition: {field: value, lte: 2}"),
        (
            "value_percentile gte",
            "type: value_percentile, rules: [r0], condition: {field: value, gte: 3, percentile: 75}",
        ),
        ("value_median eq", "type: value_median, rules: [r0], condition: {field: value, eq: 2}"),
        ("temporal", "type: temporal, rules: [r0, r1, r2]"),
        ("temporal_ordered", "type: temporal_ordered, rules: [r0, r1, r2]"),
    ];
    let mut rules = String::new();
    for n in 0..3 {
        rules.push_str(&format!(
            "title: t\nid: r{n}\nname: n{n}\nlogsource: {{category: test}}\ndetection: {{s: {{k: '{n}'}}, condition: s}}\n---\n"
        ));
    }
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let case = |(name, body): (&str, &str)| {
        let mut secs = 1_714_557_600;
        let events = (0..EVENTS).map(|_| {
            secs += 1 + i64::try_from(next(2)).unwrap_or(0);
            let time = ids::Timestamp::from_micros(secs * 1_000_000);
            let user = ["ann", "bob", "eve"][usize::try_from(next(3)).unwrap_or(0)];
            json!({"time": time.to_string(), "k": next(3).to_string(), "user": user, "value": next(5)}).to_string()
        });
        Case {
            name: format!("made: {name}"),
            events: events.collect(),
            rules: format!("{rules}title: c\nid: c\ncorrelation: {{{body}, timespan: 10s, group-by: [user]}}\n"),
            lateness: 60,
        }
    };
    bodies.into_iter().map(case).collect()
}

fn ours(case: &Case) -> BTreeSet<Line> {
    let collection = Collection::load([("case", case.rules.as_str())], &|_| None);
    let limits = Limits { lateness: Duration::from_secs(case.lateness), ..Limits::default() };
    let records = case.events.iter().map(String::as_bytes);
    let found = offline::correlate(&collection, &Profile::new(Format::Generic), limits, records);
    let line = |found: detection::correlate::Match| {
        let group = found.group.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
        (found.time_us.div_euclid(1_000_000), found.correlation, group, number(found.value))
    };
    found.into_iter().map(line).collect()
}

fn theirs(case: &Case) -> Result<BTreeSet<Line>> {
    // An empty document after the last mark is an error there.
    let collection = rsigma_parser::parse_sigma_yaml(case.rules.trim_end().trim_end_matches("---"))?;
    if let Some(error) = collection.errors.first() {
        bail!("rejected: {error}");
    }
    let mut engine = CorrelationEngine::new(CorrelationConfig::default());
    engine.add_collection(&collection)?;
    let profile = Profile::new(Format::Generic);
    let mut lines = BTreeSet::new();
    for event in &case.events {
        let value: serde_json::Value = serde_json::from_str(event)?;
        let secs = offline::time_of(&value, &profile).unwrap_or(0).div_euclid(1_000_000);
        for result in engine.process_event_at(&JsonEvent::borrow(&value), secs) {
            if let ResultBody::Correlation(body) = &result.body {
                let group = body.group_key.iter().filter(|(_, value)| !value.is_empty());
                let group = group.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
                let id = result.header.rule_id.clone().unwrap_or_default();
                lines.insert((secs, id, group, number(body.aggregated_value)));
            }
        }
    }
    Ok(lines)
}

fn number(number: f64) -> String {
    format!("{:.6}", number)
}

//! Detection engines and bounds on the same records in one process: Posse, rsigma-eval with routed pruning, sigma-rust
//! (on the first records: it takes milliseconds for each), parse only, and parse with one multi-pattern pass per field.
//!
//! `detect-bench RULES INPUT [ROUNDS]`; prints one JSON object a line. CPU time of one thread, best of the rounds; the
//! contestants take turns in each round, so that a change of the machine's pace falls on all of them.
//! `detect-bench correlate RULES EVENTS` prints what rsigma-eval's correlation makes of a stream, see `correlate.rs`.

mod correlate;

use anyhow::{Context, Result};
use detection::engine::{Engine, Scratch};
use detection::profile::{Format, Profile};
use detection::sigma::{Collection, Matcher, Part};
use detection::yaml::{Node, Value};
use rsigma_parser::{LogSource, SigmaCollection};
use std::collections::HashMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};

/// sigma-rust asks every rule of every record: a few hundred records tell its pace.
const SLOW_RECORDS: usize = 300;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().map(String::as_str) == Some("correlate") {
        return correlate::run(&arguments[1..]);
    }
    let mut arguments = arguments.into_iter();
    let rules = PathBuf::from(arguments.next().context("name the rule folder")?);
    let input = PathBuf::from(arguments.next().context("name the record file")?);
    let rounds: u32 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let records = records(&input)?;
    let texts = texts(&rules)?;
    let count = records.len();

    let mut buffers = simd_json::Buffers::default();
    let mut copy = Vec::new();
    let simd = Contestant::new("parse only, simd-json tape", count, || {
        for record in &records {
            copy.clear();
            copy.extend_from_slice(record);
            black_box(simd_json::to_tape_with_buffers(&mut copy, &mut buffers).is_ok());
        }
        0
    });
    let sonic = Contestant::new("parse only, sonic-rs value", count, || {
        for record in &records {
            black_box(sonic_rs::from_slice::<sonic_rs::Value>(record).is_ok());
        }
        0
    });

    let collection = Collection::load(texts.iter().map(|(f, t)| (f.as_str(), t.as_str())), &|_| None);
    let literals = literals(&collection)?;
    let mut literal_parser = event::Parser::new();
    let scan = Contestant::new("parse and literal scan per field", count, || {
        let mut hits = 0;
        for record in &records {
            if let Ok(view) = literal_parser.parse(record) {
                for (key, item) in view.root().members() {
                    if let (Some(found), Some(event::Scalar::Str(text))) = (literals.get(key), item.scalar()) {
                        hits += found.find_iter(text).count();
                    }
                }
            }
        }
        hits
    });

    let profile = Profile::new(Format::WindowsFlat);
    let engine = Engine::compile(&collection.rules, &profile);
    let (mut parser, mut scratch, mut found) = (event::Parser::new(), Scratch::default(), Vec::new());
    let ours = Contestant::new("posse", count, || {
        let mut matches = 0;
        for record in &records {
            if let Ok(view) = parser.parse(record) {
                engine.matches(&view, &mut scratch, &mut found);
                matches += found.len();
            }
        }
        matches
    });

    let mut peer = rsigma_eval::Engine::new();
    let mut all = SigmaCollection::default();
    for (_, text) in &texts {
        if let Ok(one) = rsigma_parser::parse_sigma_yaml(text) {
            all.rules.extend(one.rules);
        }
    }
    peer.add_collection(&all)?;
    let sources = sources()?;
    let mut known = HashMap::new();
    let rsigma = Contestant::new("rsigma-eval 0.23, routed", count, || {
        let mut matches = 0;
        for record in &records {
            let Ok(value) = serde_json::from_slice::<serde_json::Value>(record) else { continue };
            let source = route(&value, &sources, &mut known);
            matches += peer.evaluate_pruned(&rsigma_eval::JsonEvent::borrow(&value), &source).len();
        }
        matches
    });

    let slow_rules: Vec<sigma_rust::Rule> =
        texts.iter().filter_map(|(_, text)| sigma_rust::rule_from_yaml(text).ok()).collect();
    let few = count.min(SLOW_RECORDS);
    let sigma_rust = Contestant::new("sigma-rust 0.7, every rule", few, || {
        let mut matches = 0;
        // Spread over the file: its parts differ.
        for record in records.iter().step_by((count / few).max(1)).take(few) {
            let Some(event) = std::str::from_utf8(record).ok().and_then(|t| sigma_rust::event_from_json(t).ok()) else {
                continue;
            };
            matches += slow_rules.iter().filter(|rule| rule.is_match(&event)).count();
        }
        matches
    });
    race(rounds, vec![simd, sonic, scan, ours, rsigma, sigma_rust])
}

/// By field, every literal that a rule looks for there.
fn literals(collection: &Collection) -> Result<HashMap<String, aho_corasick::AhoCorasick>> {
    let mut texts: HashMap<String, Vec<String>> = HashMap::new();
    for rule in &collection.rules {
        rule.expr.each_test(&mut |test| {
            if let (Some(field), Matcher::Text(pattern)) = (&test.field, &test.matcher) {
                let longest = pattern.parts().iter().filter_map(|part| match part {
                    Part::Text(text) => Some(text.to_string()),
                    _ => None,
                });
                texts.entry(field.to_string()).or_default().extend(longest.max_by_key(String::len));
            }
        });
    }
    let build = |(field, mut texts): (String, Vec<String>)| {
        texts.sort();
        texts.dedup();
        let automaton = aho_corasick::AhoCorasick::builder().ascii_case_insensitive(true).build(texts)?;
        Ok((field, automaton))
    };
    texts.into_iter().map(build).collect()
}

/// One that is measured: its name, how many records a round takes, and a round, which tells its matches.
struct Contestant<'a> {
    name: &'static str,
    events: usize,
    round: Box<dyn FnMut() -> usize + 'a>,
}

impl<'a> Contestant<'a> {
    fn new(name: &'static str, events: usize, round: impl FnMut() -> usize + 'a) -> Self {
        Self { name, events, round: Box::new(round) }
    }
}

fn race(rounds: u32, mut contestants: Vec<Contestant<'_>>) -> Result<()> {
    let mut results: Vec<(usize, u64)> = contestants.iter_mut().map(|one| ((one.round)(), u64::MAX)).collect();
    for _ in 0..rounds {
        for (one, (matches, best)) in contestants.iter_mut().zip(&mut results) {
            let start = cpu_ns()?;
            *matches = (one.round)();
            *best = (*best).min(cpu_ns()?.saturating_sub(start));
        }
    }
    for (one, (matches, best)) in contestants.iter().zip(results) {
        let seconds = best as f64 / 1e9;
        let line = serde_json::json!({
            "name": one.name, "events": one.events, "matches": matches,
            "events_per_s": (one.events as f64 / seconds).round(), "us_per_event": seconds * 1e6 / one.events as f64,
        });
        println!("{line}");
    }
    Ok(())
}

/// Channel (lower case) and event id of each category, channel of each service.
struct Sources {
    categories: Vec<(String, String, Vec<i64>)>,
    services: Vec<(String, String)>,
}

fn sources() -> Result<Sources> {
    let text = include_str!("../../../content/mappings/windows-logsources.yml");
    let documents = detection::yaml::documents(text)?;
    let root = documents.first().context("the log source table is empty")?;
    let pairs = |key: &str| match root.entry(key).map(|node| &node.value) {
        Some(Value::Map(pairs)) => pairs.clone(),
        _ => Vec::new(),
    };
    let list = |node: &Node| if let Value::List(items) = &node.value { items.clone() } else { Vec::new() };
    let categories = pairs("category").into_iter().map(|(name, node)| {
        let channel = node.entry("channel").and_then(Node::scalar_text).unwrap_or_default().to_lowercase();
        let ids = node.entry("event_id").map(list).unwrap_or_default();
        let ids = ids.iter().filter_map(|id| if let Value::Int(id) = id.value { Some(id) } else { None }).collect();
        (name, channel, ids)
    });
    let services = pairs("service").into_iter().flat_map(|(name, node)| {
        list(&node).into_iter().filter_map(move |c| Some((name.clone(), c.scalar_text()?.to_lowercase())))
    });
    Ok(Sources { categories: categories.collect(), services: services.collect() })
}

/// The log source of an event; what it lacks is said as `none`, so that rules which need it are pruned.
fn route(record: &serde_json::Value, sources: &Sources, known: &mut HashMap<(String, i64), LogSource>) -> LogSource {
    let channel = record.get("Channel").and_then(|c| c.as_str()).unwrap_or_default().to_lowercase();
    let id = record.get("EventID").and_then(|id| id.as_i64().or_else(|| id.as_str()?.parse().ok())).unwrap_or(-1);
    let make = || {
        let category = sources.categories.iter().find(|(_, c, ids)| *c == channel && ids.contains(&id));
        let service = sources.services.iter().find(|(_, c)| *c == channel);
        LogSource {
            product: Some("windows".to_owned()),
            category: Some(category.map_or("none", |(name, ..)| name).to_owned()),
            service: Some(service.map_or("none", |(name, _)| name).to_owned()),
            definition: None,
            custom: HashMap::new(),
        }
    };
    known.entry((channel.clone(), id)).or_insert_with(make).clone()
}

/// Every rule file below a folder with its text, in order of path.
pub(crate) fn texts(rules: &Path) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    gather(rules, &mut files)?;
    files.sort();
    files.iter().map(|file| Ok((file.to_string_lossy().into_owned(), std::fs::read_to_string(file)?))).collect()
}

/// CPU time of this thread.
fn cpu_ns() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().context("empty schedstat")?.parse()?)
}

fn gather(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            gather(&entry?.path(), files)?;
        }
    } else if path.extension().is_some_and(|e| e == "yml") {
        files.push(path.to_owned());
    }
    Ok(())
}

pub(crate) fn records(path: &Path) -> Result<Vec<Vec<u8>>> {
    let bytes = std::fs::read(path)?;
    let mut records = Vec::new();
    event::read::each_record(&bytes, 8 << 30, |_, record| {
        records.push(record.map(<[u8]>::to_vec).unwrap_or_default());
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(records)
}

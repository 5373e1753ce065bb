//! Detection engines and bounds on the same records in one process: Posse, rsigma-eval with routed pruning, parse only.
//!
//! `detect-bench RULES INPUT [ROUNDS]`; prints one JSON object a line. CPU time of one thread, best of the rounds.

use anyhow::{Context, Result};
use detection::engine::{Engine, Scratch};
use detection::profile::{Format, Profile};
use detection::sigma::Collection;
use detection::yaml::{Node, Value};
use rsigma_parser::{LogSource, SigmaCollection};
use std::collections::HashMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let rules = PathBuf::from(arguments.next().context("name the rule folder")?);
    let input = PathBuf::from(arguments.next().context("name the record file")?);
    let rounds: u32 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let records = records(&input)?;
    let mut files = Vec::new();
    gather(&rules, &mut files)?;
    files.sort();
    let texts: Vec<(String, String)> = files
        .iter()
        .map(|file| Ok((file.to_string_lossy().into_owned(), std::fs::read_to_string(file)?)))
        .collect::<Result<_>>()?;

    let mut buffers = simd_json::Buffers::default();
    let mut copy = Vec::new();
    report("parse only, simd-json tape", records.len(), rounds, || {
        for record in &records {
            copy.clear();
            copy.extend_from_slice(record);
            black_box(simd_json::to_tape_with_buffers(&mut copy, &mut buffers).is_ok());
        }
        0
    })?;
    report("parse only, sonic-rs value", records.len(), rounds, || {
        for record in &records {
            black_box(sonic_rs::from_slice::<sonic_rs::Value>(record).is_ok());
        }
        0
    })?;

    let collection = Collection::load(texts.iter().map(|(f, t)| (f.as_str(), t.as_str())), &|_| None);
    let profile = Profile::new(Format::WindowsFlat);
    let engine = Engine::compile(&collection.rules, &profile);
    let (mut parser, mut scratch, mut found) = (event::Parser::new(), Scratch::default(), Vec::new());
    report("posse", records.len(), rounds, || {
        let mut matches = 0;
        for record in &records {
            if let Ok(view) = parser.parse(record) {
                engine.matches(&view, &mut scratch, &mut found);
                matches += found.len();
            }
        }
        matches
    })?;

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
    report("rsigma-eval 0.23, routed", records.len(), rounds, || {
        let mut matches = 0;
        for record in &records {
            let Ok(value) = serde_json::from_slice::<serde_json::Value>(record) else { continue };
            let source = route(&value, &sources, &mut known);
            matches += peer.evaluate_pruned(&rsigma_eval::JsonEvent::borrow(&value), &source).len();
        }
        matches
    })?;
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

fn report(name: &str, events: usize, rounds: u32, mut run: impl FnMut() -> usize) -> Result<()> {
    let mut matches = run();
    let mut best = u64::MAX;
    for _ in 0..rounds {
        let start = cpu_ns()?;
        matches = run();
        best = best.min(cpu_ns()?.saturating_sub(start));
    }
    let seconds = best as f64 / 1e9;
    let line = serde_json::json!({
        "name": name, "events": events, "matches": matches,
        "events_per_s": (events as f64 / seconds).round(), "us_per_event": seconds * 1e6 / events as f64,
    });
    println!("{line}");
    Ok(())
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

fn records(path: &Path) -> Result<Vec<Vec<u8>>> {
    let bytes = std::fs::read(path)?;
    let mut records = Vec::new();
    event::read::each_record(&bytes, 8 << 30, |_, record| {
        records.push(record.map(<[u8]>::to_vec).unwrap_or_default());
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(records)
}

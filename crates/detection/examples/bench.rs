//! Times detection on one thread: JSON text in, rule numbers out.
//!
//! `bench --rules DIR --input FILE [--format F] [--most-rules N] [--rounds N] [--parse-only yes] [--indicators N]`; prints one JSON object.

mod files;

use anyhow::{Context, Result};
use detection::engine::{Engine, Scratch};
use detection::indicator::{IndicatorBuilder, IndicatorKind, Indicators};
use detection::profile::{Format, Profile};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::path::PathBuf;

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<()> {
    let rules = PathBuf::from(files::option("--rules").context("--rules is missing")?);
    let input = PathBuf::from(files::option("--input").context("--input is missing")?);
    let most = files::option("--most-rules").map_or(Ok(usize::MAX), |text| text.parse())?;
    let rounds: u32 = files::option("--rounds").map_or(Ok(3), |text| text.parse())?;
    let parse_only = files::option("--parse-only").is_some();
    let records = files::records(&input)?;
    let format = match files::option("--format") {
        Some(name) => name.parse()?,
        None => records
            .first()
            .and_then(|record| serde_json::from_slice(record).ok())
            .map_or(Format::Generic, |record| Format::detect(&record)),
    };
    let before = resident_kib()?;
    let start = cpu_ns()?;
    let collection = files::rules(&rules, most)?;
    let loaded = cpu_ns()?;
    let count = collection.rules.len();
    let engine = Engine::compile(&collection.rules, &Profile::new(format));
    let compiled = cpu_ns()?;
    drop(collection);
    let resident = resident_kib()?.saturating_sub(before);
    let before_indicators = resident_kib()?;
    let indicators = indicators(files::option("--indicators").map_or(Ok(0), |text| text.parse())?);
    let indicators_kib = resident_kib()?.saturating_sub(before_indicators);
    let mut hits = Vec::new();
    let (mut parser, mut scratch, mut found) = (event::Parser::new(), Scratch::default(), Vec::new());
    let mut best = u64::MAX;
    let (mut matches, mut allocations, mut unmatched) = (0_u64, 0_usize, 0_u64);
    for round in 0..=rounds {
        (matches, allocations, unmatched) = (0, 0, 0);
        let start = cpu_ns()?;
        for record in &records {
            let region = Region::new(GLOBAL);
            let Ok(view) = parser.parse(record) else { continue };
            if !parse_only {
                engine.matches(&view, &mut scratch, &mut found);
            }
            if !indicators.is_empty() {
                indicators.matches(&view, &mut hits);
            }
            matches += found.len() as u64;
            if found.is_empty() {
                unmatched += 1;
                let change = region.change();
                allocations += change.allocations + change.reallocations;
            }
        }
        let spent = cpu_ns()?.saturating_sub(start);
        if round > 0 {
            best = best.min(spent);
        }
    }
    let events = records.len() as f64;
    println!(
        "{}",
        serde_json::json!({
            "rules": count, "rules_asked": engine.rules_asked(), "tests": engine.tests(),
            "events": records.len(), "matches": matches,
            "events_per_s": (events * 1e9 / best as f64).round(),
            "us_per_event": best as f64 / 1e3 / events,
            "rules_rss_mb": resident as f64 / 1024.0,
            "indicators": indicators.len(), "indicators_rss_mb": indicators_kib as f64 / 1024.0,
            "compile_s": (compiled - start) as f64 / 1e9,
            "engine_compile_s": (compiled - loaded) as f64 / 1e9,
            "allocations_per_event": allocations as f64 / unmatched.max(1) as f64,
        })
    );
    Ok(())
}

/// That many indicators of every kind, from a fixed sequence.
fn indicators(count: u64) -> Indicators {
    let mut builder = IndicatorBuilder::default();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for n in 0..count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (kind, value) = match n % 4 {
            0 => (IndicatorKind::Address, std::net::Ipv4Addr::from_bits((state >> 32) as u32).to_string()),
            1 => (IndicatorKind::Domain, format!("h{state:x}.example.net")),
            2 => (IndicatorKind::FileHash, format!("{state:016x}{n:016x}")),
            _ => (IndicatorKind::Url, format!("http://u{state:x}.example.com/{n}")),
        };
        // Made to fit its kind.
        let _added = builder.add(kind, &value, 1);
    }
    builder.build()
}

/// CPU time of this thread.
fn cpu_ns() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().context("empty schedstat")?.parse()?)
}

fn resident_kib() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("empty VmRSS")?.parse()?)
}

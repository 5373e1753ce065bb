//! `posse bench backtest`: rules over the lake beside the same rules over the same records as a stream. The records are
//! those of a file, repeated and spread over 30 days; one in many speaks of an address that a rule looks for.

use super::detect::{cpu_ns, float, records, rule_texts};
use super::plane::{Bench, process_cpu, rules, tenant};
use anyhow::{Context as _, bail, ensure};
use api::{Backtest, BacktestAsk, Bounds, DataPlane as _, RuleText};
use detection::engine::{Engine, Scratch};
use detection::profile::{Format, Profile};
use detection::sigma::Collection;
use ids::{Scope, Timestamp};
use pipeline::{Finding, FindingSink};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Over so many days records are spread.
const DAYS: u64 = 30;
/// The address that a rule looks for, and in how many records it stands.
const NEEDLE: &str = "203.0.113.77";
const NEEDLES: usize = 9;
const BATCH: usize = 2_000;
const MONTH: Duration = Duration::from_secs(DAYS * 24 * 3600);

struct Options {
    json: bool,
    rules: PathBuf,
    input: PathBuf,
    events: usize,
}

fn options(words: &[&str]) -> anyhow::Result<Options> {
    let mut options = Options { json: false, rules: PathBuf::new(), input: PathBuf::new(), events: 600_000 };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut value = || rest.next().copied().with_context(|| format!("`{word}` needs a value"));
        match *word {
            "--json" => options.json = true,
            "--rules" => options.rules = value()?.into(),
            "--input" => options.input = value()?.into(),
            "--events" => options.events = value()?.parse()?,
            other => bail!("`{other}` is no option of `posse bench backtest`; see `posse bench --help`"),
        }
    }
    if options.rules.as_os_str().is_empty() || options.input.as_os_str().is_empty() {
        bail!("say `--rules DIR` and `--input FILE`");
    }
    Ok(options)
}

/// Nobody wants to know.
struct Nobody;

impl FindingSink for Nobody {
    fn found(&self, _: Finding) {}
}

/// The records of the file, again and again, each at its own time within the last 30 days.
struct Made {
    source: Vec<serde_json::Map<String, Value>>,
    events: usize,
    from: Timestamp,
}

impl Made {
    fn new(input: &[u8], events: usize, now: Timestamp) -> anyhow::Result<Self> {
        let records = records(input, usize::MAX)?;
        let read = |record: &Vec<u8>| serde_json::from_slice(record).ok();
        let source: Vec<_> = records.iter().filter_map(read).collect();
        ensure!(!source.is_empty(), "the input holds no JSON object");
        Ok(Self { source, events, from: now.minus(MONTH) })
    }

    /// The record at a place; its time grows with the place.
    fn at(&self, place: usize) -> Vec<u8> {
        let step = MONTH.as_micros().checked_div(u128::try_from(self.events).unwrap_or(1)).unwrap_or(1);
        let after = step.saturating_mul(u128::try_from(place).unwrap_or(0));
        let time = self.from.plus(Duration::from_micros(u64::try_from(after).unwrap_or(u64::MAX)));
        let mut record =
            place.checked_rem(self.source.len()).and_then(|at| self.source.get(at)).cloned().unwrap_or_default();
        record.insert("TimeCreated".to_owned(), time.to_string().into());
        record.remove("@timestamp");
        let every = self.events.div_ceil(NEEDLES).max(1);
        if place % every == every / 2 {
            record.insert("Channel".to_owned(), "Microsoft-Windows-Sysmon/Operational".into());
            record.insert("EventID".to_owned(), 3.into());
            record.insert("DestinationIp".to_owned(), NEEDLE.into());
        }
        serde_json::to_vec(&record).unwrap_or_default()
    }
}

/// Measure and print.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let options = options(words)?;
    super::plane::print(measure(&options), options.json)
}

async fn measure(options: &Options) -> anyhow::Result<Value> {
    let texts = rule_texts(&options.rules)?;
    let input = std::fs::read(&options.input).with_context(|| format!("cannot read `{}`", options.input.display()))?;
    let now = ids::Clock::now(&crate::data_dir::SystemClock);
    let made = Made::new(&input, options.events, now)?;
    let engine = stream(&texts, &made)?;
    let bench = Bench::open(Arc::new(Nobody)).await?;
    let mut all = rules(&texts);
    let running = bench.set_rules(all.clone())?;
    let (begun, cpu) = (Instant::now(), process_cpu()?);
    for place in (0..made.events).step_by(BATCH) {
        let batch: Vec<Vec<u8>> = (place..made.events.min(place.saturating_add(BATCH))).map(|at| made.at(at)).collect();
        bench.send(&batch).await?;
    }
    bench.caught_up().await;
    let (ingest_s, ingest_cpu_s) = (begun.elapsed().as_secs_f64(), process_cpu()? - cpu);
    bench.plane.stop().await;
    let compacted = bench.plane.compact(&Scope::Provider, false, &|_, _| true).await;
    compacted.map_err(|problem| anyhow::anyhow!("{problem}"))?;

    let first = all.remove(0);
    let whole = Ask { rule: first, beside: all, exhaustive: true };
    let (scan, scan_s, scan_cpu_s) = whole.run(&bench, now).await?;
    let literal = needle_rule();
    let (narrow, narrow_s, _) =
        Ask { rule: literal.clone(), beside: Vec::new(), exhaustive: false }.run(&bench, now).await?;
    let (wide, wide_s, _) = Ask { rule: literal, beside: Vec::new(), exhaustive: true }.run(&bench, now).await?;
    ensure!(narrow.findings == wide.findings, "the narrow way found {}, the wide {}", narrow.findings, wide.findings);
    ensure!(wide.complete && scan.complete, "a backtest was cut: {:?} {:?}", wide.cut, scan.cut);
    let events = float(u64::try_from(made.events)?);
    Ok(json!({
        "rules": running,
        "events": made.events,
        "stream_events_per_cpu_s": engine.round(),
        "ingest_events_per_s": (events / ingest_s).round(),
        "ingest_events_per_cpu_s": (events / ingest_cpu_s).round(),
        "backtest_events_per_s": (float(scan.events) / scan_s).round(),
        "backtest_events_per_cpu_s": (float(scan.events) / scan_cpu_s).round(),
        "backtest_findings": scan.findings,
        "backtest_of_stream": float(scan.events) / scan_cpu_s / engine,
        "backtest_of_ingest": (float(scan.events) / scan_s) / (events / ingest_s),
        "literal_findings": narrow.findings,
        "literal_ms": narrow_s * 1e3,
        "literal_scan_ms": wide_s * 1e3,
        "literal_times_faster": wide_s / narrow_s,
        "literal_parts_read": narrow.parts_read,
        "literal_parts_left_out": narrow.parts_left_out,
        "literal_events": narrow.events,
    }))
}

/// A backtest to be measured.
struct Ask {
    rule: RuleText,
    beside: Vec<RuleText>,
    exhaustive: bool,
}

impl Ask {
    /// Its answer, with the time that it took by the clock and of processors.
    async fn run(self, bench: &Bench, now: Timestamp) -> anyhow::Result<(Backtest, f64, f64)> {
        let since = now.minus(MONTH).minus(Duration::from_secs(60));
        let ask = BacktestAsk {
            rule: self.rule,
            beside: self.beside,
            since,
            until: now.plus(Duration::from_secs(60)),
            exhaustive: self.exhaustive,
        };
        let bounds = Bounds {
            rows_max: 20,
            bytes_max: 1 << 24,
            time_max: Duration::from_secs(3600),
            decoded_bytes_max: u64::MAX,
            memory_bytes_max: 1 << 30,
            masked: BTreeSet::new(),
            position: None,
        };
        let (begun, cpu) = (Instant::now(), process_cpu()?);
        let found = bench.plane.backtest(&Scope::Tenant(tenant()), &ask, &bounds, &|_, _| true).await;
        let found = found.map_err(|problem| anyhow::anyhow!("{problem}"))?;
        Ok((found, begun.elapsed().as_secs_f64(), process_cpu()? - cpu))
    }
}

fn needle_rule() -> RuleText {
    let text = format!(
        "title: needle\nid: needle\nlevel: high\nlogsource: {{product: windows, category: network_connection}}\n\
         detection: {{s: {{DestinationIp: {NEEDLE}}}, condition: s}}\n"
    );
    RuleText { id: None, name: "needle".to_owned(), digest: "needle".to_owned(), text, shadow: false }
}

/// Events a second of one thread's time: the same rules over the same records in memory.
fn stream(texts: &[(String, String)], made: &Made) -> anyhow::Result<f64> {
    let collection = Collection::load(texts.iter().map(|(file, text)| (file.as_str(), text.as_str())), &|_| None);
    let engine = Engine::compile(&collection.rules, &Profile::new(Format::WindowsFlat));
    let sample: Vec<Vec<u8>> = (0..made.source.len().min(made.events)).map(|place| made.at(place)).collect();
    let (mut parser, mut scratch, mut found) = (event::Parser::new(), Scratch::default(), Vec::new());
    let mut best = u64::MAX;
    for _ in 0..3 {
        let begun = cpu_ns()?;
        for record in &sample {
            if let Ok(view) = parser.parse(record) {
                engine.matches(&view, &mut scratch, &mut found);
            }
        }
        best = best.min(cpu_ns()?.saturating_sub(begun));
    }
    Ok(float(u64::try_from(sample.len())?) * 1e9 / float(best.max(1)))
}

//! The detection engine's speed and memory: JSON text in, rule numbers out, from files of this machine. One thread and
//! CPU time unless threads are asked for; then wall-clock time of all of them. Knows no peer: `script/bench` has those.

use anyhow::{Context as _, bail};
use detection::correlate::{Correlator, Limits, Sighting};
use detection::engine::{Engine, Scratch};
use detection::indicator::{IndicatorBuilder, IndicatorKind, Indicators};
use detection::profile::{CHANNEL, EVENT_ID, Format, Gate, Profile};
use detection::sigma::{Collection, Expr, LogSource, Rule};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// As much as a compressed input may unpack to.
const INPUT_BYTES_MAX: usize = 8 << 30;
/// Rules that each tenant has beside the shared ones.
const OWN_RULES: usize = 20;

struct Options {
    json: bool,
    rules: PathBuf,
    input: PathBuf,
    format: Option<String>,
    rounds: u32,
    rules_max: usize,
    threads: usize,
    indicators: u64,
    tenants: usize,
    correlation_keys: u64,
    routes_in_rules: bool,
}

fn options(words: &[&str]) -> anyhow::Result<Options> {
    let mut options = Options {
        json: false,
        rules: PathBuf::new(),
        input: PathBuf::new(),
        format: None,
        rounds: 3,
        rules_max: usize::MAX,
        threads: 0,
        indicators: 0,
        tenants: 0,
        correlation_keys: 0,
        routes_in_rules: false,
    };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut value = || rest.next().copied().with_context(|| format!("`{word}` needs a value"));
        match *word {
            "--json" => options.json = true,
            "--rules" => options.rules = value()?.into(),
            "--input" => options.input = value()?.into(),
            "--format" => options.format = Some(value()?.to_owned()),
            "--rounds" => options.rounds = value()?.parse()?,
            "--rules-max" => options.rules_max = value()?.parse()?,
            "--threads" => options.threads = value()?.parse()?,
            "--indicators" => options.indicators = value()?.parse()?,
            "--tenants" => options.tenants = value()?.parse()?,
            "--correlation-keys" => options.correlation_keys = value()?.parse()?,
            "--routes-in-rules" => options.routes_in_rules = true,
            other => bail!("`{other}` is no option of `posse bench detect`; see `posse bench --help`"),
        }
    }
    if options.rules.as_os_str().is_empty() || options.input.as_os_str().is_empty() {
        bail!("say `--rules DIR` and `--input FILE`");
    }
    Ok(options)
}

/// Measure and print.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let options = options(words)?;
    let figures = measure(&options)?;
    if options.json {
        println!("{}", Value::Object(figures));
    } else {
        for (key, value) in figures {
            println!("{key:>24}  {value}");
        }
    }
    Ok(())
}

fn measure(options: &Options) -> anyhow::Result<Map<String, Value>> {
    // Records come last: what reading them frees would hide what rules take.
    let input = std::fs::read(&options.input).with_context(|| format!("cannot read `{}`", options.input.display()))?;
    let profile = Profile::new(format(options, &input)?);
    let texts = rule_texts(&options.rules)?;
    let started = cpu_ns()?;
    let mut rules = load(&texts, options.rules_max);
    let loaded_ns = cpu_ns()?.saturating_sub(started);
    if options.routes_in_rules {
        rules = rules.into_iter().map(|rule| routed_in_rule(rule, &profile)).collect();
    }
    // The rules stay until all is made: what they free would hide what it takes.
    let before = resident_kib()?;
    let started = cpu_ns()?;
    let engine = Engine::compile(&rules, &profile);
    let compile_ns = cpu_ns()?.saturating_sub(started).saturating_add(loaded_ns);
    let count = rules.len();
    let rules_kib = resident_kib()?.saturating_sub(before);
    let (tenants, tenants_kib) = tenants(options, &rules, &profile)?;
    let before_indicators = resident_kib()?;
    let indicators = indicators(options.indicators);
    let indicators_kib = resident_kib()?.saturating_sub(before_indicators);
    let keys = if options.correlation_keys > 0 { Some(correlation_keys(options.correlation_keys)?) } else { None };
    drop(rules);
    let records = records(&input, usize::MAX)?;

    let bench = Bench { engine: &engine, indicators: &indicators, records: &records };
    let (spent_ns, without_ns) = if options.threads == 0 {
        bench.cpu(options.rounds)?
    } else {
        let spent_ns = bench.wall(options)?;
        (spent_ns, spent_ns)
    };
    let events = float(u64::try_from(records.len())?);
    let mut figures = Map::new();
    let mut put = |key: &str, value: Value| figures.insert(key.to_owned(), value);
    put("rules", json!(count));
    put("events", json!(records.len()));
    put("events_per_s", json!((events * 1e9 / float(spent_ns)).round()));
    put("us_per_event", json!(float(spent_ns) / 1e3 / events));
    put("rules_rss_mb", json!(float(rules_kib) / 1024.0));
    put("compile_s", json!(float(compile_ns) / 1e9));
    put("allocations_per_event", json!(bench.allocations_per_event()));
    if options.threads > 0 {
        put("threads", json!(options.threads));
    }
    if options.indicators > 0 {
        put("indicators", json!(indicators.len()));
        put("indicators_rss_mb", json!(float(indicators_kib) / 1024.0));
        // Of the same rounds, so that a change of the machine's pace falls on both.
        put("indicators_throughput_share", json!(float(without_ns) / float(spent_ns)));
    }
    if options.tenants > 0 {
        put("tenants", json!(tenants.len()));
        put("tenants_rss_mb", json!(float(rules_kib.saturating_add(tenants_kib)) / 1024.0));
    }
    if let Some(keys) = keys {
        put("correlation_keys", json!(keys.groups));
        put("correlation_keys_rss_mb", json!(float(keys.kib) / 1024.0));
        put("us_per_sighting", json!(float(keys.spent_ns) / 1e3 / float(options.correlation_keys)));
    }
    Ok(figures)
}

/// What is measured.
struct Bench<'a> {
    engine: &'a Engine,
    indicators: &'a Indicators,
    records: &'a [Vec<u8>],
}

impl Bench<'_> {
    /// Nanoseconds of this thread's CPU time for all records, the best of the rounds after one to warm up; and the same
    /// without indicators, where there are any, in turns with it.
    fn cpu(&self, rounds: u32) -> anyhow::Result<(u64, u64)> {
        let none = IndicatorBuilder::default().build();
        let bare = Bench { engine: self.engine, indicators: &none, records: self.records };
        let mut buffers = Buffers::default();
        self.pass(self.records, &mut buffers);
        let mut best = u64::MAX;
        let mut without = u64::MAX;
        for _ in 0..rounds.max(1) {
            let started = cpu_ns()?;
            self.pass(self.records, &mut buffers);
            best = best.min(cpu_ns()?.saturating_sub(started).max(1));
            if !self.indicators.is_empty() {
                let started = cpu_ns()?;
                bare.pass(self.records, &mut buffers);
                without = without.min(cpu_ns()?.saturating_sub(started).max(1));
            }
        }
        Ok((best, if self.indicators.is_empty() { best } else { without }))
    }

    /// Nanoseconds by the clock until all threads are done with their even shares, the best of the rounds.
    fn wall(&self, options: &Options) -> anyhow::Result<u64> {
        let share = self.records.len().div_ceil(options.threads).max(1);
        let rounds = options.rounds.max(1);
        let barrier = std::sync::Barrier::new(self.records.chunks(share).len());
        let times: Vec<Option<Vec<u64>>> = std::thread::scope(|scope| {
            let work = |records| {
                let mut buffers = Buffers::default();
                self.pass(records, &mut buffers);
                let mut times = Vec::new();
                for _ in 0..rounds {
                    barrier.wait();
                    let started = Instant::now();
                    self.pass(records, &mut buffers);
                    times.push(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
                }
                times
            };
            let running: Vec<_> = self.records.chunks(share).map(|share| scope.spawn(move || work(share))).collect();
            running.into_iter().map(|thread| thread.join().ok()).collect()
        });
        let times: Vec<Vec<u64>> = times.into_iter().collect::<Option<_>>().context("a thread failed")?;
        let round = |number: usize| times.iter().filter_map(|of| of.get(number)).copied().max();
        (0..usize::try_from(rounds)?).filter_map(round).min().context("nothing was measured")
    }

    fn pass(&self, records: &[Vec<u8>], buffers: &mut Buffers) {
        for record in records {
            self.one(record, buffers);
        }
    }

    /// One record, from its text to its matches; whether there was any.
    fn one(&self, record: &[u8], buffers: &mut Buffers) -> bool {
        let Ok(view) = buffers.parser.parse(record) else { return false };
        self.engine.matches(&view, &mut buffers.scratch, &mut buffers.found);
        if !self.indicators.is_empty() {
            self.indicators.matches(&view, &mut buffers.hits);
        }
        !std::hint::black_box(&buffers.found).is_empty()
    }

    /// Allocations for each record without a match, once the buffers have grown.
    fn allocations_per_event(&self) -> f64 {
        let mut buffers = Buffers::default();
        let mut unmatched = Vec::with_capacity(self.records.len());
        unmatched.extend(self.records.iter().filter(|record| !self.one(record, &mut buffers)));
        let session = alloc_tracker::Session::new().no_stdout().no_file();
        let operation = session.operation("records without a match");
        {
            let _span = operation.measure_thread().iterations(1).no_peak();
            unmatched.iter().for_each(|record| {
                self.one(record, &mut buffers);
            });
        }
        let count = u64::try_from(unmatched.len()).unwrap_or(u64::MAX);
        let report = session.to_report();
        let allocations: u64 = report.operations().map(|(_, operation)| operation.total_allocations_count()).sum();
        float(allocations) / float(count.max(1))
    }
}

/// The buffers of one thread.
#[derive(Default)]
struct Buffers {
    parser: event::Parser,
    scratch: Scratch,
    found: Vec<u32>,
    hits: Vec<detection::indicator::Hit>,
}

fn format(options: &Options, input: &[u8]) -> anyhow::Result<Format> {
    let name = options.format.as_deref().unwrap_or("auto");
    Ok(detection::offline::format_named(name, records(input, 1)?.iter().map(Vec::as_slice))?)
}

/// Every rule file below a folder, in order of path.
pub(crate) fn rule_texts(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    gather(folder, &mut files)?;
    files.sort();
    files
        .iter()
        .map(|file| {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
            Ok((file.to_string_lossy().into_owned(), text))
        })
        .collect()
}

fn gather(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).with_context(|| format!("cannot read `{}`", path.display()))? {
            gather(&entry?.path(), files)?;
        }
    } else if path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml") {
        files.push(path.to_owned());
    }
    Ok(())
}

/// At most so many rules, evenly spread over all, so that a part has the same mixture as the whole.
fn load(texts: &[(String, String)], most: usize) -> Vec<Rule> {
    let every = texts.len().div_ceil(most.max(1)).max(1);
    let chosen = texts.iter().step_by(every);
    Collection::load(chosen.map(|(file, text)| (file.as_str(), text.as_str())), &|_| None).rules
}

/// What the log source demands, written into the rule as ordinary selections on `Channel` and `EventID`.
fn routed_in_rule(rule: Rule, profile: &Profile) -> Rule {
    let Gate::Open(gate) = profile.gate(&rule.logsource) else { return rule };
    let product = rule.logsource.product.clone();
    Rule {
        expr: Expr::all(vec![plain_names(gate), rule.expr]),
        logsource: LogSource { product, category: None, service: None },
        ..rule
    }
}

fn plain_names(expr: Expr) -> Expr {
    match expr {
        Expr::And(items) => Expr::And(items.into_iter().map(plain_names).collect()),
        Expr::Or(items) => Expr::Or(items.into_iter().map(plain_names).collect()),
        Expr::Not(inner) => Expr::Not(Box::new(plain_names(*inner))),
        Expr::Test(mut test) => {
            test.field = match test.field.as_deref() {
                Some(CHANNEL) => Some("Channel".into()),
                Some(EVENT_ID) => Some("EventID".into()),
                _ => test.field,
            };
            Expr::Test(test)
        }
    }
}

/// For each tenant an engine of other rules out of the same ones, and what all of them hold in KiB.
fn tenants(options: &Options, rules: &[Rule], profile: &Profile) -> anyhow::Result<(Vec<Engine>, u64)> {
    if options.tenants == 0 {
        return Ok((Vec::new(), 0));
    }
    let mut ring = rules.iter().cycle();
    let before = resident_kib()?;
    let engines = (0..options.tenants).map(|_| {
        let own: Vec<Rule> = ring.by_ref().take(OWN_RULES).cloned().collect();
        Engine::compile(&own, profile)
    });
    let engines = engines.collect();
    Ok((engines, resident_kib()?.saturating_sub(before)))
}

/// A correlator that holds many groups.
struct Keys {
    groups: usize,
    kib: u64,
    spent_ns: u64,
}

const KEYED: &str = "title: Keyed\nid: keyed\nlogsource: {category: bench}\ndetection: {s: {k: x}, condition: s}\n---\n\
    title: Many of one address\nid: many\ncorrelation: {type: event_count, rules: keyed, timespan: 1d, \
    group-by: [address], condition: {gte: 3}}\n";

/// One sighting for each of so many groups.
fn correlation_keys(count: u64) -> anyhow::Result<Keys> {
    let collection = Collection::load([("bench", KEYED)], &|_| None);
    let groups_max = usize::try_from(count)?;
    let before = resident_kib()?;
    let mut correlator = Correlator::new(&collection, Limits { groups_max, ..Limits::default() });
    let mut found = Vec::new();
    let started = cpu_ns()?;
    for event in 0..count {
        let [_, _, _, _, _, a, b, c] = event.to_be_bytes();
        let field = |name: &str| (name == "address").then(|| format!("10.{a}.{b}.{c}"));
        let time_us = i64::try_from(event)?;
        correlator.observe(Sighting { rule: "keyed", time_us, event }, &field, &mut found);
    }
    let spent_ns = cpu_ns()?.saturating_sub(started);
    Ok(Keys { groups: correlator.groups(), kib: resident_kib()?.saturating_sub(before), spent_ns })
}

/// The first records of a file, at most so many.
pub(crate) fn records(input: &[u8], most: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut records = Vec::new();
    event::read::each_record(input, INPUT_BYTES_MAX, |_, record| {
        records.push(record.map(<[u8]>::to_vec).unwrap_or_default());
        if records.len() < most { std::ops::ControlFlow::Continue(()) } else { std::ops::ControlFlow::Break(()) }
    })?;
    if records.is_empty() {
        bail!("the input holds no record");
    }
    Ok(records)
}

/// That many indicators of every kind, from a fixed sequence.
fn indicators(count: u64) -> Indicators {
    let mut builder = IndicatorBuilder::with_capacity(usize::try_from(count).unwrap_or(0));
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for n in 0..count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (kind, value) = match n % 4 {
            0 => {
                let [a, b, c, d, ..] = state.to_be_bytes();
                (IndicatorKind::Address, format!("{a}.{b}.{c}.{d}"))
            }
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
pub(crate) fn cpu_ns() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("CPU time is read from Linux's /proc")?;
    Ok(text.split_whitespace().next().context("empty schedstat")?.parse()?)
}

fn resident_kib() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status").context("memory is read from Linux's /proc")?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("empty VmRSS")?.parse()?)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people; counts stay far below 2^52")]
pub(crate) const fn float(number: u64) -> f64 {
    number as f64
}

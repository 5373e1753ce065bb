//! `posse bench latency`: from the acknowledgement of a record to its detection being stored, at a stated rate with all
//! rules of a folder. Records are sent in small batches on a clock of their own: who is late is not waited for. One record
//! of each batch carries a number that one rule looks for.

use super::detect::{records, rule_texts};
use super::plane::{Bench, process_cpu, rules};
use anyhow::{Context as _, bail, ensure};
use api::RuleText;
use pipeline::{Finding, FindingSink};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the marked records hold before their number.
const MARK: &str = "posse-latency-";
/// How long the last detections are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

struct Options {
    json: bool,
    rules: PathBuf,
    input: PathBuf,
    rate: u64,
    secs: u64,
    batch: u64,
}

fn options(words: &[&str]) -> anyhow::Result<Options> {
    let mut options =
        Options { json: false, rules: PathBuf::new(), input: PathBuf::new(), rate: 20_000, secs: 20, batch: 200 };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut value = || rest.next().copied().with_context(|| format!("`{word}` needs a value"));
        match *word {
            "--json" => options.json = true,
            "--rules" => options.rules = value()?.into(),
            "--input" => options.input = value()?.into(),
            "--rate" => options.rate = value()?.parse()?,
            "--secs" => options.secs = value()?.parse()?,
            "--batch" => options.batch = value()?.parse()?,
            other => bail!("`{other}` is no option of `posse bench latency`; see `posse bench --help`"),
        }
    }
    if options.rules.as_os_str().is_empty() || options.input.as_os_str().is_empty() {
        bail!("say `--rules DIR` and `--input FILE`");
    }
    ensure!(options.rate > 0 && options.batch > 0 && options.secs > 0, "rate, batch and seconds are at least 1");
    Ok(options)
}

/// When the detection of each marked record was stored.
#[derive(Default)]
struct Stored(Mutex<HashMap<u64, Instant>>);

impl Stored {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FindingSink for Stored {
    fn found(&self, finding: Finding) {
        let now = Instant::now();
        if finding.rule_uid != MARK {
            return;
        }
        // What the rule wanted is told beside what it found, and has no number behind it.
        let mark = format!("{MARK}n");
        let number = |after: &str| {
            let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u64>().ok()
        };
        if let Some(number) = finding.ocsf.split(mark.as_str()).skip(1).find_map(number) {
            self.all().entry(number).or_insert(now);
        }
    }
}

fn mark_rule() -> RuleText {
    let text = format!(
        "title: mark\nid: {MARK}\nlevel: low\nlogsource: {{product: windows, service: sysmon}}\n\
         detection: {{s: {{Description|startswith: {MARK}n}}, condition: s}}\n"
    );
    RuleText { id: None, name: MARK.to_owned(), digest: MARK.to_owned(), text, shadow: false }
}

/// A record that the rule of marks finds.
fn marked(number: u64) -> Vec<u8> {
    let record = json!({
        "SourceName": "Microsoft-Windows-Sysmon", "Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": 1,
        "Hostname": "latency", "Image": "C:\\Windows\\System32\\mark.exe", "Description": format!("{MARK}n{number}"),
    });
    record.to_string().into_bytes()
}

/// Measure and print.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let options = options(words)?;
    super::plane::print(measure(&options), options.json)
}

async fn measure(options: &Options) -> anyhow::Result<Value> {
    let input = std::fs::read(&options.input).with_context(|| format!("cannot read `{}`", options.input.display()))?;
    let records = records(&input, usize::MAX)?;
    let stored = Arc::new(Stored::default());
    let bench = Arc::new(Bench::open(Arc::clone(&stored) as Arc<dyn FindingSink>).await?);
    let mut all = rules(&rule_texts(&options.rules)?);
    all.push(mark_rule());
    let running = bench.set_rules(all)?;
    // What is compiled at the first record is no latency of the stream.
    bench.send(&[marked(u64::MAX)]).await?;
    bench.caught_up().await;

    let batches = options.rate.saturating_mul(options.secs).div_ceil(options.batch);
    let pause =
        Duration::from_secs(1).mul_f64(super::detect::float(options.batch) / super::detect::float(options.rate));
    let size = usize::try_from(options.batch)?;
    let acknowledged: Arc<Mutex<HashMap<u64, Instant>>> = Arc::default();
    let (begun, cpu) = (Instant::now(), process_cpu()?);
    let mut clock = tokio::time::interval(pause);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut sent = Vec::new();
    for number in 0..batches {
        clock.tick().await;
        let first = usize::try_from(number)?.wrapping_mul(size);
        let place = |at: usize| first.wrapping_add(at).checked_rem(records.len()).and_then(|at| records.get(at));
        let mut batch: Vec<Vec<u8>> = (1..size).filter_map(|at| place(at).cloned()).collect();
        batch.push(marked(number));
        let (bench, acknowledged) = (Arc::clone(&bench), Arc::clone(&acknowledged));
        sent.push(tokio::spawn(async move {
            bench.send(&batch).await?;
            acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Instant::now());
            anyhow::Ok(())
        }));
    }
    for one in sent {
        one.await??;
    }
    let took = begun.elapsed().as_secs_f64();
    let until = Instant::now() + PATIENCE;
    let wanted = usize::try_from(batches)?;
    while stored.all().len() <= wanted && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let cpu_s = process_cpu()? - cpu;
    let stored = stored.all().clone();
    let acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut waits: Vec<f64> = acknowledged
        .iter()
        .filter_map(|(number, at)| Some(stored.get(number)?.saturating_duration_since(*at).as_secs_f64() * 1e3))
        .collect();
    ensure!(waits.len() == wanted, "{} of {wanted} marked records have their detection", waits.len());
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (super::detect::float(u64::try_from(waits.len()).unwrap_or(0)) * share).floor();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in a list of some thousands"
        )]
        let place = (place as usize).min(waits.len().saturating_sub(1));
        waits.get(place).copied().unwrap_or(0.0)
    };
    let figures = json!({
        "rules": running,
        "rate_asked": options.rate,
        "events_per_s": (super::detect::float(batches.saturating_mul(options.batch)) / took).round(),
        "detections_measured": waits.len(),
        "p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99), "max_ms": at(1.0),
        "cpu_s": cpu_s, "secs": took,
    });
    bench.plane.stop().await;
    Ok(figures)
}

//! A rule over what the lake holds: files that cannot hold a match are left out, the others are read batch by batch and
//! asked by several threads, each record as it was when it came. Must never write, and never hold more findings than it
//! was asked for: the rest is counted.

use super::Plane;
use super::ask::{problem, provenance, unmasked};
use super::correlate::replay;
use super::finding::{Finding, Seen, Sighted};
use super::narrow::needed;
use super::rules::{Detectors, Matcher};
use super::setup::{Reading, Tenant};
use super::transform::{choose, inside, line};
use crate::Source;
use api::{Backtest, BacktestAsk, BacktestCount, Bounds, Cut, Estimate, Problem, RuleSet};
use event::Parser;
use event::mapping::{COLUMNS, ColumnValue, Normalised, Normaliser};
use ids::{Scope, TenantId, Text};
use journal::Position;
use lake::{AskError, Needed, Records, Scan, Scanned, Scanning, Slice};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Records of one part of the time range: how often it is told how far it is, and how long files are held.
const SLICE_ROWS: u64 = 4_000_000;
/// Matches that wait for the correlations that count them; each holds its record.
const SIGHTED_MAX: usize = 100_000;
/// Hosts and users that are counted one by one.
const NAMES_MAX: usize = 10_000;
/// How many of them are told.
const NAMES_TOLD: usize = 20;
/// How long a trial waits for its turn among the questions.
const PATIENCE: Duration = Duration::from_secs(120);
/// Batches between the lake and those who ask.
const QUEUE: usize = 4;

/// Told how far it is, in parts of a thousand and words; false ends the work.
pub(super) type Told<'a> = &'a (dyn Fn(u32, &str) -> bool + Send + Sync);

/// What a trial came to.
#[derive(Default)]
pub(super) struct Found {
    /// Findings, newest first; at most as many as were asked for.
    pub(super) kept: Vec<Finding>,
    pub(super) findings: u64,
    pub(super) events: u64,
    days: HashMap<String, u64>,
    hosts: HashMap<String, u64>,
    users: HashMap<String, u64>,
    sighted: Vec<Sighted>,
    pub(super) cut: Option<Cut>,
    read: lake::Provenance,
}

fn add(counts: &mut HashMap<String, u64>, value: &str, number: u64) {
    if let Some(count) = counts.get_mut(value) {
        *count = count.saturating_add(number);
    } else if counts.len() < NAMES_MAX {
        counts.insert(value.to_owned(), number);
    }
}

impl Found {
    /// Take over what another thread found.
    fn join(&mut self, other: Self) {
        self.kept.extend(other.kept);
        self.findings = self.findings.saturating_add(other.findings);
        self.events = self.events.saturating_add(other.events);
        let pairs = [(&mut self.days, other.days), (&mut self.hosts, other.hosts), (&mut self.users, other.users)];
        for (own, theirs) in pairs {
            theirs.iter().for_each(|(value, number)| add(own, value, *number));
        }
        self.sighted.extend(other.sighted);
        self.cut = self.cut.or(other.cut);
    }

    fn read(&mut self, part: &lake::Provenance) {
        self.read.snapshot = self.read.snapshot.max(part.snapshot);
        for (own, theirs) in [
            (&mut self.read.files, part.files),
            (&mut self.read.row_groups, part.row_groups),
            (&mut self.read.row_groups_skipped, part.row_groups_skipped),
            (&mut self.read.rows, part.rows),
            (&mut self.read.hot_rows, part.hot_rows),
            (&mut self.read.bytes, part.bytes),
        ] {
            *own = own.saturating_add(theirs);
        }
    }

    fn count(&mut self, finding: &Finding, event: Option<&Normalised>) {
        self.findings = self.findings.saturating_add(1);
        let day = finding.time.to_string();
        add(&mut self.days, day.split('T').next().unwrap_or(&day), 1);
        for (name, value) in event.into_iter().flat_map(|event| &event.columns) {
            let (Some(column), ColumnValue::Text(value)) = (COLUMNS.get(*name), value) else { continue };
            match column.name {
                "device_hostname" => add(&mut self.hosts, value, 1),
                "actor_user_name" => add(&mut self.users, value, 1),
                _ => {}
            }
        }
    }
}

/// The most frequent values, then by name.
fn most(counts: HashMap<String, u64>) -> Vec<BacktestCount> {
    let mut all: Vec<(String, u64)> = counts.into_iter().collect();
    all.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    all.into_iter().take(NAMES_TOLD).map(|(value, findings)| BacktestCount { value, findings }).collect()
}

/// One thread that asks.
struct Asker {
    detectors: Arc<Detectors>,
    tenants: Arc<HashMap<TenantId, Tenant>>,
    only: Option<TenantId>,
    keep: usize,
    parser: Parser,
    inner: Parser,
    matcher: Matcher,
    normaliser: Normaliser,
    event: Normalised,
    /// The reading of the source of the record before.
    last: Option<(TenantId, Text<64>, Reading)>,
    found: Found,
}

impl Asker {
    fn ask(&mut self, record: &Scanned<'_>) {
        self.found.events = self.found.events.saturating_add(1);
        let tenant = match self.only {
            Some(tenant) => tenant,
            None => match record.tenant.parse() {
                Ok(tenant) => tenant,
                Err(_) => return,
            },
        };
        let known = self.last.as_ref().is_some_and(|last| last.0 == tenant && last.1.as_str() == record.source);
        if !known {
            let name = Text::new(record.source).unwrap_or_default();
            let reading = self.tenants.get(&tenant).cloned().unwrap_or_default().reading(&name);
            self.last = Some((tenant, name, reading));
        }
        let made;
        let json = if record.raw.trim_ascii_start().starts_with('{') {
            record.raw.as_bytes()
        } else {
            made = line(record.raw, record.received);
            &made
        };
        let mut parser = std::mem::take(&mut self.parser);
        if let Ok(view) = parser.parse(json) {
            self.view(record, &view);
        }
        self.parser = parser;
    }

    fn view(&mut self, record: &Scanned<'_>, view: &event::View<'_>) {
        let Some((tenant, name, reading)) = self.last.clone() else { return };
        let Some(mapping) = choose(&reading, view) else { return };
        let mut inner = std::mem::take(&mut self.inner);
        {
            let parsed = inside(view.raw()).and_then(|bytes| inner.parse(bytes).ok());
            let asked = parsed.as_ref().unwrap_or(view);
            if let Some(matcher) = self.matcher.holds(&self.detectors, mapping.name(), asked) {
                let mut event = std::mem::take(&mut self.event);
                self.normaliser.normalise_columns(mapping, view, record.received, &mut event);
                event.time = record.time;
                let source = Source { tenant, name };
                let place = Position { segment: record.id.segment, offset: record.id.offset };
                let (id, index, received) = (record.id, record.id.index, record.received);
                let seen = Seen { id, event: &event, source: &source, received, place, index };
                let mut sighted = Vec::new();
                let findings = self.matcher.findings(&self.detectors, &matcher, asked, &seen, &mut sighted);
                for finding in findings {
                    self.found.count(&finding, Some(&event));
                    if self.found.kept.len() < self.keep {
                        self.found.kept.push(finding);
                    }
                }
                if self.found.sighted.len().saturating_add(sighted.len()) > SIGHTED_MAX {
                    self.found.cut = Some(Cut::Rows);
                } else {
                    self.found.sighted.append(&mut sighted);
                }
                self.event = event;
            }
        }
        self.inner = inner;
    }
}

/// The rules of a trial, compiled, and what a record needs for any of them.
struct Trial {
    detectors: Arc<Detectors>,
    needed: Needed,
}

impl Plane {
    /// `DataPlane::backtest`.
    pub(super) async fn run_backtest(
        &self,
        scope: &Scope,
        ask: &BacktestAsk,
        bounds: &Bounds,
        told: Told<'_>,
    ) -> Result<Backtest, Problem> {
        unmasked(bounds)?;
        let started = self.0.clock.now();
        let keep = super::ask::rows_max(bounds);
        let found = self.try_rule(scope, ask, keep, bounds.time_max, told).await?;
        let shown = found.kept.iter();
        Ok(Backtest {
            items: shown.filter_map(|one| super::found::of_ocsf(&one.ocsf, one.tenant, started, false)).collect(),
            findings: found.findings,
            events: found.events,
            by_day: {
                let mut days = most(found.days);
                days.sort_by(|one, other| other.value.cmp(&one.value));
                days
            },
            by_host: most(found.hosts),
            by_user: most(found.users),
            parts_read: found.read.row_groups,
            parts_left_out: found.read.row_groups_skipped,
            complete: found.cut.is_none(),
            cut: found.cut,
            provenance: provenance(&found.read, started, self.0.clock.now()),
        })
    }

    fn trial(&self, scope: &Scope, ask: &BacktestAsk) -> Result<Trial, Problem> {
        let rules = std::iter::once(&ask.rule).chain(&ask.beside).cloned().collect();
        let set = RuleSet { digest: ask.rule.digest.clone(), rules, ..RuleSet::default() };
        let (detectors, report) = self.0.packs.compile(&set);
        let Some(detectors) = detectors else {
            let reason = report.faults.first().map_or("holds no rule", |fault| fault.reason.as_str());
            return Err(Problem::fault("/text", reason.to_owned()));
        };
        // What came before a source was given another mapping has that one's columns, and is now asked in other words.
        let tenants = self.0.shared.tenants.now();
        let covered = tenants.iter().filter(|(tenant, _)| scope.covers(ids::Owner::Tenant(**tenant)));
        let built_in = covered.into_iter().all(|(_, tenant)| tenant.reads_as_told());
        let needed = match ask.exhaustive || !built_in {
            true => Needed::All(Vec::new()),
            false => needed(detectors.collection().rules.iter().map(|rule| (&rule.logsource, &rule.expr))),
        };
        Ok(Trial { detectors, needed })
    }

    /// `DataPlane::backtest_estimate`.
    pub(super) fn estimate_backtest(&self, scope: &Scope, ask: &BacktestAsk) -> Result<Estimate, Problem> {
        let needed = self.trial(scope, ask)?.needed;
        let scan = Scan { scope: scope.clone(), needed, from: ask.since, to: ask.until };
        let (all, within) = (self.0.lake.size().files, self.0.lake.estimate_scan(&scan));
        Ok(Estimate {
            files: within.files,
            files_skipped: all.saturating_sub(within.files),
            rows: within.rows.saturating_add(within.hot_rows),
            bytes: within.bytes_max,
            fits: true,
        })
    }

    /// Run a rule over what the lake holds; at most `keep` findings are given back whole.
    pub(super) async fn try_rule(
        &self,
        scope: &Scope,
        ask: &BacktestAsk,
        keep: usize,
        time_max: Duration,
        told: Told<'_>,
    ) -> Result<Found, Problem> {
        let trial = self.trial(scope, ask)?;
        let deadline = tokio::time::Instant::now() + time_max;
        // Nobody takes what a restart has not read again yet for what never was.
        self.0.shared.reach(self.0.opened_at).await;
        let slices = self.0.lake.slices(scope, ask.since, ask.until, SLICE_ROWS);
        let (to_askers, batches) = mpsc::channel::<Records>(QUEUE);
        let batches = Arc::new(Mutex::new(batches));
        let askers = self.0.shared.pace.workers.max(1);
        let spawn = |_| self.spawn_asker(scope, &trial, keep, Arc::clone(&batches));
        let askers: Vec<_> = (0..askers).map(spawn).collect();
        let mut read = Found::default();
        let all: u64 = slices.iter().map(|slice| slice.rows).sum();
        let mut done = 0_u64;
        let outcome = async {
            for slice in &slices {
                let permille = done.saturating_mul(1000).checked_div(all).unwrap_or(0);
                let text = format!("{done} of about {all} records, back to {}", slice.to);
                if !told(u32::try_from(permille).unwrap_or(1000), &text) || tokio::time::Instant::now() >= deadline {
                    read.cut = Some(Cut::Time);
                    break;
                }
                self.read_slice(scope, &trial.needed, slice, deadline, &to_askers, &mut read).await?;
                done = done.saturating_add(slice.rows);
            }
            Ok(())
        }
        .await;
        drop(to_askers);
        for asker in askers {
            match asker.await {
                Ok(found) => read.join(found),
                Err(error) => {
                    tracing::error!(%error, "a thread of a backtest ended early");
                    return Err(Problem::new(api::ProblemKind::Unavailable, "the backtest failed on a record"));
                }
            }
        }
        outcome.map_err(|error| problem(error, "/text"))?;
        if !trial.detectors.collection().correlations.is_empty() {
            for finding in replay(&trial.detectors, std::mem::take(&mut read.sighted)) {
                read.count(&finding, None);
                read.kept.push(finding);
            }
        }
        read.kept.sort_by(|one, other| other.time.cmp(&one.time).then_with(|| one.id.cmp(&other.id)));
        read.kept.truncate(keep);
        Ok(read)
    }

    fn spawn_asker(
        &self,
        scope: &Scope,
        trial: &Trial,
        keep: usize,
        batches: Arc<Mutex<mpsc::Receiver<Records>>>,
    ) -> tokio::task::JoinHandle<Found> {
        let mut asker = Asker {
            detectors: Arc::clone(&trial.detectors),
            tenants: self.0.shared.tenants.now(),
            only: if let Scope::Tenant(tenant) = scope { Some(*tenant) } else { None },
            keep,
            parser: Parser::new(),
            inner: Parser::new(),
            matcher: Matcher::default(),
            normaliser: Normaliser::new(),
            event: Normalised::default(),
            last: None,
            found: Found::default(),
        };
        tokio::task::spawn_blocking(move || {
            loop {
                let next = batches.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                let Some(records) = next else { return asker.found };
                records.each(|record| asker.ask(&record));
            }
        })
    }

    async fn read_slice(
        &self,
        scope: &Scope,
        needed: &Needed,
        slice: &Slice,
        deadline: tokio::time::Instant,
        out: &mpsc::Sender<Records>,
        read: &mut Found,
    ) -> Result<(), AskError> {
        let scan = Scan { scope: scope.clone(), needed: needed.clone(), from: slice.from, to: slice.to };
        let mut scanning = self.begin_scan(scan).await?;
        while let Some(records) = scanning.next().await {
            // The askers go on until the sender is dropped.
            let _ = out.send(records?).await;
            if tokio::time::Instant::now() >= deadline {
                read.cut = Some(Cut::Time);
                break;
            }
        }
        read.read(&scanning.provenance());
        Ok(())
    }

    /// Questions of people come first: a trial that finds no turn tries again.
    async fn begin_scan(&self, scan: Scan) -> Result<Scanning, AskError> {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.0.lake.scan(scan.clone()).await {
                Err(AskError::Busy { .. }) if tokio::time::Instant::now() < until => {}
                other => return other,
            }
        }
    }
}

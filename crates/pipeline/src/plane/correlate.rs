//! Correlations of every tenant, fed in the order of the log by one thread, stored with the log's cursor. What happened
//! long before it came (a recording, a shipper that caught up) is counted apart by source, so that it neither comes
//! too late nor moves the time of what is live.

use super::finding::{self, Finding, Sighted};
use super::rules::Detectors;
use super::setup::Tenant;
use crate::Source;
use detection::correlate::{Checkpoint, Correlator, Limits, Match, Sighting};
use detection::offline::text_of;
use ids::{EventId, TenantId, Text, Timestamp};
use lake::{Chunk, Row};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Bounds of one tenant's correlations.
pub(crate) const LIMITS: Limits =
    Limits { lateness: Duration::from_secs(60), groups_max: 100_000, sightings_max: 2_000 };
/// Names of events that are kept for findings of correlations, for each tenant.
const NAMES_MAX: usize = 100_000;
/// What is at most so old or so far ahead when it comes is live.
const LIVE: Duration = Duration::from_secs(3600);
/// Where parts of correlations begin; those before are rules'.
const PART_FIRST: u16 = 16_384;

/// The tenant, and the source of what is not live.
type Key = (TenantId, Option<Text<64>>);

/// So far behind the present is what is answered where nothing comes: a shipper may hold records back for minutes.
const IDLE_BEHIND: Duration = Duration::from_secs(240);

/// The correlations of all tenants.
#[derive(Default)]
pub(crate) struct Correlations {
    all: HashMap<Key, State>,
    /// States that are to be stored as none.
    forgotten: Vec<String>,
}

struct State {
    detectors: Arc<Detectors>,
    correlator: Correlator,
    /// By place in the log.
    names: BTreeMap<u64, EventId>,
    /// The source of the last sighting.
    source: Text<64>,
}

/// A state as it is stored.
#[derive(serde::Serialize, serde::Deserialize)]
struct Stored {
    checkpoint: Checkpoint,
    names: Vec<(u64, EventId)>,
    #[serde(default)]
    source: Text<64>,
}

/// The place in the log as one number: order, and identity within 2^19 segments of up to 2^27 bytes.
fn number(id: EventId) -> u64 {
    (id.segment << 45) | ((id.offset & ((1 << 27) - 1)) << 18) | u64::from(id.index & ((1 << 18) - 1))
}

fn cursor_name((tenant, source): &Key) -> String {
    format!("correlate/{tenant}/{}", source.as_deref().unwrap_or_default())
}

impl State {
    fn new(detectors: &Arc<Detectors>, stored: Option<&[u8]>) -> Self {
        let correlator = Correlator::new(detectors.collection(), LIMITS);
        let (detectors, source) = (Arc::clone(detectors), Text::default());
        let mut state = Self { detectors, correlator, names: BTreeMap::new(), source };
        // A state that cannot be read is begun anew: windows that were open are lost, nothing else.
        if let Some(stored) = stored.and_then(|bytes| serde_json::from_slice::<Stored>(bytes).ok())
            && state.correlator.restore(stored.checkpoint).is_ok()
        {
            state.names = stored.names.into_iter().collect();
            state.source = stored.source;
        }
        state
    }

    /// The same windows under other rules.
    fn renewed(&self, detectors: &Arc<Detectors>) -> Self {
        let mut correlator = Correlator::new(detectors.collection(), LIMITS);
        // This program wrote it just now.
        let _ = correlator.restore(self.correlator.checkpoint());
        let (names, source) = (self.names.clone(), self.source.clone());
        Self { detectors: Arc::clone(detectors), correlator, names, source }
    }

    fn observe(&mut self, seen: &Sighted, time: Timestamp, found: &mut Vec<Match>) {
        let event = number(seen.id);
        self.names.insert(event, seen.id);
        self.source.clone_from(&seen.source.name);
        while self.names.len() > NAMES_MAX {
            self.names.pop_first();
        }
        let field = |name: &str| text_of(&seen.record, name, &seen.profile);
        self.correlator.observe(Sighting { rule: &seen.rule, time_us: time.as_micros(), event }, &field, found);
    }
}

impl Correlations {
    /// Count what was sighted; findings go to the chunk and to those who follow them. `stored` gives a state by name.
    pub(crate) fn observe(
        &mut self,
        tenants: &HashMap<TenantId, Tenant>,
        sighted: &[Sighted],
        stored: &dyn Fn(&str) -> Option<Vec<u8>>,
        chunk: &mut Chunk,
        findings: &mut Vec<Finding>,
    ) {
        for seen in sighted {
            let Some(detectors) = tenants.get(&seen.tenant).and_then(|tenant| tenant.detectors.as_ref()) else {
                continue;
            };
            let live = seen.received.since(seen.time) <= LIVE;
            // A clock that runs far ahead must not make everybody else's events late.
            let time = if seen.time.since(seen.received) > LIVE { seen.received } else { seen.time };
            let key = (seen.tenant, (!live).then(|| seen.source.name.clone()));
            let fresh = || State::new(detectors, stored(&cursor_name(&key)).as_deref());
            let state = self.all.entry(key.clone()).or_insert_with(fresh);
            if state.detectors.digest() != detectors.digest() {
                *state = state.renewed(detectors);
            }
            let mut found = Vec::new();
            state.observe(seen, time, &mut found);
            report(state, &found, seen, chunk, findings);
        }
    }

    /// Answer what waits for time to pass, in tenants of whom nothing came that would say so: a silence ends in nothing.
    pub(crate) fn advance(
        &mut self,
        tenants: &HashMap<TenantId, Tenant>,
        now: Timestamp,
        stored: &dyn Fn(&str) -> Option<Vec<u8>>,
        chunk: &mut Chunk,
        findings: &mut Vec<Finding>,
    ) {
        let until = now.minus(IDLE_BEHIND);
        for (tenant, known) in tenants {
            let Some(detectors) = &known.detectors else { continue };
            let key = (*tenant, None);
            if !self.all.contains_key(&key) {
                // Windows that were open when the process ended.
                let Some(bytes) = stored(&cursor_name(&key)) else { continue };
                self.all.insert(key.clone(), State::new(detectors, Some(&bytes)));
            }
            let Some(state) = self.all.get_mut(&key) else { continue };
            if state.correlator.groups() == 0 {
                continue;
            }
            let mut found = Vec::new();
            state.correlator.advance(until.as_micros(), &mut found);
            for one in found {
                let Some(id) = state.names.get(&one.event).copied() else { continue };
                let source = Source { tenant: *tenant, name: state.source.clone() };
                let seen = Sighted::of_time(id, source, Timestamp::from_micros(one.time_us), now);
                report(state, &[one], &seen, chunk, findings);
            }
        }
    }

    /// Remember nothing of a tenant.
    pub(crate) fn forget(&mut self, tenant: TenantId) {
        self.forgotten.push(cursor_name(&(tenant, None)));
        let own: Vec<Key> = self.all.keys().filter(|key| key.0 == tenant).cloned().collect();
        for key in own {
            self.all.remove(&key);
            self.forgotten.push(cursor_name(&key));
        }
    }

    /// The states, to be stored with the log's cursor.
    pub(crate) fn cursors(&self) -> Vec<(String, Vec<u8>)> {
        let stored = |(key, state): (&Key, &State)| {
            let names = state.names.iter().map(|(number, id)| (*number, *id)).collect();
            let stored = Stored { checkpoint: state.correlator.checkpoint(), names, source: state.source.clone() };
            serde_json::to_vec(&stored).ok().map(|bytes| (cursor_name(key), bytes))
        };
        let gone = |name: &&String| !self.all.keys().any(|key| cursor_name(key) == **name);
        let forgotten = self.forgotten.iter().filter(gone).map(|name| (name.clone(), Vec::new()));
        self.all.iter().filter(|(_, state)| state.correlator.groups() > 0).filter_map(stored).chain(forgotten).collect()
    }
}

/// What correlations find in matches that are all known, whatever their order; nothing is stored and nothing remembered.
pub(crate) fn replay(detectors: &Arc<Detectors>, mut sighted: Vec<Sighted>) -> Vec<Finding> {
    let (mut chunk, mut findings) = (Chunk::new(), Vec::new());
    sighted.sort_by_key(|seen| (seen.tenant, seen.time, number(seen.id)));
    for own in sighted.chunk_by(|one, other| one.tenant == other.tenant) {
        let mut state = State::new(detectors, None);
        for seen in own {
            let mut found = Vec::new();
            state.observe(seen, seen.time, &mut found);
            report(&state, &found, seen, &mut chunk, &mut findings);
        }
        // What waits until nothing older may come is answered: nothing does.
        let Some(last) = own.last() else { continue };
        let mut found = Vec::new();
        let lateness = i64::try_from(LIMITS.lateness.as_micros()).unwrap_or(i64::MAX);
        state.correlator.advance(last.time.as_micros().saturating_add(lateness).saturating_add(1), &mut found);
        report(&state, &found, last, &mut chunk, &mut findings);
    }
    findings
}

fn report(state: &State, found: &[Match], seen: &Sighted, chunk: &mut Chunk, findings: &mut Vec<Finding>) {
    for one in found {
        let Some((correlation, meta)) = state.detectors.correlation(&one.correlation) else { continue };
        let events: Vec<EventId> = one.events.iter().filter_map(|event| state.names.get(event).copied()).collect();
        let last = state.names.get(&one.event).copied().unwrap_or(seen.id);
        let mut finding = finding::of_correlation(correlation, meta, one, seen, events);
        let event = finding.normalised();
        finding.event = chunk.append(&Row {
            tenant: finding.tenant,
            source: &finding.source,
            received: seen.received,
            segment: last.segment,
            offset: last.offset,
            index: last.index,
            part: part(one),
            event: &event,
            raw: &finding.ocsf,
        });
        findings.push(finding);
    }
}

/// A part that is the same each time for one correlation, group and event (FNV-1a).
fn part(found: &Match) -> u16 {
    let group = found.group.iter().flat_map(|(field, value)| [field.as_bytes(), value.as_bytes()]);
    let texts = std::iter::once(found.correlation.as_bytes()).chain(group);
    let hash = texts.flatten().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let low = u16::try_from((hash ^ (hash >> 16)) & 0x3fff).unwrap_or(0);
    PART_FIRST.saturating_add(low.min(PART_FIRST - 1))
}

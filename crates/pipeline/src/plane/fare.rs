//! How each source fares after its records are durable: what was read, what could not be, how late, how far its clock
//! is off. Counts only; bounded in sources. Holds no clock.

use crate::Source;
use api::{ReasonCount, SourceHealth};
use ids::{TenantId, Timestamp};
use std::collections::{BTreeMap, VecDeque};

/// Sources that are remembered; those beyond are counted together under [`OTHERS`].
const SOURCES_MAX: usize = 20_000;
/// The name of what is beyond [`SOURCES_MAX`].
const OTHERS: &str = "others";
/// Of a source's first records so many are looked at for what is unmapped, then one in [`SAMPLE_EVERY`].
pub(crate) const SAMPLE_FIRST: u64 = 32;
/// See [`SAMPLE_FIRST`].
pub(crate) const SAMPLE_EVERY: u64 = 64;
/// Over how many seconds the rate is told.
const RATE_SECS: i64 = 60;
const SECOND: i64 = 1_000_000;

/// What one batch adds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Share {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) dead: BTreeMap<&'static str, u64>,
    /// Leaves of the records that were looked at, and how many of them no mapping names.
    pub(crate) leaves: u64,
    pub(crate) unmapped: u64,
    pub(crate) sampled: u64,
    /// Event time less time of receipt, of records that say when they happened; microseconds.
    pub(crate) skews: Vec<i64>,
    pub(crate) last_event: Option<Timestamp>,
    pub(crate) received: Timestamp,
}

#[derive(Clone, Debug, Default)]
struct Fare {
    events: u64,
    dead: BTreeMap<&'static str, u64>,
    leaves: u64,
    unmapped: u64,
    sampled: u64,
    skew_us: Option<i64>,
    last_event: Option<Timestamp>,
    lag_us: Option<i64>,
    /// Second and events received in it, oldest first.
    rate: VecDeque<(i64, u64)>,
}

/// All sources.
#[derive(Debug, Default)]
pub(crate) struct Fares {
    all: BTreeMap<Source, Fare>,
}

impl Fares {
    fn of(&mut self, source: &Source) -> &mut Fare {
        let full = self.all.len() >= SOURCES_MAX && !self.all.contains_key(source);
        let name = if full { ids::Text::truncated(OTHERS) } else { source.name.clone() };
        self.all.entry(Source { tenant: source.tenant, name }).or_default()
    }

    /// How many of a source's records were looked at for what is unmapped.
    pub(crate) fn sampled(&self, source: &Source) -> u64 {
        self.all.get(source).map_or(0, |fare| fare.sampled)
    }

    /// Add what a batch brought, searchable from `now` on.
    pub(crate) fn add(&mut self, source: &Source, share: Share, now: Timestamp) {
        let fare = self.of(source);
        fare.events = fare.events.saturating_add(share.events);
        for (reason, count) in share.dead {
            let own = fare.dead.entry(reason).or_default();
            *own = own.saturating_add(count);
        }
        fare.leaves = fare.leaves.saturating_add(share.leaves);
        fare.unmapped = fare.unmapped.saturating_add(share.unmapped);
        fare.sampled = fare.sampled.saturating_add(share.sampled);
        let mut skews = share.skews;
        if !skews.is_empty() {
            let middle = skews.len() / 2;
            let (_, median, _) = skews.select_nth_unstable(middle);
            fare.skew_us = Some(*median);
        }
        fare.last_event = fare.last_event.max(share.last_event);
        fare.lag_us = Some(now.as_micros().saturating_sub(share.received.as_micros()).max(0));
        let second = share.received.as_micros().div_euclid(SECOND);
        match fare.rate.back_mut() {
            Some((last, count)) if *last >= second => *count = count.saturating_add(share.events),
            _ => fare.rate.push_back((second, share.events)),
        }
        let oldest = second.saturating_sub(RATE_SECS);
        while fare.rate.front().is_some_and(|(second, _)| *second < oldest) {
            fare.rate.pop_front();
        }
    }

    /// Put what is known of a source into its health.
    pub(crate) fn tell(&self, source: &Source, now: Timestamp, health: &mut SourceHealth) {
        let Some(fare) = self.all.get(source) else { return };
        health.dead_letters = fare.dead.values().sum();
        health.rejected.extend(
            fare.dead
                .iter()
                .map(|(reason, count)| ReasonCount { reason: format!("dead_letter.{reason}"), count: *count }),
        );
        health.unmapped_share = (fare.leaves > 0).then(|| ratio(fare.unmapped, fare.leaves));
        health.lag_secs = fare.lag_us.map(seconds);
        health.clock_skew_secs = fare.skew_us.map(seconds);
        health.last_event = fare.last_event;
        let since = now.as_micros().div_euclid(SECOND).saturating_sub(RATE_SECS);
        let recent: u64 = fare.rate.iter().filter(|(second, _)| *second > since).map(|(_, count)| *count).sum();
        health.records_per_second = ratio(recent, 60);
    }

    /// Every source that something was read of.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.all.keys()
    }

    /// Events and dead letters of all, for metrics.
    pub(crate) fn totals(&self) -> (u64, u64) {
        self.all.values().fold((0, 0), |(events, dead), fare| {
            (events.saturating_add(fare.events), dead.saturating_add(fare.dead.values().sum()))
        })
    }

    /// Forget a tenant.
    pub(crate) fn forget(&mut self, tenant: TenantId) {
        self.all.retain(|source, _| source.tenant != tenant);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share or a rate for people; counts stay far below 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "seconds for people; microseconds of a century are exact")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

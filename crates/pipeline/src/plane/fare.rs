//! How each source fares after its records are durable: what was read, what could not be, how late, how far its clock
//! is off. Counts only; bounded in sources. Holds no clock.

use super::notice::{Notice, What};
use super::setup::Tenant;
use crate::Source;
use api::{ReasonCount, SourceHealth};
use ids::{TenantId, Text, Timestamp};
use std::collections::{BTreeMap, HashMap, VecDeque};

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
/// Sources that are kept over a restart at most; those that are watched for silence come first.
const KEPT_MAX: usize = 5_000;
/// Dead letters of so many minutes are looked at together.
const DEAD_MINUTES: i64 = 10;
/// So many of them, or a fifth of at least [`DEAD_FEW`] records, are worth a notice.
const DEAD_MANY: u64 = 1_000;
/// See [`DEAD_MANY`].
const DEAD_FEW: u64 = 20;

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
    /// When its last records came in.
    last_received: Option<Timestamp>,
    /// The silence that a notice told of, by when it began.
    silence_told: Option<Timestamp>,
    /// Minute, records and dead letters received in it, oldest first.
    dead_rate: VecDeque<(i64, u64, u64)>,
    /// The day on which a notice told of dead letters.
    dead_told: Option<i64>,
}

/// What is kept of a source over a restart.
#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    tenant: TenantId,
    source: Text<64>,
    last_received: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    silence_told: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dead_told: Option<i64>,
}

/// All sources.
#[derive(Debug, Default)]
pub(crate) struct Fares {
    all: BTreeMap<Source, Fare>,
}

impl Fares {
    fn of(&mut self, source: &Source) -> &mut Fare {
        let full = self.all.len() >= SOURCES_MAX && !self.all.contains_key(source);
        let name = if full { Text::truncated(OTHERS) } else { source.name.clone() };
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
        fare.last_received = fare.last_received.max(Some(share.received));
        fare.count_dead(share.received, share.events, share.dead.values().sum());
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
        // Counts of requests begin with the process; what the log told is older.
        health.last_seen = health.last_seen.max(fare.last_received);
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

    /// When a source was last heard, where that silence was not told of yet.
    pub(crate) fn silent_since(&self, source: &Source) -> Option<Timestamp> {
        let fare = self.all.get(source)?;
        fare.last_received.filter(|seen| fare.silence_told != Some(*seen))
    }

    /// Sources that send much that cannot be read, and were not told of today: records and dead letters of the last minutes.
    pub(crate) fn unreadable(&self, now: Timestamp) -> Vec<(Source, u64, u64)> {
        let (today, minute) = (day(now), minute(now));
        let worth = |(source, fare): (&Source, &Fare)| {
            let recent = fare.dead_rate.iter().filter(|(at, ..)| *at > minute.saturating_sub(DEAD_MINUTES));
            let (events, dead) = recent.fold((0_u64, 0_u64), |sum, (_, events, dead)| {
                (sum.0.saturating_add(*events), sum.1.saturating_add(*dead))
            });
            let many = dead >= DEAD_MANY || (events >= DEAD_FEW && dead.saturating_mul(5) >= events);
            (many && fare.dead_told != Some(today)).then(|| (source.clone(), events, dead))
        };
        self.all.iter().filter_map(worth).collect()
    }

    /// A notice stands in the log: the same is not said again.
    pub(crate) fn told(&mut self, notice: &Notice) {
        if matches!(notice.what, What::Acted { .. } | What::Told { .. }) {
            // It is of no source, and who told it remembers.
            return;
        }
        let fare = self.of(&notice.source());
        match notice.what {
            What::Silent { last_received, .. } => {
                fare.silence_told = Some(last_received);
                fare.last_received = fare.last_received.max(Some(last_received));
            }
            What::DeadLetters { .. } => fare.dead_told = Some(day(notice.at)),
            What::Acted { .. } | What::Told { .. } => {}
        }
    }

    /// What is to be known after a restart; stored with the log's cursor.
    pub(crate) fn stored(&self, tenants: &HashMap<TenantId, Tenant>) -> Vec<u8> {
        let watched =
            |source: &Source| tenants.get(&source.tenant).is_some_and(|own| own.silent_after(&source.name).is_some());
        let mut all: Vec<(&Source, &Fare)> = self.all.iter().collect();
        all.sort_by_key(|(source, _)| !watched(source));
        let kept = |(source, fare): (&Source, &Fare)| {
            let (silence_told, dead_told) = (fare.silence_told, fare.dead_told);
            let last_received = fare.last_received?;
            Some(Kept { tenant: source.tenant, source: source.name.clone(), last_received, silence_told, dead_told })
        };
        let kept: Vec<Kept> = all.into_iter().filter_map(kept).take(KEPT_MAX).collect();
        // Texts and numbers always have a JSON form.
        serde_json::to_vec(&kept).unwrap_or_default()
    }

    /// Read what [`Fares::stored`] wrote; what cannot be read is begun anew.
    pub(crate) fn restored(bytes: &[u8]) -> Self {
        let kept: Vec<Kept> = serde_json::from_slice(bytes).unwrap_or_default();
        let mut fares = Self::default();
        for Kept { tenant, source, last_received, silence_told, dead_told } in kept {
            let fare = fares.of(&Source { tenant, name: source });
            (fare.last_received, fare.silence_told, fare.dead_told) = (Some(last_received), silence_told, dead_told);
        }
        fares
    }

    /// Forget a tenant.
    pub(crate) fn forget(&mut self, tenant: TenantId) {
        self.all.retain(|source, _| source.tenant != tenant);
    }
}

impl Fare {
    fn count_dead(&mut self, received: Timestamp, events: u64, dead: u64) {
        let now = minute(received);
        match self.dead_rate.back_mut() {
            Some((last, all, own)) if *last >= now => {
                *all = all.saturating_add(events);
                *own = own.saturating_add(dead);
            }
            _ => self.dead_rate.push_back((now, events, dead)),
        }
        while self.dead_rate.front().is_some_and(|(at, ..)| *at <= now.saturating_sub(DEAD_MINUTES)) {
            self.dead_rate.pop_front();
        }
    }
}

fn minute(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(60 * SECOND)
}

fn day(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(86_400 * SECOND)
}

#[expect(clippy::cast_precision_loss, reason = "a share or a rate for people; counts stay far below 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "seconds for people; microseconds of a century are exact")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

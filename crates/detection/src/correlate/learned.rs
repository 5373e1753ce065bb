//! What one group has taught: its values, its numbers of events, its gaps. Everything is a function of the sightings in
//! order of time, so that it can be recomputed from the whole stream; older ones weigh less and are forgotten in the end.

use super::micros;
use super::plan::Plan;
use crate::sigma::{Baseline, CorrelationKind};
use std::collections::{BTreeMap, HashMap};

/// A weight below this is nothing: one sighting is forgotten after four half-lives.
const FORGOTTEN: f64 = 1.0 / 16.0;
/// Seasons that a span must have been seen in before it is judged.
const SEASONS_MIN: u32 = 3;
/// Empty spans after which a group without season is no group any more; of others two seasons.
const QUIET_MAX: i64 = 64;
/// How many deviations of an anomaly are learned.
const LEARNED_DEVIATIONS: f64 = 3.0;
/// The longest value that is kept whole, in bytes.
const VALUE_BYTES_MAX: usize = 256;

/// A sighting in its turn.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(super) struct Held {
    pub(super) time_us: i64,
    pub(super) event: u64,
    pub(super) source: u16,
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

/// A number that halves with time.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
struct Weight {
    weight: f64,
    at_us: i64,
}

impl Weight {
    fn at(self, time_us: i64, half_life_us: i64) -> f64 {
        self.weight * fading(time_us.saturating_sub(self.at_us), half_life_us)
    }

    fn known(self, time_us: i64, half_life_us: i64) -> Option<f64> {
        Some(self.at(time_us, half_life_us)).filter(|weight| *weight >= FORGOTTEN)
    }
}

/// What is left of one after a time.
fn fading(age_us: i64, half_life_us: i64) -> f64 {
    (-float(age_us) / float(half_life_us.max(1))).exp2()
}

#[expect(clippy::cast_precision_loss, reason = "spans and counts; nearest is what is asked")]
const fn float(number: i64) -> f64 {
    number as f64
}

/// What a group has taught.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Learned {
    Values(Values),
    Volume(Volume),
    Silence(Silence),
}

/// Values and how often each was seen.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Values {
    since_us: i64,
    last_us: i64,
    /// Sightings since then, for people.
    count: u64,
    total: Weight,
    known: HashMap<String, Weight>,
}

/// Numbers of events by span, and the usual ones.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Volume {
    since_us: i64,
    last_us: i64,
    event: u64,
    /// The span that is counted now.
    open: i64,
    count: u64,
    /// The first span began before the group did.
    partial: bool,
    quiet: i64,
    slots: BTreeMap<i64, Slot>,
}

/// What is usual in one span of the season.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
struct Slot {
    seen: u32,
    weight: f64,
    mean: f64,
    /// Weighted squares of the deviations from the mean.
    squares: f64,
    at_us: i64,
}

/// When a group was last seen, and how long its gaps are.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Silence {
    since_us: i64,
    last_us: i64,
    event: u64,
    /// The longest gap, in microseconds.
    longest: Weight,
    told: bool,
}

/// What time brought to a group.
#[derive(Debug, PartialEq)]
pub(super) enum Passed {
    /// The group goes on; the number where the condition held.
    On(Option<f64>),
    /// Nothing is left of it.
    Over,
}

impl Learned {
    pub(super) fn new(kind: CorrelationKind, held: &Held, span_us: i64) -> Self {
        let (time_us, event) = (held.time_us, held.event);
        match kind {
            CorrelationKind::Volume => Self::Volume(Volume {
                since_us: time_us,
                last_us: time_us,
                event,
                open: time_us.div_euclid(span_us.max(1)),
                partial: true,
                ..Volume::default()
            }),
            CorrelationKind::Silence => {
                Self::Silence(Silence { since_us: time_us, last_us: time_us, event, ..Silence::default() })
            }
            _ => Self::Values(Values { since_us: time_us, last_us: time_us, ..Values::default() }),
        }
    }

    /// When the group was last seen.
    pub(super) const fn last_us(&self) -> i64 {
        match self {
            Self::Values(values) => values.last_us,
            Self::Volume(volume) => volume.last_us,
            Self::Silence(silence) => silence.last_us,
        }
    }

    /// The event that was seen last.
    pub(super) const fn event(&self) -> u64 {
        match self {
            Self::Values(_) => 0,
            Self::Volume(volume) => volume.event,
            Self::Silence(silence) => silence.event,
        }
    }

    /// Nothing of it would count for a sighting now.
    pub(super) fn forgotten(&self, time_us: i64, baseline: &Baseline) -> bool {
        let half_life_us = micros(baseline.half_life);
        match self {
            Self::Values(values) => values.total.known(time_us, half_life_us).is_none(),
            // Its spans end it.
            Self::Volume(_) => false,
            Self::Silence(silence) => silence.over(time_us, half_life_us),
        }
    }

    /// Compare a sighting, then learn from it. The number where the condition held.
    pub(super) fn sight(&mut self, plan: &Plan, baseline: &Baseline, held: &Held) -> Option<f64> {
        match self {
            Self::Values(values) => values.sight(plan, baseline, held),
            Self::Volume(volume) => {
                volume.count = volume.count.saturating_add(1);
                (volume.last_us, volume.event) = (held.time_us, held.event);
                None
            }
            Self::Silence(silence) => {
                silence.sight(plan, baseline, held);
                None
            }
        }
    }

    /// When time itself must be looked at next.
    pub(super) fn due_us(&self, plan: &Plan, baseline: &Baseline) -> Option<i64> {
        match self {
            Self::Values(_) => None,
            Self::Volume(volume) => Some(volume.open.saturating_add(1).saturating_mul(plan.span_us)),
            // What ends the group first is not told.
            Self::Silence(silence) => Some(silence.due_us(plan, baseline))
                .filter(|due_us| !silence.told && !silence.over(*due_us, micros(baseline.half_life))),
        }
    }

    /// The time that was due has come.
    pub(super) fn pass(&mut self, plan: &Plan, baseline: &Baseline) -> Passed {
        match self {
            Self::Values(_) => Passed::On(None),
            Self::Volume(volume) => volume.close(plan, baseline),
            Self::Silence(silence) => Passed::On(silence.end(plan, baseline)),
        }
    }

    /// Forget the lightest eighth of the values where there are more than `most`; returns how many.
    pub(super) fn truncate(&mut self, most: usize, time_us: i64, baseline: &Baseline) -> u64 {
        let Self::Values(values) = self else { return 0 };
        if values.known.len() <= most.max(8) {
            return 0;
        }
        let half_life_us = micros(baseline.half_life);
        let before = values.known.len();
        values.known.retain(|_, weight| weight.known(time_us, half_life_us).is_some());
        if values.known.len() <= most {
            return 0;
        }
        let mut weights: Vec<f64> = values.known.values().map(|weight| weight.at(time_us, half_life_us)).collect();
        let place = (weights.len() / 8).min(weights.len().saturating_sub(1));
        let (_, limit, _) = weights.select_nth_unstable_by(place, f64::total_cmp);
        let limit = *limit;
        let mut over = place.saturating_add(1);
        values.known.retain(|_, weight| {
            let goes = over > 0 && weight.at(time_us, half_life_us) <= limit;
            over = over.saturating_sub(usize::from(goes));
            !goes
        });
        u64::try_from(before.saturating_sub(values.known.len())).unwrap_or(u64::MAX)
    }
}

/// A value as it is kept: a long one by its beginning and its length.
fn kept(value: &str) -> String {
    if value.len() <= VALUE_BYTES_MAX {
        return value.to_owned();
    }
    let mut end = VALUE_BYTES_MAX;
    while !value.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    format!("{}...{}", value.get(..end).unwrap_or_default(), value.len())
}

impl Values {
    fn sight(&mut self, plan: &Plan, baseline: &Baseline, held: &Held) -> Option<f64> {
        let (now, half_life_us) = (held.time_us, micros(baseline.half_life));
        let Some(total) = self.total.known(now, half_life_us) else {
            *self = Self { since_us: now, last_us: now, ..Self::default() };
            self.learn(plan, held, half_life_us);
            return None;
        };
        let weight = |name: &str| self.known.get(name).and_then(|weight| weight.known(now, half_life_us));
        let whole = weight(&whole(&held.values));
        let judged = now.saturating_sub(self.since_us) >= micros(baseline.learn);
        let count = || i64::try_from(self.count).map_or(f64::MAX, float);
        let answer = match plan.kind {
            CorrelationKind::FirstSeen => whole.is_none().then(count),
            CorrelationKind::NewPair => {
                let parts = held.values.iter().enumerate();
                let known = parts.map(|(place, value)| part(place, value)).all(|name| weight(&name).is_some());
                (whole.is_none() && known).then(count)
            }
            _ => {
                let share = whole.unwrap_or(0.0) / total;
                // For people: six digits.
                (total >= baseline.floor && plan.threshold.holds(share)).then(|| (share * 1e6).round() / 1e6)
            }
        };
        self.learn(plan, held, half_life_us);
        answer.filter(|_| judged)
    }

    fn learn(&mut self, plan: &Plan, held: &Held, half_life_us: i64) {
        let now = held.time_us;
        let grown =
            |weight: Weight| Weight { weight: weight.known(now, half_life_us).unwrap_or(0.0) + 1.0, at_us: now };
        let mut names = vec![whole(&held.values)];
        if plan.kind == CorrelationKind::NewPair {
            names.extend(held.values.iter().enumerate().map(|(place, value)| part(place, value)));
        }
        for name in names {
            let weight = self.known.entry(name).or_default();
            *weight = grown(*weight);
        }
        self.total = grown(self.total);
        self.count = self.count.saturating_add(1);
        self.last_us = now;
    }
}

/// All values of a sighting as one name.
fn whole(values: &[String]) -> String {
    match values {
        [only] => kept(only),
        several => {
            let several: Vec<String> = several.iter().map(|value| kept(value)).collect();
            serde_json::to_string(&several).unwrap_or_default()
        }
    }
}

/// One value of a pair, told from the same value at another place and from the whole.
fn part(place: usize, value: &str) -> String {
    format!("{place}={}", kept(value))
}

impl Volume {
    /// The open span has ended: judge its number, learn it, open the next.
    fn close(&mut self, plan: &Plan, baseline: &Baseline) -> Passed {
        let end_us = self.open.saturating_add(1).saturating_mul(plan.span_us);
        let spans = baseline.season.secs().map_or(1, |secs| {
            let season_us = i64::try_from(secs).unwrap_or(i64::MAX).saturating_mul(1_000_000);
            (season_us / plan.span_us.max(1)).max(1)
        });
        let number = i64::try_from(self.count).map_or(f64::MAX, float);
        let mut answer = None;
        if !self.partial {
            let slot = self.slots.entry(self.open.rem_euclid(spans)).or_default();
            let usual = slot.deviation();
            let far = (number - slot.mean) / usual;
            let judged = slot.seen >= SEASONS_MIN && end_us.saturating_sub(self.since_us) >= micros(baseline.learn);
            let held = judged && plan.threshold.holds(far);
            // An anomaly is learned as an ordinary extreme would be: it must not make the next one usual.
            let bound = LEARNED_DEVIATIONS * usual;
            let learned = if held { number.clamp(slot.mean - bound, slot.mean + bound) } else { number };
            slot.learn(learned, end_us, micros(baseline.half_life));
            // For people: two digits.
            answer = held.then(|| (far * 100.0).round() / 100.0);
        }
        self.quiet = if self.count == 0 { self.quiet.saturating_add(1) } else { 0 };
        (self.partial, self.count, self.open) = (false, 0, self.open.saturating_add(1));
        let most = if spans == 1 { QUIET_MAX } else { spans.saturating_mul(2) };
        if self.quiet > most && answer.is_none() { Passed::Over } else { Passed::On(answer) }
    }
}

impl Slot {
    /// The usual deviation: never less than chance alone makes of that many events, never less than one.
    fn deviation(&self) -> f64 {
        let variance = if self.weight > 0.0 { self.squares / self.weight } else { 0.0 };
        variance.max(self.mean).max(1.0).sqrt()
    }

    /// Mean and squares of the weighted numbers, one by one (West 1979), older ones faded.
    fn learn(&mut self, number: f64, time_us: i64, half_life_us: i64) {
        let fade = fading(time_us.saturating_sub(self.at_us), half_life_us);
        let before = if self.seen == 0 { 0.0 } else { self.weight * fade };
        let off = number - self.mean;
        self.weight = before + 1.0;
        self.mean += off / self.weight;
        self.squares = self.squares * fade + off * off * before / self.weight;
        self.seen = self.seen.saturating_add(1);
        self.at_us = time_us;
    }
}

impl Silence {
    fn due_us(&self, plan: &Plan, baseline: &Baseline) -> i64 {
        #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and such times never come")]
        let usual = (self.longest.weight * baseline.times).ceil() as i64;
        self.last_us.saturating_add(plan.span_us.max(usual))
    }

    /// Four half-lives of silence end a group.
    const fn over(&self, time_us: i64, half_life_us: i64) -> bool {
        time_us.saturating_sub(self.last_us) > half_life_us.saturating_mul(4)
    }

    fn sight(&mut self, plan: &Plan, baseline: &Baseline, held: &Held) {
        let half_life_us = micros(baseline.half_life);
        if self.over(held.time_us, half_life_us) {
            *self = Self { since_us: held.time_us, ..Self::default() };
        } else {
            let gap = held.time_us.saturating_sub(self.last_us);
            // A silence that was told is learned up to the time when it was: a new habit is taken up in steps.
            let most = self.due_us(plan, baseline).saturating_sub(self.last_us);
            let gap = if self.told { gap.min(most) } else { gap };
            let faded = self.longest.at(held.time_us, half_life_us);
            self.longest = Weight { weight: faded.max(float(gap)), at_us: held.time_us };
        }
        (self.last_us, self.event, self.told) = (held.time_us, held.event, false);
    }

    fn end(&mut self, plan: &Plan, baseline: &Baseline) -> Option<f64> {
        let due_us = self.due_us(plan, baseline);
        self.told = true;
        let judged = self.last_us.saturating_sub(self.since_us) >= micros(baseline.learn);
        judged.then(|| float(due_us.saturating_sub(self.last_us) / 1_000_000))
    }
}

//! Correlations: matches of rules over time, by group. Event time decides, not arrival.
//!
//! Meaning. A sighting is a rule's match at an instant, with its place in the log. Its window is every sighting of its
//! group, of the correlation's rules, not later in (time, place) and at most the time span older. A correlation matches
//! at each sighting in whose window the condition holds. So the matches are a function of the set of sightings, whatever
//! the order of arrival, as long as none is later than the stated lateness behind the newest event; a later one is
//! dropped and counted. A sighting that comes twice (same place, same rule) counts once.
//!
//! Conditions that more sightings can only make true are answered at once; the others wait until nothing older may come.
//! Correlations that learn what is usual (module `watch`) compare each sighting then too, in order of time.
//! State is bounded in groups and in sightings per group; what a bound drops is counted.

mod group;
mod learned;
mod plan;
mod watch;

use crate::sigma::{Collection, CorrelationKind};
use group::{Entry, Group, Payload};
use learned::Held;
use plan::{Answer, Plan};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use watch::{Pass, Watch};

/// Version of [`Checkpoint`]'s form; another version is refused.
pub const CHECKPOINT_VERSION: u32 = 1;
/// Most events that a match names.
pub const EVENTS_NAMED_MAX: usize = 100;

/// What may be held, and how long events may be late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// How far behind the newest event an event still counts.
    pub lateness: Duration,
    /// Most groups of one correlation; above, the longest silent eighth is dropped.
    pub groups_max: usize,
    /// Most sightings of one group; above, the oldest is dropped.
    pub sightings_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { lateness: Duration::from_secs(60), groups_max: 1_000_000, sightings_max: 10_000 }
    }
}

/// A rule held of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting<'a> {
    /// The rule's id.
    pub rule: &'a str,
    /// When it happened: microseconds since 1970.
    pub time_us: i64,
    /// The event's place in the log: orders events of one instant, and tells a repeated one.
    pub event: u64,
}

/// A correlation held.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Match {
    /// The correlation's id.
    pub correlation: String,
    /// When: the time of the event that completed it.
    pub time_us: i64,
    /// The event that completed it.
    pub event: u64,
    /// The group: field or alias, and value; absent values are left out.
    pub group: Vec<(String, String)>,
    /// The computed number: a count, a sum, the number of rules.
    pub value: f64,
    /// Events of the window, oldest first, at most [`EVENTS_NAMED_MAX`] of the newest.
    pub events: Vec<u64>,
}

/// What was dropped since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Dropped {
    /// Sightings later than the lateness allows.
    pub late: u64,
    /// Sightings that came again.
    pub repeated: u64,
    /// Groups beyond the bound.
    pub groups: u64,
    /// Sightings beyond the bound of their group.
    pub sightings: u64,
}

/// The state of all correlations of a collection.
#[derive(Debug)]
pub struct Correlator {
    plans: Vec<Plan>,
    /// By rule id, the correlations that count it, each with the rule's number there.
    by_rule: HashMap<String, Vec<(usize, u16)>>,
    states: Vec<State>,
    limits: Limits,
    newest_us: i64,
    /// All that waited for an instant before this was answered.
    settled_us: i64,
    /// Every plan after the plans that it counts.
    order: Vec<usize>,
    dropped: Dropped,
}

/// The groups of one correlation.
#[derive(Debug, Default, Clone, serde::Serialize, serde::Deserialize)]
struct State {
    groups: HashMap<String, Group>,
    /// Sightings that wait for their answer: time, event, group.
    waiting: BTreeSet<(i64, u64, String)>,
    swept_us: i64,
    /// Of a correlation that learns; it has nothing else here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watch: Option<Box<Watch>>,
}

/// A correlator's state as stored; give it back with [`Correlator::restore`].
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Checkpoint {
    version: u32,
    newest_us: i64,
    settled_us: i64,
    dropped: Dropped,
    /// By correlation id and the digest of its plan: a changed correlation starts anew, the others go on.
    states: Vec<(String, String, State)>,
}

/// The stored state cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint has version {0}; this program reads version {CHECKPOINT_VERSION}, start without it")]
pub struct CheckpointError(u32);

impl Correlator {
    /// An empty state for the correlations of a collection.
    #[must_use]
    pub fn new(collection: &Collection, limits: Limits) -> Self {
        let plans = plan::plans(collection);
        let mut by_rule: HashMap<String, Vec<(usize, u16)>> = HashMap::new();
        for (index, plan) in plans.iter().enumerate() {
            for (rule, number) in plan.rules.iter().zip(0_u16..) {
                by_rule.entry(rule.clone()).or_default().push((index, number));
            }
        }
        let states = vec![State::default(); plans.len()];
        let order = plan::children_first(&plans);
        Self {
            plans,
            by_rule,
            states,
            limits,
            newest_us: i64::MIN,
            settled_us: i64::MIN,
            order,
            dropped: Dropped::default(),
        }
    }

    /// What was dropped so far.
    #[must_use]
    pub const fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// How many groups are held.
    #[must_use]
    pub fn groups(&self) -> usize {
        let watched = |state: &State| state.watch.as_ref().map_or(0, |watch| watch.groups());
        self.states.iter().map(|state| state.groups.len().saturating_add(watched(state))).sum()
    }

    /// Some correlation counts this rule.
    #[must_use]
    pub fn counts(&self, rule: &str) -> bool {
        self.by_rule.contains_key(rule)
    }

    /// Take one sighting; `field` gives the text of a field of its event. Call for every event's time, with or without
    /// a match, [`Self::advance`].
    pub fn observe(&mut self, sighting: Sighting<'_>, field: &dyn Fn(&str) -> Option<String>, out: &mut Vec<Match>) {
        self.advance(sighting.time_us, out);
        if sighting.time_us < self.watermark() {
            self.dropped.late = self.dropped.late.saturating_add(1);
            return;
        }
        self.take(sighting, field, out);
    }

    /// The newest event so far is at least of this time: answer what waited for it.
    pub fn advance(&mut self, time_us: i64, out: &mut Vec<Match>) {
        if time_us <= self.newest_us {
            return;
        }
        self.newest_us = time_us;
        let watermark = self.watermark();
        self.answer_before(watermark, watermark, out);
        self.settled_us = watermark;
        self.sweep();
    }

    /// No more events come: answer all that waits.
    pub fn finish(&mut self, out: &mut Vec<Match>) {
        self.answer_before(i64::MAX, self.newest_us, out);
    }

    fn watermark(&self) -> i64 {
        self.newest_us.saturating_sub(micros(self.limits.lateness))
    }

    fn take(&mut self, sighting: Sighting<'_>, field: &dyn Fn(&str) -> Option<String>, out: &mut Vec<Match>) {
        let targets = self.by_rule.get(sighting.rule).cloned().unwrap_or_default();
        for (index, source) in targets {
            let Some(plan) = self.plans.get(index) else { continue };
            if plan.baseline.is_some() {
                self.hold(index, source, sighting, field, out);
                continue;
            }
            let Some(payload) = plan.payload(source, field) else { continue };
            let values: Vec<Option<String>> = plan.group_fields(source).map(field).collect();
            let key = serde_json::to_string(&values).unwrap_or_default();
            let entry = Entry { time_us: sighting.time_us, event: sighting.event, source, matched: false, payload };
            self.insert(index, key, entry, out);
        }
    }

    /// A sighting of a correlation that learns waits for its turn.
    fn hold(
        &mut self,
        index: usize,
        source: u16,
        sighting: Sighting<'_>,
        field: &dyn Fn(&str) -> Option<String>,
        out: &mut Vec<Match>,
    ) {
        let Some(plan) = self.plans.get(index) else { return };
        let Some(values) = plan.values(source, field) else { return };
        let group: Vec<Option<String>> = plan.group_fields(source).map(field).collect();
        let key = serde_json::to_string(&group).unwrap_or_default();
        let held = Held { time_us: sighting.time_us, event: sighting.event, source, key, values };
        let mut repeated = false;
        self.watched(index, out, |watch, pass| repeated = !watch.hold(held, pass));
        self.dropped.repeated = self.dropped.repeated.saturating_add(u64::from(repeated));
    }

    /// Work on the state of a correlation that learns, and report what held.
    fn watched(&mut self, index: usize, out: &mut Vec<Match>, work: impl FnOnce(&mut Watch, &mut Pass<'_>)) {
        let (Some(plan), Some(state)) = (self.plans.get(index), self.states.get_mut(index)) else { return };
        let Some(baseline) = &plan.baseline else { return };
        let mut found = Vec::new();
        let watch = state.watch.get_or_insert_default();
        let (limits, dropped) = (&self.limits, &mut self.dropped);
        work(watch, &mut Pass { plan, baseline, limits, dropped, found: &mut found });
        for (key, answer) in found {
            self.report(index, &key, vec![answer], out);
        }
    }

    fn insert(&mut self, index: usize, key: String, entry: Entry, out: &mut Vec<Match>) {
        let horizon = self.horizon(index);
        let (Some(plan), Some(state)) = (self.plans.get(index), self.states.get_mut(index)) else { return };
        if !state.groups.contains_key(&key) && state.groups.len() >= self.limits.groups_max {
            self.dropped.groups = self.dropped.groups.saturating_add(state.drop_silent());
        }
        let group = state.groups.entry(key.clone()).or_default();
        group.forget_before(horizon);
        let (time_us, event) = (entry.time_us, entry.event);
        let Some(at) = group.insert(entry) else {
            self.dropped.repeated = self.dropped.repeated.saturating_add(1);
            return;
        };
        let mut found = Vec::new();
        if plan.waits() {
            state.waiting.insert((time_us, event, key.clone()));
        } else {
            // The new sighting is in the windows of all that follow it within the span.
            group.answer(plan, at, time_us.saturating_add(plan.span_us), &mut found);
        }
        self.dropped.sightings = self.dropped.sightings.saturating_add(group.truncate(self.limits.sightings_max));
        self.report(index, &key, found, out);
    }

    /// Answer all that waits from before `time_us`; what ends by itself ends by `timers_us`.
    fn answer_before(&mut self, time_us: i64, timers_us: i64, out: &mut Vec<Match>) {
        for place in 0..self.order.len() {
            let Some(index) = self.order.get(place).copied() else { continue };
            if self.states.get(index).is_some_and(|state| state.watch.is_some()) {
                self.watched(index, out, |watch, pass| watch.settle(time_us, timers_us, pass));
            }
            while let (Some(plan), Some(state)) = (self.plans.get(index), self.states.get_mut(index)) {
                if state.waiting.first().is_none_or(|(time, _, _)| *time >= time_us) {
                    break;
                }
                let Some((time, event, key)) = state.waiting.pop_first() else { break };
                let mut found = Vec::new();
                if let Some(group) = state.groups.get_mut(&key) {
                    group.answer_event(plan, time, event, &mut found);
                }
                self.report(index, &key, found, out);
            }
        }
    }

    /// Hand matches out, and on to the correlations that count this one.
    fn report(&mut self, index: usize, key: &str, found: Vec<Answer>, out: &mut Vec<Match>) {
        for answer in found {
            let Some(plan) = self.plans.get(index) else { continue };
            let values: Vec<Option<String>> = serde_json::from_str(key).unwrap_or_default();
            let group: Vec<(String, String)> =
                plan.group_by.iter().cloned().zip(values).filter_map(|(name, value)| Some((name, value?))).collect();
            let id = plan.id.clone();
            out.push(Match {
                correlation: id.clone(),
                time_us: answer.time_us,
                event: answer.event,
                group: group.clone(),
                value: answer.value,
                events: answer.events,
            });
            let sighting = Sighting { rule: &id, time_us: answer.time_us, event: answer.event };
            let field = |name: &str| group.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
            self.take(sighting, &field, out);
        }
    }

    fn horizon(&self, index: usize) -> i64 {
        let span = self.plans.get(index).map_or(0, |plan| plan.span_us);
        // Not the watermark: answers that wait behind it still need their windows.
        self.settled_us.saturating_sub(span)
    }

    fn sweep(&mut self) {
        for index in 0..self.plans.len() {
            let horizon = self.horizon(index);
            let span = self.plans.get(index).map_or(i64::MAX, |plan| plan.span_us);
            let Some(state) = self.states.get_mut(index) else { continue };
            if let (Some(watch), Some(baseline)) =
                (&mut state.watch, self.plans.get(index).and_then(|p| p.baseline.as_ref()))
            {
                watch.sweep(self.settled_us, baseline);
            }
            // Each group is looked at about twice in its life.
            if horizon.saturating_sub(state.swept_us) > span / 2 {
                state.swept_us = horizon;
                state.groups.retain(|_, group| group.newest_us() >= horizon);
            }
        }
    }

    /// The state, to be stored together with the position in the log.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        let states = self.plans.iter().zip(&self.states);
        Checkpoint {
            version: CHECKPOINT_VERSION,
            newest_us: self.newest_us,
            settled_us: self.settled_us,
            dropped: self.dropped,
            states: states.map(|(plan, state)| (plan.id.clone(), plan.digest.clone(), state.clone())).collect(),
        }
    }

    /// Go on from a stored state. Correlations that are new or were changed start empty; the others lose nothing.
    ///
    /// # Errors
    /// [`CheckpointError`] for a form that this program does not read.
    pub fn restore(&mut self, checkpoint: Checkpoint) -> Result<(), CheckpointError> {
        if checkpoint.version != CHECKPOINT_VERSION {
            return Err(CheckpointError(checkpoint.version));
        }
        self.newest_us = checkpoint.newest_us;
        self.settled_us = checkpoint.settled_us;
        self.dropped = checkpoint.dropped;
        for (id, digest, state) in checkpoint.states {
            let same = self.plans.iter().position(|plan| plan.id == id && plan.digest == digest);
            if let Some(place) = same.and_then(|index| self.states.get_mut(index)) {
                *place = state;
            }
        }
        Ok(())
    }
}

impl State {
    /// Drop the eighth of the groups that were silent for longest; returns how many.
    fn drop_silent(&mut self) -> u64 {
        let mut times: Vec<i64> = self.groups.values().map(Group::newest_us).collect();
        let place = (times.len() / 8).min(times.len().saturating_sub(1));
        if times.is_empty() {
            return 0;
        }
        let (_, limit, _) = times.select_nth_unstable(place);
        let limit = *limit;
        let before = self.groups.len();
        self.groups.retain(|_, group| group.newest_us() > limit);
        u64::try_from(before.saturating_sub(self.groups.len())).unwrap_or(u64::MAX)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Whether a kind looks at a value of the event, not only at its being there.
const fn valued(kind: CorrelationKind) -> bool {
    !matches!(kind, CorrelationKind::EventCount | CorrelationKind::Temporal | CorrelationKind::TemporalOrdered)
}

//! The sightings of one group, in order of time and place.

use super::EVENTS_NAMED_MAX;
use super::plan::{Answer, Plan};

/// What of an event counts.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) enum Payload {
    /// Only that it happened.
    Nothing,
    /// A number to sum or rank.
    Number(f64),
    /// A value to tell from others.
    Text(Box<str>),
}

impl Payload {
    pub(super) const fn number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// One sighting.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Entry {
    pub(super) time_us: i64,
    pub(super) event: u64,
    pub(super) source: u16,
    /// Its match was handed out; it is not handed out again.
    pub(super) matched: bool,
    pub(super) payload: Payload,
}

impl Entry {
    const fn order(&self) -> (i64, u64, u16) {
        (self.time_us, self.event, self.source)
    }
}

/// The sightings of one group.
// INVARIANT: entries ascend by time, event, source, and no two are equal in these.
#[derive(Debug, Default, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Group {
    entries: Vec<Entry>,
}

impl Group {
    pub(super) fn newest_us(&self) -> i64 {
        self.entries.last().map_or(i64::MIN, |entry| entry.time_us)
    }

    /// Drop what no window can reach any more.
    pub(super) fn forget_before(&mut self, horizon_us: i64) {
        let gone = self.entries.partition_point(|entry| entry.time_us < horizon_us);
        // Moving the rest costs its length; once half is gone that is paid for.
        if gone > 0 && gone.saturating_mul(2) >= self.entries.len() {
            self.entries.drain(..gone);
        }
    }

    /// Put a sighting in its place; `None` where it is there already.
    pub(super) fn insert(&mut self, entry: Entry) -> Option<usize> {
        let at = self.entries.partition_point(|other| other.order() < entry.order());
        if self.entries.get(at).is_some_and(|other| other.order() == entry.order()) {
            return None;
        }
        if self.entries.capacity() == 0 {
            // Most groups see one event: do not reserve for four.
            self.entries.reserve_exact(1);
        }
        self.entries.insert(at, entry);
        Some(at)
    }

    /// Keep the newest `most` sightings; returns how many went.
    pub(super) fn truncate(&mut self, most: usize) -> u64 {
        let over = self.entries.len().saturating_sub(most);
        self.entries.drain(..over);
        u64::try_from(over).unwrap_or(u64::MAX)
    }

    /// Ask the condition at each sighting from `first` on, up to `until_us`, that has not matched yet.
    pub(super) fn answer(&mut self, plan: &Plan, first: usize, until_us: i64, found: &mut Vec<Answer>) {
        let mut at = first;
        while self.entries.get(at).is_some_and(|entry| entry.time_us <= until_us) {
            if !self.matched(at) {
                self.answer_at(plan, at, found);
            }
            at = at.saturating_add(1);
        }
    }

    /// Ask the condition at one event, all its sightings known.
    pub(super) fn answer_event(&mut self, plan: &Plan, time_us: i64, event: u64, found: &mut Vec<Answer>) {
        let after = self.entries.partition_point(|entry| (entry.time_us, entry.event) <= (time_us, event));
        if let Some(last) = after.checked_sub(1) {
            self.answer_at(plan, last, found);
        }
    }

    /// One event that several rules saw matches once.
    fn matched(&self, at: usize) -> bool {
        let of = |entry: &Entry| (entry.time_us, entry.event);
        let Some(own) = self.entries.get(at).map(of) else { return true };
        let start = self.entries.partition_point(|entry| of(entry) < own);
        self.entries.iter().skip(start).take_while(|entry| of(entry) == own).any(|entry| entry.matched)
    }

    fn answer_at(&mut self, plan: &Plan, at: usize, found: &mut Vec<Answer>) {
        let Some(entry) = self.entries.get(at) else { return };
        let (time_us, event) = (entry.time_us, entry.event);
        let from = time_us.saturating_sub(plan.span_us);
        let start = self.entries.partition_point(|entry| entry.time_us < from);
        let Some(window) = self.entries.get(start..=at) else { return };
        if let Some(value) = plan.holds(window) {
            let named = window.iter().rev().take(EVENTS_NAMED_MAX).map(|entry| entry.event);
            let mut events: Vec<u64> = named.collect();
            events.reverse();
            found.push(Answer { time_us, event, value, events });
            if let Some(entry) = self.entries.get_mut(at) {
                entry.matched = true;
            }
        }
    }
}

//! Correlations that compare with what is usual: sightings wait until nothing older may come, then each is compared with
//! what its group has taught, in order of time, and learned. Spans and silences end in between, at their own instants.
//! So the matches are a function of the set of sightings, as for all correlations.

use super::learned::{Held, Learned, Passed};
use super::plan::{Answer, Plan};
use super::{Dropped, Limits, micros};
use crate::sigma::Baseline;
use std::collections::{BTreeSet, HashMap};

/// What one such correlation holds.
#[derive(Debug, Default, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Watch {
    held: BTreeSet<Held>,
    groups: HashMap<String, Learned>,
    /// When the time of a group is to be looked at: at most one entry for each.
    timers: BTreeSet<(i64, String)>,
    /// The entry of each group.
    due: HashMap<String, i64>,
    /// The sighting that was compared last: an event that several rules saw counts once.
    last: Option<(i64, u64, String)>,
    swept_us: i64,
}

/// What a pass over the state needs besides it.
pub(super) struct Pass<'a> {
    pub(super) plan: &'a Plan,
    pub(super) baseline: &'a Baseline,
    pub(super) limits: &'a Limits,
    pub(super) dropped: &'a mut Dropped,
    /// Where the condition held, with the group.
    pub(super) found: &'a mut Vec<(String, Answer)>,
}

impl Watch {
    /// How many groups are held; one at least while a sighting waits.
    pub(super) fn groups(&self) -> usize {
        self.groups.len().max(usize::from(!self.held.is_empty()))
    }

    /// Let a sighting wait. False where it waits already.
    pub(super) fn hold(&mut self, held: Held, pass: &mut Pass<'_>) -> bool {
        let fresh = self.held.insert(held);
        // Beyond the bound the oldest is compared before its time.
        if self.held.len() > pass.limits.groups_max
            && let Some(oldest) = self.held.pop_first()
        {
            self.pass_timers(oldest.time_us, pass);
            self.sight(&oldest, pass);
        }
        fresh
    }

    /// Compare all that waited from before `until_us`; spans and silences that end by `timers_us` end.
    pub(super) fn settle(&mut self, until_us: i64, timers_us: i64, pass: &mut Pass<'_>) {
        while self.held.first().is_some_and(|held| held.time_us < until_us) {
            let Some(held) = self.held.pop_first() else { break };
            self.pass_timers(held.time_us.min(timers_us), pass);
            self.sight(&held, pass);
        }
        self.pass_timers(timers_us, pass);
    }

    fn pass_timers(&mut self, until_us: i64, pass: &mut Pass<'_>) {
        while self.timers.first().is_some_and(|(time_us, _)| *time_us <= until_us) {
            let Some((time_us, key)) = self.timers.pop_first() else { break };
            self.due.remove(&key);
            let Some(group) = self.groups.get_mut(&key) else { continue };
            if group.due_us(pass.plan, pass.baseline) == Some(time_us) {
                let event = group.event();
                match group.pass(pass.plan, pass.baseline) {
                    Passed::On(Some(value)) => {
                        pass.found.push((key.clone(), Answer { time_us, event, value, events: vec![event] }));
                    }
                    Passed::On(None) => {}
                    Passed::Over => {
                        self.groups.remove(&key);
                        continue;
                    }
                }
            }
            self.set_timer(&key, pass);
        }
    }

    /// The group's entry is never after the time when it is due; one that is before is put right when it comes.
    fn set_timer(&mut self, key: &str, pass: &Pass<'_>) {
        let Some(due_us) = self.groups.get(key).and_then(|group| group.due_us(pass.plan, pass.baseline)) else {
            return;
        };
        if let Some(set) = self.due.get_mut(key) {
            if *set <= due_us {
                return;
            }
            self.timers.remove(&(*set, key.to_owned()));
            *set = due_us;
        } else {
            self.due.insert(key.to_owned(), due_us);
        }
        self.timers.insert((due_us, key.to_owned()));
    }

    fn sight(&mut self, held: &Held, pass: &mut Pass<'_>) {
        let again = |(time_us, event, key): &(i64, u64, String)| {
            (*time_us, *event, key) == (held.time_us, held.event, &held.key)
        };
        if self.last.as_ref().is_some_and(again) {
            return;
        }
        self.last = Some((held.time_us, held.event, held.key.clone()));
        if !self.groups.contains_key(&held.key) && self.groups.len() >= pass.limits.groups_max {
            self.drop_silent(pass);
        }
        let plan = pass.plan;
        let fresh = || Learned::new(plan.kind, held, plan.span_us);
        let group = self.groups.entry(held.key.clone()).or_insert_with(fresh);
        if let Some(value) = group.sight(plan, pass.baseline, held) {
            let answer = Answer { time_us: held.time_us, event: held.event, value, events: vec![held.event] };
            pass.found.push((held.key.clone(), answer));
        }
        let over = group.truncate(pass.limits.sightings_max, held.time_us, pass.baseline);
        pass.dropped.sightings = pass.dropped.sightings.saturating_add(over);
        self.set_timer(&held.key, pass);
    }

    /// Drop the eighth of the groups that were silent for longest.
    fn drop_silent(&mut self, pass: &mut Pass<'_>) {
        let mut times: Vec<i64> = self.groups.values().map(Learned::last_us).collect();
        let place = (times.len() / 8).min(times.len().saturating_sub(1));
        if times.is_empty() {
            return;
        }
        let (_, limit, _) = times.select_nth_unstable(place);
        let limit = *limit;
        let before = self.groups.len();
        self.groups.retain(|_, group| group.last_us() > limit);
        let gone = u64::try_from(before.saturating_sub(self.groups.len())).unwrap_or(u64::MAX);
        pass.dropped.groups = pass.dropped.groups.saturating_add(gone);
    }

    /// Drop groups of which nothing is left.
    pub(super) fn sweep(&mut self, now_us: i64, baseline: &Baseline) {
        if now_us.saturating_sub(self.swept_us) <= micros(baseline.half_life) / 4 {
            return;
        }
        self.swept_us = now_us;
        self.groups.retain(|_, group| !group.forgotten(now_us, baseline));
    }
}

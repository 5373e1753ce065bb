//! What a timeline says, and the clocks that run over it.

use crate::status::{Status, words};
use ids::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What an entry of a timeline tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Something was found.
    Seen,
    /// Somebody looked.
    Queried,
    /// Somebody said what it is.
    Concluded,
    /// Somebody decided: status, assignee, approval, refusal.
    Decided,
    /// Something was done.
    Done,
    /// It was checked that it took effect.
    Verified,
    /// It was taken back.
    Undone,
    /// It did not take effect, or was not begun.
    Failed,
    /// Its effect did not show in its time.
    Unverified,
    /// Nobody can tell whether it took effect.
    Uncertain,
}

words!("kind of entry", EntryKind {
    Seen = "seen",
    Queried = "queried",
    Concluded = "concluded",
    Decided = "decided",
    Done = "done",
    Verified = "verified",
    Undone = "undone",
    Failed = "failed",
    Unverified = "unverified",
    Uncertain = "uncertain",
});

/// The instants that a case's clocks run between. Each is the first of its kind, except that taking a case up again
/// forgets its end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Clocks {
    /// The earliest event.
    pub happened: Option<Timestamp>,
    /// The first time that the platform saw it.
    pub seen: Option<Timestamp>,
    /// The first time that somebody who is not the platform took it up.
    pub acknowledged: Option<Timestamp>,
    /// The first time that it was contained.
    pub contained: Option<Timestamp>,
    /// When it ended.
    pub resolved: Option<Timestamp>,
}

fn earliest(kept: &mut Option<Timestamp>, at: Timestamp) {
    *kept = Some(kept.map_or(at, |kept| kept.min(at)));
}

impl Clocks {
    /// Something was found: an event of `time`, told at `at`.
    pub fn saw(&mut self, time: Timestamp, at: Timestamp) {
        earliest(&mut self.happened, time);
        earliest(&mut self.seen, at);
    }

    /// Somebody who is not the platform did something to the case at `at`; `status` is what it became by that.
    pub fn worked(&mut self, at: Timestamp, status: Option<Status>) {
        earliest(&mut self.acknowledged, at);
        self.became(at, status);
    }

    /// The case became `status` at `at`.
    pub fn became(&mut self, at: Timestamp, status: Option<Status>) {
        match status {
            Some(Status::Contained) => earliest(&mut self.contained, at),
            Some(Status::Resolved | Status::Closed) => {
                self.resolved.get_or_insert(at);
            }
            Some(Status::New | Status::Triage | Status::InProgress | Status::OnHold) => self.resolved = None,
            None => {}
        }
    }

    /// The clocks of two cases that became one.
    #[must_use]
    pub fn united(self, other: Self) -> Self {
        let least = |one: Option<Timestamp>, other: Option<Timestamp>| [one, other].into_iter().flatten().min();
        Self {
            happened: least(self.happened, other.happened),
            seen: least(self.seen, other.seen),
            acknowledged: least(self.acknowledged, other.acknowledged),
            contained: least(self.contained, other.contained),
            resolved: self.resolved,
        }
    }

    /// From the event to its being seen: the mean of these is MTTD.
    #[must_use]
    pub fn to_detect(&self) -> Option<Duration> {
        Some(self.seen?.since(self.happened?))
    }

    /// From being seen to being taken up: MTTA.
    #[must_use]
    pub fn to_acknowledge(&self) -> Option<Duration> {
        Some(self.acknowledged?.since(self.seen?))
    }

    /// From being seen to being contained: MTTC.
    #[must_use]
    pub fn to_contain(&self) -> Option<Duration> {
        Some(self.contained?.since(self.seen?))
    }

    /// From being seen to the end: MTTR.
    #[must_use]
    pub fn to_resolve(&self) -> Option<Duration> {
        Some(self.resolved?.since(self.seen?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_micros(secs * 1_000_000)
    }

    #[test]
    fn clocks_run_from_first_to_first_and_reopening_forgets_the_end() {
        let mut clocks = Clocks::default();
        clocks.saw(at(100), at(130));
        clocks.saw(at(90), at(140));
        clocks.worked(at(200), Some(Status::Triage));
        clocks.worked(at(300), Some(Status::Contained));
        clocks.worked(at(400), Some(Status::Resolved));
        clocks.worked(at(500), Some(Status::Closed));
        let secs = |clock: Option<Duration>| clock.map(|clock| clock.as_secs());
        assert_eq!(secs(clocks.to_detect()), Some(40));
        assert_eq!(secs(clocks.to_acknowledge()), Some(70));
        assert_eq!(secs(clocks.to_contain()), Some(170));
        assert_eq!(secs(clocks.to_resolve()), Some(270), "the first end counts");
        clocks.worked(at(600), Some(Status::InProgress));
        assert_eq!(clocks.to_resolve(), None);
        clocks.worked(at(700), Some(Status::Closed));
        assert_eq!(secs(clocks.to_resolve()), Some(570));
    }
}

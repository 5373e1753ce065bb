//! Islands of time: when an entity was seen in a case. Two sightings within the window are one island. Asking whether an
//! instant is within the window of any sighting needs no more than this, so that the order of arrival does not matter.

use ids::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Islands that one entity keeps in one case; past it the nearest two become one, which can only join more.
const ISLANDS_MAX: usize = 16;

/// One stretch of sightings, none further from the next than the window.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize)]
pub struct Island {
    /// The first sighting.
    pub first: Timestamp,
    /// The last one.
    pub last: Timestamp,
}

/// When something was seen.
// INVARIANT: sorted, disjoint, at most ISLANDS_MAX.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Islands(Vec<Island>);

impl Islands {
    /// Whether an instant lies within the window of a sighting.
    #[must_use]
    pub fn near(&self, time: Timestamp, window: Duration) -> bool {
        self.0.iter().any(|island| island.first.minus(window) <= time && time <= island.last.plus(window))
    }

    /// Add a sighting.
    pub fn add(&mut self, time: Timestamp, window: Duration) {
        self.unite(&Self(vec![Island { first: time, last: time }]), window);
    }

    /// Add all sightings of another.
    pub fn unite(&mut self, other: &Self, window: Duration) {
        let mut all: Vec<Island> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable();
        let mut united: Vec<Island> = Vec::with_capacity(all.len());
        for island in all {
            match united.last_mut() {
                Some(last) if island.first <= last.last.plus(window) => last.last = last.last.max(island.last),
                _ => united.push(island),
            }
        }
        while united.len() > ISLANDS_MAX {
            join_nearest(&mut united);
        }
        self.0 = united;
    }

    /// Whether there is no sighting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first and the last sighting.
    #[must_use]
    pub fn span(&self) -> Option<Island> {
        Some(Island { first: self.0.first()?.first, last: self.0.last()?.last })
    }
}

fn join_nearest(islands: &mut Vec<Island>) {
    let gaps = islands.iter().zip(islands.iter().skip(1)).map(|(one, next)| next.first.since(one.last));
    let Some((place, _)) = gaps.enumerate().min_by_key(|(_, gap)| *gap) else { return };
    let next = islands.remove(place.saturating_add(1));
    if let Some(one) = islands.get_mut(place) {
        one.last = next.last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_micros(secs * 1_000_000)
    }

    #[test]
    fn a_gap_over_the_window_stays_a_gap() {
        let mut islands = Islands::default();
        for secs in [0, 200, 50] {
            islands.add(at(secs), MINUTE);
        }
        assert_eq!(islands.0.len(), 2);
        assert!(islands.near(at(110), MINUTE));
        assert!(!islands.near(at(125), MINUTE));
        assert!(islands.near(at(140), MINUTE));
        islands.add(at(110), MINUTE);
        islands.add(at(160), MINUTE);
        assert_eq!(islands.span(), Some(Island { first: at(0), last: at(200) }));
        assert_eq!(islands.0.len(), 1);
    }

    #[test]
    fn too_many_islands_lose_their_smallest_gap() {
        let mut islands = Islands::default();
        for number in 0..20 {
            islands.add(at(number * 1000 + if number == 7 { 500 } else { 0 }), MINUTE);
        }
        assert_eq!(islands.0.len(), ISLANDS_MAX);
        assert!(islands.near(at(7700), MINUTE), "between 7500 and 8000");
        assert!(islands.near(at(19_000), MINUTE));
    }
}

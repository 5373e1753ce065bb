//! How often each exception held back a detection, since it was made. Counted where rules run live, in the order of the
//! log, and stored with the log's cursor, so that a restart neither forgets nor counts twice. Holds no clock.

use ids::{RuleExceptionId, TenantId, Timestamp};
use std::collections::BTreeMap;

/// Exceptions that are counted; beyond them those that held back nothing for longest are forgotten.
const EXCEPTIONS_MAX: usize = 50_000;

type Key = (TenantId, RuleExceptionId);

/// How often, and when last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Count {
    hits: u64,
    last: Timestamp,
}

/// What is kept of one over a restart.
#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    tenant: TenantId,
    exception: RuleExceptionId,
    hits: u64,
    last: Timestamp,
}

/// All exceptions that held back anything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Spared {
    all: BTreeMap<Key, Count>,
}

impl Spared {
    /// Count detections that were held back; `at` is when the last record came.
    pub(crate) fn count(&mut self, key: Key, hits: u64, at: Timestamp) {
        let own = self.all.entry(key).or_insert(Count { hits: 0, last: at });
        own.hits = own.hits.saturating_add(hits);
        own.last = own.last.max(at);
    }

    /// Take over what others counted.
    pub(crate) fn add(&mut self, other: Self) {
        other.all.into_iter().for_each(|(key, count)| self.count(key, count.hits, count.last));
        if self.all.len() > EXCEPTIONS_MAX
            && let Some(idle) = self.all.iter().min_by_key(|(_, count)| count.last).map(|(key, _)| *key)
        {
            self.all.remove(&idle);
        }
    }

    /// How often an exception held back a detection, and when last.
    pub(crate) fn of(&self, tenant: TenantId) -> impl Iterator<Item = (RuleExceptionId, u64, Timestamp)> {
        let own = self.all.iter().filter(move |((owner, _), _)| *owner == tenant);
        own.map(|((_, exception), count)| (*exception, count.hits, count.last))
    }

    /// What is to be known after a restart.
    pub(crate) fn stored(&self) -> Vec<u8> {
        let kept =
            |(key, count): (&Key, &Count)| Kept { tenant: key.0, exception: key.1, hits: count.hits, last: count.last };
        // Texts and numbers always have a JSON form.
        serde_json::to_vec(&self.all.iter().map(kept).collect::<Vec<_>>()).unwrap_or_default()
    }

    /// Read what [`Spared::stored`] wrote; what cannot be read is begun anew.
    pub(crate) fn restored(bytes: &[u8]) -> Self {
        let kept: Vec<Kept> = serde_json::from_slice(bytes).unwrap_or_default();
        let mut spared = Self::default();
        kept.into_iter().for_each(|one| spared.count((one.tenant, one.exception), one.hits, one.last));
        spared
    }

    /// Forget a tenant.
    pub(crate) fn forget(&mut self, tenant: TenantId) {
        self.all.retain(|(owner, _), _| *owner != tenant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_outlive_a_restart() {
        let (one, other) = (TenantId::derive(&[b"one"]), TenantId::derive(&[b"other"]));
        let exception = RuleExceptionId::derive(&[b"e"]);
        let mut spared = Spared::default();
        for (tenant, at) in [(one, 7), (one, 5), (other, 9)] {
            let mut part = Spared::default();
            part.count((tenant, exception), 2, Timestamp::from_micros(at));
            spared.add(part);
        }
        let mut back = Spared::restored(&spared.stored());
        assert_eq!(back, spared);
        assert_eq!(back.of(one).collect::<Vec<_>>(), [(exception, 4, Timestamp::from_micros(7))]);
        back.forget(one);
        assert_eq!((back.of(one).count(), back.of(other).count()), (0, 1));
        assert_eq!(Spared::restored(b"?"), Spared::default());
    }
}

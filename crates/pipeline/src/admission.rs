//! What may come in and what came in: a byte quota per tenant, and counts per source. Whether a key may send to a
//! source at all is decided by the gate, once per connection or batch; here is only how much. Holds no clock.

use crate::{Records, Reject, Source};
use ids::{TenantId, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// How much a tenant may send: a bucket of `burst_bytes` that fills at `bytes_per_second`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    /// Raw bytes a second, in the long run.
    pub bytes_per_second: u64,
    /// Raw bytes at once.
    pub burst_bytes: u64,
}

/// Counts of one source since start.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Batches made durable, without duplicates.
    pub batches: u64,
    /// Records made durable.
    pub accepted: u64,
    /// Raw bytes made durable.
    pub bytes: u64,
    /// Records of batches that were there already.
    pub duplicates: u64,
    /// Records not taken, by reason.
    pub rejected: BTreeMap<Reject, u64>,
    /// Batches refused whole (quota, pressure, malformed), by reason; senders were told.
    pub refused: BTreeMap<&'static str, u64>,
    /// Records that nobody could be told about: datagrams under pressure.
    pub dropped: u64,
    /// When the last batch came, taken or not.
    pub last_seen: Timestamp,
}

/// How a source fares.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Health {
    /// Which.
    pub source: Source,
    /// Its counts.
    pub tally: Tally,
}

#[derive(Debug)]
struct Bucket {
    quota: Quota,
    /// Bytes left, in millionths, so that a microsecond fills something.
    micro_bytes: u128,
    filled: Timestamp,
}

/// Quotas and counts.
#[derive(Debug, Default)]
pub struct Admission {
    buckets: HashMap<TenantId, Bucket>,
    tallies: BTreeMap<Source, Tally>,
}

impl Bucket {
    /// Time until there is room; none where there is.
    fn take(&mut self, bytes: u64, now: Timestamp) -> Option<Duration> {
        let full = u128::from(self.quota.burst_bytes) * 1_000_000;
        let per_second = u128::from(self.quota.bytes_per_second);
        // A clock that was set back fills nothing and takes nothing away.
        self.micro_bytes = full.min(self.micro_bytes + now.since(self.filled).as_micros() * per_second);
        self.filled = now;
        // A batch larger than the bucket passes when the bucket is full, or it never would.
        let wanted = full.min(u128::from(bytes) * 1_000_000);
        if wanted <= self.micro_bytes {
            self.micro_bytes -= wanted;
            return None;
        }
        let micros = (wanted - self.micro_bytes).div_ceil(per_second.max(1));
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
    }
}

impl Admission {
    /// Nothing counted, no quota.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Set or lift a tenant's quota. A new one begins full.
    pub fn set_quota(&mut self, tenant: TenantId, quota: Option<Quota>, now: Timestamp) {
        match quota {
            None => drop(self.buckets.remove(&tenant)),
            Some(quota) => {
                let micro_bytes = u128::from(quota.burst_bytes) * 1_000_000;
                self.buckets.insert(tenant, Bucket { quota, micro_bytes, filled: now });
            }
        }
    }

    /// Take so many bytes from the tenant's quota.
    ///
    /// # Errors
    /// How long until they would pass.
    pub fn take(&mut self, tenant: TenantId, bytes: u64, now: Timestamp) -> Result<(), Duration> {
        match self.buckets.get_mut(&tenant).and_then(|bucket| bucket.take(bytes, now)) {
            None => Ok(()),
            Some(wait) => Err(wait),
        }
    }

    fn tally(&mut self, source: &Source, now: Timestamp) -> &mut Tally {
        let tally = self.tallies.entry(source.clone()).or_default();
        tally.last_seen = now;
        tally
    }

    /// Count a batch that is durable, or was already.
    pub fn count(&mut self, source: &Source, records: &Records, duplicate: bool, now: Timestamp) {
        let tally = self.tally(source, now);
        let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
        if duplicate {
            // Its rejected records were counted when it came first.
            tally.duplicates = tally.duplicates.saturating_add(count);
            return;
        }
        tally.batches = tally.batches.saturating_add(1);
        tally.accepted = tally.accepted.saturating_add(count);
        tally.bytes = tally.bytes.saturating_add(records.raw_bytes());
        for rejected in records.rejected() {
            let count = tally.rejected.entry(rejected.why).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Count a batch that was refused whole. `why` is a short fixed name.
    pub fn count_refused(&mut self, source: &Source, why: &'static str, now: Timestamp) {
        let count = self.tally(source, now).refused.entry(why).or_default();
        *count = count.saturating_add(1);
    }

    /// Count records that were lost without a sender to tell.
    pub fn count_dropped(&mut self, source: &Source, records: u64, now: Timestamp) {
        let tally = self.tally(source, now);
        tally.dropped = tally.dropped.saturating_add(records);
    }

    /// Forget the counts of a tenant.
    pub fn forget(&mut self, tenant: TenantId) {
        self.tallies.retain(|source, _| source.tenant != tenant);
    }

    /// The counts of every source that was heard of.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        self.tallies.iter().map(|(source, tally)| Health { source: source.clone(), tally: tally.clone() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_refuses_with_the_time_to_wait_and_fills_again() {
        let tenant = TenantId::derive(&[b"a"]);
        let at = |millis: i64| Timestamp::from_micros(millis * 1000);
        let mut admission = Admission::new();
        admission.set_quota(tenant, Some(Quota { bytes_per_second: 1000, burst_bytes: 500 }), at(0));
        assert_eq!(admission.take(tenant, 400, at(0)), Ok(()));
        assert_eq!(admission.take(tenant, 400, at(0)), Err(Duration::from_millis(300)));
        assert_eq!(admission.take(tenant, 400, at(299)), Err(Duration::from_millis(1)));
        assert_eq!(admission.take(tenant, 400, at(300)), Ok(()));
        // Larger than the bucket: passes when that is full, not never.
        assert_eq!(admission.take(tenant, 9000, at(300)), Err(Duration::from_millis(500)));
        assert_eq!(admission.take(tenant, 9000, at(800)), Ok(()));
        // A clock set back gives nothing and breaks nothing.
        assert!(admission.take(tenant, 100, at(0)).is_err());
        assert_eq!(admission.take(TenantId::derive(&[b"b"]), u64::MAX, at(0)), Ok(()));
        admission.set_quota(tenant, None, at(0));
        assert_eq!(admission.take(tenant, u64::MAX, at(0)), Ok(()));
    }
}

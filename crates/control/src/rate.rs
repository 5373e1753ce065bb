//! How many calls one principal may make: a token bucket for each, in memory. Refusals are counted, not recorded one by
//! one, because a flood must not fill the disk.

use crate::settings::Rate;
use ids::{Principal, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Buckets past this number are swept of those that are full again.
const BUCKETS_MAX: usize = 10_000;

struct Bucket {
    /// In thousandths of a call.
    level: u64,
    at: Timestamp,
}

/// All principals' buckets.
pub(crate) struct RateLimiter {
    rate: Rate,
    buckets: Mutex<HashMap<Principal, Bucket>>,
}

impl RateLimiter {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::new(HashMap::new()) }
    }

    /// Take one call's worth; where there is none, after how many seconds there will be.
    pub(crate) fn take(&self, principal: &Principal, now: Timestamp) -> Result<(), u32> {
        let full = u64::from(self.rate.burst) * 1000;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > BUCKETS_MAX {
            let rate = self.rate;
            buckets.retain(|_, bucket| refilled(bucket, rate, now) < full);
        }
        let bucket = match buckets.get_mut(principal) {
            Some(bucket) => bucket,
            None => buckets.entry(principal.clone()).or_insert(Bucket { level: full, at: now }),
        };
        let level = refilled(bucket, self.rate, now);
        *bucket = Bucket { level: level.saturating_sub(1000), at: now };
        if level >= 1000 {
            return Ok(());
        }
        bucket.level = level;
        Err(1)
    }
}

fn refilled(bucket: &Bucket, rate: Rate, now: Timestamp) -> u64 {
    let elapsed = u64::try_from(now.since(bucket.at).as_millis()).unwrap_or(u64::MAX);
    let gained = elapsed.saturating_mul(u64::from(rate.per_second));
    bucket.level.saturating_add(gained).min(u64::from(rate.burst) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ids::UserId;

    #[test]
    fn a_burst_passes_and_the_rest_waits() {
        let limiter = RateLimiter::new(Rate { per_second: 10, burst: 2 });
        let who = Principal::User(UserId::derive(&[b"a"]));
        let start = Timestamp::from_micros(1_000_000);
        assert!(limiter.take(&who, start).is_ok());
        assert!(limiter.take(&who, start).is_ok());
        assert!(limiter.take(&who, start).is_err());
        assert!(limiter.take(&Principal::User(UserId::derive(&[b"b"])), start).is_ok());
        assert!(limiter.take(&who, Timestamp::from_micros(1_100_000)).is_ok());
        assert!(limiter.take(&who, Timestamp::from_micros(1_100_000)).is_err());
    }
}

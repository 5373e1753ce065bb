//! Which failures are tried again, and when. Pure but for the clock and the chance that are passed in.

use egress::Failure;
use http::{HeaderMap, StatusCode};
use ids::{Entropy, Timestamp};
use jiff::fmt::rfc2822::DateTimeParser;
use std::time::Duration;

/// The first wait, and the longest that we choose ourselves.
const WAIT_FIRST: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Why a try gave no answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Miss {
    /// Another try may do better, after as long as the provider asks for.
    Again {
        /// Why.
        reason: String,
        /// What the provider asks for.
        after: Option<Duration>,
    },
    /// This model will say no again.
    Never {
        /// Why.
        reason: String,
    },
}

impl Miss {
    pub(crate) fn again(reason: impl Into<String>) -> Self {
        Self::Again { reason: reason.into(), after: None }
    }

    pub(crate) fn never(reason: impl Into<String>) -> Self {
        Self::Never { reason: reason.into() }
    }

    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Again { reason, .. } | Self::Never { reason } => reason,
        }
    }
}

/// What a failure on the way means.
pub(crate) fn of_failure(failure: &Failure) -> Miss {
    match failure {
        Failure::BrokenAnswer { .. }
        | Failure::Timeout { .. }
        | Failure::Unreachable { .. }
        | Failure::Unresolved { .. } => Miss::again(failure.to_string()),
        _ => Miss::never(failure.to_string()),
    }
}

/// Whether a status that is no success may be another one next time.
pub(crate) fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 425 | 429)
}

/// Whether an error that a provider names in its stream may be gone next time. What is not known is tried again: tries are
/// counted, and a question that was never wrong is lost otherwise.
pub(crate) fn may_be_gone(kind: &str) -> bool {
    const LASTING: [&str; 9] = [
        "authentication_error",
        "billing_error",
        "context_length_exceeded",
        "insufficient_quota",
        "invalid_api_key",
        "invalid_request_error",
        "model_not_found",
        "not_found_error",
        "permission_error",
    ];
    !LASTING.contains(&kind)
}

/// How long the provider asks us to wait: `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), or
/// `retry-after-ms`.
pub(crate) fn asked_wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(millis) = text("retry-after-ms").and_then(|text| text.parse::<u64>().ok()) {
        return Some(Duration::from_millis(millis));
    }
    let text = text("retry-after")?;
    if let Ok(secs) = text.parse::<u64>() {
        return Some(Duration::from_secs(secs));
    }
    let date = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp::from_micros(date.as_microsecond()).since(now))
}

/// How long to wait before the next try: doubled each time, and by chance up to half less, so that runs that failed together
/// do not come back together. What the provider asks for is the least.
pub(crate) fn wait(tries: u32, asked: Option<Duration>, entropy: &dyn Entropy) -> Duration {
    let full = WAIT_FIRST.saturating_mul(1_u32 << tries.min(16)).min(WAIT_MAX);
    let mut byte = [0_u8; 1];
    entropy.fill(&mut byte);
    let own = full / 2 + full / 2 * u32::from(u8::from_be_bytes(byte)) / 255;
    // Chance also above what is asked for: everybody was asked for the same.
    asked.map_or(own, |asked| asked + own.min(asked / 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use seal::SeededEntropy;

    #[test]
    fn what_a_provider_asks_for_is_read_in_each_form() {
        let now: Timestamp = "2026-11-23T01:00:00Z".parse().unwrap();
        for (name, value, wanted) in [
            ("retry-after", "7", Some(Duration::from_secs(7))),
            ("retry-after", "Mon, 23 Nov 2026 01:00:30 GMT", Some(Duration::from_secs(30))),
            ("retry-after", "Mon, 23 Nov 2026 00:00:30 GMT", Some(Duration::ZERO)),
            ("retry-after-ms", "250", Some(Duration::from_millis(250))),
            ("retry-after", "soon", None),
            ("retry-after", "-1", None),
            ("x-other", "1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(asked_wait(&headers, now), wanted, "{name}: {value}");
        }
    }

    #[test]
    fn waits_grow_within_bounds_and_never_fall_short_of_what_is_asked() {
        let entropy = SeededEntropy::new(1);
        for tries in 0..40 {
            let own = wait(tries, None, &entropy);
            assert!(own >= Duration::from_millis(250) && own <= WAIT_MAX, "{own:?}");
            let asked = wait(tries, Some(Duration::from_secs(2)), &entropy);
            assert!(asked >= Duration::from_secs(2) && asked <= Duration::from_millis(2500), "{asked:?}");
        }
        assert!(wait(6, None, &entropy) >= Duration::from_secs(10));
    }

    #[test]
    fn statuses_and_errors_are_told_apart() {
        for (status, again) in
            [(429, true), (500, true), (503, true), (529, true), (408, true), (400, false), (401, false)]
        {
            assert_eq!(may_pass(StatusCode::from_u16(status).unwrap()), again, "{status}");
        }
        assert!(may_be_gone("overloaded_error") && !may_be_gone("invalid_request_error"));
    }
}

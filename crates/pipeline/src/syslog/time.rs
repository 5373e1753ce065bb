//! Times of syslog: RFC 3339, and RFC 3164's without year and zone, which are read as the latest that fits the time of receipt.

use ids::Timestamp;
use std::time::Duration;

/// What a message does not say itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Context {
    /// When it arrived: a time without a year is the latest one at most a week after this.
    pub received: Timestamp,
    /// The sender's offset from UTC in seconds, for times without one; east is positive.
    pub offset_seconds: i32,
}

const AHEAD_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// A time at the start of `text` and what follows it: RFC 3339, `Oct 11 22:14:15`, `Oct  1 2026 22:14:15.003`.
pub(super) fn leading<'a>(text: &'a str, context: &Context) -> Option<(Timestamp, &'a str)> {
    let (first, rest) = split(text);
    if first.len() >= 20 && first.as_bytes().get(4) == Some(&b'-') {
        return first.parse().ok().map(|time| (time, rest));
    }
    // Cisco puts a star or dot before a time that it does not trust.
    let month = first.trim_start_matches(['*', '.']);
    let month = MONTHS.iter().position(|name| month.eq_ignore_ascii_case(name))?;
    let (day, rest) = split(rest.trim_start_matches(' '));
    let (next, after) = split(rest.trim_start_matches(' '));
    let (year, clock, rest) = match next.parse::<i16>() {
        Ok(year) if next.len() == 4 => {
            let (clock, rest) = split(after);
            (Some(year), clock, rest)
        }
        _ => (None, next, after),
    };
    let month = i8::try_from(month + 1).ok()?;
    let day = day.parse::<i8>().ok()?;
    let clock = clock_of(clock.trim_end_matches(':'))?;
    let at = |year: i16| {
        let date = jiff::civil::Date::new(year, month, day).ok()?;
        let time = jiff::tz::TimeZone::UTC.to_timestamp(date.to_datetime(clock)).ok()?;
        let micros = time.as_microsecond().checked_sub(i64::from(context.offset_seconds) * 1_000_000)?;
        Some(Timestamp::from_micros(micros))
    };
    let time = match year {
        Some(year) => at(year)?,
        None => latest(context.received, at)?,
    };
    Some((time, rest))
}

fn latest(received: Timestamp, at: impl Fn(i16) -> Option<Timestamp>) -> Option<Timestamp> {
    let year = jiff::Timestamp::from_microsecond(received.as_micros()).ok()?;
    let year = year.to_zoned(jiff::tz::TimeZone::UTC).year();
    let years = [year.checked_sub(1), Some(year), year.checked_add(1)];
    let times = years.into_iter().flatten().filter_map(at);
    // A sender's clock may be ahead a little; a message of the coming year is one of a year ago.
    times.filter(|time| *time <= received.plus(AHEAD_MAX)).max()
}

fn clock_of(text: &str) -> Option<jiff::civil::Time> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || bytes.get(2) != Some(&b':') || bytes.get(5) != Some(&b':') {
        return None;
    }
    text.parse().ok()
}

pub(super) fn split(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_year_is_the_latest_that_fits() {
        let received = "2027-01-01T00:00:05Z".parse().unwrap();
        let cases = [
            ("Dec 31 23:59:59 host", 0, "2026-12-31T23:59:59Z", "host"),
            ("Jan  1 00:00:04 host", 0, "2027-01-01T00:00:04Z", "host"),
            ("Jan 1 01:00:04 host", 3600, "2027-01-01T00:00:04Z", "host"),
            ("*Mar  1 2020 18:46:11.123: %SYS", 0, "2020-03-01T18:46:11.123Z", "%SYS"),
            ("2026-10-11T22:14:15.003Z x", 0, "2026-10-11T22:14:15.003Z", "x"),
            ("2026-10-11T22:14:15+02:00 x", 0, "2026-10-11T20:14:15Z", "x"),
        ];
        for (text, offset_seconds, time, rest) in cases {
            let found = leading(text, &Context { received, offset_seconds });
            assert_eq!(found, Some((time.parse().unwrap(), rest)), "{text}");
        }
        for text in ["", "Foo 1 00:00:00 x", "Feb 30 00:00:00 x", "Jan 1 25:00:00 x", "Jan", "Jan 1", "2026-1-1 x"] {
            assert_eq!(leading(text, &Context { received, offset_seconds: 0 }), None, "{text}");
        }
    }
}

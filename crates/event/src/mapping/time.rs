//! Times as sources write them, to microseconds UTC. Never reads a clock, never guesses a zone other than UTC.

use ids::Timestamp;

/// A time from a text or number in any of the forms that sources use: RFC 3339 with `T` or a space, with or without
/// fraction and zone (UTC where there is none), or seconds, milliseconds, microseconds or nanoseconds since 1970.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let bytes = text.as_bytes();
    if bytes.get(4) == Some(&b'-') || bytes.get(4) == Some(&b'/') { civil(bytes) } else { epoch(text) }
}

/// Whole or fractional seconds, or a finer unit by its size: seconds until the year 5138.
fn epoch(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().ok()?;
    let micros = match whole.unsigned_abs() {
        0..=99_999_999_999 => whole.checked_mul(1_000_000)?.checked_add(fraction_micros(fraction.as_bytes())?)?,
        100_000_000_000..=99_999_999_999_999 => whole.checked_mul(1000)?,
        100_000_000_000_000..=99_999_999_999_999_999 => whole,
        _ => whole.checked_div(1000)?,
    };
    Some(Timestamp::from_micros(micros))
}

/// The first six digits of a fraction as microseconds.
fn fraction_micros(digits: &[u8]) -> Option<i64> {
    let mut micros = 0_i64;
    for place in 0..6 {
        let digit = match digits.get(place) {
            None => 0,
            Some(digit @ b'0'..=b'9') => i64::from(digit.checked_sub(b'0')?),
            Some(_) => return None,
        };
        micros = micros.checked_mul(10)?.checked_add(digit)?;
    }
    Some(micros)
}

/// Digits at a place as a number.
fn digits(bytes: &[u8], from: usize, count: usize) -> Option<i64> {
    let mut number = 0_i64;
    for byte in bytes.get(from..from.checked_add(count)?)? {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(i64::from(byte.checked_sub(b'0')?))?;
    }
    Some(number)
}

fn civil(bytes: &[u8]) -> Option<Timestamp> {
    let (year, month, day) = (digits(bytes, 0, 4)?, digits(bytes, 5, 2)?, digits(bytes, 8, 2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let mut seconds = days(year, month, day)?.checked_mul(86_400)?;
    let (mut micros, mut rest) = (0, bytes.get(10..)?);
    if let Some((b'T' | b't' | b' ', _)) = rest.split_first() {
        let (hour, minute) = (digits(bytes, 11, 2)?, digits(bytes, 14, 2)?);
        // A leap second counts as the second after it.
        let second = digits(bytes, 17, 2).unwrap_or(0);
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        seconds = seconds.checked_add(hour.checked_mul(3600)?)?.checked_add(minute.checked_mul(60)?)?;
        seconds = seconds.checked_add(second)?;
        rest = bytes.get(if bytes.get(16) == Some(&b':') { 19 } else { 16 }..)?;
        if let Some((b'.' | b',', fraction)) = rest.split_first() {
            let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            micros = fraction_micros(fraction.get(..length)?)?;
            rest = fraction.get(length..)?;
        }
    }
    seconds = seconds.checked_sub(zone_seconds(rest.trim_ascii())?)?;
    Some(Timestamp::from_micros(seconds.checked_mul(1_000_000)?.checked_add(micros)?))
}

/// `Z`, `UTC`, `+02:00`, `+0200`, or nothing.
fn zone_seconds(zone: &[u8]) -> Option<i64> {
    let sign = match zone.first() {
        None => return Some(0),
        Some(b'Z' | b'z') if zone.len() == 1 => return Some(0),
        Some(b'U') if zone == b"UTC" => return Some(0),
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return None,
    };
    let minute_at = if zone.get(3) == Some(&b':') { 4 } else { 3 };
    let minutes = if zone.len() > 3 { digits(zone, minute_at, 2)? } else { 0 };
    let seconds = digits(zone, 1, 2)?.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
    seconds.checked_mul(sign)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (Hinnant, `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if month > 2 { month.checked_sub(3)? } else { month.checked_add(9)? };
    let day_of_year = month_from_march.checked_mul(153)?.checked_add(2)?.checked_div(5)?.checked_add(day)?;
    let leap_days = year_of_era.checked_div(4)?.checked_sub(year_of_era.checked_div(100)?)?;
    let day_of_era = year_of_era.checked_mul(365)?.checked_add(leap_days)?.checked_add(day_of_year)?;
    era.checked_mul(146_097)?.checked_add(day_of_era)?.checked_sub(719_469)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_time_agree() {
        for (text, expected) in [
            ("2022-08-08T01:39:26.831Z", "2022-08-08T01:39:26.831Z"),
            ("2022-08-08 01:39:26.831", "2022-08-08T01:39:26.831Z"),
            ("2020-09-14T08:06:08+02:00", "2020-09-14T06:06:08Z"),
            ("2024-02-29T23:59:60Z", "2024-03-01T00:00:00Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z"),
            ("2000-03-01 00:00 UTC", "2000-03-01T00:00:00Z"),
            ("1521911724.123456", "2018-03-24T17:15:24.123456Z"),
            ("1521911724123", "2018-03-24T17:15:24.123Z"),
            ("1521911724123456789", "2018-03-24T17:15:24.123456Z"),
            ("2016-08-11T20:37:56.1234567-0500", "2016-08-12T01:37:56.123456Z"),
        ] {
            assert_eq!(parse_time(text).map(|time| time.to_string()).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "yesterday", "2022-13-01", "2022-08-08T25:00:00Z", "2022-08-08T01:39:26 CEST", "12:00"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}

//! How a JSON value looks to a rule: its text view, its number, its instant. Shared by both evaluators.

use crate::sigma::{Number, TimePart};
use std::fmt::Write as _;

/// A leaf of an event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Leaf<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A whole number that fits.
    Int(i64),
    /// A whole number above `i64::MAX`.
    Big(u64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(&'a str),
}

impl<'a> Leaf<'a> {
    /// From a parsed value; `None` for lists and maps.
    #[must_use]
    pub fn of(value: &'a serde_json::Value) -> Option<Self> {
        Some(match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(truth) => Self::Bool(*truth),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(int), _) => Self::Int(int),
                (None, Some(big)) => Self::Big(big),
                (None, None) => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Self::Text(text),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => return None,
        })
    }

    /// Append the text view: text as it is, numbers in decimal, `true` and `false`. Null has none.
    pub fn write_text(self, out: &mut String) -> bool {
        match self {
            Self::Null => return false,
            Self::Bool(truth) => out.push_str(if truth { "true" } else { "false" }),
            Self::Int(int) => write_int(out, int),
            Self::Big(big) => write_number(out, big),
            // Debug keeps the `.0` of a whole float.
            Self::Float(float) => write_number(out, format_args!("{float:?}")),
            Self::Text(text) => out.push_str(text),
        }
        true
    }

    /// The number: of a number itself, or of text that is wholly a finite decimal number.
    #[must_use]
    pub fn number(self) -> Option<Number> {
        match self {
            Self::Int(int) => Some(Number::Int(int)),
            #[expect(clippy::cast_precision_loss, reason = "beyond i64 only the size matters")]
            Self::Big(big) => Some(Number::Float(big as f64)),
            Self::Float(float) => Some(Number::Float(float)),
            Self::Text(text) => match text.parse() {
                Ok(int) => Some(Number::Int(int)),
                Err(_) if decimal(text) => text.parse().ok().filter(|f: &f64| f.is_finite()).map(Number::Float),
                Err(_) => None,
            },
            Self::Null | Self::Bool(_) => None,
        }
    }

    /// Equal to a number of a rule: numbers by size, text by its digits.
    #[must_use]
    pub fn equals(self, number: Number) -> bool {
        match self {
            Self::Text(text) => {
                let mut digits = String::new();
                write_number(&mut digits, number);
                text == digits
            }
            Self::Int(_) | Self::Big(_) | Self::Float(_) => {
                self.number().is_some_and(|mine| order(mine, number).is_some_and(std::cmp::Ordering::is_eq))
            }
            Self::Null | Self::Bool(_) => false,
        }
    }

    /// A part of the time that the leaf tells, in UTC.
    #[must_use]
    pub fn time_part(self, part: TimePart) -> Option<i64> {
        let date = jiff::Timestamp::from_microsecond(self.micros()?).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
        Some(match part {
            TimePart::Minute => date.minute().into(),
            TimePart::Hour => date.hour().into(),
            TimePart::Day => date.day().into(),
            TimePart::Week => date.date().iso_week_date().week().into(),
            TimePart::Month => date.month().into(),
            TimePart::Year => date.year().into(),
        })
    }

    /// The instant in microseconds: RFC 3339, or `2024-01-01 03:04:05.6` as UTC, or a count since 1970 whose size
    /// tells its unit (below 1e11 seconds, below 1e14 milliseconds, below 1e17 microseconds, else nanoseconds).
    #[must_use]
    pub fn micros(self) -> Option<i64> {
        match self {
            Self::Text(text) => text_micros(text),
            Self::Int(int) => Some(match int.unsigned_abs() {
                0..100_000_000_000 => int.saturating_mul(1_000_000),
                100_000_000_000..100_000_000_000_000 => int.saturating_mul(1000),
                100_000_000_000_000..100_000_000_000_000_000 => int,
                _ => int / 1000,
            }),
            #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and such years are not real")]
            Self::Float(float) if float.abs() < 1e11 => Some((float * 1e6) as i64),
            #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and such years are not real")]
            Self::Float(float) => Self::Int(float as i64).micros(),
            Self::Big(_) | Self::Null | Self::Bool(_) => None,
        }
    }
}

fn write_number(out: &mut String, number: impl std::fmt::Display) {
    // Writing to a string cannot fail, so there is nothing to do with the result.
    let _written = write!(out, "{number}");
}

/// Digits without the formatting machinery: every event id passes here.
fn write_int(out: &mut String, int: i64) {
    let mut digits = ['0'; 20];
    let mut rest = int.unsigned_abs();
    let mut used = 0_usize;
    for digit in digits.iter_mut().rev() {
        *digit = char::from_digit(u32::try_from(rest % 10).unwrap_or(0), 10).unwrap_or('0');
        rest /= 10;
        used = used.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    if int < 0 {
        out.push('-');
    }
    out.extend(digits.iter().skip(20_usize.saturating_sub(used)));
}

fn decimal(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'))
}

fn text_micros(text: &str) -> Option<i64> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(instant.as_microsecond());
    }
    if let Ok(civil) = text.parse::<jiff::civil::DateTime>() {
        return civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_microsecond());
    }
    text.parse().ok().and_then(|int| Leaf::Int(int).micros())
}

/// The order of two numbers; exact for integers.
#[must_use]
pub fn order(a: Number, b: Number) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
        _ => as_f64(a).partial_cmp(&as_f64(b)),
    }
}

/// The number as a float, nearest where it does not fit.
#[must_use]
pub const fn as_f64(number: Number) -> f64 {
    match number {
        #[expect(clippy::cast_precision_loss, reason = "nearest is what is asked")]
        Number::Int(int) => int as f64,
        Number::Float(float) => float,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views() {
        let text = |leaf: Leaf<'_>| {
            let mut out = String::new();
            leaf.write_text(&mut out).then_some(out)
        };
        for int in [0, 7, -5, 10, 4688, i64::MAX, i64::MIN] {
            assert_eq!(text(Leaf::Int(int)).unwrap(), int.to_string());
        }
        assert_eq!(text(Leaf::Float(5.0)).unwrap(), "5.0");
        assert_eq!(text(Leaf::Null), None);
        assert!(Leaf::Text("4688").equals(Number::Int(4688)));
        assert!(!Leaf::Text("04688").equals(Number::Int(4688)));
        assert!(Leaf::Float(5.0).equals(Number::Int(5)));
        assert!(Leaf::Big(u64::MAX).number().is_some());
        assert_eq!(Leaf::Text("1.5").number(), Some(Number::Float(1.5)));
        assert_eq!(Leaf::Text("inf").number(), None);
        assert_eq!(Leaf::Text("2024-01-01T03:04:05+02:00").time_part(TimePart::Hour), Some(1));
        assert_eq!(Leaf::Text("2022-08-08 20:39:26.813").time_part(TimePart::Minute), Some(39));
        assert_eq!(Leaf::Int(1_704_078_245_000).time_part(TimePart::Year), Some(2024));
        assert_eq!(Leaf::Text("2021-01-03").time_part(TimePart::Week), Some(53));
    }
}

//! One JSON scalar as it stands in a record, and the few conversions that mappings and matchers share.
//!
//! Never allocates except in [`Scalar::to_text`]; never guesses a type that the text does not have.

use std::borrow::Cow;
use std::fmt;

/// A scalar value inside a [`crate::View`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'v> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that fits 64 signed bits.
    Int(i64),
    /// A whole number above `i64::MAX`.
    Big(u64),
    /// Any other number; whole numbers beyond 64 bits arrive here, rounded.
    Float(f64),
    /// A string, unescaped.
    Str(&'v str),
}

impl<'v> Scalar<'v> {
    /// The string, where this is one.
    #[must_use]
    pub const fn as_str(self) -> Option<&'v str> {
        if let Self::Str(text) = self { Some(text) } else { None }
    }

    /// Whether this is `null`.
    #[must_use]
    pub const fn is_null(self) -> bool {
        matches!(self, Self::Null)
    }

    /// A whole number: from a number without fraction, or from a decimal or `0x` hexadecimal string.
    #[must_use]
    pub fn to_int(self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(number),
            Self::Float(number) => whole(number),
            Self::Str(text) => {
                let text = text.trim();
                if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
                    return i64::from_str_radix(digits, 16).ok();
                }
                text.parse().ok()
            }
            Self::Null | Self::Bool(_) | Self::Big(_) => None,
        }
    }

    /// A number: from a number, or from a decimal string.
    #[must_use]
    pub fn to_float(self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "a float of a large whole number is rounded by its nature")]
            Self::Int(number) => Some(number as f64),
            #[expect(clippy::cast_precision_loss, reason = "a float of a large whole number is rounded by its nature")]
            Self::Big(number) => Some(number as f64),
            Self::Float(number) => Some(number),
            Self::Str(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            Self::Null | Self::Bool(_) => None,
        }
    }

    /// The text form that rules and filters compare: strings as they are, numbers in decimal, `true`, `false`, `null`.
    #[must_use]
    pub fn to_text(self) -> Cow<'v, str> {
        match self {
            Self::Str(text) => Cow::Borrowed(text),
            Self::Null => Cow::Borrowed("null"),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
            Self::Int(_) | Self::Big(_) | Self::Float(_) => Cow::Owned(self.to_string()),
        }
    }

    /// [`Scalar::to_text`] into a buffer that is cleared first: no allocation once the buffer has grown.
    pub fn text_in<'b>(self, buffer: &'b mut String) -> &'b str
    where
        'v: 'b,
    {
        if let Self::Str(text) = self {
            return text;
        }
        buffer.clear();
        // Writing into a String cannot fail.
        let _ = fmt::Write::write_fmt(buffer, format_args!("{self}"));
        buffer
    }
}

/// The whole number that a float stands for, where it has no fraction and a float holds it exactly.
fn whole(number: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if number.fract() != 0.0 || number.abs() > EXACT_MAX {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked above: no fraction, at most 2^53")]
    Some(number as i64)
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(number) => number.fmt(f),
            Self::Big(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Str(text) => f.write_str(text),
        }
    }
}

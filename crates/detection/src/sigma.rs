//! The Sigma language: documents, their parts, and the parser. Holds no matching code and does no I/O.

mod baseline;
mod condition;
mod correlation;
mod item;
mod modifier;
mod parse;
mod pattern;
mod regexp;
mod reject;

pub use baseline::{Baseline, Season};
pub use condition::{Condition, ConditionError};
pub use correlation::{Bound, Correlation, CorrelationKind, Extended, Operator, Threshold, Timespan};
pub use modifier::{Comparison, Modifier, TimePart};
pub use parse::{Collection, Document, Filter, FilterTarget, LogSource, Rule, Source, parse};
pub use pattern::{Part, Pattern};
pub use regexp::{Regexp, RegexpFlags};
pub use reject::{RejectCode, Rejection};

/// A boolean expression over tests of one event.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// All hold; an empty list holds.
    And(Vec<Expr>),
    /// At least one holds; an empty list does not hold.
    Or(Vec<Expr>),
    /// The inner one does not hold.
    Not(Box<Expr>),
    /// One test.
    Test(Test),
}

/// One test of one field, or of every value of the event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Test {
    /// The field in Sigma's words; `None` is a keyword, that is any value of the event.
    pub field: Option<Box<str>>,
    /// What the value must be.
    pub matcher: Matcher,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Matcher {
    /// The key is present, whatever its value.
    Exists,
    /// The field is absent, or one of its values is null.
    Null,
    /// A text pattern on the text view of the value.
    Text(Pattern),
    /// Equal to a number.
    Number(Number),
    /// A numeric comparison.
    Compare(Comparison, Number),
    /// An address inside a network.
    Cidr(Cidr),
    /// A regular expression found in the text view of the value.
    Regexp(Regexp),
    /// Compared with the values of another field.
    FieldRef {
        /// The other field.
        other: Box<str>,
        /// The value may have text before the other value.
        open_start: bool,
        /// The value may have text after the other value.
        open_end: bool,
        /// Case counts.
        cased: bool,
    },
    /// A part of a time, in UTC.
    Time(TimePart, i64),
    /// Never holds: a placeholder that nothing resolved.
    Unresolved(Box<str>),
}

/// A number of a rule, exact where it is an integer.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    /// Without fraction.
    Int(i64),
    /// With fraction.
    Float(f64),
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            _ => false,
        }
    }
}
impl Eq for Number {}
impl std::hash::Hash for Number {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self {
            Self::Int(number) => number.hash(state),
            Self::Float(number) => number.to_bits().hash(state),
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
        }
    }
}

/// A network of addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The network address, host bits cleared.
    pub network: std::net::IpAddr,
    /// Leading bits that count: 0 to 32, or 0 to 128.
    pub bits: u8,
}

impl Cidr {
    /// Read `10.0.0.0/8`, `fe80::/10`, or one address. Host bits are cleared.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let network: std::net::IpAddr = address.parse().ok()?;
        let width: u8 = if network.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => width,
            Some(bits) => bits.parse::<u8>().ok().filter(|bits| *bits <= width)?,
        };
        let network = match network {
            std::net::IpAddr::V4(v4) => std::net::Ipv4Addr::from_bits(v4.to_bits() & mask_v4(bits)).into(),
            std::net::IpAddr::V6(v6) => std::net::Ipv6Addr::from_bits(v6.to_bits() & mask_v6(bits)).into(),
        };
        Some(Self { network, bits })
    }

    /// The address lies in the network. A v4-mapped v6 address is not a v4 address.
    #[must_use]
    pub fn contains(&self, address: std::net::IpAddr) -> bool {
        match (self.network, address) {
            (std::net::IpAddr::V4(network), std::net::IpAddr::V4(v4)) => {
                v4.to_bits() & mask_v4(self.bits) == network.to_bits()
            }
            (std::net::IpAddr::V6(network), std::net::IpAddr::V6(v6)) => {
                v6.to_bits() & mask_v6(self.bits) == network.to_bits()
            }
            _ => false,
        }
    }
}

fn mask_v4(bits: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(bits.into())).unwrap_or(0)
}

fn mask_v6(bits: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(bits.into())).unwrap_or(0)
}

impl Expr {
    /// `And` without needless nesting.
    #[must_use]
    pub fn all(mut items: Vec<Self>) -> Self {
        match items.pop() {
            Some(only) if items.is_empty() => only,
            Some(last) => {
                items.push(last);
                Self::And(items)
            }
            None => Self::And(items),
        }
    }

    /// `Or` without needless nesting.
    #[must_use]
    pub fn any(mut items: Vec<Self>) -> Self {
        match items.pop() {
            Some(only) if items.is_empty() => only,
            Some(last) => {
                items.push(last);
                Self::Or(items)
            }
            None => Self::Or(items),
        }
    }

    /// Visit every test.
    pub fn each_test<'a>(&'a self, visit: &mut impl FnMut(&'a Test)) {
        match self {
            Self::And(items) | Self::Or(items) => items.iter().for_each(|item| item.each_test(visit)),
            Self::Not(inner) => inner.each_test(visit),
            Self::Test(test) => visit(test),
        }
    }
}

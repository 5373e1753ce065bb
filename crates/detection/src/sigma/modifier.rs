//! The modifiers of Sigma 2.1, by name.

/// Order of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
}

impl Comparison {
    /// The order fits the operator.
    #[must_use]
    pub const fn admits(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterEqual => order.is_ge(),
        }
    }
}

/// A part of a time, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimePart {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// Day of the month, 1 to 31.
    Day,
    /// ISO 8601 week, 1 to 53.
    Week,
    /// 1 to 12.
    Month,
    /// The year.
    Year,
}

/// Flag letters of `re`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegexpFlag {
    /// `i`
    IgnoreCase,
    /// `m`
    MultiLine,
    /// `s`
    DotAll,
}

/// How text becomes bytes before base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Utf16 {
    /// Little endian with a byte order mark.
    Marked,
    /// Little endian.
    Little,
    /// Big endian.
    Big,
}

/// A modifier after `|` in a field name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modifier {
    /// Every value, not any.
    All,
    /// base64 of the value.
    Base64,
    /// base64 of the value at any of the three offsets.
    Base64Offset,
    /// Case counts.
    Cased,
    /// In a network.
    Cidr,
    /// Numeric comparison.
    Compare(Comparison),
    /// Anywhere in the value.
    Contains,
    /// At the end of the value.
    EndsWith,
    /// The key is there, or is not.
    Exists,
    /// Placeholders.
    Expand,
    /// The value names another field.
    FieldRef,
    /// A flag of `re`.
    Flag(RegexpFlag),
    /// Not any of the values.
    NotEqual,
    /// A regular expression.
    Regexp,
    /// At the start of the value.
    StartsWith,
    /// A part of a time.
    Time(TimePart),
    /// UTF-16 bytes.
    Utf16(Utf16),
    /// All dashes that start a parameter are alike.
    WinDash,
}

impl Modifier {
    /// By its name in rules.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "all" => Self::All,
            "base64" => Self::Base64,
            "base64offset" => Self::Base64Offset,
            "cased" => Self::Cased,
            "cidr" => Self::Cidr,
            "contains" => Self::Contains,
            "day" => Self::Time(TimePart::Day),
            "endswith" => Self::EndsWith,
            "exists" => Self::Exists,
            "expand" => Self::Expand,
            "fieldref" => Self::FieldRef,
            "gt" => Self::Compare(Comparison::Greater),
            "gte" => Self::Compare(Comparison::GreaterEqual),
            "hour" => Self::Time(TimePart::Hour),
            "i" | "ignorecase" => Self::Flag(RegexpFlag::IgnoreCase),
            "lt" => Self::Compare(Comparison::Less),
            "lte" => Self::Compare(Comparison::LessEqual),
            "m" | "multiline" => Self::Flag(RegexpFlag::MultiLine),
            "minute" => Self::Time(TimePart::Minute),
            "month" => Self::Time(TimePart::Month),
            "neq" => Self::NotEqual,
            "re" => Self::Regexp,
            "s" | "dotall" => Self::Flag(RegexpFlag::DotAll),
            "startswith" => Self::StartsWith,
            "utf16" => Self::Utf16(Utf16::Marked),
            "utf16be" => Self::Utf16(Utf16::Big),
            "utf16le" | "wide" => Self::Utf16(Utf16::Little),
            "week" => Self::Time(TimePart::Week),
            "windash" => Self::WinDash,
            "year" => Self::Time(TimePart::Year),
            _ => return None,
        })
    }
}

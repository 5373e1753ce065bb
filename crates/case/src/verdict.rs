//! Verdicts: OCSF's `verdict_id` of an Incident Finding.

use crate::status::words;
use serde::{Deserialize, Serialize};

/// What a case, or an entity in it, turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// 0: nobody can say yet.
    Unknown,
    /// 1: the rule was wrong.
    FalsePositive,
    /// 2: an attack, or what the rule looks for.
    TruePositive,
    /// 3: not worth a look.
    Disregard,
    /// 4: it may well be an attack.
    Suspicious,
    /// 5: the rule was right, and it is harmless.
    Benign,
    /// 6: somebody tried something out.
    Test,
    /// 7: what would be needed to say is not there.
    InsufficientData,
    /// 8: no attack, and yet a hole.
    SecurityRisk,
    /// 9: others look after it.
    ManagedExternally,
    /// 10: another case says it.
    Duplicate,
}

words!("verdict", Verdict {
    Unknown = "unknown",
    FalsePositive = "false_positive",
    TruePositive = "true_positive",
    Disregard = "disregard",
    Suspicious = "suspicious",
    Benign = "benign",
    Test = "test",
    InsufficientData = "insufficient_data",
    SecurityRisk = "security_risk",
    ManagedExternally = "managed_externally",
    Duplicate = "duplicate",
});

impl Verdict {
    /// OCSF 1.8 `verdict_id`.
    #[must_use]
    pub const fn ocsf_id(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::FalsePositive => 1,
            Self::TruePositive => 2,
            Self::Disregard => 3,
            Self::Suspicious => 4,
            Self::Benign => 5,
            Self::Test => 6,
            Self::InsufficientData => 7,
            Self::SecurityRisk => 8,
            Self::ManagedExternally => 9,
            Self::Duplicate => 10,
        }
    }

    /// Whether it speaks of something bad.
    #[must_use]
    pub const fn bad(self) -> bool {
        matches!(self, Self::TruePositive | Self::Suspicious | Self::SecurityRisk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_order_of_the_standard() {
        for (number, verdict) in (0_u8..).zip(Verdict::ALL) {
            assert_eq!(verdict.ocsf_id(), number);
            assert_eq!(verdict.as_str().parse(), Ok(*verdict));
        }
    }
}

//! Severity in OCSF's words and numbers (`severity_id`).

/// OCSF 1.8 `severity_id`; the order is that of the standard.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// 0: the source does not say.
    Unknown,
    /// 1: nothing to do.
    Informational,
    /// 2: the user decides if action is needed.
    Low,
    /// 3: action is required, not now.
    Medium,
    /// 4: action is required immediately.
    High,
    /// 5: action is required immediately and the scope is broad.
    Critical,
    /// 6: it is too late.
    Fatal,
}

impl Severity {
    /// OCSF's number, 0 to 6.
    #[must_use]
    pub const fn ocsf_id(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Informational => 1,
            Self::Low => 2,
            Self::Medium => 3,
            Self::High => 4,
            Self::Critical => 5,
            Self::Fatal => 6,
        }
    }
}

//! What a verification found. A report must never call anything valid that was not checked under a key the auditor brought.

use ids::Owner;
use seal::Digest;
use serde::Serialize;

/// How a verification ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Something is wrong.
    Invalid,
    /// All fits together, but no key was given: whoever made the folder may have made it up.
    Unauthenticated,
    /// All holds under the auditor's key.
    Valid,
}

impl Verdict {
    /// The exit code of `posse audit verify`.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Invalid => 1,
            Self::Unauthenticated => 3,
        }
    }
}

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A file is not what the manifest says.
    Changed,
    /// The provider's tree does not commit to a tenant's tree as it is here.
    Commitment,
    /// The evidence of a pack is not what the log gives.
    Evidence,
    /// A file cannot be read as what it should be.
    Malformed,
    /// A file that should be there is not.
    Missing,
    /// A payload is not the input that its record names.
    Payload,
    /// An entry is not a record of this tree.
    Record,
    /// A tree is shorter than, or does not extend, a checkpoint seen before.
    RolledBack,
    /// The entries do not hash to what is signed.
    Root,
    /// A signature is wrong or by a key that is not trusted.
    Signature,
    /// A hash tile is not what the entries give.
    Tile,
    /// A file that should not be there is.
    Unexpected,
    /// A file cannot be read at all.
    Unreadable,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Fault {
    /// In which file; `--since` or `--key` for what the auditor brought.
    pub file: String,
    /// What kind.
    pub what: FaultKind,
    /// Why, in words.
    pub why: String,
}

/// One tree that was checked.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct TreeReport {
    /// Whose: `provider` or a tenant id.
    #[serde(serialize_with = "owner_text")]
    pub owner: Owner,
    /// How many entries its checkpoint covers.
    pub size: u64,
    /// The root that its checkpoint states.
    pub root: Digest,
    /// How many records have their payload here.
    pub payloads: u64,
    /// How many records name an input whose payload is not here and was not erased either: reads expire.
    pub payloads_absent: u64,
    /// How many records name an input that was erased, as a later record of the same tree says.
    pub payloads_erased: u64,
}

fn owner_text<S: serde::Serializer>(owner: &Owner, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(owner)
}

/// The evidence of a pack, where all of it is what the log gives.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct EvidenceReport {
    /// How many records are the population.
    pub population: u64,
    /// What drew the sample.
    pub seed: String,
    /// How many records were drawn.
    pub sampled: u64,
    /// How many of them are consequential.
    pub consequential: u64,
    /// How many of them ran under an approval.
    pub approved: u64,
    /// How many sets of policies decided the population.
    pub policy_versions: u64,
}

/// What a verification found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Report {
    /// How it ended.
    pub verdict: Verdict,
    /// The log's name, as far as the manifest could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// The key that signed, as the manifest states it: what to compare with a key from elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How many files were checked.
    pub files: u64,
    /// The trees that could be read.
    pub trees: Vec<TreeReport>,
    /// What was found of an evidence pack; absent where it is a plain export.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceReport>,
    /// What is wrong, at most 1000; empty unless the verdict is `invalid`.
    pub faults: Vec<Fault>,
    /// How many more things are wrong.
    pub faults_omitted: u64,
}

/// Collects faults, bounded: a folder of garbage must not fill the memory.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) listed: Vec<Fault>,
    pub(crate) omitted: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, file: &str, what: FaultKind, why: impl std::fmt::Display) {
        if self.listed.len() < 1000 {
            self.listed.push(Fault { file: file.chars().take(512).collect(), what, why: why.to_string() });
        } else {
            self.omitted += 1;
        }
    }

    pub(crate) fn none(&self) -> bool {
        self.listed.is_empty()
    }
}

//! What an auditor asks of a log and gets with an export: the population (every record that a filter takes), a sample of it that a
//! stated seed draws, and for each drawn record who approved, which policies decided, and a proof that it is in the tree.
//!
//! All of it follows from the entries, the filter and the seed: the writer and the verifier gather it by the same walk, and
//! nobody chooses what is drawn but who chose the seed. Must never state of a record what the record does not say.

use crate::checkpoint::folder_of;
use crate::proof::{ProofError, inclusion_proof};
use crate::record::{ApprovalUse, Decision, Effect, FormatVersion, Leaf, Outcome, Phase, Record, Target};
use crate::tree::{Frontier, HashSource};
use ids::{ApprovalId, CallId, List, Owner, Principal, Text, Timestamp};
use seal::{Digest, canonical_json, sha256_parts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most records of a sample.
pub const SAMPLE_MAX: u32 = 1000;
/// Where the statement of a pack is, and its sample.
pub(crate) const EVIDENCE: &str = "evidence/evidence.json";
pub(crate) const SAMPLE: &str = "evidence/sample.jsonl";
/// What goes before the seed into a rank, so that no other digest is one.
const RANK_DOMAIN: &[u8] = b"posse-evidence/1\n";

/// Which records are the population. What is not said takes all.
///
/// Members stand in canonical order, here and in every struct below.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceFilter {
    /// Only what touches the outside world, changes who may do what, or needed an approval.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub consequential: bool,
    /// Only of this operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Text<128>>,
    /// Only of this principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    /// Made then or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Made before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl EvidenceFilter {
    /// Whether the record is of the population.
    #[must_use]
    pub fn takes(&self, record: &Record) -> bool {
        (!self.consequential || consequential(record))
            && self.operation.as_ref().is_none_or(|operation| *operation == record.operation)
            && self.principal.as_ref().is_none_or(|principal| *principal == record.principal)
            && self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time < until)
    }
}

/// Whether a call touched the outside world, changed who may do what, or needed an approval.
#[must_use]
pub fn consequential(record: &Record) -> bool {
    matches!(record.effect, Effect::Govern | Effect::Respond)
        || !record.approvals.is_empty()
        || record.decision.rung.is_some()
}

/// What an auditor asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EvidenceAsk {
    /// Which records.
    pub filter: EvidenceFilter,
    /// What draws the sample: any text, best one that the platform's operator could not choose.
    pub seed: Text<128>,
    /// How many records to draw, at most [`SAMPLE_MAX`].
    pub sample: u32,
}

/// `evidence/evidence.json`: what was asked, and how much there was of it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Which records are the population.
    pub filter: EvidenceFilter,
    /// How many of the population each set of policies decided, by its digest.
    pub policy_versions: Vec<PolicyVersion>,
    /// The trees, with how many of their records are of the population.
    pub population: Vec<TreePopulation>,
    /// How many records were to be drawn; fewer are where the population is smaller.
    pub sample: u32,
    /// What drew the sample.
    pub seed: Text<128>,
    /// Format version.
    pub v: FormatVersion,
}

/// How many records one set of policies decided.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyVersion {
    /// Its digest; absent for what came to no decision, or was the platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<Digest>,
    /// How many.
    pub records: u64,
}

/// The population within one tree.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreePopulation {
    /// `provider` or a tenant id.
    pub log: Text<128>,
    /// How many records of it are of the population.
    pub records: u64,
    /// The root that the proofs lead to: the checkpoint's.
    pub root: Digest,
    /// The size that the proofs are for: the checkpoint's.
    pub size: u64,
}

/// One line of `population/<N>.jsonl` in a tree's folder: a record of the population.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PopulationLine {
    /// The call.
    pub call: CallId,
    /// The entry's place in the tree.
    pub index: u64,
    /// The entry's hash in the tree.
    pub leaf_hash: Digest,
}

/// Who approved a drawn call.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approver {
    /// The approval.
    pub approval: ApprovalId,
    /// Who.
    pub approver: Principal,
    /// The entry of the same tree that records this person's answer, the last one where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<u64>,
}

/// One line of `evidence/sample.jsonl`: a drawn record, what it says, and the proof that it is in its tree. In the order of ranks.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampled {
    /// Who approved; empty where nobody had to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<Approver>,
    /// The call.
    pub call: CallId,
    /// See [`consequential`].
    pub consequential: bool,
    /// What policy said, and which policies at which version.
    pub decision: Decision,
    /// What the operation does to the world.
    pub effect: Effect,
    /// The entry's place in the tree.
    pub index: u64,
    /// The entry's hash in the tree.
    pub leaf_hash: Digest,
    /// `provider` or a tenant id.
    pub log: Text<128>,
    /// For whom.
    #[serde(default, skip_serializing_if = "nobody")]
    pub on_behalf_of: List<Principal, 16>,
    /// What was called.
    pub operation: Text<128>,
    /// What came of it.
    pub outcome: Outcome,
    /// Which record of the call it is.
    pub phase: Phase,
    /// Who called.
    pub principal: Principal,
    /// The inclusion proof (RFC 6962) under the tree's checkpoint, lowest hash first.
    pub proof: Vec<Digest>,
    /// What the seed makes of its place; the lowest are drawn.
    pub rank: Digest,
    /// What it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// When.
    pub time: Timestamp,
}

fn nobody(list: &List<Principal, 16>) -> bool {
    list.is_empty()
}

/// The rank of an entry: SHA-256 over the domain, the seed, the tree and the place, each line ended by a newline.
#[must_use]
pub fn rank(seed: &str, owner: Owner, index: u64) -> Digest {
    let place = format!("{seed}\n{owner}\n{index}\n");
    sha256_parts(&[RANK_DOMAIN, place.as_bytes()])
}

/// The hashes of one tree, for the proofs of what is drawn.
#[derive(Debug, Default)]
struct Hashes {
    leaves: Vec<Digest>,
    above: BTreeMap<(u8, u64), Digest>,
}

impl HashSource for Hashes {
    fn hash(&self, level: u8, index: u64) -> Option<Digest> {
        match level {
            0 => self.leaves.get(usize::try_from(index).ok()?).copied(),
            _ => self.above.get(&(level, index)).copied(),
        }
    }
}

/// What is gathered of one tree.
#[derive(Debug, Default)]
struct Gathered {
    frontier: Frontier,
    hashes: Hashes,
    /// The places of the population.
    population: Vec<u64>,
    /// The last answer of each person to each approval.
    answers: BTreeMap<(String, Principal), u64>,
}

/// Walks over the entries of all trees and gathers the evidence.
#[derive(Debug)]
pub(crate) struct Gatherer {
    ask: EvidenceAsk,
    trees: BTreeMap<Owner, Gathered>,
    /// The lowest ranks so far.
    drawn: BTreeMap<(Digest, Owner, u64), Box<Record>>,
    versions: BTreeMap<Option<Digest>, u64>,
}

impl Gatherer {
    pub(crate) fn new(ask: EvidenceAsk) -> Self {
        let ask = EvidenceAsk { sample: ask.sample.min(SAMPLE_MAX), ..ask };
        Self { ask, trees: BTreeMap::new(), drawn: BTreeMap::new(), versions: BTreeMap::new() }
    }

    /// The next entry of a tree (none where it could not be read); its line where it is of the population.
    pub(crate) fn push(&mut self, owner: Owner, leaf_hash: Digest, leaf: Option<&Leaf>) -> Option<PopulationLine> {
        let tree = self.trees.entry(owner).or_default();
        let appended = tree.frontier.append_hash(leaf_hash);
        tree.hashes.leaves.push(leaf_hash);
        tree.hashes.above.extend(appended.finished.iter().map(|one| ((one.level, one.index), one.hash)));
        let Some(Leaf::Call(record)) = leaf else { return None };
        let index = appended.index;
        if let Some(approval) = answered(record) {
            tree.answers.insert((approval, record.principal.clone()), index);
        }
        if !self.ask.filter.takes(record) {
            return None;
        }
        tree.population.push(index);
        *self.versions.entry(record.decision.policy_version).or_default() += 1;
        self.drawn.insert((rank(self.ask.seed.as_str(), owner, index), owner, index), record.clone());
        while self.drawn.len() > usize::try_from(self.ask.sample).unwrap_or(usize::MAX) {
            self.drawn.pop_last();
        }
        Some(PopulationLine { call: record.call, index, leaf_hash })
    }

    /// A tree without entries yet.
    pub(crate) fn tree(&mut self, owner: Owner) {
        self.trees.entry(owner).or_default();
    }

    /// Whether this entry is of the population.
    pub(crate) fn holds(&self, log: &str, index: u64) -> bool {
        let tree = self.trees.iter().find(|(owner, _)| owner.to_string() == log);
        tree.is_some_and(|(_, tree)| tree.population.binary_search(&index).is_ok())
    }

    /// The head of a tree by its name, as its entries give it.
    pub(crate) fn head(&self, log: &str) -> Option<(u64, Digest)> {
        let tree = self.trees.iter().find(|(owner, _)| owner.to_string() == log);
        tree.map(|(_, tree)| (tree.frontier.size(), tree.frontier.root()))
    }

    /// The statement of the pack.
    pub(crate) fn evidence(&self) -> Evidence {
        let population = self.trees.iter().map(|(owner, tree)| TreePopulation {
            log: log_text(*owner),
            records: u64::try_from(tree.population.len()).unwrap_or(u64::MAX),
            root: tree.frontier.root(),
            size: tree.frontier.size(),
        });
        let versions = self
            .versions
            .iter()
            .map(|(policy_version, records)| PolicyVersion { policy_version: *policy_version, records: *records });
        Evidence {
            filter: self.ask.filter.clone(),
            policy_versions: versions.collect(),
            population: population.collect(),
            sample: self.ask.sample,
            seed: self.ask.seed.clone(),
            v: FormatVersion,
        }
    }

    /// What was drawn, lowest rank first.
    ///
    /// # Errors
    /// [`ProofError`] where a hash is missing: a fault of this module.
    pub(crate) fn sample(&self) -> Result<Vec<Sampled>, ProofError> {
        self.drawn.iter().map(|((rank, owner, index), record)| self.sampled(*rank, *owner, *index, record)).collect()
    }

    fn sampled(&self, rank: Digest, owner: Owner, index: u64, record: &Record) -> Result<Sampled, ProofError> {
        let missing = ProofError::Range { asked: index, size: 0 };
        let tree = self.trees.get(&owner).ok_or(missing)?;
        Ok(Sampled {
            approvers: record.approvals.iter().flat_map(|one| approvers(one, tree)).collect(),
            call: record.call,
            consequential: consequential(record),
            decision: record.decision.clone(),
            effect: record.effect,
            index,
            leaf_hash: tree.hashes.hash(0, index).ok_or(missing)?,
            log: log_text(owner),
            on_behalf_of: record.on_behalf_of.clone(),
            operation: record.operation.clone(),
            outcome: record.outcome.clone(),
            phase: record.phase,
            principal: record.principal.clone(),
            proof: inclusion_proof(&tree.hashes, index, tree.frontier.size())?,
            rank,
            target: record.target.clone(),
            time: record.time,
        })
    }
}

fn log_text(owner: Owner) -> Text<128> {
    Text::truncated(&owner.to_string())
}

fn approvers(approval: &ApprovalUse, tree: &Gathered) -> Vec<Approver> {
    let id = approval.approval;
    let one = |approver: &Principal| Approver {
        approval: id,
        approver: approver.clone(),
        recorded_at: tree.answers.get(&(id.to_string(), approver.clone())).copied(),
    };
    approval.approvers.iter().map(one).collect()
}

/// The approval that this record says yes to.
fn answered(record: &Record) -> Option<String> {
    let says_yes = matches!(record.operation.as_str(), "approval.approve" | "approval.narrow");
    let target = record.target.as_ref().filter(|target| target.kind.as_str() == "Approval")?;
    (says_yes && record.outcome.status == 200).then(|| target.id.as_str().to_owned())
}

/// The canonical bytes of one of the documents here; none where it has no such form.
pub(crate) fn encode(document: &impl Serialize) -> Option<Vec<u8>> {
    canonical_json(&serde_json::to_value(document).ok()?).ok()
}

/// The document on these bytes, where they are exactly as one is written.
pub(crate) fn decode<T: Serialize + serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let document: T = serde_json::from_slice(bytes).ok()?;
    (encode(&document)? == bytes).then_some(document)
}

/// The documents as lines, each with its newline.
pub(crate) fn lines(documents: &[impl Serialize]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for document in documents {
        bytes.extend(encode(document)?);
        bytes.push(b'\n');
    }
    Some(bytes)
}

/// Where the population of one bundle's entries is.
pub(crate) fn population_path(owner: Owner, bundle: u64) -> String {
    format!("{}/population/{}.jsonl", folder_of(owner), crate::tile::number_path(bundle))
}

//! The evidence of a pack, held against the log that it comes with. Everything is gathered anew from the entries under the stated
//! filter and seed; each drawn line's proof is checked besides, by itself. Must never take a statement from the evidence but what was asked.

use super::contents::Contents;
use crate::evidence::{
    EVIDENCE, Evidence, EvidenceAsk, Gatherer, PopulationLine, SAMPLE, SAMPLE_MAX, Sampled, decode, lines,
    population_path,
};
use crate::proof::verify_inclusion;
use crate::record::Leaf;
use crate::report::{EvidenceReport, FaultKind, Faults};
use ids::Owner;
use seal::Digest;
use std::collections::BTreeMap;

/// The check of a pack's evidence.
pub(super) struct EvidenceCheck {
    stated: Evidence,
    gatherer: Gatherer,
    /// The population within the bundle that is being read.
    lines: Vec<PopulationLine>,
}

impl EvidenceCheck {
    /// Read what was asked; none where this is a plain export, or what was asked cannot be read.
    pub(super) fn begin(contents: &mut Contents<'_>, faults: &mut Faults) -> Option<Self> {
        if !contents.has(EVIDENCE) {
            return None;
        }
        let bytes = contents.read(EVIDENCE, faults)?;
        let Some(stated) = decode::<Evidence>(&bytes).filter(|stated| stated.sample <= SAMPLE_MAX) else {
            faults.add(EVIDENCE, FaultKind::Malformed, "is not a statement of evidence in canonical form");
            return None;
        };
        let (filter, seed, sample) = (stated.filter.clone(), stated.seed.clone(), stated.sample);
        let gatherer = Gatherer::new(EvidenceAsk { filter, seed, sample });
        Some(Self { stated, gatherer, lines: Vec::new() })
    }

    /// The next entry of a tree.
    pub(super) fn see(&mut self, owner: Owner, leaf_hash: Digest, leaf: Option<&Leaf>) {
        self.lines.extend(self.gatherer.push(owner, leaf_hash, leaf));
    }

    /// The end of a bundle: its population must be listed as it is.
    pub(super) fn bundle(&mut self, owner: Owner, number: u64, contents: &mut Contents<'_>, faults: &mut Faults) {
        let expected = std::mem::take(&mut self.lines);
        let path = population_path(owner, number);
        if expected.is_empty() && !contents.has(&path) {
            return;
        }
        let Some(bytes) = contents.read(&path, faults) else { return };
        if lines(&expected).as_ref() != Some(&bytes) {
            let count = expected.len();
            let why = format!("does not list the {count} records of the bundle that the filter takes, and no others");
            faults.add(&path, FaultKind::Evidence, why);
        }
    }

    /// The end: statement and sample must be what the log gives.
    pub(super) fn finish(mut self, contents: &mut Contents<'_>, faults: &mut Faults) -> Option<EvidenceReport> {
        for owner in contents.manifest.owners() {
            self.gatherer.tree(owner);
        }
        let found = self.gatherer.evidence();
        for (what, same) in [
            ("population", found.population == self.stated.population),
            ("policy_versions", found.policy_versions == self.stated.policy_versions),
        ] {
            if !same {
                faults.add(EVIDENCE, FaultKind::Evidence, format_args!("`{what}` is not what the log gives"));
            }
        }
        let bytes = contents.read(SAMPLE, faults)?;
        let expected = match self.gatherer.sample() {
            Ok(expected) => expected,
            Err(error) => {
                faults.add(SAMPLE, FaultKind::Evidence, error);
                return None;
            }
        };
        self.sample(&bytes, &expected, faults);
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Some(EvidenceReport {
            population: found.population.iter().map(|tree| tree.records).sum(),
            seed: found.seed.to_string(),
            sampled: count(expected.len()),
            consequential: count(expected.iter().filter(|one| one.consequential).count()),
            approved: count(expected.iter().filter(|one| !one.approvers.is_empty()).count()),
            policy_versions: count(found.policy_versions.iter().filter(|one| one.policy_version.is_some()).count()),
        })
    }

    fn sample(&self, bytes: &[u8], expected: &[Sampled], faults: &mut Faults) {
        let mut add = |line: usize, why: &str| {
            faults.add(SAMPLE, FaultKind::Evidence, format_args!("line {line}: {why}"));
        };
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let found: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        let mut wanted: BTreeMap<(String, u64), &Sampled> =
            expected.iter().map(|one| ((one.log.to_string(), one.index), one)).collect();
        for (line, bytes) in (1..).zip(&found) {
            let Some(stated) = decode::<Sampled>(bytes) else {
                add(line, "is not a drawn record in canonical form");
                continue;
            };
            if !self.gatherer.holds(stated.log.as_str(), stated.index) {
                add(line, "is not of the population");
            } else if let Some(drawn) = wanted.remove(&(stated.log.to_string(), stated.index)) {
                let stated = Sampled { proof: drawn.proof.clone(), ..stated.clone() };
                if stated != *drawn {
                    add(line, "does not say what the record says");
                }
            } else {
                add(line, "is not what the seed draws, or stands there twice");
            }
            let proved = self.gatherer.head(stated.log.as_str()).is_some_and(|(size, root)| {
                verify_inclusion(stated.leaf_hash, stated.index, size, &stated.proof, root).is_ok()
            });
            if !proved {
                add(line, "its proof does not lead to the root of the checkpoint");
            }
        }
        for (log, index) in wanted.into_keys() {
            add(found.len(), &format!("entry {index} of {log} is drawn by the seed and not here"));
        }
        if lines(expected).as_deref() != Some(bytes) {
            add(found.len(), "the sample is not, byte for byte, what the log gives");
        }
    }
}

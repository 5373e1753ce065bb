//! The stand-alone verifier of an export folder. It trusts nothing in the folder: with a key, only what that key signed; without
//! one it can only say that all fits together. It must notice every change of every byte, and goes on after a fault to name all.

mod contents;
mod evidence;
mod tree;

use crate::checkpoint::{Checkpoint, LogName, folder_of};
use crate::folder::Folder;
use crate::manifest::{MANIFEST, MANIFEST_NOTE, Manifest, check_manifest_note};
use crate::note::{Note, NoteVerifier};
use crate::report::{FaultKind, Faults, Report, TreeReport, Verdict};
use crate::rotation::chain;
use contents::Contents;
use evidence::EvidenceCheck;
use ids::{Owner, TenantId};
use seal::Digest;
use std::collections::{BTreeMap, BTreeSet};
use tree::TreeCheck;

/// What the auditor brings.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// The keys that the auditor trusts, from elsewhere: more than one after a key rotation. None: not authenticated.
    pub keys: Vec<NoteVerifier>,
    /// Checkpoints (whole notes) that were seen before: each of their trees must be here and extend them.
    pub since: Vec<String>,
    /// Checkpoints that anchors kept, of any tree: those of trees that are not meant to be here are passed over.
    pub anchors: Vec<String>,
}

impl VerifyOptions {
    /// Under these keys, without anything older.
    #[must_use]
    pub const fn under(keys: Vec<NoteVerifier>) -> Self {
        Self { keys, since: Vec::new(), anchors: Vec::new() }
    }
}

/// A head that a tree must have had: from the provider's tree, or from the auditor.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) size: u64,
    pub(crate) root: Digest,
    pub(crate) from: ExpectedFrom,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ExpectedFrom {
    /// The provider's entry at this index.
    Provider(u64),
    /// The auditor's older checkpoint.
    Since,
}

/// Check everything in the folder.
#[must_use]
pub fn verify(folder: &dyn Folder, options: &VerifyOptions) -> Report {
    let mut faults = Faults::default();
    let mut report = Report {
        verdict: Verdict::Invalid,
        log: None,
        key: None,
        files: 0,
        trees: Vec::new(),
        evidence: None,
        faults: Vec::new(),
        faults_omitted: 0,
    };
    if let Some(mut check) = Check::begin(folder, options, &mut faults) {
        report.log = Some(check.log.as_str().to_owned());
        report.key = Some(check.contents.manifest.key.clone());
        let mut evidence = EvidenceCheck::begin(&mut check.contents, &mut faults);
        report.trees = check.trees(options, &mut evidence, &mut faults);
        report.evidence = evidence.and_then(|evidence| evidence.finish(&mut check.contents, &mut faults));
        report.files = check.contents.finish(&mut faults);
    }
    report.verdict = match (faults.none(), options.keys.is_empty()) {
        (false, _) => Verdict::Invalid,
        (true, true) => Verdict::Unauthenticated,
        (true, false) => Verdict::Valid,
    };
    (report.faults, report.faults_omitted) = (faults.listed, faults.omitted);
    report
}

/// A verification whose manifest could be read.
struct Check<'a> {
    contents: Contents<'a>,
    log: LogName,
    /// Keys whose checkpoints count.
    trusted: Vec<NoteVerifier>,
}

impl<'a> Check<'a> {
    fn begin(folder: &'a dyn Folder, options: &VerifyOptions, faults: &mut Faults) -> Option<Self> {
        let listed = match folder.list() {
            Ok(listed) => listed,
            Err(error) => {
                faults.add(".", FaultKind::Unreadable, error);
                return None;
            }
        };
        let mut top = |path: &str| read_top(folder, &listed, path, faults);
        let (bytes, note) = (top(MANIFEST)?, top(MANIFEST_NOTE));
        let Some(manifest) = Manifest::decode(&bytes) else {
            faults.add(MANIFEST, FaultKind::Malformed, "is not a manifest of format 1 in canonical form");
            return None;
        };
        let (Ok(log), Ok(key)) = (LogName::new(&manifest.log), NoteVerifier::parse(&manifest.key)) else {
            faults.add(MANIFEST, FaultKind::Malformed, "names no log or no key");
            return None;
        };
        if key.name() != log.as_str() {
            faults.add(MANIFEST, FaultKind::Signature, "the key has another name than the log");
        }
        let keys = chain(&manifest.rotations, &key, &log).unwrap_or_else(|error| {
            faults.add(MANIFEST, FaultKind::Signature, format_args!("the changes of key do not hold: {error}"));
            vec![key.clone()]
        });
        // Each rotation is signed by both of its keys, so whoever trusts one of them can trust them all.
        let followed = options.keys.iter().any(|brought| keys.contains(brought));
        if !options.keys.is_empty() && !followed {
            faults.add("--key", FaultKind::Signature, format_args!("the folder is signed by another key, `{key}`"));
        }
        if let Some(note) = note {
            let checked = std::str::from_utf8(&note)
                .map_err(|_| crate::NoteError::Format)
                .and_then(|note| check_manifest_note(&log, &bytes, note, &key));
            if let Err(error) = checked {
                faults.add(MANIFEST_NOTE, FaultKind::Signature, error);
            }
        }
        let mut trusted = options.keys.clone();
        if options.keys.is_empty() || followed {
            trusted.extend(keys);
        }
        Some(Self { contents: Contents::new(folder, listed, manifest, faults), log, trusted })
    }

    fn trees(
        &mut self,
        options: &VerifyOptions,
        evidence: &mut Option<EvidenceCheck>,
        faults: &mut Faults,
    ) -> Vec<TreeReport> {
        let owners: Vec<Owner> = self.contents.manifest.owners().collect();
        let mut expected = BTreeMap::new();
        self.older("--since", &options.since, &owners, &mut expected, faults);
        self.older("--anchor", &options.anchors, &owners, &mut expected, faults);
        let mut reports = Vec::new();
        // The provider's tree comes first: it says what the tenants' trees must have been.
        for owner in &owners {
            let folder = folder_of(*owner);
            let check = TreeCheck::new(&self.log, *owner, &self.trusted, expected.remove(owner).unwrap_or_default());
            let Some((report, commitments, rotations)) = check.run(&mut self.contents, evidence, faults) else {
                // What was not seen cannot be held against the evidence.
                *evidence = None;
                continue;
            };
            reports.push(report);
            if *owner == Owner::Provider && rotations != self.contents.manifest.rotations {
                faults.add(&folder, FaultKind::Record, "its changes of key are not those of the manifest");
            }
            for (tenant, head) in commitments {
                expected.entry(Owner::Tenant(tenant)).or_default().push(head);
            }
        }
        if self.contents.manifest.provider {
            // What is left over are commitments to trees that are not here.
            for owner in expected.keys().filter(|owner| owner.tenant().is_some()) {
                faults.add(
                    &folder_of(*owner),
                    FaultKind::Missing,
                    "the provider's tree commits to a tree that is not here",
                );
            }
        }
        reports
    }

    /// What the auditor brought of older checkpoints, by tree.
    fn older(
        &self,
        flag: &'static str,
        notes: &[String],
        owners: &[Owner],
        expected: &mut BTreeMap<Owner, Vec<Expected>>,
        faults: &mut Faults,
    ) {
        let by_origin: BTreeMap<String, Owner> = owners.iter().map(|owner| (self.log.origin(*owner), *owner)).collect();
        // An anchor keeps the checkpoints of all trees; an export of one tenant is not meant to hold the others.
        let all = flag == "--since" || self.contents.manifest.provider;
        let mut held = 0_usize;
        for note in notes {
            let head = match Checkpoint::open(note, &self.trusted) {
                Ok(head) => head,
                Err(error) => {
                    faults.add(flag, FaultKind::Signature, error);
                    continue;
                }
            };
            match by_origin.get(&head.origin) {
                Some(owner) => {
                    held += 1;
                    let from = ExpectedFrom::Since;
                    expected.entry(*owner).or_default().push(Expected { size: head.size, root: head.root, from });
                }
                None if all => faults.add(
                    flag,
                    FaultKind::RolledBack,
                    format_args!("the tree `{}` is not in this folder", head.origin),
                ),
                None => {}
            }
        }
        if held == 0 && !notes.is_empty() && !all {
            faults.add(flag, FaultKind::RolledBack, "none of its checkpoints is of a tree in this folder");
        }
    }
}

/// One of the two files that the manifest does not list.
fn read_top(folder: &dyn Folder, listed: &[String], path: &str, faults: &mut Faults) -> Option<Vec<u8>> {
    if !listed.iter().any(|name| name == path) {
        faults.add(path, FaultKind::Missing, "is not in the folder");
        return None;
    }
    folder.read(path).map_err(|error| faults.add(path, FaultKind::Unreadable, error)).ok()
}

/// The commitments in the provider's tree, in their order.
pub(crate) type Commitments = Vec<(TenantId, Expected)>;

/// The checkpoint of a tree, and whether a trusted key signed it.
pub(crate) fn read_checkpoint(
    path: &str,
    bytes: &[u8],
    trusted: &[NoteVerifier],
    faults: &mut Faults,
) -> Option<Checkpoint> {
    let note = std::str::from_utf8(bytes).ok().and_then(|text| Note::parse(text).ok());
    let Some(note) = note else {
        faults.add(path, FaultKind::Malformed, crate::NoteError::Format);
        return None;
    };
    if let Err(error) = note.open(trusted) {
        faults.add(path, FaultKind::Signature, error);
    }
    // Also unsigned it says how much to read, so that the other faults are found as well.
    let head = Checkpoint::from_text(note.unchecked_text());
    head.map_err(|error| faults.add(path, FaultKind::Malformed, error)).ok()
}

/// Sizes at which a tree's root is known beforehand.
pub(crate) fn sizes(expected: &[Expected]) -> BTreeSet<u64> {
    expected.iter().map(|head| head.size).collect()
}

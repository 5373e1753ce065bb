//! The stand-alone verifier of an export folder. It trusts nothing in the folder: with a key, only what that key signed; without
//! one it can only say that all fits together. It must notice every change of every byte, and goes on after a fault to name all.

mod contents;
mod tree;

use crate::checkpoint::{Checkpoint, LogName, folder_of};
use crate::folder::Folder;
use crate::manifest::{MANIFEST, MANIFEST_NOTE, Manifest, check_manifest_note};
use crate::note::{Note, NoteVerifier};
use crate::report::{FaultKind, Faults, Report, TreeReport, Verdict};
use crate::rotation::chain;
use contents::Contents;
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
        faults: Vec::new(),
        faults_omitted: 0,
    };
    if let Some(mut check) = Check::begin(folder, options, &mut faults) {
        report.log = Some(check.log.as_str().to_owned());
        report.key = Some(check.contents.manifest.key.clone());
        report.trees = check.trees(&options.since, &mut faults);
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

    fn trees(&mut self, since: &[String], faults: &mut Faults) -> Vec<TreeReport> {
        let owners: Vec<Owner> = self.contents.manifest.owners().collect();
        let mut expected = self.since(since, &owners, faults);
        let mut reports = Vec::new();
        // The provider's tree comes first: it says what the tenants' trees must have been.
        for owner in &owners {
            let folder = folder_of(*owner);
            let check = TreeCheck::new(&self.log, *owner, &self.trusted, expected.remove(owner).unwrap_or_default());
            let Some((report, commitments, rotations)) = check.run(&mut self.contents, faults) else { continue };
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

    /// The auditor's older checkpoints, by tree.
    fn since(&self, notes: &[String], owners: &[Owner], faults: &mut Faults) -> BTreeMap<Owner, Vec<Expected>> {
        let by_origin: BTreeMap<String, Owner> = owners.iter().map(|owner| (self.log.origin(*owner), *owner)).collect();
        let mut expected: BTreeMap<Owner, Vec<Expected>> = BTreeMap::new();
        for note in notes {
            let head = match Checkpoint::open(note, &self.trusted) {
                Ok(head) => head,
                Err(error) => {
                    faults.add("--since", FaultKind::Signature, error);
                    continue;
                }
            };
            match by_origin.get(&head.origin) {
                Some(owner) => expected.entry(*owner).or_default().push(Expected {
                    size: head.size,
                    root: head.root,
                    from: ExpectedFrom::Since,
                }),
                None => faults.add(
                    "--since",
                    FaultKind::RolledBack,
                    format_args!("the tree `{}` is not in this folder", head.origin),
                ),
            }
        }
        expected
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

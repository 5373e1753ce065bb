//! One tree of an export: every entry read as a record, every hash recomputed, every tile compared, every head it must have had
//! found on the way.

use super::contents::Contents;
use super::evidence::EvidenceCheck;
use super::{Commitments, Expected, ExpectedFrom, read_checkpoint, sizes};
use crate::checkpoint::{Checkpoint, LogName, folder_of};
use crate::export::payload_path;
use crate::note::NoteVerifier;
use crate::payload::{Payload, PayloadError};
use crate::record::{Leaf, Record};
use crate::report::{FaultKind, Faults, TreeReport};
use crate::tile::{TileBuilder, TileId, TileKind, read_bundle};
use crate::tree::{Frontier, TILE_WIDTH, leaf_hash};
use ids::{CallId, Owner};
use seal::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// The check of one tree.
pub(super) struct TreeCheck<'a> {
    owner: Owner,
    folder: String,
    origin: String,
    trusted: &'a [NoteVerifier],
    expected: Vec<Expected>,
    wanted: BTreeSet<u64>,
    /// Roots at the sizes in `wanted`.
    roots: BTreeMap<u64, Digest>,
    frontier: Frontier,
    tiles: TileBuilder,
    commitments: Commitments,
    /// The notes of the changes of key, in their order.
    rotations: Vec<String>,
    payloads: PayloadCount,
}

/// What became of the inputs that the records of a tree name.
#[derive(Default)]
struct PayloadCount {
    /// Calls whose payload is here.
    here: Vec<CallId>,
    /// Calls whose payload is not.
    absent: Vec<CallId>,
    /// Calls whose payload was erased, with the entry that says so.
    erased: BTreeMap<CallId, u64>,
}

impl<'a> TreeCheck<'a> {
    pub(super) fn new(log: &LogName, owner: Owner, trusted: &'a [NoteVerifier], expected: Vec<Expected>) -> Self {
        Self {
            owner,
            folder: folder_of(owner),
            origin: log.origin(owner),
            trusted,
            wanted: sizes(&expected),
            expected,
            roots: BTreeMap::new(),
            frontier: Frontier::new(),
            tiles: TileBuilder::default(),
            commitments: Vec::new(),
            rotations: Vec::new(),
            payloads: PayloadCount::default(),
        }
    }

    /// Check all of it. None where it cannot be followed to its end; the faults say why.
    pub(super) fn run(
        mut self,
        contents: &mut Contents<'_>,
        evidence: &mut Option<EvidenceCheck>,
        faults: &mut Faults,
    ) -> Option<(TreeReport, Commitments, Vec<String>)> {
        let Some(head) = self.head(contents, faults) else {
            contents.abandon(&self.folder);
            return None;
        };
        self.remember_root();
        let mut number = 0;
        while self.frontier.size() < head.size {
            let width = (head.size - self.frontier.size()).min(TILE_WIDTH);
            if self.bundle(number, width, contents, evidence, faults).is_none() {
                // Without these entries nothing after them has a place. A false size would otherwise be read for ever.
                contents.abandon(&self.folder);
                return None;
            }
            number += 1;
        }
        for (tile, bytes) in std::mem::take(&mut self.tiles).finish() {
            self.compare(tile, &bytes, contents, faults);
        }
        self.heads(&head, contents.manifest.provider, faults);
        let report = self.report(&head, faults);
        Some((report, self.commitments, self.rotations))
    }

    fn head(&self, contents: &mut Contents<'_>, faults: &mut Faults) -> Option<Checkpoint> {
        let path = format!("{}/checkpoint", self.folder);
        let bytes = contents.read(&path, faults)?;
        let head = read_checkpoint(&path, &bytes, self.trusted, faults)?;
        if head.origin != self.origin {
            let why = format!("is the checkpoint of `{}`, not of `{}`", head.origin, self.origin);
            faults.add(&path, FaultKind::Signature, why);
        }
        Some(head)
    }

    fn remember_root(&mut self) {
        if self.wanted.contains(&self.frontier.size()) {
            self.roots.insert(self.frontier.size(), self.frontier.root());
        }
    }

    /// The tree in numbers. A payload that was erased and is here was not erased.
    fn report(&self, head: &Checkpoint, faults: &mut Faults) -> TreeReport {
        let PayloadCount { here, absent, erased } = &self.payloads;
        for call in here {
            if let Some(index) = erased.get(call) {
                let why = format!("the payload of {call} is here, and entry {index} says that it was erased");
                faults.add(&self.folder, FaultKind::Payload, why);
            }
        }
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let gone = absent.iter().filter(|call| erased.contains_key(call)).count();
        TreeReport {
            owner: self.owner,
            size: head.size,
            root: head.root,
            payloads: count(here.len()),
            payloads_absent: count(absent.len().saturating_sub(gone)),
            payloads_erased: count(gone),
        }
    }

    /// One bundle of `width` entries, with its payloads and the tiles that it fills.
    fn bundle(
        &mut self,
        number: u64,
        width: u64,
        contents: &mut Contents<'_>,
        evidence: &mut Option<EvidenceCheck>,
        faults: &mut Faults,
    ) -> Option<()> {
        let kind = TileKind::Entries;
        let id = TileId { kind, number, width: u16::try_from(width).unwrap_or(256) };
        let path = format!("{}/{}", self.folder, id.path());
        let bytes = contents.read(&path, faults)?;
        let entries = read_bundle(&bytes).filter(|entries| u64::try_from(entries.len()) == Ok(width));
        let Some(entries) = entries else {
            faults.add(&path, FaultKind::Malformed, format_args!("does not hold exactly {width} entries"));
            return None;
        };
        let mut records = Vec::new();
        for entry in entries {
            let index = self.frontier.size();
            let leaf = Leaf::decode(entry);
            let hash = leaf_hash(entry);
            if let Some(evidence) = evidence {
                evidence.see(self.owner, hash, leaf.as_ref().ok().filter(|leaf| leaf.owner() == self.owner));
            }
            match leaf {
                Err(error) => faults.add(&path, FaultKind::Record, format_args!("entry {index} {error}")),
                Ok(leaf) if leaf.owner() != self.owner => {
                    faults.add(&path, FaultKind::Record, format_args!("entry {index} belongs to {}", leaf.owner()));
                }
                Ok(Leaf::Call(record)) => {
                    self.payloads.erased.extend(record.erased_payload().map(|call| (call, index)));
                    records.push(*record);
                }
                Ok(Leaf::Rotation(rotation)) => self.rotations.push(rotation.rotation),
                Ok(Leaf::Checkpoint(head)) => {
                    let from = ExpectedFrom::Provider(index);
                    self.commitments.push((head.tenant, Expected { size: head.size, root: head.root, from }));
                }
            }
            self.frontier.append_hash(hash);
            self.remember_root();
            for (tile, bytes) in self.tiles.push(hash) {
                self.compare(tile, &bytes, contents, faults);
            }
        }
        self.payloads(number, &records, contents, faults);
        if let Some(evidence) = evidence {
            evidence.bundle(self.owner, number, contents, faults);
        }
        Some(())
    }

    fn compare(&self, tile: TileId, expected: &[u8], contents: &mut Contents<'_>, faults: &mut Faults) {
        let path = format!("{}/{}", self.folder, tile.path());
        if let Some(bytes) = contents.read(&path, faults)
            && bytes != expected
        {
            faults.add(&path, FaultKind::Tile, "does not hold the hashes that the entries give");
        }
    }

    fn payloads(&mut self, bundle: u64, records: &[Record], contents: &mut Contents<'_>, faults: &mut Faults) {
        // Intent and outcome of a call may name the same input, or each its own.
        let mut open: BTreeMap<(CallId, Digest), &Record> = BTreeMap::new();
        for record in records {
            if let Some(digest) = record.input_digest {
                open.entry((record.call, digest)).or_insert(record);
            }
        }
        let path = payload_path(&self.folder, bundle);
        if contents.has(&path)
            && let Some(bytes) = contents.read(&path, faults)
        {
            let lines = bytes.strip_suffix(b"\n");
            if lines.is_none() {
                faults.add(&path, FaultKind::Malformed, "does not end in a newline");
            }
            for (place, line) in lines.unwrap_or(&bytes).split(|byte| *byte == b'\n').enumerate() {
                let checked = Payload::decode(line).and_then(|payload| {
                    let named = open.remove(&(payload.call, payload.digest()?));
                    named.ok_or(PayloadError::Changed)?.check_payload(&payload)?;
                    Ok(payload.call)
                });
                match checked {
                    Ok(call) => self.payloads.here.push(call),
                    Err(error) => faults.add(&path, FaultKind::Payload, format_args!("line {}: {error}", place + 1)),
                }
            }
        }
        self.payloads.absent.extend(open.into_keys().map(|(call, _)| call));
    }

    /// Hold the tree against its own checkpoint and against every head that it must have had.
    fn heads(&self, head: &Checkpoint, with_provider: bool, faults: &mut Faults) {
        let path = format!("{}/checkpoint", self.folder);
        if self.frontier.root() != head.root {
            faults.add(&path, FaultKind::Root, "the entries do not hash to the root that it states");
        }
        let mut committed = 0;
        for expected in &self.expected {
            let root = self.roots.get(&expected.size);
            match expected.from {
                ExpectedFrom::Since => {
                    let size = expected.size;
                    if root.is_none() {
                        let why = format!("the tree has {} entries and had {size} before", head.size);
                        faults.add(&path, FaultKind::RolledBack, why);
                    } else if root != Some(&expected.root) {
                        let why = format!("the first {size} entries are not those seen before");
                        faults.add(&path, FaultKind::RolledBack, why);
                    }
                }
                ExpectedFrom::Provider(index) => {
                    if expected.size < committed || root != Some(&expected.root) {
                        let size = expected.size;
                        let why = format!("entry {index} of the provider's tree commits to {size} other entries");
                        faults.add(&path, FaultKind::Commitment, why);
                    }
                    committed = committed.max(expected.size);
                }
            }
        }
        if with_provider && self.owner != Owner::Provider && committed != head.size {
            let why =
                format!("the provider's tree commits to {committed} entries, the checkpoint states {}", head.size);
            faults.add(&path, FaultKind::Commitment, why);
        }
    }
}

//! The writer of the export folder: takes entries in order, yields files one by one, and at the end a signed manifest over all. It
//! must never yield a tree that its own verifier would refuse: a checkpoint that does not fit the entries is an error here.

use crate::checkpoint::{Checkpoint, CheckpointError, LogName, LogNameError, folder_of};
use crate::evidence::{EVIDENCE, EvidenceAsk, Gatherer, PopulationLine, SAMPLE, encode, lines, population_path};
use crate::manifest::{MANIFEST, MANIFEST_NOTE, Manifest, ManifestFile, sign_manifest};
use crate::note::{NoteError, NoteSigner, NoteVerifier};
use crate::payload::{Payload, PayloadError};
use crate::proof::ProofError;
use crate::record::{ENTRY_BYTES_MAX, FormatVersion, Leaf, RecordError};
use crate::rotation::chain;
use crate::tile::{BundleBuilder, TileBuilder, TileId, number_path};
use crate::tree::{Frontier, leaf_hash};
use ids::{Owner, Timestamp};
use seal::Digest;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Why an export cannot be made. Each is a fault of the store or of the caller, never of a user.
#[derive(Debug, Clone, Eq, PartialEq, Error)]
pub enum ExportError {
    /// The note is not a checkpoint of this log.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The evidence of a pack has no written form.
    #[error("the evidence has no canonical form")]
    Evidence,
    /// The key's name cannot name a log.
    #[error(transparent)]
    Log(#[from] LogNameError),
    /// The checkpoint is about another tree, size or root than the entries give.
    #[error("the checkpoint of `{origin}` states {size} entries; the store gave {found} entries, or others")]
    Mismatch {
        /// The checkpoint's origin.
        origin: String,
        /// The checkpoint's size.
        size: u64,
        /// How many entries were pushed.
        found: u64,
    },
    /// The manifest cannot be signed.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A payload does not belong to its record.
    #[error("the payload of {call} {source}")]
    Payload {
        /// The call, as text.
        call: String,
        /// What is wrong.
        source: PayloadError,
    },
    /// A drawn record cannot be proved.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// An entry is not a record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A tree was exported twice.
    #[error("the tree of {0} is already in the export")]
    Twice(Owner),
}

/// One file of an export.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File {
    /// Where, below the export's folder, with `/` between elements.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Writes one export: a tree at a time, then the manifest.
#[derive(Debug)]
pub struct ExportBuilder<'a> {
    signer: &'a NoteSigner,
    log: LogName,
    created_at: Timestamp,
    /// Keys of this log, oldest first, and the rotations between them.
    keys: Vec<NoteVerifier>,
    rotations: Vec<String>,
    owners: BTreeSet<Owner>,
    files: BTreeMap<String, (u64, Digest)>,
    /// What goes with it for an auditor.
    gatherer: Option<Gatherer>,
}

impl<'a> ExportBuilder<'a> {
    /// An export of the log that is named by its key.
    ///
    /// # Errors
    /// [`ExportError::Log`] where the key's name cannot name a log.
    pub fn new(signer: &'a NoteSigner, created_at: Timestamp) -> Result<Self, ExportError> {
        let log = LogName::new(signer.verifier().name())?;
        let keys = vec![signer.verifier().clone()];
        let rotations = Vec::new();
        let (owners, files) = (BTreeSet::new(), BTreeMap::new());
        Ok(Self { signer, log, created_at, keys, rotations, owners, files, gatherer: None })
    }

    /// With the evidence that this asks for: the export becomes a pack. Before the first tree.
    #[must_use]
    pub fn evidence(mut self, ask: EvidenceAsk) -> Self {
        self.gatherer = Some(Gatherer::new(ask));
        self
    }

    /// The changes of the log's key before this one, oldest first: checkpoints of the earlier keys count too.
    ///
    /// # Errors
    /// [`ExportError::Note`] where they do not lead to this key.
    pub fn rotated(mut self, rotations: Vec<String>) -> Result<Self, ExportError> {
        self.keys = chain(&rotations, self.signer.verifier(), &self.log)?;
        self.rotations = rotations;
        Ok(self)
    }

    /// Begin the tree of one owner. An export with the provider's tree must hold the tree of every tenant it commits to, each
    /// at the size of its last commitment.
    ///
    /// # Errors
    /// [`ExportError::Twice`] where it is in the export already.
    pub fn tree(&mut self, owner: Owner) -> Result<ExportTree<'_, 'a>, ExportError> {
        if !self.owners.insert(owner) {
            return Err(ExportError::Twice(owner));
        }
        if let Some(gatherer) = &mut self.gatherer {
            gatherer.tree(owner);
        }
        Ok(ExportTree {
            folder: folder_of(owner),
            export: self,
            owner,
            frontier: Frontier::new(),
            tiles: TileBuilder::default(),
            bundles: BundleBuilder::default(),
            payload_lines: Vec::new(),
            population: Vec::new(),
        })
    }

    /// The evidence, the manifest and its note: the last files.
    ///
    /// # Errors
    /// [`ExportError::Note`] where they cannot be signed.
    pub fn finish(mut self) -> Result<Vec<File>, ExportError> {
        let mut done = Vec::new();
        if let Some(gatherer) = self.gatherer.take() {
            let evidence = encode(&gatherer.evidence()).ok_or(ExportError::Evidence)?;
            let sample = lines(&gatherer.sample()?).ok_or(ExportError::Evidence)?;
            done.push(self.file(EVIDENCE.to_owned(), evidence));
            done.push(self.file(SAMPLE.to_owned(), sample));
        }
        let files = self.files.into_iter().map(|(path, (bytes, sha256))| ManifestFile { path, bytes, sha256 });
        let manifest = Manifest {
            v: FormatVersion,
            log: self.log.as_str().to_owned(),
            key: self.signer.verifier().to_string(),
            created_at: self.created_at,
            provider: self.owners.contains(&Owner::Provider),
            tenants: self.owners.iter().filter_map(|owner| owner.tenant()).collect(),
            rotations: self.rotations,
            files: files.collect(),
        };
        let bytes = manifest.encode().ok_or(NoteError::Format)?;
        let note = sign_manifest(&self.log, &bytes, self.signer)?;
        done.push(File { path: MANIFEST.to_owned(), bytes });
        done.push(File { path: MANIFEST_NOTE.to_owned(), bytes: note.into_bytes() });
        Ok(done)
    }

    fn file(&mut self, path: String, bytes: Vec<u8>) -> File {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.files.insert(path.clone(), (length, Digest::of(&bytes)));
        File { path, bytes }
    }
}

/// Writes one tree of an export.
#[derive(Debug)]
pub struct ExportTree<'b, 'a> {
    export: &'b mut ExportBuilder<'a>,
    owner: Owner,
    folder: String,
    frontier: Frontier,
    tiles: TileBuilder,
    bundles: BundleBuilder,
    payload_lines: Vec<u8>,
    /// What of the present bundle is of an auditor's population.
    population: Vec<PopulationLine>,
}

impl ExportTree<'_, '_> {
    /// The next entry as it is stored, with its payload where that has not expired. Returns the files that it completed.
    ///
    /// # Errors
    /// [`ExportError`] where an entry is too long, or a payload is not its record's.
    pub fn push(&mut self, entry: &[u8], payload: Option<&Payload>) -> Result<Vec<File>, ExportError> {
        if entry.len() > ENTRY_BYTES_MAX {
            return Err(RecordError::Length(entry.len()).into());
        }
        if let Some(payload) = payload {
            self.add_payload(entry, payload)?;
        }
        let hash = leaf_hash(entry);
        if let Some(gatherer) = &mut self.export.gatherer {
            self.population.extend(gatherer.push(self.owner, hash, Some(&Leaf::decode(entry)?)));
        }
        self.frontier.append_hash(hash);
        let number = self.bundles.number();
        let mut done: Vec<_> = self.tiles.push(hash);
        let mut files = Vec::new();
        if let Some(bundle) = self.bundles.push(entry) {
            done.push(bundle);
            files.extend(self.payload_file(number));
            files.extend(self.population_file(number)?);
        }
        files.extend(self.tile_files(done));
        Ok(files)
    }

    /// The rest of the tree, under its checkpoint.
    ///
    /// # Errors
    /// [`ExportError`] where the checkpoint is not signed by this log's key, or is about other entries.
    pub fn finish(mut self, checkpoint: &str) -> Result<Vec<File>, ExportError> {
        let head = Checkpoint::open(checkpoint, &self.export.keys)?;
        let origin = self.export.log.origin(self.owner);
        if head.origin != origin || head.size != self.frontier.size() || head.root != self.frontier.root() {
            return Err(ExportError::Mismatch { origin: head.origin, size: head.size, found: self.frontier.size() });
        }
        let number = self.bundles.number();
        let mut files: Vec<_> = self.payload_file(number).into_iter().collect();
        files.extend(self.population_file(number)?);
        let mut done = std::mem::take(&mut self.tiles).finish();
        done.extend(std::mem::take(&mut self.bundles).finish());
        files.extend(self.tile_files(done));
        files.push(self.export.file(format!("{}/checkpoint", self.folder), checkpoint.as_bytes().to_vec()));
        Ok(files)
    }

    fn add_payload(&mut self, entry: &[u8], payload: &Payload) -> Result<(), ExportError> {
        let failed = |source| ExportError::Payload { call: payload.call.to_string(), source };
        match Leaf::decode(entry)? {
            Leaf::Call(record) => record.check_payload(payload).map_err(failed)?,
            Leaf::Checkpoint(_) | Leaf::Rotation(_) => return Err(failed(PayloadError::Unnamed)),
        }
        self.payload_lines.extend(payload.encode().map_err(failed)?);
        self.payload_lines.push(b'\n');
        Ok(())
    }

    fn payload_file(&mut self, number: u64) -> Option<File> {
        let lines = std::mem::take(&mut self.payload_lines);
        (!lines.is_empty()).then(|| self.export.file(payload_path(&self.folder, number), lines))
    }

    fn population_file(&mut self, number: u64) -> Result<Option<File>, ExportError> {
        let population = std::mem::take(&mut self.population);
        if population.is_empty() {
            return Ok(None);
        }
        let bytes = lines(&population).ok_or(ExportError::Evidence)?;
        Ok(Some(self.export.file(population_path(self.owner, number), bytes)))
    }

    fn tile_files(&mut self, tiles: Vec<(TileId, Vec<u8>)>) -> Vec<File> {
        let place = |(id, bytes): (TileId, Vec<u8>)| self.export.file(format!("{}/{}", self.folder, id.path()), bytes);
        tiles.into_iter().map(place).collect()
    }
}

/// Where the payloads of one bundle's records are, one line each, in the order of the records.
pub(crate) fn payload_path(folder: &str, bundle: u64) -> String {
    format!("{folder}/payloads/{}.jsonl", number_path(bundle))
}

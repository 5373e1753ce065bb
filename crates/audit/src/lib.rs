//! The record of everything that was done: RFC 6962 Merkle trees in C2SP tlog-tiles layout, checkpoints as signed notes, proofs, the
//! export folder and its stand-alone verifier.
//!
//! Pure: no I/O, no clock, no randomness of its own. Sole owner of the tlog format; `store` persists what [`Frontier`] yields,
//! `control` fills [`Record`]s, the command line reads folders for [`verify`]. Nothing here may ever turn an entry that is in
//! a tree into another one, nor read one that it would not write. `spec/audit/README.md` describes the formats for others.

mod anchor;
mod certificate;
mod checkpoint;
mod evidence;
mod export;
mod folder;
mod manifest;
mod note;
mod payload;
mod proof;
mod record;
mod report;
mod rotation;
mod tile;
mod tree;
mod verify;

pub use anchor::{ANCHORED_MAX, AnchorError, AnchorLine};
pub use certificate::ErasureCertificate;
pub use checkpoint::{Checkpoint, CheckpointError, LogName, LogNameError};
pub use evidence::{
    Approver, Evidence, EvidenceAsk, EvidenceFilter, PolicyVersion, PopulationLine, SAMPLE_MAX, Sampled,
    TreePopulation, consequential, rank,
};
pub use export::{ExportBuilder, ExportError, ExportTree, File};
pub use folder::{Folder, FolderError};
pub use manifest::{Manifest, ManifestFile};
pub use note::{Note, NoteError, NoteSigner, NoteVerifier};
pub use payload::{Payload, PayloadError, Salt};
pub use proof::{
    ProofError, consistency_proof, inclusion_proof, root_at, tiles_needed, verify_consistency, verify_inclusion,
};
pub use record::{
    AgentDigests, Aggregate, ApprovalUse, Decided, Decision, ENTRY_BYTES_MAX, Effect, Face, FormatVersion, Leaf,
    Origin, Outcome, Phase, Record, RecordError, Target, TenantCheckpoint,
};
pub use report::{EvidenceReport, Fault, FaultKind, Report, TreeReport, Verdict};
pub use rotation::KeyRotation;
pub use tile::{BundleBuilder, TileBuilder, TileId, TileKind, read_bundle};
pub use tree::{Appended, Frontier, FrontierError, HashSource, TILE_WIDTH, TileHash, empty_root, leaf_hash, node_hash};
pub use verify::{VerifyOptions, verify};

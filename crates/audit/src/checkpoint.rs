//! C2SP tlog-checkpoints: origin, size and root of one tree, as a note signed by the log's key. A log must never sign two that
//! do not extend each other; that is its sequencer's duty, and [`crate::verify`] with an older checkpoint finds out.

use crate::note::{Note, NoteError, NoteSigner, NoteVerifier, name_valid};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::Owner;
use seal::{Digest, INTEGER_MAX};
use thiserror::Error;

/// The name of an installation's log, also the name of its key, for example `posse.example.com/audit`.
// INVARIANT: 1 to 128 characters, no white space, control characters or `+`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogName(String);

/// Why a text cannot name a log.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Error)]
#[error(
    "a log name is 1 to 128 characters without spaces, control characters and `+`, for example `posse.example.com/audit`"
)]
pub struct LogNameError;

impl LogName {
    /// The name, where a note can carry it.
    ///
    /// # Errors
    /// [`LogNameError`] otherwise.
    pub fn new(name: &str) -> Result<Self, LogNameError> {
        if name_valid(name) { Ok(Self(name.to_owned())) } else { Err(LogNameError) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The origin line of one owner's tree: `<log>/provider` or `<log>/tenants/<tenant id>`.
    #[must_use]
    pub fn origin(&self, owner: Owner) -> String {
        format!("{}/{}", self.0, folder_of(owner))
    }
}

/// The folder of one owner's tree in an export.
pub(crate) fn folder_of(owner: Owner) -> String {
    match owner {
        Owner::Provider => "provider".to_owned(),
        Owner::Tenant(tenant) => format!("tenants/{tenant}"),
    }
}

/// Why a checkpoint cannot be used.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Error)]
pub enum CheckpointError {
    /// The note's text is not a checkpoint.
    #[error("is not a checkpoint: origin, size and base64 root, one line each")]
    Format,
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// The head of one tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// Which tree: see [`LogName::origin`].
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
}

impl Checkpoint {
    /// The signed note.
    ///
    /// # Errors
    /// [`NoteError::Format`] where the origin holds control characters.
    pub fn sign(&self, signer: &NoteSigner) -> Result<String, NoteError> {
        signer.sign(&self.to_string())
    }

    /// The checkpoint in a note that one of the trusted keys signed.
    ///
    /// # Errors
    /// [`CheckpointError`] where it is none, or none of them did.
    pub fn open(note: &str, trusted: &[NoteVerifier]) -> Result<Self, CheckpointError> {
        Self::from_text(Note::parse(note)?.open(trusted)?)
    }

    /// The checkpoint of this note text.
    ///
    /// # Errors
    /// [`CheckpointError::Format`] unless it is spelled exactly as one is written. Extension lines are refused: nobody would check them.
    pub fn from_text(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Format);
        };
        let size: u64 = size.parse().map_err(|_| CheckpointError::Format)?;
        let root = STANDARD.decode(root).map_err(|_| CheckpointError::Format)?;
        let root = <[u8; 32]>::try_from(root.as_slice()).map_err(|_| CheckpointError::Format)?;
        let read = Self { origin: origin.to_owned(), size, root: Digest::from_bytes(root) };
        let well_formed = !read.origin.is_empty() && size <= INTEGER_MAX && read.to_string() == text;
        if well_formed { Ok(read) } else { Err(CheckpointError::Format) }
    }
}

impl std::fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root.as_bytes()))
    }
}

//! The list of everything in an export: `manifest.json` in canonical JSON, and `manifest.note`, in which the log's key signs its
//! digest. So each exported byte is under a signature, also those that no tree covers (payloads, the file names).

use crate::checkpoint::LogName;
use crate::note::{Note, NoteSigner, NoteVerifier, digest_text};
use crate::{FormatVersion, NoteError};
use ids::{Owner, TenantId, Timestamp};
use seal::{Digest, canonical_json};
use serde::{Deserialize, Serialize};

pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const MANIFEST_NOTE: &str = "manifest.note";

/// What an export holds.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format version.
    pub v: FormatVersion,
    /// The log's name.
    pub log: String,
    /// The log's key as a note verifier key: which key signed, not whether to trust it.
    pub key: String,
    /// When the export was made.
    pub created_at: Timestamp,
    /// Whether the provider's tree is in it; then every tenant that it commits to must be, too.
    pub provider: bool,
    /// The tenants whose trees are in it, sorted.
    pub tenants: Vec<TenantId>,
    /// The changes of the log's key before this one, oldest first: notes as [`crate::KeyRotation`] makes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotations: Vec<String>,
    /// Every file but the manifest and its note, sorted by path.
    pub files: Vec<ManifestFile>,
}

/// One file of an export.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// Where, with `/` between elements.
    pub path: String,
    /// How long.
    pub bytes: u64,
    /// SHA-256 of what is in it.
    pub sha256: Digest,
}

impl Manifest {
    /// The bytes of `manifest.json`; none where it has no canonical form (a file beyond 2^53 bytes).
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        canonical_json(&serde_json::to_value(self).ok()?).ok()
    }

    /// The manifest, where the bytes are exactly as one is written.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let manifest: Self = serde_json::from_slice(bytes).ok()?;
        let sorted = manifest.files.is_sorted_by(|left, right| left.path < right.path)
            && manifest.tenants.is_sorted_by(|left, right| left < right);
        (sorted && manifest.encode()? == bytes).then_some(manifest)
    }

    /// Whose trees are in it, the provider's first.
    pub(crate) fn owners(&self) -> impl Iterator<Item = Owner> {
        let provider = self.provider.then_some(Owner::Provider);
        provider.into_iter().chain(self.tenants.iter().copied().map(Owner::Tenant))
    }
}

/// The note that signs a manifest's bytes.
pub(crate) fn sign_manifest(log: &LogName, bytes: &[u8], signer: &NoteSigner) -> Result<String, NoteError> {
    signer.sign(&digest_text(&purpose(log), &Digest::of(bytes)))
}

/// Check the note over a manifest's bytes. Exactly one signature: an ignored one would be bytes that nobody signed.
pub(crate) fn check_manifest_note(
    log: &LogName,
    bytes: &[u8],
    note: &str,
    key: &NoteVerifier,
) -> Result<(), NoteError> {
    let note = Note::parse(note)?;
    let text = note.open(std::slice::from_ref(key))?;
    let expected = digest_text(&purpose(log), &Digest::of(bytes));
    if text == expected && note.signature_count() == 1 { Ok(()) } else { Err(NoteError::Signature) }
}

fn purpose(log: &LogName) -> String {
    format!("{}/export", log.as_str())
}

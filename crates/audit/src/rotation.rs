//! The change of a log's key: a note that names the old and the new key, signed by both. Whoever trusts either can follow the
//! chain to the other. Must never be believed with one signature: a thief of the old key could name a new one of his own.

use crate::checkpoint::LogName;
use crate::note::{Note, NoteError, NoteSigner, NoteVerifier};
use crate::record::FormatVersion;
use ids::Timestamp;
use serde::{Deserialize, Serialize};

/// The most rotations that an export carries: one a month for twenty years.
pub(crate) const ROTATIONS_MAX: usize = 256;

/// A change of key, as an entry of the provider's tree.
///
/// Members stand in canonical order: see [`crate::Leaf::encode`].
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRotation {
    /// The note: purpose, old key, new key, one line each; signed by both.
    pub rotation: String,
    /// When it was made.
    pub time: Timestamp,
    /// Format version.
    pub v: FormatVersion,
}

impl KeyRotation {
    /// The rotation from one key to the next.
    ///
    /// # Errors
    /// [`NoteError::Name`] where the keys are of two logs.
    pub fn sign(old: &NoteSigner, new: &NoteSigner, time: Timestamp) -> Result<Self, NoteError> {
        if old.verifier().name() != new.verifier().name() {
            return Err(NoteError::Name);
        }
        let text = format!("{}/key-rotation\n{}\n{}\n", old.verifier().name(), old.verifier(), new.verifier());
        Ok(Self { rotation: old.sign_with(&text, new)?, time, v: FormatVersion })
    }

    /// The old and the new key, where this is a rotation of this log that both signed, and nobody else.
    ///
    /// # Errors
    /// [`NoteError`] otherwise.
    pub fn keys(note: &str, log: &LogName) -> Result<(NoteVerifier, NoteVerifier), NoteError> {
        let note = Note::parse(note)?;
        let mut lines = note.unchecked_text().split('\n');
        let (Some(purpose), Some(old), Some(new), Some(""), None) =
            (lines.next(), lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(NoteError::Format);
        };
        let (old, new) = (NoteVerifier::parse(old)?, NoteVerifier::parse(new)?);
        let named = [&old, &new].iter().all(|key| key.name() == log.as_str());
        if purpose != format!("{}/key-rotation", log.as_str()) || !named || old == new {
            return Err(NoteError::Format);
        }
        note.open(std::slice::from_ref(&old))?;
        note.open(std::slice::from_ref(&new))?;
        if note.signature_count() == 2 { Ok((old, new)) } else { Err(NoteError::Signature) }
    }
}

/// The keys of a log in their order, from the rotations between them; `last` is the one that signs now.
pub(crate) fn chain(rotations: &[String], last: &NoteVerifier, log: &LogName) -> Result<Vec<NoteVerifier>, NoteError> {
    if rotations.len() > ROTATIONS_MAX {
        return Err(NoteError::Format);
    }
    let mut keys: Vec<NoteVerifier> = Vec::new();
    for note in rotations {
        let (old, new) = KeyRotation::keys(note, log)?;
        if keys.last().is_some_and(|before| *before != old) || keys.contains(&new) {
            return Err(NoteError::Unsigned);
        }
        if keys.is_empty() {
            keys.push(old);
        }
        keys.push(new);
    }
    match keys.last() {
        None => Ok(vec![last.clone()]),
        Some(newest) if newest == last => Ok(keys),
        Some(_) => Err(NoteError::Unsigned),
    }
}

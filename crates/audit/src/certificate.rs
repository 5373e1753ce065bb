//! The certificate of an erasure: a note, signed by the log's key, that says what of a tenant was erased, when, at whose word, and
//! how its log stood then. Verifies offline with the public key alone. Must never say more than was counted.

use crate::checkpoint::{Checkpoint, LogName};
use crate::note::{Note, NoteError, NoteSigner, NoteVerifier};
use crate::record::FormatVersion;
use ids::{List, Principal, TenantId, Text, Timestamp};
use seal::canonical_json;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What stands behind the log's name in the first line.
const PURPOSE: &str = "/erasure-certificate";

/// What was erased of a tenant.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasureCertificate {
    /// Format version.
    pub v: FormatVersion,
    /// Whose data it was.
    pub tenant: TenantId,
    /// Who asked for it.
    pub asked_by: Principal,
    /// The people who approved it.
    pub approved_by: List<Principal, 16>,
    /// Why, in the words of who asked.
    pub reason: Text<1000>,
    /// When it began.
    pub began_at: Timestamp,
    /// When the last byte was gone.
    pub ended_at: Timestamp,
    /// How much of each kind was deleted: documents by kind, rows of the lake as `lake_rows`, and so on.
    pub erased: BTreeMap<String, u64>,
    /// Whether the key that sealed the tenant's secrets and the texts beside its log was destroyed.
    pub key_destroyed: bool,
    /// How the files of the state were left: `sqlite` were written anew, `postgres` tables were, its own log was not.
    pub engine: Text<32>,
    /// The newest checkpoint of the tenant's log, a signed note of its own: the records stay, and verify under it.
    pub checkpoint: Option<Text<4096>>,
}

impl ErasureCertificate {
    /// The signed note.
    ///
    /// # Errors
    /// [`NoteError::Format`] where a count is beyond 2^53.
    pub fn sign(&self, signer: &NoteSigner) -> Result<String, NoteError> {
        let log = signer.verifier().name().to_owned();
        signer.sign(&self.text(&log)?)
    }

    /// The certificate in a note that one of the trusted keys signed, with the name of its log.
    ///
    /// # Errors
    /// [`NoteError`] where it is none, none of them signed it, or the checkpoint in it is not of this tenant's log under one
    /// of them.
    pub fn open(note: &str, trusted: &[NoteVerifier]) -> Result<Self, NoteError> {
        let note = Note::parse(note)?;
        let text = note.open(trusted)?;
        let read = Self::read(text)?;
        if let Some(checkpoint) = &read.checkpoint {
            let log = text.split_once(PURPOSE).map(|(log, _)| log).unwrap_or_default();
            let log = LogName::new(log).map_err(|_| NoteError::Format)?;
            let head = Checkpoint::open(checkpoint, trusted).map_err(|_| NoteError::Unsigned)?;
            if head.origin != log.origin(ids::Owner::Tenant(read.tenant)) {
                return Err(NoteError::Format);
            }
        }
        Ok(read)
    }

    /// What a note says that nobody's key was given for: to be shown, not to be trusted.
    ///
    /// # Errors
    /// [`NoteError`] where it is no such note.
    pub fn unauthenticated(note: &str) -> Result<Self, NoteError> {
        Self::read(Note::parse(note)?.unchecked_text())
    }

    fn text(&self, log: &str) -> Result<String, NoteError> {
        let value = serde_json::to_value(self).map_err(|_| NoteError::Format)?;
        let json = canonical_json(&value).map_err(|_| NoteError::Format)?;
        let json = String::from_utf8(json).map_err(|_| NoteError::Format)?;
        Ok(format!("{log}{PURPOSE}\n{json}\n"))
    }

    fn read(text: &str) -> Result<Self, NoteError> {
        let (first, json) = text.split_once('\n').ok_or(NoteError::Format)?;
        let log = first.strip_suffix(PURPOSE).ok_or(NoteError::Format)?;
        let read: Self = serde_json::from_str(json.trim_end_matches('\n')).map_err(|_| NoteError::Format)?;
        if read.text(log)? == text { Ok(read) } else { Err(NoteError::Format) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seal::{SeededEntropy, SigningKey};

    fn signer(seed: u64) -> NoteSigner {
        NoteSigner::new("log.example", SigningKey::generate(&SeededEntropy::new(seed))).unwrap()
    }

    fn certificate(signer: &NoteSigner) -> ErasureCertificate {
        let tenant = TenantId::derive(&[b"acme"]);
        let origin = LogName::new("log.example").unwrap().origin(ids::Owner::Tenant(tenant));
        let checkpoint = Checkpoint { origin, size: 7, root: seal::Digest::from_bytes([3; 32]) };
        ErasureCertificate {
            v: FormatVersion,
            tenant,
            asked_by: Principal::System("cli-root".to_owned()),
            approved_by: List::default(),
            reason: Text::new("the contract\nended").unwrap(),
            began_at: Timestamp::from_micros(1),
            ended_at: Timestamp::from_micros(2),
            erased: BTreeMap::from([("user".to_owned(), 3)]),
            key_destroyed: true,
            engine: Text::new("sqlite").unwrap(),
            checkpoint: Some(Text::new(checkpoint.sign(signer).unwrap()).unwrap()),
        }
    }

    #[test]
    fn opens_only_under_the_key_and_unchanged() {
        let (own, other) = (signer(1), signer(2));
        let made = certificate(&own);
        let note = made.sign(&own).unwrap();
        let keys = [own.verifier().clone()];
        assert_eq!(ErasureCertificate::open(&note, &keys).unwrap(), made);
        assert_eq!(ErasureCertificate::unauthenticated(&note).unwrap(), made);
        assert_eq!(ErasureCertificate::open(&note, &[other.verifier().clone()]), Err(NoteError::Unsigned));
        for (place, letter) in note.char_indices().filter(|(_, letter)| letter.is_ascii_alphanumeric()) {
            let mut changed = note.clone();
            changed.replace_range(place..=place, if letter == 'a' { "b" } else { "a" });
            if changed != note {
                assert!(ErasureCertificate::open(&changed, &keys).is_err(), "byte {place}");
            }
        }
        let checkpoint = made.checkpoint.unwrap().into_string();
        assert!(ErasureCertificate::open(&checkpoint, &keys).is_err(), "another note of the same key");
    }

    #[test]
    fn a_checkpoint_of_another_tree_is_refused() {
        let own = signer(1);
        let made = ErasureCertificate { tenant: TenantId::derive(&[b"other"]), ..certificate(&own) };
        let note = made.sign(&own).unwrap();
        assert_eq!(ErasureCertificate::open(&note, &[own.verifier().clone()]), Err(NoteError::Format));
    }
}

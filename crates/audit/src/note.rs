//! C2SP signed notes with ed25519 keys: text, a blank line, signature lines. A note's text must never be used before a
//! signature of a trusted key over it was checked. One spelling per note: what is read is what would be written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seal::{Digest, SigningKey, VerifyingKey, sha256_parts};
use thiserror::Error;

/// The signature type byte of ed25519 (signed-note, section "Signature types").
const ED25519: u8 = 1;
/// The longest note that is read, and the most signatures on one (the specification asks for at least 16).
const NOTE_BYTES_MAX: usize = 64 * 1024;
const SIGNATURES_MAX: usize = 16;

/// Why a note or a key cannot be used.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Error)]
pub enum NoteError {
    /// Not a note, or not spelled as one is written.
    #[error("is not a signed note: text, a blank line, then lines `— <key name> <base64>`")]
    Format,
    /// Not a note verifier key.
    #[error("is not a note verifier key; write `<name>+<8 hex digits>+<base64>`")]
    Key,
    /// A key name that a note cannot carry.
    #[error("a key name is 1 to 128 characters without spaces, control characters and `+`")]
    Name,
    /// A trusted key's signature does not match the text.
    #[error("the signature does not match the text")]
    Signature,
    /// No trusted key signed it.
    #[error("no trusted key signed it")]
    Unsigned,
}

/// Whether a key (and so a log) may have this name.
pub(crate) fn name_valid(name: &str) -> bool {
    let allowed = |letter: char| !letter.is_whitespace() && !letter.is_control() && letter != '+';
    (1..=128).contains(&name.chars().count()) && name.chars().all(allowed)
}

/// A public key with its name: what an auditor keeps.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoteVerifier {
    name: String,
    key: VerifyingKey,
}

impl NoteVerifier {
    /// A key under a name.
    ///
    /// # Errors
    /// [`NoteError::Name`] where a note cannot carry the name.
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, NoteError> {
        if name_valid(name) { Ok(Self { name: name.to_owned(), key }) } else { Err(NoteError::Name) }
    }

    /// The key whose text form this is: `<name>+<key id in hex>+<base64 of 0x01 and the key>`.
    ///
    /// # Errors
    /// [`NoteError::Key`] for every other text, also where the id does not belong to the key.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut fields = text.splitn(3, '+');
        let (Some(name), Some(_), Some(encoded)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(NoteError::Key);
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| NoteError::Key)?;
        let (ED25519, key) = bytes.split_first().map(|(kind, key)| (*kind, key)).ok_or(NoteError::Key)? else {
            return Err(NoteError::Key);
        };
        let key = <&[u8; 32]>::try_from(key).map_err(|_| NoteError::Key)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| NoteError::Key)?;
        let verifier = Self::new(name, key).map_err(|_| NoteError::Key)?;
        if verifier.to_string() == text { Ok(verifier) } else { Err(NoteError::Key) }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id: the first 32 bits of SHA-256 over name, newline, type and key.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let digest = sha256_parts(&[self.name.as_bytes(), b"\n", &[ED25519], &self.key.to_bytes()]);
        digest.as_bytes().first_chunk::<4>().copied().unwrap_or_default()
    }
}

impl std::fmt::Display for NoteVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let encoded = STANDARD.encode([&[ED25519], self.key.to_bytes().as_slice()].concat());
        write!(f, "{}+{:08x}+{encoded}", self.name, u32::from_be_bytes(self.id()))
    }
}

/// A private key with its name: signs notes.
#[derive(Clone, Debug)]
pub struct NoteSigner {
    key: SigningKey,
    verifier: NoteVerifier,
}

impl NoteSigner {
    /// A key under a name.
    ///
    /// # Errors
    /// [`NoteError::Name`] where a note cannot carry the name.
    pub fn new(name: &str, key: SigningKey) -> Result<Self, NoteError> {
        let verifier = NoteVerifier::new(name, key.verifying_key())?;
        Ok(Self { key, verifier })
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &NoteVerifier {
        &self.verifier
    }

    /// The note with this text and one signature.
    ///
    /// # Errors
    /// [`NoteError::Format`] where the text does not end in a newline or holds control characters.
    pub fn sign(&self, text: &str) -> Result<String, NoteError> {
        if !text_valid(text) {
            return Err(NoteError::Format);
        }
        Ok(format!("{text}\n{}", self.signature_of(text)))
    }

    /// The note with this text and two signatures: this key's and then the other's.
    ///
    /// # Errors
    /// As [`NoteSigner::sign`].
    pub fn sign_with(&self, text: &str, other: &Self) -> Result<String, NoteError> {
        Ok(self.sign(text)? + &other.signature_of(text))
    }

    fn signature_of(&self, text: &str) -> String {
        let signature = [self.verifier.id().as_slice(), &self.key.sign(text.as_bytes())].concat();
        signature_line(&self.verifier.name, &signature)
    }
}

fn text_valid(text: &str) -> bool {
    text.ends_with('\n') && text.chars().all(|letter| letter == '\n' || letter >= ' ')
}

fn signature_line(name: &str, signature: &[u8]) -> String {
    format!("\u{2014} {name} {}\n", STANDARD.encode(signature))
}

/// A note as it was read: nothing in it is trusted yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct NoteSignature {
    name: String,
    /// Key id (4 bytes) and signature.
    bytes: Vec<u8>,
}

impl Note {
    /// Read a note.
    ///
    /// # Errors
    /// [`NoteError::Format`] for anything that is not written as a note is.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Format);
        }
        // The last blank line divides: the text keeps its final newline.
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Format)?;
        let text = format!("{text}\n");
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Format)?;
        let signatures: Option<Vec<_>> = lines.split('\n').map(read_signature_line).collect();
        let signatures = signatures.ok_or(NoteError::Format)?;
        let read = Self { text, signatures };
        let well_formed = text_valid(&read.text) && read.signatures.len() <= SIGNATURES_MAX && read.to_string() == note;
        if well_formed { Ok(read) } else { Err(NoteError::Format) }
    }

    /// The text, if one of these keys signed it. Signatures of other keys are ignored, as the specification asks.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`] where none did, [`NoteError::Signature`] where a trusted key's signature is wrong.
    pub fn open(&self, trusted: &[NoteVerifier]) -> Result<&str, NoteError> {
        let mut outcome = Err(NoteError::Unsigned);
        for signature in &self.signatures {
            let Some((id, bytes)) = signature.bytes.split_first_chunk::<4>() else { continue };
            let known = trusted.iter().find(|key| key.name == signature.name && key.id() == *id);
            let Some(verifier) = known else { continue };
            if !verifier.key.verify(self.text.as_bytes(), bytes) {
                return Err(NoteError::Signature);
            }
            outcome = Ok(self.text.as_str());
        }
        outcome
    }

    /// The text, whoever signed it or not: to go on looking for faults, or where the note is the reader's own.
    #[must_use]
    pub fn unchecked_text(&self) -> &str {
        &self.text
    }

    /// How many signatures it carries.
    #[must_use]
    pub fn signature_count(&self) -> usize {
        self.signatures.len()
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| f.write_str(&signature_line(&line.name, &line.bytes)))
    }
}

fn read_signature_line(line: &str) -> Option<NoteSignature> {
    let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = STANDARD.decode(encoded).ok().filter(|bytes| bytes.len() > 4)?;
    name_valid(name).then(|| NoteSignature { name: name.to_owned(), bytes })
}

/// What a digest note says: a purpose line and a digest line. Used where a file beside it is signed as a whole.
pub(crate) fn digest_text(purpose: &str, digest: &Digest) -> String {
    format!("{purpose}\n{digest}\n")
}

//! Skills: folders in the Agent Skills format, known by the digest of their paths and bytes. Scripts in them are data: nothing
//! here or above runs one.

use crate::definition::{is_name, split_front};
use crate::fault::Fault;
use crate::playbook::Playbook;
use minisign_verify::{PublicKey, Signature};
use seal::Digest;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thiserror::Error;

/// The most files of a skill.
const FILES_MAX: usize = 256;
/// The most bytes of a skill.
const BYTES_MAX: usize = 2 << 20;
/// The file with the deterministic procedure.
const PLAYBOOK: &str = "playbook.yaml";
/// The file that every skill has.
const HEAD: &str = "SKILL.md";

/// A file of a skill.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkillFile {
    /// Its path in the folder, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Why a folder is no skill.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
pub enum SkillError {
    /// A file of it is wrong.
    #[error("{file}: {fault}")]
    File {
        /// Which.
        file: String,
        /// What is wrong.
        fault: Fault,
    },
    /// The folder as a whole is wrong.
    #[error("{0}")]
    Folder(String),
    /// The signature does not hold.
    #[error("the signature does not hold: {0}")]
    Signature(String),
}

/// The head's front matter, as the Agent Skills format has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "the format's optional keys are known, so that a wrong one is told; nothing follows from them"
)]
struct Head {
    name: String,
    description: String,
    #[serde(default)]
    license: Option<String>,
    #[serde(default)]
    compatibility: Option<String>,
    #[serde(default)]
    metadata: Option<serde_yaml_ng::Mapping>,
    #[serde(default, rename = "allowed-tools")]
    allowed_tools: Option<serde_yaml_ng::Value>,
}

/// A skill that was read.
#[derive(Clone, Debug)]
pub struct Skill {
    /// Its name.
    pub name: String,
    /// What it is for and when to use it.
    pub description: String,
    /// What a model is told.
    pub text: String,
    /// Its deterministic procedure, where it has one.
    pub playbook: Option<Arc<Playbook>>,
    /// Digest of its sorted paths and bytes.
    pub digest: Digest,
    /// Its files, sorted by path.
    pub files: Vec<SkillFile>,
}

impl Skill {
    /// Read a skill from its files.
    ///
    /// # Errors
    /// What is wrong with the folder or one of its files.
    pub fn read(mut files: Vec<SkillFile>) -> Result<Self, SkillError> {
        files.sort_by(|one, other| one.path.cmp(&other.path));
        check_folder(&files)?;
        let find = |path: &str| files.iter().find(|file| file.path == path);
        let head = find(HEAD).ok_or_else(|| SkillError::Folder(format!("there is no `{HEAD}` in the folder")))?;
        let wrong = |fault| SkillError::File { file: HEAD.to_owned(), fault };
        let (front, text) = split_front(&head.text).map_err(wrong)?;
        let front: Head = serde_yaml_ng::from_str(front).map_err(|error| wrong(Fault::of_yaml(&error, 1)))?;
        let Head { name, description, .. } = front;
        if !is_name(&name) {
            return Err(wrong(Fault::at(
                "name",
                "is not a name; use lower-case letters, digits and dashes, at most 64",
            )));
        }
        if description.trim().is_empty() || description.len() > 1024 {
            return Err(wrong(Fault::at("description", "is empty or longer than 1024 bytes")));
        }
        let playbook = find(PLAYBOOK).map(|file| Playbook::parse(&file.text)).transpose().map_err(|faults| {
            let fault = faults.into_iter().next().unwrap_or_else(|| Fault::at("", "does not parse"));
            SkillError::File { file: PLAYBOOK.to_owned(), fault }
        })?;
        let (text, digest) = (text.trim().to_owned(), digest_of_files(&files));
        Ok(Self { name, description, text, playbook: playbook.map(Arc::new), digest, files })
    }
}

fn check_folder(files: &[SkillFile]) -> Result<(), SkillError> {
    let folder = |message: String| Err(SkillError::Folder(message));
    if files.len() > FILES_MAX {
        return folder(format!("{} files; a skill has at most {FILES_MAX}", files.len()));
    }
    let bytes: usize = files.iter().map(|file| file.text.len()).sum();
    if bytes > BYTES_MAX {
        return folder(format!("{bytes} bytes; a skill has at most {BYTES_MAX}"));
    }
    for file in files {
        let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\\');
        if file.path.len() > 255 || file.path.contains('\0') || !file.path.split('/').all(plain) {
            return folder(format!("`{}` is not a path within the folder", file.path));
        }
    }
    let twice = files.iter().zip(files.iter().skip(1)).find(|(one, next)| one.path == next.path);
    twice.map_or(Ok(()), |(file, _)| folder(format!("`{}` stands twice", file.path)))
}

/// The digest of a folder: each path and each file's digest, sorted by path. A signature is over its hex form.
#[must_use]
pub fn digest_of_files(sorted: &[SkillFile]) -> Digest {
    let digests: Vec<String> = sorted.iter().map(|file| Digest::of(file.text.as_bytes()).to_hex()).collect();
    let parts: Vec<&[u8]> =
        sorted.iter().zip(&digests).flat_map(|(file, digest)| [file.path.as_bytes(), digest.as_bytes()]).collect();
    Digest::framed("posse-skill-v1", &parts)
}

/// A minisign public key that skills are accepted from.
pub struct TrustedKey(PublicKey);

impl TrustedKey {
    /// The key in minisign's base64 form, without the comment line.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(base64: &str) -> Result<Self, SkillError> {
        let key = PublicKey::from_base64(base64.trim());
        key.map(Self).map_err(|error| SkillError::Signature(format!("the public key does not parse: {error}")))
    }

    /// That `signature` (the text of a `.minisig` file, prehashed) is this key's over the digest's hex form. Its
    /// trusted comment.
    ///
    /// # Errors
    /// It is not.
    pub fn verify(&self, digest: Digest, signature: &str) -> Result<String, SkillError> {
        let wrong = |error: minisign_verify::Error| SkillError::Signature(error.to_string());
        let signature = Signature::decode(signature).map_err(wrong)?;
        self.0.verify(digest.to_hex().as_bytes(), &signature, false).map_err(wrong)?;
        Ok(signature.trusted_comment().to_owned())
    }
}

impl std::fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TrustedKey(..)")
    }
}

//! What was reviewed: the definition with the skills it brings, as one digest. A run pins it; another byte is another charter.

use crate::definition::Definition;
use crate::fault::Fault;
use seal::{Digest, canonical_json};
use serde_json::json;
use std::collections::BTreeMap;

/// What an agent may be, pinned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Charter {
    /// Digest of the definition's bytes.
    pub definition: Digest,
    /// Digest of each skill that it brings, by name.
    pub skills: BTreeMap<String, Digest>,
    /// The alias of the model.
    pub model: Option<String>,
    /// Digest of what a model is told.
    pub prompt: Digest,
}

impl Charter {
    /// The charter of a definition with the skills that it brings.
    ///
    /// # Errors
    /// A skill that the definition names is not among `skills`.
    pub fn of(text: &str, definition: &Definition, skills: &BTreeMap<String, Digest>) -> Result<Self, Fault> {
        let pin = |name: &String| {
            let digest = skills.get(name).copied();
            digest.map(|digest| (name.clone(), digest)).ok_or_else(|| {
                Fault::at("skills", format!("`{name}` is not installed; import it with `skill.import` first"))
            })
        };
        Ok(Self {
            definition: Digest::of(text.as_bytes()),
            skills: definition.skills.iter().map(pin).collect::<Result<_, _>>()?,
            model: definition.model.clone(),
            prompt: Digest::of(definition.prompt.as_bytes()),
        })
    }

    /// The digest of its canonical form (RFC 8785).
    #[must_use]
    pub fn digest(&self) -> Digest {
        let skills: BTreeMap<&str, String> =
            self.skills.iter().map(|(name, digest)| (name.as_str(), digest.to_hex())).collect();
        let form = json!({
            "v": 1,
            "definition": self.definition.to_hex(),
            "model": self.model,
            "prompt": self.prompt.to_hex(),
            "skills": skills,
        });
        // Text and a number: there is always a canonical form.
        Digest::framed("posse-charter-v1", &[&canonical_json(&form).unwrap_or_default()])
    }
}

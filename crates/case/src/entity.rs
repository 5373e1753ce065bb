//! Entities: what events speak of. Text form `kind:value`, with the value folded so that one thing has one spelling.

use crate::status::words;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest value that is kept, in characters; longer ones are cut, all alike.
const VALUE_CHARS_MAX: usize = 512;

/// What kind of thing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// One process on one host, as its source identifies it.
    Lineage,
    /// A host.
    Host,
    /// A user.
    User,
    /// A hash of a file's bytes.
    Hash,
    /// An IP address.
    Ip,
    /// A domain name.
    Domain,
    /// A cloud or other resource.
    Resource,
    /// A mail address.
    Email,
    /// A URL.
    Url,
    /// The name of a program.
    Process,
    /// The name or path of a file.
    File,
}

words!("kind of entity", EntityKind {
    Lineage = "lineage",
    Host = "host",
    User = "user",
    Hash = "hash",
    Ip = "ip",
    Domain = "domain",
    Resource = "resource",
    Email = "email",
    Url = "url",
    Process = "process",
    File = "file",
});

/// Why a text names no entity.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[error("`{0}` is not `kind:value`; write for example `ip:10.0.0.7`, with a kind of {kinds}", kinds = kinds())]
pub struct UnknownEntity(String);

fn kinds() -> String {
    EntityKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
}

/// One thing that events speak of.
// INVARIANT: the value is folded, not empty and at most VALUE_CHARS_MAX characters.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Entity {
    kind: EntityKind,
    value: String,
}

impl Entity {
    /// The thing of this kind with this value; nothing for an empty value.
    #[must_use]
    pub fn new(kind: EntityKind, value: &str) -> Option<Self> {
        let value: String = value.trim().chars().filter(|c| *c != '\0').take(VALUE_CHARS_MAX).collect();
        // Case tells things apart in paths of some systems and in URLs; the other kinds are compared without it.
        let value = if matches!(kind, EntityKind::File | EntityKind::Url) { value } else { value.to_lowercase() };
        let value = if kind == EntityKind::Domain { value.trim_end_matches('.').to_owned() } else { value };
        (!value.is_empty()).then_some(Self { kind, value })
    }

    /// What kind of thing.
    #[must_use]
    pub const fn kind(&self) -> EntityKind {
        self.kind
    }

    /// Its value, folded.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl std::fmt::Display for Entity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

impl std::str::FromStr for Entity {
    type Err = UnknownEntity;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownEntity(text.chars().take(64).collect());
        let (kind, value) = text.split_once(':').ok_or_else(unknown)?;
        Self::new(kind.parse().map_err(|_| unknown())?, value).ok_or_else(unknown)
    }
}

impl TryFrom<String> for Entity {
    type Error = UnknownEntity;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Entity> for String {
    fn from(entity: Entity) -> Self {
        entity.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_has_one_spelling() {
        let one: Entity = "host:WS01.Example.COM".parse().unwrap();
        assert_eq!(one.to_string(), "host:ws01.example.com");
        assert_eq!("domain:Example.com.".parse::<Entity>().unwrap().value(), "example.com");
        assert_eq!("file:/tmp/A".parse::<Entity>().unwrap().value(), "/tmp/A");
        assert_eq!("ip: fe80::1 ".parse::<Entity>().unwrap().value(), "fe80::1");
        assert!("ip:".parse::<Entity>().is_err());
        assert!("planet:mars".parse::<Entity>().is_err());
        assert_eq!(serde_json::to_value(&one).unwrap(), "host:ws01.example.com");
    }
}

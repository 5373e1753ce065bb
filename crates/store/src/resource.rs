//! What a stored thing is: a typed document with an owner, a version and the keys by which it is found.

use ids::{Owner, Timestamp};
use serde::{Serialize, de::DeserializeOwned};

/// A type that is stored as a document. One module for each lives in this crate.
pub trait Resource: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The noun, for example `tenant`: part of the stored key, never changed.
    const KIND: &'static str;
    /// Unique within the kind over the whole install, at most 256 bytes; lists are ordered by it.
    fn id(&self) -> String;
    /// To whom it belongs; never changes.
    fn owner(&self) -> Owner;
    /// By what it is found besides its id.
    fn keys(&self) -> Vec<Key>;
}

/// A name and a value by which documents of a kind are found.
#[derive(Clone, Debug, Eq, PartialEq, Hash)]
pub struct Key {
    /// Which key, for example `name`.
    pub name: &'static str,
    /// Its value, at most 1024 bytes; put the tenant into it where it is unique only there.
    pub value: String,
    /// Whether no second document of the kind may have it.
    pub unique: bool,
}

impl Key {
    /// A key that only one document of the kind may have.
    #[must_use]
    pub fn unique(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), unique: true }
    }

    /// A key that many may have.
    #[must_use]
    pub fn lookup(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), unique: false }
    }
}

/// A document as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stored<R> {
    /// The document.
    pub value: R,
    /// 1 when created, one more with each replacement.
    pub version: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last replaced.
    pub updated_at: Timestamp,
}

/// In which order a list goes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Order {
    /// By id upwards: oldest first for ids that carry their time.
    #[default]
    Ascending,
    /// By id downwards.
    Descending,
}

/// One page of a list: keyset paging, nothing is counted or skipped over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page {
    /// Only of this owner; of everything that the scope covers where it is absent.
    pub owner: Option<Owner>,
    /// Only after the document with this id, in the page's order.
    pub after: Option<String>,
    /// At most so many; 1000 is the most that is given.
    pub limit: u32,
    /// Only with this key (name and value).
    pub key: Option<(&'static str, String)>,
    /// Which way.
    pub order: Order,
}

impl Default for Page {
    fn default() -> Self {
        Self { owner: None, after: None, limit: 100, key: None, order: Order::Ascending }
    }
}

/// A time as text that sorts as the time does, for keys that are asked for in ranges. Times before 1970 count as 1970.
#[must_use]
pub fn sortable(time: Timestamp) -> String {
    format!("{:020}", time.as_micros().max(0))
}

/// The owner column: empty for the provider.
pub(crate) fn owner_text(owner: Owner) -> String {
    owner.tenant().map_or_else(String::new, |tenant| tenant.to_string())
}

/// The owner of a stored row; nothing where the column holds what this crate never writes.
pub(crate) fn parse_owner(text: &str) -> Option<Owner> {
    if text.is_empty() { Some(Owner::Provider) } else { text.parse().ok().map(Owner::Tenant) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sortable_times_sort() {
        let (early, late) = (Timestamp::from_micros(999), Timestamp::from_micros(1_700_000_000_000_000));
        assert!(sortable(early) < sortable(late));
        assert_eq!(sortable(Timestamp::from_micros(-5)), sortable(Timestamp::from_micros(0)));
    }
}

//! The entity summary: how often and when a value was seen, per tenant and day, so that "how rare is this?" costs a key
//! look-up.

use crate::Day;
use ids::{TenantId, Timestamp};
use thiserror::Error;

/// The most bytes of a value that are kept as they are; of a longer one its head and a digest are.
pub const ENTITY_BYTES_MAX: usize = 256;

/// A number or text that is no kind of entity.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[error("`{0}` is not a kind of entity; one of {names}", names = EntityKind::ALL.map(EntityKind::name).join(", "))]
pub struct UnknownEntityKind(pub String);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// What a value is. The numbers are stored: they never change.
        #[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
        #[repr(u8)]
        pub enum EntityKind {
            $($(#[$doc])* $name = $number,)*
        }

        impl EntityKind {
            /// All kinds.
            pub const ALL: [Self; [$($number),*].len()] = [$(Self::$name),*];

            /// Its stored number.
            #[must_use]
            pub const fn number(self) -> u8 {
                match self { $(Self::$name => $number),* }
            }

            /// Its name in the API.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

kinds! {
    /// An IP address.
    Address = 1, "address";
    /// A command line, normalised.
    Command = 2, "command";
    /// A domain or host name that was asked for.
    Domain = 3, "domain";
    /// A mail address.
    Email = 4, "email";
    /// A path of a file.
    File = 5, "file";
    /// A hash of a file.
    Hash = 6, "hash";
    /// A host.
    Host = 7, "host";
    /// A parent process and its child, joined by ` > `.
    ParentChild = 8, "parent_child";
    /// A process's image.
    Process = 9, "process";
    /// A cloud resource.
    Resource = 10, "resource";
    /// A URL.
    Url = 11, "url";
    /// An account.
    User = 12, "user";
}

impl TryFrom<u8> for EntityKind {
    type Error = UnknownEntityKind;
    fn try_from(number: u8) -> Result<Self, UnknownEntityKind> {
        let found = Self::ALL.into_iter().find(|kind| kind.number() == number);
        found.ok_or_else(|| UnknownEntityKind(number.to_string()))
    }
}

impl std::str::FromStr for EntityKind {
    type Err = UnknownEntityKind;
    fn from_str(text: &str) -> Result<Self, UnknownEntityKind> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| UnknownEntityKind(text.chars().take(64).collect()))
    }
}

/// Sightings to add to what is known. Of the same tenant, kind, value and day there may be several; they add up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EntityCount {
    /// Who saw it.
    pub tenant: TenantId,
    /// What it is.
    pub kind: EntityKind,
    /// The value, in the form in which it is asked for.
    pub value: String,
    /// The day of the events.
    pub day: Day,
    /// How many events.
    pub count: u64,
    /// The earliest of them.
    pub first: Timestamp,
    /// The latest of them.
    pub last: Timestamp,
}

/// What one tenant has seen of a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Prevalence {
    /// Whose sight.
    pub tenant: TenantId,
    /// Events.
    pub count: u64,
    /// Days on which it was seen.
    pub days: u64,
    /// First seen.
    pub first: Timestamp,
    /// Last seen.
    pub last: Timestamp,
}

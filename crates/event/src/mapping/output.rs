//! What normalising gives: the OCSF event as JSON, the typed columns, the observables and what stayed unmapped.

use ids::Timestamp;

/// A normalised event. Reused from record to record; its buffers keep their size.
#[derive(Clone, Debug, Default)]
pub struct Normalised {
    /// OCSF class, `1007`.
    pub class_uid: u32,
    /// OCSF activity within the class.
    pub activity_id: i64,
    /// OCSF severity, 0 to 6 or 99.
    pub severity_id: i64,
    /// When it happened, as the source says; when it was received where the source does not say.
    pub time: Timestamp,
    /// Whether the source itself gave the time.
    pub time_from_source: bool,
    /// The OCSF event as JSON.
    pub json: String,
    /// The columns that have a value: place in [`super::COLUMNS`] and value, each place at most once.
    pub columns: Vec<(usize, ColumnValue)>,
    /// What can be looked for, each once.
    pub observables: Vec<Observable>,
    /// Dotted paths of the record that no field took, each once, in document order.
    pub unmapped: Vec<String>,
    /// There are more of these than the list holds (1,024); the raw text has them all.
    pub unmapped_more: bool,
}

impl Normalised {
    /// Empty, with its buffers.
    pub(super) fn clear(&mut self, received: Timestamp) {
        self.json.clear();
        self.columns.clear();
        self.observables.clear();
        self.unmapped.clear();
        self.unmapped_more = false;
        (self.class_uid, self.activity_id, self.severity_id) = (0, 0, 0);
        (self.time, self.time_from_source) = (received, false);
    }
}

/// The value of a column.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ColumnValue {
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
}

/// Something that can be looked for across sources.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Observable {
    /// What it is.
    pub kind: ObservableKind,
    /// OCSF `observable.type_id`.
    pub type_id: u16,
    /// The OCSF path at which it stands.
    pub path: String,
    /// The value, as the source writes it.
    pub value: String,
}

/// The kinds of observables that tables index.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum ObservableKind {
    /// A domain or a name that is asked for in the DNS.
    Domain,
    /// A mail address.
    Email,
    /// The name or path of a file.
    File,
    /// A digest of a file or a fingerprint of a client.
    Hash,
    /// A host's name.
    Host,
    /// An address.
    Ip,
    /// The name of a process.
    Process,
    /// A cloud or other resource.
    Resource,
    /// A URL.
    Url,
    /// An account's name.
    User,
}

impl ObservableKind {
    /// The kind of an OCSF `observable.type_id` at a path; none for those that are not indexed.
    #[must_use]
    pub fn of(type_id: u16, path: &str) -> Option<Self> {
        Some(match type_id {
            1 if path.starts_with("query.") || path.contains("url.") => Self::Domain,
            1 => Self::Host,
            2 => Self::Ip,
            4 => Self::User,
            5 => Self::Email,
            6 => Self::Url,
            7 | 45 => Self::File,
            8 => Self::Hash,
            9 => Self::Process,
            10 => Self::Resource,
            _ => return None,
        })
    }
}

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
    /// Where class and columns say less than the record does.
    pub odd: Odd,
}

/// Where the class and the columns of an event say less than its record: fields that are lists or stand twice, numbers
/// and letters that have more than one form. Who leaves out records by their columns looks at such records themselves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Odd(u64);

/// The class was chosen by a field with more than one value, or form of it.
const CLASS: u64 = 1 << 63;
/// The record was read in another way than the built-in mappings tell by themselves.
const READ_OTHERWISE: u64 = 1 << 62;

impl Odd {
    /// Whether nothing is odd.
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// Whether the class may be another one by other values of the record.
    #[must_use]
    pub const fn class(self) -> bool {
        self.0 & CLASS != 0
    }

    /// Whether the record was read in another way than the built-in mappings tell by themselves.
    #[must_use]
    pub const fn read_otherwise(self) -> bool {
        self.0 & READ_OTHERWISE != 0
    }

    /// Places of the columns whose fields have more than the column, or another form of it.
    pub fn columns(self) -> impl Iterator<Item = usize> {
        let bits = self.0 & !(CLASS | READ_OTHERWISE);
        (0..62_usize).filter(move |place| bits >> place & 1 == 1)
    }

    /// Say that the record was read in another way.
    pub const fn set_read_otherwise(&mut self) {
        self.0 |= READ_OTHERWISE;
    }

    pub(super) const fn set_class(&mut self) {
        self.0 |= CLASS;
    }

    /// A column without a bit of its own speaks for the class, which is more.
    pub(super) fn set_column(&mut self, place: usize) {
        self.0 |= if place < 62 { 1 << place } else { CLASS };
    }
}

impl Normalised {
    /// Empty, with its buffers.
    pub(super) fn clear(&mut self, received: Timestamp) {
        self.json.clear();
        self.columns.clear();
        self.observables.clear();
        self.unmapped.clear();
        self.unmapped_more = false;
        self.odd = Odd::default();
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

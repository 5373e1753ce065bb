//! Observables as the row-group filters know them: a kind and a value folded to 32 bits.
//!
//! The hash is stored in catalogs: it never changes. A column whose kind stands here has every value of every row in
//! the filter of that row's run, whatever the mapping said, so that equality on it may skip what lacks the hash.

use event::mapping::ObservableKind;
use twox_hash::XxHash64;

/// Every kind, by the name that search and SQL use.
pub const KINDS: [(&str, ObservableKind); 10] = [
    ("domain", ObservableKind::Domain),
    ("email", ObservableKind::Email),
    ("file", ObservableKind::File),
    ("hash", ObservableKind::Hash),
    ("host", ObservableKind::Host),
    ("ip", ObservableKind::Ip),
    ("process", ObservableKind::Process),
    ("resource", ObservableKind::Resource),
    ("url", ObservableKind::Url),
    ("user", ObservableKind::User),
];

/// The kind of this name.
#[must_use]
pub fn kind_named(name: &str) -> Option<ObservableKind> {
    KINDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind)
}

const COLUMN_KINDS: [(&str, ObservableKind); 25] = [
    ("actor_process_path", ObservableKind::File),
    ("actor_user_name", ObservableKind::User),
    ("command_uid", ObservableKind::Resource),
    ("device_hostname", ObservableKind::Host),
    ("device_ip", ObservableKind::Ip),
    ("dst_hostname", ObservableKind::Host),
    ("dst_ip", ObservableKind::Ip),
    ("file_name", ObservableKind::File),
    ("file_path", ObservableKind::File),
    ("finding_uid", ObservableKind::Resource),
    ("ja3", ObservableKind::Hash),
    ("module_path", ObservableKind::File),
    ("parent_path", ObservableKind::File),
    ("process_name", ObservableKind::Process),
    ("process_path", ObservableKind::File),
    ("process_user_name", ObservableKind::User),
    ("query_hostname", ObservableKind::Domain),
    ("resource_uid", ObservableKind::Resource),
    ("rule_uid", ObservableKind::Resource),
    ("src_hostname", ObservableKind::Host),
    ("src_ip", ObservableKind::Ip),
    ("url", ObservableKind::Url),
    ("user_email", ObservableKind::Email),
    ("user_name", ObservableKind::User),
    ("user_uid", ObservableKind::User),
];

/// The kind under which a column's values stand in the filters.
#[must_use]
pub(crate) fn kind_of_column(name: &str) -> Option<ObservableKind> {
    COLUMN_KINDS.iter().find(|(column, _)| *column == name).map(|(_, kind)| *kind)
}

/// The columns whose values stand in the filters under this kind.
pub(crate) fn columns_of_kind(kind: ObservableKind) -> impl Iterator<Item = &'static str> {
    COLUMN_KINDS.iter().filter(move |(_, own)| *own == kind).map(|(column, _)| *column)
}

/// The stored number of a kind.
const fn seed(kind: ObservableKind) -> u64 {
    match kind {
        ObservableKind::Domain => 1,
        ObservableKind::Email => 2,
        ObservableKind::File => 3,
        ObservableKind::Hash => 4,
        ObservableKind::Host => 5,
        ObservableKind::Ip => 6,
        ObservableKind::Process => 7,
        ObservableKind::Resource => 8,
        ObservableKind::Url => 9,
        ObservableKind::User => 10,
    }
}

/// A mark among the hashes: what it is about, and a word. No kind of observable has its number.
#[must_use]
pub(crate) fn mark(about: u64, word: &str) -> u32 {
    u32::try_from(XxHash64::oneshot(about, word.as_bytes()) >> 32).unwrap_or(0)
}

/// The hash of a value, without regard to case.
#[must_use]
pub(crate) fn hash(kind: ObservableKind, value: &str) -> u32 {
    let mut buffer = [0_u8; 128];
    let folded = match buffer.get_mut(..value.len()) {
        Some(short) if value.is_ascii() => {
            short.copy_from_slice(value.as_bytes());
            short.make_ascii_lowercase();
            XxHash64::oneshot(seed(kind), short)
        }
        _ => XxHash64::oneshot(seed(kind), value.to_lowercase().as_bytes()),
    };
    // The upper half: the better mixed one.
    u32::try_from(folded >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_hash_does_not_change() {
        assert_eq!(hash(ObservableKind::Ip, "203.0.113.7"), hash(ObservableKind::Ip, "203.0.113.7"));
        assert_eq!(hash(ObservableKind::Host, "WS-01.Example"), hash(ObservableKind::Host, "ws-01.example"));
        assert_eq!(hash(ObservableKind::User, "JÜRGEN"), hash(ObservableKind::User, "jürgen"));
        assert_ne!(hash(ObservableKind::Host, "a"), hash(ObservableKind::Domain, "a"));
        let long = "X".repeat(300);
        assert_eq!(hash(ObservableKind::File, &long), hash(ObservableKind::File, &long.to_lowercase()));
    }

    #[test]
    fn every_column_with_a_kind_exists_and_is_text() {
        for (name, _) in COLUMN_KINDS {
            let column = event::mapping::COLUMNS.iter().find(|column| column.name == name);
            assert!(column.is_some_and(|column| column.kind == event::mapping::ColumnType::Text), "{name}");
        }
    }
}

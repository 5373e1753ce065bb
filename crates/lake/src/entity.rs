//! What the entity summary is fed with: sightings of hashes, commands, parent-child pairs, domains, addresses, users.
//!
//! Counted while rows come in, handed to the catalog with the files that hold them. Rare values are the point, so
//! nothing is sampled; values that differ only by what is random in them (numbers, GUIDs) count as one command.

use crate::row::Row;
use catalog::{Day, ENTITY_BYTES_MAX, EntityCount, EntityKind};
use event::mapping::{COLUMNS, ColumnValue, ObservableKind};
use ids::{TenantId, Timestamp};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Places in `COLUMNS` that are counted beside the observables.
struct Places {
    command: Option<usize>,
    parent: Option<usize>,
    process: Option<usize>,
}

static PLACES: LazyLock<Places> = LazyLock::new(|| {
    let place = |name: &str| COLUMNS.iter().position(|column| column.name == name);
    Places { command: place("process_cmd_line"), parent: place("parent_path"), process: place("process_path") }
});

#[derive(Clone, Copy)]
struct Seen {
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

type Values = HashMap<Box<str>, Seen>;

/// Sightings by tenant, day and kind.
#[derive(Default)]
pub(crate) struct Sightings {
    seen: HashMap<(TenantId, i32, EntityKind), Values>,
    /// Buffer for values that are changed before they count.
    text: String,
}

impl Sightings {
    /// Count what stands in a row. Findings repeat their record's entities and are not counted.
    pub(crate) fn add(&mut self, row: &Row<'_>) {
        if row.part != 0 {
            return;
        }
        let column = |place: Option<usize>| {
            row.event.columns.iter().find_map(|(at, value)| match value {
                ColumnValue::Text(text) if Some(*at) == place => Some(text.as_str()),
                _ => None,
            })
        };
        let mut text = std::mem::take(&mut self.text);
        if let Some(command) = column(PLACES.command) {
            text.clear();
            normalise_command(command, &mut text);
            self.count(row, EntityKind::Command, &text);
        }
        if let (Some(parent), Some(process)) = (column(PLACES.parent), column(PLACES.process)) {
            text.clear();
            parent_child(parent, process, &mut text);
            self.count(row, EntityKind::ParentChild, &text);
        }
        for observable in &row.event.observables {
            let kind = match observable.kind {
                ObservableKind::Domain => EntityKind::Domain,
                ObservableKind::Hash => EntityKind::Hash,
                ObservableKind::Ip => EntityKind::Address,
                ObservableKind::User => EntityKind::User,
                ObservableKind::Host => EntityKind::Host,
                ObservableKind::Email
                | ObservableKind::File
                | ObservableKind::Process
                | ObservableKind::Resource
                | ObservableKind::Url => continue,
            };
            text.clear();
            text.push_str(&observable.value);
            text.make_ascii_lowercase();
            self.count(row, kind, &text);
        }
        self.text = text;
    }

    fn count(&mut self, row: &Row<'_>, kind: EntityKind, value: &str) {
        let value = bounded(value);
        if value.is_empty() {
            return;
        }
        let time = row.event.time;
        let values = self.seen.entry((row.tenant, Day::of(time).get(), kind)).or_default();
        match values.get_mut(value) {
            Some(seen) => {
                seen.count += 1;
                seen.first = seen.first.min(time);
                seen.last = seen.last.max(time);
            }
            None => {
                values.insert(value.into(), Seen { count: 1, first: time, last: time });
            }
        }
    }

    /// Take another's sightings in.
    pub(crate) fn merge(&mut self, other: Self) {
        for (key, values) in other.seen {
            let own = self.seen.entry(key).or_default();
            for (value, more) in values {
                let seen = own.entry(value).or_insert(Seen { count: 0, ..more });
                seen.count += more.count;
                seen.first = seen.first.min(more.first);
                seen.last = seen.last.max(more.last);
            }
        }
    }

    /// What was seen, as the catalog takes it.
    pub(crate) fn counts(&self) -> Vec<EntityCount> {
        let all = self.seen.iter().flat_map(|((tenant, day, kind), values)| {
            values.iter().map(|(value, seen)| EntityCount {
                tenant: *tenant,
                kind: *kind,
                value: value.to_string(),
                day: Day::new(*day),
                count: seen.count,
                first: seen.first,
                last: seen.last,
            })
        });
        all.collect()
    }
}

/// The head of a long value: two commands that agree in so much are one.
fn bounded(value: &str) -> &str {
    // The catalog keeps the head and a digest of what is longer than its own bound.
    let mut end = value.len().min(4 * ENTITY_BYTES_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.get(..end).unwrap_or("")
}

/// A command line in the form in which it is counted: lower case, each run of digits or of a long hexadecimal or
/// base64-like token one `#`, blanks one each.
pub fn normalise_command(command: &str, into: &mut String) {
    for word in command.split_whitespace() {
        if !into.is_empty() {
            into.push(' ');
        }
        let mut token = String::new();
        for letter in word.chars() {
            if letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '=') {
                token.push(letter.to_ascii_lowercase());
                continue;
            }
            push_token(&token, into);
            token.clear();
            into.extend(letter.to_lowercase());
        }
        push_token(&token, into);
        if into.len() > 4 * ENTITY_BYTES_MAX {
            return;
        }
    }
}

/// A token as it is, its digits as `#`, or one `#` where it looks random.
fn push_token(token: &str, into: &mut String) {
    let digits = token.bytes().filter(u8::is_ascii_digit).count();
    if token.len() >= 16 && digits >= 3 {
        into.push('#');
        return;
    }
    let mut last = false;
    for letter in token.chars() {
        let digit = letter.is_ascii_digit();
        if !(digit && last) {
            into.push(if digit { '#' } else { letter });
        }
        last = digit;
    }
}

/// A parent and its child by the names of their files, lower case, joined by ` > `.
pub fn parent_child(parent: &str, process: &str, into: &mut String) {
    let name = |path: &str| path.rsplit(['\\', '/']).next().unwrap_or("").to_ascii_lowercase();
    into.push_str(&name(parent));
    into.push_str(" > ");
    into.push_str(&name(process));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_differ_by_what_is_random_are_one() {
        let normal = |command: &str| {
            let mut text = String::new();
            normalise_command(command, &mut text);
            text
        };
        assert_eq!(normal("Powershell  -File C:\\Tmp\\run12.ps1"), "powershell -file c:\\tmp\\run#.ps#");
        assert_eq!(
            normal("a.exe {8D2F4A0E-1C11-4B6E-9C55-0A1B2C3D4E5F}"),
            normal("A.exe  {11111111-2222-3333-4444-555555555555}")
        );
        assert_ne!(normal("net user"), normal("net group"));
        let mut pair = String::new();
        parent_child("C:\\Windows\\explorer.exe", "/usr/bin/Bash", &mut pair);
        assert_eq!(pair, "explorer.exe > bash");
    }
}

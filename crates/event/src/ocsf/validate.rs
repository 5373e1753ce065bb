//! The check of one event against the schema: what is missing, of the wrong type, not in an enumeration, or unknown.
//!
//! Reports every fault with its path; never changes the event, never stops at the first fault.

use super::schema::{Attribute, Constraint, Entry, Requirement, Schema};
use crate::scalar::Scalar;
use crate::view::{Item, Kind, View};
use std::collections::BTreeSet;
use thiserror::Error;

/// One fault of an event.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[error("{path}: {kind}")]
pub struct OcsfFault {
    /// Dotted path in the event.
    pub path: String,
    /// What is wrong there.
    pub kind: OcsfFaultKind,
}

/// What is wrong.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
pub enum OcsfFaultKind {
    /// A required attribute is not there.
    #[error("is required and missing")]
    Missing,
    /// The value has another type.
    #[error("is not a value of type {0}")]
    WrongType(&'static str),
    /// The value is not in the enumeration.
    #[error("`{0}` is not one of the values allowed here")]
    UnknownValue(String),
    /// The class or object has no such attribute; it belongs into `unmapped`.
    #[error("is not an attribute of {0}; put it into `unmapped`")]
    UnknownAttribute(&'static str),
    /// The attribute comes with a profile that `metadata.profiles` does not name.
    #[error("needs profile `{0}` in `metadata.profiles`")]
    ProfileNotNamed(&'static str),
    /// No class has this number.
    #[error("no class has number {0}")]
    UnknownClass(i64),
    /// `category_uid` or `type_uid` does not follow from class and activity.
    #[error("does not fit the class and activity; expected {0}")]
    Inconsistent(i64),
    /// A constraint over several attributes does not hold.
    #[error("needs {count} of {}", members.join(", "))]
    Constraint {
        /// `at least one` or `exactly one`.
        count: &'static str,
        /// The attributes of which it speaks.
        members: Vec<&'static str>,
    },
}

impl Schema {
    /// Every fault of an event, in document order; none where it is valid.
    #[must_use]
    pub fn validate(&self, event: &View<'_>) -> Vec<OcsfFault> {
        let root = event.root();
        let class_uid = number(root, "class_uid");
        let mut check = Check { schema: self, profiles: profiles(root), path: String::new(), faults: Vec::new() };
        let class = class_uid.and_then(|uid| u32::try_from(uid).ok()).and_then(|uid| self.class(uid));
        let Some(class) = class else {
            let kind = class_uid.map_or(OcsfFaultKind::Missing, OcsfFaultKind::UnknownClass);
            return vec![OcsfFault { path: "class_uid".to_owned(), kind }];
        };
        check.object(root, &class.entry);
        check.follows("category_uid", number(root, "category_uid"), i64::from(class.category_uid));
        if let Some(activity) = number(root, "activity_id") {
            let expected = i64::from(class.uid).saturating_mul(100).saturating_add(activity);
            check.follows("type_uid", number(root, "type_uid"), expected);
        }
        check.faults
    }
}

fn number(root: Item<'_>, key: &str) -> Option<i64> {
    let (_, value) = root.members().filter(|(found, _)| *found == key).last()?;
    if let Some(Scalar::Int(number)) = value.scalar() { Some(number) } else { None }
}

fn profiles<'v>(root: Item<'v>) -> BTreeSet<&'v str> {
    let metadata = root.members().find(|(key, _)| *key == "metadata").map(|(_, value)| value);
    let list = metadata.and_then(|value| value.members().find(|(key, _)| *key == "profiles"));
    list.into_iter().flat_map(|(_, list)| list.elements()).filter_map(|name| name.scalar()?.as_str()).collect()
}

struct Check<'s, 'v> {
    schema: &'s Schema,
    profiles: BTreeSet<&'v str>,
    path: String,
    faults: Vec<OcsfFault>,
}

impl<'v> Check<'_, 'v> {
    fn fault(&mut self, key: &str, kind: OcsfFaultKind) {
        let path = match (self.path.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{key}", self.path),
        };
        self.faults.push(OcsfFault { path, kind });
    }

    fn follows(&mut self, key: &str, found: Option<i64>, expected: i64) {
        if found.is_some_and(|found| found != expected) {
            self.fault(key, OcsfFaultKind::Inconsistent(expected));
        }
    }

    fn object(&mut self, item: Item<'v>, entry: &Entry) {
        let mut present = BTreeSet::new();
        for (key, value) in item.members() {
            if !matches!(value.kind(), Kind::Scalar(Scalar::Null)) {
                present.insert(key);
            }
            match self.schema.attribute(entry, key) {
                None if self.is_datetime(entry, key) => self.datetime(key, value),
                None => self.fault(key, OcsfFaultKind::UnknownAttribute(entry.name)),
                Some(attribute) => {
                    let profile = attribute.profile.filter(|profile| !self.profiles.contains(profile));
                    if let Some(profile) = profile {
                        self.fault(key, OcsfFaultKind::ProfileNotNamed(profile));
                    }
                    let length = self.path.len();
                    if length > 0 {
                        self.path.push('.');
                    }
                    self.path.push_str(key);
                    self.value(value, attribute);
                    self.path.truncate(length);
                }
            }
        }
        for attribute in self.schema.attributes(entry) {
            let asked = attribute.requirement == Requirement::Required
                && attribute.profile.is_none_or(|profile| self.profiles.contains(profile));
            if asked && !present.contains(attribute.name) {
                self.fault(attribute.name, OcsfFaultKind::Missing);
            }
        }
        for constraint in &entry.constraints {
            let (count, members, holds) = match constraint {
                Constraint::AtLeastOne(members) => {
                    ("at least one", members, members.iter().any(|name| present.contains(name)))
                }
                Constraint::JustOne(members) => {
                    ("exactly one", members, members.iter().filter(|name| present.contains(**name)).count() == 1)
                }
            };
            if !holds {
                self.fault("", OcsfFaultKind::Constraint { count, members: members.clone() });
            }
        }
    }

    /// Whether the key is the readable twin of a time, `time_dt` of `time`, that the profile `datetime` allows.
    fn is_datetime(&self, entry: &Entry, key: &str) -> bool {
        let twin = key.strip_suffix("_dt").and_then(|key| self.schema.attribute(entry, key));
        twin.is_some_and(|attribute| attribute.kind == "timestamp_t")
    }

    fn datetime(&mut self, key: &str, value: Item<'v>) {
        if !self.profiles.contains("datetime") {
            self.fault(key, OcsfFaultKind::ProfileNotNamed("datetime"));
        }
        if !matches!(value.kind(), Kind::Scalar(Scalar::Str(_) | Scalar::Null)) {
            self.fault(key, OcsfFaultKind::WrongType("datetime_t"));
        }
    }

    fn value(&mut self, value: Item<'v>, attribute: &Attribute) {
        match (attribute.array, value.kind()) {
            (_, Kind::Scalar(Scalar::Null)) => {}
            (true, Kind::Array(elements)) => elements.into_iter().for_each(|element| self.single(element, attribute)),
            (true, _) => self.fault("", OcsfFaultKind::WrongType("array")),
            (false, _) => self.single(value, attribute),
        }
    }

    fn single(&mut self, value: Item<'v>, attribute: &Attribute) {
        let Some(base) = self.schema.base_type(attribute.kind) else {
            match (value.kind(), self.schema.object(attribute.kind)) {
                // The generic object takes whatever a source has.
                (Kind::Object(_), Some(entry)) if entry.name == "object" => {}
                (Kind::Object(_), Some(entry)) => self.object(value, entry),
                _ => self.fault("", OcsfFaultKind::WrongType(attribute.kind)),
            }
            return;
        };
        let fits = matches!(
            (base, value.kind()),
            ("json_t", _)
                | ("string_t", Kind::Scalar(Scalar::Str(_)))
                | ("integer_t" | "long_t", Kind::Scalar(Scalar::Int(_)))
                | ("float_t", Kind::Scalar(Scalar::Int(_) | Scalar::Float(_)))
                | ("boolean_t", Kind::Scalar(Scalar::Bool(_)))
        );
        if !fits {
            self.fault("", OcsfFaultKind::WrongType(attribute.kind));
        } else if let (Some(values), Kind::Scalar(scalar)) = (self.schema.values(attribute), value.kind()) {
            let text = scalar.to_text();
            if !values.iter().any(|(key, _)| *key == text) {
                self.fault("", OcsfFaultKind::UnknownValue(text.chars().take(64).collect()));
            }
        }
    }
}

//! The schema: classes, objects, attributes and enumerations, read once from the embedded table.

use std::collections::BTreeMap;
use std::sync::LazyLock;

const TABLE: &str = include_str!("table.txt");
static BUILT_IN: LazyLock<Schema> = LazyLock::new(|| Schema::parse(TABLE));

/// One version of OCSF.
pub struct Schema {
    version: &'static str,
    categories: BTreeMap<u32, &'static str>,
    types: BTreeMap<&'static str, (&'static str, Option<u16>)>,
    enums: Vec<Vec<(&'static str, &'static str)>>,
    attributes: Vec<Attribute>,
    classes: BTreeMap<u32, Class>,
    objects: BTreeMap<&'static str, Entry>,
}

/// How much an attribute is needed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Requirement {
    /// May be there.
    Optional,
    /// Should be there.
    Recommended,
    /// Must be there.
    Required,
}

/// An attribute of a class or object.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// Its key.
    pub name: &'static str,
    /// A type (`string_t`, `ip_t`, ...) or the name of an object.
    pub kind: &'static str,
    /// Whether the value is a list of that kind.
    pub array: bool,
    /// How much it is needed.
    pub requirement: Requirement,
    /// The profile that brings it; none where it is always there.
    pub profile: Option<&'static str>,
    /// The number of the observable kind that its value is, where the attribute itself declares one.
    pub observable: Option<u16>,
    enumeration: Option<usize>,
}

/// A rule over several attributes of one class or object.
#[derive(Clone, Debug)]
pub enum Constraint {
    /// At least one of these must be there.
    AtLeastOne(Vec<&'static str>),
    /// Exactly one of these must be there.
    JustOne(Vec<&'static str>),
}

/// The attributes of a class or object.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name: `process_activity`, `user`.
    pub name: &'static str,
    /// Its name for people: `Process Activity`, `User`.
    pub caption: &'static str,
    /// The number of the observable kind that such an object is.
    pub observable: Option<u16>,
    /// Rules over several attributes.
    pub constraints: Vec<Constraint>,
    // INVARIANT: sorted by the attribute's name; each a place in the schema's attributes.
    attributes: Vec<usize>,
}

/// An event class.
#[derive(Clone, Debug)]
pub struct Class {
    /// Its number, `1007` for Process Activity.
    pub uid: u32,
    /// Its category's number, 0 for the base event.
    pub category_uid: u32,
    /// Its attributes.
    pub entry: Entry,
}

impl Schema {
    /// OCSF 1.8.0 as compiled into the program.
    #[must_use]
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// The schema's version.
    #[must_use]
    pub const fn version(&self) -> &'static str {
        self.version
    }

    /// Every class by its number.
    pub fn classes(&self) -> impl Iterator<Item = &Class> {
        self.classes.values()
    }

    /// A class by its number.
    #[must_use]
    pub fn class(&self, uid: u32) -> Option<&Class> {
        self.classes.get(&uid)
    }

    /// A class by its name, `process_activity`.
    #[must_use]
    pub fn class_named(&self, name: &str) -> Option<&Class> {
        self.classes.values().find(|class| class.entry.name == name)
    }

    /// An object by its name, `user`.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<&Entry> {
        self.objects.get(name)
    }

    /// A category's caption.
    #[must_use]
    pub fn category(&self, uid: u32) -> Option<&'static str> {
        self.categories.get(&uid).copied()
    }

    /// The type that a type is built on: `string_t` for `ip_t`; none for an object.
    #[must_use]
    pub fn base_type(&self, kind: &str) -> Option<&'static str> {
        self.types.get(kind).map(|(base, _)| *base)
    }

    /// The attributes of a class or object, sorted by name.
    pub fn attributes<'s>(&'s self, entry: &'s Entry) -> impl Iterator<Item = &'s Attribute> {
        entry.attributes.iter().filter_map(|place| self.attributes.get(*place))
    }

    /// One attribute of a class or object.
    #[must_use]
    pub fn attribute(&self, entry: &Entry, name: &str) -> Option<&Attribute> {
        let name_at = |place: &usize| self.attributes.get(*place).map_or("", |attribute| attribute.name);
        let found = entry.attributes.binary_search_by(|place| name_at(place).cmp(name)).ok()?;
        self.attributes.get(*entry.attributes.get(found)?)
    }

    /// The values that an attribute may have, with their captions; none where it is free.
    #[must_use]
    pub fn values(&self, attribute: &Attribute) -> Option<&[(&'static str, &'static str)]> {
        self.enums.get(attribute.enumeration?).map(Vec::as_slice)
    }

    /// The number of the value with a caption, compared without case: `Launch` in `activity_id` is 1.
    #[must_use]
    pub fn value_captioned(&self, attribute: &Attribute, caption: &str) -> Option<i64> {
        let (key, _) = self.values(attribute)?.iter().find(|(_, found)| found.eq_ignore_ascii_case(caption))?;
        key.parse().ok()
    }

    /// The kind of observable that an attribute's value is: by the attribute, its type or its object.
    #[must_use]
    pub fn observable(&self, attribute: &Attribute) -> Option<u16> {
        let by_type = || self.types.get(attribute.kind).and_then(|(_, number)| *number);
        let by_object = || self.objects.get(attribute.kind).and_then(|entry| entry.observable);
        attribute.observable.or_else(by_type).or_else(by_object)
    }

    /// Read the table. Lines that it does not know are left out; a test holds the table against the schema source.
    fn parse(table: &'static str) -> Self {
        let mut schema = Self {
            version: "",
            categories: BTreeMap::new(),
            types: BTreeMap::new(),
            enums: Vec::new(),
            attributes: Vec::new(),
            classes: BTreeMap::new(),
            objects: BTreeMap::new(),
        };
        for line in table.lines() {
            schema.line(line);
        }
        schema
    }

    fn line(&mut self, line: &'static str) {
        let (kind, rest) = line.split_once('\t').unwrap_or((line, ""));
        let fields: Vec<&'static str> = rest.split('\t').collect();
        match (kind, fields.as_slice()) {
            ("ocsf", [version]) => self.version = version,
            ("k", [uid, _, caption]) => drop(uid.parse().map(|uid| self.categories.insert(uid, caption))),
            ("t", [name, base, observable]) => drop(self.types.insert(name, (base, observable.parse().ok()))),
            ("e", values) => {
                self.enums.push(values.iter().filter_map(|value| value.split_once('=')).collect());
            }
            ("a", [name, kind, requirement, enumeration, profile, observable]) => self.attributes.push(Attribute {
                name,
                kind: kind.trim_end_matches("[]"),
                array: kind.ends_with("[]"),
                requirement: match *requirement {
                    "r" => Requirement::Required,
                    "c" => Requirement::Recommended,
                    _ => Requirement::Optional,
                },
                profile: Some(*profile).filter(|profile| *profile != "-"),
                observable: observable.parse().ok(),
                enumeration: enumeration.parse().ok(),
            }),
            ("c", [uid, name, caption, category, attributes, constraints]) => {
                if let (Ok(uid), Ok(category_uid)) = (uid.parse(), category.parse()) {
                    let entry = entry(name, caption, None, attributes, constraints);
                    self.classes.insert(uid, Class { uid, category_uid, entry });
                }
            }
            ("o", [name, caption, observable, attributes, constraints]) => {
                let entry = entry(name, caption, observable.parse().ok(), attributes, constraints);
                self.objects.insert(name, entry);
            }
            _ => {}
        }
    }
}

fn entry(
    name: &'static str,
    caption: &'static str,
    observable: Option<u16>,
    attributes: &'static str,
    constraints: &'static str,
) -> Entry {
    let constraints = constraints.split(';').filter_map(|rule| {
        let (rule, members) = rule.split_once(':')?;
        let members = members.split(',').collect();
        Some(if rule == "just_one" { Constraint::JustOne(members) } else { Constraint::AtLeastOne(members) })
    });
    let attributes = attributes.split(',').filter_map(|place| place.parse().ok()).collect();
    Entry { name, caption, observable, constraints: constraints.collect(), attributes }
}

//! The mapping file as written: serde types only, every unknown key is an error.

use serde::Deserialize;
use std::collections::BTreeMap;

/// A mapping file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappingFile {
    /// Vendor of the product that writes the records.
    pub(super) vendor: String,
    /// The product.
    pub(super) product: String,
    /// Source values that mean nothing: `-`.
    #[serde(default)]
    pub(super) absent: Vec<String>,
    /// The record already is an OCSF event.
    #[serde(default)]
    pub(super) passthrough: bool,
    /// The shapes in which the source writes the same fields.
    pub(super) forms: Vec<FormFile>,
    /// Named groups of fields that classes share.
    #[serde(default)]
    pub(super) sets: BTreeMap<String, BTreeMap<String, SourceFile>>,
    /// The classes, asked in order.
    #[serde(default)]
    pub(super) class: Vec<ClassFile>,
}

/// One shape of the records.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FormFile {
    /// The name of the resulting mapping.
    pub(super) name: String,
    /// Ways to recognise a record; any of them is enough.
    pub(super) detect: Vec<DetectFile>,
    /// Where fields lie that do not lie at their own name.
    #[serde(default)]
    pub(super) fields: BTreeMap<String, Paths>,
    /// What stands before every other field's name; the empty text means the record itself.
    #[serde(default)]
    pub(super) prefixes: Vec<String>,
    /// Fields with a place of their own that are looked for behind the prefixes too. A record of which one stands there,
    /// or which has fields outside of the prefixes or with blanks in their names, says more than its event does.
    #[serde(default)]
    pub(super) elsewhere: Vec<String>,
}

/// What must hold in a record of this shape.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DetectFile {
    /// These paths must be there.
    #[serde(default)]
    pub(super) exists: Vec<String>,
    /// These paths must have one of the values; `*` at an end of a value stands for anything.
    #[serde(default)]
    pub(super) equals: BTreeMap<String, Paths>,
}

/// One text or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Paths {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Paths {
    pub(super) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

/// A class and the records that become it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClassFile {
    /// Fields and the values of which each must have one; an empty list of values asks for presence.
    #[serde(default)]
    pub(super) when: BTreeMap<String, Paths>,
    /// The class's name.
    pub(super) class: String,
    /// The activity: a caption of the class, or where it is read from.
    pub(super) activity: SourceFile,
    /// The sets whose fields it takes; its own win, later sets win over earlier ones.
    #[serde(default)]
    pub(super) with: Vec<String>,
    /// OCSF path and where its value comes from.
    #[serde(default)]
    pub(super) fields: BTreeMap<String, SourceFile>,
}

/// Where a value comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum SourceFile {
    /// A path of the record.
    Path(String),
    /// The first of several paths that is there.
    First(Vec<String>),
    /// With conversions.
    Full(Box<FullSource>),
}

/// A source with conversions, applied in the order of the members.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FullSource {
    /// A constant; nothing else may be given with it.
    #[serde(default)]
    pub(super) constant: Option<toml::Value>,
    /// The paths.
    #[serde(default)]
    pub(super) from: Option<Paths>,
    /// The first group of this expression is the value; no match, no value.
    #[serde(default)]
    pub(super) regex: Option<String>,
    /// `basename`, `lower`, `hashes`.
    #[serde(default)]
    pub(super) convert: Option<String>,
    /// Value to value; `*` stands for any other.
    #[serde(default)]
    pub(super) lookup: BTreeMap<String, String>,
    /// The value where the source has none.
    #[serde(default)]
    pub(super) default: Option<toml::Value>,
    /// The value where the source has none but the object around it is written all the same.
    #[serde(default)]
    pub(super) fill: Option<toml::Value>,
}

//! Mappings: how a source's record becomes an OCSF event, written as data (`content/mappings/*.toml`), compiled once.
//!
//! A mapping says how its records are recognised, which OCSF class each becomes, and which field goes where. Types,
//! enumerations, required attributes and observables come from the schema, so that a mapping only names paths.

mod column;
mod compile;
mod file;
mod output;
mod plan;
mod reading;
mod run;
mod shape;
mod stray;
mod time;
mod trie;
mod value;

pub use column::{COLUMNS, Column, ColumnType, columns_of};
pub use file::MappingFile;
pub use output::{ColumnValue, Normalised, Observable, ObservableKind, Odd};
pub use plan::{Mapping, MappingFault};
pub use reading::{Readings, readings};
pub use run::Normaliser;
pub use shape::{Kept, Shape};
pub use time::parse_time;

use crate::view::View;
use std::sync::LazyLock;

/// The mapping files that ship with the product; earlier ones are asked first when a record is recognised.
const FILES: [(&str, &str); 17] = [
    ("windows", include_str!("../../../../content/mappings/windows.toml")),
    ("sensor", include_str!("../../../../content/mappings/sensor.toml")),
    ("cloudtrail", include_str!("../../../../content/mappings/cloudtrail.toml")),
    ("ocsf", include_str!("../../../../content/mappings/ocsf.toml")),
    ("zeek", include_str!("../../../../content/mappings/zeek.toml")),
    ("okta", include_str!("../../../../content/mappings/okta.toml")),
    ("github", include_str!("../../../../content/mappings/github.toml")),
    ("microsoft", include_str!("../../../../content/mappings/microsoft.toml")),
    ("google-workspace", include_str!("../../../../content/mappings/google-workspace.toml")),
    ("gcp", include_str!("../../../../content/mappings/gcp.toml")),
    ("kubernetes", include_str!("../../../../content/mappings/kubernetes.toml")),
    ("guardduty", include_str!("../../../../content/mappings/guardduty.toml")),
    ("linux", include_str!("../../../../content/mappings/linux.toml")),
    ("suricata", include_str!("../../../../content/mappings/suricata.toml")),
    ("falco", include_str!("../../../../content/mappings/falco.toml")),
    ("osquery", include_str!("../../../../content/mappings/osquery.toml")),
    ("json", include_str!("../../../../content/mappings/json.toml")),
];

static BUILT_IN: LazyLock<Mappings> = LazyLock::new(|| {
    let mut all = Mappings::default();
    for (name, text) in FILES {
        all.add_file(name, text);
    }
    all
});

/// A set of mappings, asked in order.
#[derive(Default)]
pub struct Mappings {
    all: Vec<Mapping>,
    recogniser: plan::Recogniser,
    faults: Vec<MappingFault>,
}

impl Mappings {
    /// The mappings that ship with the product.
    #[must_use]
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Add what a mapping file holds, one mapping per form of its source; its faults are kept in [`Mappings::faults`].
    pub fn add_file(&mut self, name: &str, text: &str) {
        match Mapping::compile_file(name, text) {
            Ok(mappings) => {
                mappings.iter().for_each(|mapping| self.recogniser.add(mapping));
                self.all.extend(mappings);
            }
            Err(faults) => self.faults.extend(faults),
        }
    }

    /// What is wrong with the files that were added; none for the built-in ones (by test).
    #[must_use]
    pub fn faults(&self) -> &[MappingFault] {
        &self.faults
    }

    /// Every mapping.
    pub fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.all.iter()
    }

    /// A mapping by its name: `windows-evtx`, `cloudtrail`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Mapping> {
        self.all.iter().find(|mapping| mapping.name() == name)
    }

    /// The first mapping that recognises a record.
    #[must_use]
    pub fn detect(&self, record: &View<'_>) -> Option<&Mapping> {
        self.all.get(self.recogniser.first(record)?)
    }
}

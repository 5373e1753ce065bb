//! What a compiled mapping says of its classes without a record: which column keeps a field as the source wrote it, and
//! which values of a field lead to which class. For those who want to leave out files that cannot hold what they look
//! for. Must never promise a column that holds something else than the field.

use super::column::{COLUMNS, Column};
use super::plan::{Convert, Field, Mapping, Pattern, Plan};
use super::value::Target;
use crate::path::FieldPath;

/// One way in which a mapping makes events of one class.
#[derive(Clone, Copy)]
pub struct Shape<'m> {
    mapping: &'m Mapping,
    plan: &'m Plan,
}

/// A column that keeps a field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kept {
    /// The column.
    pub column: &'static Column,
    /// Only addresses stand there: what is none, and the prefix `::ffff:`, is left out.
    pub addresses: bool,
}

impl Mapping {
    /// The ways in which this mapping makes events; none where records are OCSF already and say their class themselves.
    #[must_use]
    pub fn shapes(&self) -> Option<impl Iterator<Item = Shape<'_>>> {
        (!self.passthrough).then(|| self.plans.iter().map(move |plan| Shape { mapping: self, plan }))
    }

    /// Whether a text counts as no value.
    #[must_use]
    pub fn means_nothing(&self, text: &str) -> bool {
        text.is_empty() || self.absent.iter().any(|nothing| nothing == text)
    }

    /// The texts that count as no value, beside the empty one.
    #[must_use]
    pub fn nothings(&self) -> &[String] {
        &self.absent
    }
}

impl Shape<'_> {
    /// The class.
    #[must_use]
    pub fn class_uid(&self) -> u32 {
        self.plan.class_uid
    }

    /// The column that keeps what the record has at these paths, as the source wrote it, but for records that are
    /// [odd](super::Odd) in it. The paths are all at which the field may stand.
    #[must_use]
    pub fn column_of(&self, paths: &[String]) -> Option<Kept> {
        let mut fields = self.plan.kept.iter().filter_map(|place| self.plan.fields.get(*place));
        let field = fields.find(|field| within(paths, &field.source.paths))?;
        let column = COLUMNS.get(field.column?).filter(|column| column.belongs_to(self.plan.class_uid))?;
        Some(Kept { column, addresses: matches!(field.target, Target::Ip) })
    }

    /// Whether every record that is not odd in its class comes this way, or one before it, whose fields have one of these
    /// values: all paths of a field, and the values of which it must have one.
    #[must_use]
    pub fn takes(&self, known: &[(Vec<String>, Vec<String>)]) -> bool {
        self.plan.when.iter().all(|(place, patterns): &(usize, Vec<Pattern>)| {
            let own = self.mapping.conditions.get(*place).map(Vec::as_slice).unwrap_or_default();
            let fits = |value: &String| patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(value));
            known.iter().any(|(paths, values)| within(paths, own) && values.iter().all(fits))
        })
    }

    /// Whether a record that is not odd in its class, with this value at one of these paths, may come this way. The paths
    /// are all at which the field may stand.
    #[must_use]
    pub fn admits(&self, paths: &[String], value: &str) -> bool {
        self.plan.when.iter().all(|(place, patterns): &(usize, Vec<Pattern>)| {
            let about = self.mapping.conditions.get(*place).is_some_and(|own| within(paths, own));
            !about || patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(value))
        })
    }
}

/// Whether a field that stands at one of these paths, and nowhere else, stands where the mapping looks.
fn within(paths: &[String], own: &[FieldPath]) -> bool {
    !paths.is_empty() && paths.iter().all(|path| own.iter().any(|own| path == own.as_str()))
}

impl Field {
    /// Whether its column, where it has one, keeps the field as the source wrote it.
    pub(super) fn keeps(&self) -> bool {
        let source = &self.source;
        let plain = source.regex.is_none()
            && source.convert == Convert::None
            && source.lookup.is_empty()
            && source.constant.is_none()
            && !source.paths.is_empty();
        plain && self.column.is_some() && !self.list && matches!(self.target, Target::Text | Target::Ip)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mappings;

    #[test]
    fn a_column_is_told_only_where_it_keeps_what_the_source_wrote() {
        let mapping = Mappings::built_in().named("windows-flat").unwrap();
        let paths = |name: &str| vec![name.to_owned()];
        let (id, channel) = (paths("EventID"), paths("Channel"));
        let sysmon: Vec<_> = mapping
            .shapes()
            .unwrap()
            .filter(|shape| shape.admits(&id, "1") && shape.admits(&channel, "Microsoft-Windows-Sysmon/Operational"))
            .collect();
        let process = sysmon.iter().find(|shape| shape.class_uid() == 1007).unwrap();
        assert_eq!(process.column_of(&paths("Image")).unwrap().column.name, "process_path");
        // Its name is only the end of the path, and the user is cut.
        assert!(process.column_of(&paths("User")).is_none());
        assert!(process.column_of(&paths("NoSuchField")).is_none());
        assert!(sysmon.iter().all(|shape| shape.class_uid() != 4001), "a connection is no process");
        assert!(mapping.means_nothing("-") && mapping.means_nothing("") && !mapping.means_nothing("x"));
        assert!(Mappings::built_in().named("ocsf").unwrap().shapes().is_none());
    }
}

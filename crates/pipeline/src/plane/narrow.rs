//! What a record needs so that a rule may match it, in the lake's own terms: classes, and texts in typed columns. Made from
//! the rule, the gate of its log source and the mappings, so that files, runs and pages that hold no such record are never
//! read. Where anything is not certain it asks for nothing. What it rests on, that columns were filled by the mappings of
//! this build and that a field holds one plain value, the lake knows of each run of rows and reads the others whole.

use super::rules::format_of;
use detection::profile::{Format, Gate, Profile, Step};
use detection::sigma::{Expr, LogSource, Matcher, Number, Part, Pattern, Test};
use event::mapping::{Mapping, Mappings, Shape};
use lake::Needed;
use std::collections::BTreeMap;

/// Shorter texts stand in nearly every value: looking for them costs more than it saves.
const TEXT_BYTES_MIN: usize = 3;
/// The class of what no way of a mapping takes.
const UNKNOWN: u32 = 0;
/// Texts of one question; a rule with more is a list of indicators, and planning would take longer than reading.
const TEXTS_MAX: usize = 400;

/// What records need so that any of these rules may match, by any built-in mapping. `Needed::All` of nothing asks for every
/// record; `Needed::Any` of nothing says that no record of a known source is ever asked.
pub(super) fn needed<'r>(rules: impl Iterator<Item = (&'r LogSource, &'r Expr)> + Clone) -> Needed {
    let mut classes: BTreeMap<u32, Vec<Needed>> = BTreeMap::new();
    for mapping in Mappings::built_in().iter() {
        let Some(format) = format_of(mapping.name()) else { continue };
        let profile = Profile::new(format);
        for (logsource, expr) in rules.clone() {
            let Gate::Open(gate) = profile.gate(logsource) else { continue };
            let Some(shapes) = mapping.shapes() else { return everything() };
            let whole = Expr::And(vec![gate, expr.clone()]);
            let (mut known, mut taken) = (Vec::new(), false);
            for shape in shapes {
                let around = Around { mapping, shape, profile: &profile };
                if known.is_empty() {
                    around.demanded(&whole, &mut known);
                }
                let part = around.of(&whole);
                if part != nothing() {
                    classes.entry(shape.class_uid()).or_default().push(part);
                }
                // What this way takes never comes another one.
                taken = shape.takes(&known);
                if taken {
                    break;
                }
            }
            if !taken {
                classes.entry(UNKNOWN).or_default().push(everything());
            }
        }
    }
    let of_class = |(class, parts): (u32, Vec<Needed>)| all(vec![Needed::Class(class), any(parts)]);
    let whole = any(classes.into_iter().map(of_class).collect());
    if texts(&whole) > TEXTS_MAX { classes_of(&whole) } else { whole }
}

fn everything() -> Needed {
    Needed::All(Vec::new())
}

fn nothing() -> Needed {
    Needed::Any(Vec::new())
}

/// All of these, without what asks for nothing.
fn all(parts: Vec<Needed>) -> Needed {
    if parts.contains(&nothing()) {
        return nothing();
    }
    let mut kept: Vec<Needed> = Vec::new();
    for part in parts {
        match part {
            Needed::All(inner) => kept.extend(inner),
            other => kept.push(other),
        }
    }
    kept.dedup();
    if kept.len() == 1 { kept.remove(0) } else { Needed::All(kept) }
}

/// One of these; everything where one asks for nothing.
fn any(parts: Vec<Needed>) -> Needed {
    let mut kept: Vec<Needed> = Vec::new();
    for part in parts {
        match part {
            Needed::All(inner) if inner.is_empty() => return everything(),
            Needed::Any(inner) => inner.into_iter().for_each(|one| push_new(&mut kept, one)),
            other => push_new(&mut kept, other),
        }
    }
    if kept.len() == 1 { kept.remove(0) } else { Needed::Any(kept) }
}

fn push_new(kept: &mut Vec<Needed>, one: Needed) {
    if !kept.contains(&one) {
        kept.push(one);
    }
}

fn texts(needed: &Needed) -> usize {
    match needed {
        Needed::All(parts) | Needed::Any(parts) => parts.iter().map(texts).sum(),
        Needed::Class(_) => 0,
        Needed::Contains(..) | Needed::Equals(..) => 1,
    }
}

/// The same without the texts.
fn classes_of(needed: &Needed) -> Needed {
    let parts = if let Needed::Any(parts) = needed { parts.as_slice() } else { std::slice::from_ref(needed) };
    let class = |part: &Needed| match part {
        Needed::Class(class) => Some(Needed::Class(*class)),
        Needed::All(inner) => inner.iter().find(|one| matches!(one, Needed::Class(_))).cloned(),
        _ => None,
    };
    parts.iter().map(class).collect::<Option<Vec<_>>>().map_or_else(everything, Needed::Any)
}

/// The one value, up to the case of its letters, that a test holds of.
fn literal(test: &Test) -> Option<String> {
    match &test.matcher {
        Matcher::Number(Number::Int(number)) => Some(number.to_string()),
        Matcher::Text(pattern) if pattern.placeholder().is_none() => {
            pattern.as_literal().filter(|text| text.is_ascii()).map(str::to_owned)
        }
        _ => None,
    }
}

/// One way in which records become events.
struct Around<'a> {
    mapping: &'a Mapping,
    shape: Shape<'a>,
    profile: &'a Profile,
}

impl Around<'_> {
    /// What an event that came this way needs for the expression to hold.
    fn of(&self, expr: &Expr) -> Needed {
        match expr {
            Expr::And(items) => all(items.iter().map(|item| self.of(item)).collect()),
            Expr::Or(items) => any(items.iter().map(|item| self.of(item)).collect()),
            // What must not hold says nothing of what there is.
            Expr::Not(_) => everything(),
            Expr::Test(test) => self.test(test),
        }
    }

    /// The fields of which the expression demands one of some values, whatever else it says.
    fn demanded(&self, expr: &Expr, known: &mut Vec<(Vec<String>, Vec<String>)>) {
        match expr {
            Expr::And(items) => items.iter().for_each(|item| self.demanded(item, known)),
            Expr::Or(items) => {
                let Some(Expr::Test(first)) = items.first() else { return };
                let one = |item: &Expr| match item {
                    Expr::Test(test) if test.field == first.field => literal(test),
                    _ => None,
                };
                if let (Some(field), Some(values)) = (&first.field, items.iter().map(one).collect::<Option<Vec<_>>>()) {
                    known.push((self.paths(field), values));
                }
            }
            Expr::Test(test) => {
                if let (Some(field), Some(value)) = (&test.field, literal(test)) {
                    known.push((self.paths(field), vec![value]));
                }
            }
            Expr::Not(_) => {}
        }
    }

    fn test(&self, test: &Test) -> Needed {
        let Some(field) = test.field.as_deref() else { return everything() };
        let paths = self.paths(field);
        match &test.matcher {
            Matcher::Number(Number::Int(number)) if !self.shape.admits(&paths, &number.to_string()) => nothing(),
            Matcher::Text(pattern) if pattern.placeholder().is_some() => nothing(),
            Matcher::Text(pattern) => {
                if pattern.as_literal().is_some_and(|text| text.is_ascii() && !self.shape.admits(&paths, text)) {
                    return nothing();
                }
                self.text(&paths, pattern).unwrap_or_else(everything)
            }
            Matcher::Unresolved(_) => nothing(),
            _ => everything(),
        }
    }

    fn text(&self, paths: &[String], pattern: &Pattern) -> Option<Needed> {
        let kept = self.shape.column_of(paths)?;
        let literal = pattern.as_literal().filter(|_| pattern.parts().len() == 1);
        if kept.addresses {
            // Only a whole address stands there as it was written.
            let text =
                literal.filter(|text| text.parse::<std::net::IpAddr>().is_ok() && !text.starts_with("::ffff:"))?;
            return Some(Needed::Equals(kept.column.name, text.to_owned()));
        }
        let longest = pattern.parts().iter().filter_map(|part| match part {
            Part::Text(text) if text.is_ascii() && text.len() >= TEXT_BYTES_MIN => Some(&**text),
            _ => None,
        });
        let longest = longest.max_by_key(|text| text.len())?;
        // A value that means nothing is in no column, though a rule may ask for it.
        let lower = longest.to_ascii_lowercase();
        if self.mapping.nothings().iter().any(|nothing| nothing.to_ascii_lowercase().contains(&lower)) {
            return None;
        }
        Some(match literal {
            Some(text) if text.is_ascii() => Needed::Equals(kept.column.name, text.to_owned()),
            _ => Needed::Contains(kept.column.name, longest.to_owned()),
        })
    }

    /// Where a field of a rule may stand in records of this mapping that are not odd, as the mapping writes paths.
    fn paths(&self, field: &str) -> Vec<String> {
        let name = |step: &Step| match step {
            Step::Key(name) | Step::Blank(name) => name.to_string(),
            Step::AnyKey => "*".to_owned(),
        };
        let mut paths: Vec<String> = Vec::new();
        for path in self.profile.paths(field) {
            let path = path.iter().map(name).collect::<Vec<_>>().join(".");
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        if *self.profile.format() == Format::WindowsEvtx {
            regular(&mut paths);
        }
        paths
    }
}

/// In Windows' envelope a record is odd that has fields beside the event, right below `UserData`, among the data under the
/// name of a field of the system part, or as objects where they are asked for as texts.
fn regular(paths: &mut Vec<String>) {
    let of_system = paths.iter().any(|path| path.starts_with("Event.System."));
    let wanted = |path: &String| match path.strip_prefix("Event.") {
        Some(inner) if of_system => inner.starts_with("System."),
        Some(inner) => inner.starts_with("EventData.") || inner.starts_with("UserData.*."),
        None => false,
    };
    paths.retain(wanted);
    let all = paths.clone();
    paths.retain(|path| path.strip_suffix(".#text").is_none_or(|outer| !all.iter().any(|other| other == outer)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use detection::sigma::Collection;

    fn of(body: &str) -> Needed {
        let text = format!("title: t\nid: r\n{body}\nlevel: low\n");
        let collection = Collection::load([("r", text.as_str())], &|_| None);
        assert!(collection.rejections.is_empty(), "{:?}", collection.rejections);
        needed(collection.rules.iter().map(|rule| (&rule.logsource, &rule.expr)))
    }

    fn classes(needed: &Needed) -> Vec<u32> {
        match needed {
            Needed::All(parts) | Needed::Any(parts) => parts.iter().flat_map(classes).collect(),
            Needed::Class(class) => vec![*class],
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_log_source_leads_to_its_classes_and_a_field_to_its_column() {
        let found = of(
            "logsource: {product: windows, category: process_creation}\ndetection: {s: {Image|endswith: '\\whoami.exe'}, condition: s}",
        );
        assert_eq!(classes(&found), [1007]);
        assert_eq!(
            found,
            Needed::All(vec![Needed::Class(1007), Needed::Contains("process_path", "\\whoami.exe".to_owned())])
        );
        let connection = of(
            "logsource: {product: windows, category: network_connection}\ndetection: {s: {DestinationIp: 203.0.113.7}, condition: s}",
        );
        assert_eq!(classes(&connection), [4001]);
        assert!(format!("{connection:?}").contains("Equals(\"dst_ip\", \"203.0.113.7\")"), "{connection:?}");
    }

    #[test]
    fn what_is_not_certain_asks_for_nothing() {
        let process = "logsource: {product: windows, category: process_creation}\n";
        let only_class = Needed::All(vec![Needed::Class(1007)]);
        for body in [
            "detection: {s: {Image|re: 'a+'}, condition: s}",
            "detection: {s: {Image: foo.exe}, condition: not s}",
            "detection: {s: {Image: foo.exe}, k: [bar], condition: s or k}",
            "detection: {s: {User: 'CORP\\ann'}, condition: s}",
            // What `N/A` holds may stand in no column.
            "detection: {s: {Image: 'N/A'}, condition: s}",
        ] {
            let found = of(&format!("{process}{body}"));
            assert!(found == only_class || found == Needed::Class(1007), "{body}: {found:?}");
        }
        assert_eq!(of("logsource: {product: nowhere}\ndetection: {s: {a: b}, condition: s}"), nothing());
    }

    #[test]
    fn what_many_rules_ask_for_leads_to_classes_and_columns() {
        let process = "logsource: {product: windows, category: process_creation}\n";
        let found = of(&format!(
            "{process}detection: {{s: {{Computer: ws-01, CommandLine|contains|all: [abc, wxyz]}}, condition: s}}"
        ));
        let text = format!("{found:?}");
        for wanted in
            ["Class(1007)", "Equals(\"device_hostname\", \"ws-01\")", "Contains(\"process_cmd_line\", \"wxyz\")"]
        {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }

    #[test]
    fn an_event_id_within_the_rule_leads_like_a_log_source() {
        let found = of(
            "logsource: {product: windows, service: security}\ndetection: {s: {EventID: 4625, TargetUserName: ann}, condition: s}",
        );
        assert_eq!(classes(&found), [3002], "{found:?}");
    }
}

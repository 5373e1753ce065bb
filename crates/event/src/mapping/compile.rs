//! Mapping files compiled against the schema: every OCSF path resolved to its type, captions to their numbers, required
//! attributes checked, fields sorted. Reports every fault of a file, never stops at the first.

use super::column::COLUMNS;
use super::file::{ClassFile, DetectFile, FormFile, FullSource, MappingFile, Paths, SourceFile};
use super::plan::{Consumed, Convert, Detect, Field, Mapping, MappingFault, Pattern, Plan, Segment, Source};
use super::trie::Trie;
use super::value::{Target, Value};
use crate::ocsf::{Attribute, Constraint, Entry, Requirement, Schema};
use crate::path::FieldPath;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};

/// One mapping for each form of the source.
pub(super) fn compile_file(name: &str, text: &str) -> Result<Vec<Mapping>, Vec<MappingFault>> {
    let fault = |place: &str, reason: String| MappingFault { file: name.to_owned(), place: place.to_owned(), reason };
    let file: MappingFile = toml::from_str(text).map_err(|error| vec![fault("syntax", error.to_string())])?;
    let mut mappings = Vec::new();
    let mut faults = Vec::new();
    for form in &file.forms {
        let mut compiler = Compiler { schema: Schema::built_in(), file: &file, form, faults: Vec::new() };
        mappings.push(compiler.mapping());
        faults.extend(compiler.faults.drain(..).map(|(place, reason)| fault(&place, reason)));
    }
    if faults.is_empty() { Ok(mappings) } else { Err(faults) }
}

struct Compiler<'f> {
    schema: &'static Schema,
    file: &'f MappingFile,
    form: &'f FormFile,
    faults: Vec<(String, String)>,
}

impl Compiler<'_> {
    fn mapping(&mut self) -> Mapping {
        let mut conditions = Vec::new();
        let classes = self.file.class.clone();
        let mut plans: Vec<Plan> = classes.iter().filter_map(|class| self.plan(class, &mut conditions)).collect();
        let complete = classes.last().is_some_and(|class| class.when.is_empty());
        if !self.file.passthrough && !complete {
            plans.extend(self.plan(&self.rest(), &mut conditions));
        }
        let mut mapping = Mapping {
            name: self.form.name.clone(),
            passthrough: self.file.passthrough,
            absent: self.file.absent.clone(),
            detect: self.form.detect.iter().map(|detect| self.detect(detect)).collect(),
            elsewhere: self.form.elsewhere.clone(),
            conditions: conditions.into_iter().map(|(_, paths)| paths).collect(),
            condition_slots: Vec::new(),
            trie: Trie::default(),
            plans,
        };
        number(&mut mapping);
        mapping
    }

    /// What becomes of a record that no class takes: a base event with what the set `base` has for it.
    fn rest(&self) -> ClassFile {
        let known = |path: &str| {
            let first = path.split('.').next().unwrap_or(path);
            self.schema.class(0).is_some_and(|class| self.schema.attribute(&class.entry, first).is_some())
        };
        let mut fields = self.file.sets.get("base").cloned().unwrap_or_default();
        fields.retain(|path, _| known(path));
        let (when, with) = (BTreeMap::new(), Vec::new());
        ClassFile { when, class: "base_event".to_owned(), activity: constant("0"), with, fields }
    }

    fn fault(&mut self, place: &str, reason: impl Into<String>) {
        self.faults.push((format!("{} {place}", self.form.name), reason.into()));
    }

    fn detect(&mut self, detect: &DetectFile) -> Detect {
        let paths = |texts: &mut dyn Iterator<Item = &String>| -> Vec<FieldPath> {
            texts.filter_map(|text| FieldPath::new(text).ok()).collect()
        };
        let exists = paths(&mut detect.exists.iter());
        let equals = detect.equals.iter().filter_map(|(path, values)| {
            let patterns = values.as_slice().iter().map(|value| Pattern::new(value)).collect();
            FieldPath::new(path).ok().map(|path| (path, patterns))
        });
        Detect { exists, equals: equals.collect() }
    }

    /// Where a field of the source lies in this form.
    fn locate(&mut self, field: &str) -> Vec<FieldPath> {
        let texts: Vec<String> = match self.form.fields.get(field) {
            Some(paths) => paths.as_slice().to_vec(),
            None if self.form.prefixes.is_empty() => vec![field.to_owned()],
            None => self.form.prefixes.iter().map(|prefix| format!("{prefix}{field}")).collect(),
        };
        let mut found = Vec::new();
        for text in texts {
            match FieldPath::new(&text) {
                Ok(path) => found.push(path),
                Err(error) => self.fault(field, error.to_string()),
            }
        }
        found
    }

    fn plan(&mut self, file: &ClassFile, conditions: &mut Vec<(String, Vec<FieldPath>)>) -> Option<Plan> {
        let Some(class) = self.schema.class_named(&file.class) else {
            self.fault(&file.class, format!("OCSF {} has no class of this name", self.schema.version()));
            return None;
        };
        let mut when = Vec::new();
        let mut consumed = Consumed::default();
        for (field, values) in &file.when {
            let place = conditions.iter().position(|(name, _)| name == field).unwrap_or_else(|| {
                let paths = self.locate(field);
                conditions.push((field.clone(), paths));
                conditions.len().saturating_sub(1)
            });
            if let Some((_, paths)) = conditions.get(place) {
                paths.iter().for_each(|path| consumed.add(path, false));
            }
            when.push((place, values.as_slice().iter().map(|value| Pattern::new(value)).collect()));
        }
        let mut wanted: BTreeMap<String, SourceFile> = BTreeMap::new();
        wanted.insert("metadata.version".to_owned(), constant(self.schema.version()));
        wanted.insert("metadata.product.name".to_owned(), constant(&self.file.product));
        wanted.insert("metadata.product.vendor_name".to_owned(), constant(&self.file.vendor));
        wanted.insert("severity_id".to_owned(), constant("Informational"));
        for set in &file.with {
            match self.file.sets.get(set) {
                Some(fields) => wanted.extend(fields.clone()),
                None => self.fault(&file.class, format!("no set is called `{set}`")),
            }
        }
        wanted.extend(file.fields.clone());
        let mut fields: Vec<Field> = Vec::new();
        for (path, source) in &wanted {
            let field = self.field(&class.entry, path, source);
            fields.extend(field);
        }
        self.complete(&class.entry, &mut fields, &file.class);
        fields.extend(self.field(&class.entry, "metadata.profiles", &constant("none")).map(|mut field| {
            field.source = Source { profiles: true, ..Source::default() };
            field
        }));
        self.satisfy(&class.entry, &mut fields);
        fields.sort_by(|left, right| left.path.cmp(&right.path));
        rivals(self.schema, &class.entry, &mut fields);
        let groups = group(&mut fields);
        let activity_target = match self.schema.attribute(&class.entry, "activity_id") {
            Some(attribute) => Target::Choice(self.schema.values(attribute).unwrap_or(&[])),
            None => Target::Int,
        };
        let place = format!("{} activity", file.class);
        let activity = match &file.activity {
            SourceFile::Path(caption) => self.source(&constant(caption), &activity_target, false, &place),
            other => self.source(other, &activity_target, false, &place),
        };
        for field in &fields {
            let whole = matches!(field.target, Target::Json);
            field.source.paths.iter().for_each(|path| consumed.add(path, whole));
        }
        activity.paths.iter().for_each(|path| consumed.add(path, false));
        let mut profiles: Vec<&'static str> = fields.iter().filter_map(|field| field.profile).collect();
        profiles.sort_unstable();
        profiles.dedup();
        Some(Plan {
            class_uid: class.uid,
            category_uid: class.category_uid,
            when,
            activity,
            activity_target,
            columns: needed(&fields),
            kept: kept(&fields),
            fields,
            groups,
            profiles,
            consumed,
        })
    }

    /// Resolve an OCSF path against the schema.
    fn field(&mut self, entry: &'static Entry, text: &str, source: &SourceFile) -> Option<Field> {
        let mut path = Vec::new();
        let (mut entry, mut profile, mut last): (_, _, Option<&'static Attribute>) = (entry, None, None);
        let mut parts = text.split('.').peekable();
        while let Some(part) = parts.next() {
            let Some(attribute) = self.schema.attribute(entry, part) else {
                self.fault(text, format!("`{}` has no attribute `{part}`", entry.name));
                return None;
            };
            profile = profile.or(attribute.profile);
            path.push(Segment::Key(part.to_owned()));
            let number = parts.peek().and_then(|next| next.parse().ok());
            if number.is_some() {
                parts.next();
            }
            if attribute.array && (number.is_some() || parts.peek().is_some()) {
                path.push(Segment::Index(number.unwrap_or(0)));
            }
            if let Some(object) = self.schema.object(attribute.kind) {
                entry = object;
            }
            last = Some(attribute);
        }
        let attribute = last?;
        let list = attribute.array && matches!(path.last(), Some(Segment::Key(_)));
        let mut target = self.target(attribute);
        if let SourceFile::Full(full) = source
            && full.convert.as_deref() == Some("hashes")
        {
            target = Target::Hashes;
        }
        let list = list && !matches!(target, Target::Hashes | Target::Json);
        let mut source_ = self.source(source, &target, list, text);
        source_.alone = path.len() == 1 || text.starts_with("metadata.");
        let shown = path.iter().fold(String::new(), |mut shown, segment| {
            let (dot, part) = match segment {
                Segment::Index(number) => (".", number.to_string()),
                Segment::Key(key) => (if shown.is_empty() { "" } else { "." }, key.clone()),
            };
            shown.push_str(dot);
            shown.push_str(&part);
            shown
        });
        let observable = if matches!(target, Target::Hashes) { Some(8) } else { self.schema.observable(attribute) };
        Some(Field {
            column: COLUMNS.iter().position(|column| column.path == shown),
            text: shown,
            list,
            path,
            target,
            source: source_,
            around: Vec::new(),
            observable,
            profile,
            instead_of: Vec::new(),
        })
    }

    fn target(&self, attribute: &'static Attribute) -> Target {
        match (self.schema.base_type(attribute.kind), attribute.kind) {
            (_, "timestamp_t") => Target::Time,
            (_, "ip_t") => Target::Ip,
            (Some("integer_t" | "long_t"), _) => self.schema.values(attribute).map_or(Target::Int, Target::Choice),
            (Some("float_t"), _) => Target::Float,
            (Some("boolean_t"), _) => Target::Bool,
            (Some("string_t"), _) => Target::Text,
            _ => Target::Json,
        }
    }

    /// A constant or default as the attribute's type; a caption that no enumeration has is a fault, not 99.
    fn made(
        &mut self,
        value: Option<&toml::Value>,
        target: &Target,
        list: bool,
        place: &str,
    ) -> Option<Value<'static>> {
        let text = plain(value?);
        self.check(&text, target, place);
        let value = target.cast_owned(text)?;
        Some(if list { Value::List(vec![value]) } else { value })
    }

    fn check(&mut self, text: &str, target: &Target, place: &str) {
        let fits = match target {
            Target::Choice(values) => {
                values.iter().any(|(key, caption)| *key == text || caption.eq_ignore_ascii_case(text))
            }
            other => other.cast_owned(text.to_owned()).is_some(),
        };
        if !fits {
            self.fault(place, format!("`{text}` is not a value of this attribute"));
        }
    }

    fn source(&mut self, file: &SourceFile, target: &Target, list: bool, place: &str) -> Source {
        let full = match file {
            SourceFile::Path(path) => return Source { paths: self.locate(path), ..Source::default() },
            SourceFile::First(paths) => {
                let paths = paths.iter().flat_map(|path| self.locate(path)).collect();
                return Source { paths, ..Source::default() };
            }
            SourceFile::Full(full) => full,
        };
        let FullSource { constant, from, regex, convert, lookup, default, fill } = full.as_ref();
        let names = from.as_ref().map_or(&[][..], Paths::as_slice);
        let regex = regex.as_ref().and_then(|text| match Regex::new(text) {
            Ok(regex) => Some(regex),
            Err(error) => {
                self.fault(place, error.to_string());
                None
            }
        });
        lookup.values().for_each(|text| self.check(text, target, place));
        let convert = match convert.as_deref() {
            None | Some("hashes") => Convert::None,
            Some("basename") => Convert::Basename,
            Some("lower") => Convert::Lower,
            Some("parent") => Convert::Parent,
            Some(other) => {
                self.fault(place, format!("`{other}` is no conversion; write basename, parent, lower or hashes"));
                Convert::None
            }
        };
        Source {
            paths: names.iter().flat_map(|path| self.locate(path)).collect(),
            slots: Vec::new(),
            regex,
            convert,
            lookup: lookup.clone(),
            constant: self.made(constant.as_ref(), target, list, place),
            alone: false,
            default: self.made(default.as_ref(), target, list, place),
            fill: self.made(fill.as_ref(), target, list, place),
            profiles: false,
        }
    }

    /// Add what the schema requires and a mapping need not say (numbers of kind `Unknown`); report what it must say.
    fn complete(&mut self, class: &'static Entry, fields: &mut Vec<Field>, place: &str) {
        const OWN: [&str; 5] = ["activity_id", "category_uid", "class_uid", "time", "type_uid"];
        for object in objects(fields) {
            let Some((entry, array)) = entry_at(self.schema, class, &object) else { continue };
            for attribute in self.schema.attributes(entry).filter(|one| one.requirement == Requirement::Required) {
                let own = object.is_empty() && (OWN.contains(&attribute.name) || attribute.profile.is_some());
                let prefix = if array { format!("{object}.0") } else { object.clone() };
                let dot = if object.is_empty() { "" } else { "." };
                let path = format!("{prefix}{dot}{}", attribute.name);
                let there = |field: &Field| field.text == path || field.text.starts_with(&format!("{path}."));
                if own || fields.iter().any(there) {
                    continue;
                }
                let unknown =
                    self.schema.values(attribute).is_some_and(|values| values.iter().any(|(key, _)| *key == "0"));
                if unknown {
                    let zero = FullSource { fill: Some(toml::Value::Integer(0)), ..FullSource::default() };
                    fields.extend(self.field(class, &path, &SourceFile::Full(Box::new(zero))));
                } else {
                    self.fault(
                        place,
                        format!("OCSF requires `{path}`; map it, with a default where the source may lack it"),
                    );
                }
            }
        }
    }

    /// Where OCSF asks for at least one of several attributes of an object, add one that is written only where the
    /// record has none of them.
    fn satisfy(&mut self, class: &'static Entry, fields: &mut Vec<Field>) {
        for object in objects(fields).into_iter().filter(|object| !object.is_empty()) {
            let Some((entry, array)) = entry_at(self.schema, class, &object) else { continue };
            let Some(members) = alternatives(entry) else { continue };
            let is_text = |name: &&&str| {
                let attribute = self.schema.attribute(entry, name);
                attribute.is_some_and(|one| !one.array && self.schema.base_type(one.kind) == Some("string_t"))
            };
            let preferred = members.iter().find(|name| **name == "uid").or_else(|| members.iter().find(is_text));
            let Some(name) = preferred else { continue };
            let path = if array { format!("{object}.0.{name}") } else { format!("{object}.{name}") };
            let unknown = Some(toml::Value::String("unknown".to_owned()));
            let source = SourceFile::Full(Box::new(FullSource { fill: unknown, ..FullSource::default() }));
            // Marked by a list that is not empty; the places are known once the fields are sorted.
            fields.extend(self.field(class, &path, &source).map(|field| Field {
                instead_of: vec![usize::MAX],
                observable: None,
                column: None,
                ..field
            }));
        }
    }
}

/// Give every path that the mapping reads its slot.
fn number(mapping: &mut Mapping) {
    let Mapping { trie, conditions, condition_slots, plans, .. } = mapping;
    let mut slots = |paths: &[FieldPath]| paths.iter().map(|path| trie.add(path)).collect::<Vec<u32>>();
    *condition_slots = conditions.iter().map(|paths| slots(paths)).collect();
    for plan in plans {
        let fields = plan.fields.iter_mut().map(|field| &mut field.source);
        for source in fields.chain([&mut plan.activity]) {
            source.slots = slots(&source.paths);
        }
    }
}

/// The fields that a column keeps as the source wrote them.
fn kept(fields: &[Field]) -> Vec<usize> {
    fields.iter().enumerate().filter(|(_, field)| field.keeps()).map(|(place, _)| place).collect()
}

/// The fields without which columns, observables, time and severity cannot be told, in order.
fn needed(fields: &[Field]) -> Vec<usize> {
    let mut needed = BTreeSet::new();
    for (place, field) in fields.iter().enumerate() {
        let shown = field.column.is_some() || field.observable.is_some();
        if !shown && !matches!(field.text.as_str(), "time" | "severity_id") {
            continue;
        }
        needed.insert(place);
        let made_up = field.source.constant.is_some() && !field.source.alone;
        if made_up || field.source.fill.is_some() {
            // Whether it is written hangs on its object having anything from the source, and on its rivals.
            let around = field.around.last();
            let beside = |other: &Field| around.is_some_and(|group| other.around.contains(group));
            needed.extend(fields.iter().enumerate().filter(|(_, other)| beside(other)).map(|(place, _)| place));
            needed.extend(field.instead_of.iter().copied().filter(|rival| *rival < fields.len()));
        }
    }
    needed.into_iter().collect()
}

/// The paths of the objects that hold fields, without a number at their end; the event itself is the empty path.
fn objects(fields: &[Field]) -> BTreeSet<String> {
    let mut objects = BTreeSet::from([String::new()]);
    for field in fields {
        let keys = field.text.match_indices('.').filter_map(|(at, _)| field.text.get(..at));
        objects.extend(keys.filter(|key| !key.ends_with(|end: char| end.is_ascii_digit())).map(str::to_owned));
    }
    objects
}

/// The object at a path, and whether it is an element of a list.
fn entry_at(schema: &'static Schema, class: &'static Entry, path: &str) -> Option<(&'static Entry, bool)> {
    let (mut entry, mut array) = (class, false);
    for part in path.split('.').filter(|part| !part.is_empty() && part.parse::<u32>().is_err()) {
        let attribute = schema.attribute(entry, part)?;
        entry = schema.object(attribute.kind)?;
        array = attribute.array;
    }
    Some((entry, array))
}

/// The attributes of which an object needs at least one.
fn alternatives(entry: &'static Entry) -> Option<&'static [&'static str]> {
    entry.constraints.iter().find_map(|constraint| match constraint {
        Constraint::AtLeastOne(members) => Some(members.as_slice()),
        Constraint::JustOne(_) => None,
    })
}

/// Resolve what the fields added by `satisfy` stand in for.
fn rivals(schema: &'static Schema, class: &'static Entry, fields: &mut [Field]) {
    let texts: Vec<(String, bool)> =
        fields.iter().map(|field| (field.text.clone(), field.instead_of.is_empty())).collect();
    for field in fields.iter_mut().filter(|field| !field.instead_of.is_empty()) {
        let object = field.text.rsplit_once('.').map_or("", |(object, _)| object);
        let members = entry_at(schema, class, object).and_then(|(entry, _)| alternatives(entry)).unwrap_or(&[]);
        let heads: Vec<String> = members.iter().map(|name| format!("{object}.{name}")).collect();
        let rival = |text: &str| {
            heads.iter().any(|head| {
                text.strip_prefix(head.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        let places = texts.iter().enumerate().filter(|(_, (text, own))| *own && rival(text)).map(|(place, _)| place);
        field.instead_of = places.chain([usize::MAX]).collect();
    }
}

/// Number the objects around each field; the count of all.
fn group(fields: &mut [Field]) -> usize {
    let mut numbers: BTreeMap<Vec<Segment>, usize> = BTreeMap::new();
    for field in fields.iter_mut() {
        for length in 1..field.path.len() {
            let around = field.path.get(..length).unwrap_or(&[]).to_vec();
            let next = numbers.len();
            field.around.push(*numbers.entry(around).or_insert(next));
        }
    }
    numbers.len()
}

fn constant(text: &str) -> SourceFile {
    let constant = Some(toml::Value::String(text.to_owned()));
    SourceFile::Full(Box::new(FullSource { constant, ..FullSource::default() }))
}

fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

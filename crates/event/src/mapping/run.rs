//! One record through one mapping: choose the class, read the values, write the event. Never fails: what does not fit
//! stays in the raw text and in the list of what is unmapped.

use super::column::{COLUMNS, ColumnType};
use super::output::{ColumnValue, Normalised, Observable, ObservableKind, Odd};
use super::plan::{Convert, Field, Mapping, Plan, Segment, Source};
use super::stray;
use super::trie::Trie;
use super::value::{Target, Value, push, write_item, write_text};
use crate::ocsf::{Entry, Schema};
use crate::path::FieldPath;
use crate::scalar::Scalar;
use crate::view::{Item, Kind, Leaves, View};
use ids::Timestamp;
use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

/// Observables of one event beyond this many are left out; a record that lists more is no lead.
const OBSERVABLES_MAX: usize = 64;

/// Unmapped fields beyond this many are only flagged: a path is repeated for each, which a hostile record could turn
/// into many times its own size.
const UNMAPPED_MAX: usize = 1024;

/// The buffers of normalising; one per thread.
#[derive(Default)]
pub struct Normaliser {
    seen: HashSet<String>,
    leaves: Leaves,
    alive: Vec<bool>,
}

/// The values of a plan's fields, each with where it comes from.
type Values<'v> = Vec<Option<(Value<'v>, Origin)>>;
/// What stands at each path of a mapping.
type Slots<'v> = Vec<Option<Item<'v>>>;

impl Normaliser {
    /// Without buffers yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Turn a record into an OCSF event, in place of what `out` held. `received` is the time of a record that does
    /// not say when it happened.
    pub fn normalise(&mut self, mapping: &Mapping, record: &View<'_>, received: Timestamp, out: &mut Normalised) {
        out.clear(received);
        if mapping.passthrough {
            pass(record, received, out);
            out.json.push_str(&String::from_utf8_lossy(record.raw()));
            return;
        }
        let (slots, doubled) = slots(mapping, record);
        out.odd = odd_choice(mapping, record, &slots, &doubled);
        let Some(plan) = choose(mapping, &slots) else { return };
        odd_columns(plan, &slots, &doubled, &mut out.odd);
        let absent = mapping.absent.as_slice();
        let values: Values<'_> = plan.fields.iter().map(|field| evaluate_field(field, &slots, absent)).collect();
        self.head(plan, &values, &slots, absent, out);
        self.write(plan, &values, out);
        for (field, value) in plan.fields.iter().zip(&values) {
            self.note(field, value.as_ref(), &values, out);
        }
        finish(out);
        self.unmapped(plan, record, absent, out);
        out.json.push('}');
    }

    /// As [`Normaliser::normalise`], without the event's JSON and without looking for what is unmapped: what tables
    /// keep of an event, at a fraction of the cost.
    pub fn normalise_columns(
        &mut self,
        mapping: &Mapping,
        record: &View<'_>,
        received: Timestamp,
        out: &mut Normalised,
    ) {
        out.clear(received);
        if mapping.passthrough {
            pass(record, received, out);
            return;
        }
        let (slots, doubled) = slots(mapping, record);
        out.odd = odd_choice(mapping, record, &slots, &doubled);
        let Some(plan) = choose(mapping, &slots) else { return };
        odd_columns(plan, &slots, &doubled, &mut out.odd);
        let absent = mapping.absent.as_slice();
        let mut values: Values<'_> = Vec::new();
        values.resize_with(plan.fields.len(), || None);
        for place in &plan.columns {
            if let (Some(field), Some(value)) = (plan.fields.get(*place), values.get_mut(*place)) {
                *value = evaluate_field(field, &slots, absent);
            }
        }
        self.head(plan, &values, &slots, absent, out);
        for place in &plan.columns {
            if let (Some(field), Some(value)) = (plan.fields.get(*place), values.get(*place)) {
                self.note(field, value.as_ref(), &values, out);
            }
        }
    }

    /// Class, activity and time; and which objects have something from the source.
    fn head(&mut self, plan: &Plan, values: &Values<'_>, slots: &Slots<'_>, absent: &[String], out: &mut Normalised) {
        let activity = evaluate(&plan.activity, &plan.activity_target, false, slots, absent).map(|found| found.0);
        out.class_uid = plan.class_uid;
        out.activity_id = if let Some(Value::Int(number)) = activity { number } else { 0 };
        let time = plan.fields.iter().zip(values).find(|(field, _)| field.text == "time");
        if let Some((_, Some((Value::Time(time), _)))) = time {
            out.time = *time;
            out.time_from_source = true;
        }
        self.mark(plan, values);
    }

    /// Columns and observables of one value, where it is written.
    fn note(&self, field: &Field, value: Option<&(Value<'_>, Origin)>, values: &Values<'_>, out: &mut Normalised) {
        if let Some((value, origin)) = value
            && self.shown(field, *origin, values)
        {
            note(field, value, *origin, out);
        }
    }

    /// Which objects have a value that the source gave.
    fn mark(&mut self, plan: &Plan, values: &Values<'_>) {
        self.alive.clear();
        self.alive.resize(plan.groups, false);
        for (field, value) in plan.fields.iter().zip(values) {
            if matches!(value, Some((_, Origin::Record | Origin::Mapping))) {
                for group in &field.around {
                    if let Some(alive) = self.alive.get_mut(*group) {
                        *alive = true;
                    }
                }
            }
        }
    }

    /// Whether a value is written: a filling one only where its object is, and where nothing stands in its stead.
    fn shown(&self, field: &Field, origin: Origin, values: &Values<'_>) -> bool {
        if origin != Origin::Fill {
            return true;
        }
        let alive = field.around.last().is_none_or(|group| self.alive.get(*group) == Some(&true));
        let rival = |place: &usize| matches!(values.get(*place), Some(Some((_, origin))) if *origin != Origin::Fill);
        alive && !field.instead_of.iter().any(rival)
    }

    fn write(&self, plan: &Plan, values: &Values<'_>, out: &mut Normalised) {
        for (key, number) in [
            ("{\"activity_id\":", out.activity_id),
            (",\"category_uid\":", i64::from(plan.category_uid)),
            (",\"class_uid\":", i64::from(plan.class_uid)),
            (",\"type_uid\":", i64::from(plan.class_uid).saturating_mul(100).saturating_add(out.activity_id)),
            (",\"time\":", out.time.as_millis()),
        ] {
            out.json.push_str(key);
            push(&mut out.json, &number);
        }
        let mut writer = Writer::new(&mut out.json);
        let used = |profile: &&str| {
            plan.fields.iter().zip(values).any(|(field, value)| {
                field.profile == Some(*profile)
                    && value.as_ref().is_some_and(|(_, origin)| self.shown(field, *origin, values))
            })
        };
        for (field, value) in plan.fields.iter().zip(values) {
            if field.source.profiles {
                let profiles: Vec<&str> = plan.profiles.iter().copied().filter(used).collect();
                if !profiles.is_empty() {
                    let list = profiles.into_iter().map(|profile| Value::Text(Cow::Borrowed(profile))).collect();
                    writer.put(&field.path, |json| Value::List(list).write(json));
                }
            } else if let Some((value, origin)) = value
                && field.text != "time"
                && self.shown(field, *origin, values)
            {
                writer.put(&field.path, |json| value.write(json));
            }
        }
        writer.close();
    }

    /// List what no field took, and add it to the event.
    fn unmapped(&mut self, plan: &Plan, record: &View<'_>, absent: &[String], out: &mut Normalised) {
        let Self { seen, leaves, .. } = self;
        seen.clear();
        let Normalised { json, unmapped, unmapped_more, .. } = out;
        let mut first = true;
        record.leaves(leaves, |path, scalar| {
            let nothing = scalar.is_null() || scalar.as_str().is_some_and(|text| is_absent(text, absent));
            if nothing || plan.consumed.holds(path) || seen.contains(path) {
                return ControlFlow::Continue(());
            }
            if unmapped.len() == UNMAPPED_MAX {
                *unmapped_more = true;
                return ControlFlow::Break(());
            }
            json.push_str(if first { ",\"unmapped\":{" } else { "," });
            first = false;
            write_text(path, json);
            json.push(':');
            match scalar {
                Scalar::Str(text) => write_text(text, json),
                other => push(json, &other),
            }
            seen.insert(path.to_owned());
            unmapped.push(path.to_owned());
            ControlFlow::Continue(())
        });
        if !first {
            json.push('}');
        }
    }
}

/// Paths of the columns in events that came as OCSF, slot for slot.
static OCSF_COLUMNS: LazyLock<Trie> = LazyLock::new(|| {
    let mut trie = Trie::default();
    for path in OCSF_HEAD.into_iter().chain(COLUMNS.iter().map(|column| column.path)) {
        if let Ok(path) = FieldPath::new(path) {
            trie.add(&path);
        }
    }
    trie
});
/// Slots before those of the columns.
const OCSF_HEAD: [&str; 4] = ["class_uid", "activity_id", "severity_id", "time"];

/// A record that is an OCSF event already.
fn pass(record: &View<'_>, received: Timestamp, out: &mut Normalised) {
    let (slots, _) = read_slots(&OCSF_COLUMNS, record);
    let scalar = |place: usize| slots.get(place).copied().flatten().and_then(first_scalar);
    let number = |place: usize| scalar(place).and_then(Scalar::to_int);
    out.class_uid = number(0).and_then(|uid| u32::try_from(uid).ok()).unwrap_or(0);
    out.activity_id = number(1).unwrap_or(0);
    out.severity_id = number(2).unwrap_or(0);
    let time = number(3).map(|millis| Timestamp::from_micros(millis.saturating_mul(1000)));
    (out.time, out.time_from_source) = (time.unwrap_or(received), time.is_some());
    for (place, column) in COLUMNS.iter().enumerate() {
        let Some(scalar) = scalar(place.saturating_add(OCSF_HEAD.len())) else { continue };
        if !column.belongs_to(out.class_uid) {
            continue;
        }
        let value = match column.kind {
            ColumnType::Int => scalar.to_int().map(ColumnValue::Int),
            ColumnType::Text => Some(ColumnValue::Text(scalar.to_text().into_owned())),
        };
        out.columns.extend(value.map(|value| (place, value)));
    }
    let schema = Schema::built_in();
    if let Some(class) = schema.class(out.class_uid) {
        observe(schema, record.root(), &class.entry, &mut String::new(), out);
    }
    out.observables.sort();
    out.observables.dedup_by(|left, right| left.kind == right.kind && left.value == right.value);
}

fn slots<'v>(mapping: &Mapping, record: &'v View<'_>) -> (Slots<'v>, Vec<u32>) {
    read_slots(&mapping.trie, record)
}

/// What stands at each path, and the paths at which more than one value stands: of them it is the last.
fn read_slots<'v>(trie: &Trie, record: &'v View<'_>) -> (Slots<'v>, Vec<u32>) {
    let mut slots = vec![None; trie.slots()];
    let mut doubled = Vec::new();
    trie.visit(record.root(), &mut |slot, item| {
        if let Some(place) = usize::try_from(slot).ok().and_then(|slot| slots.get_mut(slot))
            && place.replace(item).is_some()
        {
            doubled.push(slot);
        }
    });
    (slots, doubled)
}

/// Whether the class hangs on a field that says more than one thing, or fields stand besides where they are looked for.
fn odd_choice(mapping: &Mapping, record: &View<'_>, slots: &Slots<'_>, doubled: &[u32]) -> Odd {
    let mut odd = Odd::default();
    let strays = || !mapping.elsewhere.is_empty() && stray::any(record.root(), &mapping.elsewhere);
    if !mapping.condition_slots.iter().all(|own| single(own, slots, doubled)) || strays() {
        odd.set_class();
    }
    odd
}

/// Which columns say less than their fields.
fn odd_columns(plan: &Plan, slots: &Slots<'_>, doubled: &[u32], odd: &mut Odd) {
    for field in plan.kept.iter().filter_map(|place| plan.fields.get(*place)) {
        if let Some(column) = field.column
            && !single(&field.source.slots, slots, doubled)
        {
            odd.set_column(column);
        }
    }
}

/// Whether these places hold one value at most, in the one form that everybody reads in it.
fn single(own: &[u32], slots: &Slots<'_>, doubled: &[u32]) -> bool {
    let mut seen = false;
    for slot in own {
        let Some(item) = item_at(slots, *slot) else { continue };
        if doubled.contains(slot) {
            return false;
        }
        match item.kind() {
            Kind::Scalar(Scalar::Null) => {}
            Kind::Scalar(scalar) if !seen && plain(scalar) => seen = true,
            // What is asked first stood there already; an object around it has no text of its own.
            Kind::Object(_) if seen => {}
            _ => return false,
        }
    }
    true
}

/// Floats have more than one text; these two letters are the ones beyond ASCII that fold into it.
fn plain(scalar: Scalar<'_>) -> bool {
    match scalar {
        Scalar::Str(text) => text.is_ascii() || !text.contains(['\u{17f}', '\u{212a}']),
        Scalar::Float(_) => false,
        _ => true,
    }
}

fn item_at<'v>(slots: &Slots<'v>, slot: u32) -> Option<Item<'v>> {
    usize::try_from(slot).ok().and_then(|slot| slots.get(slot).copied().flatten())
}

fn first_scalar(item: Item<'_>) -> Option<Scalar<'_>> {
    let mut first = None;
    let _ = item.scalars(&mut |scalar| {
        first = Some(scalar);
        ControlFlow::Break(())
    });
    first
}

/// The first plan whose conditions hold.
fn choose<'m>(mapping: &'m Mapping, slots: &Slots<'_>) -> Option<&'m Plan> {
    let text = |slot: &u32| item_at(slots, *slot).and_then(text_of);
    let conditions: Vec<Option<Cow<'_, str>>> =
        mapping.condition_slots.iter().map(|slots| slots.iter().find_map(text)).collect();
    mapping.plans.iter().find(|plan| {
        plan.when.iter().all(|(place, patterns)| match conditions.get(*place) {
            Some(Some(text)) => patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(text)),
            _ => false,
        })
    })
}

fn text_of(item: Item<'_>) -> Option<Cow<'_, str>> {
    match item.kind() {
        Kind::Scalar(Scalar::Null) => None,
        Kind::Scalar(scalar) => Some(scalar.to_text()),
        // A list or object is there, and has no text of its own.
        Kind::Array(_) | Kind::Object(_) => Some(first_scalar(item).map_or(Cow::Borrowed(""), Scalar::to_text)),
    }
}

fn is_absent(text: &str, absent: &[String]) -> bool {
    text.is_empty() || absent.iter().any(|nothing| nothing == text)
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Origin {
    /// The mapping gives it, and only where something else of its object is there.
    Fill,
    /// The mapping gives it.
    Mapping,
    /// The record has it.
    Record,
}

fn evaluate_field<'v>(field: &'v Field, slots: &Slots<'v>, absent: &[String]) -> Option<(Value<'v>, Origin)> {
    evaluate(&field.source, &field.target, field.list, slots, absent)
}

/// The value of a source.
fn evaluate<'v>(
    source: &'v Source,
    target: &Target,
    list: bool,
    slots: &Slots<'v>,
    absent: &[String],
) -> Option<(Value<'v>, Origin)> {
    if let Some(constant) = &source.constant {
        return Some((constant.borrow(), if source.alone { Origin::Mapping } else { Origin::Fill }));
    }
    for slot in &source.slots {
        let Some(item) = item_at(slots, *slot) else { continue };
        if let Some(value) = read(source, target, list, item, absent) {
            return Some((value, Origin::Record));
        }
    }
    let by_default = source.default.as_ref().map(|value| (value.borrow(), Origin::Mapping));
    by_default.or_else(|| source.fill.as_ref().map(|value| (value.borrow(), Origin::Fill)))
}

fn read<'v>(source: &Source, target: &Target, list: bool, item: Item<'v>, absent: &[String]) -> Option<Value<'v>> {
    if matches!(target, Target::Json) && source.regex.is_none() && source.lookup.is_empty() {
        let empty = match item.kind() {
            Kind::Scalar(scalar) => scalar.is_null() || scalar.as_str().is_some_and(|text| is_absent(text, absent)),
            Kind::Array(mut elements) => elements.next().is_none(),
            Kind::Object(mut members) => members.next().is_none(),
        };
        let mut json = String::new();
        write_item(item, &mut json);
        return (!empty).then_some(Value::Json(json));
    }
    let mut values = Vec::new();
    let _ = item.scalars(&mut |scalar| {
        values.extend(convert(source, target, scalar, absent));
        if list || values.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if list { (!values.is_empty()).then_some(Value::List(values)) } else { values.pop() }
}

fn convert<'v>(source: &Source, target: &Target, scalar: Scalar<'v>, absent: &[String]) -> Option<Value<'v>> {
    if scalar.is_null() || scalar.as_str().is_some_and(|text| is_absent(text, absent)) {
        return None;
    }
    let plain = source.regex.is_none() && source.convert == Convert::None && source.lookup.is_empty();
    if plain {
        return target.cast(scalar);
    }
    let mut text = scalar.to_text();
    if let Some(regex) = &source.regex {
        let found = regex.captures(&text)?.get(1)?.as_str().to_owned();
        if is_absent(&found, absent) {
            return None;
        }
        text = Cow::Owned(found);
    }
    text = match (source.convert, text) {
        (Convert::None, text) => text,
        (Convert::Lower, text) => Cow::Owned(text.to_lowercase()),
        (convert, Cow::Borrowed(text)) => Cow::Borrowed(part(convert, text)?),
        (convert, Cow::Owned(text)) => Cow::Owned(part(convert, &text)?.to_owned()),
    };
    if is_absent(&text, absent) {
        return None;
    }
    if !source.lookup.is_empty() {
        let found = source.lookup.get(text.as_ref()).or_else(|| source.lookup.get("*"))?;
        return target.cast_owned(found.clone());
    }
    match text {
        Cow::Borrowed(text) => target.cast(Scalar::Str(text)),
        Cow::Owned(text) => target.cast_owned(text),
    }
}

/// What stands behind or before the last slash or backslash.
fn part(convert: Convert, text: &str) -> Option<&str> {
    let parts = text.rsplit_once(['\\', '/']);
    match convert {
        Convert::Parent => parts.map(|(parent, _)| parent),
        _ => Some(parts.map_or(text, |(_, name)| name)),
    }
}

/// Columns and observables of one written value.
fn note(field: &Field, value: &Value<'_>, origin: Origin, out: &mut Normalised) {
    if let Some(place) = field.column {
        let kind = COLUMNS.get(place).map(|column| column.kind);
        let value = match (kind, value) {
            (Some(ColumnType::Int), Value::Int(number)) => Some(ColumnValue::Int(*number)),
            (Some(ColumnType::Text), value) => value.to_text().map(ColumnValue::Text),
            _ => None,
        };
        out.columns.extend(value.map(|value| (place, value)));
    }
    if field.text == "severity_id"
        && let Value::Int(number) = value
    {
        out.severity_id = *number;
    }
    // What the mapping made up is no lead.
    let Some(type_id) = field.observable.filter(|_| origin == Origin::Record) else { return };
    match value {
        Value::Hashes(values) => {
            values.iter().for_each(|(_, digest)| add_observable(type_id, &field.text, digest, out));
        }
        Value::List(values) => {
            values.iter().filter_map(Value::as_text).for_each(|text| add_observable(type_id, &field.text, text, out));
        }
        value => value.as_text().into_iter().for_each(|text| add_observable(type_id, &field.text, text, out)),
    }
}

fn add_observable(type_id: u16, path: &str, value: &str, out: &mut Normalised) {
    let Some(kind) = ObservableKind::of(type_id, path) else { return };
    let known = |other: &Observable| other.kind == kind && other.value == value;
    if out.observables.len() < OBSERVABLES_MAX && !out.observables.iter().any(known) {
        out.observables.push(Observable { kind, type_id, path: path.to_owned(), value: value.to_owned() });
    }
}

/// Add the observables to the event.
fn finish(out: &mut Normalised) {
    let Normalised { json, observables, .. } = out;
    for (place, observable) in observables.iter().enumerate() {
        json.push_str(if place == 0 { ",\"observables\":[{\"name\":" } else { ",{\"name\":" });
        write_text(&observable.path, json);
        json.push_str(",\"type_id\":");
        push(json, &observable.type_id);
        json.push_str(",\"value\":");
        write_text(&observable.value, json);
        json.push('}');
    }
    if !observables.is_empty() {
        json.push(']');
    }
}

/// The observables of an event that came as OCSF, found by the schema.
fn observe(schema: &Schema, item: Item<'_>, entry: &Entry, path: &mut String, out: &mut Normalised) {
    for (key, value) in item.members() {
        let Some(attribute) = schema.attribute(entry, key) else { continue };
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(key);
        if let Some(object) = schema.object(attribute.kind).filter(|_| key != "observables" && key != "unmapped") {
            match value.kind() {
                Kind::Array(elements) => {
                    elements.into_iter().for_each(|element| observe(schema, element, object, path, out));
                }
                _ => observe(schema, value, object, path, out),
            }
        } else if let Some(type_id) = schema.observable(attribute) {
            let _ = value.scalars(&mut |scalar| {
                if !scalar.is_null() {
                    add_observable(type_id, path, &scalar.to_text(), out);
                }
                ControlFlow::Continue(())
            });
        }
        path.truncate(length);
    }
}

/// Writes nested JSON from paths that come sorted, into an object that has members already.
struct Writer<'o, 'p> {
    json: &'o mut String,
    open: Vec<&'p Segment>,
    filled: Vec<bool>,
    /// Whether what is open at each level is an object; else it is a list.
    kinds: Vec<bool>,
}

impl<'o, 'p> Writer<'o, 'p> {
    fn new(json: &'o mut String) -> Self {
        Self { json, open: Vec::new(), filled: vec![true], kinds: Vec::new() }
    }

    fn put(&mut self, path: &'p [Segment], value: impl FnOnce(&mut String)) {
        let same = self.open.iter().zip(path).take_while(|(left, right)| **left == *right).count();
        // The last segment is the value itself and never stays open.
        let same = same.min(path.len().saturating_sub(1)).min(self.open.len());
        self.close_to(same);
        for (level, segment) in path.iter().enumerate().skip(same) {
            if let Some(filled) = self.filled.last_mut() {
                if *filled {
                    self.json.push(',');
                }
                *filled = true;
            }
            if let Segment::Key(key) = segment {
                write_text(key, self.json);
                self.json.push(':');
            }
            if let Some(next) = path.get(level.saturating_add(1)) {
                let object = matches!(next, Segment::Key(_));
                self.json.push(if object { '{' } else { '[' });
                self.open.push(segment);
                self.kinds.push(object);
                self.filled.push(false);
            }
        }
        value(self.json);
    }

    fn close_to(&mut self, level: usize) {
        while self.open.len() > level {
            self.open.pop();
            self.filled.pop();
            let object = self.kinds.pop().unwrap_or(true);
            self.json.push(if object { '}' } else { ']' });
        }
    }

    /// Close everything but the event itself, to which the caller adds.
    fn close(&mut self) {
        self.close_to(0);
    }
}

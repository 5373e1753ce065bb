//! Compiles the OCSF schema source into the table that crate `event` embeds: categories, types, enumerations,
//! attributes, classes and objects with inheritance, profiles and extensions resolved. Never edits the schema.
//!
//! The table is text, one entry a line, fields by tab, so that a new schema version shows as a readable difference:
//! `k` category, `t` type, `e` enumeration, `a` attribute, `c` class, `o` object; entries refer to earlier lines of
//! a kind by number from 0.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Where the table lies, below the project's root.
const TABLE: &str = "crates/event/src/ocsf/table.txt";

type Object = Map<String, Value>;

/// Compile `schema` and write the table.
pub(crate) fn run(root: &Path, schema: &Path) -> Result<()> {
    let table = compile(schema)?;
    let path = root.join(TABLE);
    std::fs::write(&path, &table).with_context(|| format!("write {}", path.display()))?;
    println!("{TABLE}: {} bytes", table.len());
    Ok(())
}

/// What lies at an extension's place: its dictionary, objects and events.
struct Source {
    dictionary: Object,
    types: Object,
    objects: BTreeMap<String, Object>,
    events: BTreeMap<String, Object>,
    profiles: BTreeMap<String, Object>,
    patches: Vec<Object>,
}

/// The whole table as text.
pub(crate) fn compile(schema: &Path) -> Result<String> {
    let version = text(&read(&schema.join("version.json"))?, "version")?;
    let categories = attributes(&read(&schema.join("categories.json"))?);
    let source = load(schema)?;
    let mut out = Table::default();
    let mut head = format!("ocsf\t{version}\n");
    let mut uids = BTreeMap::new();
    for (name, category) in &categories {
        let uid = category.get("uid").and_then(Value::as_u64).with_context(|| format!("category {name} has no uid"))?;
        uids.insert(name.clone(), uid);
        writeln!(head, "k\t{uid}\t{name}\t{}", caption(category))?;
    }
    for (name, entry) in &source.types {
        let base = entry.get("type").and_then(Value::as_str).unwrap_or(name);
        writeln!(head, "t\t{name}\t{base}\t{}", observable(entry))?;
    }
    let mut classes = BTreeMap::new();
    for name in source.events.keys() {
        let event = resolve(&source.events, &source, name)?;
        let Some(uid) = event.get("uid").and_then(Value::as_u64) else {
            if name != "base_event" {
                continue;
            }
            classes.insert(0, out.entry(&source, "c\t0", name, "0", &event)?);
            continue;
        };
        let category = event.get("category").and_then(Value::as_str).unwrap_or("other");
        let category = uids.get(category).copied().with_context(|| format!("{name}: no category `{category}`"))?;
        let extension = event.get("extension").and_then(Value::as_u64).unwrap_or(0);
        let uid = extension * 100_000 + category * 1000 + uid;
        classes.insert(uid, out.entry(&source, &format!("c\t{uid}"), name, &category.to_string(), &event)?);
    }
    let mut objects = Vec::new();
    for name in source.objects.keys().filter(|name| !name.starts_with('_')) {
        let object = resolve(&source.objects, &source, name)?;
        let seen = observable(&Value::Object(object.clone()));
        objects.push(out.entry(&source, "o", name, &seen, &object)?);
    }
    let lines = [out.enums.lines("e"), out.attributes.lines("a"), classes.into_values().collect(), objects.concat()];
    Ok(head + &lines.concat())
}

/// Distinct texts, numbered in the order of their first use.
#[derive(Default)]
struct Pool {
    numbers: BTreeMap<String, usize>,
    texts: Vec<String>,
}

impl Pool {
    fn number(&mut self, text: String) -> usize {
        let next = self.texts.len();
        *self.numbers.entry(text).or_insert_with_key(|text| {
            self.texts.push(text.clone());
            next
        })
    }

    fn lines(&self, kind: &str) -> String {
        self.texts.iter().map(|text| format!("{kind}\t{text}\n")).collect()
    }
}

#[derive(Default)]
struct Table {
    enums: Pool,
    attributes: Pool,
}

impl Table {
    /// One class or object line; its attributes go to the pool.
    fn entry(&mut self, source: &Source, kind: &str, name: &str, third: &str, entry: &Object) -> Result<String> {
        let mut numbers = Vec::new();
        for (key, use_) in attributes(entry) {
            numbers.push(self.attribute(source, &key, &use_).with_context(|| format!("{name}.{key}"))?.to_string());
        }
        let mut constraints = Vec::new();
        for rule in ["at_least_one", "just_one"] {
            let members = entry.get("constraints").and_then(|all| all.get(rule)).and_then(Value::as_array);
            for members in members.into_iter() {
                let members: Vec<&str> = members.iter().filter_map(Value::as_str).collect();
                constraints.push(format!("{rule}:{}", members.join(",")));
            }
        }
        let caption = caption(&Value::Object(entry.clone()));
        Ok(format!("{kind}\t{name}\t{caption}\t{third}\t{}\t{}\n", numbers.join(","), constraints.join(";")))
    }

    fn attribute(&mut self, source: &Source, name: &str, use_: &Value) -> Result<usize> {
        let base = source.dictionary.get(name).with_context(|| "is not in the dictionary")?;
        let mut merged = base.clone();
        merge(&mut merged, use_);
        // Which class and category it is follows from the class itself, not from a list.
        if ["class_uid", "category_uid"].contains(&name)
            && let Some(merged) = merged.as_object_mut()
        {
            merged.remove("enum");
        }
        let enumeration = match merged.get("enum").and_then(Value::as_object) {
            Some(values) if !values.is_empty() => self.enums.number(enumeration(values)).to_string(),
            _ => "-".to_owned(),
        };
        let requirement = match merged.get("requirement").and_then(Value::as_str) {
            Some("required") => 'r',
            Some("recommended") => 'c',
            _ => 'o',
        };
        let array = if merged.get("is_array").and_then(Value::as_bool) == Some(true) { "[]" } else { "" };
        let profile = merged.get("profile").and_then(Value::as_str).unwrap_or("-");
        let kind = text(merged.as_object().context("is not an object")?, "type")?;
        let seen = observable(&merged);
        Ok(self.attributes.number(format!("{name}\t{kind}{array}\t{requirement}\t{enumeration}\t{profile}\t{seen}")))
    }
}

/// `0=Unknown`, `1=Launch`, ... in the order of the numbers.
fn enumeration(values: &Object) -> String {
    let mut all: Vec<(&String, String)> = values.iter().map(|(key, value)| (key, caption(value))).collect();
    all.sort_by_key(|(key, _)| (key.parse::<i64>().unwrap_or(i64::MAX), (*key).clone()));
    all.iter().map(|(key, caption)| format!("{key}={caption}")).collect::<Vec<_>>().join("\t")
}

fn load(schema: &Path) -> Result<Source> {
    let dictionary = read(&schema.join("dictionary.json"))?;
    let types = dictionary.get("types").and_then(|types| types.get("attributes")).and_then(Value::as_object);
    let mut source = Source {
        types: types.cloned().context("the dictionary has no types")?,
        dictionary: attributes(&dictionary),
        objects: BTreeMap::new(),
        events: BTreeMap::new(),
        profiles: BTreeMap::new(),
        patches: Vec::new(),
    };
    folder(&schema.join("profiles"), "", &mut |name, entry| drop(source.profiles.insert(name, entry)))?;
    folder(&schema.join("objects"), "", &mut |name, entry| drop(source.objects.insert(name, entry)))?;
    folder(&schema.join("events"), "", &mut |name, entry| drop(source.events.insert(name, entry)))?;
    let mut extensions: Vec<_> = std::fs::read_dir(schema.join("extensions"))?.collect::<Result<_, _>>()?;
    extensions.sort_by_key(std::fs::DirEntry::file_name);
    for extension in extensions.iter().map(std::fs::DirEntry::path).filter(|path| path.is_dir()) {
        load_extension(&extension, &mut source)?;
    }
    for patch in std::mem::take(&mut source.patches) {
        let base = text(&patch, "extends")?;
        let mut added = Value::Object(patch);
        include(&mut added, &source)?;
        let mut change = Object::new();
        change.insert("attributes".to_owned(), added.get("attributes").cloned().unwrap_or_default());
        let target = source.objects.get_mut(&base).with_context(|| format!("a patch of an unknown object `{base}`"))?;
        let mut target_value = Value::Object(std::mem::take(target));
        merge(&mut target_value, &Value::Object(change));
        if let Value::Object(merged) = target_value {
            *target = merged;
        }
    }
    list_observables(&mut source)?;
    Ok(source)
}

/// The kinds of observables are numbered where they are declared: at types, attributes and objects. The schema's own
/// compiler gathers them into the enumeration of `observable.type_id`; so does this.
fn list_observables(source: &mut Source) -> Result<()> {
    let mut kinds = BTreeMap::new();
    let mut note = |entry: &Value| {
        if let Some(number) = entry.get("observable").and_then(Value::as_u64) {
            kinds.insert(number.to_string(), serde_json::json!({ "caption": caption(entry) }));
        }
    };
    source.types.values().chain(source.dictionary.values()).for_each(&mut note);
    for object in source.objects.values() {
        note(&Value::Object(object.clone()));
        for (name, use_) in attributes(object) {
            let mut merged = source.dictionary.get(&name).cloned().unwrap_or_default();
            merge(&mut merged, &use_);
            note(&merged);
        }
    }
    let change = serde_json::json!({ "attributes": { "type_id": { "enum": kinds } } });
    let observable = source.objects.get_mut("observable").context("the schema has no observable")?;
    let mut merged = Value::Object(std::mem::take(observable));
    merge(&mut merged, &change);
    *observable = into_object(merged)?;
    Ok(())
}

fn load_extension(path: &Path, source: &mut Source) -> Result<()> {
    let about = read(&path.join("extension.json"))?;
    let (uid, name) = (about.get("uid").cloned().unwrap_or_default(), text(&about, "name")?);
    if path.join("dictionary.json").exists() {
        let dictionary = read(&path.join("dictionary.json"))?;
        for (key, entry) in attributes(&dictionary) {
            source.dictionary.entry(key).or_insert(entry);
        }
        let types = dictionary.get("types").and_then(|types| types.get("attributes")).and_then(Value::as_object);
        source.types.extend(types.cloned().unwrap_or_default());
    }
    folder(&path.join("profiles"), &format!("{name}/"), &mut |key, entry| drop(source.profiles.insert(key, entry)))?;
    folder(&path.join("objects"), "", &mut |key, entry| {
        // An object without a name of its own changes the one it extends.
        if entry.contains_key("name") && entry.get("name") != entry.get("extends") {
            source.objects.insert(key, entry);
        } else {
            source.patches.push(entry);
        }
    })?;
    folder(&path.join("events"), "", &mut |key, mut entry| {
        entry.insert("extension".to_owned(), uid.clone());
        source.events.insert(key, entry);
    })
}

/// Every entry below a folder by its name; a folder that is not there has none.
fn folder(path: &Path, prefix: &str, found: &mut dyn FnMut(String, Object)) -> Result<()> {
    if !path.is_dir() {
        return Ok(());
    }
    let mut entries: Vec<_> = std::fs::read_dir(path)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            folder(&path, prefix, found)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            let entry = read(&path)?;
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
            let name = entry.get("name").and_then(Value::as_str).map_or(stem, str::to_owned);
            found(format!("{prefix}{name}"), entry);
        }
    }
    Ok(())
}

/// An entry with what it extends and the profiles it includes.
fn resolve(all: &BTreeMap<String, Object>, source: &Source, name: &str) -> Result<Object> {
    let own = all.get(name).with_context(|| format!("unknown entry `{name}`"))?;
    let mut own = Value::Object(own.clone());
    include(&mut own, source)?;
    let Some(parent) = own.get("extends").and_then(Value::as_str).map(str::to_owned) else {
        return into_object(own);
    };
    let mut merged = resolve(all, source, &parent)?;
    // A child is an entry of its own: it does not take over its parent's number or what identifies it.
    for key in ["uid", "observable", "extension"] {
        merged.remove(key);
    }
    if own.get("constraints").is_some() {
        merged.remove("constraints");
    }
    let mut merged = Value::Object(merged);
    merge(&mut merged, &own);
    into_object(merged)
}

/// Replace `$include` by the attributes of the profiles, marked with the profile; what the entry says itself wins.
fn include(entry: &mut Value, source: &Source) -> Result<()> {
    let Some(Value::Object(own)) = entry.get_mut("attributes") else { return Ok(()) };
    let Some(included) = own.remove("$include") else { return Ok(()) };
    let mut merged = Value::Object(Object::new());
    for path in included.as_array().context("$include is not a list")? {
        let stem = path.as_str().and_then(|path| path.strip_prefix("profiles/")).and_then(|p| p.strip_suffix(".json"));
        let stem = stem.with_context(|| format!("cannot include {path}"))?;
        let found = source.profiles.iter().find(|(name, _)| name.rsplit('/').next() == Some(stem));
        let (name, profile) = found.with_context(|| format!("unknown profile `{stem}`"))?;
        for (key, mut use_) in attributes(profile) {
            if let Some(use_) = use_.as_object_mut() {
                use_.insert("profile".to_owned(), Value::String(name.clone()));
            }
            if let Some(merged) = merged.as_object_mut() {
                merged.insert(key, use_);
            }
        }
    }
    merge(&mut merged, &Value::Object(std::mem::take(own)));
    *own = into_object(merged)?;
    Ok(())
}

/// Deep merge: what `change` says wins; a null takes away.
fn merge(base: &mut Value, change: &Value) {
    match (base, change) {
        (Value::Object(base), Value::Object(change)) => {
            for (key, value) in change {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, change) => *base = change.clone(),
    }
}

fn into_object(value: Value) -> Result<Object> {
    if let Value::Object(object) = value { Ok(object) } else { bail!("not an object") }
}

fn read(path: &Path) -> Result<Object> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    into_object(serde_json::from_slice(&bytes).with_context(|| format!("parse {}", path.display()))?)
}

/// The attributes of an entry, by name.
fn attributes(entry: &Object) -> Object {
    let mut all: Vec<(String, Value)> =
        entry.get("attributes").and_then(Value::as_object).cloned().unwrap_or_default().into_iter().collect();
    all.sort_by(|left, right| left.0.cmp(&right.0));
    all.into_iter().collect()
}

fn text(entry: &Object, key: &str) -> Result<String> {
    entry.get(key).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("has no `{key}`"))
}

fn caption(entry: &Value) -> String {
    entry.get("caption").and_then(Value::as_str).unwrap_or_default().replace('\t', " ")
}

fn observable(entry: &Value) -> String {
    entry.get("observable").and_then(Value::as_u64).map_or_else(|| "-".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_table_is_what_the_schema_compiles_to() {
        let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
        let root = Path::new(&here).parent().unwrap();
        let data = std::env::var_os("POSSE_TEST_DATA").map_or_else(|| root.join("../shared/data"), Into::into);
        let schema = data.join("ocsf/1.8.0");
        if !schema.exists() {
            eprintln!("skipped: no schema source at ocsf/1.8.0 of the test data; set POSSE_TEST_DATA");
            return;
        }
        let committed = std::fs::read_to_string(root.join(TABLE)).unwrap();
        assert_eq!(committed, compile(&schema).unwrap(), "run `cargo run -p xtask -- ocsf {}`", schema.display());
    }
}

//! From what files ask for and what the platform has to the steps between them. Pure: a plan is made, shown and carried out
//! by different code, and making it changes nothing.

use super::observed::{Observed, Seen};
use super::thing::{Desired, Fields, Key, Kind};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a step does to a thing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum Change {
    Create,
    Alter,
    Delete,
}

impl Change {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Alter => "change",
            Self::Delete => "delete",
        }
    }

    pub(crate) const fn sign(self) -> char {
        match self {
            Self::Create => '+',
            Self::Alter => '~',
            Self::Delete => '-',
        }
    }
}

/// A field of a call's input.
#[derive(Clone, Debug)]
pub(crate) enum Field {
    /// As it stands.
    Value(Value),
    /// The id of a thing, which may be made by an earlier step.
    Id(Key),
    /// The id of a principal, by what files call it.
    Principal { place: Option<String>, label: String },
}

/// One call of an operation.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    pub(crate) fields: Vec<(&'static str, Field)>,
}

/// A field that differs: what is there, and what is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) field: String,
    pub(crate) before: Value,
    pub(crate) after: Value,
}

/// One thing that is to be made, changed or removed: the calls that do it, in order.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) change: Change,
    pub(crate) key: Key,
    pub(crate) differences: Vec<Difference>,
    pub(crate) calls: Vec<Call>,
    /// What a new thing is to be.
    pub(crate) wanted: Fields,
    /// Steps of an earlier phase come first.
    pub(crate) phase: u8,
}

/// What lies between the files and the platform.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
}

impl Plan {
    pub(crate) fn count(&self, change: Change) -> usize {
        self.steps.iter().filter(|step| step.change == change).count()
    }

    /// Compare; what can never be reached is told instead of planned.
    pub(crate) fn of(desired: &Desired, observed: &Observed) -> Result<Self, Vec<String>> {
        let (mut steps, mut faults) = (Vec::new(), Vec::new());
        for (key, wanted) in &desired.things {
            if let Some(why) = out_of_reach(key, observed) {
                faults.push(format!("{key}: {why}"));
                continue;
            }
            match observed.things.get(key).filter(|seen| !(seen.ended && key.kind == Kind::Agent)) {
                Some(seen) if seen.ended => {
                    faults.push(format!("{key}: was deactivated, which is for good; use another address"));
                }
                Some(seen) => match changed(key, wanted, seen) {
                    Ok(step) => steps.extend(step),
                    Err(why) => faults.push(format!("{key}: {why}")),
                },
                None => match created(key, wanted, observed) {
                    Ok(step) => steps.push(step),
                    Err(why) => faults.push(format!("{key}: {why}")),
                },
            }
        }
        for (key, seen) in &observed.things {
            if desired.things.contains_key(key) || seen.ended || seen.fields.contains_key("retired") {
                continue;
            }
            // What belongs to a tenant goes with the tenant, whatever is said of its sections.
            let place_goes = desired.whole.contains(&(None, Kind::Tenant))
                && key.place.as_ref().is_some_and(|place| !names_tenant(desired, place));
            let section = if key.kind == Kind::Tenant { None } else { key.place.clone() };
            let whole = desired.whole.contains(&(section, key.kind));
            let needed = matches!(key.kind, Kind::Agent | Kind::Tenant | Kind::User);
            if (place_goes && needed) || (!place_goes && whole && key.kind != Kind::Tenant) {
                steps.push(deleted(key, seen));
            }
        }
        if faults.is_empty() {
            steps.sort_by(|one, other| (one.phase, &one.key).cmp(&(other.phase, &other.key)));
            Ok(Self { steps })
        } else {
            Err(faults)
        }
    }
}

fn names_tenant(desired: &Desired, name: &str) -> bool {
    desired.things.contains_key(&Key::new(Some(name), Kind::Tenant, name))
}

/// Why a caller of one tenant cannot plan here.
fn out_of_reach(key: &Key, observed: &Observed) -> Option<&'static str> {
    let home = observed.home.as_ref()?;
    (key.place.as_ref() != Some(home)).then_some("is not in your own tenant, and you belong to one")
}

const fn phase(kind: Kind, change: Change) -> u8 {
    match (change, kind) {
        (Change::Create | Change::Alter, Kind::Tenant) => 0,
        (Change::Create | Change::Alter, Kind::User | Kind::Role | Kind::Policy) => 1,
        (Change::Create | Change::Alter, Kind::Assignment) => 3,
        (Change::Create | Change::Alter, _) => 2,
        (Change::Delete, Kind::Role | Kind::User) => 5,
        (Change::Delete, Kind::Tenant) => 6,
        (Change::Delete, _) => 4,
    }
}

fn step(change: Change, key: &Key, differences: Vec<Difference>, calls: Vec<Call>) -> Step {
    let (key, phase) = (key.clone(), phase(key.kind, change));
    Step { change, key, differences, calls, wanted: Fields::new(), phase }
}

fn call(operation: &'static str, fields: Vec<(&'static str, Field)>) -> Call {
    Call { operation, fields }
}

fn itself(key: &Key) -> Field {
    Field::Id(key.clone())
}

/// The tenant of a thing, where it has one.
fn tenant(key: &Key) -> Vec<(&'static str, Field)> {
    let place = key.place.as_deref();
    place.map(|name| ("tenant", Field::Id(Key::new(place, Kind::Tenant, name)))).into_iter().collect()
}

fn value(fields: &Fields, name: &str) -> Option<Field> {
    fields.get(name).filter(|value| !value.is_null()).cloned().map(Field::Value)
}

/// These fields, as far as they are said.
fn given(fields: &Fields, names: &[&'static str]) -> Vec<(&'static str, Field)> {
    names.iter().filter_map(|name| Some((*name, value(fields, name)?))).collect()
}

fn is(fields: &Fields, name: &str) -> bool {
    fields.get(name) == Some(&Value::Bool(true))
}

fn owner(key: &Key, fields: &Fields) -> Field {
    let email = fields.get("owner").and_then(Value::as_str).unwrap_or_default();
    Field::Principal { place: key.place.clone(), label: format!("user:{email}") }
}

fn created(key: &Key, wanted: &Fields, observed: &Observed) -> Result<Step, String> {
    let name = || ("name", Field::Value(key.name.as_str().into()));
    let mut calls = Vec::new();
    let mut first = tenant(key);
    match key.kind {
        Kind::Tenant => {
            let mut fields = vec![name()];
            fields.extend(given(wanted, &["display_name", "tags"]));
            calls.push(call("tenant.create", fields));
            if is(wanted, "suspended") {
                let reason = ("reason", Field::Value("asked for by configuration".into()));
                calls.push(call("tenant.suspend", vec![("tenant", itself(key)), reason]));
            }
        }
        Kind::User => {
            first.push(("email", Field::Value(key.name.as_str().into())));
            first.extend(given(wanted, &["display_name"]));
            calls.push(call("user.create", first));
        }
        Kind::Role => {
            first.push(name());
            first.extend(given(wanted, &["description", "operations", "effects", "principals"]));
            calls.push(call("role.create", first));
        }
        Kind::Policy => {
            first.push(name());
            first.extend(given(wanted, &["text", "tests"]));
            calls.push(call("policy.create", first));
            calls.extend(is(wanted, "active").then(|| call("policy.activate", vec![("policy", itself(key))])));
        }
        Kind::Agent => {
            first.extend([name(), ("owner", owner(key, wanted))]);
            first.extend(given(wanted, &["purpose", "ttl_secs"]));
            calls.push(call("agent.register", first));
            if let Some(text) = value(wanted, "definition") {
                calls.push(call("agent.define", vec![("agent", itself(key)), ("text", text)]));
            }
            calls.extend(is(wanted, "active").then(|| call("agent.activate", vec![("agent", itself(key))])));
        }
        Kind::Source => {
            first.push(name());
            first.extend(given(wanted, &["description", "mapping", "mapping_text", "silent_after_secs"]));
            calls.push(call("source.create", first));
            if wanted.get("enabled") == Some(&Value::Bool(false)) {
                calls.push(source_update(key, vec![("enabled", Field::Value(false.into()))]));
            }
        }
        Kind::Retention => {
            first.extend(given(wanted, &["days", "classes"]));
            calls.push(call("lake.set_retention", first));
        }
        Kind::Pack => calls.push(pack_assign(key, wanted, observed)?),
        Kind::Exception => {
            first.push(("text", Field::Value(key.name.as_str().into())));
            first.extend(given(wanted, &["reason", "ttl_secs"]));
            calls.push(call("rule_exception.create", first));
        }
        Kind::Assignment => calls.push(assign(key, wanted)),
    }
    Ok(Step { wanted: wanted.clone(), ..step(Change::Create, key, Vec::new(), calls) })
}

fn source_update(key: &Key, mut fields: Vec<(&'static str, Field)>) -> Call {
    let mut all = tenant(key);
    all.push(("source", Field::Value(key.name.as_str().into())));
    all.append(&mut fields);
    call("source.update", all)
}

fn pack_assign(key: &Key, wanted: &Fields, observed: &Observed) -> Result<Call, String> {
    let id =
        observed.pack(&key.name).ok_or("is neither the shipped pack nor one of the provider's; see `pack.list`")?;
    let mut fields = tenant(key);
    fields.push(("pack", Field::Value(id.into())));
    fields.extend(given(wanted, &["off"]));
    Ok(call("pack.assign", fields))
}

fn assign(key: &Key, wanted: &Fields) -> Call {
    let text = |name: &str| wanted.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut fields = tenant(key);
    fields.push(("principal", Field::Principal { place: key.place.clone(), label: text("principal") }));
    fields.push(("role", Field::Id(Key::new(key.place.as_deref(), Kind::Role, text("role")))));
    fields.extend(given(wanted, &["selector"]));
    call("role.assign", fields)
}

/// What differs between what is asked for and what is there; only what files speak of.
fn differences(kind: Kind, wanted: &Fields, seen: &Seen) -> Vec<Difference> {
    let all = json!(["govern", "read", "respond", "write"]);
    let mut found = Vec::new();
    for (field, after) in wanted {
        // How long a thing lives is said when it is made.
        if field == "ttl_secs" {
            continue;
        }
        let nothing = after.as_array().is_some_and(Vec::is_empty);
        let after = if kind == Kind::Role && field == "effects" && nothing { &all } else { after };
        let before = seen.fields.get(field).unwrap_or(&Value::Null);
        // A text of many lines is the same with or without its last line end.
        let same = match (before.as_str(), after.as_str()) {
            (Some(before), Some(after)) => before.trim_end() == after.trim_end(),
            _ => before == after || (before.is_null() && nothing),
        };
        if !same {
            found.push(Difference { field: field.clone(), before: before.clone(), after: after.clone() });
        }
    }
    found
}

fn changed(key: &Key, wanted: &Fields, seen: &Seen) -> Result<Option<Step>, String> {
    let differences = differences(key.kind, wanted, seen);
    if differences.is_empty() {
        return Ok(None);
    }
    let differs = |field: &str| differences.iter().any(|one| one.field == field);
    let after = |names: &[&'static str]| -> Vec<(&'static str, Field)> {
        let asked = |name: &&&'static str| differs(name);
        names
            .iter()
            .filter(asked)
            .map(|name| (*name, Field::Value(wanted.get(*name).cloned().unwrap_or_default())))
            .collect()
    };
    let with = |field: &'static str, mut more: Vec<(&'static str, Field)>| {
        more.insert(0, (field, itself(key)));
        more
    };
    let mut calls = Vec::new();
    match key.kind {
        Kind::Tenant => {
            if differs("display_name") || differs("tags") {
                calls.push(call("tenant.update", with("tenant", after(&["display_name", "tags"]))));
            }
            if differs("suspended") && is(wanted, "suspended") {
                let reason = ("reason", Field::Value("asked for by configuration".into()));
                calls.push(call("tenant.suspend", with("tenant", vec![reason])));
            } else if differs("suspended") {
                // What follows needs a tenant that works.
                calls.insert(0, call("tenant.resume", with("tenant", Vec::new())));
            }
        }
        Kind::User => calls.push(call("user.update", with("user", after(&["display_name"])))),
        Kind::Role => {
            if differs("principals") {
                return Err("`principals` of a role cannot be changed; make another role".to_owned());
            }
            let mut fields = after(&["description", "operations"]);
            if differs("effects") {
                let said = differences.iter().find(|one| one.field == "effects").map(|one| one.after.clone());
                fields.push(("effects", Field::Value(said.unwrap_or_default())));
            }
            calls.push(call("role.update", with("role", fields)));
        }
        Kind::Policy => {
            let rewritten = differs("text") || differs("tests");
            if rewritten {
                let mut fields = given(wanted, &["text"]);
                fields.extend(after(&["tests"]));
                calls.push(call("policy.update", with("policy", fields)));
            }
            if is(wanted, "active") && (rewritten || differs("active")) {
                calls.push(call("policy.activate", with("policy", Vec::new())));
            } else if differs("active") && !is(wanted, "active") {
                calls.push(call("policy.retire", with("policy", Vec::new())));
            }
        }
        Kind::Agent => {
            let mut fields = after(&["purpose"]);
            fields.extend(differs("owner").then(|| ("owner", owner(key, wanted))));
            if !fields.is_empty() {
                calls.push(call("agent.update", with("agent", fields)));
            }
            let defined = after(&["definition"]).into_iter().map(|(_, text)| ("text", text)).collect::<Vec<_>>();
            if !defined.is_empty() {
                calls.push(call("agent.define", with("agent", defined)));
            }
            if differs("active") && is(wanted, "active") {
                calls.push(call("agent.activate", with("agent", Vec::new())));
            } else if differs("active") {
                let reason = ("reason", Field::Value("asked for by configuration".into()));
                calls.push(call("agent.suspend", with("agent", vec![reason])));
            }
        }
        Kind::Source => calls.push(source_update(key, source_fields(wanted, &differences))),
        Kind::Retention => {
            let mut fields = tenant(key);
            fields.extend(given(wanted, &["days", "classes"]));
            calls.push(call("lake.set_retention", fields));
        }
        Kind::Pack => {
            let mut fields = tenant(key);
            fields.push(("pack", itself(key)));
            fields.extend(given(wanted, &["off"]));
            calls.push(call("pack.assign", fields));
        }
        Kind::Exception => return Err("the reason of an exception cannot be changed; change its text too".to_owned()),
        Kind::Assignment => return Ok(None),
    }
    Ok(Some(step(Change::Alter, key, differences, calls)))
}

/// The update of a source: a field that is to be nothing has its own way to say so.
fn source_fields(wanted: &Fields, differences: &[Difference]) -> Vec<(&'static str, Field)> {
    let mut fields = Vec::new();
    for (name, nothing) in [
        ("description", json!("")),
        ("mapping", json!("")),
        ("mapping_text", json!("")),
        ("silent_after_secs", json!(0)),
        ("enabled", json!(true)),
    ] {
        if differences.iter().any(|one| one.field == name) {
            let said = wanted.get(name).filter(|value| !value.is_null()).cloned();
            fields.push((name, Field::Value(said.unwrap_or(nothing))));
        }
    }
    fields
}

fn deleted(key: &Key, seen: &Seen) -> Step {
    let id = |field: &'static str| vec![(field, Field::Value(seen.id.as_str().into()))];
    let there = |field: &'static str| {
        let mut fields = tenant(key);
        fields.extend(id(field));
        fields
    };
    let reason = ("reason", Field::Value(Value::from("no longer in the configuration")));
    let calls = match key.kind {
        Kind::Tenant => {
            let mut suspend = id("tenant");
            suspend.push(reason);
            let halted = is(&seen.fields, "suspended");
            let suspend = (!halted).then(|| call("tenant.suspend", suspend));
            suspend.into_iter().chain([call("tenant.delete", id("tenant"))]).collect()
        }
        Kind::User => {
            let mut fields = id("user");
            fields.push(reason);
            vec![call("user.deactivate", fields)]
        }
        Kind::Role => vec![call("role.delete", id("role"))],
        Kind::Policy => vec![call("policy.retire", id("policy"))],
        Kind::Agent => vec![call("agent.retire", id("agent"))],
        Kind::Source => vec![call("source.delete", there("source"))],
        Kind::Retention => vec![call("lake.set_retention", tenant(key))],
        Kind::Pack => vec![call("pack.unassign", there("pack"))],
        Kind::Exception => vec![call("rule_exception.delete", there("exception"))],
        Kind::Assignment => vec![call("role.unassign", id("assignment"))],
    };
    step(Change::Delete, key, Vec::new(), calls)
}

/// Things of a plan by kind: how many are made, changed and removed.
pub(crate) fn counts(plan: &Plan) -> BTreeMap<Kind, [usize; 3]> {
    let mut counts: BTreeMap<Kind, [usize; 3]> = BTreeMap::new();
    for step in &plan.steps {
        let row = counts.entry(step.key.kind).or_default();
        let [made, changed, removed] = row;
        match step.change {
            Change::Create => *made += 1,
            Change::Alter => *changed += 1,
            Change::Delete => *removed += 1,
        }
    }
    counts
}

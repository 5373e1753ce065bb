//! Findings: a rule's match as an OCSF Detection Finding (2004), a row beside the events it rests on. Everything in it
//! follows from the record, the rule and the place in the log, so that reading the log again makes the same.

use super::rules::Meta;
use crate::Source;
use detection::correlate::Match;
use detection::profile::{Format, Profile};
use detection::reference::{ExplainStep, explain};
use detection::sigma::{Correlation, Rule};
use event::mapping::{COLUMNS, ColumnValue, Normalised, Observable, ObservableKind};
use ids::{DetectionId, EventId, RuleId, Severity, TenantId, Timestamp};
use journal::Position;
use lake::{Chunk, Row};
use serde_json::{Value, json};
use std::sync::Arc;

/// The class of findings.
pub(crate) const CLASS: u32 = lake::DETECTION_CLASS;
/// Columns of the event that the finding has too.
const INHERITED: [&str; 6] =
    ["device_hostname", "actor_user_name", "resource_uid", "cloud_account", "cloud_region", "status_id"];

/// Fields by which correlations group and that name a host, or a process on it: those of Sysmon and of ours, and OCSF's.
const HOST_FIELDS: [&str; 4] = ["Computer", "ComputerName", "Hostname", "device.hostname"];
const PROCESS_FIELDS: [&str; 3] = ["ParentProcessGuid", "ProcessGuid", "process.uid"];

/// A finding, for those who group findings into cases.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Its id, derived from the rule and the event.
    pub id: DetectionId,
    /// The row in the lake.
    pub event: EventId,
    /// Whose.
    pub tenant: TenantId,
    /// The source of the event.
    pub source: String,
    /// The rule, where it is one of this installation.
    pub rule: Option<RuleId>,
    /// The rule's own id.
    pub rule_uid: String,
    /// What it says.
    pub title: String,
    /// How grave.
    pub severity: Severity,
    /// It is recorded, and nothing follows from it.
    pub shadow: bool,
    /// When the event happened.
    pub time: Timestamp,
    /// The events that it rests on.
    pub events: Vec<EventId>,
    /// What they speak of.
    pub observables: Vec<Observable>,
    /// The finding in OCSF.
    pub ocsf: String,
    columns: Vec<(usize, ColumnValue)>,
}

/// A finding as the log keeps one that was made afterwards.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Stored {
    pub(crate) id: DetectionId,
    tenant: TenantId,
    source: String,
    rule: Option<RuleId>,
    rule_uid: String,
    title: String,
    severity: Severity,
    shadow: bool,
    time: Timestamp,
    events: Vec<EventId>,
    /// Kind, path, OCSF type and value.
    observables: Vec<(String, String, u16, String)>,
    pub(crate) ocsf: String,
    /// Columns of text by name.
    texts: Vec<(String, String)>,
    /// Columns of whole numbers by name.
    numbers: Vec<(String, i64)>,
}

impl Stored {
    /// The finding again; it has no row yet.
    pub(crate) fn finding(self) -> Finding {
        let observable = |(kind, path, type_id, value): (String, String, u16, String)| {
            Some(Observable { kind: lake::kind_named(&kind)?, path, type_id, value })
        };
        let texts = self.texts.into_iter().map(|(name, text)| (place(&name), ColumnValue::Text(text)));
        let numbers = self.numbers.into_iter().map(|(name, number)| (place(&name), ColumnValue::Int(number)));
        Finding {
            id: self.id,
            event: NO_ROW,
            tenant: self.tenant,
            source: self.source,
            rule: self.rule,
            rule_uid: self.rule_uid,
            title: self.title,
            severity: self.severity,
            shadow: self.shadow,
            time: self.time,
            events: self.events,
            observables: self.observables.into_iter().filter_map(observable).collect(),
            ocsf: self.ocsf,
            columns: texts.chain(numbers).collect(),
        }
    }
}

/// The row of a finding that has none yet.
const NO_ROW: EventId = EventId { class_uid: CLASS, day: 0, segment: 0, offset: 0, index: 0, part: 0 };

/// The event that is asked about.
pub(crate) struct Seen<'a> {
    pub(crate) id: EventId,
    pub(crate) event: &'a Normalised,
    pub(crate) source: &'a Source,
    pub(crate) received: Timestamp,
    pub(crate) place: Position,
    pub(crate) index: u32,
}

/// A match that a correlation counts.
pub(crate) struct Sighted {
    pub(crate) tenant: TenantId,
    pub(crate) rule: String,
    pub(crate) time: Timestamp,
    pub(crate) received: Timestamp,
    pub(crate) id: EventId,
    pub(crate) source: Source,
    pub(crate) record: Arc<Value>,
    pub(crate) profile: Profile,
}

impl Sighted {
    pub(crate) fn new(rule: &Rule, seen: &Seen<'_>, record: Arc<Value>, profile: Profile) -> Self {
        Self {
            tenant: seen.source.tenant,
            rule: rule.id.clone(),
            time: seen.event.time,
            received: seen.received,
            id: seen.id,
            source: seen.source.clone(),
            record,
            profile,
        }
    }

    /// What stands for the event that a correlation rests on where no event but time completed it.
    pub(crate) fn of_time(id: EventId, source: Source, time: Timestamp, received: Timestamp) -> Self {
        Self {
            tenant: source.tenant,
            rule: String::new(),
            time,
            received,
            id,
            source,
            record: Arc::new(Value::Null),
            profile: Profile::new(Format::Generic),
        }
    }
}

/// The rule's side of a finding.
struct Analytic<'a> {
    uid: &'a str,
    title: &'a str,
    severity: Severity,
    tags: &'a [String],
    meta: Option<&'a Meta>,
    /// OCSF analytic type: 1 rule, 2 behavioural, 3 statistical.
    kind: u8,
}

/// The events' side of a finding.
struct Basis<'a> {
    tenant: TenantId,
    source: &'a str,
    time: Timestamp,
    received: Timestamp,
    events: Vec<EventId>,
    event_count: usize,
    evidence: Value,
    observables: Vec<Observable>,
    columns: Vec<(usize, ColumnValue)>,
    /// The processes that the event names, as their source identifies them.
    process: Value,
    /// What the finding's id is made of beside the rule; none for the newest event.
    key: Option<String>,
}

/// The processes of an event: itself, who started it and who acts; null where it names none.
fn process(event: &Normalised) -> Value {
    let text = |name: &str| {
        let column = place(name);
        event.columns.iter().find_map(|(own, value)| match value {
            ColumnValue::Text(text) if *own == column && !text.is_empty() => Some(text.as_str()),
            _ => None,
        })
    };
    let (uid, parent, actor) = (text("process_uid"), text("parent_uid"), text("actor_process_uid"));
    if uid.or(parent).or(actor).is_none() {
        return Value::Null;
    }
    json!({ "host": text("device_hostname"), "uid": uid, "parent_uid": parent, "actor_uid": actor })
}

/// The finding of a rule that held of one event.
pub(crate) fn of_rule(rule: &Rule, meta: Option<&Meta>, record: &Value, profile: &Profile, seen: &Seen<'_>) -> Finding {
    let explained = explain(rule, record, profile);
    let matched: Vec<Value> = explained.decided_by.iter().take(16).map(step).collect();
    let inherited = |(place, _): &&(usize, ColumnValue)| {
        COLUMNS.get(*place).is_some_and(|column| INHERITED.contains(&column.name) && column.belongs_to(CLASS))
    };
    let analytic = Analytic {
        uid: &rule.id,
        title: &rule.title,
        severity: super::rules::severity(rule),
        tags: &rule.tags,
        meta,
        kind: 1,
    };
    build(
        &analytic,
        Basis {
            tenant: seen.source.tenant,
            source: &seen.source.name,
            time: seen.event.time,
            received: seen.received,
            events: vec![seen.id],
            event_count: 1,
            evidence: json!({ "data": { "event": seen.id.to_string(), "matched": matched } }),
            observables: seen.event.observables.clone(),
            columns: seen.event.columns.iter().filter(inherited).cloned().collect(),
            process: process(seen.event),
            key: None,
        },
    )
}

/// The finding of a correlation; `events` are those of the window that are still known by name, the last completed it.
pub(crate) fn of_correlation(
    correlation: &Correlation,
    meta: Option<&Meta>,
    found: &Match,
    last: &Sighted,
    events: Vec<EventId>,
) -> Finding {
    let group: Vec<Value> =
        found.group.iter().map(|(field, value)| json!({ "field": field, "values": [value] })).collect();
    let analytic = Analytic {
        uid: &correlation.id,
        title: &correlation.title,
        severity: correlation.level,
        tags: &correlation.tags,
        meta,
        kind: 2,
    };
    let names: Vec<String> = events.iter().map(ToString::to_string).collect();
    build(
        &analytic,
        Basis {
            tenant: last.tenant,
            source: &last.source.name,
            time: Timestamp::from_micros(found.time_us),
            received: last.received,
            event_count: found.events.len(),
            evidence: json!({ "data": { "events": names, "group": group, "value": found.value } }),
            observables: host_of(&found.group).into_iter().collect(),
            columns: Vec::new(),
            process: process_of(&found.group),
            key: None,
            events: if events.is_empty() { vec![last.id] } else { events },
        },
    )
}

/// What the platform finds by itself, of a source or of something else that `about` names; `key` makes it this finding and no other.
pub(crate) fn of_platform(
    uid: &str,
    title: &str,
    detail: &str,
    key: &str,
    (source, about): (&Source, &str),
    at: Timestamp,
) -> Finding {
    let analytic = Analytic { uid, title, severity: Severity::Medium, tags: &[], meta: None, kind: 1 };
    let resource = Observable {
        kind: ObservableKind::Resource,
        path: "metadata.log_name".to_owned(),
        type_id: 10,
        value: about.to_owned(),
    };
    build(
        &analytic,
        Basis {
            tenant: source.tenant,
            source: &source.name,
            time: at,
            received: at,
            events: Vec::new(),
            event_count: 0,
            evidence: json!({ "data": { "source": source.name, "detail": detail } }),
            observables: vec![resource],
            columns: Vec::new(),
            process: Value::Null,
            key: Some(key.to_owned()),
        },
    )
}

/// The value of the first of these fields that a correlation groups by.
fn grouped<'a>(group: &'a [(String, String)], names: &[&str]) -> Option<&'a str> {
    let found = group.iter().find(|(field, value)| names.contains(&field.as_str()) && !value.is_empty());
    found.map(|(_, value)| value.as_str())
}

/// The host that a correlation is about, where it groups by one: a case joins by it.
fn host_of(group: &[(String, String)]) -> Option<Observable> {
    let host = grouped(group, &HOST_FIELDS)?.to_owned();
    Some(Observable { kind: ObservableKind::Host, path: "device.hostname".to_owned(), type_id: 1, value: host })
}

/// The process that a correlation is about, where it groups by one and by its host.
fn process_of(group: &[(String, String)]) -> Value {
    match (grouped(group, &HOST_FIELDS), grouped(group, &PROCESS_FIELDS)) {
        (Some(host), Some(uid)) => json!({ "host": host, "uid": uid }),
        _ => Value::Null,
    }
}

fn step(step: &ExplainStep) -> Value {
    json!({ "field": step.field, "wanted": step.wanted, "values": step.values })
}

fn place(name: &str) -> usize {
    COLUMNS.iter().position(|column| column.name == name).unwrap_or(usize::MAX)
}

/// The kind of an observable in `kind:value`.
fn word(kind: ObservableKind) -> &'static str {
    match kind {
        ObservableKind::Domain => "domain",
        ObservableKind::Email => "email",
        ObservableKind::File => "file",
        ObservableKind::Hash => "hash",
        ObservableKind::Host => "host",
        ObservableKind::Ip => "ip",
        ObservableKind::Process => "process",
        ObservableKind::Resource => "resource",
        ObservableKind::Url => "url",
        ObservableKind::User => "user",
    }
}

/// `T1059.001` of `attack.t1059.001`.
fn techniques(tags: &[String]) -> Vec<String> {
    let technique = |tag: &String| {
        let rest = tag.strip_prefix("attack.t")?;
        rest.starts_with(|first: char| first.is_ascii_digit()).then(|| format!("T{}", rest.to_ascii_uppercase()))
    };
    tags.iter().filter_map(technique).collect()
}

fn build(analytic: &Analytic<'_>, basis: Basis<'_>) -> Finding {
    let newest = || basis.events.last().map(ToString::to_string).unwrap_or_default();
    let newest = basis.key.clone().unwrap_or_else(newest);
    let id = DetectionId::derive(&[analytic.uid.as_bytes(), newest.as_bytes()]);
    let digest = analytic.meta.map_or("", |meta| meta.digest.as_str());
    let name = analytic.meta.map_or(analytic.title, |meta| meta.name.as_str());
    let shadow = analytic.meta.is_some_and(|meta| meta.shadow);
    let rule = analytic.meta.and_then(|meta| meta.id);
    let entities: Vec<String> =
        basis.observables.iter().take(100).map(|one| format!("{}:{}", word(one.kind), one.value)).collect();
    let attacks: Vec<Value> =
        techniques(analytic.tags).iter().map(|uid| json!({ "technique": { "uid": uid } })).collect();
    let shown = |one: &Observable| json!({ "name": one.path, "type_id": one.type_id, "value": one.value });
    let observables: Vec<Value> = basis.observables.iter().map(shown).collect();
    let ocsf = json!({
        "activity_id": 1,
        "category_uid": 2,
        "class_uid": CLASS,
        "type_uid": u64::from(CLASS) * 100 + 1,
        "time": basis.time.as_millis(),
        "severity_id": analytic.severity.ocsf_id(),
        "status_id": 1,
        "message": analytic.title,
        "metadata": {
            "version": event::ocsf::Schema::built_in().version(),
            "product": { "name": "Posse", "vendor_name": "Posse" },
            "log_name": basis.source,
            "logged_time": basis.received.as_millis(),
        },
        "finding_info": {
            "uid": id,
            "title": analytic.title,
            "created_time": basis.received.as_millis(),
            "analytic": { "uid": analytic.uid, "name": name, "type_id": analytic.kind, "version": digest },
            "attacks": attacks,
            "data_sources": [basis.source],
        },
        "evidences": [basis.evidence],
        "observables": observables,
        "unmapped": {
            "rule": rule,
            "rule_name": name,
            "rule_digest": digest,
            "shadow": shadow,
            "events": basis.events.iter().take(100).map(ToString::to_string).collect::<Vec<_>>(),
            "event_count": basis.event_count,
            "entities": entities,
            "process": basis.process,
        },
    });
    let mut columns = basis.columns;
    for (name, value) in [
        ("message", analytic.title.to_owned()),
        ("finding_title", analytic.title.to_owned()),
        ("finding_uid", id.to_string()),
        ("rule_uid", analytic.uid.to_owned()),
    ] {
        columns.push((place(name), ColumnValue::Text(value)));
    }
    Finding {
        id,
        event: NO_ROW,
        tenant: basis.tenant,
        source: basis.source.to_owned(),
        rule,
        rule_uid: analytic.uid.to_owned(),
        title: analytic.title.to_owned(),
        severity: analytic.severity,
        shadow,
        time: basis.time,
        events: basis.events,
        observables: basis.observables,
        ocsf: ocsf.to_string(),
        columns,
    }
}

impl Finding {
    /// As the log keeps it.
    pub(crate) fn stored(&self) -> Stored {
        let name = |place: usize| COLUMNS.get(place).map(|column| column.name.to_owned());
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        for (place, value) in &self.columns {
            match (name(*place), value) {
                (Some(name), ColumnValue::Text(text)) => texts.push((name, text.clone())),
                (Some(name), ColumnValue::Int(number)) => numbers.push((name, *number)),
                (None, _) => {}
            }
        }
        let observable =
            |one: &Observable| (word(one.kind).to_owned(), one.path.clone(), one.type_id, one.value.clone());
        Stored {
            id: self.id,
            tenant: self.tenant,
            source: self.source.clone(),
            rule: self.rule,
            rule_uid: self.rule_uid.clone(),
            title: self.title.clone(),
            severity: self.severity,
            shadow: self.shadow,
            time: self.time,
            events: self.events.clone(),
            observables: self.observables.iter().map(observable).collect(),
            ocsf: self.ocsf.clone(),
            texts,
            numbers,
        }
    }

    /// The finding as a row.
    pub(crate) fn normalised(&self) -> Normalised {
        Normalised {
            class_uid: CLASS,
            activity_id: 1,
            severity_id: i64::from(self.severity.ocsf_id()),
            time: self.time,
            time_from_source: true,
            columns: self.columns.clone(),
            observables: self.observables.clone(),
            ..Normalised::default()
        }
    }

    /// Append the finding beside its event.
    pub(crate) fn append(&mut self, seen: &Seen<'_>, part: u16, chunk: &mut Chunk) {
        let event = self.normalised();
        self.event = chunk.append(&Row {
            tenant: self.tenant,
            source: &self.source,
            received: seen.received,
            segment: seen.place.segment,
            offset: seen.place.offset,
            index: seen.index,
            part,
            event: &event,
            raw: &self.ocsf,
        });
    }
}

//! Where a rule's words are found in a record: field names to paths, log sources to gates. Data comes from
//! `content/mappings`; a profile is the data of one record format.

use crate::sigma::{Expr, LogSource, Matcher, Number, Pattern, Test};
use crate::yaml::{self, Node, Value};
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

/// The field of the channel that log sources speak of; not reachable from a rule, whose names hold no `@` first.
pub const CHANNEL: &str = "@channel";
/// The field of the event id that log sources speak of.
pub const EVENT_ID: &str = "@event_id";

const WINDOWS: &str = include_str!("../../../content/mappings/windows-logsources.yml");
const SOURCES: &str = include_str!("../../../content/mappings/event-sources.yml");

static TABLES: LazyLock<Arc<Tables>> = LazyLock::new(|| Arc::new(tables()));

/// A record format.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Format {
    /// Any JSON: every rule is asked, fields are paths.
    Generic,
    /// Windows events with all fields at the top.
    WindowsFlat,
    /// Windows events as EVTX holds them: `Event.System`, `Event.EventData`.
    WindowsEvtx,
    /// A source of `content/mappings/event-sources.yml`, by its name there.
    Named(String),
}

/// The text is not a format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a format; write auto, json, windows-flat, windows-evtx or one of {1}")]
pub struct UnknownFormat(String, String);

impl FromStr for Format {
    type Err = UnknownFormat;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" | "generic" => Ok(Self::Generic),
            "windows-flat" => Ok(Self::WindowsFlat),
            "windows-evtx" | "evtx" => Ok(Self::WindowsEvtx),
            other => {
                let names = source_names();
                if names.iter().any(|name| name == other) {
                    Ok(Self::Named(other.to_owned()))
                } else {
                    Err(UnknownFormat(other.to_owned(), names.join(", ")))
                }
            }
        }
    }
}

impl Format {
    /// Every format whose records are of known log sources.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::WindowsFlat, Self::WindowsEvtx];
        all.extend(source_names().into_iter().map(Self::Named));
        all
    }

    /// The format that the first record of a file shows.
    #[must_use]
    pub fn detect(record: &serde_json::Value) -> Self {
        let has = |key: &str| record.get(key).is_some();
        if record.get("Event").is_some_and(|event| event.get("System").is_some()) {
            Self::WindowsEvtx
        } else if has("Channel") && has("EventID") {
            Self::WindowsFlat
        } else if has("eventSource") && has("eventName") {
            Self::Named("cloudtrail".to_owned())
        } else if has("RecordVersion") && has("Category") && has("BootId") {
            Self::Named("sensor".to_owned())
        } else if has("_path") {
            Self::Named("zeek".to_owned())
        } else if has("eventType") && has("actor") && has("published") {
            Self::Named("okta".to_owned())
        } else if has("protoPayload") {
            Self::Named("gcp-audit".to_owned())
        } else if has("auditID") && has("objectRef") {
            Self::Named("kubernetes-audit".to_owned())
        } else {
            Self::Generic
        }
    }
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// The value under this key.
    Key(Box<str>),
    /// The value under this key, blanks in the record's key left out: Defender writes `Threat Name`, rules
    /// `ThreatName`. This key has no blanks.
    Blank(Box<str>),
    /// The value under any key.
    AnyKey,
}

/// Whether the rules of a log source are asked about records of a format.
#[derive(Debug, Clone, PartialEq)]
pub enum Gate {
    /// Never.
    Closed(&'static str),
    /// When this holds; an empty `And` always does.
    Open(Expr),
}

/// The data of one format.
#[derive(Debug, Clone)]
pub struct Profile {
    format: Format,
    tables: Arc<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    categories: HashMap<String, (String, Vec<i64>)>,
    services: HashMap<String, Vec<String>>,
    sources: HashMap<String, NamedSource>,
}

#[derive(Debug, Default)]
struct NamedSource {
    product: String,
    services: Vec<String>,
    categories: Vec<String>,
    service_field: Option<String>,
    category_field: Option<String>,
}

impl Profile {
    /// The profile of a format, from the data in this project.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, tables: TABLES.clone() }
    }

    /// Its format.
    #[must_use]
    pub const fn format(&self) -> &Format {
        &self.format
    }

    /// Every path under which a field of a rule may be found. All are looked at.
    #[must_use]
    pub fn paths(&self, field: &str) -> Vec<Vec<Step>> {
        let evtx = self.format == Format::WindowsEvtx;
        match (field, evtx) {
            (CHANNEL, true) => return vec![keys(&["Event", "System", "Channel"])],
            (CHANNEL, false) => return vec![keys(&["Channel"])],
            (EVENT_ID, true) => {
                let id = ["Event", "System", "EventID", "#text"];
                return vec![keys(id.get(..3).unwrap_or_default()), keys(&id)];
            }
            (EVENT_ID, false) => return vec![keys(&["EventID"])],
            _ => {}
        }
        if evtx { evtx_paths(field) } else { splits(field) }
    }

    /// What must hold of a record for the rules of a log source to be asked.
    #[must_use]
    pub fn gate(&self, logsource: &LogSource) -> Gate {
        match &self.format {
            Format::Generic => Gate::Open(Expr::And(Vec::new())),
            Format::WindowsFlat | Format::WindowsEvtx => self.windows_gate(logsource),
            Format::Named(name) => {
                self.tables.sources.get(name).map_or(Gate::Closed("unknown format"), |s| s.gate(logsource))
            }
        }
    }

    fn windows_gate(&self, logsource: &LogSource) -> Gate {
        if logsource.product.as_deref().is_some_and(|product| product != "windows") {
            return Gate::Closed("another product");
        }
        let mut all = Vec::new();
        if let Some(category) = &logsource.category {
            let Some((channel, ids)) = self.tables.categories.get(category) else {
                return Gate::Closed("a category that no Windows channel has");
            };
            all.push(text_test(CHANNEL, channel));
            all.push(Expr::any(ids.iter().map(|id| number_test(EVENT_ID, *id)).collect()));
        }
        if let Some(service) = &logsource.service {
            let Some(channels) = self.tables.services.get(service) else {
                return Gate::Closed("a service that no Windows channel has");
            };
            all.push(Expr::any(channels.iter().map(|channel| text_test(CHANNEL, channel)).collect()));
        }
        if logsource.product.is_none() && all.is_empty() {
            return Gate::Closed("no log source");
        }
        Gate::Open(Expr::all(all))
    }
}

impl NamedSource {
    fn gate(&self, logsource: &LogSource) -> Gate {
        if logsource.product.as_ref().is_some_and(|product| *product != self.product) {
            return Gate::Closed("another product");
        }
        let mut all = Vec::new();
        match (&logsource.category, &self.category_field) {
            (Some(category), Some(field)) => all.push(text_test(field, category)),
            (Some(category), None) if !self.categories.contains(category) => {
                return Gate::Closed("another category");
            }
            _ => {}
        }
        match (&logsource.service, &self.service_field) {
            (Some(service), Some(field)) => all.push(text_test(field, service)),
            // A record that tells its category comes from no service that rules name.
            (Some(service), None)
                if !self.services.contains(service) && (self.category_field.is_some() || !self.services.is_empty()) =>
            {
                return Gate::Closed("another service");
            }
            _ => {}
        }
        Gate::Open(Expr::all(all))
    }
}

fn text_test(field: &str, text: &str) -> Expr {
    Expr::Test(Test { field: Some(field.into()), matcher: Matcher::Text(Pattern::literal(text)) })
}

fn number_test(field: &str, number: i64) -> Expr {
    Expr::Test(Test { field: Some(field.into()), matcher: Matcher::Number(Number::Int(number)) })
}

fn keys(names: &[&str]) -> Vec<Step> {
    names.iter().map(|name| Step::Key((*name).into())).collect()
}

/// `a.b.c` is the key `a.b.c`, or nested, or partly both.
fn splits(field: &str) -> Vec<Vec<Step>> {
    let parts: Vec<&str> = field.split('.').collect();
    let gaps = parts.len().saturating_sub(1);
    if gaps > 6 {
        // Sixty-four mixtures are enough; deeper names are flat or nested.
        return vec![keys(&[field]), keys(&parts)];
    }
    let mut paths = Vec::new();
    for choice in 0..1_u32 << gaps {
        let mut names: Vec<String> = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let nested = index > 0 && choice >> (index - 1) & 1 == 1;
            match names.last_mut() {
                Some(last) if !nested => {
                    last.push('.');
                    last.push_str(part);
                }
                _ => names.push((*part).to_owned()),
            }
        }
        paths.push(names.into_iter().map(|name| Step::Key(name.into())).collect());
    }
    paths
}

/// Fields of `Event.System` under their Sigma names.
const SYSTEM: [(&str, &[&str]); 13] = [
    ("Channel", &["Channel"]),
    ("Computer", &["Computer"]),
    ("EventID", &["EventID"]),
    ("EventRecordID", &["EventRecordID"]),
    ("Keywords", &["Keywords"]),
    ("Level", &["Level"]),
    ("Opcode", &["Opcode"]),
    ("Provider_Name", &["Provider", "#attributes", "Name"]),
    ("Provider_Guid", &["Provider", "#attributes", "Guid"]),
    ("Task", &["Task"]),
    ("TimeCreated", &["TimeCreated", "#attributes", "SystemTime"]),
    ("UserID", &["Security", "#attributes", "UserID"]),
    ("Version", &["Version"]),
];

fn evtx_paths(field: &str) -> Vec<Vec<Step>> {
    let mut paths = splits(field);
    let key = |name: &str| Step::Key(name.into());
    if let Some((_, names)) = SYSTEM.iter().find(|(name, _)| *name == field) {
        let mut path = keys(&["Event", "System"]);
        path.extend(names.iter().map(|name| key(name)));
        paths.push(path.clone());
        path.push(key("#text"));
        paths.push(path);
    }
    for inner in splits(field) {
        for (head, any) in [("EventData", false), ("UserData", true), ("UserData", false)] {
            let mut path = keys(&["Event", head]);
            if any {
                path.push(Step::AnyKey);
            }
            path.extend(inner.clone());
            paths.push(path.clone());
            path.push(key("#text"));
            paths.push(path);
        }
    }
    paths.iter_mut().for_each(|path| loosen(path));
    paths
}

/// Keys right below `Event.EventData` are compared without blanks.
fn loosen(path: &mut [Step]) {
    let named = |step: &Step, name: &str| matches!(step, Step::Key(key) if **key == *name);
    if let [event, data, inner @ Step::Key(_), ..] = path
        && named(event, "Event")
        && named(data, "EventData")
        && let Step::Key(key) = inner
    {
        *inner = Step::Blank(key.replace(' ', "").into());
    }
}

fn tables() -> Tables {
    let mut tables = Tables::default();
    // The data is part of the program: a test reads it, so that a mistake in it cannot ship.
    let windows = yaml::documents(WINDOWS).unwrap_or_default();
    if let Some(root) = windows.first() {
        for (name, node) in pairs(root.entry("category")) {
            let channel = node.entry("channel").and_then(Node::as_text).unwrap_or_default().to_owned();
            let ids = list(node.entry("event_id")).iter().filter_map(int).collect();
            tables.categories.insert(name.clone(), (channel, ids));
        }
        for (name, node) in pairs(root.entry("service")) {
            tables.services.insert(name.clone(), texts(Some(node)));
        }
    }
    for (name, node) in pairs(yaml::documents(SOURCES).unwrap_or_default().first()) {
        let source = NamedSource {
            product: node.entry("product").and_then(Node::as_text).unwrap_or_default().to_owned(),
            services: texts(node.entry("service")),
            categories: texts(node.entry("category")),
            service_field: node.entry("service_field").and_then(Node::as_text).map(str::to_owned),
            category_field: node.entry("category_field").and_then(Node::as_text).map(str::to_owned),
        };
        tables.sources.insert(name.clone(), source);
    }
    tables
}

fn source_names() -> Vec<String> {
    let mut names: Vec<String> = TABLES.sources.keys().cloned().collect();
    names.sort();
    names
}

fn pairs(node: Option<&Node>) -> &[(String, Node)] {
    match node.map(|node| &node.value) {
        Some(Value::Map(pairs)) => pairs,
        _ => &[],
    }
}

fn list(node: Option<&Node>) -> &[Node] {
    match node.map(|node| &node.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

fn texts(node: Option<&Node>) -> Vec<String> {
    list(node).iter().filter_map(|node| node.as_text().map(str::to_owned)).collect()
}

fn int(node: &Node) -> Option<i64> {
    if let Value::Int(number) = node.value { Some(number) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_read() {
        let tables = tables();
        assert_eq!(tables.categories.len(), 33);
        assert_eq!(tables.services.len(), 44);
        assert!(tables.categories.values().all(|(channel, ids)| !channel.is_empty() && !ids.is_empty()));
        assert!(tables.services.values().all(|channels| !channels.is_empty()));
        assert!(tables.sources.values().all(|source| !source.product.is_empty()));
        assert!(tables.sources.contains_key("cloudtrail"));
    }

    #[test]
    fn dotted_names_are_flat_and_nested() {
        assert_eq!(splits("a.b.c").len(), 4);
        assert_eq!(splits("A"), vec![keys(&["A"])]);
        assert!("windows-flat".parse::<Format>().is_ok());
        assert!("nope".parse::<Format>().unwrap_err().to_string().contains("cloudtrail"));
    }
}

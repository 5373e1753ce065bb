//! What is compared: every declared object as a thing with a kind, a place, a name and fields, whether it comes from files
//! or from the platform. Pure.

use super::file::{
    AgentSpec, AssignmentSpec, ExceptionSpec, Named, PackSpec, ProviderSpec, RoleSpec, SourceSpec, TenantSpec,
    UserSpec, Wanted,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A kind of object.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Agent,
    Assignment,
    Exception,
    Pack,
    Policy,
    Retention,
    Role,
    Source,
    Tenant,
    User,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Assignment => "assignment",
            Self::Exception => "exception",
            Self::Pack => "pack",
            Self::Policy => "policy",
            Self::Retention => "retention",
            Self::Role => "role",
            Self::Source => "source",
            Self::Tenant => "tenant",
            Self::User => "user",
        }
    }
}

/// What names a thing: its place (a tenant's name; none for the provider), its kind, its name there.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub(crate) struct Key {
    pub(crate) place: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(place: Option<&str>, kind: Kind, name: impl Into<String>) -> Self {
        Self { place: place.map(str::to_owned), kind, name: name.into() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.place, self.kind) {
            (Some(_), Kind::Tenant) => write!(f, "tenant {}", self.name),
            (Some(place), Kind::Retention) => write!(f, "{place}: retention"),
            (Some(place), kind) => write!(f, "{place}: {} {}", kind.as_str(), self.shown()),
            (None, kind) => write!(f, "provider: {} {}", kind.as_str(), self.shown()),
        }
    }
}

impl Key {
    /// The name, without the text of what is named by its text.
    pub(crate) fn shown(&self) -> &str {
        if self.kind != Kind::Exception {
            return &self.name;
        }
        let title = self.name.lines().find_map(|line| line.strip_prefix("title:"));
        title.map_or("without a title", str::trim)
    }
}

/// Fields of a thing; those that a file does not speak of are missing, and not compared.
pub(crate) type Fields = Map<String, Value>;

/// What files ask for.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    pub(crate) things: BTreeMap<Key, Fields>,
    /// Sections that files speak of: what is there and not in the files is to go.
    pub(crate) whole: BTreeSet<(Option<String>, Kind)>,
}

impl Desired {
    /// From files that were read; what cannot be is told.
    pub(crate) fn of(wanted: Wanted) -> Result<Self, String> {
        let mut desired = Self::default();
        if let Some(provider) = wanted.provider {
            desired.provider(provider)?;
        }
        if let Some(tenants) = wanted.tenants {
            desired.whole.insert((None, Kind::Tenant));
            for (name, spec) in tenants {
                desired.tenant(&name, spec)?;
            }
        }
        Ok(desired)
    }

    fn provider(&mut self, spec: ProviderSpec) -> Result<(), String> {
        self.users(None, spec.users)?;
        self.agents(None, spec.agents)?;
        self.roles(None, spec.roles)?;
        self.assignments(None, spec.assignments)?;
        self.entries(None, Kind::Policy, spec.policies, |policy| {
            let mut fields = fields(json!({ "text": policy.text.unwrap_or_default() }));
            if !policy.tests.is_empty() {
                fields.insert("tests".to_owned(), json!(policy.tests));
            }
            said(&mut fields, "active", policy.active);
            fields
        })
    }

    fn tenant(&mut self, name: &str, spec: TenantSpec) -> Result<(), String> {
        let place = Some(name);
        let mut head = Fields::new();
        said(&mut head, "display_name", spec.display_name);
        said(&mut head, "tags", spec.tags);
        said(&mut head, "suspended", spec.suspended);
        self.things.insert(Key::new(place, Kind::Tenant, name), head);
        if let Some(retention) = spec.retention {
            let classes: Vec<Value> =
                retention.classes.iter().map(|(class, days)| json!({ "class_uid": class, "days": days })).collect();
            let kept = fields(json!({ "days": retention.days, "classes": classes }));
            self.things.insert(Key::new(place, Kind::Retention, ""), kept);
        }
        self.entries(place, Kind::Source, spec.sources, |source: SourceSpec| {
            let mut told = fields(json!({
                "description": source.description,
                "mapping": source.mapping,
                "mapping_text": source.mapping_text,
                "silent_after_secs": source.silent_after_secs,
            }));
            said(&mut told, "enabled", source.enabled);
            told
        })?;
        self.entries(place, Kind::Pack, spec.packs, |pack: PackSpec| fields(json!({ "off": pack.off })))?;
        self.exceptions(place, spec.exceptions)?;
        self.users(place, spec.users)?;
        self.agents(place, spec.agents)?;
        self.roles(place, spec.roles)?;
        self.assignments(place, spec.assignments)
    }

    fn entries<T>(
        &mut self,
        place: Option<&str>,
        kind: Kind,
        entries: Option<Named<T>>,
        told: impl Fn(T) -> Fields,
    ) -> Result<(), String> {
        let Some(entries) = entries else { return Ok(()) };
        self.whole.insert((place.map(str::to_owned), kind));
        for (name, entry) in entries.0 {
            let key = Key::new(place, kind, name);
            let twice = format!("{key} stands twice");
            if self.things.insert(key, told(entry)).is_some() {
                return Err(twice);
            }
        }
        Ok(())
    }

    fn users(&mut self, place: Option<&str>, users: Option<Named<UserSpec>>) -> Result<(), String> {
        let lower = users
            .map(|users| Named(users.0.into_iter().map(|(email, user)| (email.to_ascii_lowercase(), user)).collect()));
        self.entries(place, Kind::User, lower, |user| fields(json!({ "display_name": user.display_name })))
    }

    fn agents(&mut self, place: Option<&str>, agents: Option<Named<AgentSpec>>) -> Result<(), String> {
        self.entries(place, Kind::Agent, agents, |agent| {
            let owner = agent.owner.to_ascii_lowercase();
            let mut told = fields(json!({ "purpose": agent.purpose, "owner": owner, "ttl_secs": agent.ttl_secs }));
            said(&mut told, "active", agent.active);
            said(&mut told, "definition", agent.definition);
            told
        })
    }

    fn roles(&mut self, place: Option<&str>, roles: Option<Named<RoleSpec>>) -> Result<(), String> {
        self.entries(place, Kind::Role, roles, |role| {
            fields(json!({
                "description": role.description,
                "operations": role.operations,
                "effects": role.effects,
                "principals": role.principals,
            }))
        })
    }

    fn assignments(&mut self, place: Option<&str>, assignments: Option<Vec<AssignmentSpec>>) -> Result<(), String> {
        let Some(assignments) = assignments else { return Ok(()) };
        self.whole.insert((place.map(str::to_owned), Kind::Assignment));
        for AssignmentSpec { principal, role, selector } in assignments {
            if place.is_some() && selector.is_some() {
                return Err(format!("{principal} as {role}: a `selector` is for the provider's assignments only"));
            }
            let key = Key::new(place, Kind::Assignment, assignment_name(&principal, &role, selector.as_deref()));
            // Saying it twice (a template and the tenant itself) is saying it once.
            let told = fields(json!({ "principal": principal, "role": role, "selector": selector }));
            self.things.insert(key, told);
        }
        Ok(())
    }

    fn exceptions(&mut self, place: Option<&str>, exceptions: Option<Vec<ExceptionSpec>>) -> Result<(), String> {
        let Some(exceptions) = exceptions else { return Ok(()) };
        self.whole.insert((place.map(str::to_owned), Kind::Exception));
        for exception in exceptions {
            let key = Key::new(place, Kind::Exception, exception.text.trim());
            let told = fields(json!({ "reason": exception.reason, "ttl_secs": exception.ttl_secs }));
            self.things.insert(key, told);
        }
        Ok(())
    }
}

/// What names an assignment.
pub(crate) fn assignment_name(principal: &str, role: &str, selector: Option<&str>) -> String {
    let principal = match principal.strip_prefix("user:") {
        Some(email) => format!("user:{}", email.to_ascii_lowercase()),
        None => principal.to_owned(),
    };
    match selector {
        Some(selector) => format!("{principal} as {role} where {selector}"),
        None => format!("{principal} as {role}"),
    }
}

/// Fields without those that are null or empty lists of nothing said.
pub(crate) fn fields(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        _ => Fields::new(),
    }
}

fn said<T: Serialize>(fields: &mut Fields, name: &str, value: Option<T>) {
    if let Some(value) = value {
        fields.insert(name.to_owned(), json!(value));
    }
}

//! What the platform has, written as a configuration file: reading it back plans nothing.

use super::file::{
    AgentSpec, AssignmentSpec, ExceptionSpec, File, Named, PackSpec, PolicySpec, ProviderSpec, RetentionSpec, RoleSpec,
    SourceSpec, TenantSpec, UserSpec, VERSION,
};
use super::observed::Observed;
use super::thing::{Fields, Key, Kind};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The file of everything that the caller can see.
pub(crate) fn file(observed: &Observed) -> File {
    let names = observed.things.keys().filter(|key| key.kind == Kind::Tenant).map(|key| key.name.clone());
    let tenants = names.map(|name| (name.clone(), tenant(observed, &name))).collect();
    File {
        version: VERSION,
        templates: BTreeMap::new(),
        provider: observed.home.is_none().then(|| provider(observed)),
        tenants: Some(Named(tenants)),
        for_each: Vec::new(),
    }
}

/// The things of a kind in a place that have not ended.
fn of<T>(observed: &Observed, place: Option<&str>, kind: Kind, told: impl Fn(&Key, &Fields) -> T) -> Named<T> {
    let here = observed.things.iter().filter(|(key, seen)| {
        key.kind == kind && key.place.as_deref() == place && !seen.ended && !seen.fields.contains_key("retired")
    });
    Named(here.map(|(key, seen)| (key.name.clone(), told(key, &seen.fields))).collect())
}

fn text(fields: &Fields, name: &str) -> String {
    fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn some<T: DeserializeOwned>(fields: &Fields, name: &str) -> Option<T> {
    fields.get(name).filter(|value| !value.is_null()).and_then(|value| serde_json::from_value(value.clone()).ok())
}

fn provider(observed: &Observed) -> ProviderSpec {
    ProviderSpec {
        users: Some(of(observed, None, Kind::User, user)),
        agents: Some(of(observed, None, Kind::Agent, agent)),
        roles: Some(of(observed, None, Kind::Role, role)),
        assignments: Some(of(observed, None, Kind::Assignment, assignment).0.into_values().collect()),
        policies: Some(of(observed, None, Kind::Policy, |_, fields| PolicySpec {
            text: Some(text(fields, "text")),
            file: None,
            active: some(fields, "active"),
            tests: some(fields, "tests").unwrap_or_default(),
        })),
    }
}

fn tenant(observed: &Observed, name: &str) -> TenantSpec {
    let place = Some(name);
    let nothing = Fields::new();
    let head = observed.things.get(&Key::new(place, Kind::Tenant, name)).map_or(&nothing, |seen| &seen.fields);
    let retention = observed.things.get(&Key::new(place, Kind::Retention, ""));
    let suspended: Option<bool> = some(head, "suspended");
    TenantSpec {
        template: None,
        without: Vec::new(),
        display_name: some(head, "display_name"),
        tags: some(head, "tags"),
        suspended: suspended.filter(|suspended| *suspended),
        retention: retention.map(|seen| retained(&seen.fields)),
        sources: Some(of(observed, place, Kind::Source, |_, fields| SourceSpec {
            description: text(fields, "description"),
            mapping: some(fields, "mapping"),
            mapping_text: some(fields, "mapping_text"),
            enabled: some(fields, "enabled").filter(|enabled: &bool| !enabled),
            silent_after_secs: some(fields, "silent_after_secs"),
        })),
        packs: Some(of(observed, place, Kind::Pack, |_, fields| PackSpec {
            off: some::<BTreeSet<String>>(fields, "off").unwrap_or_default(),
        })),
        exceptions: Some(
            of(observed, place, Kind::Exception, |key, fields| ExceptionSpec {
                text: format!("{}\n", key.name),
                reason: text(fields, "reason"),
                ttl_secs: 90 * 24 * 3600,
            })
            .0
            .into_values()
            .collect(),
        ),
        users: Some(of(observed, place, Kind::User, user)),
        agents: Some(of(observed, place, Kind::Agent, agent)),
        roles: Some(of(observed, place, Kind::Role, role)),
        assignments: Some(of(observed, place, Kind::Assignment, assignment).0.into_values().collect()),
    }
}

fn retained(fields: &Fields) -> RetentionSpec {
    let classes: Vec<api::ClassRetention> = some(fields, "classes").unwrap_or_default();
    RetentionSpec {
        days: some(fields, "days"),
        classes: classes.into_iter().map(|class| (class.class_uid, class.days)).collect(),
    }
}

fn user(_: &Key, fields: &Fields) -> UserSpec {
    UserSpec { display_name: text(fields, "display_name") }
}

fn agent(_: &Key, fields: &Fields) -> AgentSpec {
    AgentSpec {
        purpose: text(fields, "purpose"),
        owner: text(fields, "owner"),
        active: some(fields, "active"),
        ttl_secs: 90 * 24 * 3600,
        definition: some(fields, "definition"),
        definition_file: None,
    }
}

fn role(_: &Key, fields: &Fields) -> RoleSpec {
    let effects: BTreeSet<String> = some(fields, "effects").unwrap_or_default();
    RoleSpec {
        description: text(fields, "description"),
        operations: some(fields, "operations").unwrap_or_default(),
        effects: if effects.len() == policy::Effect::ALL.len() { BTreeSet::new() } else { effects },
        principals: some(fields, "principals").unwrap_or_default(),
    }
}

fn assignment(_: &Key, fields: &Fields) -> AssignmentSpec {
    AssignmentSpec {
        principal: text(fields, "principal"),
        role: text(fields, "role"),
        selector: some(fields, "selector"),
    }
}

//! What the platform has: read by ordinary operations with the caller's own rights, as things that can be compared. A caller
//! who may not see a place cannot plan there.

use super::thing::{Fields, Key, Kind, assignment_name, fields};
use crate::answer::{Answer, Transport, Trouble};
use api::{Declared, DeclaredPlace, Page, Spec, Tenant};
use ids::{Principal, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Tenants of one question: their ids stand in the query, which may be 8 KiB long with the path.
const AT_ONCE: usize = 150;

/// One object of the platform.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) fields: Fields,
    /// Its id, as operations want it.
    pub(crate) id: String,
    /// Ended for good: deactivated, retired.
    pub(crate) ended: bool,
}

/// Everything that the caller can see of what is declared.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) at: Timestamp,
    /// The one tenant of a caller who belongs to one.
    pub(crate) home: Option<String>,
    pub(crate) things: BTreeMap<Key, Seen>,
    /// The places themselves, for questions about access.
    pub(crate) places: Vec<DeclaredPlace>,
    /// What principals are called in files, by id.
    pub(crate) labels: HashMap<String, String>,
    /// Packs that can be assigned everywhere, by id.
    packs: HashMap<String, String>,
    /// Roles by id: what files call them.
    roles: HashMap<String, String>,
    /// Who can never act again: what they hold is nothing.
    ended: BTreeSet<String>,
}

/// The operations, and how to call them.
pub(crate) struct Caller<'a> {
    pub(crate) transport: &'a dyn Transport,
    pub(crate) specs: &'a [Spec],
}

impl Caller<'_> {
    /// The declaration of an operation.
    pub(crate) fn spec(&self, operation: &str) -> Result<&Spec, Trouble> {
        let found = self.specs.iter().find(|spec| spec.meta.id == operation);
        found.ok_or_else(|| Trouble::Usage(format!("this program knows no operation `{operation}`")))
    }

    /// The answer to a question; anything else ends the command.
    async fn ask<T: DeserializeOwned>(&self, operation: &str, input: Value) -> Result<T, Trouble> {
        let spec = self.spec(operation)?;
        match self.transport.call(spec, input, None).await? {
            Answer::Done { output, .. } => serde_json::from_value(output)
                .map_err(|error| Trouble::Remote(format!("the answer to `{operation}` does not fit: {error}"))),
            Answer::Refused(problem) => Err(Trouble::Remote(format!("`{operation}`: {}", problem.detail))),
            Answer::Pending(_) | Answer::Deferred(_) => {
                Err(Trouble::Remote(format!("`{operation}` needs an approval here; configuration cannot be read")))
            }
        }
    }

    async fn pages<T: DeserializeOwned>(&self, operation: &str, input: Value) -> Result<Vec<T>, Trouble> {
        let (mut items, mut input) = (Vec::new(), input);
        loop {
            let page: Page<T> = self.ask(operation, input.clone()).await?;
            items.extend(page.items);
            let (Some(cursor), Some(fields)) = (page.next_cursor, input.as_object_mut()) else { return Ok(items) };
            fields.insert("cursor".to_owned(), cursor.into());
        }
    }
}

impl Observed {
    /// Read everything; service keys of the places where files name one.
    pub(crate) async fn read(caller: &Caller<'_>, programs: &BTreeSet<Option<String>>) -> Result<Self, Trouble> {
        let me: api::Me = caller.ask("me.get", json!({})).await?;
        let mut observed = Self::default();
        let packs: Vec<api::Pack> = caller.pages("pack.list", json!({ "limit": 1000 })).await?;
        let shared = packs.iter().filter(|pack| pack.tenant.is_none());
        observed.packs.extend(shared.map(|pack| (pack.id.to_string(), pack.name.to_string())));
        let own: Declared = caller.ask("config.get", json!({})).await?;
        observed.at = own.at;
        let mut places = own.items;
        if me.tenant.is_none() {
            let tenants: Vec<Tenant> = caller.pages("tenant.list", json!({ "limit": 1000 })).await?;
            for some in tenants.chunks(AT_ONCE) {
                let ids: Vec<String> = some.iter().map(|tenant| tenant.id.to_string()).collect();
                let answer: Declared = caller.ask("config.get", json!({ "tenants": ids })).await?;
                places.extend(answer.items);
            }
        } else {
            observed.home =
                places.first().and_then(|place| place.tenant.as_ref()).map(|tenant| tenant.name.to_string());
        }
        for place in &places {
            observed.name(caller, place, programs).await?;
        }
        for place in &places {
            observed.take(place);
        }
        observed.places = places;
        Ok(observed)
    }

    /// What principals and roles of a place are called.
    async fn name(
        &mut self,
        caller: &Caller<'_>,
        place: &DeclaredPlace,
        programs: &BTreeSet<Option<String>>,
    ) -> Result<(), Trouble> {
        self.labels.extend(place.users.iter().map(|user| (user.id.to_string(), format!("user:{}", user.email))));
        let agents = place.agents.iter().filter(|one| one.agent.state != api::AgentState::Retired);
        self.labels.extend(agents.map(|one| (one.agent.id.to_string(), format!("agent:{}", one.agent.name))));
        let left = place.users.iter().filter(|user| user.state == api::UserState::Deactivated);
        self.ended.extend(left.map(|user| user.id.to_string()));
        let retired = place.agents.iter().filter(|one| one.agent.state == api::AgentState::Retired);
        self.ended.extend(retired.map(|one| one.agent.id.to_string()));
        self.roles.extend(place.roles.iter().map(|role| (role.role.clone(), role.name.to_string())));
        let name = place.tenant.as_ref().map(|tenant| tenant.name.to_string());
        let holds = place.assignments.iter().any(|one| matches!(one.principal, Principal::Service(_)));
        if holds || programs.contains(&name) {
            let mut input = json!({ "limit": 1000 });
            if let (Some(tenant), Some(input)) = (&place.tenant, input.as_object_mut()) {
                input.insert("tenant".to_owned(), tenant.id.to_string().into());
            }
            let keys: Vec<api::ServiceKey> = caller.pages("service_key.list", input).await?;
            let alive = keys.iter().filter(|key| !key.revoked);
            self.labels.extend(alive.map(|key| (key.id.to_string(), format!("service:{}", key.name))));
        }
        Ok(())
    }

    /// The id of a principal as files name it: in its place, else at the provider.
    pub(crate) fn principal(&self, place: Option<&str>, label: &str) -> Option<String> {
        if label.parse::<Principal>().is_ok() {
            return Some(label.to_owned());
        }
        let (kind, name) = label.split_once(':')?;
        let kind = match kind {
            "user" => Kind::User,
            "agent" => Kind::Agent,
            // Programs are not declared: their label is all there is.
            "service" => {
                let mut fitting = self.labels.iter().filter(|(_, known)| *known == label).map(|(id, _)| id.clone());
                return fitting.next();
            }
            _ => return None,
        };
        let name = name.to_ascii_lowercase();
        let found =
            |place: Option<&str>| self.things.get(&Key::new(place, kind, name.clone())).map(|seen| seen.id.clone());
        found(place).or_else(|| found(None))
    }

    fn put(&mut self, key: Key, id: impl ToString, fields: Fields, ended: bool) {
        // A name that was used before by something that ended belongs to what is alive.
        if ended && self.things.get(&key).is_some_and(|seen| !seen.ended) {
            return;
        }
        self.things.insert(key, Seen { fields, id: id.to_string(), ended });
    }

    fn take(&mut self, place: &DeclaredPlace) {
        let name = place.tenant.as_ref().map(|tenant| tenant.name.to_string());
        let name = name.as_deref();
        if let Some(tenant) = &place.tenant {
            let tags: BTreeSet<&str> = tenant.tags.iter().map(api::Tag::as_str).collect();
            let suspended = tenant.state == api::TenantState::Suspended;
            let head = json!({ "display_name": tenant.display_name, "tags": tags, "suspended": suspended });
            self.put(Key::new(name, Kind::Tenant, tenant.name.as_str()), tenant.id, fields(head), false);
        }
        if let Some(retention) = &place.retention {
            let kept = json!({ "days": retention.days, "classes": retention.classes });
            self.put(Key::new(name, Kind::Retention, ""), retention.tenant, fields(kept), false);
        }
        for source in &place.sources {
            let told = json!({
                "description": source.description, "mapping": source.mapping, "mapping_text": source.mapping_text,
                "silent_after_secs": source.silent_after_secs, "enabled": source.enabled,
            });
            self.put(Key::new(name, Kind::Source, source.name.to_string()), &source.name, fields(told), false);
        }
        for pack in place.packs.iter().filter(|pack| pack.on) {
            let Some(called) = self.packs.get(&pack.pack.to_string()).cloned() else { continue };
            let off: BTreeSet<&str> = pack.off.iter().map(|id| &**id).collect();
            self.put(Key::new(name, Kind::Pack, called), pack.pack, fields(json!({ "off": off })), false);
        }
        for exception in place.exceptions.iter().filter(|one| one.expires_at > self.at).collect::<Vec<_>>() {
            let told = fields(json!({ "reason": exception.reason }));
            self.put(Key::new(name, Kind::Exception, exception.text.trim()), exception.id, told, false);
        }
        self.take_people(place, name);
        for one in &place.policies {
            let policy = &one.policy;
            // What binds is the version that binds: a newer draft beside it is a difference.
            let active = policy.active_version == Some(policy.version);
            let told = json!({ "text": policy.text, "tests": one.tests, "active": active });
            let retired = policy.state == api::PolicyState::Retired;
            let mut told = fields(told);
            if retired {
                told.insert("retired".to_owned(), true.into());
            }
            self.put(Key::new(None, Kind::Policy, policy.name.as_str()), policy.id, told, false);
        }
    }

    fn take_people(&mut self, place: &DeclaredPlace, name: Option<&str>) {
        for user in &place.users {
            let ended = user.state == api::UserState::Deactivated;
            let told = fields(json!({ "display_name": user.display_name }));
            self.put(Key::new(name, Kind::User, user.email.to_string()), user.id, told, ended);
        }
        for one in &place.agents {
            let agent = &one.agent;
            let owner = self.labels.get(&agent.owner.to_string()).cloned().unwrap_or_default();
            let owner = owner.strip_prefix("user:").map_or_else(|| agent.owner.to_string(), str::to_owned);
            let active = agent.state == api::AgentState::Active;
            let mut told = fields(json!({ "purpose": agent.purpose, "owner": owner, "active": active }));
            if let Some(definition) = &one.definition {
                told.insert("definition".to_owned(), json!(definition));
            }
            let ended = agent.state == api::AgentState::Retired;
            self.put(Key::new(name, Kind::Agent, agent.name.as_str()), agent.id, told, ended);
        }
        for role in &place.roles {
            let operations: BTreeSet<&str> = role.operations.iter().map(api::OperationPattern::as_str).collect();
            let effects: BTreeSet<&str> = role.effects.iter().map(|effect| effect.as_str()).collect();
            let principals: BTreeSet<&str> = role.principals.iter().map(|kind| kind.as_str()).collect();
            let told = json!({
                "description": role.description, "operations": operations, "effects": effects, "principals": principals,
            });
            self.put(Key::new(name, Kind::Role, role.name.to_string()), &role.role, fields(told), false);
        }
        for one in &place.assignments {
            let id = one.principal.to_string();
            if self.ended.contains(&id) {
                continue;
            }
            let principal = self.labels.get(&id).cloned().unwrap_or(id);
            let role = self.roles.get(&one.role).cloned().unwrap_or_else(|| one.role.clone());
            let selector = one.selector.as_ref().map(ToString::to_string);
            let key = Key::new(name, Kind::Assignment, assignment_name(&principal, &role, selector.as_deref()));
            let told = json!({ "principal": principal, "role": role, "selector": selector });
            self.put(key, one.id, fields(told), false);
        }
    }

    /// The id of a pack that can be assigned everywhere.
    pub(crate) fn pack(&self, name: &str) -> Option<&str> {
        self.packs.iter().find(|(_, known)| *known == name).map(|(id, _)| id.as_str())
    }
}

//! Who and what the tests of the gate need: two tenants, somebody for each shipped role, and in each place one object of
//! every kind. Everything is made by calls over HTTP, as an administrator would.
#![expect(clippy::expect_used, clippy::panic, reason = "a test whose people cannot be made has failed")]

use crate::platform::Platform;
use api::Spec;
use base64::Engine as _;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery";

/// Where something is, seen from the principals of the own tenant.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// The tenant of the cast.
    Own,
    /// Another tenant.
    Other,
    /// The provider.
    Provider,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Own, Self::Other, Self::Provider];

    /// The word in golden files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Other => "other",
            Self::Provider => "provider",
        }
    }
}

/// One principal with a credential.
#[derive(Clone, Debug)]
pub struct Member {
    /// The column in golden files: the role, or what sets the member apart.
    pub name: String,
    /// The principal.
    pub principal: String,
    /// A credential.
    pub token: String,
    /// Whether it belongs to the provider.
    pub provider: bool,
}

/// Ids of one object of each kind in one place, by the name of the field that takes them.
pub type Things = BTreeMap<&'static str, String>;

/// Everybody and everything.
pub struct Cast {
    /// The own tenant.
    pub own: String,
    /// The other tenant.
    pub other: String,
    /// A provider admin, a person; not the one who set the installation up.
    pub chief: Member,
    /// Somebody for each shipped role, and more; in the order of the golden file's columns.
    pub members: Vec<Member>,
    /// One object of each kind, by place.
    pub things: BTreeMap<Place, Things>,
    serial: AtomicU64,
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("no id in {value}")).to_owned()
}

/// An object with the tenant in it, where there is one.
fn at(tenant: Option<&str>, mut fields: Value) -> Value {
    if let (Some(tenant), Some(fields)) = (tenant, fields.as_object_mut()) {
        fields.insert("tenant".to_owned(), tenant.into());
    }
    fields
}

/// Sign in; the session's token.
pub async fn login(platform: &Platform, email: &str) -> String {
    let session =
        platform.send(crate::Request::of(platform.spec("me.login"), &json!({ "email": email, "password": PASSWORD })));
    let session = session.await;
    assert_eq!(session.status, 200, "{}", session.body);
    session.body["secret"].as_str().expect("a session's secret").to_owned()
}

/// A person with these roles, signed in.
pub async fn person(platform: &Platform, admin: &str, name: &str, tenant: Option<&str>, roles: &[&str]) -> Member {
    let email = format!("{name}@example.com");
    let made = json!({ "email": email, "display_name": name, "password": PASSWORD });
    let user = id(&platform.done(admin, "user.create", &at(tenant, made)).await);
    if !roles.is_empty() {
        platform.done(admin, "user.set_roles", &at(tenant, json!({ "user": user, "roles": roles }))).await;
    }
    let token = login(platform, &email).await;
    Member { name: name.to_owned(), principal: user, token, provider: tenant.is_none() }
}

/// A service key with these roles.
pub async fn program(platform: &Platform, admin: &str, name: &str, tenant: Option<&str>, roles: &[&str]) -> Member {
    let made = platform.done(admin, "service_key.create", &at(tenant, json!({ "name": name }))).await;
    let principal = id(&made["key"]);
    for role in roles {
        platform.done(admin, "role.assign", &at(tenant, json!({ "principal": principal, "role": role }))).await;
    }
    let token = made["credential"]["secret"].as_str().expect("a key's secret").to_owned();
    Member { name: name.to_owned(), principal, token, provider: tenant.is_none() }
}

/// An active agent of a tenant with these roles, and a run's credential in that tenant.
pub async fn agent(platform: &Platform, issuer: &Member, name: &str, tenant: &str, roles: &[&str]) -> Member {
    let token = &issuer.token;
    let made =
        json!({ "name": name.replace('_', "-"), "purpose": "tests", "owner": issuer.principal, "tenant": tenant });
    let agent = id(&platform.done(token, "agent.register", &made).await);
    platform.done(token, "agent.activate", &json!({ "agent": agent })).await;
    for role in roles {
        let given = json!({ "principal": agent, "role": role, "tenant": tenant });
        platform.done(token, "role.assign", &given).await;
    }
    let token = run(platform, issuer, &agent, tenant).await;
    Member { name: name.to_owned(), principal: agent, token, provider: false }
}

/// A fresh run credential of an agent.
pub async fn run(platform: &Platform, issuer: &Member, agent: &str, tenant: &str) -> String {
    let asked = json!({ "agent": agent, "tenant": tenant, "ttl_secs": 3600 });
    let issued = platform.done(&issuer.token, "agent.issue_run_credential", &asked).await;
    issued["credential"]["secret"].as_str().expect("a run's secret").to_owned()
}

/// The key of the sensors of tests.
#[must_use]
pub fn sensor_key() -> seal::SigningKey {
    seal::SigningKey::from_bytes(&[7; 32])
}

/// What a sensor says to enrol.
#[must_use]
pub fn enrolment(hostname: &str) -> Value {
    let key = base64::engine::general_purpose::STANDARD.encode(sensor_key().verifying_key().to_bytes());
    json!({ "version": 1, "public_key": key, "host": { "hostname": hostname, "boot": "boot-1" } })
}

/// An enrolled sensor of a tenant: its id and its own credential.
pub async fn sensor(platform: &Platform, admin: &str, name: &str, tenant: &str, tags: &[&str]) -> (String, String) {
    let made = json!({ "tenant": tenant, "name": name, "tags": tags });
    let made = platform.done(admin, "sensor.create", &made).await;
    let token = made["credential"]["secret"].as_str().expect("an enrolment token");
    let enrolled = platform.done(token, "sensor.enrol", &enrolment(name)).await;
    let credential = enrolled["credential"].as_str().expect("a sensor's credential").to_owned();
    (id(&made["sensor"]), credential)
}

/// A rule with this id.
#[must_use]
pub fn rule_text(id: &str) -> String {
    format!(
        "title: Seeded\nid: {id}\nlogsource:\n  product: windows\n  category: process_creation\ndetection:\n  \
         selection:\n    Image|endswith: '\\whoami.exe'\n  condition: selection\nlevel: low\ntags: [attack.t1033]\n"
    )
}

/// A test that [`rule_text`] passes.
#[must_use]
pub fn rule_test() -> Value {
    let event =
        |image: &str| json!({ "Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": 1, "Image": image });
    json!({ "name": "whoami", "events": [event("C:\\cmd.exe"), event("C:\\whoami.exe")], "matches": [1] })
}

/// An event's id; the recorder has every event.
pub const EVENT: &str = "event_xw3xdh020e0200r0";

/// A definition that a model drives, without skills.
pub const DEFINITION: &str = "---\nname: seeded\npurpose: tests\noperations: [tenant.get]\nmodel: default\n\
    budgets: { steps: 3, tokens: 1000, seconds: 60, actions: 1 }\n---\nLook around.\n";

/// A filter for every rule of a log source.
pub const EXCEPTION: &str = "title: Build hosts\nlogsource:\n  product: windows\n  category: process_creation\nfilter:\n  \
    rules: any\n  selection:\n    Computer|startswith: build-\n  condition: not selection\n";

impl Cast {
    /// Make everybody and everything.
    pub async fn of(platform: &Platform) -> Self {
        let first = &platform.bootstrap;
        let chief = person(platform, first, "chief", None, &["provider_admin"]).await;
        let tenant = async |name: &str| {
            let made = json!({ "name": name, "tags": ["env=prod"] });
            id(&platform.done(&chief.token, "tenant.create", &made).await)
        };
        let (own, other) = (tenant("own").await, tenant("other").await);
        let mut members = vec![person(platform, &chief.token, "no_role", Some(&own), &[]).await];
        for role in ["viewer", "analyst", "responder", "detection_engineer", "auditor", "tenant_admin"] {
            members.push(person(platform, &chief.token, role, Some(&own), &[role]).await);
        }
        members.push(person(platform, &chief.token, "provider_admin", None, &["provider_admin"]).await);
        // Made by the first admin: who makes a key cannot approve what it proposes, and the chief approves.
        members.push(program(platform, first, "key-tenant-admin", Some(&own), &["tenant_admin"]).await);
        members.push(program(platform, first, "key-provider-admin", None, &["provider_admin"]).await);
        let admin = members.iter().find(|one| one.name == "tenant_admin").cloned().expect("a tenant admin");
        for role in ["investigator", "detection_author", "responder_with_approval"] {
            members.push(agent(platform, &admin, role, &own, &[role]).await);
        }
        let mut cast = Self { own, other, chief, members, things: BTreeMap::new(), serial: AtomicU64::new(1) };
        let policy = cast.policy(platform).await;
        for place in Place::ALL {
            let things = cast.make_things(platform, place, &policy).await;
            cast.things.insert(place, things);
        }
        cast
    }

    /// The member of this name.
    #[must_use]
    pub fn member(&self, name: &str) -> &Member {
        self.members.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("nobody is called `{name}`"))
    }

    /// The tenant of a place.
    #[must_use]
    pub fn tenant(&self, place: Place) -> Option<&str> {
        match place {
            Place::Own => Some(&self.own),
            Place::Other => Some(&self.other),
            Place::Provider => None,
        }
    }

    /// A name that nothing has yet.
    pub fn fresh(&self, stem: &str) -> String {
        format!("{stem}-{}", self.serial.fetch_add(1, Ordering::Relaxed))
    }

    async fn make_things(&self, platform: &Platform, place: Place, policy: &str) -> Things {
        let (tenant, chief) = (self.tenant(place), &self.chief.token);
        let name = |stem: &str| format!("{stem}-{}", place.as_str());
        let mut things = Things::new();
        things.extend(tenant.map(|tenant| ("tenant", tenant.to_owned())));
        let user = person(platform, chief, &name("victim"), tenant, &[]).await;
        let token = json!({ "user": user.principal, "name": "laptop" });
        things.insert("credential", id(&platform.done(&user.token, "user.create_token", &token).await));
        let lent = json!({ "client": "seeded", "profile": "read" });
        things.insert("grant", id(&platform.done(&user.token, "grant.lend", &lent).await["grant"]));
        let given = json!({ "principal": user.principal, "role": "viewer" });
        things.insert("assignment", id(&platform.done(chief, "role.assign", &at(tenant, given)).await));
        let made = json!({ "name": name("agent"), "purpose": "tests", "owner": user.principal });
        let agent = id(&platform.done(chief, "agent.register", &at(tenant, made)).await);
        let made = at(tenant, json!({ "name": name("key") }));
        let key = platform.done(chief, "service_key.create", &made).await;
        things.insert("service_key", id(&key["key"]));
        let made = json!({ "name": name("reader"), "operations": ["tenant.get"] });
        let role = platform.done(chief, "role.create", &at(tenant, made)).await;
        things.insert("role", role["role"].as_str().expect("a role's id").to_owned());
        things.insert("policy", policy.to_owned());
        let made = at(tenant, json!({ "text": rule_text(&name("seeded")), "tests": [rule_test()] }));
        things.insert("rule", id(&platform.done(chief, "rule.create", &made).await));
        things.insert("rule_text", rule_text(&name("seeded")));
        let made = at(tenant, json!({ "name": name("pack") }));
        things.insert("pack", id(&platform.done(chief, "pack.create", &made).await));
        if let Some(tenant) = tenant {
            let made = json!({ "tenant": tenant, "text": EXCEPTION, "reason": "a test", "ttl_secs": 86400 });
            things.insert("exception", id(&platform.done(chief, "rule_exception.create", &made).await));
        }
        let admin = if tenant.is_some() { "tenant_admin" } else { "provider_admin" };
        let robot = program(platform, &platform.bootstrap, &name("robot"), tenant, &[admin]).await;
        platform.done(chief, "agent.define", &json!({ "agent": agent, "text": DEFINITION })).await;
        // Another for each place: the same bytes have the same digest, wherever they are.
        let page = format!("---\nname: seeded\ndescription: A test of {}.\n---\nDo nothing.\n", place.as_str());
        let files = json!([{ "path": "SKILL.md", "text": page }]);
        let skill = platform.done(chief, "skill.import", &at(tenant, json!({ "files": files }))).await;
        things.insert("digest", skill["digest"].as_str().expect("a skill's digest").to_owned());
        let engage = json!({ "target": { "stop": "agent", "agent": agent }, "reason": "a test" });
        let mut asked = Vec::new();
        for _ in 0..2 {
            let engaged = id(&platform.done(chief, "kill_switch.engage", &engage).await);
            let release = json!({ "kill_switch": engaged, "reason": "over" });
            asked.push((platform.pending(&robot.token, "kill_switch.release", &release).await, engaged));
        }
        let [(waiting, switch), (approved, _)] = <[_; 2]>::try_from(asked).expect("two proposals");
        platform.done(chief, "approval.approve", &json!({ "approval": approved })).await;
        platform.settled(chief, &approved).await;
        let jobs = platform.done(chief, "job.list", &at(tenant, json!({}))).await;
        things.insert("job", id(&jobs["items"][0]));
        let calls = platform.done(chief, "audit.list", &at(tenant, json!({ "limit": 5 }))).await;
        things.insert("call", calls["items"][1]["call"].as_str().expect("a call").to_owned());
        let connector = name("chat");
        let made = at(tenant, json!({ "name": connector, "shipped": "slack-message" }));
        platform.done(chief, "connector.create", &made).await;
        things.insert("connector", connector);
        let made = json!({ "name": name("hook"), "url": "https://hooks.example.com", "kinds": ["expiry_near"] });
        let made = platform.done(chief, "webhook.create", &at(tenant, made)).await;
        things.insert("webhook", id(&made["webhook"]));
        if let Some(tenant) = tenant {
            let source = name("source");
            let made = json!({ "tenant": tenant, "name": source });
            platform.done(chief, "source.create", &made).await;
            let key = json!({ "tenant": tenant, "source": source });
            let key = platform.done(chief, "source.create_key", &key).await;
            things.extend([("source", source), ("key", id(&key["key"]))]);
            let table = name("table").replace('-', "_");
            let made = json!({ "tenant": tenant, "name": table, "folder": "/srv/table" });
            platform.done(chief, "external_table.create", &made).await;
            let query = name("query");
            let made = json!({ "tenant": tenant, "name": query, "sql": "SELECT 1" });
            platform.done(chief, "saved_query.create", &made).await;
            let ran = json!({ "tenant": tenant, "query": query });
            let result = id(&platform.done(chief, "saved_query.run", &ran).await);
            things.extend([("table_name", table), ("saved_query", query), ("query_result", result)]);
            // A face, never what is called through it: this lockdown holds nothing that a test asks for.
            let locked = json!({ "tenant": tenant, "operations": ["operation.call"], "reason": "a test" });
            things.insert("lockdown", id(&platform.done(chief, "lockdown.engage", &locked).await));
            let (sensor, own) = sensor(platform, chief, &name("host"), tenant, &[]).await;
            let responder = person(platform, chief, &name("rescuer"), Some(tenant), &["responder"]).await;
            let glass = json!({ "tenant": tenant, "role": "viewer", "reason": "a test" });
            things.insert("break_glass", id(&platform.done(&responder.token, "break_glass.open", &glass).await));
            let asked = json!({ "sensor": sensor, "reason": "a test", "ttl_secs": 3600 });
            let action = id(&platform.done(&responder.token, "action.isolate_host", &asked).await);
            let told = platform.done(&own, "sensor.tasks", &json!({ "sensor": sensor })).await;
            let task = id(&told["tasks"][0]["task"]);
            things.extend([("sensor", sensor), ("task", task), ("action", action)]);
            self.make_case(platform, tenant, &mut things).await;
            things.insert("run", self.make_run(platform, tenant, &user.principal, &name("runner")).await);
        }
        things.extend([("approval", waiting), ("kill_switch", switch), ("user", user.principal), ("agent", agent)]);
        things
    }

    /// A case with what belongs to one, and another one.
    async fn make_case(&self, platform: &Platform, tenant: &str, things: &mut Things) {
        let chief = &self.chief.token;
        let opened = json!({ "tenant": tenant, "title": "seeded", "severity": "low", "entities": ["user:victim"] });
        let case = id(&platform.done(chief, "case.open", &opened).await);
        let other = json!({ "tenant": tenant, "title": "another" });
        things.insert("into", id(&platform.done(chief, "case.open", &other).await));
        let task = json!({ "case": case, "title": "ask" });
        things.insert("case_task", id(&platform.done(chief, "case.add_task", &task).await));
        let secured = json!({ "case": case, "sql": "SELECT 1" });
        let secured = platform.done(chief, "case.add_evidence", &secured).await;
        things.insert("evidence", id(&secured["items"][0]));
        platform.done(chief, "case.add_comment", &json!({ "case": case, "text": "look" })).await;
        things.insert("case", case);
    }

    /// A run that has ended: no model stands under its agent's alias, or one that ends it at once.
    async fn make_run(&self, platform: &Platform, tenant: &str, owner: &str, name: &str) -> String {
        let chief = &self.chief.token;
        let made = json!({ "name": name, "purpose": "tests", "owner": owner, "tenant": tenant });
        let agent = id(&platform.done(chief, "agent.register", &made).await);
        platform.done(chief, "agent.define", &json!({ "agent": agent, "text": DEFINITION })).await;
        platform.done(chief, "agent.activate", &json!({ "agent": agent })).await;
        let run = id(&platform.done(chief, "run.start", &json!({ "agent": agent, "tenant": tenant })).await);
        let ended = async || {
            let read = platform.done(chief, "run.get", &json!({ "run": run })).await;
            ["done", "exhausted", "failed"].contains(&read["state"].as_str().unwrap_or_default()).then_some(())
        };
        platform.until("the run to end", ended).await;
        run
    }

    /// A policy document, one for all places: they belong to the provider.
    async fn policy(&self, platform: &Platform) -> String {
        let text = "@id(\"seeded\")\nforbid(principal is Posse::Agent, action, resource) when { context.tainted };";
        id(&platform.done(&self.chief.token, "policy.create", &json!({ "name": "seeded", "text": text })).await)
    }

    /// The input of a call at a place: the operation's example with ids of that place; none where it has no such call.
    #[must_use]
    pub fn input(&self, spec: &Spec, place: Place) -> Option<Value> {
        let things = self.things.get(&place)?;
        let placed = spec.fields().any(|(name, _)| name == "tenant");
        // Some things only tenants have.
        let missing = |name: &&str| spec.requires(name) && !things.contains_key(*name);
        if ["action", "break_glass", "case", "lockdown", "run", "sensor", "tenant"].iter().any(missing) {
            return None;
        }
        let mut input = self.input_with(spec, things);
        match (place, placed) {
            (Place::Provider, true) => drop(input.remove("tenant")),
            (_, true) => drop(input.insert("tenant".to_owned(), things.get("tenant")?.as_str().into())),
            _ => {}
        }
        Some(Value::Object(input))
    }

    /// The operation's example with these ids.
    #[must_use]
    pub fn input_with(&self, spec: &Spec, things: &Things) -> Map<String, Value> {
        let mut input = spec.example.as_object().cloned().unwrap_or_default();
        for (name, _) in spec.fields() {
            let shipped = name == "role" && spec.meta.id == "role.assign";
            let wanted = spec.requires(name) || input.contains_key(name);
            if let Some(id) = things.get(name).filter(|_| wanted && !shipped) {
                input.insert(name.to_owned(), id.as_str().into());
            }
        }
        if matches!(spec.meta.id, "config.get" | "policy.matrix") {
            // About oneself at one's own place.
            input.clear();
        }
        if spec.meta.family() == "saved_query" {
            // Agents save questions and do not schedule them.
            input.remove("schedule");
        }
        let thing = |name: &str| Value::from(things.get(name).cloned().unwrap_or_default());
        let special = match spec.meta.id {
            "agent.define" => json!({ "text": DEFINITION }),
            "agent.register" => json!({ "name": self.fresh("agent"), "owner": thing("user") }),
            // Nobody answers for anything in the stead of those of the cast.
            "approval.delegate" => json!({ "to": thing("user") }),
            "approval.narrow" => json!({ "input": { "kill_switch": thing("kill_switch"), "reason": "over" } }),
            // A role that adds nothing to those of who asks.
            "break_glass.open" => json!({ "role": "viewer" }),
            "connector.create" => json!({ "name": self.fresh("chat") }),
            "case.update_task" => json!({ "task": thing("case_task") }),
            "case.conclude" => {
                let cited = json!({ "event": EVENT, "quotes": ["recorder"] });
                json!({ "claims": [{ "text": "the recorder sent it", "citations": [cited] }] })
            }
            "grant.list" => json!({ "user": thing("user") }),
            "kill_switch.engage" => json!({ "target": { "stop": "agent", "agent": thing("agent") } }),
            "lockdown.engage" => json!({ "effects": [], "operations": ["operation.call"] }),
            "me.login" => json!({ "email": "viewer@example.com", "password": PASSWORD }),
            "operation.call" => json!({ "operation": "me.get", "input": {} }),
            "policy.create" => {
                let name = self.fresh("policy");
                let text = format!("@id(\"{name}\")\nforbid(principal, action, resource) when {{ context.tainted }};");
                json!({ "name": name, "text": text })
            }
            "policy.explain" => json!({ "operation": "me.get", "input": {} }),
            "pack.create" => json!({ "name": self.fresh("pack") }),
            "recertification.report" | "recertification.certify" | "recertification.revoke" => {
                json!({ "principal": thing("agent") })
            }
            "role.assign" => json!({ "principal": thing("user"), "role": "viewer" }),
            "role.create" => json!({ "name": self.fresh("role") }),
            "rule.create" => json!({ "text": rule_text(&self.fresh("rule")) }),
            "external_table.create" => json!({ "name": self.fresh("table").replace('-', "_") }),
            "external_table.delete" | "external_table.get" => json!({ "table": thing("table_name") }),
            "saved_query.create" => json!({ "name": self.fresh("query") }),
            "saved_query.update" => json!({ "query": thing("saved_query"), "description": "asked each morning" }),
            "saved_query.result" => json!({ "query": thing("saved_query"), "result": thing("query_result") }),
            family if family.starts_with("saved_query.") && spec.requires("query") => {
                json!({ "query": thing("saved_query") })
            }
            "rule.diff" => json!({ "from": 1, "to": 1 }),
            "rule.update" => json!({ "text": thing("rule_text") }),
            "service_key.create" => json!({ "name": self.fresh("key") }),
            "sensor.create" => json!({ "name": self.fresh("sensor") }),
            "source.create" => json!({ "name": self.fresh("source") }),
            "lake.hold" => json!({ "name": self.fresh("hold") }),
            "tenant.create" => json!({ "name": self.fresh("tenant") }),
            "user.create" => json!({ "email": format!("{}@example.com", self.fresh("user")) }),
            _ => json!({}),
        };
        input.extend(special.as_object().cloned().unwrap_or_default());
        input
    }
}

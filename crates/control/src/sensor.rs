//! Sensors: made here, enrolled by the host that holds the one-time token, heard and given their tasks. A sensor is judged
//! like every principal; what it may is written in policy, and each of its own operations acts on itself only.

use crate::action_outcome::Telling;
use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::identity::right_after;
use crate::kill::Exposure;
use crate::outcome::{After, Outcome};
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    Enrolled, Etag, NewSensor, Noted, Page, Secret, SensorCreate, SensorEnrol, SensorGet, SensorHeartbeat, SensorList,
    SensorReport, SensorRetire, SensorTasks, SensorUpdate, SignedTask, SignedTasks,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use case::{Entity, EntityKind};
use ids::{CredentialId, List, Owner, Principal, Scope, SensorId, Text, Timestamp};
use seal::{CanonicalError, SigningKey, Token, VerifyingKey, canonical_json};
use serde_json::{Map, Value, json};
use std::time::Duration;
use store::{ActionState, Changes, CredentialKind, IngestKey, ResponseAction, Sensor, SensorState, Source, Stored};

/// How long an enrolled sensor's credentials live.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// The longest wait for tasks.
const POLL_SECS: u32 = 25;
/// What a sensor says of a task at most, as JSON.
const RESULT_BYTES_MAX: usize = 256 << 10;
/// Tasks in one answer.
const TASKS_MAX: u32 = 64;
/// What a signature under a task is for.
const TASK_PURPOSE: &str = "posse.sensor.task.v1";
/// What a signature under a result is for.
const RESULT_PURPOSE: &str = "posse.sensor.result.v1";
/// The wire's version.
const WIRE_VERSION: u32 = 1;
/// What a host says of itself at most, as JSON.
const HOST_BYTES_MAX: usize = 16 << 10;
/// What a sensor says of its health at most, as JSON.
const HEALTH_BYTES_MAX: usize = 64 << 10;

fn wire(stored: Stored<Sensor>) -> Result<api::Sensor, Refusal> {
    let Stored { value, version, created_at, .. } = stored;
    let tags: Vec<Text<64>> = value.tags.iter().map(|tag| Text::truncated(tag)).collect();
    Ok(api::Sensor {
        id: value.id,
        tenant: value.tenant,
        name: Text::truncated(&value.name),
        state: match value.state {
            SensorState::Invited => api::SensorState::Invited,
            SensorState::Enrolled => api::SensorState::Enrolled,
            SensorState::Retired => api::SensorState::Retired,
        },
        tags: List::new(tags).unwrap_or_default(),
        source: Text::truncated(&value.source),
        host: value.host,
        health: value.health,
        last_seen: value.last_seen,
        created_at,
        etag: Etag::of(version),
    })
}

/// The name that a sensor's host gives itself.
pub(crate) fn hostname(sensor: &Sensor) -> Option<&str> {
    sensor.host.as_ref()?.get("hostname")?.as_str()
}

pub(crate) fn sensor_target(sensor: &Sensor) -> Target {
    let mut target = Target::new("Sensor", sensor.id.to_string(), Owner::Tenant(sensor.tenant)).named(&sensor.name);
    target.tags = sensor.tags.iter().cloned().collect();
    target.entities = hostname(sensor).and_then(|host| Entity::new(EntityKind::Host, host)).into_iter().collect();
    target
}

pub(crate) async fn named(look: &Look<'_>, sensor: SensorId) -> Result<Target, Refusal> {
    Ok(sensor_target(&look.one::<Sensor>("sensor", &sensor.to_string()).await?.value))
}

fn replace(before: &Stored<Sensor>, value: Sensor, now: Timestamp) -> Result<Outcome<api::Sensor>, Refusal> {
    let mut changes = Changes::new();
    changes.replace(&value, before.version);
    let version = before.version.saturating_add(1);
    let stored = Stored { value, version, created_at: before.created_at, updated_at: now };
    Ok(Outcome::changed(wire(stored)?, changes).touching(&before.value.id))
}

/// Whether the sensor's own key signed this result.
fn signed_by(sensor: &Sensor, result: &Value, signature: &str) -> bool {
    let key: Option<[u8; 32]> =
        sensor.public_key.as_deref().and_then(|key| STANDARD.decode(key).ok()).and_then(|key| key.try_into().ok());
    let key = key.and_then(|key| VerifyingKey::from_bytes(&key).ok());
    let (Some(key), Ok(signature)) = (key, STANDARD.decode(signature)) else { return false };
    signed_bytes(RESULT_PURPOSE, result).is_ok_and(|bytes| key.verify(&bytes, &signature))
}

/// The caller itself, where it is a sensor. Others get the target too, and policy's answer with it.
fn own(look: &Look<'_>) -> Target {
    Target::new("Self", look.identity.principal.to_string(), look.identity.home)
}

fn signed_bytes(purpose: &str, content: &Value) -> Result<Vec<u8>, CanonicalError> {
    canonical_json(&json!({ "purpose": purpose, "content": content }))
}

/// An object of bounded size, as it is stored.
fn bounded(pointer: &str, object: Map<String, Value>, bytes_max: usize) -> Result<Value, Refusal> {
    let object = Value::Object(object);
    if object.to_string().len() > bytes_max {
        return Err(Refusal::fault(pointer, format!("is over {bytes_max} bytes of JSON; say less")));
    }
    Ok(object)
}

impl Admitted<'_> {
    /// The calling sensor, in one of these states.
    pub(crate) async fn sensor(&self, states: &[SensorState]) -> Result<Stored<Sensor>, Refusal> {
        let Principal::Sensor(id) = self.identity.principal else {
            return Err(Refusal::conflict("only a sensor does this, with its own credential"));
        };
        let stored: Stored<Sensor> = self.one("sensor", &id.to_string()).await?;
        if states.contains(&stored.value.state) {
            return Ok(stored);
        }
        let detail = match stored.value.state {
            SensorState::Invited => "the sensor is not enrolled yet; enrol it with its token",
            SensorState::Enrolled => "the sensor is enrolled already; make another for another host",
            SensorState::Retired => "the sensor is retired for good",
        };
        Err(Refusal::conflict(detail))
    }
}

impl Control {
    /// The key that signs tasks: it follows from the master key.
    fn task_key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.cursors.derive("sensor tasks").tag(&[b"ed25519"]))
    }

    /// The platform's signature over a task, in base64.
    pub(crate) fn sign_task(&self, task: &Value) -> Result<String, Refusal> {
        let signed = signed_bytes(TASK_PURPOSE, task).map_err(|error| Refusal::bug("a task is not signed", &error))?;
        Ok(STANDARD.encode(self.task_key().sign(&signed)))
    }

    /// Whether a task may still leave: nothing holds whoever asked for it.
    pub(crate) fn task_may_leave(&self, action: &ResponseAction, now: Timestamp) -> bool {
        let operation = self.registry.spec(&action.operation).map_or("action", |spec| spec.meta.id);
        let exposure = Exposure {
            agents: Exposure::agents_of(&action.requested_by, &action.on_behalf_of),
            provider_person: action.provider_person,
            owner: Owner::Tenant(action.tenant),
            home: action.home.into(),
            operation: Some((operation, api::Effect::Respond)),
            spared: Exposure::spares(&action.requested_by),
            issued_at: action.issued_at,
        };
        action.expires_at > now && self.kill.halts(&exposure).is_none()
    }
}

impl Handle<SensorCreate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SensorCreate) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(Some(input.tenant)).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SensorCreate) -> Result<Outcome<NewSensor>, Refusal> {
        let sensor = Sensor {
            id: SensorId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            tenant: input.tenant,
            name: input.name.into_string(),
            state: SensorState::Invited,
            tags: input.tags.into_iter().map(Text::into_string).collect(),
            source: input.source.to_string(),
            public_key: None,
            host: None,
            health: None,
            last_seen: None,
            credentials_from: admitted.now,
        };
        if sensor.name.trim().is_empty() {
            return Err(Refusal::fault("/name", "is empty; give what people call the host"));
        }
        let ttl = Duration::from_secs(u64::from(input.ttl_secs));
        let (principal, home) = (Principal::Sensor(sensor.id), Owner::Tenant(input.tenant));
        let (credential, shown) =
            self.new_credential(CredentialKind::Enrolment, principal, home, &sensor.name, admitted.now, ttl)?;
        let mut changes = Changes::new();
        changes.create(&sensor).create(&credential);
        let mut outcome = Outcome::answer(());
        if admitted.snapshot.read::<Source>(&Source::key(input.tenant, &sensor.source)).await?.is_none() {
            let source = Source {
                tenant: input.tenant,
                name: sensor.source.clone(),
                description: "telemetry of sensors".to_owned(),
                mapping: None,
                mapping_text: None,
                enabled: true,
                silent_after_secs: None,
            };
            changes.create(&source);
            outcome.after = After::Lake(input.tenant, vec![Source::key(input.tenant, &source.name)]);
        }
        let stored = Stored { value: sensor, version: 1, created_at: admitted.now, updated_at: admitted.now };
        let output = NewSensor { sensor: wire(stored)?, credential: shown };
        Ok(Outcome::changed(output, changes).then(outcome.after))
    }
}

impl Handle<SensorGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SensorGet) -> Result<Target, Refusal> {
        named(look, input.sensor).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SensorGet) -> Result<Outcome<api::Sensor>, Refusal> {
        Ok(Outcome::answer(wire(admitted.one("sensor", &input.sensor.to_string()).await?)?))
    }
}

impl Handle<SensorList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SensorList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SensorList) -> Result<Outcome<Page<api::Sensor>>, Refusal> {
        Ok(Outcome::answer(admitted.page(None, None, input.limit, input.cursor.as_ref(), wire).await?))
    }
}

impl Handle<SensorUpdate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SensorUpdate) -> Result<Target, Refusal> {
        named(look, input.sensor).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SensorUpdate) -> Result<Outcome<api::Sensor>, Refusal> {
        let before: Stored<Sensor> = admitted.one("sensor", &input.sensor.to_string()).await?;
        admitted.check_version(input.if_match, before.version)?;
        let mut sensor = before.value.clone();
        if let Some(name) = input.name {
            sensor.name = name.into_string();
        }
        if let Some(tags) = input.tags {
            sensor.tags = tags.into_iter().map(Text::into_string).collect();
        }
        replace(&before, sensor, admitted.now)
    }
}

impl Handle<SensorRetire> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SensorRetire) -> Result<Target, Refusal> {
        named(look, input.sensor).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SensorRetire) -> Result<Outcome<api::Sensor>, Refusal> {
        let before: Stored<Sensor> = admitted.one("sensor", &input.sensor.to_string()).await?;
        let credentials_from = right_after(self.now());
        let retired = Sensor { state: SensorState::Retired, credentials_from, ..before.value.clone() };
        let mut outcome = replace(&before, retired, admitted.now)?;
        // Its keys for telemetry carry its id as their name.
        let source = Source::key(before.value.tenant, &before.value.source);
        let mut touched = vec![input.sensor.to_string()];
        for key in admitted.snapshot.find::<IngestKey>("source", &source).await? {
            if key.value.name == input.sensor.to_string() && !key.value.revoked {
                touched.push(key.value.id.to_string());
                outcome.changes.replace(&IngestKey { revoked: true, ..key.value.clone() }, key.version);
            }
        }
        Ok(outcome.then(After::Touched(touched)))
    }
}

impl Handle<SensorEnrol> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &SensorEnrol) -> Result<Target, Refusal> {
        Ok(own(look))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SensorEnrol) -> Result<Outcome<Enrolled>, Refusal> {
        let before = admitted.sensor(&[SensorState::Invited]).await?;
        let key: Option<[u8; 32]> = STANDARD.decode(&*input.public_key).ok().and_then(|key| key.try_into().ok());
        if key.is_none_or(|key| VerifyingKey::from_bytes(&key).is_err()) {
            return Err(Refusal::fault("/public_key", "is not an ed25519 public key of 32 bytes in base64"));
        }
        let host = bounded("/host", input.host, HOST_BYTES_MAX)?;
        let (now, tenant, id) = (admitted.now, before.value.tenant, before.value.id);
        let (principal, home) = (admitted.identity.principal.clone(), Owner::Tenant(tenant));
        let (credential, shown) =
            self.new_credential(CredentialKind::Sensor, principal, home, &before.value.name, now, YEAR)?;
        let token = Token::generate("ingest", self.entropy.as_ref())
            .map_err(|error| Refusal::bug("a token was not made", &error))?;
        let key = IngestKey {
            id: CredentialId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            tenant,
            source: before.value.source.clone(),
            name: id.to_string(),
            hash: token.lookup_hash().to_string(),
            expires_at: now.plus(YEAR),
            revoked: false,
        };
        let enrolled = Sensor {
            state: SensorState::Enrolled,
            public_key: Some(input.public_key.to_string()),
            host: Some(host),
            last_seen: Some(now),
            // The enrolment token was issued before.
            credentials_from: now,
            ..before.value.clone()
        };
        let mut changes = Changes::new();
        changes.replace(&enrolled, before.version).create(&credential).create(&key);
        let used: Stored<store::Credential> =
            admitted.one("credential", &admitted.identity.credential.to_string()).await?;
        changes.replace(&store::Credential { revoked: true, ..used.value.clone() }, used.version);
        let output = Enrolled {
            version: WIRE_VERSION,
            sensor: id,
            source: Text::truncated(&before.value.source),
            ingest_credential: Secret::new(token.expose().to_owned()),
            credential: shown.secret,
            task_key: Text::truncated(&STANDARD.encode(self.task_key().verifying_key().to_bytes())),
        };
        Ok(Outcome::changed(output, changes).touching(&id))
    }
}

impl Handle<SensorHeartbeat> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SensorHeartbeat) -> Result<Target, Refusal> {
        named(look, input.sensor).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SensorHeartbeat) -> Result<Outcome<Noted>, Refusal> {
        let before = admitted.sensor(&[SensorState::Enrolled]).await?;
        let health = Some(bounded("/health", input.health, HEALTH_BYTES_MAX)?);
        let host = Some(bounded("/host", input.host, HOST_BYTES_MAX)?);
        let last_seen = Some(admitted.now);
        let mut changes = Changes::new();
        changes.replace(&Sensor { health, host, last_seen, ..before.value.clone() }, before.version);
        Ok(Outcome::changed(Noted { at: admitted.now }, changes))
    }
}

impl Handle<SensorTasks> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SensorTasks) -> Result<Target, Refusal> {
        named(look, input.sensor).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SensorTasks) -> Result<Outcome<SignedTasks>, Refusal> {
        let sensor = admitted.sensor(&[SensorState::Enrolled]).await?.value;
        let wait = Duration::from_secs(input.wait.min(POLL_SECS).into());
        let until = tokio::time::Instant::now() + wait;
        let mut changed = self.store.changes();
        loop {
            let key = Some(("open", sensor.id.to_string()));
            let page = store::Page { key, limit: TASKS_MAX, ..store::Page::default() };
            let snapshot = self.store.snapshot(Scope::Tenant(sensor.tenant));
            let open: Vec<Stored<ResponseAction>> = snapshot.list(&page).await?;
            let now = self.now();
            let may = open.into_iter().map(|stored| stored.value).filter(|action| self.task_may_leave(action, now));
            let tasks: Vec<SignedTask> =
                may.filter_map(|action| action.task).map(|(task, signature)| SignedTask { task, signature }).collect();
            if !tasks.is_empty() || tokio::time::Instant::now() >= until {
                return Ok(Outcome::answer(SignedTasks { tasks }));
            }
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                // The store is closed: what is there is the answer.
                ended = changed.changed() => if ended.is_err() { return Ok(Outcome::answer(SignedTasks { tasks })) },
            }
        }
    }
}

impl Handle<SensorReport> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SensorReport) -> Result<Target, Refusal> {
        named(look, input.sensor).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SensorReport) -> Result<Outcome<Noted>, Refusal> {
        let sensor = admitted.sensor(&[SensorState::Enrolled]).await?.value;
        let key = Some(("task", input.task.to_string()));
        let page = store::Page { key, limit: 1, ..store::Page::default() };
        let found: Vec<Stored<ResponseAction>> = admitted.snapshot.list(&page).await?;
        let own = found.into_iter().next().filter(|stored| stored.value.sensor == Some(sensor.id));
        let before = own.ok_or_else(|| Refusal::not_found("task"))?;
        let result = bounded("/result", input.result, RESULT_BYTES_MAX)?;
        if !signed_by(&sensor, &result, &input.signature) {
            return Err(Refusal::fault("/signature", "is not the sensor's own over this result"));
        }
        let named = |field: &str| result.get(field).and_then(Value::as_str);
        if named("task") != Some(&input.task.to_string()) || named("sensor") != Some(&sensor.id.to_string()) {
            return Err(Refusal::fault("/result/task", "is another task or sensor than the path names"));
        }
        let noted = Noted { at: admitted.now };
        if !matches!(before.value.state, ActionState::Sent | ActionState::Uncertain | ActionState::Expired) {
            return Ok(Outcome::answer(noted));
        }
        let outcome = result.get("outcome").cloned().unwrap_or_default();
        let state = match outcome.get("status").and_then(Value::as_str) {
            Some("done") => ActionState::Done,
            Some("failed") => ActionState::Failed,
            Some("refused") => ActionState::Refused,
            _ => return Err(Refusal::fault("/result/outcome/status", "is none of done, failed and refused")),
        };
        let reason = outcome.get("reason").and_then(Value::as_str).unwrap_or_default();
        let mut ended = ResponseAction {
            state,
            // The sensor says done only where it looked afterwards and found the effect.
            verified: state == ActionState::Done,
            detail: Text::<2000>::truncated(reason).into_string(),
            output: outcome.get("details").cloned().unwrap_or_default(),
            ended_at: Some(admitted.now),
            ..before.value.clone()
        };
        let mut changes = Changes::new();
        if crate::action_file::collects(&ended) {
            self.settle_file(&admitted.snapshot, &mut ended, admitted.now, &mut changes).await?;
        }
        let telling = Telling { by: admitted.identity.principal.clone(), call: ended.call, at: admitted.now };
        crate::action_outcome::ended(&mut ended, &telling);
        let leaf = self.action_outcome_leaf(&before.value, &ended)?;
        changes.replace(&ended, before.version);
        let mut outcome = Outcome::changed(noted, changes);
        outcome.leaves.push(leaf);
        Ok(outcome)
    }
}

//! Files that sensors collect: asked for as an action, taken part by part, sealed where they lie, kept only where they are
//! what the sensor signed for, read back part by part. Must never show a file before it was checked, and never keep more of
//! one than was asked for.

use crate::action::{Asked, action_target, host};
use crate::action_outcome::evidence_of;
use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{Action, ActionCollectFile, ActionGetFile, ActionKind, CollectedPart, Noted, SensorSendChunk};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::{ActionId, Owner, Principal, SensorId, TenantId, Text, Timestamp};
use seal::Hasher;
use serde_json::{Value, json};
use store::{
    ActionState, CaseEvidence, Changes, CollectedChunk, Exhibit, Made, Resource as _, ResponseAction, Sensor,
    SensorState, Snapshot, Stored,
};

/// Bytes of one part, but for the last.
const PART_BYTES: u64 = 256 << 10;

/// What a sealed part is bound to.
fn context(tenant: TenantId, action: ActionId, index: u32) -> Vec<u8> {
    format!("collected/{tenant}/{action}/{index}").into_bytes()
}

pub(crate) fn collects(action: &ResponseAction) -> bool {
    action.kind == ActionKind::CollectFile.as_str()
}

/// What a sensor says of a file that it collected.
struct File {
    path: String,
    bytes: u64,
    sha256: String,
}

impl File {
    /// The file of the details of a result, or of an action that is done.
    fn of(details: &Value) -> Option<Self> {
        let text = |name: &str| details.get(name).and_then(Value::as_str).map(str::to_owned);
        let bytes = details.get("bytes").and_then(Value::as_u64)?;
        Some(Self { path: text("path")?, bytes, sha256: text("sha256")? })
    }

    fn parts(&self) -> u32 {
        u32::try_from(self.bytes.div_ceil(PART_BYTES)).unwrap_or(u32::MAX)
    }
}

/// The most that was asked for.
fn bound(action: &ResponseAction) -> u64 {
    action.arguments.get("bytes_max").and_then(Value::as_u64).unwrap_or(0)
}

impl Control {
    fn open_part(&self, chunk: &CollectedChunk) -> Result<seal::SecretBytes, Refusal> {
        let sealed =
            STANDARD.decode(&chunk.sealed).map_err(|error| Refusal::bug("a collected part is no base64", &error))?;
        let owner = Owner::Tenant(chunk.tenant);
        let opened = self.keys.open(owner, &context(chunk.tenant, chunk.action, chunk.index), &sealed);
        opened.map_err(|error| Refusal::bug("a collected part does not open", &error))
    }

    /// The bytes of a part of a file that was kept, for whoever takes all of a tenant away; none of one that was not checked.
    pub(crate) async fn kept_part(
        &self,
        snapshot: &Snapshot,
        chunk: &CollectedChunk,
    ) -> Result<Option<seal::SecretBytes>, Refusal> {
        let action: Option<Stored<ResponseAction>> = snapshot.read(&chunk.action.to_string()).await?;
        let kept = action.is_some_and(|stored| stored.value.state == ActionState::Done && collects(&stored.value));
        if kept { self.open_part(chunk).map(Some) } else { Ok(None) }
    }

    /// Whether what came of a file is what its sensor signed for: why not, where it is not.
    async fn judge_file(
        &self,
        snapshot: &Snapshot,
        action: &ResponseAction,
        file: &File,
        changes: &mut Changes,
    ) -> Result<Option<String>, Refusal> {
        if action.arguments.get("path").and_then(Value::as_str) != Some(file.path.as_str()) {
            return Ok(Some("the sensor collected another file than was asked for".to_owned()));
        }
        if file.bytes > bound(action) {
            return Ok(Some("the sensor collected more than was asked for".to_owned()));
        }
        let (mut hasher, mut bytes) = (Hasher::default(), 0_u64);
        for index in 0..file.parts() {
            let chunk: Option<Stored<CollectedChunk>> = snapshot.read(&CollectedChunk::key(action.id, index)).await?;
            let Some(chunk) = chunk else { return Ok(Some(format!("part {index} of the file did not come"))) };
            // Judged is what is kept: a part that is replaced meanwhile makes this be judged anew.
            changes.expect::<CollectedChunk>(&chunk.value.id(), chunk.version);
            let part = self.open_part(&chunk.value)?;
            hasher.update(part.expose());
            bytes = bytes.saturating_add(u64::try_from(part.expose().len()).unwrap_or(u64::MAX));
        }
        if bytes != file.bytes || hasher.finish().to_hex() != file.sha256 {
            return Ok(Some("what came is not the file that the sensor signed for".to_owned()));
        }
        Ok(None)
    }

    /// What a sensor's report of a collected file makes of its action: verified against what came, evidence of its case. Parts
    /// that belong to no file that is kept go.
    pub(crate) async fn settle_file(
        &self,
        snapshot: &Snapshot,
        action: &mut ResponseAction,
        now: Timestamp,
        changes: &mut Changes,
    ) -> Result<(), Refusal> {
        let file = File::of(&action.output).filter(|_| action.state == ActionState::Done);
        if action.state == ActionState::Done {
            let wrong = match &file {
                Some(file) => self.judge_file(snapshot, action, file, changes).await?,
                None => Some("the sensor does not say which file it collected".to_owned()),
            };
            match wrong {
                Some(wrong) => {
                    (action.state, action.verified) = (ActionState::Failed, false);
                    action.detail = wrong;
                }
                None => "collected; what came is what the sensor signed for".clone_into(&mut action.detail),
            }
        }
        let kept = file.filter(|_| action.state == ActionState::Done);
        let from = kept.as_ref().map_or(0, File::parts);
        self.drop_parts(snapshot, action, from, changes).await?;
        if let (Some(file), Some(case), Some(sensor)) = (kept, action.case, action.sensor) {
            let made = Made {
                by: Principal::Sensor(sensor),
                run: action.run,
                call: action.call,
                at: now,
                digest: file.sha256.clone(),
            };
            changes.create(&CaseEvidence {
                id: evidence_of(action),
                case,
                tenant: action.tenant,
                note: action.reason.clone(),
                exhibit: exhibit(action.id, sensor, file),
                made,
            });
        }
        Ok(())
    }

    /// Remove the parts of an action from one on. Parts come one after the other: the first that is missing is the end.
    async fn drop_parts(
        &self,
        snapshot: &Snapshot,
        action: &ResponseAction,
        from: u32,
        changes: &mut Changes,
    ) -> Result<(), Refusal> {
        let most = u32::try_from(bound(action).div_ceil(PART_BYTES)).unwrap_or(u32::MAX);
        for index in from..most {
            let id = CollectedChunk::key(action.id, index);
            let Some(chunk) = snapshot.read::<CollectedChunk>(&id).await? else { break };
            changes.delete::<CollectedChunk>(&id, Owner::Tenant(action.tenant), chunk.version);
        }
        Ok(())
    }
}

fn exhibit(action: ActionId, sensor: SensorId, file: File) -> Exhibit {
    let File { path, bytes, sha256 } = file;
    Exhibit::File { action, sensor, path, bytes, sha256 }
}

impl Handle<ActionCollectFile> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ActionCollectFile) -> Result<Target, Refusal> {
        host(look, input.sensor).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ActionCollectFile) -> Result<Outcome<Action>, Refusal> {
        if input.path.split('/').any(|part| part == "..") {
            return Err(Refusal::fault("/path", "leads back up; write it without `..`"));
        }
        let asked = Asked {
            sensor: input.sensor,
            kind: ActionKind::CollectFile,
            arguments: json!({ "path": input.path, "bytes_max": input.bytes_max }),
            reason: input.reason.into_string(),
            case: input.case,
            ends_at: None,
            undoes: None,
            dry_run: input.dry_run,
        };
        self.ask_sensor(admitted, asked).await
    }
}

impl Handle<SensorSendChunk> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SensorSendChunk) -> Result<Target, Refusal> {
        crate::sensor::named(look, input.sensor).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SensorSendChunk) -> Result<Outcome<Noted>, Refusal> {
        let sensor: Sensor = admitted.sensor(&[SensorState::Enrolled]).await?.value;
        let found: Option<Stored<ResponseAction>> = admitted.snapshot.find_one("task", &input.task.to_string()).await?;
        let own = found.filter(|stored| stored.value.sensor == Some(sensor.id) && collects(&stored.value));
        let stored = own.ok_or_else(|| Refusal::not_found("task"))?;
        let (action, noted) = (&stored.value, Noted { at: admitted.now });
        if !matches!(action.state, ActionState::Sent | ActionState::Uncertain | ActionState::Expired) {
            // What came of it is on the record: a part that comes late changes nothing.
            return Ok(Outcome::answer(noted));
        }
        let bytes = STANDARD.decode(input.content.reveal());
        let bytes = bytes.map_err(|error| Refusal::fault("/content", format!("is no base64: {error}")))?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length == 0 || length > PART_BYTES {
            return Err(Refusal::fault("/content", format!("is not 1 to {PART_BYTES} bytes")));
        }
        if u64::from(input.index).saturating_mul(PART_BYTES).saturating_add(length) > bound(action) {
            return Err(Refusal::conflict("the file is larger than was asked for; it is not wanted"));
        }
        let owner = Owner::Tenant(action.tenant);
        let place = context(action.tenant, action.id, input.index);
        let sealed = self.keys.seal(owner, &place, &bytes, self.entropy.as_ref());
        let chunk = CollectedChunk {
            action: action.id,
            tenant: action.tenant,
            index: input.index,
            sealed: STANDARD.encode(sealed),
        };
        let mut changes = Changes::new();
        // What is said to have come of it must not change under a part that comes at the same time.
        changes.expect::<ResponseAction>(&action.id.to_string(), stored.version);
        let id = CollectedChunk::key(action.id, input.index);
        match admitted.snapshot.read::<CollectedChunk>(&id).await? {
            Some(before) => changes.replace(&chunk, before.version),
            None => changes.create(&chunk),
        };
        Ok(Outcome::changed(noted, changes))
    }
}

impl Handle<ActionGetFile> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ActionGetFile) -> Result<Target, Refusal> {
        action_target(look, input.action).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ActionGetFile) -> Result<Outcome<CollectedPart>, Refusal> {
        let stored: Stored<ResponseAction> = admitted.one("action", &input.action.to_string()).await?;
        let action = stored.value;
        if !collects(&action) {
            return Err(Refusal::conflict("the action collects no file; see `action.collect_file`"));
        }
        let file = File::of(&action.output).filter(|_| action.state == ActionState::Done);
        let file = file.ok_or_else(|| Refusal::conflict("no file was collected, or not yet; see `action.get`"))?;
        let parts = file.parts();
        let content = if parts == 0 && input.part == 0 {
            String::new()
        } else if input.part < parts {
            let id = CollectedChunk::key(action.id, input.part);
            let chunk: Stored<CollectedChunk> = admitted.one("part", &id).await?;
            STANDARD.encode(self.open_part(&chunk.value)?.expose())
        } else {
            return Err(Refusal::fault("/part", format!("is behind the end: the file has {parts} parts, from 0")));
        };
        Ok(Outcome::answer(CollectedPart {
            action: action.id,
            path: Text::truncated(&file.path),
            bytes: file.bytes,
            sha256: Text::truncated(&file.sha256),
            part: input.part,
            parts,
            content,
        }))
    }
}

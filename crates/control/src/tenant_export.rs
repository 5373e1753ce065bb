//! All documents of a tenant as files, for one that leaves or wants its own. Reads only. Must never show a secret, sealed or hashed.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::purge::for_each_owned;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{ExportFile, Page, TenantExport};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::{Owner, Scope};
use serde_json::{Value, json};
use store::{
    Agent, AgentDefinition, Approval, Assignment, BreakGlass, BucketState, Case, CaseComment, CaseDetection,
    CaseEntity, CaseEntry, CaseEvidence, CaseMark, CaseTask, CollectedChunk, Connector, Credential, Deputy,
    EntityVerdict, ExternalTable, Grant, IngestKey, KillSwitch, Lockdown, PulledObject, QueryClock, QueryResult,
    Recertification, Resource, ResponseAction, Retention, Role, Rule, RuleException, RulePack, RulePackAssignment,
    RulePackRule, RuleVersion, Run, RunLines, RunTaint, SavedQuery, SealedSecret, Sensor, ServiceKey, Skill, Snapshot,
    Source, SourceBucket, Stored, Tenant, User, Webhook,
};

/// Documents of one file.
const FILE_DOCUMENTS: u32 = 200;
/// Parts of collected files of one file: they are large.
const FILE_PARTS: u32 = 8;
/// A page ends after the file that passes this.
const PAGE_BYTES: usize = 4 << 20;

macro_rules! names {
    ($($kind:ty),*) => { &[<Tenant>::KIND, <Retention>::KIND, <Role>::KIND, $(<$kind>::KIND),*] };
}
/// Every kind, in the order of the files.
const KINDS: &[&str] = for_each_owned!(names);

/// Where an export goes on: the kind, the number of its next file, the last document of the one before.
struct Place {
    kind: usize,
    file: u64,
    after: Option<String>,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let (kind, file) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { kind, file, after: parts.next().filter(|after| !after.is_empty()).map(str::to_owned) })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.file, self.after.as_deref().unwrap_or_default())
    }
}

impl Handle<TenantExport> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &TenantExport) -> Result<Target, Refusal> {
        let stored: Stored<Tenant> = look.one("tenant", &input.tenant.to_string()).await?;
        Ok(Target::tenant(input.tenant).named(stored.value.display_name))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: TenantExport) -> Result<Outcome<Page<ExportFile>>, Refusal> {
        let wanted = usize::try_from(admitted.rows(input.limit)).unwrap_or(usize::MAX);
        let place = admitted.after(input.cursor.as_ref())?.as_deref().and_then(Place::parse);
        let (mut items, mut bytes) = (Vec::new(), 0_usize);
        let mut place = match place {
            Some(place) => place,
            None => {
                items.push(self.about(admitted).await?);
                Place { kind: 0, file: 0, after: None }
            }
        };
        while let Some(kind) = KINDS.get(place.kind) {
            if items.len() >= wanted || bytes >= PAGE_BYTES {
                let next_cursor = Some(admitted.cursor(&place.to_string()));
                return Ok(Outcome::answer(Page { items, next_cursor }));
            }
            let (lines, last) =
                self.some_of(&admitted.snapshot, admitted.target.owner, kind, place.after.take()).await?;
            let Some(last) = last else {
                place = Place { kind: place.kind.saturating_add(1), file: 0, after: None };
                continue;
            };
            bytes = bytes.saturating_add(lines.len());
            let path = format!("documents/{kind}/{:06}.ndjson", place.file);
            items.push(ExportFile { path, content: STANDARD.encode(lines) });
            place = Place { kind: place.kind, file: place.file.saturating_add(1), after: Some(last) };
        }
        Ok(Outcome::answer(Page { items, next_cursor: None }))
    }
}

impl Control {
    /// What the folder holds, and how to take what it does not.
    async fn about(&self, admitted: &Admitted<'_>) -> Result<ExportFile, Refusal> {
        let owner = admitted.target.owner;
        let lake = match &self.plane {
            Some(plane) => serde_json::to_value(plane.status(&Scope::from(owner)).await?).unwrap_or_default(),
            None => Value::Null,
        };
        let head = admitted.snapshot.latest_checkpoint(owner).await?;
        let about = json!({
            "v": 1,
            "tenant": owner.tenant(),
            "made_at": self.now(),
            "documents": { "kinds": KINDS, "form": "one JSON object a line: id, version, created_at, updated_at, value" },
            "log": {
                "operation": "audit.export",
                "command": "posse audit export --tenant ID --out FOLDER",
                "records": head.map(|head| head.size),
            },
            "telemetry": {
                "operation": "event.export",
                "command": "posse event export --tenant ID --sql 'SELECT * FROM events' --format parquet",
                "lake": lake,
            },
        });
        let text = serde_json::to_vec_pretty(&about).map_err(|error| Refusal::bug("an export", &error))?;
        Ok(ExportFile { path: "about.json".to_owned(), content: STANDARD.encode(text) })
    }

    /// Some documents of a kind as lines, and the last one's id; none where there is no further one.
    async fn some_of(
        &self,
        snapshot: &Snapshot,
        owner: Owner,
        kind: &str,
        after: Option<String>,
    ) -> Result<(Vec<u8>, Option<String>), Refusal> {
        macro_rules! find {
            ($($type:ty),*) => {
                match kind {
                    Tenant::KIND => lines::<Tenant>(snapshot, owner, after).await,
                    Retention::KIND => lines::<Retention>(snapshot, owner, after).await,
                    Role::KIND => lines::<Role>(snapshot, owner, after).await,
                    $(<$type>::KIND => lines::<$type>(snapshot, owner, after).await,)*
                    _ => Ok((Vec::new(), None)),
                }
            };
        }
        if kind == CollectedChunk::KIND {
            return self.parts(snapshot, owner, after).await;
        }
        for_each_owned!(find)
    }

    /// Parts of collected files, with their bytes: these are the tenant's own.
    async fn parts(
        &self,
        snapshot: &Snapshot,
        owner: Owner,
        after: Option<String>,
    ) -> Result<(Vec<u8>, Option<String>), Refusal> {
        let page = store::Page { owner: Some(owner), after, limit: FILE_PARTS, ..store::Page::default() };
        let found: Vec<Stored<CollectedChunk>> = snapshot.list(&page).await?;
        let (mut out, mut last) = (Vec::new(), None);
        for stored in found {
            let content = self.kept_part(snapshot, &stored.value).await?;
            let content = content.map(|content| STANDARD.encode(content.expose()));
            last = Some(line(stored, content, &mut out)?);
        }
        Ok((out, last))
    }
}

async fn lines<R: Resource>(
    snapshot: &Snapshot,
    owner: Owner,
    after: Option<String>,
) -> Result<(Vec<u8>, Option<String>), Refusal> {
    let page = store::Page { owner: Some(owner), after, limit: FILE_DOCUMENTS, ..store::Page::default() };
    let found: Vec<Stored<R>> = snapshot.list(&page).await?;
    let (mut out, mut last) = (Vec::new(), None);
    for stored in found {
        last = Some(line(stored, None, &mut out)?);
    }
    Ok((out, last))
}

/// Add a document as a line; its id.
fn line<R: Resource>(stored: Stored<R>, content: Option<String>, out: &mut Vec<u8>) -> Result<String, Refusal> {
    let bug = |error: serde_json::Error| Refusal::bug("a document does not serialise", &error);
    let Stored { value, version, created_at, updated_at } = stored;
    let id = value.id();
    let mut shown = serde_json::to_value(&value).map_err(bug)?;
    blank(R::KIND, &mut shown);
    if let (Some(content), Some(shown)) = (content, shown.as_object_mut()) {
        shown.insert("content".to_owned(), content.into());
    }
    let line = json!({
        "id": id, "version": version, "created_at": created_at, "updated_at": updated_at, "value": shown,
    });
    serde_json::to_writer(&mut *out, &line).map_err(bug)?;
    out.push(b'\n');
    Ok(id)
}

/// Take out what is a secret, sealed, or the hash of one.
fn blank(kind: &str, value: &mut Value) {
    let fields: &[&str] = match kind {
        CollectedChunk::KIND | SealedSecret::KIND | Webhook::KIND => &["sealed"],
        Credential::KIND | IngestKey::KIND => &["hash"],
        User::KIND => &["password", "totp"],
        Connector::KIND => &["secrets"],
        SourceBucket::KIND => &["secret"],
        Approval::KIND => &["sealed_input"],
        _ => &[],
    };
    if let Some(object) = value.as_object_mut() {
        object.retain(|name, _| !fields.contains(&name.as_str()));
    }
}

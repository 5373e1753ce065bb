//! The record, seen from outside: list, look, prove, take away. Reads only; nothing here can change a log.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    AuditCheckpoint, AuditCheckpointNote, AuditConsistency, AuditDetail, AuditExport, AuditGet, AuditKey, AuditList,
    AuditProof, AuditProve, AuditPublicKey, AuditRecord, ExportFile, Page,
};
use audit::{ExportBuilder, File, Leaf as Entry, Payload, Salt, TileId, TileKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::{CallId, Owner, TenantId, Timestamp};
use seal::Digest;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use store::{Checkpoint, Leaf, Snapshot};

/// How many leaves are read at once.
const LEAVES: u32 = 512;
/// How many leaves one `audit.list` call looks through for its filter: bounds a call that finds nothing.
const LOOKED_MAX: usize = 20_000;
/// Payloads that expire within this time are left out of an export, so that all its pages agree.
const EXPORT_MARGIN: Duration = Duration::from_secs(3600);

async fn log_target(look: &Look<'_>, tenant: Option<TenantId>) -> Result<Target, Refusal> {
    let owner = match tenant {
        // The log of a deleted tenant stays, for who could read it before.
        Some(tenant) if look.control.tenant_facts(tenant).await?.is_none() => {
            let owner = Owner::Tenant(tenant);
            if look.snapshot.leaves(owner, 0, 1).await?.is_empty() {
                return Err(Refusal::not_found("tenant"));
            }
            owner
        }
        tenant => look.place(tenant).await?,
    };
    Ok(Target::new("AuditLog", owner.to_string(), owner))
}

fn wire(leaf: &Leaf) -> Result<AuditRecord, Refusal> {
    let record: Value =
        serde_json::from_slice(&leaf.leaf).map_err(|error| Refusal::bug("a stored leaf is not JSON", &error))?;
    Ok(AuditRecord { index: leaf.index, call: leaf.call, time: leaf.recorded_at, record })
}

impl Handle<AuditList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AuditList) -> Result<Target, Refusal> {
        log_target(look, input.tenant).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: AuditList) -> Result<Outcome<Page<AuditRecord>>, Refusal> {
        let after = admitted.after(input.cursor.as_ref())?;
        let mut from = after.and_then(|last| last.parse::<u64>().ok()).map_or(0, |last| last.saturating_add(1));
        let wanted = usize::try_from(admitted.rows(input.limit)).unwrap_or(usize::MAX);
        let (principal, operation) = (input.principal.map(|one| one.to_string()), input.operation);
        let fits = |record: &Value| {
            let field = |name: &str| record.get(name).and_then(Value::as_str);
            principal.as_deref().is_none_or(|wanted| field("principal") == Some(wanted))
                && operation.as_deref().is_none_or(|wanted| field("operation") == Some(wanted))
        };
        let (mut items, mut looked, mut ended) = (Vec::new(), 0_usize, false);
        'leaves: while !ended && looked < LOOKED_MAX {
            let leaves = admitted.snapshot.leaves(admitted.target.owner, from, LEAVES).await?;
            ended = leaves.len() < usize::try_from(LEAVES).unwrap_or(usize::MAX);
            looked += leaves.len();
            for leaf in leaves {
                if items.len() == wanted {
                    ended = false;
                    break 'leaves;
                }
                from = leaf.index.saturating_add(1);
                let record = wire(&leaf)?;
                if fits(&record.record) {
                    items.push(record);
                }
            }
        }
        let next_cursor = (!ended).then(|| admitted.cursor(&from.saturating_sub(1).to_string()));
        Ok(Outcome::answer(Page { items, next_cursor }))
    }
}

impl Handle<AuditGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AuditGet) -> Result<Target, Refusal> {
        log_target(look, input.tenant).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: AuditGet) -> Result<Outcome<AuditDetail>, Refusal> {
        let leaves = leaves_of(admitted, input.call).await?;
        let payload = admitted.snapshot.payload(input.call, 0).await?;
        let input = payload.and_then(|payload| serde_json::from_slice(&payload.body).ok());
        let records = leaves.iter().map(wire).collect::<Result<Vec<_>, Refusal>>()?;
        Ok(Outcome::answer(AuditDetail { records, input }))
    }
}

/// The leaves of a call in the log that was asked about.
async fn leaves_of(admitted: &Admitted<'_>, call: CallId) -> Result<Vec<Leaf>, Refusal> {
    let mut leaves = admitted.snapshot.leaves_of(call).await?;
    leaves.retain(|leaf| leaf.tree == admitted.target.owner);
    if leaves.is_empty() { Err(Refusal::not_found("call in this log")) } else { Ok(leaves) }
}

impl Handle<AuditProve> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AuditProve) -> Result<Target, Refusal> {
        log_target(look, input.tenant).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: AuditProve) -> Result<Outcome<AuditProof>, Refusal> {
        let leaves = leaves_of(admitted, input.call).await?;
        let Some(leaf) = leaves.first() else { return Err(Refusal::not_found("call in this log")) };
        let head = head_covering(self, &admitted.snapshot, admitted.target.owner, leaf.index.saturating_add(1)).await?;
        let hashes = hashes_for(&admitted.snapshot, admitted.target.owner, &[leaf.index], head.size).await?;
        let proof = audit::inclusion_proof(&hashes, leaf.index, head.size)
            .map_err(|error| Refusal::bug("an inclusion proof cannot be made", &error))?;
        Ok(Outcome::answer(AuditProof {
            index: Some(leaf.index),
            from_size: None,
            size: head.size,
            leaf_hash: Some(STANDARD.encode(audit::leaf_hash(&leaf.leaf).as_bytes())),
            hashes: proof.iter().map(|hash| STANDARD.encode(hash.as_bytes())).collect(),
            checkpoint: note_text(&head)?,
        }))
    }
}

impl Handle<AuditConsistency> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AuditConsistency) -> Result<Target, Refusal> {
        log_target(look, input.tenant).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: AuditConsistency) -> Result<Outcome<AuditProof>, Refusal> {
        let owner = admitted.target.owner;
        let head = head_covering(self, &admitted.snapshot, owner, 1).await?;
        if input.from_size > head.size {
            let detail = format!("is beyond the log, which has {} records", head.size);
            return Err(Refusal::fault("/from_size", detail));
        }
        let indexes = [input.from_size.saturating_sub(1), head.size.saturating_sub(1)];
        let hashes = hashes_for(&admitted.snapshot, owner, &indexes, head.size).await?;
        let proof = audit::consistency_proof(&hashes, input.from_size, head.size)
            .map_err(|error| Refusal::bug("a consistency proof cannot be made", &error))?;
        Ok(Outcome::answer(AuditProof {
            index: None,
            from_size: Some(input.from_size),
            size: head.size,
            leaf_hash: None,
            hashes: proof.iter().map(|hash| STANDARD.encode(hash.as_bytes())).collect(),
            checkpoint: note_text(&head)?,
        }))
    }
}

impl Handle<AuditCheckpoint> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AuditCheckpoint) -> Result<Target, Refusal> {
        log_target(look, input.tenant).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        _: AuditCheckpoint,
    ) -> Result<Outcome<AuditCheckpointNote>, Refusal> {
        self.checkpoint_all().await?;
        let head = head_covering(self, &admitted.snapshot, admitted.target.owner, 0).await?;
        Ok(Outcome::answer(AuditCheckpointNote {
            checkpoint: note_text(&head)?,
            size: head.size,
            signed_at: head.made_at,
        }))
    }
}

impl Handle<AuditKey> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &AuditKey) -> Result<Target, Refusal> {
        log_target(look, None).await
    }

    async fn handle(&self, _: &Admitted<'_>, _: AuditKey) -> Result<Outcome<AuditPublicKey>, Refusal> {
        Ok(Outcome::answer(AuditPublicKey { verifier_key: self.log_key.load().signer.verifier().to_string() }))
    }
}

impl Handle<AuditExport> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AuditExport) -> Result<Target, Refusal> {
        log_target(look, input.tenant).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: AuditExport) -> Result<Outcome<Page<ExportFile>>, Refusal> {
        let place = match admitted.after(input.cursor.as_ref())?.as_deref().and_then(ExportPlace::parse) {
            Some(place) => place,
            None => {
                self.checkpoint_all().await?;
                let head = head_covering(self, &admitted.snapshot, admitted.target.owner, 1).await?;
                ExportPlace { created_at: self.now(), size: head.size, skip: 0 }
            }
        };
        let wanted = usize::try_from(admitted.rows(input.limit)).unwrap_or(usize::MAX);
        let mut export = Export { seen: 0, skip: place.skip, wanted, taken: Vec::new() };
        export.write(self, admitted, &place).await?;
        let end = place.skip.saturating_add(export.taken.len());
        let next_cursor = (export.seen > end).then(|| admitted.cursor(&ExportPlace { skip: end, ..place }.to_string()));
        let items = export
            .taken
            .into_iter()
            .map(|file| ExportFile { path: file.path, content: STANDARD.encode(file.bytes) })
            .collect();
        Ok(Outcome::answer(Page { items, next_cursor }))
    }
}

/// Where an export goes on: the same head, the same moment, so that every page is of one export.
#[derive(Clone, Copy)]
struct ExportPlace {
    created_at: Timestamp,
    size: u64,
    skip: usize,
}

impl ExportPlace {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let created_at = Timestamp::from_micros(parts.next()?.parse().ok()?);
        Some(Self { created_at, size: parts.next()?.parse().ok()?, skip: parts.next()?.parse().ok()? })
    }
}

impl std::fmt::Display for ExportPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.created_at.as_micros(), self.size, self.skip)
    }
}

/// The files of one page; the others are only digested.
struct Export {
    seen: usize,
    skip: usize,
    wanted: usize,
    taken: Vec<File>,
}

impl Export {
    fn take(&mut self, files: Vec<File>) {
        for file in files {
            if self.seen >= self.skip && self.taken.len() < self.wanted {
                self.taken.push(file);
            }
            self.seen += 1;
        }
    }

    async fn write(&mut self, control: &Control, admitted: &Admitted<'_>, place: &ExportPlace) -> Result<(), Refusal> {
        let failed = |error: audit::ExportError| Refusal::bug("an export cannot be made", &error);
        let key = control.log_key.load_full();
        let builder = ExportBuilder::new(&key.signer, place.created_at).map_err(failed)?;
        let mut builder = builder.rotated(key.rotations.clone()).map_err(failed)?;
        let owner = admitted.target.owner;
        let committed = self.write_tree(&mut builder, &admitted.snapshot, owner, place.size, place.created_at).await?;
        for (tenant, size) in committed {
            self.write_tree(&mut builder, &admitted.snapshot, Owner::Tenant(tenant), size, place.created_at).await?;
        }
        self.take(builder.finish().map_err(failed)?);
        Ok(())
    }

    /// Write one tree at one size; the tenants' heads that it commits to.
    async fn write_tree(
        &mut self,
        builder: &mut ExportBuilder<'_>,
        snapshot: &Snapshot,
        owner: Owner,
        size: u64,
        created_at: Timestamp,
    ) -> Result<BTreeMap<TenantId, u64>, Refusal> {
        let failed = |error: audit::ExportError| Refusal::bug("an export cannot be made", &error);
        let mut committed = BTreeMap::new();
        let mut tree = builder.tree(owner).map_err(failed)?;
        let mut from = 0;
        while from < size {
            let leaves = snapshot.leaves(owner, from, LEAVES).await?;
            if leaves.is_empty() {
                return Err(Refusal::bug("an export", &"leaves are missing"));
            }
            for leaf in leaves.into_iter().take_while(|leaf| leaf.index < size) {
                from = leaf.index.saturating_add(1);
                if owner == Owner::Provider
                    && let Ok(Entry::Checkpoint(head)) = Entry::decode(&leaf.leaf)
                {
                    committed.insert(head.tenant, head.size);
                }
                let payload = kept_payload(snapshot, &leaf, created_at).await?;
                self.take(tree.push(&leaf.leaf, payload.as_ref()).map_err(failed)?);
            }
        }
        let checkpoint = checkpoint_of(snapshot, owner, size).await?;
        self.take(tree.finish(&note_text(&checkpoint)?).map_err(failed)?);
        Ok(committed)
    }
}

async fn kept_payload(snapshot: &Snapshot, leaf: &Leaf, created_at: Timestamp) -> Result<Option<Payload>, Refusal> {
    let Some(stored) = snapshot.payload(leaf.call, leaf.part).await? else { return Ok(None) };
    if stored.expires_at.is_some_and(|end| end <= created_at.plus(EXPORT_MARGIN)) {
        return Ok(None);
    }
    let salt = <[u8; 32]>::try_from(stored.salt.as_slice())
        .map_err(|error| Refusal::bug("a stored salt is damaged", &error))?;
    let input =
        serde_json::from_slice(&stored.body).map_err(|error| Refusal::bug("a stored payload is not JSON", &error))?;
    Ok(Some(Payload { call: leaf.call, salt: Salt::from_bytes(salt), input }))
}

/// The checkpoint at exactly this size.
async fn checkpoint_of(snapshot: &Snapshot, owner: Owner, size: u64) -> Result<Checkpoint, Refusal> {
    let found = snapshot.checkpoints(owner, size.saturating_sub(1), 1).await?;
    found
        .into_iter()
        .find(|checkpoint| checkpoint.size == size)
        .ok_or_else(|| Refusal::bug("an export", &"the checkpoint at a committed size is missing"))
}

/// The newest checkpoint, signed now where the newest one does not cover `size` records yet.
async fn head_covering(control: &Control, snapshot: &Snapshot, owner: Owner, size: u64) -> Result<Checkpoint, Refusal> {
    if let Some(head) = snapshot.latest_checkpoint(owner).await?
        && head.size >= size
    {
        return Ok(head);
    }
    control.checkpoint_all().await?;
    snapshot.latest_checkpoint(owner).await?.ok_or_else(|| Refusal::not_found("record in this log"))
}

fn note_text(checkpoint: &Checkpoint) -> Result<String, Refusal> {
    String::from_utf8(checkpoint.note.clone()).map_err(|error| Refusal::bug("a stored checkpoint is damaged", &error))
}

/// The stored hashes that a proof about these records needs.
async fn hashes_for(
    snapshot: &Snapshot,
    owner: Owner,
    indexes: &[u64],
    size: u64,
) -> Result<BTreeMap<(u8, u64), Digest>, Refusal> {
    let mut hashes = BTreeMap::new();
    for TileId { kind, number, width } in audit::tiles_needed(indexes, size) {
        let TileKind::Hashes(level) = kind else { continue };
        let nodes = snapshot.nodes(owner, level, number.saturating_mul(audit::TILE_WIDTH), u32::from(width)).await?;
        for node in nodes {
            for (index, hash) in (node.index..).zip(node.hash.as_chunks::<32>().0) {
                hashes.insert((node.level, index), Digest::from_bytes(*hash));
            }
        }
    }
    Ok(hashes)
}

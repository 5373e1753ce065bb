//! The record, seen from outside: list, look, prove. Reads only; nothing here can change a log. Taking it away is `audit_export`'s.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    AuditCheckpoint, AuditCheckpointNote, AuditConsistency, AuditDetail, AuditGet, AuditKey, AuditList, AuditProof,
    AuditProve, AuditPublicKey, AuditRecord, Page,
};
use audit::{TileId, TileKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::{CallId, Owner, TenantId};
use seal::Digest;
use serde_json::Value;
use std::collections::BTreeMap;
use store::{Checkpoint, Leaf, Snapshot};

/// How many leaves are read at once.
pub(crate) const LEAVES: u32 = 512;
/// How many leaves one `audit.list` call looks through for its filter: bounds a call that finds nothing.
pub(crate) const LOOKED_MAX: usize = 20_000;

pub(crate) async fn log_target(look: &Look<'_>, tenant: Option<TenantId>) -> Result<Target, Refusal> {
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
        let (input, input_erased) = match admitted.snapshot.payload(input.call, 0).await? {
            Some(payload) if payload.erased() => (None, true),
            Some(payload) => (self.opened_payload(admitted.target.owner, input.call, 0, &payload.body)?, false),
            None => (None, false),
        };
        let records = leaves.iter().map(wire).collect::<Result<Vec<_>, Refusal>>()?;
        Ok(Outcome::answer(AuditDetail { records, input, input_erased }))
    }
}

/// The leaves of a call in the log that was asked about.
pub(crate) async fn leaves_of(admitted: &Admitted<'_>, call: CallId) -> Result<Vec<Leaf>, Refusal> {
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

/// The newest checkpoint, signed now where the newest one does not cover `size` records yet.
pub(crate) async fn head_covering(
    control: &Control,
    snapshot: &Snapshot,
    owner: Owner,
    size: u64,
) -> Result<Checkpoint, Refusal> {
    if let Some(head) = snapshot.latest_checkpoint(owner).await?
        && head.size >= size
    {
        return Ok(head);
    }
    control.checkpoint_all().await?;
    snapshot.latest_checkpoint(owner).await?.ok_or_else(|| Refusal::not_found("record in this log"))
}

pub(crate) fn note_text(checkpoint: &Checkpoint) -> Result<String, Refusal> {
    String::from_utf8(checkpoint.note.clone()).map_err(|error| Refusal::bug("a stored checkpoint is damaged", &error))
}

/// The stored hashes that a proof about these records needs.
pub(crate) async fn hashes_for(
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

//! Taking the record away: the files of an export, page by page, and with them the evidence that an auditor asks for. Reads only.
//! Every page is of one export: the same heads, the same moment, the same evidence.

use crate::admission::{Admitted, Look};
use crate::audit_log::{LEAVES, head_covering, log_target, note_text};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{AuditEvidencePack, AuditExport, ExportFile, Limit, Page};
use audit::{EvidenceAsk, EvidenceFilter, ExportBuilder, File, Leaf as Entry, Payload, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::{Owner, TenantId, Text, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;
use store::{Checkpoint, Leaf, Snapshot};

/// Payloads that expire within this time are left out of an export, so that all its pages agree.
const EXPORT_MARGIN: Duration = Duration::from_secs(3600);

impl Handle<AuditExport> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AuditExport) -> Result<Target, Refusal> {
        log_target(look, input.tenant).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: AuditExport) -> Result<Outcome<Page<ExportFile>>, Refusal> {
        self.export(admitted, input.limit, input.cursor.as_ref(), None).await
    }
}

impl Handle<AuditEvidencePack> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AuditEvidencePack) -> Result<Target, Refusal> {
        log_target(look, input.tenant).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: AuditEvidencePack,
    ) -> Result<Outcome<Page<ExportFile>>, Refusal> {
        if let (Some(since), Some(until)) = (input.since, input.until)
            && until <= since
        {
            return Err(Refusal::fault("/until", "is not after `since`; the window holds nothing"));
        }
        let filter = EvidenceFilter {
            consequential: input.consequential,
            operation: input.operation,
            principal: input.principal,
            since: input.since,
            until: input.until,
        };
        let ask = EvidenceAsk { filter, seed: input.seed, sample: input.sample };
        self.export(admitted, input.limit, input.cursor.as_ref(), Some(ask)).await
    }
}

impl Control {
    /// One page of an export, with the evidence that is asked for.
    async fn export(
        &self,
        admitted: &Admitted<'_>,
        limit: Limit,
        cursor: Option<&Text<1024>>,
        ask: Option<EvidenceAsk>,
    ) -> Result<Outcome<Page<ExportFile>>, Refusal> {
        let place = match admitted.after(cursor)?.as_deref().and_then(ExportPlace::parse) {
            Some(place) => place,
            None => {
                self.checkpoint_all().await?;
                let head = head_covering(self, &admitted.snapshot, admitted.target.owner, 1).await?;
                ExportPlace { created_at: self.now(), size: head.size, skip: 0 }
            }
        };
        let wanted = usize::try_from(admitted.rows(limit)).unwrap_or(usize::MAX);
        let mut export = Export { seen: 0, skip: place.skip, wanted, bytes: 0, taken: Vec::new() };
        export.write(self, admitted, &place, ask).await?;
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

/// Bytes of files on a page, beyond which it holds one file: base64 and JSON around them make an answer half as large again, which
/// clients still take (`posse`: 64 MiB).
const PAGE_BYTES_MAX: usize = 16 << 20;

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
    bytes: usize,
    taken: Vec<File>,
}

impl Export {
    fn take(&mut self, files: Vec<File>) {
        for file in files {
            // Once a file does not fit, the page ends before it: the next one begins there.
            let next = self.seen == self.skip.saturating_add(self.taken.len());
            let bytes = self.bytes.saturating_add(file.bytes.len());
            if next && self.taken.len() < self.wanted && (self.taken.is_empty() || bytes <= PAGE_BYTES_MAX) {
                self.bytes = bytes;
                self.taken.push(file);
            }
            self.seen += 1;
        }
    }

    async fn write(
        &mut self,
        control: &Control,
        admitted: &Admitted<'_>,
        place: &ExportPlace,
        ask: Option<EvidenceAsk>,
    ) -> Result<(), Refusal> {
        let failed = |error: audit::ExportError| Refusal::bug("an export cannot be made", &error);
        let key = control.log_key.load_full();
        let builder = ExportBuilder::new(&key.signer, place.created_at).map_err(failed)?;
        let mut builder = builder.rotated(key.rotations.clone()).map_err(failed)?;
        if let Some(ask) = ask {
            builder = builder.evidence(ask);
        }
        let owner = admitted.target.owner;
        let committed =
            self.write_tree(control, &mut builder, &admitted.snapshot, owner, place.size, place.created_at).await?;
        for (tenant, size) in committed {
            self.write_tree(control, &mut builder, &admitted.snapshot, Owner::Tenant(tenant), size, place.created_at)
                .await?;
        }
        self.take(builder.finish().map_err(failed)?);
        Ok(())
    }

    /// Write one tree at one size; the tenants' heads that it commits to.
    async fn write_tree(
        &mut self,
        control: &Control,
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
                let payload = kept_payload(control, snapshot, &leaf, created_at).await?;
                self.take(tree.push(&leaf.leaf, payload.as_ref()).map_err(failed)?);
            }
        }
        let checkpoint = checkpoint_of(snapshot, owner, size).await?;
        self.take(tree.finish(&note_text(&checkpoint)?).map_err(failed)?);
        Ok(committed)
    }
}

async fn kept_payload(
    control: &Control,
    snapshot: &Snapshot,
    leaf: &Leaf,
    created_at: Timestamp,
) -> Result<Option<Payload>, Refusal> {
    let Some(stored) = snapshot.payload(leaf.call, leaf.part).await? else { return Ok(None) };
    if stored.erased() || stored.expires_at.is_some_and(|end| end <= created_at.plus(EXPORT_MARGIN)) {
        return Ok(None);
    }
    let salt = <[u8; 32]>::try_from(stored.salt.as_slice())
        .map_err(|error| Refusal::bug("a stored salt is damaged", &error))?;
    let input = control.opened_payload(leaf.tree, leaf.call, leaf.part, &stored.body)?;
    Ok(input.map(|input| Payload { call: leaf.call, salt: Salt::from_bytes(salt), input }))
}

/// The checkpoint at exactly this size.
async fn checkpoint_of(snapshot: &Snapshot, owner: Owner, size: u64) -> Result<Checkpoint, Refusal> {
    let found = snapshot.checkpoints(owner, size.saturating_sub(1), 1).await?;
    found
        .into_iter()
        .find(|checkpoint| checkpoint.size == size)
        .ok_or_else(|| Refusal::bug("an export", &"the checkpoint at a committed size is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The export of a log of 70,000 records was one answer of over 64 MiB, which no client takes.
    #[test]
    fn a_page_ends_before_its_bytes_are_too_many() {
        let sizes = [PAGE_BYTES_MAX + 1, 1, PAGE_BYTES_MAX, 1, PAGE_BYTES_MAX - 1, 1, 1];
        let mut pages: Vec<Vec<usize>> = Vec::new();
        let mut skip = 0;
        while skip < sizes.len() {
            let mut page = Export { seen: 0, skip, wanted: 2, bytes: 0, taken: Vec::new() };
            for (at, size) in sizes.iter().enumerate() {
                page.take(vec![File { path: at.to_string(), bytes: vec![0; *size] }]);
            }
            assert_eq!(page.seen, sizes.len());
            skip += page.taken.len();
            pages.push(page.taken.iter().map(|file| file.path.parse().unwrap()).collect());
        }
        assert_eq!(pages, [vec![0], vec![1], vec![2], vec![3, 4], vec![5, 6]], "each file once, in order");
    }
}

//! Erasing the input of a call: what is kept beside its leaves goes, with its salts; leaves and proofs stay. The erasure is a record
//! like any other. Must never touch a leaf, nor erase in another log than the one that was decided about.

use crate::admission::{Admitted, Look};
use crate::audit_log::{leaves_of, log_target};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{AuditErasePayload, ErasedPayload};
use audit::Leaf as Entry;
use store::Changes;

impl Handle<AuditErasePayload> for Control {
    // The record's target is the call: by it the verifier tells an erased input from a missing one.
    async fn resolve(&self, look: &Look<'_>, input: &AuditErasePayload) -> Result<Target, Refusal> {
        let log = log_target(look, input.tenant).await?;
        let known = look.snapshot.leaves_of(input.call).await?;
        if !known.iter().any(|leaf| leaf.tree == log.owner) {
            return Err(Refusal::not_found("call in this log"));
        }
        Ok(Target { id: input.call.to_string(), ..log })
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: AuditErasePayload,
    ) -> Result<Outcome<ErasedPayload>, Refusal> {
        let mut input_digests = Vec::new();
        let (mut kept, mut erased) = (false, false);
        for leaf in leaves_of(admitted, input.call).await? {
            let Some(payload) = admitted.snapshot.payload(leaf.call, leaf.part).await? else { continue };
            erased |= payload.erased();
            kept |= !payload.erased();
            if let Ok(Entry::Call(record)) = Entry::decode(&leaf.leaf) {
                input_digests.extend(record.input_digest.map(|digest| digest.to_string()));
            }
        }
        if !kept && !erased {
            return Err(Refusal::conflict("nothing is kept beside the records of this call; its input expired"));
        }
        let mut changes = Changes::new();
        if kept {
            changes.erase_payload(input.call, admitted.target.owner);
        }
        Ok(Outcome::changed(ErasedPayload { call: input.call, input_digests }, changes))
    }
}

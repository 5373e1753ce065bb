//! Answers remembered under idempotency keys: the same key brings the same answer back, once recorded again. Sealed where
//! they lie; another input under the same key is refused. Nothing here decides or changes anything.

use crate::context::Control;
use crate::gate::Passage;
use crate::record::Ending;
use crate::refusal::Refusal;
use api::{Done, Problem, ProblemKind, Reply};
use audit::Decided;
use ids::{CallId, Owner, Timestamp};
use serde_json::Value;
use store::{Commit, CommitError, IdempotencyRecord};

impl Control {
    /// The record of an answer that an idempotency key brought back; without it nobody is answered.
    pub(crate) async fn record_replay(&self, passage: &Passage<'_>, reply: Reply) -> Result<Reply, Refusal> {
        let (of, decided, status) = match &reply {
            Reply::Deferred(deferred) => (deferred.call, Decided::Defer, 202),
            Reply::Done(done) => (done.call, Decided::Allow, 200),
            Reply::Pending(pending) => (pending.call, Decided::StepUp, 202),
            Reply::Refused(_) => return Ok(reply),
        };
        let ending = Ending { status, problem: None, replay: Some((of, decided)) };
        let entry = self.leaf(&passage.facts(None, None, ending))?;
        let exposure = passage.identity.exposure(passage.identity.place(), Some(passage.spec));
        let inner = self.inner.clone();
        let commit = Commit::new(passage.started, entry).guard(move || inner.kill.halts(&exposure).is_none());
        match self.store.commit(commit).await {
            Ok(_) => Ok(reply),
            Err(CommitError::Guarded) => {
                self.halted(&passage.identity, passage.identity.place(), Some(passage.spec))?;
                Err(Refusal::Commit(CommitError::Guarded))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The earlier answer under the call's key; none where there is no key, or it is new.
    pub(crate) async fn replayed(&self, passage: &Passage<'_>) -> Result<Option<Reply>, Refusal> {
        let Some(key) = &passage.idempotency_key else { return Ok(None) };
        let principal = passage.identity.principal.to_string();
        let Some(remembered) = self.store.remembered(&principal, key).await? else { return Ok(None) };
        if remembered.input_digest != passage.digest {
            let detail = "this idempotency key was used for another operation or input; use a fresh key";
            return Err(Problem::new(ProblemKind::IdempotencyMismatch, detail).into());
        }
        let opened = self
            .keys
            .open(remembered.owner, &sealing_context(&principal, key), &remembered.response)
            .map_err(|error| Refusal::bug("a remembered answer does not open", &error))?;
        let reply: StoredReply = serde_json::from_slice(opened.expose())
            .map_err(|error| Refusal::bug("a remembered answer does not parse", &error))?;
        Ok(Some(reply.into_reply()))
    }

    /// What is to be remembered of an answer; none where the call has no key.
    pub(crate) fn remember(
        &self,
        passage: &Passage<'_>,
        owner: Owner,
        reply: impl FnOnce() -> StoredReply,
    ) -> Result<Option<IdempotencyRecord>, Refusal> {
        let Some(key) = &passage.idempotency_key else { return Ok(None) };
        let principal = passage.identity.principal.to_string();
        let plain =
            serde_json::to_vec(&reply()).map_err(|error| Refusal::bug("an answer does not serialise", &error))?;
        // Sealed always: some answers hold a secret that is shown once, and the key's holder is the one who may see it again.
        let response = self.keys.seal(owner, &sealing_context(&principal, key), &plain, self.entropy.as_ref());
        Ok(Some(IdempotencyRecord {
            principal,
            key: key.clone(),
            owner,
            input_digest: passage.digest.to_vec(),
            response,
            expires_at: passage.started.plus(self.settings.idempotency_ttl),
        }))
    }
}

/// An answer as it is remembered under an idempotency key.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(crate) enum StoredReply {
    Deferred { call: CallId, approval: ids::ApprovalId, missing: Vec<String>, expires_at: Timestamp },
    Done { call: CallId, output: Value, obligations: Vec<(api::Obligation, Value)> },
    Pending { call: CallId, approval: ids::ApprovalId, rung: String, expires_at: Timestamp },
}

impl StoredReply {
    pub(crate) fn done(done: &Done) -> Self {
        Self::Done { call: done.call, output: done.output.clone(), obligations: done.obligations.clone() }
    }

    fn into_reply(self) -> Reply {
        match self {
            Self::Deferred { call, approval, missing, expires_at } => {
                Reply::Deferred(api::Deferred { call, approval, missing, expires_at })
            }
            Self::Done { call, output, obligations } => Reply::Done(Done { call, output, obligations, replayed: true }),
            Self::Pending { call, approval, rung, expires_at } => {
                Reply::Pending(api::Pending { call, approval, rung, expires_at })
            }
        }
    }
}

fn sealing_context(principal: &str, key: &str) -> Vec<u8> {
    format!("idempotency/{principal}/{key}").into_bytes()
}

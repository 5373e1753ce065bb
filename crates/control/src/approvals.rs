//! Approvals: from a decision that asks for people to an exact, bound, at-most-once call.
//!
//! An approval is bound to the digest of the call with its resolved target. It runs as the identity that proposed it,
//! decided again with the approvals counted, and its execution and its new state are one commit.

use crate::context::Control;
use crate::gate::{Approved, Passage};
use crate::identity::Identity;
use crate::record::{Ending, approval_use};
use crate::refusal::Refusal;
use crate::remembered::StoredReply;
use crate::target::Target;
use api::{Call, Face, Origin, Reply};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::{ApprovalId, JobId, Owner, Principal, PrincipalKind, Scope, Timestamp};
use policy::{Decision, Outcome};
use seal::Digest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{
    Approval, ApprovalState, Caller, Changes, Commit, CommitError, Credential, CredentialKind, Job, Lease, NewJob,
    Snapshot, Stored, Vote,
};

/// The job that runs an approved call.
pub(crate) const EXECUTE_JOB: &str = "approval.execute";

impl Control {
    /// The digest of the exact call: operation, full input, place and resolved target.
    pub(crate) fn call_digest(&self, passage: &Passage<'_>, target: &Target) -> String {
        let owner = target.owner.to_string();
        let tag = self.cursors.tag(&[
            b"approval",
            &passage.digest,
            owner.as_bytes(),
            target.kind.as_bytes(),
            target.id.as_bytes(),
            &target.revision.unwrap_or_default().to_be_bytes(),
        ]);
        Digest::from_bytes(tag).to_hex()
    }

    /// Keep the call until people, or evidence, decide.
    pub(crate) async fn propose(
        &self,
        passage: &Passage<'_>,
        target: &Target,
        (decision, request): (&(Decision, Digest), &policy::Request),
        stamp: u64,
    ) -> Result<Reply, Refusal> {
        let id = ApprovalId::generate(self.clock.as_ref(), self.entropy.as_ref());
        let approval = self.proposal(id, passage, target, &decision.0);
        let entry = self.leaf(&passage.facts(Some(target), Some(decision), Ending::of(202)))?;
        let mut changes = Changes::new();
        changes.create(&approval);
        let (told, records) = self.tell_of_approval(api::NoticeKind::ApprovalWaiting, &approval).await?;
        let commit = records.into_iter().fold(Commit::new(passage.started, entry).changes(changes), Commit::record);
        let mut commit = self.guarded(commit.changes(told), passage, target.owner, stamp);
        let (call, expires_at) = (passage.call, approval.expires_at);
        let stored = if approval.state == ApprovalState::Deferred {
            StoredReply::Deferred { call, approval: id, missing: approval.missing.clone(), expires_at }
        } else {
            StoredReply::Pending { call, approval: id, rung: approval.rung.clone(), expires_at }
        };
        if let Some(record) = self.remember(passage, target.owner, || stored)? {
            commit = commit.idempotency(record);
        }
        if passage.spec.meta.effect != api::Effect::Read {
            commit = crate::gate::asked(commit, passage, target.owner, request);
        }
        self.store.commit(commit).await?;
        Ok(if approval.state == ApprovalState::Deferred {
            Reply::Deferred(api::Deferred { call, approval: id, missing: approval.missing, expires_at })
        } else {
            Reply::Pending(api::Pending { call, approval: id, rung: approval.rung, expires_at })
        })
    }

    fn proposal(&self, id: ApprovalId, passage: &Passage<'_>, target: &Target, decision: &Decision) -> Approval {
        let identity = &passage.identity;
        let (state, rung, needs, missing) = match &decision.outcome {
            Outcome::Defer(defer) => {
                let step = defer.or.as_ref().or(defer.then.as_ref());
                let rung = step.map(|step| step.rung.to_string()).unwrap_or_default();
                let needs = step.map(|step| counts(&step.needs)).unwrap_or_default();
                (ApprovalState::Deferred, rung, needs, defer.missing.iter().map(ToString::to_string).collect())
            }
            Outcome::StepUp(step) => (ApprovalState::Pending, step.rung.to_string(), counts(&step.needs), Vec::new()),
            _ => (ApprovalState::Pending, String::new(), BTreeMap::new(), Vec::new()),
        };
        let sealed_input = passage.holds_secret.then(|| {
            let plain = passage.input.to_string();
            let context = id.to_string().into_bytes();
            STANDARD.encode(self.keys.seal(target.owner, &context, plain.as_bytes(), self.entropy.as_ref()))
        });
        Approval {
            id,
            tenant: target.owner.tenant(),
            state,
            call: passage.call,
            caller: Caller {
                principal: identity.principal.clone(),
                credential: identity.credential,
                credential_issued_at: identity.issued_at,
                reach: identity.bound,
                run: identity.run,
                case: identity.case,
                on_behalf_of: identity.on_behalf_of.clone(),
                owner: identity.owner,
                holders: identity.holders.clone(),
                face: passage.origin.face.as_str().to_owned(),
            },
            operation: passage.spec.meta.id.to_owned(),
            input: passage.shown.clone(),
            sealed_input,
            digest: self.call_digest(passage, target),
            target_kind: target.kind.to_owned(),
            target_id: target.id.clone(),
            target_tags: target.tags.iter().cloned().collect(),
            target_name: target.name.clone(),
            rung,
            needs,
            policies: decision.policies.iter().map(ToString::to_string).collect(),
            escalate_at: Some(passage.started.plus(self.settings.approval_ttl / 4 * 3)),
            escalation: None,
            missing,
            votes: Vec::new(),
            proposed_at: passage.started,
            expires_at: passage.started.plus(self.settings.approval_ttl),
            result: None,
            problem: None,
        }
    }

    /// The full input of a proposal.
    pub(crate) fn full_input(&self, approval: &Approval) -> Result<Value, Refusal> {
        let Some(sealed) = &approval.sealed_input else { return Ok(approval.input.clone()) };
        let bytes = STANDARD.decode(sealed).map_err(|error| Refusal::bug("a sealed input is not base64", &error))?;
        let opened = self
            .keys
            .open(approval.tenant.into(), approval.id.to_string().as_bytes(), &bytes)
            .map_err(|error| Refusal::bug("a sealed input does not open", &error))?;
        serde_json::from_slice(opened.expose()).map_err(|error| Refusal::bug("a sealed input does not parse", &error))
    }

    /// The identity that proposed, as it stands now: dead where its credential was revoked, its agent stopped, or the
    /// kill switch killed it. The credential's own end does not count: approvals outlive runs of minutes.
    pub(crate) async fn proposer(&self, caller: &Caller) -> Result<Option<Identity>, Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        let stored: Option<Stored<Credential>> = snapshot.read(&caller.credential.to_string()).await?;
        let credential = match stored {
            Some(stored) => stored.value,
            // A sign-in proposes with no stored credential of its own; then the person is judged as they stand.
            None if caller.principal.kind() == PrincipalKind::User => Credential {
                id: caller.credential,
                kind: CredentialKind::Session,
                hash: String::new(),
                principal: caller.principal.clone(),
                tenant: None,
                name: String::new(),
                issued_at: caller.credential_issued_at,
                expires_at: self.now(),
                revoked: false,
                run: None,
                reach: None,
                case: None,
                on_behalf_of: Vec::new(),
                grant: None,
            },
            None => return Ok(None),
        };
        let mut credential = credential;
        // A session that was signed out of does not take back what was proposed in it.
        credential.revoked = credential.revoked && credential.kind != CredentialKind::Session;
        self.identity_with(&snapshot, credential).await
    }

    /// Distinct people who said yes to this digest, and how many of them hold each role at the place now.
    pub(crate) async fn approval_counts(
        &self,
        approval: &Approval,
    ) -> Result<(BTreeMap<String, i64>, Vec<Principal>), Refusal> {
        let owner = Owner::from(approval.tenant);
        let tags = self.tags_of(owner).await?;
        let snapshot = self.store.snapshot(Scope::Provider);
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        let mut approvers: Vec<Principal> = Vec::new();
        for vote in approval.votes.iter().filter(|vote| vote.approve && vote.digest == approval.digest) {
            let principal = Principal::User(vote.by);
            let Some(identity) = self.identity_for(&snapshot, &principal).await? else { continue };
            if approvers.contains(&principal) {
                continue;
            }
            *counts.entry("people".to_owned()).or_default() += 1;
            // Who took a role in an emergency approves as what they are.
            let mut roles = identity.roles_at(owner, &tags, None);
            roles.extend(self.roles_in_stead(&snapshot, approval, vote, (owner, &tags)).await?);
            for role in roles {
                if policy::APPROVAL_COUNTS.contains(&role.as_str()) {
                    *counts.entry(role).or_default() += 1;
                }
            }
            approvers.push(principal);
        }
        Ok((counts, approvers))
    }

    /// Whether the call would pass now with the approvals that are there.
    pub(crate) async fn would_pass(
        &self,
        approval: &Approval,
        counts: &BTreeMap<String, i64>,
    ) -> Result<bool, Refusal> {
        let Some(identity) = self.proposer(&approval.caller).await? else { return Ok(false) };
        let passage = self.approved_passage(approval, Arc::new(identity))?;
        let parsed = passage.handler.parse(passage.spec, &passage.input)?;
        let reach = self.store.snapshot(passage.identity.reach());
        let look = crate::admission::Look { control: self, identity: &passage.identity, snapshot: &reach };
        let Ok(target) = passage.handler.resolve(&look, &parsed).await else { return Ok(false) };
        let circumstances = crate::decide::Circumstances {
            recent_count: self.recent_count(&passage.identity, passage.spec).await?,
            approvals: counts.clone(),
        };
        let (identity, spec, face) = (&passage.identity, passage.spec, passage.origin.face);
        let request = self.question(identity, spec, &target, face, &circumstances).await?;
        Ok(self.weigh_both(identity, spec, &target, (face, &circumstances), &request).await?.0.permits())
    }

    /// The digest of a proposal's call as it resolves now.
    pub(crate) async fn digest_now(&self, approval: &Approval) -> Result<String, Refusal> {
        let proposer = self.proposer(&approval.caller).await?;
        let identity = proposer.ok_or_else(|| Refusal::conflict("the proposer may not act any more"))?;
        let passage = self.approved_passage(approval, Arc::new(identity))?;
        passage.spec.validate(&passage.input)?;
        let parsed = passage.handler.parse(passage.spec, &passage.input)?;
        let reach = self.store.snapshot(passage.identity.reach());
        let target = passage.handler.resolve(&self.look(&passage.identity, &reach), &parsed).await?;
        Ok(self.call_digest(&passage, &target))
    }

    fn approved_passage<'a>(&'a self, approval: &Approval, identity: Arc<Identity>) -> Result<Passage<'a>, Refusal> {
        let Some((spec, handler)) = self.registry.find(&approval.operation) else {
            return Err(Refusal::not_found("operation"));
        };
        let face = face_of(&approval.caller.face);
        let origin = Origin { face, address: None, user_agent: None, request_id: approval.id.to_string() };
        let call = Call {
            operation: approval.operation.clone(),
            input: self.full_input(approval)?,
            credential: None,
            idempotency_key: None,
            origin,
        };
        self.passage(call, self.now(), identity, spec, handler)
    }

    /// The job that runs an approved call, once for each digest that was approved.
    pub(crate) fn execution_job(&self, approval: &Approval, now: Timestamp) -> NewJob {
        NewJob {
            id: JobId::derive(&[approval.id.to_string().as_bytes(), approval.digest.as_bytes()]),
            kind: EXECUTE_JOB.to_owned(),
            owner: Owner::from(approval.tenant),
            payload: json!({ "approval": approval.id }),
            run_at: now,
            attempts_max: 20,
            // Of this approval: the same call can be proposed and approved again another day.
            dedupe: Some(format!("{}/{}", approval.id, approval.digest)),
        }
    }

    /// Run an approved call: decided again, committed together with the approval's new state and the job's end.
    pub(crate) async fn execute(&self, lease: &Lease) -> Result<(), Refusal> {
        let snapshot = self.store.snapshot(Scope::from(lease.job.owner));
        let Some(stored) = self.approval_of(&snapshot, &lease.job).await? else {
            return self.end_job(lease, Changes::new()).await;
        };
        let (counts, approvers) = self.approval_counts(&stored.value).await?;
        let Some(identity) = self.proposer(&stored.value.caller).await? else {
            return self.fail_approval(lease, &stored, "the proposer may not act any more").await;
        };
        let mut passage = self.approved_passage(&stored.value, Arc::new(identity))?;
        let (settled, settled_lease) = (stored.clone(), lease.clone());
        passage.approved = Some(Approved {
            counts,
            approval_use: approval_use(stored.value.id, approvers),
            digest: stored.value.digest.clone(),
            settle: Box::new(move |output| {
                let ended =
                    Approval { state: ApprovalState::Executed, result: Some(output.clone()), ..settled.value.clone() };
                let mut changes = Changes::new();
                changes.replace(&ended, settled.version).finish_job(&settled_lease, None);
                changes
            }),
        });
        match self.run(passage).await {
            Ok(_) => Ok(()),
            Err(Refusal::Problem(problem)) if problem.status < 500 => {
                self.fail_approval(lease, &stored, &problem.to_string()).await
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// The approval that a job is to run, while it still is to run.
    pub(crate) async fn approval_of(
        &self,
        snapshot: &Snapshot,
        job: &Job,
    ) -> Result<Option<Stored<Approval>>, Refusal> {
        if job.kind != EXECUTE_JOB {
            return Ok(None);
        }
        let id = job.payload.get("approval").and_then(Value::as_str).unwrap_or_default();
        let stored: Option<Stored<Approval>> = snapshot.read(id).await?;
        Ok(stored.filter(|stored| stored.value.state == ApprovalState::Approved))
    }

    async fn fail_approval(&self, lease: &Lease, stored: &Stored<Approval>, why: &str) -> Result<(), Refusal> {
        let failed = Approval { state: ApprovalState::Failed, problem: Some(why.to_owned()), ..stored.value.clone() };
        let mut changes = Changes::new();
        changes.replace(&failed, stored.version);
        match self.end_job(lease, changes).await {
            // Somebody else ended it: nothing is left to do.
            Err(Refusal::Commit(CommitError::Conflict { .. } | CommitError::LeaseLost { .. })) => Ok(()),
            ended => ended,
        }
    }

    async fn end_job(&self, lease: &Lease, mut changes: Changes) -> Result<(), Refusal> {
        changes.finish_job(lease, None);
        self.commit_as_system(
            "approval-executor",
            "approval.execute",
            lease.job.owner,
            lease.job.id.to_string(),
            changes,
        )
        .await
    }
}

pub(crate) fn counts(needs: &BTreeMap<String, i64>) -> BTreeMap<String, u32> {
    needs.iter().map(|(role, count)| (role.clone(), u32::try_from(*count).unwrap_or(0))).collect()
}

fn face_of(word: &str) -> Face {
    [Face::Agent, Face::Cli, Face::Mcp, Face::Offline, Face::Rest, Face::Rule, Face::Schedule]
        .into_iter()
        .find(|face| face.as_str() == word)
        .unwrap_or(Face::Rest)
}

/// A vote that was given now.
pub(crate) fn vote(
    by: ids::UserId,
    approve: bool,
    narrowed: bool,
    comment: Option<String>,
    at: Timestamp,
    digest: &str,
) -> Vote {
    Vote { by, approve, narrowed, comment, at, digest: digest.to_owned() }
}

//! Approvals, seen by people: list, look, approve, deny, narrow and approve, take back.

use crate::admission::{Admitted, Look};
use crate::approvals::vote;
use crate::context::Control;
use crate::deputy::stands_behind;
use crate::narrow::first_widening;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    ApprovalApprove, ApprovalCancel, ApprovalDeny, ApprovalGet, ApprovalList, ApprovalNarrow,
    ApprovalState as WireState, Page, Problem, ProblemKind, ProposerHistory, TargetFacts,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::{ApprovalId, Owner, Principal, Text, Timestamp, UserId};
use serde_json::Value;
use std::time::Duration;
use store::{Approval, ApprovalState, Changes, Snapshot, Stored};

/// How far back a proposer's history counts.
const HISTORY: Duration = Duration::from_secs(30 * 24 * 3600);

const fn wire_state(state: ApprovalState) -> WireState {
    match state {
        ApprovalState::Pending => WireState::Pending,
        ApprovalState::Deferred => WireState::Deferred,
        ApprovalState::Approved => WireState::Approved,
        ApprovalState::Executed => WireState::Executed,
        ApprovalState::Failed => WireState::Failed,
        ApprovalState::Denied => WireState::Denied,
        ApprovalState::Expired => WireState::Expired,
        ApprovalState::Cancelled => WireState::Cancelled,
        ApprovalState::Uncertain => WireState::Uncertain,
    }
}

const fn stored_state(state: WireState) -> ApprovalState {
    match state {
        WireState::Pending => ApprovalState::Pending,
        WireState::Deferred => ApprovalState::Deferred,
        WireState::Approved => ApprovalState::Approved,
        WireState::Executed => ApprovalState::Executed,
        WireState::Failed => ApprovalState::Failed,
        WireState::Denied => ApprovalState::Denied,
        WireState::Expired => ApprovalState::Expired,
        WireState::Cancelled => ApprovalState::Cancelled,
        WireState::Uncertain => ApprovalState::Uncertain,
    }
}

/// The wire form. One whose time has run out is told as expired, also before the platform's round has written it down.
fn wire(approval: Approval, history: ProposerHistory, now: Timestamp) -> api::Approval {
    let ran_out = approval.state.waits() && approval.expires_at <= now;
    api::Approval {
        id: approval.id,
        tenant: approval.tenant,
        state: if ran_out { WireState::Expired } else { wire_state(approval.state) },
        call: approval.call,
        proposer: approval.caller.principal,
        on_behalf_of: approval.caller.on_behalf_of,
        run: approval.caller.run,
        operation: approval.operation,
        input: approval.input,
        digest: approval.digest,
        target: TargetFacts {
            resource: approval.target_kind,
            id: approval.target_id,
            tags: approval.target_tags,
            name: approval.target_name.map(|name| Text::truncated(&name)),
        },
        rung: approval.rung,
        needs: approval.needs,
        policies: approval.policies,
        escalation: approval.escalation.map(|one| api::Escalation { at: one.at, rung: one.rung, needs: one.needs }),
        missing: approval.missing,
        history,
        votes: approval
            .votes
            .into_iter()
            .map(|vote| api::Vote {
                by: vote.by,
                approve: vote.approve,
                narrowed: vote.narrowed,
                comment: vote.comment.map(|comment| Text::truncated(&comment)),
                at: vote.at,
            })
            .collect(),
        created_at: approval.proposed_at,
        expires_at: approval.expires_at,
        result: approval.result,
        problem: approval.problem.map(|problem| Text::truncated(&problem)),
        faults: Vec::new(),
    }
}

/// What this proposer did before, in the same place: counted here, never told by the proposer.
async fn history(snapshot: &Snapshot, approval: &Approval, now: Timestamp) -> Result<ProposerHistory, Refusal> {
    let page = store::Page {
        owner: Some(Owner::from(approval.tenant)),
        key: Some(("proposer", approval.caller.principal.to_string())),
        order: store::Order::Descending,
        limit: 1000,
        ..store::Page::default()
    };
    let before: Vec<Stored<Approval>> = snapshot.list(&page).await?;
    let mut history = ProposerHistory::default();
    let recent = before
        .iter()
        .map(|stored| &stored.value)
        .filter(|one| one.proposed_at >= now.minus(HISTORY) && one.id != approval.id);
    for one in recent {
        history.proposed_in_all += 1;
        if one.operation != approval.operation {
            continue;
        }
        match one.state {
            ApprovalState::Approved | ApprovalState::Executed | ApprovalState::Failed | ApprovalState::Uncertain => {
                history.approved += 1
            }
            ApprovalState::Denied => history.denied += 1,
            ApprovalState::Expired => history.expired += 1,
            ApprovalState::Pending | ApprovalState::Deferred | ApprovalState::Cancelled => {}
        }
    }
    Ok(history)
}

async fn approval_target(look: &Look<'_>, approval: ApprovalId) -> Result<Target, Refusal> {
    let stored: Stored<Approval> = look.one("approval", &approval.to_string()).await?;
    let target = Target::new("Approval", approval.to_string(), stored.value.tenant.into())
        .named(stored.value.operation)
        .made_by(stored.value.caller.principal);
    Ok(match stored.value.caller.owner {
        Some(owner) => target.answered_by(Principal::User(owner)),
        None => target,
    })
}

impl Control {
    async fn answer(
        &self,
        admitted: &Admitted<'_>,
        approval: Approval,
        changes: Changes,
    ) -> Result<Outcome<api::Approval>, Refusal> {
        let history = history(&admitted.snapshot, &approval, admitted.now).await?;
        Ok(Outcome::changed(wire(approval, history, admitted.now), changes))
    }

    /// The approval, if it still waits and this caller may judge it: a person who neither proposed it nor stands behind
    /// who did, and who has not judged it already.
    async fn judged(
        &self,
        admitted: &Admitted<'_>,
        approval: ApprovalId,
    ) -> Result<(Stored<Approval>, UserId), Refusal> {
        let stored: Stored<Approval> = admitted.one("approval", &approval.to_string()).await?;
        let Principal::User(user) = &admitted.identity.principal else {
            return Err(Problem::new(ProblemKind::Denied, "only people judge proposals").into());
        };
        let behind = stands_behind(&stored.value, *user)
            || admitted.identity.on_behalf_of.contains(&stored.value.caller.principal);
        if behind && !self.settings.self_approval {
            let detail = "you proposed this, or it was proposed on your behalf or by an agent or service key of yours; somebody else must judge it";
            return Err(Problem::new(ProblemKind::Denied, detail).into());
        }
        if !stored.value.state.waits() || stored.value.expires_at <= admitted.now {
            return Err(Refusal::conflict("the approval does not wait any more; propose the call anew"));
        }
        Ok((stored, *user))
    }

    /// Count the votes; where they are enough, let the call run.
    async fn settle_votes(
        &self,
        admitted: &Admitted<'_>,
        mut approval: Approval,
        version: i64,
    ) -> Result<Outcome<api::Approval>, Refusal> {
        let (counts, _) = self.approval_counts(&approval).await?;
        let mut changes = Changes::new();
        if self.would_pass(&approval, &counts).await? {
            approval.state = ApprovalState::Approved;
            changes.enqueue(self.execution_job(&approval, admitted.now));
        }
        changes.replace(&approval, version);
        self.answer(admitted, approval, changes).await
    }
}

impl Handle<ApprovalList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ApprovalList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: ApprovalList,
    ) -> Result<Outcome<Page<api::Approval>>, Refusal> {
        let key = input.state.map(|state| ("state", stored_state(state).as_str().to_owned()));
        let owner = Some(admitted.target.owner);
        let found: Page<Approval> = admitted
            .page(owner, key, input.limit, input.cursor.as_ref(), |stored: Stored<Approval>| Ok(stored.value))
            .await?;
        let mut items = Vec::new();
        for approval in found.items {
            let history = history(&admitted.snapshot, &approval, admitted.now).await?;
            items.push(wire(approval, history, admitted.now));
        }
        Ok(Outcome::answer(Page { items, next_cursor: found.next_cursor }))
    }
}

impl Handle<ApprovalGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ApprovalGet) -> Result<Target, Refusal> {
        approval_target(look, input.approval).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ApprovalGet) -> Result<Outcome<api::Approval>, Refusal> {
        let stored: Stored<Approval> = admitted.one("approval", &input.approval.to_string()).await?;
        self.answer(admitted, stored.value, Changes::new()).await
    }
}

impl Handle<ApprovalApprove> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ApprovalApprove) -> Result<Target, Refusal> {
        approval_target(look, input.approval).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ApprovalApprove) -> Result<Outcome<api::Approval>, Refusal> {
        let (stored, user) = self.judged(admitted, input.approval).await?;
        let mut approval = stored.value;
        if input.digest.is_some_and(|seen| seen.as_str() != approval.digest) {
            return Err(Problem::new(
                ProblemKind::PreconditionFailed,
                "the call is not the one that you saw; look at it again",
            )
            .into());
        }
        if approval.votes.iter().any(|vote| vote.by == user && vote.digest == approval.digest) {
            return Err(Refusal::conflict("you have approved this already; another person must"));
        }
        let comment = input.comment.map(Text::into_string);
        approval.votes.push(vote(user, true, false, comment, admitted.now, &approval.digest));
        self.settle_votes(admitted, approval, stored.version).await
    }
}

impl Handle<ApprovalDeny> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ApprovalDeny) -> Result<Target, Refusal> {
        approval_target(look, input.approval).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ApprovalDeny) -> Result<Outcome<api::Approval>, Refusal> {
        let (stored, user) = self.judged(admitted, input.approval).await?;
        let mut approval = stored.value;
        let comment = input.comment.map(Text::into_string);
        approval.votes.push(vote(user, false, false, comment, admitted.now, &approval.digest));
        approval.state = ApprovalState::Denied;
        let mut changes = Changes::new();
        changes.replace(&approval, stored.version);
        self.answer(admitted, approval, changes).await
    }
}

impl Handle<ApprovalNarrow> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ApprovalNarrow) -> Result<Target, Refusal> {
        approval_target(look, input.approval).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ApprovalNarrow) -> Result<Outcome<api::Approval>, Refusal> {
        let (stored, user) = self.judged(admitted, input.approval).await?;
        let mut approval = stored.value;
        // Fields that people see blanked stand for what was asked: a narrower input cannot know or change them.
        let asked = approval.input.clone();
        let narrower = Value::Object(input.input);
        if let Some(pointer) = first_widening(&asked, &narrower) {
            let detail =
                "is not a subset of what was asked; lists may lose items and `_secs` may get smaller, nothing else";
            return Err(Refusal::fault(&format!("/input{pointer}"), detail));
        }
        if let Some(spec) = self.registry.spec(&approval.operation)
            && approval.sealed_input.is_none()
        {
            spec.validate(&narrower)?;
        }
        self.rebind(&mut approval, narrower).await?;
        let comment = input.comment.map(Text::into_string);
        approval.votes.retain(|vote| !vote.approve);
        approval.votes.push(vote(user, true, true, comment, admitted.now, &approval.digest));
        self.settle_votes(admitted, approval, stored.version).await
    }
}

impl Control {
    /// Bind an approval to a narrower input: another digest, so that no earlier vote counts for it.
    async fn rebind(&self, approval: &mut Approval, narrower: Value) -> Result<(), Refusal> {
        if approval.sealed_input.is_some() {
            let mut full = self.full_input(approval)?;
            overlay(&mut full, &narrower);
            let sealed = self.keys.seal(
                approval.tenant.into(),
                approval.id.to_string().as_bytes(),
                full.to_string().as_bytes(),
                self.inner.entropy.as_ref(),
            );
            approval.sealed_input = Some(STANDARD.encode(sealed));
        }
        approval.input = narrower;
        approval.digest = self.digest_now(approval).await?;
        Ok(())
    }
}

/// What people may narrow is taken over; what was blanked for them stays as it was.
fn overlay(full: &mut Value, narrower: &Value) {
    match (full, narrower) {
        (Value::Object(full), Value::Object(narrower)) => {
            for (name, value) in full.iter_mut() {
                if let Some(narrow) = narrower.get(name) {
                    overlay(value, narrow);
                }
            }
        }
        (_, Value::String(text)) if text == crate::masking::BLANK => {}
        (full, narrower) => *full = narrower.clone(),
    }
}

impl Handle<ApprovalCancel> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ApprovalCancel) -> Result<Target, Refusal> {
        approval_target(look, input.approval).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ApprovalCancel) -> Result<Outcome<api::Approval>, Refusal> {
        let stored: Stored<Approval> = admitted.one("approval", &input.approval.to_string()).await?;
        let mut approval = stored.value;
        if approval.caller.principal != admitted.identity.principal {
            return Err(Problem::new(
                ProblemKind::Denied,
                "only who proposed a call can take it back; deny it instead",
            )
            .into());
        }
        if !approval.state.waits() {
            return Err(Refusal::conflict("the approval does not wait any more"));
        }
        approval.state = ApprovalState::Cancelled;
        let mut changes = Changes::new();
        changes.replace(&approval, stored.version);
        self.answer(admitted, approval, changes).await
    }
}

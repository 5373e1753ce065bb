//! Escalation: what waited for three quarters of its time is asked of a further rung too, so that it does not run out because
//! one kind of person is away. Tells who else would do; must never lower what policy asks for.

use crate::context::Control;
use crate::refusal::Refusal;
use ids::{Owner, Scope, Timestamp};
use policy::Rung;
use store::{Approval, Changes, Commit, Escalation, Stored, sortable};

impl Control {
    /// Escalate what waits and is near its end: say which further rung would do, so that more people are asked.
    pub(crate) async fn escalate_approvals(&self) -> Result<(), Refusal> {
        let now = self.now();
        let snapshot = self.store.snapshot(Scope::Provider);
        let (from, to) = (sortable(Timestamp::default()), sortable(now));
        let due: Vec<Stored<Approval>> = snapshot.range("escalate", &from, &to, 64).await?;
        for stored in due {
            let Stored { value: mut approval, version, .. } = stored;
            let next = if approval.state.waits() { self.next_rung(&approval).await? } else { None };
            approval.escalate_at = None;
            approval.escalation =
                next.map(|rung| Escalation { at: now, needs: crate::approvals::counts(&rung.counts), rung: rung.name });
            let (owner, id) = (Owner::from(approval.tenant), approval.id.to_string());
            let mut changes = Changes::new();
            changes.replace(&approval, version);
            let name = "approval-escalation";
            let entry = self.digested_leaf(name, "approval.escalate", owner, Some(id), None, 200, None)?;
            let mut commit = Commit::new(now, entry).changes(changes);
            if approval.escalation.is_some() {
                let (told, records) = self.tell_of_approval(api::NoticeKind::ApprovalEscalated, &approval).await?;
                commit = records.into_iter().fold(commit.changes(told), Commit::record);
            }
            self.store.commit(commit).await?;
        }
        Ok(())
    }

    /// The next rung of the ladder that would let a proposal pass, with what people said so far counted in.
    async fn next_rung(&self, approval: &Approval) -> Result<Option<Rung>, Refusal> {
        let rungs = policy::shipped::rungs().map_err(|error| Refusal::bug("the shipped rungs do not parse", &error))?;
        let (given, _) = self.approval_counts(approval).await?;
        let further = rungs.into_iter().skip_while(|rung| rung.name != approval.rung).skip(1);
        for rung in further {
            let mut counts = given.clone();
            for (role, count) in &rung.counts {
                let given = counts.entry(role.clone()).or_default();
                *given = (*given).max(*count);
            }
            if self.would_pass(approval, &counts).await? {
                return Ok(Some(rung));
            }
        }
        Ok(None)
    }
}

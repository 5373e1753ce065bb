//! How well approvals work: how long people take, how often they nod, how often what they let through was undone. Computed from
//! what is stored, for the asked time; must never tell of a tenant that was not asked about.

use crate::admission::{Admitted, Look};
use crate::asking::range;
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{ApprovalReport, ApprovalReportGet, ApproverRecord, OperationApprovals, Spread};
use ids::{ApprovalId, Owner, Timestamp, UserId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::{Approval, ApprovalState, Order, Page, ResponseAction, Snapshot, Stored, Vote};

/// Documents of a kind that one report looks at, at most.
const LOOKED_AT_MAX: usize = 20_000;
/// How far back a report goes where nothing is said.
const WITHIN: Duration = Duration::from_secs(30 * 24 * 3600);

/// How far before the asked time is looked.
const SLACK: Duration = Duration::from_secs(1);

/// Documents of a place from the newest back, while `wanted`; and whether these are all.
async fn newest<R: store::Resource>(
    snapshot: &Snapshot,
    owner: Owner,
    wanted: impl Fn(&R) -> bool,
) -> Result<(Vec<R>, bool), Refusal> {
    let (mut found, mut after): (Vec<R>, _) = (Vec::new(), None);
    loop {
        let page = Page { owner: Some(owner), after, limit: 1000, order: Order::Descending, ..Page::default() };
        let some: Vec<Stored<R>> = snapshot.list(&page).await?;
        let more = some.len() >= 1000;
        after = some.last().map(|last| last.value.id());
        for one in some {
            if !wanted(&one.value) {
                return Ok((found, true));
            }
            if found.len() >= LOOKED_AT_MAX {
                return Ok((found, false));
            }
            found.push(one.value);
        }
        if !more {
            return Ok((found, true));
        }
    }
}

/// Seconds as they spread; none where there are none.
fn spread(mut secs: Vec<u64>) -> Option<Spread> {
    secs.sort_unstable();
    let at = |part: usize| secs.get((secs.len().saturating_sub(1) * part).div_euclid(100)).copied();
    Some(Spread { median_secs: at(50)?, p90_secs: at(90)?, max_secs: at(100)? })
}

/// What is counted of one operation, one person, or all.
#[derive(Default)]
struct Tally {
    proposed: u32,
    waiting: u32,
    approved: u32,
    denied: u32,
    expired: u32,
    cancelled: u32,
    escalated: u32,
    reversed: u32,
    secs: Vec<u64>,
}

impl Tally {
    fn add(&mut self, approval: &Approval, reversed: bool) {
        self.proposed += 1;
        self.escalated += u32::from(approval.escalation.is_some());
        self.reversed += u32::from(reversed);
        match approval.state {
            ApprovalState::Pending | ApprovalState::Deferred => self.waiting += 1,
            ApprovalState::Denied => self.denied += 1,
            ApprovalState::Expired => self.expired += 1,
            ApprovalState::Cancelled => self.cancelled += 1,
            ApprovalState::Approved | ApprovalState::Executed | ApprovalState::Failed | ApprovalState::Uncertain => {
                self.approved += 1;
            }
        }
        let decided =
            !approval.state.waits() && !matches!(approval.state, ApprovalState::Expired | ApprovalState::Cancelled);
        if let (true, Some(last)) = (decided, approval.votes.last()) {
            self.secs.push(last.at.since(approval.proposed_at).as_secs());
        }
    }
}

/// What one person did.
#[derive(Default)]
struct Votes {
    yes: u32,
    no: u32,
    rubber_stamps: u32,
    reversed: u32,
    secs: Vec<u64>,
}

/// A yes that came at once, said nothing and narrowed nothing: nobody can have looked.
fn rubber_stamp(approval: &Approval, vote: &Vote, quick: Duration) -> bool {
    let silent = vote.comment.as_ref().is_none_or(|comment| comment.trim().is_empty());
    vote.approve && !vote.narrowed && silent && vote.at.since(approval.proposed_at) < quick
}

fn rate(part: u32, whole: u32) -> Option<f64> {
    (whole > 0).then(|| f64::from(part) / f64::from(whole))
}

impl Handle<ApprovalReportGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ApprovalReportGet) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: ApprovalReportGet,
    ) -> Result<Outcome<ApprovalReport>, Refusal> {
        range(input.since, input.until)?;
        let until = input.until.unwrap_or(admitted.now);
        let since = input.since.unwrap_or_else(|| until.minus(WITHIN));
        let owner = admitted.target.owner;
        // Ids of one millisecond stand in no order: a little further back, so that none of them hides another.
        let from = since.minus(SLACK);
        let (approvals, all) = newest(&admitted.snapshot, owner, |one: &Approval| one.proposed_at >= from).await?;
        let within = |one: &Approval| since <= one.proposed_at && one.proposed_at < until;
        let asked: Vec<Approval> = approvals.into_iter().filter(within).collect();
        let (reversed, all_actions) = reversed(&admitted.snapshot, owner, since).await?;
        let quick = Duration::from_secs(u64::from(input.quick_secs));
        let mut report = tell(&asked, &reversed, quick);
        report.tenant = owner.tenant();
        (report.since, report.until, report.complete) = (since, until, all && all_actions);
        Ok(Outcome::answer(report))
    }
}

/// The approvals whose response action somebody undid.
async fn reversed(
    snapshot: &Snapshot,
    owner: Owner,
    since: Timestamp,
) -> Result<(BTreeSet<ApprovalId>, bool), Refusal> {
    let (actions, all) = newest(snapshot, owner, |one: &ResponseAction| one.expires_at >= since).await?;
    let undone: BTreeSet<_> = actions.iter().filter_map(|one| one.undoes).collect();
    let under = actions.iter().filter(|one| undone.contains(&one.id)).filter_map(|one| one.approval);
    Ok((under.collect(), all))
}

fn tell(asked: &[Approval], reversed: &BTreeSet<ApprovalId>, quick: Duration) -> ApprovalReport {
    let mut whole = Tally::default();
    let mut operations: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut people: BTreeMap<UserId, Votes> = BTreeMap::new();
    for approval in asked {
        let undone = reversed.contains(&approval.id);
        whole.add(approval, undone);
        operations.entry(&approval.operation).or_default().add(approval, undone);
        for vote in &approval.votes {
            let person = people.entry(vote.by).or_default();
            person.secs.push(vote.at.since(approval.proposed_at).as_secs());
            if vote.approve {
                person.yes += 1
            } else {
                person.no += 1
            }
            person.rubber_stamps += u32::from(rubber_stamp(approval, vote, quick));
            person.reversed += u32::from(vote.approve && undone);
        }
    }
    let (yes, stamps) = people.values().fold((0, 0), |(yes, stamps), one| (yes + one.yes, stamps + one.rubber_stamps));
    ApprovalReport {
        tenant: None,
        since: Timestamp::default(),
        until: Timestamp::default(),
        proposed: whole.proposed,
        waiting: whole.waiting,
        approved: whole.approved,
        denied: whole.denied,
        expired: whole.expired,
        cancelled: whole.cancelled,
        escalated: whole.escalated,
        reversed: whole.reversed,
        reversed_rate: rate(whole.reversed, whole.approved),
        time_to_decide: spread(whole.secs),
        rubber_stamps: stamps,
        rubber_stamp_rate: rate(stamps, yes),
        by_operation: operations.into_iter().map(|(operation, tally)| of_operation(operation, tally)).collect(),
        by_person: people.into_iter().map(|(user, votes)| of_person(user, votes)).collect(),
        complete: true,
    }
}

fn of_operation(operation: &str, tally: Tally) -> OperationApprovals {
    OperationApprovals {
        operation: operation.to_owned(),
        proposed: tally.proposed,
        approved: tally.approved,
        denied: tally.denied,
        expired: tally.expired,
        reversed: tally.reversed,
        time_to_decide: spread(tally.secs),
    }
}

fn of_person(user: UserId, votes: Votes) -> ApproverRecord {
    ApproverRecord {
        user,
        yes: votes.yes,
        no: votes.no,
        rubber_stamps: votes.rubber_stamps,
        rubber_stamp_rate: rate(votes.rubber_stamps, votes.yes),
        reversed: votes.reversed,
        time_to_vote: spread(votes.secs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_spread_and_rates_of_nothing_are_nothing() {
        assert_eq!(spread(Vec::new()), None);
        let all = spread((1..=100).rev().collect()).unwrap();
        assert_eq!((all.median_secs, all.p90_secs, all.max_secs), (50, 90, 100));
        assert_eq!((rate(1, 4), rate(0, 0)), (Some(0.25), None));
    }
}

//! What somebody did, read from the audit logs of some places: every call stands there, reads too. Reads only. Must never count
//! what policy refused, and must say where it did not read everything.

use crate::refusal::Refusal;
use audit::{Decided, Phase};
use ids::{Owner, Principal, Timestamp};
use serde::Deserialize;
use std::collections::BTreeMap;
use store::{Leaf, Snapshot};

/// Records that are read at once.
const STEP: u32 = 4096;
/// Records of one report at most, over all places.
pub(super) const RECORDS_MAX: usize = 200_000;

/// How one operation was used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Use {
    /// Calls that policy let through.
    pub(super) calls: u64,
    /// Calls that it made wait.
    pub(super) asked: u64,
    /// The newest of either.
    pub(super) last: Timestamp,
}

/// What somebody did within a time.
#[derive(Clone, Debug)]
pub(super) struct Usage {
    /// By place and operation.
    pub(super) places: BTreeMap<Owner, BTreeMap<String, Use>>,
    /// The newest record of any kind, refusals too.
    pub(super) last_seen: Option<Timestamp>,
    /// Whether all of the time was read.
    pub(super) complete: bool,
}

/// What is needed of a record. A head of another tree and a change of the log's key have none of it.
#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    principal: Option<&'l str>,
    #[serde(borrow)]
    operation: Option<&'l str>,
    phase: Option<Phase>,
    decision: Option<Said>,
    aggregate: Option<Many>,
}

#[derive(Deserialize)]
struct Said {
    outcome: Decided,
}

#[derive(Deserialize)]
struct Many {
    count: u64,
}

impl Usage {
    /// Read the logs of these places from now back to `since`.
    pub(super) async fn read(
        snapshot: &Snapshot,
        principal: &Principal,
        places: &[Owner],
        since: Timestamp,
    ) -> Result<Self, Refusal> {
        let mut usage = Self { places: BTreeMap::new(), last_seen: None, complete: true };
        let (who, mut read) = (principal.to_string(), 0_usize);
        for place in places {
            let mut before = u64::MAX;
            loop {
                let leaves = snapshot.leaves_down(*place, before, STEP).await?;
                let Some(oldest) = leaves.last() else { break };
                let ended = oldest.index == 0 || oldest.recorded_at < since;
                before = oldest.index;
                read = read.saturating_add(leaves.len());
                let (place, asked) = (*place, who.clone());
                let counted = tokio::task::spawn_blocking(move || {
                    usage.count(place, &asked, &leaves, since)?;
                    Ok::<_, Refusal>(usage)
                });
                usage = counted.await.map_err(|error| Refusal::bug("reading the record ended", &error))??;
                if ended {
                    break;
                }
                if read >= RECORDS_MAX {
                    usage.complete = false;
                    return Ok(usage);
                }
            }
        }
        Ok(usage)
    }

    fn count(&mut self, place: Owner, who: &str, leaves: &[Leaf], since: Timestamp) -> Result<(), Refusal> {
        for leaf in leaves.iter().filter(|leaf| leaf.recorded_at >= since) {
            let line: Line<'_> = serde_json::from_slice(&leaf.leaf)
                .map_err(|error| Refusal::bug("a stored leaf is not a record", &error))?;
            let (Some(principal), Some(operation), Some(said)) = (line.principal, line.operation, line.decision) else {
                continue;
            };
            // What an effect came to is the second record of a call that was counted already.
            if principal != who || line.phase == Some(Phase::Outcome) {
                continue;
            }
            self.last_seen = self.last_seen.max(Some(leaf.recorded_at));
            let count = line.aggregate.map_or(1, |many| many.count);
            let (calls, asked) = match said.outcome {
                Decided::Allow | Decided::Modify => (count, 0),
                Decided::Defer | Decided::StepUp => (0, count),
                Decided::Deny => continue,
            };
            let operations = self.places.entry(place).or_default();
            let used = operations.entry(operation.to_owned()).or_default();
            used.calls = used.calls.saturating_add(calls);
            used.asked = used.asked.saturating_add(asked);
            used.last = used.last.max(leaf.recorded_at);
        }
        Ok(())
    }

    /// How an operation was used in all places together; none where it was not.
    pub(super) fn of(&self, operation: &str) -> Option<Use> {
        self.places.values().filter_map(|place| place.get(operation)).cloned().reduce(|one, other| Use {
            calls: one.calls.saturating_add(other.calls),
            asked: one.asked.saturating_add(other.asked),
            last: one.last.max(other.last),
        })
    }

    /// Whether an operation was used at a place.
    pub(super) fn at(&self, place: Owner, operation: &str) -> bool {
        self.places.get(&place).is_some_and(|operations| operations.contains_key(operation))
    }

    /// Every operation that was used.
    pub(super) fn operations(&self) -> impl Iterator<Item = &str> {
        self.places.values().flat_map(|place| place.keys().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ids::CallId;
    use serde_json::{Value, json};

    fn leaf(index: u64, record: &Value) -> Leaf {
        let (call, leaf) = (CallId::derive(&[&index.to_be_bytes()]), record.to_string().into_bytes());
        let recorded_at = Timestamp::from_micros(i64::try_from(index).unwrap() * 10);
        Leaf { tree: Owner::Provider, index, call, part: 0, leaf, recorded_at }
    }

    #[test]
    fn refusals_others_and_outcomes_are_no_use() {
        let line = |who: &str, operation: &str, outcome: &str, phase: &str| json!({ "principal": who, "operation": operation, "phase": phase, "decision": { "outcome": outcome }, "other": [1] });
        let leaves: Vec<Leaf> = [
            line("agent_a", "case.get", "allow", "call"),
            line("agent_a", "case.get", "modify", "call"),
            line("agent_a", "case.open", "deny", "call"),
            line("agent_b", "case.open", "allow", "call"),
            line("agent_a", "action.undo", "step_up", "call"),
            line("agent_a", "action.undo", "allow", "intent"),
            line("agent_a", "action.undo", "allow", "outcome"),
            json!({ "root": "x", "size": 3, "v": 1 }),
        ]
        .iter()
        .enumerate()
        .map(|(index, record)| leaf(u64::try_from(index).unwrap(), record))
        .collect();
        let mut usage = Usage { places: BTreeMap::new(), last_seen: None, complete: true };
        usage.count(Owner::Provider, "agent_a", &leaves, Timestamp::from_micros(10)).unwrap();
        let used = |calls, asked, at| Use { calls, asked, last: Timestamp::from_micros(at) };
        assert_eq!(usage.of("case.get"), Some(used(1, 0, 10)), "the first is older than what was asked");
        assert_eq!((usage.of("case.open"), usage.of("action.undo")), (None, Some(used(1, 1, 50))));
        assert!(usage.last_seen == Some(Timestamp::from_micros(50)) && usage.at(Owner::Provider, "case.get"));
    }
}

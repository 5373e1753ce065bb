//! Watches what was done: tells what came of it, looks for effects of connectors that did not show at once until their window
//! ends, and asks for the inverse of what was to last for a time only. Must never let an effect that never showed pass in silence.

use super::carry::Looked;
use crate::action_outcome::{Telling, came};
use crate::context::Control;
use crate::refusal::Refusal;
use api::Told;
use ids::{ActionId, Owner, Principal, Scope, Text, Timestamp};
use std::collections::HashMap;
use std::time::Duration;
use store::{ActionEnd, Changes, Commit, CommitError, ConnectorCall, ResponseAction, Stored, sortable};

/// The name under which effects are looked for.
const VERIFIER: &str = "action-verification";
/// How often the watch goes round.
const ROUND: Duration = Duration::from_secs(1);
/// Actions of one kind in one round.
const DUE_MAX: usize = 32;
/// Actions that are looked over for them: those that were looked for a moment ago must not hold back the others.
const SEEN_MAX: u32 = 1000;

impl Control {
    /// Watch until `stop` says so. Errors are logged and met again in the next round.
    pub(crate) async fn watch_actions(self, mut stop: tokio::sync::watch::Receiver<bool>) {
        let mut looked = HashMap::new();
        while !*stop.borrow() {
            let seen = self.store.generation(&["action"]);
            self.tell("outcomes", self.tell_outcomes().await);
            self.tell("isolations", self.end_isolations().await);
            self.tell("effects", self.look_for_effects(&mut looked).await);
            self.tell("times to live", self.end_actions().await);
            tokio::select! {
                _ = stop.changed() => {}
                _ = self.store.changed(&["action"], seen) => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    fn tell(&self, round: &'static str, outcome: Result<(), Refusal>) {
        match outcome {
            Ok(()) | Err(Refusal::Commit(CommitError::Conflict { .. })) => {}
            Err(refusal) => tracing::error!(round, ?refusal, "a round of the watch over actions failed; it goes on"),
        }
    }

    /// A finding about an action; the same where it is raised again.
    pub(crate) async fn raise(
        &self,
        uid: &str,
        title: &str,
        action: &ResponseAction,
        detail: &str,
    ) -> Result<(), Refusal> {
        let Some(plane) = &self.plane else { return Ok(()) };
        let call = action.connector.as_ref();
        let what = call.map(|call| format!("`{}` of connector `{}`: ", call.action, call.name));
        let what = what.unwrap_or_else(|| format!("`{}`: ", action.kind));
        let told = Told {
            tenant: action.tenant,
            uid: Text::truncated(uid),
            title: Text::truncated(title),
            detail: Text::truncated(&format!("{what}{detail}")),
            about: Text::truncated(&format!("action/{}", action.id)),
            key: Text::truncated(&format!("{uid}/{}", action.id)),
            at: self.now(),
        };
        Ok(plane.tell(told).await?)
    }

    async fn due(&self, key: &'static str) -> Result<Vec<Stored<ResponseAction>>, Refusal> {
        let (from, to) = (sortable(Timestamp::default()), sortable(self.now().plus(Duration::from_micros(1))));
        Ok(self.store.snapshot(Scope::Provider).range(key, &from, &to, SEEN_MAX).await?)
    }

    async fn end_actions(&self) -> Result<(), Refusal> {
        for stored in self.due("ends").await?.iter().take(DUE_MAX) {
            self.end_action(stored).await?;
        }
        Ok(())
    }

    /// Look for the effects that are due. When one was last looked for is kept in memory: after a start it is looked for once more.
    async fn look_for_effects(&self, looked: &mut HashMap<ActionId, Timestamp>) -> Result<(), Refusal> {
        let due = self.due("look").await?;
        looked.retain(|id, _| due.iter().any(|stored| stored.value.id == *id));
        let now = self.now();
        let due = due.into_iter().filter(|one| looked.get(&one.value.id).is_none_or(|next| *next <= now));
        let due: Vec<Stored<ResponseAction>> = due.take(DUE_MAX).collect();
        let asked = due.iter().map(|stored| self.look_for_effect(stored));
        for (stored, ended) in due.iter().zip(futures::future::join_all(asked).await) {
            if let Some(again) = ended? {
                looked.insert(stored.value.id, again);
            }
        }
        Ok(())
    }

    /// Look for one effect; when to look again, where that is not its end.
    async fn look_for_effect(&self, stored: &Stored<ResponseAction>) -> Result<Option<Timestamp>, Refusal> {
        let action = &stored.value;
        let Some(call) = &action.connector else { return Ok(None) };
        let (found, every) = match self.equip(action, call).await? {
            Ok(prepared) => match prepared.reader.step(&call.action) {
                Some(step) => {
                    let every = step.verify.as_ref().map_or(60, |verify| verify.every_secs);
                    (prepared.look(step).await, every)
                }
                None => (Looked::Unknown("the connector has no such action any more".to_owned()), 60),
            },
            Err(why) => (Looked::Unknown(why), 60),
        };
        let now = self.now();
        let (verified, detail) = match found {
            Looked::Found => (true, "done and verified".to_owned()),
            Looked::Missing(_) | Looked::Unknown(_) if call.verify_by.is_some_and(|until| now < until) => {
                return Ok(Some(now.plus(Duration::from_secs(every.into()))));
            }
            Looked::Missing(why) | Looked::Unknown(why) => {
                (false, format!("done, and its effect never showed within its time: {why}"))
            }
        };
        if !verified {
            self.raise("posse.action.unverified", "An action's effect never showed", action, &detail).await?;
        }
        let ended = ConnectorCall { look_at: None, verify_by: None, ..call.clone() };
        let mut action = ResponseAction { connector: Some(ended), verified, detail, ..action.clone() };
        let (owner, id) = (Owner::Tenant(action.tenant), action.id.to_string());
        let record = self.digested_leaf(VERIFIER, "action.verify", owner, Some(id), None, 200, None)?;
        let telling = Telling { by: Principal::System(VERIFIER.to_owned()), call: record.call, at: now };
        let (end, detail) = (if verified { ActionEnd::Verified } else { ActionEnd::Unverified }, action.detail.clone());
        came(&mut action, end, &telling, &detail);
        let mut changes = Changes::new();
        changes.replace(&action, stored.version);
        self.store.commit(Commit::new(now, record).changes(changes)).await?;
        Ok(None)
    }
}

//! The courier of connectors. Asks the precondition, keeps the evidence, notes durably that the request may leave, sends it,
//! reads the answer, looks for the effect. After a crash between that note and the outcome it sends again only what may be
//! repeated; everything else it looks for, and parks as uncertain what it does not find. Must never send blindly twice.

use super::Prepared;
use crate::action_outcome::Telling;
use crate::context::Control;
use crate::courier::{Courier, Parcel};
use crate::refusal::Refusal;
use action::{Answer, Judgement, NoAnswer, Request, Step, Success};
use api::Future;
use ids::{Owner, Principal, Scope};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use store::{ActionState, Changes, ConnectorCall, MessageState, Outcome, ResponseAction, Stored};

/// The channel of connectors.
pub(crate) const CHANNEL: &str = "connector";

/// Carries actions to the services of others.
pub(crate) struct ConnectorCourier {
    control: Control,
    /// How the attempts of this process ended, until they are committed with their record.
    ended: Mutex<HashMap<String, Stored<ResponseAction>>>,
}

impl ConnectorCourier {
    pub(crate) fn new(control: Control) -> Self {
        Self { control, ended: Mutex::default() }
    }

    fn take(&self, parcel: &str) -> Option<Stored<ResponseAction>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).remove(parcel)
    }
}

impl Courier for ConnectorCourier {
    fn channel(&self) -> &'static str {
        CHANNEL
    }

    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> Future<'a, Outcome> {
        Box::pin(async move {
            self.take(&parcel.id);
            match self.control.carry_parcel(parcel).await {
                Ok(Carried { outcome, action }) => {
                    if let Some(action) = action {
                        self.ended.lock().unwrap_or_else(PoisonError::into_inner).insert(parcel.id.clone(), action);
                    }
                    outcome
                }
                // Storage is asked before anything leaves, and not after.
                Err(refusal) => {
                    tracing::warn!(parcel = %parcel.id, ?refusal, "an action was not carried out; it is tried again");
                    Outcome::Retry { detail: "storage did not answer".to_owned() }
                }
            }
        })
    }

    fn settled<'a>(
        &'a self,
        parcel: &'a Parcel,
        state: MessageState,
        detail: &'a str,
        changes: &'a mut Changes,
    ) -> Future<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let told = match self.take(&parcel.id) {
                Some(told) => told,
                None => match self.control.action_of(parcel).await? {
                    Some(stored) => stored,
                    None => return Ok(()),
                },
            };
            let Stored { value: mut action, version, .. } = told;
            if action.state == ActionState::Sent {
                action.state = match state {
                    MessageState::Failed | MessageState::Stopped => ActionState::Failed,
                    MessageState::Uncertain => ActionState::Uncertain,
                    MessageState::Pending | MessageState::Sending | MessageState::Sent => ActionState::Sent,
                };
                if action.state != ActionState::Sent {
                    detail.clone_into(&mut action.detail);
                    action.ended_at = Some(self.control.now());
                }
            } else if action.ended_at.is_none() {
                action.ended_at = Some(self.control.now());
            } else {
                // It had ended before this attempt.
                return Ok(());
            }
            if matches!(action.state, ActionState::Uncertain) {
                let title = "Nobody can tell whether an action took effect";
                self.control.raise("posse.action.uncertain", title, &action, &action.detail).await?;
            }
            if action.state == ActionState::Failed && action.undoes.is_some() {
                let title = "An action was not undone";
                self.control.raise("posse.action.not_undone", title, &action, &action.detail).await?;
            }
            let telling =
                Telling { by: Principal::System(CHANNEL.to_owned()), call: parcel.call, at: self.control.now() };
            crate::action_outcome::ended(&mut action, &telling);
            changes.replace(&action, version);
            Ok(())
        })
    }
}

/// How an attempt ended.
struct Carried {
    outcome: Outcome,
    /// The action as it is then; none where it does not change.
    action: Option<Stored<ResponseAction>>,
}

/// What was found where an effect was looked for.
pub(super) enum Looked {
    /// It is there.
    Found,
    /// It is not there.
    Missing(String),
    /// Nobody says how to look, or nobody answered.
    Unknown(String),
}

impl Prepared {
    /// One of the requests that come before or after: nothing is lost where it is made twice.
    async fn ask(&self, request: &Request) -> Result<Answer, NoAnswer> {
        let made = request.make(self.reader.auth(), None, &self.values);
        let made = made.map_err(|error| NoAnswer::Perhaps(error.to_string()))?;
        self.wire.ask(made, request.reads).await
    }

    fn judge(&self, answer: &Answer, success: &Success) -> Judgement {
        answer.judge(success, &self.values).unwrap_or_else(|error| Judgement::Not(error.to_string()))
    }

    /// Look for the effect by the declared question.
    pub(super) async fn look(&self, step: &Step) -> Looked {
        let Some(verify) = &step.verify else {
            return Looked::Unknown("nothing says how to look for its effect".to_owned());
        };
        let Some(request) = &verify.request else {
            return Looked::Unknown("only the answer says whether it took effect".to_owned());
        };
        match self.ask(request).await {
            Ok(answer) => match self.judge(&answer, &verify.success) {
                Judgement::Holds => Looked::Found,
                Judgement::Not(why) => Looked::Missing(why),
            },
            Err(failure) => Looked::Unknown(failure.to_string()),
        }
    }
}

/// An action under way, with the call that it is.
struct Errand {
    stored: Stored<ResponseAction>,
    call: ConnectorCall,
}

impl Errand {
    fn action(&self) -> ResponseAction {
        ResponseAction { connector: Some(self.call.clone()), ..self.stored.value.clone() }
    }

    fn end(self, state: ActionState, verified: bool, detail: &str, outcome: Outcome) -> Carried {
        let detail = detail.to_owned();
        let action = ResponseAction { state, verified, detail, ended_at: None, ..self.action() };
        Carried { outcome, action: Some(Stored { value: action, ..self.stored }) }
    }

    fn failed(self, state: ActionState, detail: &str) -> Carried {
        self.end(state, false, detail, Outcome::Failed { detail: detail.to_owned() })
    }

    fn uncertain(self, detail: &str) -> Carried {
        self.end(ActionState::Uncertain, false, detail, Outcome::Uncertain { detail: detail.to_owned() })
    }

    fn done(self, verified: bool, detail: &str) -> Carried {
        self.end(ActionState::Done, verified, detail, Outcome::Sent { detail: detail.to_owned() })
    }

    /// It surely did not arrive: the next attempt begins anew.
    fn again(mut self, detail: &str) -> Carried {
        self.call.leaving = false;
        let detail = detail.to_owned();
        Carried { outcome: Outcome::Retry { detail }, action: Some(Stored { value: self.action(), ..self.stored }) }
    }
}

impl Control {
    async fn action_of(&self, parcel: &Parcel) -> Result<Option<Stored<ResponseAction>>, Refusal> {
        let id = parcel.body.get("action").and_then(Value::as_str).unwrap_or_default();
        Ok(self.store.snapshot(Scope::from(parcel.owner)).read(id).await?)
    }

    async fn carry_parcel(&self, parcel: &Parcel) -> Result<Carried, Refusal> {
        let ended = |outcome| Ok(Carried { outcome, action: None });
        let Some(stored) = self.action_of(parcel).await? else {
            return ended(Outcome::Failed { detail: "the action is gone".to_owned() });
        };
        let Some(call) = stored.value.connector.clone().filter(|_| stored.value.state == ActionState::Sent) else {
            return ended(Outcome::Sent { detail: "it had ended before".to_owned() });
        };
        let prepared = self.equip(&stored.value, &call).await?;
        let mut errand = Errand { stored, call };
        let mut prepared = match prepared {
            Ok(prepared) => prepared,
            Err(why) if errand.call.leaving => return Ok(errand.uncertain(&why)),
            Err(why) => return Ok(errand.failed(ActionState::Failed, &why)),
        };
        let Some(step) = prepared.reader.step(&errand.call.action).cloned() else {
            return Ok(errand.failed(ActionState::Failed, "the connector has no such action any more"));
        };
        if errand.call.leaving {
            if !step.may_repeat() {
                return Ok(settle_unknown(errand, &prepared, &step, "the platform ended while it was sent").await);
            }
        } else {
            errand = match before(errand, &mut prepared, &step).await {
                Ok(errand) => errand,
                Err(carried) => return Ok(*carried),
            };
            errand = self.mark_leaving(errand).await?;
        }
        if !self.task_may_leave(&errand.stored.value, self.now()) {
            let why = "it waited too long, or was stopped by the kill switch before it was sent";
            return Ok(errand.failed(ActionState::Failed, why));
        }
        Ok(self.send(errand, prepared, &step, parcel.last).await)
    }

    /// Note, durably and before anything leaves, what was kept and that it may leave now.
    async fn mark_leaving(&self, mut errand: Errand) -> Result<Errand, Refusal> {
        errand.call.leaving = true;
        let action = errand.action();
        let mut changes = Changes::new();
        changes.replace(&action, errand.stored.version);
        let (owner, id) = (Owner::Tenant(action.tenant), action.id.to_string());
        self.commit_as_system("connector", "action.begin", owner, id, changes).await?;
        let version = errand.stored.version.saturating_add(1);
        Ok(Errand { stored: Stored { value: action, version, ..errand.stored }, ..errand })
    }

    async fn send(&self, errand: Errand, mut prepared: Prepared, step: &Step, last: bool) -> Carried {
        let execute = &step.execute;
        // What waits is dated when it leaves: signatures are good for minutes.
        prepared.values.facts.time = self.now();
        let id = errand.stored.value.id.to_string();
        let key = execute.idempotency_header.as_deref().map(|header| (header, id.as_str()));
        let made = match execute.request.make(prepared.reader.auth(), key, &prepared.values) {
            Ok(made) => made,
            Err(error) => return errand.failed(ActionState::Failed, &error.to_string()),
        };
        let answer = match prepared.wire.ask(made, execute.request.reads).await {
            Ok(answer) => answer,
            Err(NoAnswer::Never(failure)) => return errand.failed(ActionState::Failed, &failure.to_string()),
            Err(NoAnswer::NotNow(failure)) => return errand.again(&failure.to_string()),
            Err(NoAnswer::Perhaps(why)) => return unanswered(errand, &prepared, step, last, &why).await,
        };
        match prepared.judge(&answer, &execute.success) {
            Judgement::Holds => {}
            // Too many requests: it was turned away unread.
            Judgement::Not(why) if answer.status == 429 => return errand.again(&why),
            Judgement::Not(why) if answer.status >= 500 => {
                return unanswered(errand, &prepared, step, last, &why).await;
            }
            Judgement::Not(why) => return errand.failed(ActionState::Failed, &why),
        }
        let outputs = answer.outputs(&execute.outputs, &prepared.values);
        let (outputs, note) = match outputs {
            Ok(outputs) => (outputs, None),
            Err(error) => (Map::new(), Some(error.to_string())),
        };
        prepared.values.outputs.clone_from(&outputs);
        let mut errand = errand;
        errand.stored.value.output = Value::Object(outputs);
        self.verify(errand, &prepared, step, note).await
    }

    /// It was taken: look for the effect now, or say until when it is looked for.
    async fn verify(&self, mut errand: Errand, prepared: &Prepared, step: &Step, note: Option<String>) -> Carried {
        let Some(verify) = &step.verify else {
            return errand.done(false, "done; nothing says how to look for its effect");
        };
        if verify.by_answer {
            return match note {
                None => errand.done(true, "done; the answer says so"),
                Some(note) => errand.done(false, &format!("done; {note}")),
            };
        }
        let why = match prepared.look(step).await {
            Looked::Found => return errand.done(true, "done and verified"),
            Looked::Missing(why) | Looked::Unknown(why) => why,
        };
        let now = self.now();
        errand.call.look_at = Some(now.plus(Duration::from_secs(verify.every_secs.into())));
        errand.call.verify_by = Some(now.plus(Duration::from_secs(verify.within_secs.into())));
        errand.done(false, &format!("done; its effect does not show yet: {why}"))
    }
}

/// Ask what must hold and keep what is to be kept; the attempt's end where it does not hold or nobody answers.
async fn before(mut errand: Errand, prepared: &mut Prepared, step: &Step) -> Result<Errand, Box<Carried>> {
    if let Some(check) = &step.precondition {
        match prepared.ask(&check.request).await {
            Ok(answer) => {
                if let Judgement::Not(why) = prepared.judge(&answer, &check.success) {
                    let why = if check.otherwise.is_empty() { why } else { format!("{}: {why}", check.otherwise) };
                    let detail = format!("the precondition does not hold: {why}");
                    return Err(Box::new(errand.failed(ActionState::Refused, &detail)));
                }
            }
            Err(failure) => return Err(Box::new(not_asked(errand, "precondition", failure))),
        }
    }
    if let Some(evidence) = &step.evidence {
        let answer = match prepared.ask(&evidence.request).await {
            Ok(answer) => answer,
            Err(failure) => return Err(Box::new(not_asked(errand, "evidence", failure))),
        };
        let kept = match prepared.judge(&answer, &evidence.success) {
            Judgement::Holds => answer.outputs(&evidence.outputs, &prepared.values).map_err(|error| error.to_string()),
            Judgement::Not(why) => Err(why),
        };
        match kept {
            Ok(kept) => {
                prepared.values.evidence.clone_from(&kept);
                errand.call.evidence = kept;
            }
            Err(why) => {
                let detail = format!("the evidence that is kept first cannot be had: {why}");
                return Err(Box::new(errand.failed(ActionState::Refused, &detail)));
            }
        }
    }
    Ok(errand)
}

/// Nothing was sent yet, so it may be tried again where that can help.
fn not_asked(errand: Errand, what: &str, failure: NoAnswer) -> Carried {
    let detail = format!("the {what} could not be asked: {failure}");
    match failure {
        NoAnswer::Never(_) => errand.failed(ActionState::Failed, &detail),
        NoAnswer::NotNow(_) | NoAnswer::Perhaps(_) => errand.again(&detail),
    }
}

/// It may have arrived: what may be repeated is sent again, everything else is looked for.
async fn unanswered(errand: Errand, prepared: &Prepared, step: &Step, last: bool, why: &str) -> Carried {
    if step.may_repeat() && !last {
        // It stays marked as leaving: another attempt repeats it, and nothing else.
        let detail = why.to_owned();
        return Carried { outcome: Outcome::Retry { detail }, action: None };
    }
    settle_unknown(errand, prepared, step, why).await
}

async fn settle_unknown(errand: Errand, prepared: &Prepared, step: &Step, why: &str) -> Carried {
    match prepared.look(step).await {
        Looked::Found => errand.done(true, &format!("done and verified, though {why}")),
        Looked::Missing(found) => errand.uncertain(&format!("{why}; its effect does not show: {found}")),
        Looked::Unknown(unknown) => errand.uncertain(&format!("{why}; {unknown}")),
    }
}

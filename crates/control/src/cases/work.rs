//! Work on a case: its state, comments, tasks, and making it part of another.

use super::desk::{merged, unite, worked};
use super::{Note, case_target, entry, made, root, same, told};
use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{CaseAddComment, CaseAddTask, CaseMerge, CaseUpdate, CaseUpdateTask};
use case::{EntryKind, Status, TaskState};
use ids::{CommentId, Owner, Principal, Scope, TaskId};
use serde_json::json;
use store::{Agent, Case, CaseComment, CaseTask, Changes, ServiceKey, Stored, User};

/// Tasks and comments that one case takes: a loop must not fill the disk.
pub(crate) const WORK_MAX: usize = 2000;

/// That there is room for one more of a kind.
pub(crate) async fn room<R: store::Resource>(admitted: &Admitted<'_>, case: &Case, what: &str) -> Result<(), Refusal> {
    let (_, all) = super::belongings::<R>(&admitted.snapshot, case, WORK_MAX - 1).await?;
    if all { Ok(()) } else { Err(Refusal::conflict(format!("the case has {WORK_MAX} {what}; it takes no more"))) }
}

/// A changed case in place of the one before.
pub(crate) fn replaced(
    admitted: &Admitted<'_>,
    before: &Stored<Case>,
    case: Case,
    mut changes: Changes,
) -> Result<Outcome<api::Case>, Refusal> {
    changes.replace(&case, before.version);
    let version = before.version.saturating_add(1);
    let stored = Stored { value: case, version, created_at: before.created_at, updated_at: admitted.now };
    Ok(Outcome::changed(told::case(&stored)?, changes))
}

/// Give a case its next state.
pub(crate) fn become_status(case: &mut Case, status: Status, at: &str) -> Result<(), Refusal> {
    if !case.status.may_become(status) {
        let detail =
            format!("cannot follow `{}`; what ended is taken up again as `triage` or `in_progress`", case.status);
        return Err(Refusal::fault(at, detail));
    }
    case.status = status;
    Ok(())
}

impl Control {
    /// That this principal can be given work in a tenant: somebody of the tenant or of the provider.
    async fn check_assignee(&self, owner: Owner, assignee: &Principal) -> Result<(), Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        let id = assignee.to_string();
        let home: Option<Owner> = match assignee {
            Principal::User(_) => snapshot.read::<User>(&id).await?.map(|user| user.value.tenant.into()),
            Principal::Agent(_) => snapshot.read::<Agent>(&id).await?.map(|agent| agent.value.tenant.into()),
            Principal::Service(_) => snapshot.read::<ServiceKey>(&id).await?.map(|key| key.value.tenant.into()),
            Principal::Rule(_) | Principal::Sensor(_) | Principal::System(_) => None,
        };
        match home {
            Some(home) if home == owner || home == Owner::Provider => Ok(()),
            _ => Err(Refusal::fault(
                "/assignee",
                "is nobody who works in this tenant; name a user, an agent or a service key",
            )),
        }
    }
}

impl Handle<CaseUpdate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &CaseUpdate) -> Result<Target, Refusal> {
        case_target(look, input.case).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: CaseUpdate) -> Result<Outcome<api::Case>, Refusal> {
        let before = root(&admitted.snapshot, input.case).await?;
        admitted.check_version(input.if_match, before.version)?;
        let (mut case, mut said) = (before.value.clone(), Vec::new());
        if let Some(title) = input.title {
            said.push(format!("title: {title}"));
            case.title = title.into_string();
            case.titled = true;
        }
        let status: Option<Status> = input.status.as_ref().map(same).transpose()?;
        if let Some(status) = status {
            become_status(&mut case, status, "/status")?;
            said.push(format!("status: {status}"));
        }
        if let Some(severity) = input.severity {
            case.severity = severity;
            case.weighed = true;
            said.push(format!("severity: {}", severity_word(severity)));
        }
        match (input.assignee, input.unassign) {
            (Some(_), true) => return Err(Refusal::fault("/unassign", "stands beside `assignee`; give one of them")),
            (Some(assignee), false) => {
                self.check_assignee(admitted.target.owner, &assignee).await?;
                said.push(format!("assignee: {assignee}"));
                case.assignee = Some(assignee);
            }
            (None, true) => {
                case.assignee = None;
                said.push("assignee: nobody".to_owned());
            }
            (None, false) => {}
        }
        if let Some(tags) = input.tags {
            case.tags = tags.iter().map(|tag| tag.as_str().to_owned()).collect();
            said.push(format!("tags: {}", case.tags.iter().cloned().collect::<Vec<_>>().join(", ")));
        }
        if said.is_empty() {
            return Ok(Outcome::answer(told::case(&before)?));
        }
        worked(admitted, &mut case, status);
        let reason = if input.reason.is_empty() { String::new() } else { format!(" ({})", input.reason) };
        let note = Note::of(format!("{}{reason}", said.join("; ")));
        let mut changes = Changes::new();
        changes.create(&entry(admitted, &case, 0, EntryKind::Decided, note));
        replaced(admitted, &before, case, changes)
    }
}

fn severity_word(severity: ids::Severity) -> String {
    serde_json::to_value(severity).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Handle<CaseMerge> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &CaseMerge) -> Result<Target, Refusal> {
        let target = case_target(look, input.case).await?;
        let into = case_target(look, input.into).await?;
        // Another tenant's case is as unknown here as one that does not exist.
        if into.owner == target.owner { Ok(target) } else { Err(Refusal::not_found("case")) }
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: CaseMerge) -> Result<Outcome<api::Case>, Refusal> {
        let part = root(&admitted.snapshot, input.case).await?;
        let before = root(&admitted.snapshot, input.into).await?;
        if part.value.id == before.value.id {
            return Err(Refusal::conflict("both are one case already; name another one as `into`"));
        }
        let mut case = before.value.clone();
        unite(&mut case, &part.value, true);
        worked(admitted, &mut case, None);
        let reason = if input.reason.is_empty() { String::new() } else { format!(": {}", input.reason) };
        let (gone, into) = (part.value.id, case.id);
        let mut changes = Changes::new();
        let note = Note::of(format!("became part of {into}{reason}"));
        changes.create(&entry(admitted, &part.value, 0, EntryKind::Decided, note));
        changes.replace(&merged(part.value, into), part.version);
        let note = Note::of(format!("took in {gone}{reason}"));
        changes.create(&entry(admitted, &case, 1, EntryKind::Decided, note));
        replaced(admitted, &before, case, changes)
    }
}

impl Handle<CaseAddComment> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &CaseAddComment) -> Result<Target, Refusal> {
        case_target(look, input.case).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: CaseAddComment,
    ) -> Result<Outcome<api::CaseComment>, Refusal> {
        let case = root(&admitted.snapshot, input.case).await?.value;
        room::<CaseComment>(admitted, &case, "comments").await?;
        let comment = CaseComment {
            id: CommentId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            case: case.id,
            tenant: case.tenant,
            made: made(admitted, &json!({ "text": input.text }))?,
            text: input.text.into_string(),
        };
        let mut changes = Changes::new();
        changes.create(&comment);
        Ok(Outcome::changed(told::comment(&comment), changes))
    }
}

impl Handle<CaseAddTask> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &CaseAddTask) -> Result<Target, Refusal> {
        case_target(look, input.case).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: CaseAddTask) -> Result<Outcome<api::CaseTask>, Refusal> {
        let case = root(&admitted.snapshot, input.case).await?.value;
        room::<CaseTask>(admitted, &case, "tasks").await?;
        if let Some(assignee) = &input.assignee {
            self.check_assignee(admitted.target.owner, assignee).await?;
        }
        let task = CaseTask {
            id: TaskId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            case: case.id,
            tenant: case.tenant,
            made: made(admitted, &json!({ "title": input.title, "assignee": input.assignee }))?,
            title: input.title.into_string(),
            state: TaskState::Open,
            assignee: input.assignee,
            outcome: String::new(),
        };
        let mut changes = Changes::new();
        let note = Note::of(format!("task: {}", task.title));
        changes.create(&task).create(&entry(admitted, &case, 0, EntryKind::Decided, note));
        Ok(Outcome::changed(told::task(&task)?, changes))
    }
}

impl Handle<CaseUpdateTask> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &CaseUpdateTask) -> Result<Target, Refusal> {
        case_target(look, input.case).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: CaseUpdateTask) -> Result<Outcome<api::CaseTask>, Refusal> {
        let case = root(&admitted.snapshot, input.case).await?.value;
        let before: Stored<CaseTask> = admitted.one("task", &input.task.to_string()).await?;
        if before.value.case != case.id && !case.merged.contains(&before.value.case) {
            return Err(Refusal::not_found("task"));
        }
        let mut task = before.value.clone();
        if let Some(state) = &input.state {
            task.state = same(state)?;
        }
        if let Some(assignee) = input.assignee {
            self.check_assignee(admitted.target.owner, &assignee).await?;
            task.assignee = Some(assignee);
        }
        if let Some(outcome) = input.outcome {
            task.outcome = outcome.into_string();
        }
        let kind = if task.state == TaskState::Done { EntryKind::Done } else { EntryKind::Decided };
        let outcome = if task.outcome.is_empty() { String::new() } else { format!(": {}", task.outcome) };
        let note = Note::of(format!("task {}: {}{outcome}", task.state, task.title));
        let mut changes = Changes::new();
        changes.replace(&task, before.version).create(&entry(admitted, &case, 0, kind, note));
        Ok(Outcome::changed(told::task(&task)?, changes))
    }
}

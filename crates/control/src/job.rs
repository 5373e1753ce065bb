//! Jobs: durable background work, visible and stoppable.

//!
//! [`Leased`] is the work of one job under way: it tells how far it is, and hears that it shall end.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{JobCancel, JobGet, JobList, JobState, Page};
use ids::JobId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use store::{Approval, ApprovalState, Changes, Job, JobPage, Lease};
use tokio::sync::watch;

/// The work of one job under way.
pub(crate) struct Leased {
    going: AtomicBool,
    reached: Mutex<(u32, String)>,
}

impl Leased {
    pub(crate) fn new() -> Self {
        Self { going: AtomicBool::new(true), reached: Mutex::default() }
    }

    /// How far it is, in parts of a thousand and words; whether it shall go on.
    pub(crate) fn told(&self, permille: u32, text: &str) -> bool {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = (permille.min(1000), text.to_owned());
        self.goes_on()
    }

    /// False where the job was cancelled, its lease is lost or the platform ends.
    pub(crate) fn goes_on(&self) -> bool {
        self.going.load(Ordering::Acquire)
    }
}

impl Control {
    /// Do the work of a job while its lease is kept alive beside it; the lease's loss (a cancelled job) tells it to end.
    pub(crate) async fn while_leased<T>(
        &self,
        lease: &Lease,
        length: Duration,
        leased: &Leased,
        stop: &mut watch::Receiver<bool>,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = stop.changed(), if leased.goes_on() => leased.going.store(false, Ordering::Release),
                () = tokio::time::sleep(length / 4) => {
                    let (permille, text) = leased.reached.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    if self.store.jobs().heartbeat(lease, length, Some((permille, &text))).await.is_err() {
                        leased.going.store(false, Ordering::Release);
                    }
                }
            }
        }
    }
}

fn wire(job: Job) -> api::Job {
    api::Job {
        id: job.id,
        tenant: job.owner.tenant(),
        kind: job.kind,
        state: match job.state {
            store::JobState::Queued => JobState::Queued,
            store::JobState::Leased => JobState::Running,
            store::JobState::Done => JobState::Done,
            store::JobState::Dead => JobState::Dead,
            store::JobState::Cancelled => JobState::Cancelled,
        },
        progress_permille: job.progress_permille,
        progress: job.progress_text,
        attempts: job.attempts,
        result: job.result,
        error: job.error,
        created_at: job.created_at,
        updated_at: job.updated_at,
    }
}

const fn stored_state(state: JobState) -> store::JobState {
    match state {
        JobState::Queued => store::JobState::Queued,
        JobState::Running => store::JobState::Leased,
        JobState::Done => store::JobState::Done,
        JobState::Dead => store::JobState::Dead,
        JobState::Cancelled => store::JobState::Cancelled,
    }
}

async fn job_target(look: &Look<'_>, id: JobId) -> Result<Target, Refusal> {
    let job = look.snapshot.job(id).await?.ok_or_else(|| Refusal::not_found("job"))?;
    Ok(Target::new("Job", id.to_string(), job.owner).named(job.kind))
}

impl Handle<JobGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &JobGet) -> Result<Target, Refusal> {
        job_target(look, input.job).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: JobGet) -> Result<Outcome<api::Job>, Refusal> {
        let job = admitted.snapshot.job(input.job).await?.ok_or_else(|| Refusal::not_found("job"))?;
        Ok(Outcome::answer(wire(job)))
    }
}

impl Handle<JobList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &JobList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: JobList) -> Result<Outcome<Page<api::Job>>, Refusal> {
        let rows = admitted.rows(input.limit);
        let page = JobPage {
            owner: Some(admitted.target.owner),
            state: input.state.map(stored_state),
            kind: None,
            after: admitted.after(input.cursor.as_ref())?.and_then(|last| last.parse().ok()),
            limit: rows.saturating_add(1).min(1000),
        };
        let mut jobs = admitted.snapshot.jobs(&page).await?;
        let wanted = usize::try_from(rows).unwrap_or(usize::MAX);
        let more = jobs.len() > wanted || (rows >= 1000 && jobs.len() == wanted);
        jobs.truncate(wanted);
        let next_cursor = jobs.last().filter(|_| more).map(|last| admitted.cursor(&last.id.to_string()));
        Ok(Outcome::answer(Page { items: jobs.into_iter().map(wire).collect(), next_cursor }))
    }
}

impl Handle<JobCancel> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &JobCancel) -> Result<Target, Refusal> {
        job_target(look, input.job).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: JobCancel) -> Result<Outcome<api::Job>, Refusal> {
        let job = admitted.snapshot.job(input.job).await?.ok_or_else(|| Refusal::not_found("job"))?;
        if !matches!(job.state, store::JobState::Queued | store::JobState::Leased) {
            return Err(Refusal::conflict("the job has ended; only a queued or running one can be cancelled"));
        }
        let mut changes = Changes::new();
        changes.cancel_job(input.job, job.owner);
        // An approved call that never runs must not stand there as approved.
        if let Some(approval) = self.approval_of(&admitted.snapshot, &job).await? {
            let why = format!("the job that was to run it was cancelled by `{}`", admitted.identity.principal);
            let cancelled = Approval { state: ApprovalState::Cancelled, problem: Some(why), ..approval.value.clone() };
            changes.replace(&cancelled, approval.version);
        }
        let cancelled = Job { state: store::JobState::Cancelled, updated_at: admitted.now, ..job };
        Ok(Outcome::changed(wire(cancelled), changes))
    }
}

//! The platform's own way from findings to cases: batches that fit one commit each, through the gate as `system_cases`,
//! decided and recorded like any other call. What was told before changes nothing.

use crate::cases::told;
use crate::context::Control;
use crate::identity::Identity;
use api::{Call, CaseObserve, CaseObserved, Face, Origin, Problem, ProblemKind, Reply};
use case::Detection;
use ids::{CallId, CaseId, CredentialId, List, Owner, Principal, Scope, TenantId, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{CaseMark, Stored};
use thiserror::Error;

/// How long the identity of one batch lasts.
const BATCH_TTL: Duration = Duration::from_secs(3600);
/// Rows of one batch, by a careful count; a commit takes 1024.
const ROWS_MAX: usize = 800;
/// Rows of one detection besides those of its entities: itself, its case, its entry, cases that it ties together.
const ROWS_EACH: usize = 12;
/// Rows of one entity of a case.
const ROWS_ENTITY: usize = 3;
/// Detections of one batch.
const BATCH_MAX: usize = 200;

/// Why detections did not get into cases. They can be told again.
#[derive(Debug, Error)]
pub enum ObserveError {
    /// The tenant does not exist any more: there is nowhere to put them.
    #[error("the tenant is gone")]
    Gone,
    /// The gate refused.
    #[error("the gate refused: {0}")]
    Refused(#[source] Box<Problem>),
    /// State could not be read.
    #[error("the state cannot be read")]
    State(#[from] store::ReadError),
}

impl Control {
    /// Put findings into cases; those of several tenants may come together. `found_until` says up to where everything has
    /// been told, see [`Control::cases_found_until`]. Told again, they change nothing.
    ///
    /// # Errors
    /// [`ObserveError`]; batches before the one that failed are in.
    pub async fn observe_findings(
        &self,
        detections: Vec<Detection>,
        found_until: Option<Timestamp>,
    ) -> Result<CaseObserved, ObserveError> {
        let _turn = self.cases.turn.lock().await;
        let mut by_tenant: BTreeMap<TenantId, Vec<Detection>> = BTreeMap::new();
        for detection in detections {
            by_tenant.entry(detection.tenant).or_default().push(detection);
        }
        let mut all = CaseObserved::default();
        for (tenant, detections) in by_tenant {
            let mut batches = batches(detections).into_iter().peekable();
            while let Some(batch) = batches.next() {
                // Only the last batch says that everything was told.
                let until = found_until.filter(|_| batches.peek().is_none());
                match self.observe_batch(tenant, &batch, until).await {
                    Ok(observed) => add(&mut all, observed),
                    Err(ObserveError::Gone) => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(all)
    }

    /// Up to where a tenant's findings are in cases; none where none were told.
    ///
    /// # Errors
    /// State could not be read.
    pub async fn cases_found_until(&self, tenant: TenantId) -> Result<Option<Timestamp>, ObserveError> {
        let mark: Option<Stored<CaseMark>> =
            self.store.snapshot(Scope::Tenant(tenant)).read(&tenant.to_string()).await?;
        Ok(mark.map(|mark| mark.value.found_until))
    }

    /// One batch through the gate; one that is too large for a commit in halves.
    async fn observe_batch(
        &self,
        tenant: TenantId,
        batch: &[Detection],
        found_until: Option<Timestamp>,
    ) -> Result<CaseObserved, ObserveError> {
        match self.observe_once(tenant, batch, found_until).await {
            Err(ObserveError::Refused(problem))
                if problem.problem_kind() == ProblemKind::Internal && batch.len() > 1 =>
            {
                let (first, second) = batch.split_at(batch.len() / 2);
                let mut all = Box::pin(self.observe_batch(tenant, first, None)).await?;
                add(&mut all, Box::pin(self.observe_batch(tenant, second, found_until)).await?);
                Ok(all)
            }
            ended => ended,
        }
    }

    async fn observe_once(
        &self,
        tenant: TenantId,
        batch: &[Detection],
        found_until: Option<Timestamp>,
    ) -> Result<CaseObserved, ObserveError> {
        let detections = List::new(batch.iter().map(told::detection).collect()).unwrap_or_default();
        let input = serde_json::to_value(CaseObserve { tenant, detections, found_until });
        let input = input.map_err(|_| ObserveError::Refused(Box::new(Problem::internal())))?;
        self.call_for_cases("case.observe", input).await
    }

    /// A call of the platform for the sake of cases, through the gate.
    pub(super) async fn call_for_cases<T: serde::de::DeserializeOwned>(
        &self,
        operation: &str,
        input: serde_json::Value,
    ) -> Result<T, ObserveError> {
        let call = CallId::generate(self.clock.as_ref(), self.entropy.as_ref());
        let call = Call {
            operation: operation.to_owned(),
            input,
            credential: None,
            idempotency_key: None,
            origin: Origin { face: Face::Schedule, address: None, user_agent: None, request_id: call.to_string() },
        };
        match self.admit_as(call, Some(Arc::new(self.cases_identity()))).await {
            Reply::Done(done) => {
                serde_json::from_value(done.output).map_err(|_| ObserveError::Refused(Box::new(Problem::internal())))
            }
            Reply::Refused(problem) if problem.problem_kind() == ProblemKind::NotFound => Err(ObserveError::Gone),
            Reply::Refused(problem) => Err(ObserveError::Refused(Box::new(problem))),
            Reply::Pending(_) | Reply::Deferred(_) => {
                let detail = "policy lets the platform put findings into cases only after an approval";
                Err(ObserveError::Refused(Box::new(Problem::new(ProblemKind::Denied, detail))))
            }
        }
    }

    fn cases_identity(&self) -> Identity {
        let now = self.now();
        Identity {
            credential: CredentialId::derive(&[b"cases"]),
            principal: Principal::System("cases".to_owned()),
            home: Owner::Provider,
            issued_at: now,
            expires_at: now.plus(BATCH_TTL),
            bound: None,
            run: None,
            case: None,
            on_behalf_of: Vec::new(),
            owner: None,
            holders: Vec::new(),
            name: "cases".to_owned(),
            roles: Vec::new(),
            lent: None,
        }
    }
}

/// Cut detections into batches that fit a commit.
fn batches(detections: Vec<Detection>) -> Vec<Vec<Detection>> {
    let mut batches: Vec<Vec<Detection>> = Vec::new();
    let mut rows = usize::MAX;
    for detection in detections {
        let more = ROWS_EACH + ROWS_ENTITY * detection.entities.len();
        let full = batches.last().is_none_or(|batch| batch.len() >= BATCH_MAX || rows.saturating_add(more) > ROWS_MAX);
        if full {
            batches.push(Vec::new());
            rows = 0;
        }
        rows += more;
        if let Some(batch) = batches.last_mut() {
            batch.push(detection);
        }
    }
    batches
}

pub(super) fn add(all: &mut CaseObserved, more: CaseObserved) {
    let add = |ids: &mut Vec<CaseId>, more: Vec<CaseId>| {
        let fresh: Vec<CaseId> = more.into_iter().filter(|id| !ids.contains(id)).collect();
        ids.extend(fresh);
    };
    all.placed = all.placed.saturating_add(more.placed);
    all.known = all.known.saturating_add(more.known);
    add(&mut all.opened, more.opened);
    add(&mut all.extended, more.extended);
    add(&mut all.merged, more.merged);
}

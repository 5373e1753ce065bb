//! Questions to the lake: whose tenants one may touch, how much it may take, and turns, so that no tenant's questions
//! starve another's. A question over several tenants is decided for each of them, and recorded in each one's log.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::decide::Circumstances;
use crate::gate::Passage;
use crate::refusal::Refusal;
use crate::target::{Others, Target};
use api::{Bounds, DataPlane, Face, Problem, ProblemKind};
use ids::{List, Owner, Scope, TenantId, Text, Timestamp};
use policy::{Obligations, Outcome};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{Stored, Tenant, TenantState};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many tenants one question may touch.
const TENANTS_MAX: usize = 200;
/// Bytes of an answer to a model: about 10,000 tokens.
const MODEL_BYTES_MAX: u64 = 28_000;
/// How long a question waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one question may take.
#[derive(Clone, Copy, Debug)]
pub struct QuestionLimits {
    /// Time.
    pub time_max: Duration,
    /// Bytes of the answer, for faces other than a model's.
    pub answer_bytes_max: u64,
    /// Bytes decoded from storage.
    pub decoded_bytes_max: u64,
    /// Memory.
    pub memory_bytes_max: u64,
    /// Questions of one tenant at once.
    pub at_once_max: usize,
    /// Waiting tails of one tenant at once.
    pub tails_max: usize,
}

impl Default for QuestionLimits {
    fn default() -> Self {
        Self {
            time_max: Duration::from_secs(25),
            answer_bytes_max: 4 << 20,
            decoded_bytes_max: 16 << 30,
            memory_bytes_max: 512 << 20,
            at_once_max: 4,
            tails_max: 16,
        }
    }
}

/// Turns at asking, by tenant.
#[derive(Default)]
pub(crate) struct Turns {
    held: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Turns {
    pub(crate) async fn take(&self, key: String, most: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let turns = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            if held.len() > 10_000 {
                held.retain(|_, turns| Arc::strong_count(turns) > 1);
            }
            held.entry(key).or_insert_with(|| Arc::new(Semaphore::new(most))).clone()
        };
        match tokio::time::timeout(PATIENCE, turns.acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => {
                let detail = "too many questions about this tenant are being answered; ask again in a moment";
                Err(Problem { retry_after_secs: Some(2), ..Problem::new(ProblemKind::Overloaded, detail) }.into())
            }
        }
    }
}

impl Control {
    /// The data plane.
    pub(crate) fn plane(&self) -> Result<&dyn DataPlane, Refusal> {
        self.plane
            .as_deref()
            .ok_or_else(|| Problem::new(ProblemKind::Unavailable, "this installation runs without a data plane").into())
    }

    /// Decide the other tenants of a question, each on its own: whoever names them must be allowed in all, where nobody
    /// was named those that are not allowed are left out. The obligations of all of them hold for the whole answer.
    pub(crate) async fn settle_others(&self, passage: &Passage<'_>, target: &mut Target) -> Result<(), Refusal> {
        if target.others.tenants.is_empty() {
            return Ok(());
        }
        let (identity, spec) = (&passage.identity, passage.spec);
        let mut kept = BTreeSet::new();
        for tenant in std::mem::take(&mut target.others.tenants) {
            let one = Target::tenant(tenant);
            let (face, none) = (passage.origin.face, Circumstances::default());
            let request = self.question(identity, spec, &one, face, &none).await?;
            let (decision, _) = self.weigh_both(identity, spec, &one, (face, &none), &request).await?;
            let halted = self.halted(identity, one.owner, Some(spec));
            match decision.outcome {
                Outcome::Allow | Outcome::Modify { .. } if target.others.named => halted?,
                Outcome::Allow | Outcome::Modify { .. } if halted.is_err() => continue,
                Outcome::Allow | Outcome::Modify { .. } => {}
                _ if target.others.named => {
                    return Err(match self.may_know(passage, &one).await? {
                        false => Refusal::not_found("tenant"),
                        true => Problem::new(
                            ProblemKind::Denied,
                            format!("you may not ask this of tenant `{tenant}` together with others; ask it alone"),
                        )
                        .into(),
                    });
                }
                _ => continue,
            }
            if let Outcome::Modify { obligations } = &decision.outcome {
                target.others.obligations.tighten(obligations);
            }
            kept.insert(tenant);
        }
        if kept.len() >= TENANTS_MAX {
            let detail = format!("more than {TENANTS_MAX} tenants would be asked; name some with `tenants`");
            return Err(Refusal::fault("/tenants", detail));
        }
        target.others.tenants = kept;
        Ok(())
    }
}

/// The obligations of the other tenants, laid on a decision.
pub(crate) fn tightened(outcome: &mut Outcome, others: &Obligations) {
    if others.is_empty() {
        return;
    }
    match outcome {
        Outcome::Allow => *outcome = Outcome::Modify { obligations: others.clone() },
        Outcome::Modify { obligations } => obligations.tighten(others),
        Outcome::Defer(_) | Outcome::Deny(_) | Outcome::StepUp(_) => {}
    }
}

impl Look<'_> {
    /// Whom a question is about: the named tenant, the named tenants, the caller's own, or for the provider's principals
    /// every active tenant that policy lets.
    pub(crate) async fn asked(
        &self,
        tenant: Option<TenantId>,
        tenants: Option<&List<TenantId, 200>>,
    ) -> Result<Target, Refusal> {
        let Some(named) = tenants else { return self.asked_one(tenant).await };
        if tenant.is_some() {
            return Err(Refusal::fault("/tenants", "stands beside `tenant`; give one of them"));
        }
        let mut all: BTreeSet<TenantId> = named.iter().copied().collect();
        for tenant in &all {
            self.tenant(*tenant).await?;
        }
        let Some(first) = all.pop_first() else {
            return Err(Refusal::fault("/tenants", "is empty; name at least one tenant"));
        };
        let mut target = Target::tenant(first);
        target.others = Others { tenants: all, named: true, obligations: Obligations::default() };
        Ok(target)
    }

    async fn asked_one(&self, tenant: Option<TenantId>) -> Result<Target, Refusal> {
        let owner = self.place(tenant).await?;
        let mut target = Target::place(owner);
        if owner == Owner::Provider {
            let all: Vec<Stored<Tenant>> = crate::decide::all(self.snapshot).await?;
            let active = all.into_iter().filter(|stored| stored.value.state == TenantState::Active);
            target.others.tenants = active.map(|stored| stored.value.id).collect();
        }
        Ok(target)
    }
}

impl Admitted<'_> {
    /// The tenants of a question, as policy settled them.
    pub(crate) fn scope(&self) -> Scope {
        match (self.target.owner, self.target.others.tenants.is_empty()) {
            (Owner::Tenant(tenant), true) => Scope::Tenant(tenant),
            (owner, _) => {
                let mut tenants = self.target.others.tenants.clone();
                tenants.extend(owner.tenant());
                Scope::Tenants(tenants)
            }
        }
    }

    /// What a question may take, and where it goes on.
    pub(crate) fn bounds(&self, limit: u32, cursor: Option<&Text<1024>>) -> Result<Bounds, Refusal> {
        let model = matches!(self.face, Face::Agent | Face::Mcp);
        let mut bounds = self.bounds_under(self.obligations, limit);
        if model {
            bounds.bytes_max = MODEL_BYTES_MAX;
        }
        bounds.position = self.after(cursor)?;
        Ok(bounds)
    }

    fn bounds_under(&self, obligations: &Obligations, limit: u32) -> Bounds {
        let limits = self.control.settings.questions;
        let most = obligations.max_rows.and_then(|most| u32::try_from(most).ok()).unwrap_or(u32::MAX);
        Bounds {
            rows_max: limit.min(most).max(1),
            bytes_max: limits.answer_bytes_max,
            time_max: limits.time_max,
            decoded_bytes_max: limits.decoded_bytes_max,
            memory_bytes_max: limits.memory_bytes_max,
            masked: obligations.mask.clone(),
            position: None,
        }
    }

    /// What a call that reads the lake for another purpose may take: what this caller could read by this operation here,
    /// under the obligations that policy would lay on that. Denied where it could not.
    pub(crate) async fn bounds_of(&self, operation: &str) -> Result<Bounds, Refusal> {
        let control = self.control;
        let spec = control.registry.spec(operation);
        let spec = spec.ok_or_else(|| Refusal::bug("a read has no declaration", &operation))?;
        let place = Target::place(self.target.owner);
        let circumstances = Circumstances::default();
        let request = control.question(self.identity, spec, &place, self.face, &circumstances).await?;
        let origin = (self.face, &circumstances);
        let (decision, _) = control.weigh_both(self.identity, spec, &place, origin, &request).await?;
        match &decision.outcome {
            Outcome::Allow => Ok(self.bounds_under(&Obligations::default(), api::RowLimit::MAX)),
            Outcome::Modify { obligations } => Ok(self.bounds_under(obligations, api::RowLimit::MAX)),
            Outcome::StepUp(_) | Outcome::Defer(_) | Outcome::Deny(_) => {
                let detail = format!("this reads what `{operation}` reads, and policy does not let you do that here");
                Err(Problem::new(ProblemKind::Denied, detail).into())
            }
        }
    }

    /// The cursor around a position of the data plane.
    pub(crate) fn onward(&self, position: Option<String>) -> Option<String> {
        position.map(|position| self.cursor(&position))
    }

    /// A turn at asking.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.control.turns.take(self.turn_key(""), self.control.settings.questions.at_once_max).await
    }

    /// A turn at waiting for events.
    pub(crate) async fn tail_turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.control.turns.take(self.turn_key("tail/"), self.control.settings.questions.tails_max).await
    }

    /// One tenant's questions share its turns; questions over many share those of their caller.
    fn turn_key(&self, prefix: &str) -> String {
        match (self.target.owner, self.target.others.tenants.is_empty()) {
            (Owner::Tenant(tenant), true) => format!("{prefix}{tenant}"),
            _ => format!("{prefix}{}", self.identity.principal),
        }
    }
}

/// That a range has its ends in order.
pub(crate) fn range(since: Option<Timestamp>, until: Option<Timestamp>) -> Result<(), Refusal> {
    match (since, until) {
        (Some(since), Some(until)) if since >= until => {
            Err(Refusal::fault("/since", "is not before `until`; give the earlier instant as `since`"))
        }
        _ => Ok(()),
    }
}

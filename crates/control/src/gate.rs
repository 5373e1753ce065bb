//! The one door. Every call of a principal goes through [`Control::admit`]: authenticate, validate, resolve, decide,
//! handle, commit with its record. Nothing is done that is not recorded: where the record cannot be written, the
//! caller gets a problem and nothing has changed.

use crate::admission::{Admitted, Look};
use crate::attempts::Kind;
use crate::context::Control;
use crate::decide::{Circumstances, counter_key, minute};
use crate::identity::Identity;
use crate::masking;
use crate::outcome::After;
use crate::record::{Ending, Facts};
use crate::refusal::Refusal;
use crate::registry::{Erased, Handled, Parsed};
use crate::remembered::StoredReply;
use crate::sign_in::Second;
use crate::target::Target;
use api::{Call, Done, Effect, Origin, Problem, ProblemKind, Reply, Spec};
use audit::ApprovalUse;
use ids::{CallId, Owner, Scope, Timestamp};
use policy::{Decision, Outcome};
use seal::{Digest, canonical_json};
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;
use store::{Changes, Commit, CommitError, DecisionInput};

/// How often a call is decided and handled anew because something changed under it.
const ATTEMPTS_MAX: u32 = 8;

/// One call on its way through the gate.
pub(crate) struct Passage<'a> {
    pub(crate) call: CallId,
    pub(crate) started: Timestamp,
    pub(crate) identity: Arc<Identity>,
    pub(crate) spec: &'a Spec,
    pub(crate) handler: &'a dyn Erased,
    pub(crate) origin: Origin,
    /// The input as it came.
    pub(crate) input: Value,
    /// The input with secrets blanked, and its canonical bytes.
    pub(crate) shown: Value,
    pub(crate) shown_canonical: Vec<u8>,
    pub(crate) holds_secret: bool,
    /// Digest of operation and full input: what an idempotency key stands for.
    pub(crate) digest: [u8; 32],
    pub(crate) idempotency_key: Option<String>,
    /// Set where the call runs under an approval.
    pub(crate) approved: Option<Approved>,
}

impl Passage<'_> {
    /// What its record says.
    pub(crate) fn facts<'f>(
        &'f self,
        target: Option<&'f Target>,
        decision: Option<&'f (Decision, Digest)>,
        ending: Ending<'f>,
    ) -> Facts<'f> {
        Facts {
            call: self.call,
            started: self.started,
            identity: &self.identity,
            spec: self.spec,
            origin: &self.origin,
            target,
            decision,
            approval: self.approved.as_ref().map(|approved| &approved.approval_use),
            canonical: &self.shown_canonical,
            ending,
        }
    }
}

/// An approval under which a call runs.
pub(crate) struct Approved {
    pub(crate) counts: std::collections::BTreeMap<String, i64>,
    pub(crate) approval_use: ApprovalUse,
    /// What the execution changes besides: the approval itself, and the job that carries it.
    pub(crate) settle: Box<dyn Fn(&Value) -> Changes + Send + Sync>,
    /// The digest that was approved; another one is another call.
    pub(crate) digest: String,
}

/// How far a call came, for its record.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) target: Option<Target>,
    pub(crate) decision: Option<(Decision, Digest)>,
    /// The question that was decided; kept, so that the decision can be made again under another policy.
    pub(crate) request: Option<policy::Request>,
}

impl Control {
    /// Put one call through the gate.
    pub(crate) async fn admit(&self, call: Call) -> Reply {
        self.admit_as(call, None).await
    }

    /// Put one call through the gate; `system` is the identity of an offline command, which presents no credential
    /// because whoever can open the data folder holds everything in it. Decided and recorded like any other.
    pub(crate) async fn admit_as(&self, call: Call, system: Option<Arc<Identity>>) -> Reply {
        match self.enter(call, system).await {
            Ok(reply) => reply,
            Err(refusal) => Reply::Refused(refusal.into_problem()),
        }
    }

    async fn enter(&self, mut call: Call, system: Option<Arc<Identity>>) -> Result<Reply, Refusal> {
        let started = self.now();
        unwrap_inner_call(&mut call);
        let known = self.registry.find(&call.operation);
        // What names no operation is recorded as what carried the name, with the name in its input. It is judged still: an
        // unauthenticated caller cannot tell which operations exist.
        let Some((spec, handler)) = known.or_else(|| self.registry.find("operation.call")) else {
            return Err(Refusal::not_found("operation"));
        };
        let identity = match (system, &call.credential, spec.meta.anonymous) {
            (Some(system), ..) => system,
            (None, _, true) => self.anonymous(spec, &call.input, call.origin.address).await?,
            (None, credential, false) => self.authenticate(credential.as_ref()).await?,
        };
        self.good_for(&identity, call.origin.face, known.map(|(spec, _)| spec.meta.id))?;
        if let Err(secs) = self.rate.take(&identity.principal, started) {
            self.count_of(&identity, spec.meta.id, ProblemKind::TooManyRequests.status());
            let detail = "this principal makes more calls than its rate allows; wait and retry";
            let problem =
                Problem { retry_after_secs: Some(secs), ..Problem::new(ProblemKind::TooManyRequests, detail) };
            return Err(problem.into());
        }
        if known.is_none() {
            call.input = serde_json::json!({ "operation": call.operation, "input": call.input });
            call.idempotency_key = None;
            let passage = self.passage(call, started, identity, spec, handler)?;
            let refusal = Refusal::not_found("operation");
            return Err(self.record_refusal(&passage, &Progress::default(), refusal).await);
        }
        let origin = call.origin.clone();
        match self.passage(call, started, identity.clone(), spec, handler) {
            Ok(passage) => self.run(passage).await,
            Err(refusal) => Err(self.refuse(origin, started, identity, (spec, handler), refusal).await),
        }
    }

    /// Record a call of a known caller that got no further than its input.
    pub(crate) async fn refuse(
        &self,
        origin: Origin,
        started: Timestamp,
        identity: Arc<Identity>,
        (spec, handler): (&Spec, &dyn Erased),
        refusal: Refusal,
    ) -> Refusal {
        let operation = spec.meta.id.to_owned();
        let call = Call { operation, input: Value::Null, credential: None, idempotency_key: None, origin };
        match self.passage(call, started, identity, spec, handler) {
            Ok(passage) => self.record_refusal(&passage, &Progress::default(), refusal).await,
            Err(bug) => bug,
        }
    }

    /// The identity of a call that needs no credential: the person whose password, or provider's word, is in it.
    async fn anonymous(&self, spec: &Spec, input: &Value, address: Option<IpAddr>) -> Result<Arc<Identity>, Refusal> {
        let faulty = |problem: &Problem| self.attempts.count(Kind::of_nobody(spec.meta.id, problem.status), self.now());
        spec.validate(input).inspect_err(faulty)?;
        let user = if spec.meta.id == "me.login_oidc" {
            let login: api::MeLoginOidc = spec.read(input).inspect_err(faulty)?;
            self.sign_in_through(&login, address).await?
        } else {
            let login: api::MeLogin = spec.read(input).inspect_err(faulty)?;
            let totp = Second::Asked(login.totp.as_ref().map(|code| code.reveal()));
            self.sign_in(login.email.as_str(), login.password.reveal(), totp, address).await?.value.id
        };
        let principal = ids::Principal::User(user);
        let identity = self.identity_for(&self.store.snapshot(Scope::Provider), &principal).await?;
        identity.map(Arc::new).ok_or_else(|| crate::authenticate::unauthenticated().into())
    }

    pub(crate) fn passage<'a>(
        &self,
        call: Call,
        started: Timestamp,
        identity: Arc<Identity>,
        spec: &'a Spec,
        handler: &'a dyn Erased,
    ) -> Result<Passage<'a>, Refusal> {
        let mut shown = call.input.clone();
        let holds_secret = masking::blank_secrets(&spec.input_schema, &mut shown);
        // What has no canonical form is over a limit of the schema too, which knows the field.
        let canonical = canonical_json(&call.input).map_err(|error| {
            spec.validate(&call.input).err().unwrap_or_else(|| Problem::fault("", error.to_string()))
        })?;
        let shown_canonical = if holds_secret { canonical_json(&shown).unwrap_or_default() } else { canonical.clone() };
        // Keyed, so that nobody who reads the store can guess a secret from its digest.
        let digest = self.cursors.tag(&[b"call", spec.meta.id.as_bytes(), &canonical]);
        Ok(Passage {
            call: CallId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            started,
            identity,
            spec,
            handler,
            origin: call.origin,
            input: call.input,
            shown,
            shown_canonical,
            holds_secret,
            digest,
            idempotency_key: call.idempotency_key.filter(|_| spec.meta.effect != Effect::Read),
            approved: None,
        })
    }

    /// Run a passage to its end, and record a refusal where it comes to one.
    pub(crate) async fn run(&self, passage: Passage<'_>) -> Result<Reply, Refusal> {
        let mut progress = Progress::default();
        match self.answer_once(&passage, &mut progress).await {
            Ok(reply) => Ok(reply),
            Err(refusal) => Err(self.record_refusal(&passage, &progress, refusal).await),
        }
    }

    /// The earlier answer to this idempotency key, or that of the call.
    async fn answer_once(&self, passage: &Passage<'_>, progress: &mut Progress) -> Result<Reply, Refusal> {
        // A killed credential gets nothing back either, least of all a secret that was shown once.
        self.halted(&passage.identity, passage.identity.place(), Some(passage.spec))?;
        if let Some(reply) = self.replayed(passage).await? {
            return self.record_replay(passage, reply).await;
        }
        match self.tries(passage, progress).await {
            Err(Refusal::Commit(CommitError::IdempotencyRace)) => {
                let reply = self.replayed(passage).await?;
                let reply = reply.ok_or(Refusal::Commit(CommitError::IdempotencyRace))?;
                self.record_replay(passage, reply).await
            }
            ended => ended,
        }
    }

    async fn tries(&self, passage: &Passage<'_>, progress: &mut Progress) -> Result<Reply, Refusal> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.attempt(passage, progress).await {
                Err(Refusal::Commit(CommitError::Conflict { .. } | CommitError::Guarded)) if attempt < ATTEMPTS_MAX => {
                    // Guarded means that the switch was engaged, or that rights changed: deciding anew tells which.
                    *progress = Progress::default();
                }
                ended => return ended,
            }
        }
    }

    async fn attempt(&self, passage: &Passage<'_>, progress: &mut Progress) -> Result<Reply, Refusal> {
        let Passage { identity, spec, .. } = passage;
        self.halted(identity, identity.place(), Some(passage.spec))?;
        spec.validate(&passage.input)?;
        let parsed = passage.handler.parse(spec, &passage.input)?;
        let reach = self.store.snapshot(identity.reach());
        let look = Look { control: self, identity, snapshot: &reach };
        let target = progress.target.insert(passage.handler.resolve(&look, &parsed).await?);
        self.settle_others(passage, target).await?;
        let target = &*target;
        // Taken before anything is read for the decision: what changes from here on is noticed at the commit.
        let stamp = identity.stamp(&self.freshness, Some(target.owner));
        self.halted(identity, target.owner, Some(passage.spec))?;
        self.within_charter(identity, spec)?;
        self.within_charter_outside(identity, spec).await?;
        self.within_lent(identity, spec)?;
        if let Some(approved) = &passage.approved
            && approved.digest != self.call_digest(passage, target)
        {
            return Err(Refusal::conflict("the call's target is not the one that was approved; propose it anew"));
        }
        let circumstances = Circumstances {
            recent_count: self.recent_count(identity, spec).await?,
            approvals: passage.approved.as_ref().map(|approved| approved.counts.clone()).unwrap_or_default(),
        };
        let request = self.question(identity, spec, target, passage.origin.face, &circumstances).await?;
        let origin = (passage.origin.face, &circumstances);
        let weighed = self.weigh_both(identity, spec, target, origin, &request).await?;
        let decision = progress.decision.insert(weighed);
        let request = &*progress.request.insert(request);
        crate::asking::tightened(&mut decision.0.outcome, &target.others.obligations);
        let decision = &*decision;
        match &decision.0.outcome {
            Outcome::Deny(deny) => Err(self.denied(passage, target, &decision.0, deny.human_only).await?),
            Outcome::StepUp(_) | Outcome::Defer(_) if passage.approved.is_some() => {
                let detail = "policy changed meanwhile: the approvals that were given are not enough any more";
                Err(Problem::new(ProblemKind::Denied, detail).into())
            }
            Outcome::StepUp(_) | Outcome::Defer(_) => self.propose(passage, target, (decision, request), stamp).await,
            Outcome::Allow => self.carry_out(passage, &reach, target, decision, parsed, request, stamp).await,
            Outcome::Modify { .. } => self.carry_out(passage, &reach, target, decision, parsed, request, stamp).await,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the facts of one decided call; a struct would only rename them")]
    async fn carry_out(
        &self,
        passage: &Passage<'_>,
        reach: &store::Snapshot,
        target: &Target,
        decision: &(Decision, Digest),
        parsed: Parsed,
        request: &policy::Request,
        stamp: u64,
    ) -> Result<Reply, Refusal> {
        let none = policy::Obligations::default();
        let obligations = if let Outcome::Modify { obligations } = &decision.0.outcome { obligations } else { &none };
        let filter = filter_of(passage);
        let admitted = Admitted {
            control: self,
            call: passage.call,
            identity: &passage.identity,
            target,
            snapshot: self.store.snapshot(Scope::from(target.owner)),
            reach,
            now: passage.started,
            obligations,
            operation: passage.spec.meta.id,
            filter: &filter,
            face: passage.origin.face,
            approval: passage.approved.as_ref().map(|approved| approved.approval_use.approval),
        };
        let mut handled = passage.handler.handle(&admitted, parsed).await?;
        masking::mask(&obligations.mask, &mut handled.output);
        let entry = self.leaf(&passage.facts(Some(target), Some(decision), Ending::of(200)))?;
        let Handled { output, mut changes, leaves, after } = handled;
        if let Some(approved) = &passage.approved {
            let mut visible = output.clone();
            masking::blank_secrets(passage.spec.output_schema(), &mut visible);
            changes.append((approved.settle)(&visible));
        }
        changes.append(self.trace(passage, target)?);
        let mut commit = Commit::new(passage.started, entry).changes(changes);
        for leaf in leaves.into_iter().chain(self.leaves_of_others(passage, target, decision)?) {
            commit = commit.record(leaf);
        }
        let tainting = self.tainting(&passage.identity, passage.spec);
        let tainted = tainting.as_ref().map(|(run, _)| *run);
        if let Some((_, taint)) = tainting {
            commit = commit.changes(taint);
        }
        commit = self.guarded(commit, passage, target.owner, stamp);
        commit = self.counted(commit, passage, target.owner, request);
        let done = Done { call: passage.call, output, obligations: told(obligations), replayed: false };
        if let Some(record) = self.remember(passage, target.owner, || StoredReply::done(&done))? {
            commit = commit.idempotency(record);
        }
        self.store.commit(commit).await?;
        if let Some(run) = tainted {
            self.has_tainted(run);
        }
        self.refresh(after).await?;
        Ok(Reply::Done(done))
    }

    /// The same call in the logs of the other tenants that it looked into. Without its input, which names them all.
    fn leaves_of_others(
        &self,
        passage: &Passage<'_>,
        target: &Target,
        decision: &(Decision, Digest),
    ) -> Result<Vec<store::AuditEntry>, Refusal> {
        let mut leaves = Vec::new();
        for (part, tenant) in (2_u8..).zip(&target.others.tenants) {
            let other = Target::tenant(*tenant);
            let entry = self.leaf(&Facts {
                call: passage.call,
                started: passage.started,
                identity: &passage.identity,
                spec: passage.spec,
                origin: &passage.origin,
                target: Some(&other),
                decision: Some(decision),
                approval: None,
                canonical: &passage.shown_canonical,
                ending: Ending::of(200),
            })?;
            leaves.push(store::AuditEntry { part, payload: None, ..entry });
        }
        Ok(leaves)
    }

    /// A commit that goes through only while the kill switch does not hold the caller and, for anything but a look, while
    /// the rights that were decided on are still those that hold.
    pub(crate) fn guarded(&self, commit: Commit, passage: &Passage<'_>, owner: Owner, stamp: u64) -> Commit {
        let exposure = passage.identity.exposure(owner, Some(passage.spec));
        let (inner, identity) = (self.inner.clone(), passage.identity.clone());
        let looks = passage.spec.meta.effect == Effect::Read;
        commit.guard(move || {
            let fresh = looks || identity.stamp(&inner.freshness, Some(owner)) == stamp;
            fresh && inner.kill.halts(&exposure).is_none()
        })
    }

    fn counted(&self, commit: Commit, passage: &Passage<'_>, owner: Owner, request: &policy::Request) -> Commit {
        if passage.spec.meta.effect == Effect::Read {
            return commit;
        }
        let commit = commit.count(counter_key(&passage.identity.principal, passage.spec), minute(passage.started));
        asked(commit, passage, owner, request)
    }

    /// After a commit: bring what is derived from state up to date before anyone is answered.
    pub(crate) async fn refresh(&self, after: After) -> Result<(), Refusal> {
        match after {
            After::Nothing => Ok(()),
            After::Touched(keys) => {
                keys.iter().for_each(|key| self.freshness.touch(key));
                Ok(())
            }
            After::Policies => self.load_policies().await,
            After::KillSwitch => self.load_kill_switch().await,
            After::Lake(tenant, keys) => {
                keys.iter().for_each(|key| self.freshness.touch(key));
                self.set_up_tenant(tenant).await
            }
            After::SigningKey => self.load_signing_key().await,
        }
    }
}

/// A commit with the question that was decided.
pub(crate) fn asked(commit: Commit, passage: &Passage<'_>, owner: Owner, request: &policy::Request) -> Commit {
    match serde_json::to_vec(request) {
        Ok(body) => commit.decision_input(DecisionInput { call: passage.call, owner, body }),
        Err(_) => commit,
    }
}

/// `operation.call` is a face: decision, digest and record are those of the call inside.
fn unwrap_inner_call(call: &mut Call) {
    if call.operation == "operation.call"
        && let Ok(inner) = serde_json::from_value::<api::OperationCall>(call.input.clone())
    {
        call.operation = inner.operation.into_string();
        call.input = Value::Object(inner.input);
    }
}

/// The canonical input without what positions a page.
fn filter_of(passage: &Passage<'_>) -> Vec<u8> {
    // How long to wait for what comes next; what comes is the same.
    const POSITIONS: [&str; 3] = ["cursor", "limit", "wait_secs"];
    if !POSITIONS.iter().any(|name| passage.shown.get(name).is_some()) {
        return passage.shown_canonical.clone();
    }
    let mut filter = passage.shown.clone();
    if let Some(fields) = filter.as_object_mut() {
        fields.retain(|name, _| !POSITIONS.contains(&name.as_str()));
    }
    canonical_json(&filter).unwrap_or_default()
}

fn told(obligations: &policy::Obligations) -> Vec<(api::Obligation, Value)> {
    let mut told = Vec::new();
    told.extend(obligations.max_rows.map(|rows| (api::Obligation::MaxRows, Value::from(rows))));
    told.extend(obligations.ttl_secs_max.map(|secs| (api::Obligation::TtlSecsMax, Value::from(secs))));
    if !obligations.mask.is_empty() {
        told.push((api::Obligation::Mask, Value::from_iter(obligations.mask.iter().cloned())));
    }
    told
}

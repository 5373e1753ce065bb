//! Shippers: a key is judged, the body read, the data plane takes it, and what happened is counted. One record for each
//! source and minute, never one for each batch. Must never tell a stranger which tenants or sources exist, and never
//! read a body before the key is found good.

use crate::authenticate::unauthenticated;
use crate::context::Control;
use crate::freshness::Freshness;
use crate::refusal::Refusal;
use api::{
    BodyFault, Delivered, Delivery, Future, IngestBody, IngestRequest, Intake, Problem, ProblemKind, SyslogStream,
    TurnedAway,
};
use audit::Aggregate;
use ids::{CredentialId, Owner, Scope, TenantId, Text, Timestamp};
use seal::{Digest, Token};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use store::{AuditEntry, Commit, IngestKey, Source, Stored, Tenant, TenantState};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Keys that are kept; past this number all are dropped and read again.
const KEYS_MAX: usize = 50_000;
/// Sources that are counted apart; a tenant cannot have more without the oldest minute being written early.
const COUNTED_MAX: usize = 10_000;
/// How often counts become records.
const MINUTE: Duration = Duration::from_secs(60);
/// Records in one commit.
const RECORDS_MAX: usize = 200;
/// Bytes that one permit of memory stands for.
const MEMORY_UNIT: u64 = 64 << 10;
/// How long a shipper waits for memory before it is told to come back.
const MEMORY_PATIENCE: Duration = Duration::from_secs(2);

/// A key that was good when it was read.
struct Known {
    id: CredentialId,
    tenant: TenantId,
    source: Text<64>,
    expires_at: Timestamp,
    enabled: bool,
}

impl Known {
    fn stamp(&self, freshness: &Freshness) -> u64 {
        let keys = [self.id.to_string(), self.tenant.to_string(), Source::key(self.tenant, &self.source)];
        freshness.stamp(keys.iter().map(String::as_str))
    }
}

/// What came in for one source since the last record.
#[derive(Clone, Debug)]
struct Counts {
    since: Timestamp,
    until: Timestamp,
    batches: u64,
    records: u64,
    bytes: u64,
    rejected: u64,
    refused: BTreeMap<&'static str, u64>,
}

/// What the gate keeps of shippers.
pub(crate) struct IngestState {
    keys: RwLock<HashMap<Digest, (u64, Arc<Known>)>>,
    counts: Mutex<BTreeMap<(TenantId, Text<64>), Counts>>,
    memory: Semaphore,
}

impl IngestState {
    pub(crate) fn new(memory_bytes_max: u64) -> Self {
        let units =
            usize::try_from(memory_bytes_max / MEMORY_UNIT).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Self { keys: RwLock::default(), counts: Mutex::default(), memory: Semaphore::new(units) }
    }

    /// Room for a body of at most so many bytes.
    async fn room(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let units = u32::try_from(bytes / MEMORY_UNIT + 1).unwrap_or(u32::MAX);
        tokio::time::timeout(MEMORY_PATIENCE, self.memory.acquire_many(units)).await.ok()?.ok()
    }

    fn count(&self, known: &Known, now: Timestamp, bytes: u64, answer: &Delivered) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Counts {
            since: now,
            until: now,
            batches: 0,
            records: 0,
            bytes: 0,
            rejected: 0,
            refused: BTreeMap::new(),
        };
        let entry = counts.entry((known.tenant, known.source.clone())).or_insert_with(fresh);
        entry.until = now;
        match answer.refused {
            Some(why) => *entry.refused.entry(why).or_default() += 1,
            None => {
                entry.batches = entry.batches.saturating_add(1);
                entry.records = entry.records.saturating_add(answer.records);
                entry.bytes = entry.bytes.saturating_add(bytes);
            }
        }
        entry.rejected = entry.rejected.saturating_add(answer.rejected);
    }

    /// The counts that are a minute old, or all of them; starting anew.
    fn take(&self, due: Option<Timestamp>) -> Vec<((TenantId, Text<64>), Counts)> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let crowded = counts.len() > COUNTED_MAX;
        let ripe = |one: &Counts| crowded || due.is_none_or(|due| one.since <= due);
        let (taken, left) = std::mem::take(&mut *counts).into_iter().partition(|(_, one)| ripe(one));
        *counts = left;
        let taken: BTreeMap<_, _> = taken;
        taken.into_iter().collect()
    }
}

/// Why a shipper is turned away, with the source that counts it where its key was good.
struct Turned {
    why: TurnedAway,
    known: Option<Arc<Known>>,
}

impl From<TurnedAway> for Turned {
    fn from(why: TurnedAway) -> Self {
        Self { why, known: None }
    }
}

impl Control {
    /// The key behind a credential, where it is good for this source.
    async fn judge(&self, request: &IngestRequest) -> Result<Result<Arc<Known>, Turned>, Refusal> {
        let token = request.credential.as_ref().and_then(|presented| Token::parse(presented.reveal()));
        let known = match token {
            Some(token) => self.known_key(token.lookup_hash()).await?,
            None => None,
        };
        let now = self.now();
        let Some(known) = known.filter(|known| known.expires_at > now) else {
            self.attempts.count(crate::attempts::Kind::of_nobody("authenticate", 401), now);
            return Ok(Err(TurnedAway::Unauthenticated.into()));
        };
        // A source of another name, there or not, of this tenant or not, is answered alike: the key is for one source.
        let meant = request.source.as_deref().is_none_or(|named| named == known.source.as_str());
        if meant && known.enabled {
            return Ok(Ok(known));
        }
        Ok(Err(Turned { why: TurnedAway::Forbidden, known: Some(known) }))
    }

    async fn known_key(&self, hash: Digest) -> Result<Option<Arc<Known>>, Refusal> {
        let changes = self.freshness.changes();
        {
            let keys = self.ingest.keys.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((stamp, known)) = keys.get(&hash)
                && *stamp == known.stamp(&self.freshness)
            {
                return Ok(Some(known.clone()));
            }
        }
        let snapshot = self.store.snapshot(Scope::Provider);
        let Some(key) = snapshot.find_one::<IngestKey>("hash", &hash.to_string()).await? else { return Ok(None) };
        let IngestKey { id, tenant, source, expires_at, revoked, .. } = key.value;
        let stored: Option<Stored<Tenant>> = snapshot.read(&tenant.to_string()).await?;
        let active = stored.is_some_and(|stored| stored.value.state == TenantState::Active);
        let found: Option<Stored<Source>> = snapshot.read(&Source::key(tenant, &source)).await?;
        let Some(found) = found.filter(|_| active && !revoked) else { return Ok(None) };
        let enabled = found.value.enabled;
        let known = Arc::new(Known { id, tenant, source: Text::truncated(&source), expires_at, enabled });
        // Kept only if nothing changed while it was read.
        if self.freshness.changes() == changes {
            let mut keys = self.ingest.keys.write().unwrap_or_else(PoisonError::into_inner);
            if keys.len() >= KEYS_MAX {
                keys.clear();
            }
            keys.insert(hash, (known.stamp(&self.freshness), known.clone()));
        }
        Ok(Some(known))
    }

    async fn take_delivery(&self, request: IngestRequest, body: Box<dyn IngestBody>) -> Delivered {
        let protocol = request.protocol;
        let Some(plane) = self.plane.clone() else { return unavailable() };
        let turned = match self.judge(&request).await {
            Ok(Ok(known)) => return self.hand_over(plane.as_ref(), known, request, body).await,
            Ok(Err(turned)) => turned,
            Err(refusal) => {
                let problem = refusal.into_problem();
                tracing::error!(%problem, "a shipper's key cannot be judged");
                Turned::from(TurnedAway::Busy { retry_after_secs: 5 })
            }
        };
        self.turn_away(plane.as_ref(), protocol, &turned)
    }

    fn turn_away(&self, plane: &dyn api::DataPlane, protocol: api::Protocol, turned: &Turned) -> Delivered {
        let answer = Delivered { refused: Some(turned.why.as_str()), ..plane.turn_away(protocol, &turned.why) };
        if let Some(known) = &turned.known {
            self.ingest.count(known, self.now(), 0, &answer);
        }
        answer
    }

    async fn hand_over(
        &self,
        plane: &dyn api::DataPlane,
        known: Arc<Known>,
        request: IngestRequest,
        body: Box<dyn IngestBody>,
    ) -> Delivered {
        let protocol = request.protocol;
        let bytes_max = self.settings.ingest_body_bytes_max;
        let away = |why| self.turn_away(plane, protocol, &Turned { why, known: Some(known.clone()) });
        if request.content_length.is_some_and(|length| length > bytes_max) {
            return away(TurnedAway::TooLarge { bytes_max });
        }
        let Some(_room) = self.ingest.room(request.content_length.unwrap_or(bytes_max)).await else {
            return away(TurnedAway::Busy { retry_after_secs: 2 });
        };
        let body = match body.read(bytes_max).await {
            Ok(body) => body,
            Err(BodyFault::TooLarge) => return away(TurnedAway::TooLarge { bytes_max }),
            // Nobody is there to be answered.
            Err(BodyFault::Broken) => return Delivered { status: 400, ..Delivered::default() },
        };
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let answer = plane
            .deliver(Delivery {
                tenant: known.tenant,
                source: known.source.clone(),
                key: known.id.to_string(),
                protocol,
                method: request.method,
                path: request.path,
                query: request.query,
                headers: request.headers,
                peer: request.peer,
                body,
            })
            .await;
        if bytes > 0 || answer.refused.is_some() {
            self.ingest.count(&known, self.now(), bytes, &answer);
        }
        answer
    }

    /// Counts that are a minute old, as records.
    pub(crate) async fn record_ingest_due(&self) -> Result<(), Refusal> {
        self.write_counts(Some(self.now().minus(MINUTE))).await
    }

    /// All counts, as records.
    pub(crate) async fn record_ingest(&self) -> Result<(), Refusal> {
        self.write_counts(None).await
    }

    async fn write_counts(&self, due: Option<Timestamp>) -> Result<(), Refusal> {
        let taken = self.ingest.take(due);
        for chunk in taken.chunks(RECORDS_MAX) {
            let mut entries = Vec::with_capacity(chunk.len());
            for ((tenant, source), counts) in chunk {
                entries.push(self.counts_leaf(*tenant, source, counts)?);
            }
            let mut entries = entries.into_iter();
            let Some(first) = entries.next() else { continue };
            let commit = entries.fold(Commit::new(self.now(), first), Commit::record);
            self.store.commit(commit).await?;
        }
        Ok(())
    }

    fn counts_leaf(&self, tenant: TenantId, source: &Text<64>, counts: &Counts) -> Result<AuditEntry, Refusal> {
        let refused: u64 = counts.refused.values().sum();
        let count = counts.batches.saturating_add(refused).max(1);
        let aggregate = Aggregate { count, since: counts.since, until: counts.until };
        let detail = json!({
            "source": source,
            "batches": counts.batches,
            "records": counts.records,
            "bytes": counts.bytes,
            "rejected": counts.rejected,
            "refused": counts.refused,
        });
        let (target, owner) = (Some(Source::key(tenant, source)), Owner::Tenant(tenant));
        self.detailed_leaf("ingest", "source.receive", owner, target, Some(aggregate), &detail)
    }
}

/// The answer of an installation that takes no telemetry.
fn unavailable() -> Delivered {
    let problem = Problem::new(ProblemKind::Unavailable, "this installation runs without a data plane");
    Delivered {
        status: problem.status,
        content_type: "application/problem+json",
        body: serde_json::to_vec(&problem).unwrap_or_default(),
        refused: Some("unavailable"),
        ..Delivered::default()
    }
}

impl Intake for Control {
    fn ingest(&self, request: IngestRequest, body: Box<dyn IngestBody>) -> Future<'_, Delivered> {
        Box::pin(self.take_delivery(request, body))
    }

    fn hec_health(&self) -> Delivered {
        self.plane.as_ref().map_or_else(unavailable, |plane| plane.hec_health())
    }

    fn syslog(
        &self,
        tenant: TenantId,
        source: Text<64>,
        datagrams: bool,
    ) -> Future<'_, Result<Box<dyn SyslogStream>, Problem>> {
        Box::pin(async move {
            let Some(plane) = &self.plane else {
                return Err(
                    Refusal::from(Problem::new(ProblemKind::Unavailable, "there is no data plane")).into_problem()
                );
            };
            let stored = self.store.snapshot(Scope::Tenant(tenant));
            let known: Option<Stored<Tenant>> =
                stored.read(&tenant.to_string()).await.map_err(|error| Refusal::from(error).into_problem())?;
            if !known.is_some_and(|known| known.value.state == TenantState::Active) {
                return Err(unauthenticated());
            }
            let id = Source::key(tenant, &source);
            let found: Option<Stored<Source>> =
                stored.read(&id).await.map_err(|error| Refusal::from(error).into_problem())?;
            match found {
                Some(found) if found.value.enabled => Ok(plane.syslog(tenant, source, datagrams)),
                _ => Err(Problem::not_found("source")),
            }
        })
    }
}

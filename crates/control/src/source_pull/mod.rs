//! Reads sources from object stores: lists a prefix, takes each object once by key and entity tag, and remembers it when its
//! records are durable. What a crash left between the two is sent again under the same names, by which the log knows it.
//! Must never remember what is not durable, never hold more than one object of a source in memory, and never let one tenant's
//! store, slow or endless, hold up another's.

mod look;

use self::look::Look;
use crate::context::Control;
use crate::refusal::Refusal;
use action::{Bucket, BucketError, Credentials};
use api::Told;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::{Owner, Scope, TenantId, Text, Timestamp};
use seal::Digest;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use store::{BucketState, Changes, CommitError, PulledObject, Resource as _, Source, SourceBucket, Stored, sortable};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The name under which the platform does this.
const WORKER: &str = "bucket-reader";
/// How often it is looked whether a prefix is due.
const ROUND: Duration = Duration::from_millis(500);
/// Prefixes that are read at once, each of another tenant.
const AT_ONCE: usize = 2;
/// Prefixes that one round finds due.
const DUE_MAX: u32 = 500;
/// How long one look takes on before it lets others have their turn; the next one goes on where it was.
const LOOK_TIME: Duration = Duration::from_secs(300);
/// Bytes of one object as it is stored.
const OBJECT_BYTES_MAX: usize = 64 << 20;

/// What a sealed secret is bound to.
pub(crate) fn context(source: &str, endpoint: &str) -> Vec<u8> {
    format!("bucket/{source}/{endpoint}").into_bytes()
}

/// The bucket of a source; or why it may not be spoken to.
pub(crate) fn bucket_at(bucket: &SourceBucket, secret: Option<String>, inside: &[String]) -> Result<Bucket, String> {
    let credentials = bucket.access_key_id.clone().zip(secret).map(|(access_key_id, secret_access_key)| Credentials {
        access_key_id,
        secret_access_key,
        session_token: None,
        region: bucket.region.clone(),
        service: "s3".to_owned(),
    });
    Bucket::at(&bucket.endpoint, &bucket.bucket, credentials, inside, OBJECT_BYTES_MAX).map_err(|error| match error {
        BucketError::NoAnswer(egress::Failure::NotAllowed { destination }) => format!(
            "`{destination}` is not spoken to without TLS; use https, or name the host in the server's `connector_hosts_inside`"
        ),
        other => other.to_string(),
    })
}

/// The first 16 bytes of the digests of objects that were taken, with when they were.
type Known = HashMap<[u8; 16], Timestamp>;

/// What is known of a source's objects.
#[derive(Default)]
struct Board {
    /// Those that are done with.
    known: Known,
    /// Those in whose midst a look broke off.
    begun: HashMap<[u8; 16], Stored<PulledObject>>,
}

/// What is known of objects without asking the store, by source; read once, and anew where something went wrong.
type Boards = Arc<Mutex<HashMap<String, Board>>>;

/// Why a look at a prefix ended early.
enum Ended {
    /// It is set otherwise meanwhile, or the platform ends: nothing to say.
    Quietly,
    /// Something that a person should see.
    With(String),
}

impl From<BucketError> for Ended {
    fn from(error: BucketError) -> Self {
        Self::With(error.to_string())
    }
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Commit(CommitError::Conflict { .. }) => Self::Quietly,
            other => Self::With(other.into_problem().detail),
        }
    }
}

/// How a look went that came to its end.
#[derive(Default)]
struct Seen {
    /// Whether the prefix was listed to its end.
    listed: bool,
    /// What a person should see.
    problem: Option<String>,
}

impl Control {
    /// Read what is due until `stop` says so.
    pub(crate) async fn read_buckets(self, mut stop: watch::Receiver<bool>) {
        let Some(plane) = &self.plane else { return };
        tokio::select! {
            () = plane.recovered() => {}
            _ = stop.changed() => return,
        }
        let boards = Boards::default();
        let mut looks: JoinSet<()> = JoinSet::new();
        let mut busy: HashMap<tokio::task::Id, TenantId> = HashMap::new();
        while !*stop.borrow() {
            while let Some(ended) = looks.try_join_next_with_id() {
                let task = match ended {
                    Ok((task, ())) => task,
                    Err(error) => {
                        tracing::error!(%error, "a look at an object store ended early");
                        error.id()
                    }
                };
                busy.remove(&task);
            }
            match self.due_buckets().await {
                Ok(due) => {
                    for state in due {
                        let (id, tenant) = (state.value.id(), state.value.tenant);
                        if busy.len() >= AT_ONCE || busy.values().any(|own| *own == tenant) {
                            continue;
                        }
                        let (control, boards, stop) = (self.clone(), boards.clone(), stop.clone());
                        let task = looks.spawn(async move { control.look_at(&id, &boards, stop).await });
                        busy.insert(task.id(), tenant);
                    }
                }
                Err(refusal) => tracing::error!(?refusal, "object stores were not looked at; it is tried again"),
            }
            tokio::select! {
                _ = stop.changed() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
        looks.shutdown().await;
    }

    async fn due_buckets(&self) -> Result<Vec<Stored<BucketState>>, Refusal> {
        let (from, to) = (sortable(Timestamp::default()), sortable(self.now().plus(Duration::from_micros(1))));
        Ok(self.store.snapshot(Scope::Provider).range("due", &from, &to, DUE_MAX).await?)
    }

    /// Look at one prefix, and leave behind how it went.
    async fn look_at(&self, id: &str, boards: &Boards, stop: watch::Receiver<bool>) {
        let ended = self.take_look(id, boards, stop).await;
        let Seen { listed, problem } = match ended {
            Ok(seen) => seen,
            Err(Ended::Quietly) => return,
            Err(Ended::With(problem)) => {
                // What is kept in memory may be behind what is stored.
                boards.lock().await.remove(id);
                Seen { listed: false, problem: Some(problem) }
            }
        };
        if let Err(refusal) = self.looked(id, listed, problem).await {
            tracing::warn!(source = id, ?refusal, "how an object store fares was not written");
        }
    }

    /// A source that is switched off is not looked at.
    async fn take_look(&self, id: &str, boards: &Boards, stop: watch::Receiver<bool>) -> Result<Seen, Ended> {
        let snapshot = self.store.snapshot(Scope::Provider);
        let config: Option<Stored<SourceBucket>> = snapshot.read(id).await.map_err(Refusal::from)?;
        let source: Option<Stored<Source>> = snapshot.read(id).await.map_err(Refusal::from)?;
        let (Some(config), Some(source)) = (config, source) else { return Ok(Seen::default()) };
        let owner = config.value.owner();
        if !source.value.enabled || !crate::authenticate::tenant_active(&snapshot, owner).await? {
            return Ok(Seen::default());
        }
        let secret = self.bucket_secret(&config.value)?;
        let inside = &self.settings.connector_hosts_inside;
        let bucket = bucket_at(&config.value, secret, inside).map_err(Ended::With)?;
        let held = boards.lock().await.remove(id);
        let board = match held {
            Some(board) => board,
            None => self.known_objects(id, owner).await?,
        };
        let plane = self.plane()?;
        let fresh_since = Instant::now();
        let mut look = Look {
            control: self,
            plane,
            config,
            bucket,
            board,
            fresh: Vec::new(),
            fresh_since,
            until: fresh_since + LOOK_TIME,
            refused: 0,
            why: None,
            stop,
        };
        let ended = look.read_all().await;
        // What was taken before it broke off is durable, and so it is remembered.
        let kept = look.remember().await;
        let listed = kept.and(ended)?;
        boards.lock().await.insert(id.to_owned(), look.board);
        let refused = look.refused;
        let problem = look.why.map(|why| format!("{refused} objects were refused, the others taken; {why}"));
        Ok(Seen { listed, problem })
    }

    fn bucket_secret(&self, bucket: &SourceBucket) -> Result<Option<String>, Refusal> {
        let Some(sealed) = &bucket.secret else { return Ok(None) };
        let sealed = STANDARD.decode(sealed).map_err(|error| Refusal::bug("a sealed secret is no base64", &error))?;
        let opened = self.keys.open(Owner::Tenant(bucket.tenant), &context(&bucket.id(), &bucket.endpoint), &sealed);
        let opened = opened.map_err(|error| Refusal::bug("a sealed secret does not open", &error))?;
        let text = std::str::from_utf8(opened.expose()).map_err(|error| Refusal::bug("a secret is no text", &error))?;
        Ok(Some(text.to_owned()))
    }

    async fn known_objects(&self, id: &str, owner: Owner) -> Result<Board, Refusal> {
        let snapshot = self.store.snapshot(Scope::from(owner));
        let (mut board, mut after) = (Board::default(), None);
        loop {
            let page = store::Page {
                owner: Some(owner),
                key: Some(("source", id.to_owned())),
                after,
                limit: 1000,
                ..store::Page::default()
            };
            let found: Vec<Stored<PulledObject>> = snapshot.list(&page).await?;
            after = found.last().map(|last| last.value.id());
            let last = found.len() < 1000;
            for one in found {
                let Some(name) = short(&one.value.digest) else { continue };
                if one.value.begun.is_some() {
                    board.begun.insert(name, one);
                } else {
                    board.known.insert(name, one.value.at);
                }
            }
            if last {
                return Ok(board);
            }
        }
    }

    /// Set the clock forward, and say what is the matter where that is new.
    async fn looked(&self, id: &str, listed: bool, problem: Option<String>) -> Result<(), Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        let config: Option<Stored<SourceBucket>> = snapshot.read(id).await?;
        let state: Option<Stored<BucketState>> = snapshot.read(id).await?;
        let (Some(config), Some(state)) = (config, state) else { return Ok(()) };
        let now = self.now();
        if let (Some(problem), None) = (&problem, &state.value.problem) {
            let title = format!("Source `{}` cannot be read from its object store", state.value.source);
            let key = format!("bucket/{id}/{}", now.as_micros());
            self.tell_of_bucket(&state.value, "posse.source.bucket", &title, problem, &key).await?;
        }
        let next_at = now.plus(Duration::from_secs(config.value.every_secs.max(10).into()));
        let problem = problem.map(|problem| problem.chars().take(1000).collect());
        let listed_at = if listed { Some(now) } else { state.value.listed_at };
        let mut changes = Changes::new();
        changes.replace(&BucketState { next_at, problem, listed_at, ..state.value.clone() }, state.version);
        match self.commit_as_system(WORKER, "source.look", state.value.owner(), id.to_owned(), changes).await {
            // It was set otherwise, and is due at once.
            Ok(()) | Err(Refusal::Commit(CommitError::Conflict { .. })) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    async fn tell_of_bucket(
        &self,
        state: &BucketState,
        uid: &str,
        title: &str,
        detail: &str,
        key: &str,
    ) -> Result<(), Refusal> {
        let told = Told {
            tenant: state.tenant,
            uid: Text::truncated(uid),
            title: Text::truncated(title),
            detail: Text::truncated(detail),
            about: Text::truncated(&format!("source/{}", state.source)),
            key: Text::truncated(key),
            at: self.now(),
        };
        Ok(self.plane()?.tell(told).await?)
    }
}

/// The head of a digest.
fn short(digest: &str) -> Option<[u8; 16]> {
    Digest::from_hex(digest).ok()?.as_bytes().first_chunk().copied()
}

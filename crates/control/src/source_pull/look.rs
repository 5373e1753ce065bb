//! One look at a prefix: every page, every object that is not known, its records to the log, what was taken to the store.
//! Must never remember what is not durable, and never hold more than one object in memory.

use super::{Board, Ended, OBJECT_BYTES_MAX, WORKER, short};
use crate::context::Control;
use crate::refusal::Refusal;
use action::{Bucket, BucketError, Object};
use api::{DataPlane, Delivery, Protocol};
use bytes::Bytes;
use event::read::{ReadFault, each_record};
use ids::{Scope, Text, Timestamp};
use seal::Digest;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::Duration;
use store::{BucketState, Changes, PulledObject, Resource as _, SourceBucket, Stored};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Bytes of one object unpacked.
const UNPACKED_BYTES_MAX: usize = 256 << 20;
/// Pages of one listing.
const PAGES_MAX: u32 = 2000;
/// Objects of one look that the store may refuse before the key is at fault and not they.
const REFUSED_MAX: u32 = 10;
/// Records and bytes of one delivery.
const BODY_RECORDS: u64 = 10_000;
const BODY_BYTES: usize = 4 << 20;
/// Objects of one source that are known at most.
const OBJECTS_MAX: usize = 200_000;
/// Objects that one commit remembers, and how long the first of them waits for it: far fewer and far shorter than what the log
/// knows again, which is its last 65,536 batches of all sources.
const REMEMBERED_AT_ONCE: usize = 50;
const REMEMBERED_WITHIN: Duration = Duration::from_secs(2);
/// How long an object that is listed no more is remembered.
const GONE_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often a delivery is sent again before the object waits for the next look.
const TRIES_MAX: u32 = 30;
/// What the digest of an object is over.
const DIGEST_DOMAIN: &str = "posse pulled object";

/// One look at a prefix.
pub(super) struct Look<'a> {
    pub(super) control: &'a Control,
    pub(super) plane: &'a dyn DataPlane,
    pub(super) config: Stored<SourceBucket>,
    pub(super) bucket: Bucket,
    pub(super) board: Board,
    /// Taken and not remembered yet, and since when.
    pub(super) fresh: Vec<PulledObject>,
    pub(super) fresh_since: Instant,
    /// When it lets others have their turn.
    pub(super) until: Instant,
    /// Objects that the store did not give, and what it said of the first.
    pub(super) refused: u32,
    pub(super) why: Option<String>,
    pub(super) stop: watch::Receiver<bool>,
}

impl Look<'_> {
    /// Every page of the listing, every object on it that is not known; whether it came to the end.
    pub(super) async fn read_all(&mut self) -> Result<bool, Ended> {
        let (mut after, mut listed): (Option<String>, _) = (None, HashSet::new());
        for _ in 0..PAGES_MAX {
            let now = self.control.now();
            let page = self.bucket.list(&self.config.value.prefix, after.as_deref(), now).await?;
            for object in page.objects {
                let digest = self.digest(&object);
                let Some(name) = short(&digest) else { continue };
                if listed.len() >= OBJECTS_MAX {
                    return Err(Ended::With(format!(
                        "more than {OBJECTS_MAX} objects are listed; read a narrower prefix"
                    )));
                }
                listed.insert(name);
                if self.late() {
                    return Ok(false);
                }
                if !self.board.known.contains_key(&name) {
                    self.take(object, digest, name).await?;
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => {
                    self.forget(&listed).await?;
                    return Ok(true);
                }
            }
        }
        Err(Ended::With(format!("the listing has more than {PAGES_MAX} pages; read a narrower prefix")))
    }

    /// Whether others should have their turn.
    fn late(&self) -> bool {
        Instant::now() >= self.until
    }

    fn digest(&self, object: &Object) -> String {
        let SourceBucket { endpoint, bucket, .. } = &self.config.value;
        let parts = [endpoint.as_bytes(), bucket.as_bytes(), object.key.as_bytes(), object.etag.as_bytes()];
        Digest::framed(DIGEST_DOMAIN, &parts).to_hex()
    }

    async fn take(&mut self, object: Object, digest: String, name: [u8; 16]) -> Result<(), Ended> {
        if *self.stop.borrow() {
            return Err(Ended::Quietly);
        }
        if self.board.known.len() >= OBJECTS_MAX {
            let why =
                format!("more than {OBJECTS_MAX} objects are known; read a narrower prefix, or let old ones expire");
            return Err(Ended::With(why));
        }
        let mut taken = PulledObject {
            tenant: self.config.value.tenant,
            source: self.config.value.source.clone(),
            digest,
            key: object.key.clone(),
            etag: object.etag.clone(),
            bytes: object.bytes,
            records: 0,
            unreadable: 0,
            begun: None,
            problem: None,
            at: self.control.now(),
        };
        if object.bytes > u64::try_from(OBJECT_BYTES_MAX).unwrap_or(u64::MAX) {
            taken.problem =
                Some(format!("has {} bytes, at most {OBJECT_BYTES_MAX} are read; write smaller objects", object.bytes));
        } else if object.bytes > 0 {
            match self.bucket.get(&object, taken.at).await {
                Ok(bytes) => {
                    if let Err(ended) = self.deliver(bytes, &mut taken, name).await {
                        if taken.begun.is_some() {
                            taken.problem = Some("was not read to its end yet; the rest follows".to_owned());
                            self.fresh.push(taken);
                        }
                        return Err(ended);
                    }
                    taken.begun = None;
                }
                // The next listing has what stands there now.
                Err(BucketError::Changed) => return Ok(()),
                Err(error) if is_alone(&error) => taken.problem = Some(error.to_string()),
                // Not remembered, and so asked for again by the next look; the others are not held up by it.
                Err(error @ BucketError::Refused { .. }) if self.refused < REFUSED_MAX => {
                    self.refused = self.refused.saturating_add(1);
                    let key = &object.key;
                    self.why.get_or_insert_with(|| format!("the first is `{key}`: {error}"));
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.board.known.insert(name, taken.at);
        if self.fresh.is_empty() {
            self.fresh_since = Instant::now();
        }
        self.fresh.push(taken);
        let enough = self.fresh.len() >= REMEMBERED_AT_ONCE || self.fresh_since.elapsed() >= REMEMBERED_WITHIN;
        if enough { self.remember().await } else { Ok(()) }
    }

    /// Send an object's records, in bodies that are cut alike each time; those that an earlier look sent are passed over. What
    /// is durable when it breaks off is noted in `taken`.
    async fn deliver(&self, bytes: Bytes, taken: &mut PulledObject, name: [u8; 16]) -> Result<(), Ended> {
        let before = self.board.begun.get(&name).map(|one| &one.value);
        let durable = before.and_then(|before| before.begun).unwrap_or(0);
        taken.records = before.map_or(0, |before| before.records);
        let (out, mut bodies) = mpsc::channel(1);
        let reading = tokio::task::spawn_blocking(move || cut(&bytes, &out));
        let mut number = 0_u32;
        while let Some(body) = bodies.recv().await {
            if number >= durable {
                let batch = format!("{}/{number}", taken.digest);
                taken.records = taken.records.saturating_add(self.send(body, batch).await?);
                taken.begun = Some(number.saturating_add(1));
            }
            number = number.saturating_add(1);
        }
        match reading.await {
            Ok(Ok(unreadable)) => taken.unreadable = unreadable,
            Ok(Err(fault)) => taken.problem = Some(fault.to_string()),
            Err(error) => return Err(Ended::With(format!("an object's reader ended early: {error}"))),
        }
        Ok(())
    }

    /// Send one body until it is durable; how many records it has.
    async fn send(&self, body: Vec<u8>, name: String) -> Result<u64, Ended> {
        let delivery = Delivery {
            tenant: self.config.value.tenant,
            source: Text::truncated(&self.config.value.source),
            key: "bucket".to_owned(),
            protocol: Protocol::Ndjson,
            method: "POST".to_owned(),
            path: String::new(),
            query: Vec::new(),
            headers: vec![("idempotency-key", name)],
            peer: None,
            body,
        };
        for _ in 0..TRIES_MAX {
            let answer = self.plane.deliver(delivery.clone()).await;
            if answer.status == 200 {
                return Ok(answer.records);
            }
            let wait = answer.headers.iter().find(|(name, _)| *name == "retry-after");
            let Some(secs) = wait.and_then(|(_, secs)| secs.parse::<u64>().ok()) else {
                let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                let detail = told.get("detail").and_then(serde_json::Value::as_str).unwrap_or("no reason was given");
                return Err(Ended::With(format!("the log did not take an object's records: {detail}")));
            };
            let mut stop = self.stop.clone();
            tokio::select! {
                _ = stop.changed() => return Err(Ended::Quietly),
                () = tokio::time::sleep(Duration::from_secs(secs.clamp(1, 60))) => {}
            }
            if self.late() {
                break;
            }
        }
        Err(Ended::With("the log is busy; what is left is taken at the next look".to_owned()))
    }

    /// Remember what was taken, in one commit with the counts.
    pub(super) async fn remember(&mut self) -> Result<(), Ended> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let (id, owner) = (self.config.value.id(), self.config.value.owner());
        let fresh = std::mem::take(&mut self.fresh);
        let state: Option<Stored<BucketState>> =
            self.control.store.snapshot(Scope::from(owner)).read(&id).await.map_err(Refusal::from)?;
        let Some(state) = state else { return Err(Ended::Quietly) };
        let mut next = state.value.clone();
        let mut changes = Changes::new();
        for object in &fresh {
            let begun = short(&object.digest).and_then(|name| self.board.begun.remove(&name));
            match begun {
                Some(begun) => changes.replace(object, begun.version),
                None => changes.create(object),
            };
            if object.begun.is_some() {
                continue;
            }
            next.objects = next.objects.saturating_add(1);
            next.records = next.records.saturating_add(object.records);
            next.bytes = next.bytes.saturating_add(object.bytes);
            next.unreadable =
                next.unreadable.saturating_add(object.unreadable).saturating_add(u64::from(object.problem.is_some()));
        }
        changes.replace(&next, state.version).expect::<SourceBucket>(&id, self.config.version);
        self.control.commit_as_system(WORKER, "source.pull", owner, id.clone(), changes).await?;
        self.tell_unreadable(&next, &fresh).await
    }

    /// A finding where objects could not be read: one for each source and day.
    async fn tell_unreadable(&self, state: &BucketState, fresh: &[PulledObject]) -> Result<(), Ended> {
        let Some(first) = fresh.iter().find(|one| one.problem.is_some() && one.begun.is_none()) else { return Ok(()) };
        let title = format!("Objects of source `{}` cannot be read", state.source);
        let why = first.problem.as_deref().unwrap_or_default();
        let detail = format!("`{}`: {why}; see `source.list_objects` for all", first.key);
        let day = self.control.now().as_micros().div_euclid(86_400_000_000);
        let key = format!("bucket/{}/unreadable/{day}", self.config.value.id());
        Ok(self.control.tell_of_bucket(state, "posse.source.object_unreadable", &title, &detail, &key).await?)
    }

    /// Forget objects that are listed no more, once nobody is likely to put them there again.
    async fn forget(&mut self, listed: &HashSet<[u8; 16]>) -> Result<(), Ended> {
        self.remember().await?;
        let before = self.control.now().minus(GONE_KEPT);
        let gone = |(name, at): (&[u8; 16], &Timestamp)| (!listed.contains(name) && *at < before).then_some(*name);
        let gone: HashSet<[u8; 16]> = self.board.known.iter().filter_map(gone).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let (id, owner) = (self.config.value.id(), self.config.value.owner());
        let snapshot = self.control.store.snapshot(Scope::from(owner));
        let mut after = None;
        loop {
            let key = Some(("source", id.clone()));
            let page = store::Page { owner: Some(owner), key, after, limit: 500, ..store::Page::default() };
            let found: Vec<Stored<PulledObject>> = snapshot.list(&page).await.map_err(Refusal::from)?;
            after = found.last().map(|last| last.value.id());
            let last = found.len() < 500;
            let mut changes = Changes::new();
            let ours = |one: &&Stored<PulledObject>| short(&one.value.digest).is_some_and(|name| gone.contains(&name));
            for one in found.iter().filter(ours) {
                changes.delete::<PulledObject>(&one.value.id(), owner, one.version);
            }
            if !changes.is_empty() {
                self.control.commit_as_system(WORKER, "source.forget_objects", owner, id.clone(), changes).await?;
            }
            if last {
                self.board.known.retain(|name, _| !gone.contains(name));
                return Ok(());
            }
        }
    }
}

/// Whether only this object cannot be read: it lies in an archive, or has a key that no address holds. The others are not
/// held up by it. What a key may not read is another matter: it is read as soon as the key may.
fn is_alone(error: &BucketError) -> bool {
    match error {
        BucketError::Refused { code, .. } => code == "InvalidObjectState",
        BucketError::Form(_) => true,
        _ => false,
    }
}

/// An object's records as bodies of JSON lines; how many of them could not be read.
fn cut(bytes: &[u8], out: &mpsc::Sender<Vec<u8>>) -> Result<u64, ReadFault> {
    let (mut body, mut records, mut unreadable) = (Vec::new(), 0_u64, 0_u64);
    each_record(bytes, UNPACKED_BYTES_MAX, |_, record| {
        let Ok(record) = record else {
            unreadable = unreadable.saturating_add(1);
            return ControlFlow::Continue(());
        };
        // A record of several lines is JSON, where a line's end is white space.
        body.extend(record.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        body.push(b'\n');
        records = records.saturating_add(1);
        if records < BODY_RECORDS && body.len() < BODY_BYTES {
            return ControlFlow::Continue(());
        }
        records = 0;
        // Where nobody listens any more the look has ended.
        let sent = out.blocking_send(std::mem::take(&mut body));
        if sent.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if records > 0 {
        let _ = out.blocking_send(body);
    }
    Ok(unreadable)
}

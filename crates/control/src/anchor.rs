//! Anchors: checkpoints put outside, where whoever can change this installation's state cannot change them too. Each anchor goes by
//! itself, and a failing one is loud: in `audit.list_anchors`, in the measurements, and with a record when it begins and ends.
//!
//! Must never write to the log for an anchor that succeeds: each record makes another checkpoint, which would be anchored again.

use crate::admission::{Admitted, Look};
use crate::audit_log::{hashes_for, note_text};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::settings::Anchor;
use crate::target::Target;
use api::{AuditAnchor, AuditListAnchors, Page};
use audit::{ANCHORED_MAX, AnchorLine, Checkpoint, FormatVersion, Note};
use ids::{List, Owner, Scope, Text, Timestamp};
use place::Place;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use store::Commit;

mod place;

pub(crate) use place::AnchorFault;

/// How often an anchor looks whether it is due.
const ROUND: Duration = Duration::from_millis(250);
/// How soon at most a failed attempt is made again.
const AGAIN: Duration = Duration::from_secs(15);

/// The anchors of this installation.
pub(crate) struct Anchors(Vec<Held>);

/// One anchor with what became of it.
pub(crate) struct Held {
    name: String,
    every: Duration,
    place: Place,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Sizes that were put there.
    anchored: BTreeMap<Owner, u64>,
    anchored_at: Option<Timestamp>,
    checkpoints: u64,
    failures: u32,
    failing_since: Option<Timestamp>,
    error: Option<String>,
}

impl Anchors {
    /// The anchors of these settings.
    pub(crate) fn new(anchors: &[Anchor]) -> Result<Self, (String, AnchorFault)> {
        let hold = |anchor: &Anchor| {
            let place = Place::new(&anchor.place).map_err(|fault| (anchor.name.clone(), fault))?;
            let every = anchor.every.max(Duration::from_secs(1));
            Ok(Held { name: anchor.name.clone(), every, place, state: Mutex::default() })
        };
        Ok(Self(anchors.iter().map(hold).collect::<Result<_, _>>()?))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl Held {
    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn wire(&self) -> AuditAnchor {
        let state = self.state();
        AuditAnchor {
            name: self.name.clone(),
            kind: self.place.kind(),
            place: self.place.shown(),
            failing: state.error.is_some(),
            anchored_at: state.anchored_at,
            anchored_size: state.anchored.get(&Owner::Provider).copied(),
            checkpoints: state.checkpoints,
            failures: state.failures,
            failing_since: state.failing_since,
            error: state.error,
        }
    }
}

impl Handle<AuditListAnchors> for Control {
    fn plain(&self, _: Owner, _: &crate::Identity) -> Option<Target> {
        Some(Target::provider())
    }

    async fn resolve(&self, _: &Look<'_>, _: &AuditListAnchors) -> Result<Target, Refusal> {
        Ok(Target::provider())
    }

    async fn handle(&self, _: &Admitted<'_>, _: AuditListAnchors) -> Result<Outcome<Page<AuditAnchor>>, Refusal> {
        Ok(Outcome::answer(Page { items: self.anchor_states(), next_cursor: None }))
    }
}

impl Control {
    /// What became of the anchors since the start, for measurements too.
    #[must_use]
    pub fn anchor_states(&self) -> Vec<AuditAnchor> {
        self.anchors.0.iter().map(Held::wire).collect()
    }

    /// Run one anchor until `stop` says so.
    pub(crate) async fn anchor_forever(self, number: usize, mut stop: tokio::sync::watch::Receiver<bool>) {
        let Some(held) = self.anchors.0.get(number) else { return };
        let mut due = self.now();
        let mut known = false;
        while !*stop.borrow() {
            if self.now() >= due {
                let tried = self.anchor(held, &mut known).await;
                let wait = if tried.is_ok() { held.every } else { held.every.min(AGAIN) };
                due = self.now().plus(wait);
                self.ended(held, tried).await;
            }
            tokio::select! {
                _ = stop.changed() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    /// Put what is new there; how many checkpoints that were.
    async fn anchor(&self, held: &Held, known: &mut bool) -> Result<u64, String> {
        let storage = |refusal: Refusal| {
            tracing::warn!(anchor = %held.name, ?refusal, "the log cannot be read for an anchor");
            "the log cannot be read".to_owned()
        };
        if !*known {
            self.compare(held).await?;
            *known = true;
        }
        let fresh = self.unanchored(&held.state()).await.map_err(storage)?;
        let mut put = 0_u64;
        for some in fresh.chunks(ANCHORED_MAX) {
            let notes = some.iter().map(|(_, _, note)| Text::truncated(note)).collect();
            let line = AnchorLine {
                checkpoints: List::new(notes).unwrap_or_default(),
                log: Text::truncated(self.log_name.as_str()),
                time: self.now(),
                v: FormatVersion,
            };
            let line = line.encode().ok_or("the checkpoints have no canonical form")?;
            held.place.put(line, self.now()).await?;
            held.change(|state| state.anchored.extend(some.iter().map(|(owner, size, _)| (*owner, *size))));
            put = put.saturating_add(u64::try_from(some.len()).unwrap_or(0));
        }
        Ok(put)
    }

    /// The newest checkpoint of each tree that grew since it was anchored.
    async fn unanchored(&self, state: &State) -> Result<Vec<(Owner, u64, String)>, Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        let mut fresh = Vec::new();
        for tree in self.store.audit_backlog().await? {
            let before = state.anchored.get(&tree.tree).copied().unwrap_or(0);
            if tree.size <= before {
                continue;
            }
            let newest = snapshot.latest_checkpoint(tree.tree).await?.filter(|newest| newest.size > before);
            if let Some(newest) = newest {
                fresh.push((tree.tree, newest.size, note_text(&newest)?));
            }
        }
        Ok(fresh)
    }

    /// Hold the log against what an earlier process put there, where that can be read back: a log that is shorter or another one
    /// is not anchored over it.
    async fn compare(&self, held: &Held) -> Result<(), String> {
        let Some(kept) = held.place.kept().await? else { return Ok(()) };
        let origin = self.log_name.origin(Owner::Provider);
        let heads = kept.iter().flat_map(|line| line.checkpoints.iter()).filter_map(|note| {
            let note = Note::parse(note.as_str()).ok()?;
            Checkpoint::from_text(note.unchecked_text()).ok().filter(|head| head.origin == origin)
        });
        // The provider's tree commits to the tenants'.
        let Some(last) = heads.max_by_key(|head| head.size) else { return Ok(()) };
        let snapshot = self.store.snapshot(Scope::Provider);
        let now = snapshot.tree(Owner::Provider).await.map_err(|_| "the log cannot be read".to_owned())?;
        let size = now.map_or(0, |tree| tree.size);
        if size < last.size {
            let before = last.size;
            return Err(format!("THE LOG WAS ROLLED BACK: {before} records were anchored, and it has {size}"));
        }
        let hashes = hashes_for(&snapshot, Owner::Provider, &[last.size.saturating_sub(1)], last.size).await;
        let root = hashes.ok().and_then(|hashes| audit::root_at(&hashes, last.size).ok());
        if root != Some(last.root) {
            return Err(format!(
                "THE LOG WAS REPLACED: its first {} records are not those that were anchored",
                last.size
            ));
        }
        held.change(|state| {
            state.anchored.insert(Owner::Provider, last.size);
        });
        Ok(())
    }

    /// Note how an attempt ended; a record where that is news.
    async fn ended(&self, held: &Held, tried: Result<u64, String>) {
        let (now, before) = (self.now(), held.state());
        let news = match &tried {
            Ok(put) => {
                held.change(|state| {
                    if *put > 0 {
                        state.anchored_at = Some(now);
                    }
                    state.checkpoints = state.checkpoints.saturating_add(*put);
                    (state.failures, state.failing_since, state.error) = (0, None, None);
                });
                before.error.is_some().then_some(("audit.anchor_recover", json!({ "anchor": held.name })))
            }
            Err(error) => {
                tracing::error!(anchor = %held.name, %error, "checkpoints are not anchored; it is tried again");
                held.change(|state| {
                    state.failures = state.failures.saturating_add(1);
                    state.failing_since.get_or_insert(now);
                    state.error = Some(error.clone());
                });
                let news = json!({ "anchor": held.name, "error": error });
                before.error.is_none().then_some(("audit.anchor_fail", news))
            }
        };
        if let Some((operation, detail)) = news {
            let target = Some(held.name.clone());
            let leaf = self.detailed_leaf("anchor", operation, Owner::Provider, target, None, &detail);
            let committed = match leaf {
                Ok(leaf) => self.store.commit(Commit::new(now, leaf)).await.map(|_| ()).map_err(Refusal::from),
                Err(refusal) => Err(refusal),
            };
            if let Err(refusal) = committed {
                tracing::error!(anchor = %held.name, ?refusal, "that an anchor fails, or does again, is not on the record");
            }
        }
    }
}

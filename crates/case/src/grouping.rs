//! Which case a detection joins. Two detections of one tenant belong together where they share a linking entity within its
//! window; cases are what hangs together, so that the order of arrival does not matter while no bound is met. Must never
//! put detections of two tenants on one board.

use crate::linking::{LinkRule, Linking};
use crate::{Detection, Entity, Islands};
use ids::{CaseId, TenantId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use thiserror::Error;

/// A detection came to the board of another tenant: a bug of the caller.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Error)]
#[error("the detection is of another tenant than the board")]
pub struct OtherTenant;

/// What the board knows of an open case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Known {
    /// The case.
    pub id: CaseId,
    /// The earliest detection in it.
    pub first: Timestamp,
    /// The latest.
    pub last: Timestamp,
    /// How many detections it holds.
    pub detections: u64,
    /// Somebody works on it: it is not merged into another by itself.
    pub worked: bool,
    /// Cases that were merged into it.
    pub merges: usize,
}

impl Known {
    /// Who takes in the others: what is worked on, then the oldest.
    fn rank(&self) -> (bool, Timestamp, CaseId) {
        (!self.worked, self.first, self.id)
    }
}

/// An entity in a case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bond {
    /// When it was seen there.
    pub islands: Islands,
    /// On which hosts, as far as they are kept.
    pub hosts: BTreeSet<String>,
    /// In how many detections.
    pub count: u64,
    /// When it was seen and tied: a hash of a common program, say, is seen and does not.
    pub ties: Islands,
}

/// Where a detection went.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placed {
    /// The case.
    pub case: CaseId,
    /// It was opened for this detection.
    pub opened: bool,
    /// Cases that became part of it, because the detection ties them together.
    pub absorbed: Vec<CaseId>,
    /// Cases that it is tied to and that take no more, or that somebody works on.
    pub related: Vec<CaseId>,
}

/// The open cases of one tenant, as far as they matter to the detections at hand.
#[derive(Clone, Debug)]
pub struct Board<'a> {
    tenant: TenantId,
    linking: &'a Linking,
    cases: BTreeMap<CaseId, Known>,
    bonds: BTreeMap<Entity, BTreeMap<CaseId, Bond>>,
    touched: BTreeSet<(CaseId, Entity)>,
}

impl<'a> Board<'a> {
    /// An empty board.
    #[must_use]
    pub fn new(tenant: TenantId, linking: &'a Linking) -> Self {
        Self { tenant, linking, cases: BTreeMap::new(), bonds: BTreeMap::new(), touched: BTreeSet::new() }
    }

    /// Put an open case on the board.
    pub fn know(&mut self, case: Known) {
        self.cases.insert(case.id, case);
    }

    /// Put an entity of a case on the board; what is there of it already is united with this.
    pub fn bind(&mut self, case: CaseId, entity: Entity, bond: &Bond) {
        let window = self.linking.rule(entity.kind()).map_or(Duration::MAX, |rule| rule.window());
        unite(self.bonds.entry(entity).or_default().entry(case).or_insert_with(empty), bond, window);
    }

    /// Whether the board knows this case.
    #[must_use]
    pub fn knows(&self, case: CaseId) -> bool {
        self.cases.contains_key(&case)
    }

    /// What the board knows of a case now.
    #[must_use]
    pub fn case(&self, case: CaseId) -> Option<&Known> {
        self.cases.get(&case)
    }

    /// The entities of cases that detections touched, as they are now.
    pub fn touched(&self) -> impl Iterator<Item = (CaseId, &Entity, &Bond)> {
        self.touched.iter().filter_map(|(case, entity)| {
            let (entity, bonds) = self.bonds.get_key_value(entity)?;
            Some((*case, entity, bonds.get(case)?))
        })
    }

    /// Place a detection; `fresh` names a case where one is opened. A detection that was placed before must not come again:
    /// who holds the detections knows that.
    ///
    /// # Errors
    /// [`OtherTenant`].
    pub fn place(&mut self, detection: &Detection, fresh: impl FnOnce() -> CaseId) -> Result<Placed, OtherTenant> {
        if detection.tenant != self.tenant {
            return Err(OtherTenant);
        }
        let (mut joined, mut related) = (BTreeSet::new(), BTreeSet::new());
        for link in self.linking.links(detection) {
            let bonds = self.bonds.get(link.entity);
            let common = bonds.is_some_and(|bonds| everywhere(bonds.values(), detection, link.rule));
            for (id, bond) in bonds.into_iter().flatten() {
                let Some(case) = self.cases.get(id) else { continue };
                if holds(bond, detection, link.rule, common) {
                    if self.takes(case, detection) {
                        joined.insert(*id)
                    } else {
                        related.insert(*id)
                    };
                }
            }
        }
        let Some(survivor) = joined.iter().filter_map(|id| self.cases.get(id)).min_by_key(|case| case.rank()) else {
            let case = self.open(detection, fresh());
            return Ok(Placed { case, opened: true, absorbed: Vec::new(), related: related.into_iter().collect() });
        };
        let survivor = survivor.id;
        let mut absorbed = Vec::new();
        for id in joined.into_iter().filter(|id| *id != survivor) {
            if self.may_merge(survivor, id) {
                self.merge(survivor, id);
                absorbed.push(id);
            } else {
                related.insert(id);
            }
        }
        self.join(survivor, detection);
        Ok(Placed { case: survivor, opened: false, absorbed, related: related.into_iter().collect() })
    }

    /// Put a detection into a case, whatever ties it to others; a case that the board does not know is put on it.
    pub fn put(&mut self, case: CaseId, detection: &Detection) {
        if self.knows(case) {
            self.join(case, detection);
        } else {
            self.open(detection, case);
        }
    }

    /// Whether a case has room for a detection.
    fn takes(&self, case: &Known, detection: &Detection) -> bool {
        let span = case.last.max(detection.time).since(case.first.min(detection.time));
        let bounds = self.linking.bounds();
        case.detections < bounds.detections_max && span.as_secs() <= bounds.span_secs_max
    }

    fn may_merge(&self, survivor: CaseId, other: CaseId) -> bool {
        let (Some(one), Some(other)) = (self.cases.get(&survivor), self.cases.get(&other)) else { return false };
        let span = one.last.max(other.last).since(one.first.min(other.first));
        let bounds = self.linking.bounds();
        !other.worked
            && one.detections.saturating_add(other.detections) <= bounds.detections_max
            && one.merges.saturating_add(other.merges).saturating_add(1) <= bounds.merges_max
            && span.as_secs() <= bounds.span_secs_max
    }

    fn open(&mut self, detection: &Detection, id: CaseId) -> CaseId {
        let (first, last) = (detection.time, detection.time);
        self.know(Known { id, first, last, detections: 0, worked: false, merges: 0 });
        self.join(id, detection);
        id
    }

    fn join(&mut self, id: CaseId, detection: &Detection) {
        if let Some(case) = self.cases.get_mut(&id) {
            case.first = case.first.min(detection.time);
            case.last = case.last.max(detection.time);
            case.detections = case.detections.saturating_add(1);
        }
        let linking: BTreeSet<&Entity> = self.linking.links(detection).map(|link| link.entity).collect();
        let entities: BTreeSet<&Entity> = detection.entities.iter().collect();
        for entity in entities {
            let rule = self.linking.rule(entity.kind());
            let islands = island(detection.time);
            let seen = Bond {
                ties: if linking.contains(entity) { islands.clone() } else { Islands::default() },
                islands,
                hosts: detection.host().map(str::to_owned).into_iter().collect(),
                count: 1,
            };
            let window = rule.map_or(Duration::MAX, |rule| rule.window());
            let bond = self.bonds.entry(entity.clone()).or_default().entry(id).or_insert_with(empty);
            unite(bond, &seen, window);
            self.touched.insert((id, entity.clone()));
        }
    }

    /// Make one case part of another.
    fn merge(&mut self, survivor: CaseId, other: CaseId) {
        let Some(gone) = self.cases.remove(&other) else { return };
        if let Some(case) = self.cases.get_mut(&survivor) {
            case.first = case.first.min(gone.first);
            case.last = case.last.max(gone.last);
            case.detections = case.detections.saturating_add(gone.detections);
            case.merges = case.merges.saturating_add(gone.merges).saturating_add(1);
        }
        for (entity, bonds) in &mut self.bonds {
            let Some(bond) = bonds.remove(&other) else { continue };
            let window = self.linking.rule(entity.kind()).map_or(Duration::MAX, |rule| rule.window());
            unite(bonds.entry(survivor).or_insert_with(empty), &bond, window);
            self.touched.remove(&(other, entity.clone()));
            self.touched.insert((survivor, entity.clone()));
        }
    }
}

/// Whether an entity was seen lately on as many hosts, in all cases together, as its rule lets link.
fn everywhere<'b>(bonds: impl Iterator<Item = &'b Bond>, detection: &Detection, rule: LinkRule) -> bool {
    let Some(most) = rule.hosts_max else { return false };
    let near = bonds.filter(|bond| bond.ties.near(detection.time, rule.window()));
    near.flat_map(|bond| &bond.hosts).collect::<BTreeSet<_>>().len() >= most
}

/// Whether an entity of a case ties a detection to it; what is `common` draws in no host that is not there.
fn holds(bond: &Bond, detection: &Detection, rule: LinkRule, common: bool) -> bool {
    let room = !common || detection.host().is_none_or(|host| bond.hosts.contains(host));
    room && bond.ties.near(detection.time, rule.window())
}

fn empty() -> Bond {
    Bond { islands: Islands::default(), ties: Islands::default(), hosts: BTreeSet::new(), count: 0 }
}

fn island(time: Timestamp) -> Islands {
    let mut islands = Islands::default();
    islands.add(time, Duration::ZERO);
    islands
}

/// Hosts that one bond remembers.
const HOSTS_MAX: usize = 64;

fn unite(bond: &mut Bond, other: &Bond, window: Duration) {
    bond.islands.unite(&other.islands, window);
    bond.ties.unite(&other.ties, window);
    bond.hosts.extend(other.hosts.iter().cloned());
    while bond.hosts.len() > HOSTS_MAX {
        bond.hosts.pop_last();
    }
    bond.count = bond.count.saturating_add(other.count);
}

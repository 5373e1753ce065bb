//! The desk on which detections are put into cases: what the store holds of the cases that they may join, and what should
//! change. Reads only; the gate commits. Shared by `case.observe` and `case.open`.

use super::{Note, by_platform, entry, made, root};
use crate::admission::Admitted;
use crate::refusal::Refusal;
use crate::runs::Stirred;
use case::{Board, Bond, Clocks, Detection, Entity, EntryKind, Islands, Known, Linking, Status};
use ids::{CaseId, Severity, TenantId, Timestamp};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::{Case, CaseDetection, CaseEntity, Changes, Stored};

/// Hosts, techniques and titles that the head of a case names.
const HOSTS_MAX: usize = 32;
const TECHNIQUES_MAX: usize = 64;
const RULES_MAX: usize = 32;
/// Related cases that the head of a case names.
const RELATED_MAX: usize = 32;
/// Detections that one entry of a timeline names.
const NAMED_MAX: usize = 100;

/// A case on the desk.
struct Sheet {
    case: Case,
    /// Its version in the store; none where it was opened here.
    version: Option<i64>,
}

/// What became of the detections.
#[derive(Default)]
pub(crate) struct Moved {
    pub(crate) opened: Vec<CaseId>,
    pub(crate) extended: Vec<CaseId>,
    pub(crate) merged: Vec<CaseId>,
    /// What agents may be woken by.
    pub(crate) stirred: Vec<Stirred>,
}

/// The desk of one tenant.
pub(crate) struct Desk<'a> {
    admitted: &'a Admitted<'a>,
    tenant: TenantId,
    linking: &'a Linking,
    board: Board<'a>,
    sheets: BTreeMap<CaseId, Sheet>,
    placed: Vec<(CaseId, Detection)>,
    /// Cases of the store that became part of another here, with the version that was seen.
    absorbed: BTreeMap<CaseId, (CaseId, Case, i64)>,
    /// Entities of cases that ended: what comes back is told as related.
    ended: Vec<(CaseId, Entity, Islands)>,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(admitted: &'a Admitted<'a>, tenant: TenantId, linking: &'a Linking) -> Self {
        Self {
            admitted,
            tenant,
            linking,
            board: Board::new(tenant, linking),
            sheets: BTreeMap::new(),
            placed: Vec::new(),
            absorbed: BTreeMap::new(),
            ended: Vec::new(),
        }
    }

    /// Those of the detections that are in no case yet, each once.
    pub(crate) async fn unknown(&self, detections: Vec<Detection>) -> Result<Vec<Detection>, Refusal> {
        let (mut unknown, mut seen) = (Vec::new(), BTreeSet::new());
        for detection in detections {
            let key = CaseDetection::key(self.tenant, detection.id);
            let known: Option<Stored<CaseDetection>> = self.admitted.snapshot.read(&key).await?;
            if known.is_none() && seen.insert(detection.id) {
                unknown.push(detection);
            }
        }
        Ok(unknown)
    }

    /// Read the cases that these detections may join.
    pub(crate) async fn load(&mut self, detections: &[Detection]) -> Result<(), Refusal> {
        let mut wanted: BTreeMap<&Entity, (Timestamp, Duration)> = BTreeMap::new();
        for detection in detections {
            for link in self.linking.links(detection) {
                let from = wanted.entry(link.entity).or_insert((detection.time, link.rule.window()));
                from.0 = from.0.min(detection.time);
            }
        }
        for (entity, (earliest, window)) in wanted {
            let from = CaseEntity::seen(self.tenant, entity, earliest.minus(window));
            let end = CaseEntity::seen(self.tenant, entity, Timestamp::from_micros(i64::MAX));
            let found: Vec<Stored<CaseEntity>> = self.admitted.snapshot.range("seen", &from, &end, 1000).await?;
            for one in found {
                self.bind(one.value).await?;
            }
        }
        Ok(())
    }

    async fn bind(&mut self, one: CaseEntity) -> Result<(), Refusal> {
        let head = root(&self.admitted.snapshot, one.case).await?;
        let id = head.value.id;
        if !head.value.open() {
            self.ended.push((id, one.entity, one.ties));
            return Ok(());
        }
        if !self.board.knows(id) {
            let case = &head.value;
            let time = case.first.unwrap_or(case.opened.at);
            self.board.know(Known {
                id,
                first: time,
                last: case.last.unwrap_or(time),
                detections: case.detections,
                worked: case.worked(),
                merges: case.merged.len(),
            });
            self.sheets.insert(id, Sheet { case: head.value, version: Some(head.version) });
        }
        let CaseEntity { entity, islands, ties, hosts, count, .. } = one;
        self.board.bind(id, entity, &Bond { islands, ties, hosts, count });
        Ok(())
    }

    /// Put a detection where the rules say.
    pub(crate) fn place(&mut self, detection: Detection) -> Result<(), Refusal> {
        let control = self.admitted.control;
        let fresh = || CaseId::generate(control.clock.as_ref(), control.entropy.as_ref());
        let placed =
            self.board.place(&detection, fresh).map_err(|bug| Refusal::bug("a detection went astray", &bug))?;
        if placed.opened {
            let title = detection
                .host()
                .map_or_else(|| detection.title.clone(), |host| format!("{} on {host}", detection.title));
            let related = self.came_back(&detection);
            self.open(placed.case, &title, detection.severity, related)?;
        }
        for gone in placed.absorbed {
            self.absorb(placed.case, gone);
        }
        self.add(placed.case, detection, &placed.related);
        Ok(())
    }

    /// Put a detection into a case that was opened here, whatever ties it to others.
    pub(crate) fn put(&mut self, case: CaseId, detection: Detection) {
        self.board.put(case, &detection);
        self.add(case, detection, &[]);
    }

    /// Cases that ended and had what this detection speaks of.
    fn came_back(&self, detection: &Detection) -> Vec<CaseId> {
        let ties = |(case, entity, ties): &(CaseId, Entity, Islands)| {
            let mut links = self.linking.links(detection);
            links.any(|link| link.entity == entity && ties.near(detection.time, link.rule.window())).then_some(*case)
        };
        self.ended.iter().filter_map(ties).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Open a case.
    pub(crate) fn open(
        &mut self,
        id: CaseId,
        title: &str,
        severity: Severity,
        related: Vec<CaseId>,
    ) -> Result<(), Refusal> {
        let content = json!({ "title": title, "severity": severity });
        let case = Case {
            id,
            tenant: self.tenant,
            title: title.chars().take(300).collect(),
            titled: false,
            status: Status::New,
            severity,
            weighed: false,
            conclusion: None,
            assignee: None,
            tags: BTreeSet::new(),
            opened: made(self.admitted, &content)?,
            first: None,
            last: None,
            detections: 0,
            hosts: Vec::new(),
            techniques: Vec::new(),
            rules: Vec::new(),
            merged_into: None,
            merged: Vec::new(),
            related,
            clocks: Clocks::default(),
        };
        self.sheets.insert(id, Sheet { case, version: None });
        Ok(())
    }

    /// A case that was opened here, to be changed further.
    pub(crate) fn case_mut(&mut self, id: CaseId) -> Option<&mut Case> {
        self.sheets.get_mut(&id).map(|sheet| &mut sheet.case)
    }

    fn add(&mut self, id: CaseId, detection: Detection, related: &[CaseId]) {
        let now = self.admitted.now;
        if let Some(Sheet { case, .. }) = self.sheets.get_mut(&id) {
            case.first = Some(case.first.map_or(detection.time, |first| first.min(detection.time)));
            case.last = Some(case.last.map_or(detection.time, |last| last.max(detection.time)));
            case.detections = case.detections.saturating_add(1);
            if !case.weighed {
                case.severity = case.severity.max(detection.severity);
            }
            name(&mut case.hosts, detection.host(), HOSTS_MAX);
            name(&mut case.techniques, detection.techniques.iter().map(String::as_str), TECHNIQUES_MAX);
            name(&mut case.rules, [detection.title.as_str()], RULES_MAX);
            related.iter().for_each(|other| relate(case, *other));
            case.clocks.saw(detection.time, now);
        }
        self.placed.push((id, detection));
    }

    fn absorb(&mut self, survivor: CaseId, gone: CaseId) {
        let Some(part) = self.sheets.remove(&gone) else { return };
        if let Some(sheet) = self.sheets.get_mut(&survivor) {
            unite(&mut sheet.case, &part.case, part.version.is_some());
        }
        for (case, _) in self.placed.iter_mut().filter(|(case, _)| *case == gone) {
            *case = survivor;
        }
        for (into, ..) in self.absorbed.values_mut().filter(|(into, ..)| *into == gone) {
            *into = survivor;
        }
        if let Some(version) = part.version {
            self.absorbed.insert(gone, (survivor, part.case, version));
        }
    }

    /// Everything that should change.
    pub(crate) async fn changes(self, part: u16) -> Result<(Changes, Moved), Refusal> {
        let (mut changes, mut moved) = (Changes::new(), Moved::default());
        let mut part = part;
        let mut next = || {
            part = part.saturating_add(1);
            part
        };
        for (gone, (into, case, version)) in &self.absorbed {
            let text = format!("became part of {into}: a detection ties both together");
            changes.create(&entry(self.admitted, case, next(), EntryKind::Decided, Note::of(text)));
            changes.replace(&merged(case.clone(), *into), *version);
            moved.merged.push(*gone);
        }
        for (id, sheet) in &self.sheets {
            let own: Vec<&Detection> =
                self.placed.iter().filter(|(case, _)| case == id).map(|(_, detection)| detection).collect();
            for gone in self.absorbed.iter().filter(|(_, (into, ..))| into == id).map(|(gone, _)| gone) {
                let text = format!("took in {gone}: a detection ties both together");
                changes.create(&entry(self.admitted, &sheet.case, next(), EntryKind::Decided, Note::of(text)));
            }
            if own.is_empty() && sheet.version.is_some() {
                continue;
            }
            match sheet.version {
                Some(version) => changes.replace(&sheet.case, version),
                None => changes.create(&sheet.case),
            };
            moved.stirred.push(Stirred {
                case: *id,
                opened: sheet.version.is_none(),
                found: own.iter().map(|one| (one.severity, one.techniques.clone())).collect(),
            });
            if sheet.version.is_none() {
                moved.opened.push(*id)
            } else {
                moved.extended.push(*id)
            }
            if !own.is_empty() {
                changes.create(&entry(self.admitted, &sheet.case, next(), EntryKind::Seen, seen(&own)));
            }
            self.entities(*id, &own, &mut changes).await?;
        }
        for (case, detection) in self.placed {
            changes.create(&CaseDetection { case, seen_at: self.admitted.now, detection });
        }
        Ok((changes, moved))
    }

    /// The entities of a case that its new detections speak of.
    async fn entities(&self, id: CaseId, own: &[&Detection], changes: &mut Changes) -> Result<(), Refusal> {
        let mut counts: BTreeMap<&Entity, u64> = BTreeMap::new();
        for detection in own {
            for entity in detection.entities.iter().collect::<BTreeSet<_>>() {
                *counts.entry(entity).or_default() += 1;
            }
        }
        for (case, entity, bond) in self.board.touched().filter(|(case, ..)| *case == id) {
            let Some(count) = counts.get(entity).copied() else { continue };
            let stored: Option<Stored<CaseEntity>> =
                self.admitted.snapshot.read(&CaseEntity::key(case, entity)).await?;
            let window = self.linking.rule(entity.kind()).map_or(Duration::MAX, |rule| rule.window());
            let mut one = CaseEntity {
                case,
                tenant: self.tenant,
                entity: entity.clone(),
                islands: bond.islands.clone(),
                hosts: bond.hosts.clone(),
                count,
                ties: bond.ties.clone(),
            };
            match stored {
                None => changes.create(&one),
                Some(Stored { value, version, .. }) => {
                    one.islands.unite(&value.islands, window);
                    one.hosts.extend(value.hosts);
                    one.count = one.count.saturating_add(value.count);
                    one.ties.unite(&value.ties, window);
                    changes.replace(&one, version)
                }
            };
        }
        Ok(())
    }
}

fn name<'t>(names: &mut Vec<String>, more: impl IntoIterator<Item = &'t str>, most: usize) {
    for one in more {
        if names.len() < most && !names.iter().any(|name| name == one) {
            names.push(one.to_owned());
        }
    }
}

fn relate(case: &mut Case, other: CaseId) {
    if case.related.len() < RELATED_MAX && other != case.id && !case.related.contains(&other) {
        case.related.push(other);
    }
}

fn seen(own: &[&Detection]) -> Note {
    let mut titles: BTreeMap<&str, usize> = BTreeMap::new();
    own.iter().for_each(|detection| *titles.entry(&detection.title).or_default() += 1);
    let told = titles.iter().take(8).map(|(title, count)| match count {
        1 => (*title).to_owned(),
        many => format!("{title} ({many} times)"),
    });
    let text = format!("{} found: {}", own.len(), told.collect::<Vec<_>>().join("; "));
    Note {
        text: text.chars().take(2000).collect(),
        time: own.iter().map(|detection| detection.time).min(),
        detections: own.iter().take(NAMED_MAX).map(|detection| detection.id).collect(),
        events: own.iter().filter_map(|detection| detection.events.first().copied()).take(NAMED_MAX).collect(),
        evidence: Vec::new(),
    }
}

/// A case as part of another.
pub(crate) fn merged(case: Case, into: CaseId) -> Case {
    Case { merged_into: Some(into), status: Status::Closed, merged: Vec::new(), ..case }
}

/// Take the head of a case into another; `named` where it stays as a part of its own.
pub(crate) fn unite(case: &mut Case, part: &Case, named: bool) {
    case.first = [case.first, part.first].into_iter().flatten().min();
    case.last = [case.last, part.last].into_iter().flatten().max();
    case.detections = case.detections.saturating_add(part.detections);
    if !case.weighed {
        case.severity = case.severity.max(part.severity);
    }
    name(&mut case.hosts, part.hosts.iter().map(String::as_str), HOSTS_MAX);
    name(&mut case.techniques, part.techniques.iter().map(String::as_str), TECHNIQUES_MAX);
    name(&mut case.rules, part.rules.iter().map(String::as_str), RULES_MAX);
    case.tags.extend(part.tags.iter().cloned());
    if named {
        case.merged.push(part.id);
    }
    case.merged.extend(&part.merged);
    part.related.iter().for_each(|other| relate(case, *other));
    case.clocks = case.clocks.united(part.clocks);
}

/// Whether the clocks of a case note who did something: not where the platform did.
pub(crate) fn worked(admitted: &Admitted<'_>, case: &mut Case, status: Option<Status>) {
    if by_platform(admitted) {
        case.clocks.became(admitted.now, status);
    } else {
        case.clocks.worked(admitted.now, status);
    }
}

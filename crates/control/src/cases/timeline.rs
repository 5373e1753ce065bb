//! The timeline of a case, what other calls leave in it, and figures over cases.

use super::open::tenants_of;
use super::{belongings, case_target, same};
use crate::admission::{Admitted, Look};
use crate::asking::range;
use crate::context::Control;
use crate::gate::Passage;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{CaseCount, CaseFigures, CaseMetrics, CaseTimeline, Effect, MeanTime, Page, TimelineEntry};
use case::EntryKind;
use ids::{Owner, Scope};
use std::collections::BTreeMap;
use std::time::Duration;
use store::{Case, CaseEntry, Changes, Stored};

/// Characters of an input that an entry shows.
const SHOWN_MAX: usize = 400;
/// Cases that figures are made of, at most.
const COUNTED_MAX: usize = 100_000;

impl Control {
    /// What a call leaves in the timeline of the case that its run works on. Operations on cases write their own entries.
    pub(crate) fn trace(&self, passage: &Passage<'_>, target: &Target) -> Result<Changes, Refusal> {
        let mut changes = Changes::new();
        let (Some(case), Owner::Tenant(tenant)) = (passage.identity.case, target.owner) else { return Ok(changes) };
        let kind = match passage.spec.meta.effect {
            Effect::Read => EntryKind::Queried,
            // What came of an action is told once it is known.
            Effect::Govern | Effect::Respond | Effect::Write => EntryKind::Decided,
        };
        if passage.identity.bound != Some(tenant)
            || matches!(passage.spec.meta.family(), "case" | "me" | "operation" | "system" | "run")
        {
            return Ok(changes);
        }
        let input = String::from_utf8_lossy(&passage.shown_canonical);
        let text: String = format!("{} {input}", passage.spec.meta.id).chars().take(SHOWN_MAX).collect();
        changes.create(&CaseEntry {
            case,
            tenant,
            call: passage.call,
            part: 0,
            kind,
            at: passage.started,
            time: None,
            actor: passage.identity.principal.clone(),
            run: passage.identity.run,
            operation: passage.spec.meta.id.to_owned(),
            text,
            detections: Vec::new(),
            events: Vec::new(),
            evidence: Vec::new(),
        });
        Ok(changes)
    }
}

fn told(entry: CaseEntry, case: &Case) -> Result<TimelineEntry, Refusal> {
    Ok(TimelineEntry {
        kind: same(&entry.kind)?,
        at: entry.at,
        time: entry.time,
        actor: entry.actor,
        run: entry.run,
        operation: entry.operation,
        text: entry.text,
        call: entry.call,
        case: (entry.case != case.id).then_some(entry.case),
        detections: entry.detections,
        events: entry.events,
        evidence: entry.evidence,
    })
}

impl Handle<CaseTimeline> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &CaseTimeline) -> Result<Target, Refusal> {
        case_target(look, input.case).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: CaseTimeline,
    ) -> Result<Outcome<Page<TimelineEntry>>, Refusal> {
        let case = admitted.one::<Case>("case", &input.case.to_string()).await?.value;
        let wanted: Option<EntryKind> = input.kind.as_ref().map(same).transpose()?;
        let (entries, _) = belongings::<CaseEntry>(&admitted.snapshot, &case, usize::MAX).await?;
        let mut all = Vec::with_capacity(entries.len());
        for entry in entries.into_iter().map(|stored| stored.value) {
            if wanted.is_none_or(|kind| entry.kind == kind) {
                let key = format!("{}/{}/{:05}", store::sortable(entry.at), entry.call, entry.part);
                all.push((key, told(entry, &case)?));
            }
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Outcome::answer(admitted.page_of(all, input.limit, input.cursor.as_ref())?))
    }
}

/// Mean, median and 95th percentile of what came to an end.
fn mean_time(mut times: Vec<Duration>) -> MeanTime {
    times.sort_unstable();
    let cases = u64::try_from(times.len()).unwrap_or(u64::MAX);
    let sum: f64 = times.iter().map(Duration::as_secs_f64).sum();
    let at = |permille: usize| {
        let place = (times.len() * permille).div_ceil(1000).saturating_sub(1);
        times.get(place).map(Duration::as_secs)
    };
    let count = u32::try_from(times.len()).unwrap_or(u32::MAX);
    let mean_secs = (count > 0).then(|| (sum / f64::from(count) * 1000.0).round() / 1000.0);
    MeanTime { cases, mean_secs, median_secs: at(500), p95_secs: at(950) }
}

fn counts(counted: BTreeMap<String, u64>) -> Vec<CaseCount> {
    counted.into_iter().map(|(value, cases)| CaseCount { value, cases }).collect()
}

impl Handle<CaseMetrics> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &CaseMetrics) -> Result<Target, Refusal> {
        look.asked(input.tenant, None).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: CaseMetrics) -> Result<Outcome<CaseFigures>, Refusal> {
        range(input.since, input.until)?;
        let scope = admitted.scope();
        let (cases, complete) = self.cases_counted(&scope, &input).await?;
        let (mut by_status, mut by_severity, mut by_verdict) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut times: [Vec<Duration>; 4] = Default::default();
        for case in &cases {
            *by_status.entry(case.status.to_string()).or_default() += 1;
            let severity = serde_json::to_value(case.severity).unwrap_or_default();
            *by_severity.entry(severity.as_str().unwrap_or_default().to_owned()).or_default() += 1;
            if let Some(conclusion) = &case.conclusion {
                *by_verdict.entry(conclusion.verdict.to_string()).or_default() += 1;
            }
            let clocks = &case.clocks;
            let ends = [clocks.to_detect(), clocks.to_acknowledge(), clocks.to_contain(), clocks.to_resolve()];
            times.iter_mut().zip(ends).for_each(|(times, end)| times.extend(end));
        }
        let [mttd, mtta, mttc, mttr] = times.map(mean_time);
        Ok(Outcome::answer(CaseFigures {
            cases: u64::try_from(cases.len()).unwrap_or(u64::MAX),
            detections: cases.iter().map(|case| case.detections).sum(),
            by_status: counts(by_status),
            by_severity: counts(by_severity),
            by_verdict: counts(by_verdict),
            mttd,
            mtta,
            mttc,
            mttr,
            complete,
        }))
    }
}

impl Control {
    /// The cases that figures are made of; none of a scope without tenants.
    async fn cases_counted(&self, scope: &Scope, input: &CaseMetrics) -> Result<(Vec<Case>, bool), Refusal> {
        let (mut counted, mut after) = (Vec::new(), None);
        if tenants_of(scope).is_empty() {
            return Ok((counted, true));
        }
        let snapshot = self.store.snapshot(scope.clone());
        loop {
            let page = store::Page { after, limit: 1000, ..store::Page::default() };
            let heads: Vec<Stored<Case>> = snapshot.list(&page).await?;
            let whole = heads.len() >= 1000;
            after = heads.last().map(|last| last.value.id.to_string());
            for case in heads.into_iter().map(|head| head.value).filter(|case| case.merged_into.is_none()) {
                let seen = case.clocks.seen.unwrap_or(case.opened.at);
                if input.since.is_none_or(|since| seen >= since) && input.until.is_none_or(|until| seen < until) {
                    counted.push(case);
                }
            }
            if counted.len() > COUNTED_MAX {
                counted.truncate(COUNTED_MAX);
                return Ok((counted, false));
            }
            if !whole {
                return Ok((counted, true));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_few_and_of_none() {
        let secs = |all: &[u64]| mean_time(all.iter().copied().map(Duration::from_secs).collect());
        let none = secs(&[]);
        assert_eq!((none.cases, none.mean_secs, none.median_secs), (0, None, None));
        let some = secs(&[10, 2, 3]);
        assert_eq!((some.mean_secs, some.median_secs, some.p95_secs), (Some(5.0), Some(3), Some(10)));
        assert_eq!(secs(&(1..=100).collect::<Vec<_>>()).p95_secs, Some(95));
    }
}

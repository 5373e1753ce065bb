//! A retro-hunt: what a rule would have found in what the lake holds already, stored as detections. They go through the log
//! like what comes in, so that they have a place there, are durable, and are the same when it is read again. Must never
//! store a detection that is stored already: by the rule when it ran live, by an earlier hunt, or by this one before a crash.

use super::Plane;
use super::ask::problem;
use super::finding::Finding;
use super::transform::Portion;
use super::trial::Told;
use api::{BacktestAsk, Problem, ProblemKind, RetroHunted};
use ids::{DetectionId, Scope, TenantId, Timestamp};
use journal::{BatchId, Entry, Position};
use lake::{Ask, Row};
use std::collections::HashSet;
use std::time::Duration;

/// Kind of an entry of found findings in the journal.
pub(crate) const KIND_FOUND: u8 = 3;
const VERSION: u8 = 1;
/// Detections that one hunt stores in a tenant: beyond them it is not a lead but a flood, and a rule to be tuned.
const FINDINGS_MAX: usize = 10_000;
/// Findings of one entry.
const ENTRY_FINDINGS: usize = 100;
/// Detections of which one question asks whether they are there.
const ASKED_MAX: usize = 200;

/// One entry.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Afterwards {
    v: u8,
    /// When they were found.
    at: Timestamp,
    findings: Vec<super::finding::Stored>,
}

impl Afterwards {
    /// Read an entry; none where it is not one, or a newer release's.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(bytes).ok().filter(|entry| entry.v <= VERSION)
    }

    fn entry(&self, hunt: &str) -> Entry {
        let first = self.findings.first().map(|finding| finding.id.to_string()).unwrap_or_default();
        let digest = seal::Digest::framed("posse retro-hunt", &[hunt.as_bytes(), first.as_bytes()]);
        let batch = digest.as_bytes().first_chunk::<16>().map(|bytes| BatchId::new(*bytes));
        // Texts and numbers always have a JSON form.
        Entry { kind: KIND_FOUND, batch, payload: serde_json::to_vec(self).unwrap_or_default() }
    }

    /// The findings, as rows.
    pub(crate) fn append(self, place: Position, out: &mut Portion) {
        for (index, stored) in (0_u32..).zip(self.findings) {
            let mut finding = stored.finding();
            let event = finding.normalised();
            finding.event = out.chunk.append(&Row {
                tenant: finding.tenant,
                source: &finding.source,
                received: self.at,
                segment: place.segment,
                offset: place.offset,
                index,
                part: 1,
                event: &event,
                raw: &finding.ocsf,
            });
            out.findings.push(finding);
        }
    }
}

fn lost(error: &dyn std::error::Error) -> Problem {
    tracing::error!(error = %super::runner::error_text(error), "what a retro-hunt found cannot be written");
    Problem::new(ProblemKind::Unavailable, "the log does not take what was found now; try again")
}

impl Plane {
    /// `DataPlane::retro_hunt`.
    pub(super) async fn run_retro_hunt(
        &self,
        tenant: TenantId,
        ask: &BacktestAsk,
        hunt: &str,
        time_max: Duration,
        told: Told<'_>,
    ) -> Result<RetroHunted, Problem> {
        let scope = Scope::Tenant(tenant);
        // What is durable now was taken before the hunt's rule was told, or is read with it.
        self.0.shared.reach(self.0.journal.durable()).await;
        let found = self.try_rule(&scope, ask, FINDINGS_MAX, time_max, told).await?;
        let mut done = RetroHunted {
            events: found.events,
            complete: found.cut.is_none(),
            beyond: found.findings.saturating_sub(u64::try_from(found.kept.len()).unwrap_or(u64::MAX)),
            ..RetroHunted::default()
        };
        // Whatever the rule found live while it was looked is there now, beside its record.
        let mut fresh: Vec<Finding> = Vec::new();
        for part in found.kept.chunks(ASKED_MAX) {
            let mut known = self.stored(&scope, part).await?;
            for finding in part {
                if known.insert(finding.id) {
                    fresh.push(finding.clone());
                } else {
                    done.known = done.known.saturating_add(1);
                }
            }
        }
        told(950, "what was found is stored");
        let at = self.0.clock.now();
        // Oldest first, as they would have come.
        fresh.reverse();
        for part in fresh.chunks(ENTRY_FINDINGS) {
            let findings = part.iter().map(|finding| finding.found_by(hunt, at)).collect();
            let entry = Afterwards { v: VERSION, at, findings }.entry(hunt);
            self.0.journal.append(entry).map_err(|error| lost(&error))?.await.map_err(|error| lost(&error))?;
            done.stored = done.stored.saturating_add(u64::try_from(part.len()).unwrap_or(0));
        }
        self.0.shared.reach(self.0.journal.durable()).await;
        Ok(done)
    }

    /// Which of these findings are stored.
    async fn stored(&self, scope: &Scope, findings: &[Finding]) -> Result<HashSet<DetectionId>, Problem> {
        let times = || findings.iter().map(|finding| finding.time);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(HashSet::new()) };
        let ids: Vec<String> = findings.iter().map(|finding| format!("'{}'", finding.id)).collect();
        let sql = format!(
            "SELECT DISTINCT finding_uid FROM detections WHERE finding_uid IN ({}) AND time >= '{first}' AND time <= '{last}'",
            ids.join(", ")
        );
        let ask = Ask { scope: scope.clone(), sql, rows_max: ASKED_MAX, offset: 0 };
        let answer = self.0.lake.ask(ask).await.map_err(|error| problem(error, "/rule"))?;
        let known = answer.rows.iter().filter_map(|row| row.first()?.as_str()?.parse().ok());
        Ok(known.collect())
    }
}

impl Finding {
    /// As it is stored where it was found afterwards.
    fn found_by(&self, hunt: &str, at: Timestamp) -> super::finding::Stored {
        let mut stored = self.stored();
        if let Ok(mut ocsf) = serde_json::from_str::<serde_json::Value>(&stored.ocsf) {
            if let Some(own) = ocsf.get_mut("unmapped").and_then(serde_json::Value::as_object_mut) {
                own.insert("retro_hunt".to_owned(), hunt.into());
            }
            if let Some(info) = ocsf.get_mut("finding_info").and_then(serde_json::Value::as_object_mut) {
                info.insert("created_time".to_owned(), at.as_millis().into());
            }
            stored.ocsf = ocsf.to_string();
        }
        stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;
    use ids::{EventId, Text};

    #[test]
    fn what_was_found_afterwards_reads_back_and_is_marked() {
        let tenant = TenantId::derive(&[b"own"]);
        let source = Source { tenant, name: Text::truncated("dc") };
        let finding = super::super::finding::of_platform(
            "r-1",
            "t",
            "d",
            "k",
            (&source, "source/dc"),
            Timestamp::from_micros(5_000_000),
        );
        let entry = Afterwards {
            v: VERSION,
            at: Timestamp::from_micros(9_000_000),
            findings: vec![finding.found_by("job-1", Timestamp::from_micros(9_000_000))],
        };
        let payload = entry.entry("job-1").payload;
        assert_eq!(entry.entry("job-1").batch, Afterwards::decode(&payload).unwrap().entry("job-1").batch);
        let mut out = Portion::default();
        Afterwards::decode(&payload).unwrap().append(Position { segment: 1, offset: 64 }, &mut out);
        let back = &out.findings[0];
        assert_eq!((back.id, back.time, back.tenant), (finding.id, finding.time, tenant));
        assert_eq!(back.observables, finding.observables);
        assert_ne!(back.event, EventId { class_uid: 0, day: 0, segment: 0, offset: 0, index: 0, part: 0 });
        assert!(back.ocsf.contains("\"retro_hunt\":\"job-1\""), "{}", back.ocsf);
        assert!(Afterwards::decode(b"{}").is_none());
    }
}

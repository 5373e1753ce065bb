//! What the platform says of a source by itself: that it fell silent, that much of what it sends cannot be read. An entry of
//! the log like the records, so that the finding made of it has a place there, is durable, and is the same when the log is
//! read again. Events of what the platform did itself go the same way. Must never say the same twice, and nothing where the
//! log has not been read to its end.

use super::fare::Fares;
use super::finding::{self, Finding};
use super::setup::Tenant;
use super::transform::Portion;
use crate::Source;
use api::Problem;
use event::Parser;
use event::mapping::{Mappings, Normalised, Normaliser};
use ids::{TenantId, Text, Timestamp};
use journal::{BatchId, Entry, Journal, Position};
use lake::Row;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Kind of a notice's entry in the journal.
pub(crate) const KIND_NOTICE: u8 = 2;
const VERSION: u8 = 1;
/// What stands for the source of what the platform tells by itself.
const PLATFORM: &str = "posse";

/// One notice.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Notice {
    v: u8,
    tenant: TenantId,
    source: Text<64>,
    /// When it was made.
    pub(crate) at: Timestamp,
    pub(crate) what: What,
}

/// What is the matter.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// Of what came in during the last minutes, much could not be read.
    DeadLetters { records: u64, dead: u64 },
    /// Nothing came for longer than its setup allows.
    Silent { last_received: Timestamp, silent_after_secs: u32 },
    /// The platform tells something that is not of a source.
    Told { uid: Text<100>, title: Text<300>, detail: Text<2000>, about: Text<200>, key: Text<300> },
    /// What came of something that the platform did, as OCSF.
    Acted { ocsf: String, key: Text<300> },
}

/// The entry of an event of what the platform did.
pub(crate) fn acted(acted: api::Acted) -> Result<Entry, Problem> {
    let api::Acted { tenant, key, at, ocsf } = acted;
    if ocsf.len() > api::Acted::BYTES_MAX || Parser::new().parse(ocsf.as_bytes()).is_err() {
        tracing::error!(bytes = ocsf.len(), "an event of the platform is no JSON object, or too large");
        return Err(Problem::internal());
    }
    let what = What::Acted { ocsf, key };
    Ok(Notice { v: VERSION, tenant, source: Text::truncated(PLATFORM), at, what }.entry())
}

/// The entry of what the platform tells by itself.
pub(crate) fn told(told: api::Told) -> Entry {
    let api::Told { tenant, uid, title, detail, about, key, at } = told;
    let what = What::Told { uid, title, detail, about, key };
    Notice { v: VERSION, tenant, source: Text::truncated(PLATFORM), at, what }.entry()
}

impl Notice {
    pub(crate) fn source(&self) -> Source {
        Source { tenant: self.tenant, name: self.source.clone() }
    }

    /// Read a notice's entry; none where it is not one, or a newer release's.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(bytes).ok().filter(|notice| notice.v <= VERSION)
    }

    /// What makes it this notice and no other, also after a crash between writing and remembering it.
    fn key(&self) -> String {
        let source = format!("{}/{}", self.tenant, self.source.as_str());
        match self.what {
            What::Silent { last_received, .. } => format!("{source}/silent/{}", last_received.as_micros()),
            What::DeadLetters { .. } => {
                format!("{source}/dead_letters/{}", self.at.as_micros().div_euclid(86_400_000_000))
            }
            What::Told { ref key, .. } => format!("{source}/told/{}", key.as_str()),
            What::Acted { ref key, .. } => format!("{source}/acted/{}", key.as_str()),
        }
    }

    fn entry(&self) -> Entry {
        let digest = seal::Digest::framed("posse notice", &[self.key().as_bytes()]);
        let batch = digest.as_bytes().first_chunk::<16>().map(|bytes| BatchId::new(*bytes));
        // Texts and numbers always have a JSON form.
        Entry { kind: KIND_NOTICE, batch, payload: serde_json::to_vec(self).unwrap_or_default() }
    }

    /// What it says, as a row: a finding, or the event itself.
    pub(crate) fn append(self, place: Position, out: &mut Portion) {
        if let What::Acted { ocsf, .. } = &self.what {
            // It was judged before it was written.
            if let (Ok(view), Some(mapping)) =
                (Parser::new().parse(ocsf.as_bytes()), Mappings::built_in().named("ocsf"))
            {
                let mut event = Normalised::default();
                Normaliser::new().normalise_columns(mapping, &view, self.at, &mut event);
                out.chunk.append(&self.row(place, &event, ocsf));
            }
            return;
        }
        let mut finding = self.finding();
        let event = finding.normalised();
        finding.event = out.chunk.append(&self.row(place, &event, &finding.ocsf));
        out.findings.push(finding);
        out.notices.push(self);
    }

    /// Part 1: what a source sends is part 0, whatever it says of itself.
    fn row<'r>(&'r self, place: Position, event: &'r Normalised, raw: &'r str) -> Row<'r> {
        Row {
            tenant: self.tenant,
            source: &self.source,
            received: self.at,
            segment: place.segment,
            offset: place.offset,
            index: 0,
            part: 1,
            event,
            raw,
        }
    }

    fn finding(&self) -> Finding {
        let name = self.source.as_str();
        let (uid, title, detail) = match &self.what {
            What::Silent { last_received, silent_after_secs } => (
                "posse.source.silent",
                format!("Source `{name}` is silent"),
                format!("nothing came since {last_received}, and after {silent_after_secs} seconds it was to be told"),
            ),
            What::DeadLetters { records, dead } => (
                "posse.source.dead_letters",
                format!("Records of source `{name}` cannot be read"),
                format!("{dead} of the last {records} records are dead letters; ask for status_detail = 'dead_letter'"),
            ),
            // It is an event, and no finding is made of it: told as what it is where it would be one.
            What::Acted { key, .. } => ("posse.action", "An action".to_owned(), key.to_string()),
            What::Told { uid, title, detail, about, .. } => {
                return finding::of_platform(
                    uid,
                    title,
                    detail,
                    &self.key(),
                    (&self.source(), about.as_str()),
                    self.at,
                );
            }
        };
        let about = format!("source/{name}");
        finding::of_platform(uid, &title, &detail, &self.key(), (&self.source(), &about), self.at)
    }
}

/// Looks for what is to be said.
pub(crate) struct Watch {
    /// Nobody is silent for longer than the platform listens.
    since: Timestamp,
    /// Notices that were given to the log and may not have been read from it yet.
    given: HashSet<String>,
}

impl Watch {
    pub(crate) fn new(since: Timestamp) -> Self {
        Self { since, given: HashSet::new() }
    }

    /// Say what is to be said. The log must have been read to its end.
    pub(crate) fn look(
        &mut self,
        tenants: &HashMap<TenantId, Tenant>,
        fares: &Fares,
        journal: &Journal,
        now: Timestamp,
    ) {
        let mut due = Vec::new();
        for (tenant, known) in tenants {
            for source in known.setup().into_iter().flat_map(|setup| &setup.sources) {
                let Some(silent_after_secs) = source.silent_after_secs else { continue };
                let own = Source { tenant: *tenant, name: source.name.clone() };
                let Some(last_received) = fares.silent_since(&own) else { continue };
                if now.since(last_received.max(self.since)) > Duration::from_secs(silent_after_secs.into()) {
                    due.push((own, What::Silent { last_received, silent_after_secs }));
                }
            }
        }
        for (source, records, dead) in fares.unreadable(now) {
            due.push((source, What::DeadLetters { records, dead }));
        }
        if due.is_empty() {
            // What was given has been read.
            self.given.clear();
        }
        for (source, what) in due {
            let notice = Notice { v: VERSION, tenant: source.tenant, source: source.name, at: now, what };
            let key = notice.key();
            if self.given.contains(&key) {
                continue;
            }
            match journal.append(notice.entry()) {
                // It is durable soon or, where the log fails, said again after it was healed.
                Ok(_) => _ = self.given.insert(key),
                Err(error) => tracing::warn!(%error, "a notice of a source cannot be written; trying again"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_reads_back_and_is_one_for_one_silence() {
        let tenant = TenantId::derive(&[b"own"]);
        let silent = |at: i64, last: i64| Notice {
            v: VERSION,
            tenant,
            source: Text::truncated("fw"),
            at: Timestamp::from_micros(at),
            what: What::Silent { last_received: Timestamp::from_micros(last), silent_after_secs: 60 },
        };
        let entry = silent(1, 0).entry();
        assert_eq!(Notice::decode(&entry.payload), Some(silent(1, 0)));
        assert_eq!(entry.batch, silent(2, 0).entry().batch);
        assert_ne!(entry.batch, silent(2, 1).entry().batch);
        assert_eq!(silent(1, 0).finding().id, silent(2, 0).finding().id);
        let unverified = |key: &str| {
            told(api::Told {
                tenant,
                uid: Text::truncated("posse.action.unverified"),
                title: Text::truncated("An action"),
                detail: Text::truncated("its effect never showed"),
                about: Text::truncated("action/one"),
                key: Text::truncated(key),
                at: Timestamp::from_micros(7),
            })
        };
        let read = Notice::decode(&unverified("a").payload).unwrap();
        assert_eq!(
            (read.finding().rule_uid.as_str(), read.finding().title.as_str()),
            ("posse.action.unverified", "An action")
        );
        assert!(read.finding().ocsf.contains("action/one"));
        assert_ne!(unverified("a").batch, unverified("b").batch);
        let deed = |key: &str, ocsf: &str| {
            acted(api::Acted {
                tenant,
                key: Text::truncated(key),
                at: Timestamp::from_micros(7),
                ocsf: ocsf.to_owned(),
            })
        };
        let batch = |key: &str| deed(key, "{}").unwrap().batch;
        assert_eq!(batch("a"), batch("a"));
        assert_ne!(batch("a"), batch("b"));
        assert!(deed("a", "[]").is_err() && deed("a", &" ".repeat(api::Acted::BYTES_MAX + 1)).is_err());
        assert_eq!(Notice::decode(b"{}"), None);
        assert_eq!(Notice::decode(&serde_json::to_vec(&Notice { v: 2, ..silent(1, 0) }).unwrap()), None);
    }
}

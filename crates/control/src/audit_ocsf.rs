//! The record as OCSF 1.8 API Activity (class 6003), for receivers that know no Posse. OCSF 1.8 has no profile for the integrity of
//! a record: `raw_data`, `raw_data_hash` and `metadata.sequence` are used as it means them, and what only a transparency log has
//! stands in `unmapped.record_integrity`. Must never say more than the entry says.

use crate::admission::{Admitted, Look};
use crate::audit_log::{LEAVES, LOOKED_MAX, head_covering, log_target, note_text};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{AuditListOcsf, OcsfRecord, Page};
use audit::{Decided, Effect, Leaf as Entry, Phase, Record};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::Principal;
use seal::Digest;
use serde_json::{Map, Value, json};
use store::Leaf;

const CLASS: u64 = 6003;
/// Words with which an operation's verb begins, by OCSF's activity. A read is a read whatever its verb.
const CREATES: &[&str] =
    &["add", "assign", "create", "define", "delegate", "engage", "enrol", "import", "lend", "open", "request", "start"];
const DELETES: &[&str] = &["delete", "end", "erase", "purge", "release", "remove", "revoke", "unassign"];

/// The head that covers what is listed.
struct Head {
    origin: String,
    size: u64,
    root: Digest,
    /// Of the signed note.
    digest: Digest,
}

impl Handle<AuditListOcsf> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AuditListOcsf) -> Result<Target, Refusal> {
        log_target(look, input.tenant).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: AuditListOcsf,
    ) -> Result<Outcome<Page<OcsfRecord>>, Refusal> {
        let after = admitted.after(input.cursor.as_ref())?;
        let mut from = after.and_then(|last| last.parse::<u64>().ok()).map_or(0, |last| last.saturating_add(1));
        let wanted = usize::try_from(admitted.rows(input.limit)).unwrap_or(usize::MAX);
        let fits = |record: &Record| {
            input.principal.as_ref().is_none_or(|principal| *principal == record.principal)
                && input.operation.as_ref().is_none_or(|operation| *operation == record.operation)
                && input.since.is_none_or(|since| record.time >= since)
        };
        let (mut found, mut looked, mut ended) = (Vec::new(), 0_usize, false);
        'leaves: while !ended && looked < LOOKED_MAX {
            let leaves = admitted.snapshot.leaves(admitted.target.owner, from, LEAVES).await?;
            ended = leaves.len() < usize::try_from(LEAVES).unwrap_or(usize::MAX);
            looked += leaves.len();
            for leaf in leaves {
                if found.len() == wanted {
                    ended = false;
                    break 'leaves;
                }
                from = leaf.index.saturating_add(1);
                let entry = Entry::decode(&leaf.leaf);
                let entry = entry.map_err(|error| Refusal::bug("a stored leaf is not a record", &error))?;
                // Heads and changes of key are the log's own; they are no activity of anybody's.
                if let Entry::Call(record) = entry
                    && fits(&record)
                {
                    found.push((leaf, record));
                }
            }
        }
        let items = match found.last() {
            None => Vec::new(),
            Some((last, _)) => {
                let head = self.head(admitted, last.index.saturating_add(1)).await?;
                found
                    .iter()
                    .map(|(leaf, record)| event(leaf, record, &head).map(OcsfRecord))
                    .collect::<Result<_, _>>()?
            }
        };
        let next_cursor = (!ended).then(|| admitted.cursor(&from.saturating_sub(1).to_string()));
        Ok(Outcome::answer(Page { items, next_cursor }))
    }
}

impl Control {
    async fn head(&self, admitted: &Admitted<'_>, size: u64) -> Result<Head, Refusal> {
        let owner = admitted.target.owner;
        let note = note_text(&head_covering(self, &admitted.snapshot, owner, size).await?)?;
        let digest = Digest::of(note.as_bytes());
        let bug = |error: &dyn std::fmt::Display| Refusal::bug("a stored checkpoint is damaged", error);
        let note = audit::Note::parse(&note).map_err(|error| bug(&error))?;
        // The platform's own note, whatever key signed then: the receiver checks the signature under the key it holds.
        let head = audit::Checkpoint::from_text(note.unchecked_text()).map_err(|error| bug(&error))?;
        Ok(Head { origin: self.log_name.origin(owner), size: head.size, root: head.root, digest })
    }
}

/// The event of one record. What does not apply is absent.
fn event(leaf: &Leaf, record: &Record, head: &Head) -> Result<Value, Refusal> {
    let raw = std::str::from_utf8(&leaf.leaf).map_err(|error| Refusal::bug("a stored leaf is not text", &error))?;
    let (activity_id, activity_name) = activity(record);
    let (status_id, status) = status(record);
    let mut event = json!({
        "activity_id": activity_id,
        "activity_name": activity_name,
        "category_uid": 6,
        "class_uid": CLASS,
        "type_uid": CLASS * 100 + activity_id,
        "severity_id": 1,
        "time": record.time.as_micros().div_euclid(1000),
        "duration": record.duration_us / 1000,
        "status_id": status_id,
        "status": status,
        "status_code": record.outcome.status.to_string(),
        "actor": actor(record),
        "api": {
            "operation": record.operation,
            "service": { "name": "posse" },
            "request": { "uid": record.call },
            "response": { "code": record.outcome.status },
        },
        "src_endpoint": { "name": word(&record.origin.face) },
        "metadata": {
            "version": "1.8.0",
            "product": { "name": "Posse", "vendor_name": "Posse", "version": env!("CARGO_PKG_VERSION") },
            "uid": format!("{}/{}", leaf.call, leaf.part),
            "original_event_uid": record.call,
            "correlation_uid": record.call,
            "sequence": leaf.index,
            "log_name": head.origin,
            "log_version": "1",
            "logged_time": leaf.recorded_at.as_micros().div_euclid(1000),
        },
        "raw_data": raw,
        "raw_data_hash": sha256(&Digest::of(&leaf.leaf)),
        "raw_data_size": leaf.leaf.len(),
        "unmapped": unmapped(leaf, record, head),
    });
    let mut set = |pointer: &str, name: &str, value: Option<Value>| {
        if let (Some(fields), Some(value)) = (event.pointer_mut(pointer).and_then(Value::as_object_mut), value) {
            fields.insert(name.to_owned(), value);
        }
    };
    let detail = record.outcome.error.as_ref();
    set("", "status_detail", detail.map(|text| json!(text.as_str())));
    set("/api/response", "error", record.outcome.problem.as_ref().map(|problem| json!(problem.as_str())));
    set("/api/response", "error_message", detail.map(|text| json!(text.as_str())));
    set("/src_endpoint", "ip", record.origin.address.as_ref().map(|address| json!(address.as_str())));
    set("/metadata", "tenant_uid", record.tenant.map(|tenant| json!(tenant)));
    let agent = record.origin.user_agent.as_ref().map(|agent| json!({ "user_agent": agent.as_str() }));
    set("", "http_request", agent);
    let code = record.outcome.status;
    set("", "http_response", (code > 0).then(|| json!({ "code": code })));
    let target = record.target.as_ref();
    set("", "resources", target.map(|target| json!([{ "type": target.kind.as_str(), "uid": target.id.as_str() }])));
    Ok(event)
}

fn actor(record: &Record) -> Value {
    let (type_id, kind) = match &record.principal {
        Principal::User(_) => (1, "User"),
        Principal::Service(_) => (4, "Service"),
        Principal::System(_) => (3, "System"),
        _ => (99, "Other"),
    };
    let name = record.principal.to_string();
    let user = json!({ "uid": name, "name": name, "type_id": type_id, "type": kind });
    let decision = word(&record.decision.outcome);
    // One result for each policy that determined the decision; one without a policy where none did.
    let version = record.decision.policy_version.map(|version| version.to_string());
    let policy = |id: &str| match &version {
        Some(version) => json!({ "uid": id, "version": version, "is_applied": true }),
        None => json!({ "uid": id, "is_applied": true }),
    };
    let mut authorizations: Vec<Value> =
        record.decision.policies.iter().map(|id| json!({ "decision": decision, "policy": policy(id) })).collect();
    if authorizations.is_empty() {
        authorizations.push(json!({ "decision": decision }));
    }
    let mut actor = json!({ "user": user, "authorizations": authorizations });
    if let (Principal::Agent(_), Some(fields)) = (&record.principal, actor.as_object_mut()) {
        fields.insert("app_uid".to_owned(), json!(name));
    }
    actor
}

/// What OCSF has no attribute for, and what makes the record checkable.
fn unmapped(leaf: &Leaf, record: &Record, head: &Head) -> Value {
    let mut unmapped = Map::new();
    let mut put = |name: &str, value: Value| drop(unmapped.insert(name.to_owned(), value));
    put(
        "record_integrity",
        json!({
            "log": head.origin,
            "index": leaf.index,
            "leaf_hash": { "algorithm": "RFC 6962 SHA-256", "algorithm_id": 99, "value": audit::leaf_hash(&leaf.leaf).to_hex() },
            "tree_size": head.size,
            "root_hash": { "algorithm": "RFC 6962 SHA-256", "algorithm_id": 99, "value": head.root.to_hex() },
            "root_base64": STANDARD.encode(head.root.as_bytes()),
            "checkpoint_digest": sha256(&head.digest),
        }),
    );
    put("effect", json!(word(&record.effect)));
    put("phase", json!(word(&record.phase)));
    if !record.on_behalf_of.is_empty() {
        put("on_behalf_of", json!(record.on_behalf_of));
    }
    if !record.approvals.is_empty() {
        put("approvals", json!(record.approvals));
    }
    if let Some(rung) = &record.decision.rung {
        put("rung", json!(rung.as_str()));
    }
    if let Some(run) = record.run {
        put("run", json!(run));
    }
    if let Some(digest) = record.input_digest {
        put("input_digest", json!(digest.to_string()));
    }
    if let Some(aggregate) = &record.aggregate {
        put("aggregate", json!(aggregate));
    }
    Value::Object(unmapped)
}

fn sha256(digest: &Digest) -> Value {
    json!({ "algorithm": "SHA-256", "algorithm_id": 3, "value": digest.to_hex() })
}

fn activity(record: &Record) -> (u64, &'static str) {
    let verb = record.operation.split_once('.').map_or("", |(_, verb)| verb);
    let begins = |words: &[&str]| words.iter().any(|word| verb.split('_').next() == Some(*word));
    match record.effect {
        Effect::Read => (2, "Read"),
        Effect::Respond => (99, "Respond"),
        Effect::Govern | Effect::Write if begins(CREATES) => (1, "Create"),
        Effect::Govern | Effect::Write if begins(DELETES) => (4, "Delete"),
        Effect::Govern | Effect::Write => (3, "Update"),
    }
}

fn status(record: &Record) -> (u64, &'static str) {
    let waits = matches!(record.decision.outcome, Decided::Defer | Decided::StepUp) && record.outcome.status == 202;
    match record.outcome.status {
        _ if waits => (99, "Pending"),
        0 => (99, "Intent"),
        200..400 if record.phase == Phase::Intent => (99, "Intent"),
        200..400 => (1, "Success"),
        _ => (2, "Failure"),
    }
}

/// The word of an enumeration, as it is on the record.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use audit::{FormatVersion, Origin};
    use ids::{CallId, List, Text, Timestamp, UserId};

    fn record(operation: &str, effect: Effect, status: u16) -> Record {
        Record {
            agent: None,
            aggregate: None,
            approvals: List::default(),
            call: CallId::derive(&[b"call"]),
            decision: audit::Decision {
                obligations: List::default(),
                outcome: Decided::Allow,
                policies: List::default(),
                policy_version: None,
                rung: None,
            },
            duration_us: 1,
            effect,
            input_digest: None,
            on_behalf_of: List::default(),
            operation: Text::truncated(operation),
            origin: Origin { address: None, face: audit::Face::Rest, request: None, user_agent: None },
            outcome: audit::Outcome { error: None, problem: None, status },
            phase: Phase::Call,
            principal: Principal::User(UserId::derive(&[b"ada"])),
            run: None,
            target: None,
            tenant: None,
            time: Timestamp::from_micros(1),
            v: FormatVersion,
        }
    }

    #[test]
    fn verbs_and_ends_have_their_numbers() {
        for (operation, effect, number) in [
            ("case.get", Effect::Read, 2),
            ("rule.create", Effect::Write, 1),
            ("tenant.update", Effect::Write, 3),
            ("role.unassign", Effect::Govern, 4),
            ("role.assign", Effect::Govern, 1),
            ("action.run_connector", Effect::Respond, 99),
            ("approval.end_delegation", Effect::Govern, 4),
        ] {
            assert_eq!(activity(&record(operation, effect, 200)).0, number, "{operation}");
        }
        for (code, number) in [(200, 1), (403, 2), (500, 2), (0, 99)] {
            assert_eq!(status(&record("case.get", Effect::Read, code)).0, number, "{code}");
        }
    }
}

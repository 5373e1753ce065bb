//! A finding's OCSF text (Detection Finding 2004, as the data plane writes it) as the rules of cases know it.

use case::{Detection, Entity, EntityKind, Matched};
use ids::{EventId, Severity, TenantId, Timestamp};
use serde_json::Value;

/// Entities, events and fields that are taken over.
const ENTITIES_MAX: usize = 64;
const EVENTS_MAX: usize = 100;
const MATCHED_MAX: usize = 16;
/// Characters of one value that a rule looked at.
const VALUE_CHARS_MAX: usize = 1024;

/// Read a finding of a tenant; `row` is its own row in the lake, where that is known. Nothing where the text is no finding,
/// or where nothing follows from it because its rule runs in shadow.
#[must_use]
pub fn finding(tenant: TenantId, row: Option<EventId>, raw: &str) -> Option<Detection> {
    of_ocsf(tenant, row, &serde_json::from_str(raw).ok()?)
}

/// The same from parsed OCSF.
pub(crate) fn of_ocsf(tenant: TenantId, row: Option<EventId>, ocsf: &Value) -> Option<Detection> {
    if ocsf.pointer("/unmapped/shadow").and_then(Value::as_bool).unwrap_or(false) {
        return None;
    }
    let text = |pointer: &str| ocsf.pointer(pointer).and_then(Value::as_str);
    let list = |pointer: &str| ocsf.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let millis = |pointer: &str| Some(Timestamp::from_micros(ocsf.pointer(pointer)?.as_i64()?.saturating_mul(1000)));
    let time = millis("/time")?;
    let mut entities: Vec<Entity> = Vec::new();
    let named = list("/unmapped/entities").filter_map(|name| name.as_str()?.parse().ok());
    for entity in lineage(ocsf).into_iter().chain(named) {
        if entities.len() < ENTITIES_MAX && !entities.contains(&entity) {
            entities.push(entity);
        }
    }
    let techniques = list("/finding_info/attacks").filter_map(|one| one.pointer("/technique/uid")?.as_str());
    Some(Detection {
        id: text("/finding_info/uid")?.parse().ok()?,
        tenant,
        rule: text("/unmapped/rule").and_then(|id| id.parse().ok()),
        rule_uid: text("/finding_info/analytic/uid").unwrap_or_default().chars().take(200).collect(),
        title: text("/finding_info/title")?.chars().take(300).collect(),
        severity: severity(ocsf.get("severity_id").and_then(Value::as_u64)),
        techniques: techniques.take(32).map(|one| one.chars().take(32).collect()).collect(),
        event: row,
        events: list("/unmapped/events").filter_map(|id| id.as_str()?.parse().ok()).take(EVENTS_MAX).collect(),
        time,
        found_at: millis("/finding_info/created_time").unwrap_or(time),
        entities,
        matched: list("/evidences/0/data/matched").filter_map(matched).take(MATCHED_MAX).collect(),
    })
}

/// The processes that the event speaks of: itself, who acts and who started it, each on its host.
fn lineage(ocsf: &Value) -> Vec<Entity> {
    let process = ocsf.pointer("/unmapped/process");
    let host = process.and_then(|process| process.get("host")).and_then(Value::as_str).unwrap_or_default();
    let uid = |name: &str| process?.get(name)?.as_str().filter(|uid| !uid.is_empty());
    ["uid", "parent_uid", "actor_uid"]
        .iter()
        .filter_map(|name| Entity::new(EntityKind::Lineage, &format!("{host}/{}", uid(name)?)))
        .collect()
}

fn matched(step: &Value) -> Option<Matched> {
    let values = step.get("values").and_then(Value::as_array).into_iter().flatten();
    let short = |value: &Value| -> String {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.chars().take(VALUE_CHARS_MAX).collect()
    };
    let field = step.get("field")?.as_str()?.chars().take(300).collect();
    Some(Matched { field, values: values.map(short).take(16).collect() })
}

fn severity(number: Option<u64>) -> Severity {
    match number {
        Some(1) => Severity::Informational,
        Some(2) => Severity::Low,
        Some(3) => Severity::Medium,
        Some(4) => Severity::High,
        Some(5) => Severity::Critical,
        Some(6) => Severity::Fatal,
        _ => Severity::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ids::DetectionId;
    use serde_json::json;

    #[test]
    fn a_finding_reads_and_a_shadow_does_not() {
        let (tenant, id) = (TenantId::derive(&[b"own"]), DetectionId::derive(&[b"one"]));
        let mut ocsf = json!({
            "time": 1_770_000_000_000_i64, "severity_id": 4,
            "finding_info": { "uid": id, "title": "Whoami", "created_time": 1_770_000_001_000_i64,
                "analytic": { "uid": "7e6f" }, "attacks": [{ "technique": { "uid": "T1033" } }] },
            "evidences": [{ "data": { "matched": [{ "field": "Image", "wanted": "x", "values": ["C:\\whoami.exe", 4] }] } }],
            "unmapped": { "shadow": false, "events": ["event_xw3xdh020e0200r0", "nonsense"],
                "entities": ["host:WS01", "planet:mars", "host:ws01"],
                "process": { "host": "WS01", "uid": "{A-1}", "parent_uid": "{A-0}" } },
        });
        let read = finding(tenant, None, &ocsf.to_string()).unwrap();
        let entities: Vec<String> = read.entities.iter().map(ToString::to_string).collect();
        assert_eq!(entities, ["lineage:ws01/{a-1}", "lineage:ws01/{a-0}", "host:ws01"]);
        assert_eq!((read.id, read.severity, read.events.len()), (id, Severity::High, 1));
        assert_eq!(read.matched[0].values, ["C:\\whoami.exe", "4"]);
        assert_eq!(read.found_at.since(read.time).as_secs(), 1);
        ocsf["unmapped"]["shadow"] = true.into();
        assert_eq!(finding(tenant, None, &ocsf.to_string()), None);
        assert_eq!(finding(tenant, None, "{}"), None);
    }
}

//! Findings asked for, read back from the lake. Must never take for ours what a source sent in the shape of a finding.

use super::Plane;
use super::ask::{offset, provenance, rows_max, unmasked};
use api::{Bounds, Detection, DetectionGet, DetectionList, Detections, Problem};
use ids::{RuleId, Scope, Severity, TenantId, Timestamp};
use lake::Ask;
use serde_json::Value;
use std::time::Duration;

/// How far back findings are listed where nothing is said.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// A text as SQL writes it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Plane {
    pub(super) async fn ask_detections(
        &self,
        scope: &Scope,
        input: &DetectionList,
        bounds: &Bounds,
    ) -> Result<Detections, Problem> {
        unmasked(bounds)?;
        let (started, offset) = (self.0.clock.now(), offset(bounds)?);
        let until = input.until.unwrap_or_else(|| started.plus(WEEK));
        let since = input.since.unwrap_or_else(|| until.min(started).minus(WEEK));
        let mut conditions = vec![format!("time >= TIMESTAMP '{since}'"), format!("time < TIMESTAMP '{until}'")];
        if let Some(rule) = input.rule {
            conditions.push(format!("json_text(raw, 'unmapped.rule') = {}", quoted(&rule.to_string())));
        }
        if let Some(severity) = input.severity {
            conditions.push(format!("severity_id >= {}", severity.ocsf_id()));
        }
        if let Some(entity) = &input.entity {
            let (kind, value) = entity.split_once(':').unwrap_or(("", entity.as_str()));
            if lake::kind_named(kind).is_none() {
                return Err(Problem::fault("/entity", "is not `kind:value`; write for example `ip:10.0.0.7`"));
            }
            conditions.push(format!("has_observable({}, {})", quoted(kind), quoted(value)));
        }
        let sql = format!(
            "SELECT raw, tenant, received FROM detections WHERE {} ORDER BY time DESC, log_segment DESC, log_offset DESC, \
             log_index DESC, log_part DESC",
            conditions.join(" AND ")
        );
        let ask = Ask { scope: scope.clone(), sql, rows_max: rows_max(bounds), offset };
        let answer = self.within(bounds, self.0.lake.ask(ask), "").await?;
        let items = answer.rows.iter().filter_map(|row| detection(row, scope, false)).collect();
        let cut = answer.cut.map(super::ask::cut_of);
        Ok(Detections {
            items,
            next_cursor: answer.next_offset.map(|next| format!("offset:{next}")),
            complete: cut.is_none(),
            cut,
            provenance: provenance(&answer.provenance, started, self.0.clock.now()),
        })
    }

    pub(super) async fn ask_detection(
        &self,
        scope: &Scope,
        input: &DetectionGet,
        bounds: &Bounds,
    ) -> Result<Detection, Problem> {
        unmasked(bounds)?;
        let sql = format!(
            "SELECT raw, tenant, received FROM detections WHERE finding_uid = {}",
            quoted(&input.detection.to_string())
        );
        let ask = Ask { scope: scope.clone(), sql, rows_max: 1, offset: 0 };
        let answer = self.within(bounds, self.0.lake.ask(ask), "").await?;
        let found = answer.rows.first().and_then(|row| detection(row, scope, true));
        found.ok_or_else(|| Problem::not_found("detection"))
    }
}

/// A finding's row as the gate tells it.
fn detection(row: &[Value], scope: &Scope, whole: bool) -> Option<Detection> {
    let raw = row.first()?.as_str()?;
    let tenant: TenantId = match scope {
        Scope::Tenant(tenant) => *tenant,
        _ => row.get(1)?.as_str()?.parse().ok()?,
    };
    let received: Timestamp = row.get(2)?.as_str()?.parse().ok()?;
    of_ocsf(raw, tenant, received, whole)
}

/// A finding from its OCSF text.
pub(super) fn of_ocsf(raw: &str, tenant: TenantId, found_at: Timestamp, whole: bool) -> Option<Detection> {
    let ocsf: Value = serde_json::from_str(raw).ok()?;
    let text = |pointer: &str| ocsf.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let texts = |pointer: &str| -> Vec<String> {
        let items = ocsf.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let attacks = ocsf.pointer("/finding_info/attacks").and_then(Value::as_array).into_iter().flatten();
    let techniques = attacks.filter_map(|attack| attack.pointer("/technique/uid")?.as_str().map(str::to_owned));
    let severity = ocsf.get("severity_id").and_then(Value::as_u64);
    let rule: Option<RuleId> = text("/unmapped/rule").parse().ok();
    Some(Detection {
        id: text("/finding_info/uid").parse().ok()?,
        tenant,
        rule,
        rule_name: text("/unmapped/rule_name"),
        rule_digest: text("/unmapped/rule_digest"),
        title: text("/finding_info/title"),
        severity: severity_of(severity),
        shadow: ocsf.pointer("/unmapped/shadow").and_then(Value::as_bool).unwrap_or(false),
        time: Timestamp::from_micros(ocsf.get("time").and_then(Value::as_i64)?.saturating_mul(1000)),
        found_at,
        events: texts("/unmapped/events"),
        event_count: ocsf.pointer("/unmapped/event_count").and_then(Value::as_u64).unwrap_or(1),
        entities: texts("/unmapped/entities"),
        techniques: techniques.collect(),
        retro_hunt: ocsf.pointer("/unmapped/retro_hunt").and_then(Value::as_str).map(str::to_owned),
        ocsf: whole.then_some(ocsf),
    })
}

fn severity_of(number: Option<u64>) -> Severity {
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

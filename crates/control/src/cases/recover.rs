//! What was found and is in no case yet, because the platform ended between the two: looked up in the lake and put into
//! cases. Reads through the gate, as `system_cases`; what is in a case already changes nothing.

use super::finding::finding;
use super::intake::{ObserveError, add};
use crate::context::Control;
use api::{CaseObserved, EventRows};
use ids::{Scope, TenantId, Timestamp};
use serde_json::{Map, Value, json};
use std::time::Duration;
use store::{Stored, Tenant};

/// How far before a tenant's mark is looked: records of several connections are not received in one order.
const OVERLAP: Duration = Duration::from_secs(600);
/// Findings of one page.
const PAGE: u32 = 500;

impl Control {
    /// Put into cases what every tenant's lake holds and no case has. For the start, and for when a queue was full.
    ///
    /// # Errors
    /// [`ObserveError`]; what was done before is done.
    pub async fn recover_findings(&self) -> Result<CaseObserved, ObserveError> {
        let mut all = CaseObserved::default();
        let Some(plane) = &self.plane else { return Ok(all) };
        let found = plane.with_findings();
        let tenants = crate::decide::all::<Tenant>(&self.store.snapshot(Scope::Provider)).await;
        let tenants: Vec<Stored<Tenant>> =
            tenants.map_err(|refusal| ObserveError::Refused(Box::new(refusal.into_problem())))?;
        for tenant in tenants.iter().map(|stored| stored.value.id) {
            // A look costs a decision and a plan: not for the many that have nothing to be looked at.
            if !found.contains(&tenant) {
                continue;
            }
            match self.recover_tenant(tenant).await {
                Ok(observed) => add(&mut all, observed),
                Err(ObserveError::Gone) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    async fn recover_tenant(&self, tenant: TenantId) -> Result<CaseObserved, ObserveError> {
        let mark = self.cases_found_until(tenant).await?;
        let from = mark.map_or(Timestamp::default(), |mark| mark.minus(OVERLAP));
        let sql = format!(
            "SELECT id, received, raw FROM detections WHERE received >= TIMESTAMP '{from}' \
             ORDER BY received, id"
        );
        let (mut all, mut cursor) = (CaseObserved::default(), None::<String>);
        loop {
            let mut input = json!({ "tenant": tenant, "sql": sql, "limit": PAGE });
            if let (Some(cursor), Some(fields)) = (cursor, input.as_object_mut()) {
                fields.insert("cursor".to_owned(), cursor.into());
            }
            let rows: EventRows = self.call_for_cases("event.query", input).await?;
            let found = rows.items.iter().filter_map(|row| detection_row(tenant, row));
            let until = rows.items.last().and_then(received);
            add(&mut all, self.observe_findings(found.collect(), until).await?);
            cursor = rows.next_cursor;
            if rows.items.is_empty() || cursor.is_none() {
                return Ok(all);
            }
        }
    }
}

fn detection_row(tenant: TenantId, row: &Map<String, Value>) -> Option<case::Detection> {
    let event = row.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
    finding(tenant, event, row.get("raw")?.as_str()?)
}

fn received(row: &Map<String, Value>) -> Option<Timestamp> {
    row.get("received")?.as_str()?.parse().ok()
}

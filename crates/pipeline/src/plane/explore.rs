//! The smaller questions: how many over time, which fields and values, how rare, which processes, what it would cost.

use super::Plane;
use super::ask::{provenance, range, unmasked};
use api::{
    Bounds, EntityKind, EntityPrevalence, Estimate, EventEstimate, EventFields, EventHistogram, EventProcessTree,
    EventValues, FieldInfo, Fields, Histogram, HistogramStep, LakeStatus, LakeTable, Prevalence, Prevalences, Problem,
    ProblemKind, ProcessNode, ProcessTree, ValueCount, Values,
};
use event::ocsf::Schema;
use ids::{Owner, Scope, TenantId, Timestamp};
use lake::Part;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How far around a process its tree is looked for.
const TREE: Duration = Duration::from_secs(7 * 24 * 3600);

impl Plane {
    pub(super) async fn ask_histogram(
        &self,
        scope: &Scope,
        input: &EventHistogram,
        bounds: &Bounds,
    ) -> Result<Histogram, Problem> {
        unmasked(bounds)?;
        let started = self.0.clock.now();
        let (from, to) = range(input.since, input.until, started);
        let to = to.unwrap_or(started);
        let steps = u64::from(input.steps.max(1));
        let step_secs = to.since(from).as_secs().div_ceil(steps).max(1);
        let part =
            Part { scope: scope.clone(), query: input.query.as_str().to_owned(), from: Some(from), to: Some(to) };
        let by = input.by.as_ref().map(|by| by.as_str().to_owned());
        let asked = self.0.lake.histogram(part, Duration::from_secs(step_secs), by.clone());
        let answer = self.within(bounds, asked, "/query").await?;
        let mut items: Vec<HistogramStep> = answer.rows.iter().filter_map(|row| step(row, by.is_some())).collect();
        let total = items.iter().map(|item| item.count).sum();
        keep_top(&mut items, 10);
        let cut = answer.cut.map(super::ask::cut_of);
        let provenance = provenance(&answer.provenance, started, self.0.clock.now());
        Ok(Histogram { items, step_secs, total, complete: cut.is_none(), cut, provenance })
    }

    pub(super) async fn ask_values(
        &self,
        scope: &Scope,
        input: &EventValues,
        bounds: &Bounds,
    ) -> Result<Values, Problem> {
        unmasked(bounds)?;
        let started = self.0.clock.now();
        let (from, to) = range(input.since, input.until, started);
        let part = Part { scope: scope.clone(), query: input.query.as_str().to_owned(), from: Some(from), to };
        let top = super::ask::rows_max(bounds);
        let answer = self.within(bounds, self.0.lake.values(part, input.field.as_str(), top), "/field").await?;
        let count = |row: &Vec<Value>| {
            Some(ValueCount { value: row.first()?.clone(), count: row.get(1).and_then(Value::as_u64)? })
        };
        let items: Vec<ValueCount> = answer.rows.iter().filter_map(count).collect();
        let cut = answer.cut.map(super::ask::cut_of);
        let complete = cut.is_none() && items.len() < top;
        Ok(Values { items, complete, cut, provenance: provenance(&answer.provenance, started, self.0.clock.now()) })
    }

    pub(super) async fn ask_fields(
        &self,
        scope: &Scope,
        input: &EventFields,
        bounds: &Bounds,
    ) -> Result<Fields, Problem> {
        unmasked(bounds)?;
        if let Some(fields) = self.external_fields(scope, input, bounds).await? {
            return Ok(fields);
        }
        let mut query: Vec<String> = Vec::new();
        if let Some(source) = &input.source {
            query.push(format!("source:\"{}\"", source.replace(['"', '\\'], "")));
        }
        if let Some(table) = input.table.as_ref().filter(|table| table.as_str() != "events") {
            let class = Schema::built_in().class_named(table.as_str());
            let class = class.ok_or_else(|| Problem::fault("/table", "is not a table; write an OCSF class"))?;
            query.push(format!("class_uid:{}", class.uid));
        }
        let part = Part { scope: scope.clone(), query: query.join(" AND "), from: None, to: None };
        let found = self.within(bounds, self.0.lake.fields(part), "/table").await?;
        let like = input.like.as_ref().map(|like| like.to_lowercase()).unwrap_or_default();
        let of = input.table.as_ref().map_or_else(|| "events".to_owned(), |table| table.as_str().to_owned());
        let fields = found.fields.iter().filter(|field| field.name.to_lowercase().contains(&like));
        let most = super::ask::rows_max(bounds);
        let mut items: Vec<FieldInfo> = fields
            .map(|field| FieldInfo {
                name: field.name.clone(),
                kind: field.kind.to_owned(),
                column: true,
                of: vec![of.clone()],
                meaning: field.path.map(|path| format!("OCSF `{path}`")),
                examples: Vec::new(),
            })
            .collect();
        let complete = items.len() <= most;
        items.truncate(most);
        Ok(Fields { items, complete })
    }

    pub(super) async fn ask_process_tree(
        &self,
        scope: &Scope,
        input: &EventProcessTree,
        bounds: &Bounds,
    ) -> Result<ProcessTree, Problem> {
        unmasked(bounds)?;
        let more: &[&str] = if matches!(scope, Scope::Tenant(_)) { &[] } else { &["tenant"] };
        let columns = [&["time", "process_uid", "actor_process_uid", "device_hostname"], more].concat();
        let row = self.row(scope, input.event.as_str(), &columns, bounds).await?;
        let text = |name: &str| row.get(name).and_then(Value::as_str);
        let process = text("process_uid").or_else(|| text("actor_process_uid"));
        let focus = process.ok_or_else(|| Problem::fault("/event", "names no process that can be followed"))?;
        let tenant: Option<TenantId> = match scope {
            Scope::Tenant(tenant) => Some(*tenant),
            _ => text("tenant").and_then(|tenant| tenant.parse().ok()),
        };
        let time: Timestamp = text("time").and_then(|time| time.parse().ok()).unwrap_or_default();
        let ask = lake::ProcessTree {
            tenant: tenant.ok_or_else(Problem::internal)?,
            process_uid: focus.to_owned(),
            from: time.minus(TREE),
            to: time.plus(TREE),
            generations: u8::try_from(input.up.max(input.down)).unwrap_or(16),
            processes_max: 1_000,
            around: text("device_hostname").map(|host| (host.to_owned(), time)),
        };
        let forest = self.within(bounds, self.0.lake.process_tree(ask), "/event").await?;
        let host = forest.processes.iter().find_map(|node| node.host.clone());
        let known: BTreeSet<&str> = forest.processes.iter().map(|node| node.process_uid.as_str()).collect();
        let node = |node: &lake::ProcessNode| ProcessNode {
            key: node.process_uid.clone(),
            parent: node.parent_uid.clone().filter(|parent| known.contains(parent.as_str())),
            event: node.event.clone(),
            time: node.time.as_ref().and_then(|time| time.parse().ok()),
            pid: None,
            name: node.path.as_ref().map(|path| path.rsplit(['\\', '/']).next().unwrap_or(path).to_owned()),
            command_line: node.cmd_line.clone(),
            user: node.user.clone(),
        };
        let items = forest.processes.iter().map(node).collect();
        Ok(ProcessTree { items, focus: focus.to_owned(), host, complete: forest.complete })
    }

    /// What a question would read at most.
    pub(super) async fn ask_estimate(
        &self,
        scope: &Scope,
        input: &EventEstimate,
        bounds: &Bounds,
    ) -> Result<Estimate, Problem> {
        let asked = self.0.lake.estimate_sql(scope.clone(), input.sql.as_str().to_owned());
        let told = self.within(bounds, asked, "/sql").await?;
        Ok(Estimate {
            files: told.files,
            files_skipped: told.files_skipped,
            rows: told.rows.saturating_add(told.hot_rows),
            bytes: told.bytes_max,
            fits: told.bytes_max <= bounds.decoded_bytes_max,
        })
    }

    pub(super) async fn ask_prevalence(&self, scope: &Scope, input: &EntityPrevalence) -> Result<Prevalences, Problem> {
        let (kind, normalised) = entity(input);
        let found = self.0.lake.catalog().prevalence(scope, kind, &normalised).await.map_err(|error| {
            tracing::error!(error = %super::runner::error_text(&error), "the entity summary cannot be read");
            Problem::new(ProblemKind::Unavailable, "the entity summary cannot be read now")
        })?;
        let mut items: Vec<Prevalence> = found
            .iter()
            .map(|one| Prevalence {
                tenant: one.tenant,
                count: one.count,
                days: u32::try_from(one.days).unwrap_or(u32::MAX),
                first_seen: Some(one.first),
                last_seen: Some(one.last),
            })
            .collect();
        let asked: Vec<TenantId> = match scope {
            Scope::Tenant(tenant) => vec![*tenant],
            Scope::Tenants(tenants) => tenants.iter().copied().collect(),
            Scope::Provider => Vec::new(),
        };
        for tenant in asked {
            if !items.iter().any(|item| item.tenant == tenant) {
                items.push(Prevalence { tenant, count: 0, days: 0, first_seen: None, last_seen: None });
            }
        }
        Ok(Prevalences { items, normalised })
    }

    pub(super) async fn ask_status(&self, scope: &Scope) -> Result<LakeStatus, Problem> {
        let state = self.0.lake.catalog().load().await.map_err(|error| {
            tracing::error!(error = %super::runner::error_text(&error), "the catalog cannot be read");
            Problem::new(ProblemKind::Unavailable, "the lake's catalog cannot be read now")
        })?;
        let mut tables: BTreeMap<u32, LakeTable> = BTreeMap::new();
        for file in state.files.values() {
            let own = file.row_groups.iter().filter(|run| scope.covers(Owner::Tenant(run.tenant)));
            let mut counted = false;
            for run in own {
                let table = tables.entry(file.class_uid).or_default();
                table.files = table.files.saturating_add(u64::from(!counted));
                counted = true;
                table.rows = table.rows.saturating_add(run.rows);
                table.bytes = table.bytes.saturating_add(run.bytes);
                table.first = Some(table.first.map_or(run.time_min, |first| first.min(run.time_min)));
                table.last = table.last.max(Some(run.time_max));
            }
        }
        let size = self.0.lake.size();
        let mut items: Vec<LakeTable> = tables
            .into_iter()
            .map(|(class, table)| {
                let name =
                    Schema::built_in().class(class).map_or_else(|| class.to_string(), |own| own.entry.name.to_owned());
                LakeTable { table: name, ..table }
            })
            .collect();
        if *scope == Scope::Provider && size.hot_rows > 0 {
            items.push(LakeTable { table: "events".to_owned(), hot_rows: size.hot_rows, ..LakeTable::default() });
        }
        let pressure = match self.0.receiver.pressure() {
            crate::Pressure::Open => "open",
            crate::Pressure::Busy { .. } => "busy",
            crate::Pressure::Stopped { .. } => "stopped",
        };
        let (read, _) = self.0.shared.fares().totals();
        let taken: u64 = self.0.receiver.health().iter().map(|health| health.tally.accepted).sum();
        let behind = if self.caught_up() { 0 } else { taken.saturating_sub(read).max(1) };
        Ok(LakeStatus { items, snapshot: state.snapshot, behind, pressure: pressure.to_owned() })
    }
}

fn step(row: &[Value], by: bool) -> Option<HistogramStep> {
    let at = row.first()?.as_str()?.parse().ok()?;
    let value = by.then(|| row.get(1).cloned()).flatten().filter(|value| !value.is_null());
    Some(HistogramStep { at, value, count: row.last()?.as_u64()? })
}

/// Leave the values that are the most frequent; the others are counted together.
fn keep_top(items: &mut Vec<HistogramStep>, most: usize) {
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    for item in items.iter() {
        if let Some(value) = &item.value {
            let total = totals.entry(value.to_string()).or_default();
            *total = total.saturating_add(item.count);
        }
    }
    let mut ranked: Vec<(u64, String)> = totals.into_iter().map(|(value, count)| (count, value)).collect();
    ranked.sort_by(|left, right| right.cmp(left));
    let kept: BTreeSet<String> = ranked.into_iter().take(most).map(|(_, value)| value).collect();
    let mut merged: Vec<HistogramStep> = Vec::new();
    for mut item in items.drain(..) {
        item.value = item.value.filter(|value| kept.contains(&value.to_string()));
        match merged.iter_mut().rev().take_while(|other| other.at == item.at).find(|other| other.value == item.value) {
            Some(same) => same.count = same.count.saturating_add(item.count),
            None => merged.push(item),
        }
    }
    *items = merged;
}

/// The kind and the value as the summary knows them.
fn entity(input: &EntityPrevalence) -> (catalog::EntityKind, String) {
    let value = input.value.as_str();
    let mut text = String::new();
    let kind = match input.kind {
        EntityKind::Command => {
            lake::normalise_command(value, &mut text);
            return (catalog::EntityKind::Command, text);
        }
        EntityKind::ProcessPair => {
            let (parent, child) = value.split_once('>').unwrap_or((value, ""));
            lake::parent_child(parent.trim(), child.trim(), &mut text);
            return (catalog::EntityKind::ParentChild, text);
        }
        EntityKind::Domain => catalog::EntityKind::Domain,
        EntityKind::Hash => catalog::EntityKind::Hash,
        EntityKind::Host => catalog::EntityKind::Host,
        EntityKind::Ip => catalog::EntityKind::Address,
        EntityKind::User => catalog::EntityKind::User,
    };
    (kind, value.to_lowercase())
}

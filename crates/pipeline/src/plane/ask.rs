//! Questions to the lake for rows: the gate's words into the lake's, and its answers and errors back.
//!
//! Must never answer a question whose bounds it cannot keep: where policy masks fields, which this lake does not do
//! inside expressions, the question is refused.

use super::Plane;
use api::{
    Bounds, Column, Cut, Event, EventExport, EventFiles, EventGet, EventQuery, EventRows, EventSearch, EventTail,
    ExportFile, ExportFormat, Problem, ProblemKind, Provenance,
};
use base64::Engine as _;
use event::Parser;
use event::mapping::{Normalised, Normaliser};
use ids::{EventId, Scope, TenantId, Timestamp};
use journal::Position;
use lake::{Answer, Ask, AskError, Search};
use serde_json::{Map, Value};
use std::time::Duration;

/// What the plane's position in an answer begins with.
const OFFSET: &str = "offset:";
/// How far a search looks back where nothing is said.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Rows that one look of a tail orders.
const TAIL_ROWS: usize = 10_000;
/// Characters of a raw text in an answer.
const RAW_CHARS: usize = 65_536;
/// What is told of an event; its tenant besides, where the scope is of several.
const TOLD: [&str; 6] = ["id", "time", "received", "source", "class_uid", "raw"];

impl Plane {
    pub(super) async fn ask_query(
        &self,
        scope: &Scope,
        input: &EventQuery,
        bounds: &Bounds,
    ) -> Result<EventRows, Problem> {
        unmasked(bounds)?;
        let (started, offset) = (self.0.clock.now(), offset(bounds)?);
        let ask = Ask { scope: scope.clone(), sql: input.sql.as_str().to_owned(), rows_max: rows_max(bounds), offset };
        let answer = self.within(bounds, self.0.lake.ask(ask), "/sql").await?;
        let next = answer.next_offset;
        Ok(self.rows(
            answer,
            started,
            bounds,
            |taken| Some(format!("{OFFSET}{}", offset.saturating_add(taken))),
            next.is_some(),
        ))
    }

    pub(super) async fn ask_search(
        &self,
        scope: &Scope,
        input: &EventSearch,
        bounds: &Bounds,
    ) -> Result<EventRows, Problem> {
        unmasked(bounds)?;
        let started = self.0.clock.now();
        let (from, to) = range(input.since, input.until, started);
        let columns = input.columns.iter().flat_map(|columns| columns.iter()).map(|name| name.as_str().to_owned());
        let search = Search {
            scope: scope.clone(),
            query: input.query.as_str().to_owned(),
            from: Some(from),
            to,
            columns: columns.collect(),
            rows_max: rows_max(bounds),
            after: bounds.position.clone(),
        };
        let page = self.within(bounds, self.0.lake.search(search), "/query").await?;
        let next = page.next;
        // A search goes on after its last row: an answer that is cut by its bytes is told without a place to go on.
        let more = next.is_some();
        Ok(self.rows(page.answer, started, bounds, |_| next.clone(), more))
    }

    /// What became searchable after a place in the log, in the log's order.
    pub(super) async fn ask_tail(
        &self,
        scope: &Scope,
        input: &EventTail,
        bounds: &Bounds,
    ) -> Result<EventRows, Problem> {
        unmasked(bounds)?;
        let started = self.0.clock.now();
        let (from, index) = match &bounds.position {
            None => (self.0.shared.position(), 0),
            Some(position) => place(position)?,
        };
        let end = tokio::time::Instant::now() + Duration::from_secs(input.wait_secs.into());
        let (mut place, mut seen) = (self.0.shared.position.subscribe(), from);
        loop {
            let moved = async { place.wait_for(|reached| *reached > seen).await.is_ok() };
            let over = tokio::time::timeout_at(end, moved).await.is_err() || tokio::time::Instant::now() >= end;
            seen = self.0.shared.position();
            if over && seen <= from {
                let next_cursor = Some(format!("{}:{}:{index}", from.segment, from.offset));
                return Ok(EventRows { complete: true, next_cursor, ..EventRows::default() });
            }
            let found = self.arrived(scope, input.query.as_str(), from, index, bounds, started).await?;
            if over || !found.items.is_empty() {
                return Ok(found);
            }
        }
    }

    async fn arrived(
        &self,
        scope: &Scope,
        query: &str,
        from: Position,
        index: u32,
        bounds: &Bounds,
        started: Timestamp,
    ) -> Result<EventRows, Problem> {
        let reached = self.0.shared.position();
        let (segment, offset) = (from.segment, from.offset);
        let place = format!("((log_segment:{segment} AND log_offset:>={offset}) OR log_segment:>{segment})");
        let query = if query.trim().is_empty() { place } else { format!("({query}) AND {place}") };
        let shown = [
            "id",
            "tenant",
            "source",
            "time",
            "class_uid",
            "activity_id",
            "severity_id",
            "message",
            "device_hostname",
            "actor_user_name",
            "process_cmd_line",
            "src_ip",
            "dst_ip",
            "user_name",
            "api_operation",
            "finding_title",
            "raw",
            "log_segment",
            "log_offset",
            "log_index",
            "log_part",
        ];
        let search = Search {
            scope: scope.clone(),
            query,
            from: None,
            to: None,
            columns: shown.map(str::to_owned).to_vec(),
            rows_max: TAIL_ROWS,
            after: None,
        };
        let mut answer = self.within(bounds, self.0.lake.search(search), "/query").await?.answer;
        let at = |name: &str| answer.columns.iter().position(|column| column.name == name);
        let places = ["log_segment", "log_offset", "log_index", "log_part"].map(at);
        let key = |row: &Vec<Value>| places.map(|place| place.and_then(|place| row.get(place)?.as_u64()).unwrap_or(0));
        let first = [segment, offset, u64::from(index), 0];
        answer.rows.retain(|row| key(row) >= first);
        answer.rows.sort_by_key(key);
        let keys: Vec<[u64; 4]> = answer.rows.iter().map(key).collect();
        let most = rows_max(bounds);
        let more = answer.rows.len() > most;
        answer.rows.truncate(most);
        answer.next_offset = None;
        // All rows of one record go together, or its findings would be left out or come twice.
        let next = move |taken: u64| {
            let taken = usize::try_from(taken).unwrap_or(usize::MAX);
            Some(match keys.get(taken) {
                Some([segment, offset, index, _]) => format!("{segment}:{offset}:{index}"),
                None => format!("{}:{}:0", reached.segment, reached.offset),
            })
        };
        let last = u64::try_from(answer.rows.len()).unwrap_or(u64::MAX);
        let mut rows = self.rows(answer, started, bounds, &next, more);
        if rows.next_cursor.is_none() {
            rows.next_cursor = next(last);
        }
        Ok(rows)
    }

    /// One event whole.
    pub(super) async fn ask_event(&self, scope: &Scope, input: &EventGet, bounds: &Bounds) -> Result<Event, Problem> {
        unmasked(bounds)?;
        let row = self.row(scope, input.event.as_str(), &[], bounds).await?;
        self.told(scope, input.event.as_str().to_owned(), &row)
    }

    /// Several events in one question.
    pub(super) async fn ask_events(
        &self,
        scope: &Scope,
        ids: &[EventId],
        bounds: &Bounds,
    ) -> Result<Vec<Event>, Problem> {
        unmasked(bounds)?;
        let more: &[&str] = if matches!(scope, Scope::Tenant(_)) { &[] } else { &["tenant"] };
        let columns = [&TOLD, more].concat();
        let asked = self.0.lake.get_all(scope.clone(), ids, &columns);
        let answer = self.within(bounds, asked, "/events").await?;
        let names: Vec<String> = answer.columns.into_iter().map(|column| column.name).collect();
        let told = |row: Vec<Value>| {
            let row: Map<String, Value> = names.iter().cloned().zip(row).collect();
            let id = row.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            self.told(scope, id, &row)
        };
        answer.rows.into_iter().map(told).collect()
    }

    /// An event from its columns.
    fn told(&self, scope: &Scope, id: String, row: &Map<String, Value>) -> Result<Event, Problem> {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        let tenant: TenantId = match scope {
            Scope::Tenant(tenant) => *tenant,
            _ => text("tenant").parse().map_err(|_| Problem::internal())?,
        };
        let raw = text("raw");
        let received = text("received").parse().unwrap_or_default();
        let class = row.get("class_uid").and_then(Value::as_u64);
        let ocsf = if class == Some(u64::from(super::finding::CLASS)) {
            serde_json::from_str(raw).unwrap_or_default()
        } else {
            self.ocsf(tenant, text("source"), raw, received)
        };
        let cut: String = raw.chars().take(RAW_CHARS).collect();
        Ok(Event {
            id,
            tenant,
            source: text("source").to_owned(),
            time: text("time").parse().unwrap_or_default(),
            ocsf,
            raw_cut: cut.len() < raw.len(),
            raw: cut,
        })
    }

    /// Columns of one event; all where none is named.
    pub(super) async fn row(
        &self,
        scope: &Scope,
        id: &str,
        columns: &[&str],
        bounds: &Bounds,
    ) -> Result<Map<String, Value>, Problem> {
        let Ok(id) = id.parse::<EventId>() else { return Err(Problem::not_found("event")) };
        let answer = self.within(bounds, self.0.lake.get_all(scope.clone(), &[id], columns), "/event").await?;
        let row = answer.rows.into_iter().next().ok_or_else(|| Problem::not_found("event"))?;
        Ok(answer.columns.into_iter().map(|column| column.name).zip(row).collect())
    }

    /// The OCSF form of a raw record, made anew by the mapping of its source.
    fn ocsf(&self, tenant: TenantId, source: &str, raw: &str, received: Timestamp) -> Value {
        let tenants = self.0.shared.tenants.now();
        let name = ids::Text::new(source).unwrap_or_default();
        let reading = tenants.get(&tenant).cloned().unwrap_or_default().reading(&name);
        let made;
        let json = if raw.trim_start().starts_with('{') {
            raw.as_bytes()
        } else {
            made = super::transform::line(raw, received);
            &made
        };
        let mut parser = Parser::new();
        let Ok(view) = parser.parse(json) else {
            return serde_json::json!({
                "class_uid": 0, "category_uid": 0, "activity_id": 99, "type_uid": 99, "severity_id": 1,
                "time": received.as_millis(), "message": "a record that could not be read", "raw_data": raw,
            });
        };
        let Some(mapping) = super::transform::choose(&reading, &view) else { return Value::Null };
        let mut event = Normalised::default();
        Normaliser::new().normalise(mapping, &view, received, &mut event);
        serde_json::from_str(&event.json).unwrap_or_default()
    }

    /// A part of an export: a whole file of its form.
    pub(super) async fn ask_export(
        &self,
        scope: &Scope,
        input: &EventExport,
        bounds: &Bounds,
    ) -> Result<EventFiles, Problem> {
        unmasked(bounds)?;
        let (format, end) = match input.format {
            ExportFormat::Arrow => (lake::Format::Arrow, "arrows"),
            ExportFormat::Csv => (lake::Format::Csv, "csv"),
            ExportFormat::Ndjson => (lake::Format::Ndjson, "ndjson"),
            ExportFormat::Parquet => (lake::Format::Parquet, "parquet"),
        };
        let offset = offset(bounds)?;
        let mut most = rows_max(bounds);
        loop {
            let asked = self.0.lake.ask_batches(scope.clone(), input.sql.as_str().to_owned(), most, offset);
            let found = self.within(bounds, asked, "/sql").await?;
            let rows: usize = found.batches.iter().map(|batch| batch.num_rows()).sum();
            let file = lake::export(&found, format).map_err(|error| Problem::fault("/format", error.to_string()))?;
            if u64::try_from(file.len()).unwrap_or(u64::MAX) > bounds.bytes_max && rows > 1 {
                most = rows / 2;
                continue;
            }
            let rows = u64::try_from(rows).unwrap_or(u64::MAX);
            let cut = found.cut.map(cut_of);
            return Ok(EventFiles {
                items: vec![ExportFile {
                    path: format!("part-{offset:012}.{end}"),
                    content: base64::engine::general_purpose::STANDARD.encode(file),
                }],
                rows,
                next_cursor: (cut == Some(Cut::Rows)).then(|| format!("{OFFSET}{}", offset.saturating_add(rows))),
                complete: cut.is_none(),
                cut,
            });
        }
    }

    /// Wait for an answer as long as the bounds allow.
    pub(super) async fn within<T>(
        &self,
        bounds: &Bounds,
        asked: impl Future<Output = Result<T, AskError>>,
        pointer: &str,
    ) -> Result<T, Problem> {
        let begun = tokio::time::Instant::now();
        let recovered = tokio::time::timeout(bounds.time_max, self.0.shared.reach(self.0.opened_at)).await;
        if recovered.is_err() {
            let left = self.behind_bytes() / (1 << 20);
            let text = format!("records from before the restart are still being read, about {left} MiB; ask again");
            return Err(Problem { retry_after_secs: Some(5), ..Problem::new(ProblemKind::Overloaded, text) });
        }
        match tokio::time::timeout(bounds.time_max.saturating_sub(begun.elapsed()), asked).await {
            Ok(answer) => answer.map_err(|error| problem(error, pointer)),
            Err(_) => Err(problem(AskError::Time { most: bounds.time_max }, pointer)),
        }
    }

    /// Rows as the gate tells them, within the bound of bytes. `next` gives the place after so many rows.
    fn rows(
        &self,
        answer: Answer,
        started: Timestamp,
        bounds: &Bounds,
        next: impl Fn(u64) -> Option<String>,
        more: bool,
    ) -> EventRows {
        let columns: Vec<Column> = answer
            .columns
            .iter()
            .map(|column| Column { name: column.name.clone(), kind: kind(column.kind).to_owned() })
            .collect();
        let (mut items, mut bytes, mut cut) = (Vec::new(), 0_u64, answer.cut.map(cut_of));
        if more {
            cut = cut.or(Some(Cut::Rows));
        }
        for row in answer.rows {
            let cells = columns.iter().zip(row).filter(|(_, value)| !value.is_null());
            let item: Map<String, Value> = cells.map(|(column, value)| (column.name.clone(), value)).collect();
            let size: usize = item.iter().map(|(name, value)| name.len() + 4 + size_of_json(value)).sum();
            bytes = bytes.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
            // One row always goes, or nobody would get past it.
            if bytes > bounds.bytes_max && !items.is_empty() {
                cut = Some(Cut::Bytes);
                break;
            }
            items.push(item);
        }
        let taken = u64::try_from(items.len()).unwrap_or(u64::MAX);
        EventRows {
            items,
            columns,
            complete: cut.is_none(),
            next_cursor: if matches!(cut, Some(Cut::Rows | Cut::Bytes)) { next(taken) } else { None },
            cut,
            provenance: provenance(&answer.provenance, started, self.0.clock.now()),
        }
    }
}

/// Refuse where policy hides fields: they could be told by an expression or a filter.
pub(super) fn unmasked(bounds: &Bounds) -> Result<(), Problem> {
    if bounds.masked.is_empty() {
        return Ok(());
    }
    let text = "policy hides fields of these events from you, and this question could tell them; ask somebody who may";
    Err(Problem::new(ProblemKind::Denied, text))
}

pub(super) fn rows_max(bounds: &Bounds) -> usize {
    usize::try_from(bounds.rows_max).unwrap_or(usize::MAX)
}

/// The range of a question; a day back where nothing is said.
pub(super) fn range(
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    now: Timestamp,
) -> (Timestamp, Option<Timestamp>) {
    (since.unwrap_or_else(|| until.unwrap_or(now).minus(DAY)), until)
}

/// `SEGMENT:OFFSET:INDEX`.
fn place(text: &str) -> Result<(Position, u32), Problem> {
    let mut parts = text.split(':');
    let mut number = || parts.next()?.parse::<u64>().ok();
    let read = || {
        let position = Position { segment: number()?, offset: number()? };
        Some((position, u32::try_from(number()?).ok()?))
    };
    let mut read = read;
    read().ok_or_else(|| Problem::fault("/cursor", "is not one that this question gave; begin without it"))
}

/// Where to go on.
pub(super) fn offset(bounds: &Bounds) -> Result<u64, Problem> {
    let Some(position) = &bounds.position else { return Ok(0) };
    let number = position.strip_prefix(OFFSET).and_then(|number| number.parse().ok());
    number.ok_or_else(|| Problem::fault("/cursor", "is not one that this question gave; begin without it"))
}

fn size_of_json(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(size_of_json).sum::<usize>() + items.len() + 2,
        Value::Object(members) => {
            members.iter().map(|(key, value)| key.len() + 4 + size_of_json(value)).sum::<usize>() + 2
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

pub(super) fn kind(kind: &str) -> &str {
    match kind {
        "number" => "float",
        "other" => "text",
        same => same,
    }
}

pub(super) fn cut_of(cut: lake::Cut) -> Cut {
    match cut {
        lake::Cut::Bytes => Cut::Decoded,
        lake::Cut::Rows => Cut::Rows,
        lake::Cut::Time => Cut::Time,
    }
}

pub(super) fn provenance(own: &lake::Provenance, started: Timestamp, now: Timestamp) -> Provenance {
    Provenance {
        snapshot: own.snapshot,
        as_of: started,
        files_read: own.files,
        files_skipped: 0,
        rows_scanned: own.rows.saturating_add(own.hot_rows),
        bytes_read: own.bytes,
        took_ms: u64::try_from(now.since(started).as_millis()).unwrap_or(u64::MAX),
    }
}

/// An error of the lake for the caller; `pointer` is where the question's text stands in the input.
pub(super) fn problem(error: AskError, pointer: &str) -> Problem {
    let text = error.to_string();
    match error {
        AskError::Busy { .. } => {
            let wait = u32::try_from(Duration::from_secs(2).as_secs()).ok();
            Problem { retry_after_secs: wait, ..Problem::new(ProblemKind::Overloaded, text) }
        }
        AskError::Bytes { .. } | AskError::Memory | AskError::Time { .. } | AskError::TooLarge { .. } => {
            Problem::new(ProblemKind::QueryLimit, text)
        }
        AskError::Internal(_) => {
            tracing::error!(error = %text, "the lake failed at a question");
            Problem::internal()
        }
        _ => Problem::fault(pointer, text),
    }
}

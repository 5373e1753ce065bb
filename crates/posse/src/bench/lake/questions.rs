//! The nine questions that a SOC asks its lake, each answered a few times: processor time of the server, warm and, after a
//! restart, cold. What they find is checked where the corpus says what must be found.

use super::super::served::Served;
use super::corpus::{Corpus, NEEDLE_IP, NEEDLE_SHA256};
use super::{float, progress, round};
use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};
use std::time::Instant;

const DAY_SECS: u64 = 86_400;
const WARM_ROUNDS: u32 = 5;

/// What the questions came to.
pub(super) struct Asked {
    /// `q1` to `q9`: `{cpu_ms, cold_cpu_ms, wall_ms, rows, files_read}`.
    pub(super) queries: Value,
    /// A look-up of a rare value over 30 days in one tenant: the time of the whole call.
    pub(super) prevalence_ms: f64,
}

struct Question {
    name: &'static str,
    sql: String,
    /// Of all tenants, or of the largest.
    all: bool,
    /// How many rows it must find, where the corpus says so.
    rows: Option<usize>,
}

/// Ask them all.
pub(super) async fn ask(
    server: &mut Served,
    token: &str,
    corpus: &Corpus,
    tenants: &[String],
) -> anyhow::Result<Asked> {
    let mut queries = Map::new();
    for question in questions(corpus) {
        server.restart()?;
        let cold = one(server, token, tenants, &question).await?;
        one(server, token, tenants, &question).await?;
        let mut warm = Vec::new();
        for _ in 0..WARM_ROUNDS {
            warm.push(one(server, token, tenants, &question).await?);
        }
        warm.sort_by(|a, b| a.cpu_ms.total_cmp(&b.cpu_ms));
        let median = warm.get(warm.len() / 2).context("there was a round")?;
        progress(&format!("{}: {:.1} ms of processor, {} rows", question.name, median.cpu_ms, median.rows));
        if let Some(rows) = question.rows {
            ensure!(median.rows == rows, "{} found {} rows, planted were {rows}", question.name, median.rows);
        }
        queries.insert(
            question.name.to_owned(),
            json!({
                "cpu_ms": round(median.cpu_ms), "cold_cpu_ms": round(cold.cpu_ms), "wall_ms": round(median.wall_ms),
                "rows": median.rows, "files_read": median.files_read,
            }),
        );
    }
    Ok(Asked { queries: Value::Object(queries), prevalence_ms: prevalence(server, token, tenants).await? })
}

struct Once {
    cpu_ms: f64,
    wall_ms: f64,
    rows: usize,
    files_read: u64,
}

async fn one(server: &Served, token: &str, tenants: &[String], question: &Question) -> anyhow::Result<Once> {
    let largest = tenants.first().context("there is a tenant")?;
    let whose = if question.all { json!({ "tenants": tenants }) } else { json!({ "tenant": largest }) };
    let mut body = whose;
    if let Some(fields) = body.as_object_mut() {
        fields.insert("sql".to_owned(), json!(question.sql));
        fields.insert("limit".to_owned(), json!(10_000));
    }
    let before = server.cpu_secs()?;
    let started = Instant::now();
    let answer = server.call("POST", "/v1/events/query", token, &body.to_string()).await;
    let answer = answer.with_context(|| format!("{} was refused", question.name))?;
    let (wall, after) = (started.elapsed(), server.cpu_secs()?);
    let answer: Value = serde_json::from_str(&answer)?;
    Ok(Once {
        cpu_ms: (after - before) * 1000.0,
        wall_ms: wall.as_secs_f64() * 1000.0,
        rows: answer.get("items").and_then(Value::as_array).map_or(0, Vec::len),
        files_read: answer.pointer("/provenance/files_read").and_then(Value::as_u64).unwrap_or(0),
    })
}

async fn prevalence(server: &Served, token: &str, tenants: &[String]) -> anyhow::Result<f64> {
    let tenant = tenants.first().context("there is a tenant")?;
    let path = format!("/v1/entities/prevalence?tenant={tenant}&kind=ip&value={NEEDLE_IP}");
    let mut times = Vec::new();
    for _ in 0..51 {
        let started = Instant::now();
        server.call("GET", &path, token, "").await?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(round(times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1000.0))
}

/// An instant as SQL writes it.
fn at(secs: u64) -> String {
    format!("to_timestamp_seconds({secs})")
}

fn questions(corpus: &Corpus) -> Vec<Question> {
    let end = corpus.end_secs;
    let (week, day) = (at(end - 7 * DAY_SECS), at(end - DAY_SECS));
    let hour = (at(end - 36 * 3600), at(end - 35 * 3600));
    let of = |name, all, rows, sql: String| Question { name, sql, all, rows };
    let encoded = float(corpus.events) >= 1e6;
    vec![
        of("q1", false, None, format!("SELECT severity_id, count(*) AS n FROM events WHERE time >= {day} GROUP BY 1")),
        of(
            "q2a",
            true,
            encoded.then_some(8),
            format!("SELECT tenant, time, device_hostname, src_ip, dst_ip FROM events WHERE src_ip = '{NEEDLE_IP}' OR dst_ip = '{NEEDLE_IP}'"),
        ),
        of(
            "q2b",
            true,
            encoded.then_some(9),
            format!("SELECT tenant, time, device_hostname, process_path FROM events WHERE has_observable('hash', '{NEEDLE_SHA256}')"),
        ),
        of(
            "q2n",
            true,
            Some(0),
            "SELECT tenant, time, device_hostname FROM events WHERE src_ip = '198.51.100.99' OR dst_ip = '198.51.100.99'".to_owned(),
        ),
        of(
            "q3",
            true,
            encoded.then_some(75),
            format!("SELECT tenant, time, device_hostname, process_cmd_line FROM process_activity WHERE time >= {week} AND process_cmd_line LIKE '%-enc %'"),
        ),
        of(
            "q4",
            true,
            None,
            "SELECT * FROM (SELECT tenant, parent_path, process_path, n, row_number() OVER (PARTITION BY tenant ORDER BY n, parent_path, process_path) AS place \
             FROM (SELECT tenant, parent_path, process_path, count(*) AS n FROM process_activity GROUP BY 1, 2, 3) AS pairs) AS ranked WHERE place <= 10"
                .to_owned(),
        ),
        of(
            "q5",
            false,
            None,
            format!(
                "SELECT time, class_uid, activity_id, actor_user_name, process_path, process_cmd_line, dst_ip, raw FROM events \
                 WHERE device_hostname = 'ws0001.t000.example.com' AND time >= {} AND time < {} ORDER BY time DESC LIMIT 100",
                hour.0, hour.1
            ),
        ),
        of(
            "q6",
            true,
            None,
            format!(
                "WITH found AS (SELECT tenant, device_hostname, time FROM process_activity WHERE time >= {week} AND process_cmd_line LIKE '%-enc %') \
                 SELECT found.tenant, found.device_hostname, events.class_uid, count(*) AS n FROM found JOIN events \
                 ON events.tenant = found.tenant AND events.device_hostname = found.device_hostname \
                 AND events.time BETWEEN found.time - interval '5 minutes' AND found.time + interval '5 minutes' \
                 WHERE events.time >= {week} - interval '5 minutes' GROUP BY 1, 2, 3"
            ),
        ),
        of(
            "q7",
            true,
            None,
            format!(
                "SELECT tenant, count(*) AS n FROM api_activity WHERE time >= {week} AND field(raw, 'requestParameters.bucketName') = 'logs-100000023757' GROUP BY 1"
            ),
        ),
        of("q8", true, None, "SELECT date_trunc('hour', time) AS hour, class_uid, count(*) AS n FROM events GROUP BY 1, 2".to_owned()),
        of("q9", true, None, format!("SELECT count(*) AS n FROM events WHERE time >= {week} AND raw LIKE '%AIDAFFFF%'")),
    ]
}

//! Some recordings at once: a tenant for each, their records in, what was found into cases, each case judged.

use super::outcome::{CaseOutcome, Evidence, RecordingOutcome, RuleCount};
use super::recording::Recording;
use super::rules::Packs;
use super::stage::Stage;
use anyhow::{Context as _, bail};
use api::{CaseDetection, CaseFile, Page};
use cli::Ingest as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use ids::{RunId, Scope, TenantId, Text};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use store::{Run, RunState, Stored};

/// The source of all records.
const SOURCE: &str = "recording";
/// How long one run may take.
const RUN_MAX: Duration = Duration::from_secs(600);
/// How long the rules of a tenant may take to run.
const RULES_MAX: Duration = Duration::from_secs(900);
/// How often it is looked whether they do.
const LOOK: Duration = Duration::from_millis(20);
/// Instants of one rule that are told.
const TIMES_MAX: usize = 100;

/// A recording in its tenant.
struct Placed {
    tenant: String,
    recording: Recording,
    outcome: RecordingOutcome,
}

/// Judge recordings, `serial` being the number of the first.
pub(super) async fn judge(
    stage: &Stage,
    packs: &Packs,
    agent: &str,
    files: &[PathBuf],
    (serial, jobs): (usize, usize),
) -> anyhow::Result<Vec<RecordingOutcome>> {
    let mut outcomes: Vec<RecordingOutcome> = Vec::with_capacity(files.len());
    let mut placed = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let outcome = RecordingOutcome { file: file.display().to_string(), ..RecordingOutcome::default() };
        match Recording::read(file) {
            Err(error) => outcomes.push(RecordingOutcome { error: Some(format!("{error:#}")), ..outcome }),
            Ok(recording) => {
                let tenant = tenant(stage, packs, serial.saturating_add(number)).await?;
                placed.push(Placed { tenant, recording, outcome });
            }
        }
    }
    rules_run(stage, &placed).await?;
    for one in &mut placed {
        take(stage, one).await;
    }
    stage.settle().await?;
    judge_cases(stage, agent, &mut placed, jobs).await?;
    outcomes.extend(placed.into_iter().map(|one| one.outcome));
    let place = |outcome: &RecordingOutcome| files.iter().position(|file| file.display().to_string() == outcome.file);
    outcomes.sort_by_key(place);
    Ok(outcomes)
}

/// A tenant that runs the rules, with a source.
async fn tenant(stage: &Stage, packs: &Packs, number: usize) -> anyhow::Result<String> {
    let made: Value = stage.must("tenant.create", json!({ "name": format!("recording-{number}") })).await?;
    let tenant = made.get("id").and_then(Value::as_str).context("a tenant has an id")?.to_owned();
    packs.assign(stage, &tenant).await?;
    stage.done("source.create", json!({ "tenant": tenant, "name": SOURCE })).await?;
    Ok(tenant)
}

/// Wait until every tenant's rules run.
async fn rules_run(stage: &Stage, placed: &[Placed]) -> anyhow::Result<()> {
    let Some(first) = placed.first() else { return Ok(()) };
    let tenants: Vec<TenantId> = placed.iter().map(|one| one.tenant.parse()).collect::<Result<_, _>>()?;
    let set = stage.control.rule_set(first.tenant.parse()?).await;
    // No tenant has rules of its own: all have the same set.
    let digest = set.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?.digest;
    let since = Instant::now();
    while !tenants.iter().all(|tenant| stage.plane.rules_digest(*tenant).as_ref() == Some(&digest)) {
        if since.elapsed() > RULES_MAX {
            bail!("the rules do not run after {} s", RULES_MAX.as_secs());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Bring in the records of a recording.
async fn take(stage: &Stage, one: &mut Placed) {
    let intake = stage.intake();
    let (Ok(tenant), Ok(source)) = (one.tenant.parse::<TenantId>(), Text::<64>::new(SOURCE)) else { return };
    one.outcome.rejected = one.recording.unreadable;
    for body in std::mem::take(&mut one.recording.bodies) {
        match intake.take(tenant, source.clone(), body).await {
            Ok(taken) => {
                one.outcome.events = one.outcome.events.saturating_add(taken.accepted);
                one.outcome.rejected = one.outcome.rejected.saturating_add(taken.rejected);
            }
            Err(reason) => one.outcome.error = Some(reason),
        }
    }
}

async fn judge_cases(stage: &Stage, agent: &str, placed: &mut [Placed], jobs: usize) -> anyhow::Result<()> {
    let mut waiting: Vec<(usize, String)> = Vec::new();
    for (number, one) in placed.iter_mut().enumerate() {
        match cases(stage, &one.tenant).await {
            Ok(cases) => waiting.extend(cases.into_iter().map(|case| (number, case))),
            Err(error) => one.outcome.error = Some(format!("{error:#}")),
        }
    }
    waiting.reverse();
    let shared: &[Placed] = placed;
    let work = async |(number, case): (usize, String)| {
        let outcome = match shared.get(number) {
            Some(one) => judge_case(stage, agent, one, &case).await,
            None => Err(anyhow::anyhow!("the recording is not there")),
        };
        (number, case, outcome)
    };
    let mut running = FuturesUnordered::new();
    let mut judged = Vec::new();
    loop {
        while running.len() < jobs.max(1)
            && let Some(next) = waiting.pop()
        {
            running.push(work(next));
        }
        let Some(done) = running.next().await else { break };
        judged.push(done);
    }
    drop(running);
    for (number, case, outcome) in judged {
        let Some(one) = placed.get_mut(number) else { continue };
        match outcome {
            Ok(outcome) => {
                one.outcome.detections = one.outcome.detections.saturating_add(outcome.detections);
                one.outcome.cases.push(outcome);
            }
            Err(error) => one.outcome.error = Some(format!("case {case}: {error:#}")),
        }
    }
    for one in placed {
        one.outcome.cases.sort_by(|one, other| (one.first, &one.hosts).cmp(&(other.first, &other.hosts)));
    }
    Ok(())
}

/// The ids of a tenant's cases.
async fn cases(stage: &Stage, tenant: &str) -> anyhow::Result<Vec<String>> {
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut input = json!({ "tenant": tenant, "limit": 500 });
        more(&mut input, cursor.as_deref());
        let page: Page<api::Case> = stage.must("case.list", input).await?;
        found.extend(page.items.iter().map(|case| case.id.to_string()));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

fn more(input: &mut Value, cursor: Option<&str>) {
    if let (Some(cursor), Some(fields)) = (cursor, input.as_object_mut()) {
        fields.insert("cursor".to_owned(), cursor.into());
    }
}

/// Run triage on one case and tell what came out.
async fn judge_case(stage: &Stage, agent: &str, placed: &Placed, case: &str) -> anyhow::Result<CaseOutcome> {
    let since = Instant::now();
    let asked = json!({ "agent": agent, "tenant": placed.tenant, "case": case });
    let started: api::Run = stage.must("run.start", asked).await?;
    let ended = tokio::time::timeout(RUN_MAX, ended(stage, started.id)).await;
    let seconds = (since.elapsed().as_secs_f64() * 1e4).round() / 1e4;
    let state = ended.context("the run does not end")??;
    let run: api::Run = stage.must("run.get", json!({ "run": started.id })).await?;
    let file: CaseFile = stage.must("case.get", json!({ "case": case })).await?;
    let (rules, severity) = rules(stage, case).await?;
    let outputs = run.outputs.unwrap_or_default();
    let conclusion = file.case.conclusion.as_ref();
    let verdict = conclusion.and_then(|said| serde_json::to_value(said.verdict).ok());
    let mut evidence = Vec::new();
    for claim in conclusion.into_iter().flat_map(|said| &said.claims) {
        for citation in claim.citations.iter() {
            evidence.push(cited(stage, placed, claim.text.as_str(), citation).await);
        }
    }
    Ok(CaseOutcome {
        verdict: verdict.as_ref().and_then(Value::as_str).map(str::to_owned),
        severity,
        score: outputs.get("score").and_then(Value::as_f64),
        evidence,
        techniques: file.case.techniques,
        seconds,
        hosts: file.case.hosts,
        first: file.case.first,
        last: file.case.last,
        detections: file.case.detections,
        rules,
        reasons: outputs.get("reasons").cloned().unwrap_or_default(),
        label: None,
        error: (state != RunState::Done).then(|| run.reason.unwrap_or_else(|| format!("the run is {state:?}"))),
    })
}

/// Wait until a run has ended: looked up after each commit, without a record for each look.
async fn ended(stage: &Stage, run: RunId) -> anyhow::Result<RunState> {
    let mut changes = stage.control.store().changes();
    loop {
        let found: Option<Stored<Run>> = stage.control.store().snapshot(Scope::Provider).read(&run.to_string()).await?;
        let state = found.context("the run is not there")?.value.state;
        if state.ended() {
            return Ok(state);
        }
        changes.changed().await.context("the platform has ended")?;
    }
}

/// The rules of a case's detections, gravest first, and the severity of the gravest.
async fn rules(stage: &Stage, case: &str) -> anyhow::Result<(Vec<RuleCount>, ids::Severity)> {
    let (mut rules, mut cursor) = (Vec::<RuleCount>::new(), None::<String>);
    loop {
        let mut input = json!({ "case": case, "limit": 1000 });
        more(&mut input, cursor.as_deref());
        let page: Page<CaseDetection> = stage.must("case.detections", input).await?;
        for found in page.items {
            let known = rules.iter_mut().find(|rule| rule.rule == found.rule_uid.as_str());
            if let Some(known) = known {
                known.count = known.count.saturating_add(1);
                if known.times.len() < TIMES_MAX {
                    known.times.push(found.time);
                }
                continue;
            }
            rules.push(RuleCount {
                rule: found.rule_uid.as_str().to_owned(),
                title: found.title.as_str().to_owned(),
                severity: found.severity,
                count: 1,
                times: vec![found.time],
            });
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    rules.sort_by(|one, other| other.severity.cmp(&one.severity).then(other.count.cmp(&one.count)));
    let gravest = rules.first().map_or(ids::Severity::Unknown, |rule| rule.severity);
    Ok((rules, gravest))
}

/// A citation, looked up anew.
async fn cited(stage: &Stage, placed: &Placed, claim: &str, citation: &api::Citation) -> Evidence {
    let event = citation.event.map(|event| event.to_string()).unwrap_or_default();
    let quotes: Vec<String> = citation.quotes.iter().map(|quote| quote.as_str().to_owned()).collect();
    let asked = json!({ "tenant": placed.tenant, "event": event });
    let found: Option<api::Event> = stage.must("event.get", asked).await.ok();
    let raw = found.as_ref().map(|event| event.raw.as_str()).unwrap_or_default();
    let values = serde_json::from_str(raw).map(|record| texts(&record)).unwrap_or_else(|_| vec![raw.to_owned()]);
    let holds =
        !quotes.is_empty() && quotes.iter().all(|quote| values.iter().any(|value| value.contains(quote.as_str())));
    Evidence {
        record: placed.recording.place(raw),
        time: found.map(|event| event.time),
        event,
        quotes,
        holds,
        claim: claim.to_owned(),
    }
}

/// Every text of a record.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Bool(_) | Value::Number(_) => vec![value.to_string()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
    }
}

/// The name of a file, for labels: paths differ from machine to machine.
pub(super) fn name(file: &Path) -> String {
    file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

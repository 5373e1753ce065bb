//! How fast cases are judged: this very binary is started as a server in a throw-away folder, its lake filled with harmless
//! records, scenes planted that a shipped rule finds, the server started anew, and then one agent of the provider, with the
//! shipped playbook, is sent to every case, each run through the gate with a credential of its own.

mod planted;

use super::lake::{Corpus, Place, await_drained, feed, progress};
use super::served::{Served, request, text_field};
use anyhow::{Context as _, bail};
use ids::Timestamp;
use planted::Scene;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;

/// Nobody but this bench calls: no limit on the rate of calls.
const CONFIG: &str = "calls_per_second = 1000000\ncalls_burst = 1000000\n";
/// Connections that start runs at once.
const CLIENTS: usize = 64;
/// How long the bench waits for something to come about.
const PATIENCE: Duration = Duration::from_secs(1800);

struct Options {
    json: bool,
    events: u64,
    detections: u64,
    tenants: u32,
}

fn options(words: &[&str]) -> anyhow::Result<Options> {
    let mut options = Options { json: false, events: 10_000_000, detections: 10_000, tenants: 500 };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut value = || rest.next().copied().with_context(|| format!("`{word}` needs a value"));
        match *word {
            "--json" => options.json = true,
            "--events" => options.events = value()?.replace('_', "").parse()?,
            "--detections" => options.detections = value()?.replace('_', "").parse()?,
            "--tenants" => options.tenants = value()?.parse()?,
            other => bail!("`{other}` is no option of `posse bench triage`"),
        }
    }
    anyhow::ensure!(
        options.tenants > 0 && options.detections >= 20,
        "at least one tenant and 20 detections are needed"
    );
    Ok(options)
}

/// Measure and print.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let options = options(words)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let figures = runtime.block_on(measure(&options))?;
    if options.json {
        println!("{figures}");
    } else {
        println!("{figures:#}");
    }
    Ok(())
}

/// A case and where it is.
#[derive(Clone)]
struct Opened {
    tenant: String,
    case: String,
}

async fn measure(options: &Options) -> anyhow::Result<Value> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let corpus = Corpus { seed: 1, events: options.events, tenants: options.tenants, batch: 500, end_secs: now };
    let mut server = Served::start(CONFIG)?;
    let token = server.token()?;
    let places = feed::prepare(&server, &token, options.tenants).await?;
    let tenants: Vec<String> = places.iter().map(|place| place.tenant.clone()).collect();
    feed::run(&server, &token, &corpus, &places, 2).await?;
    await_drained(&server, &token, &tenants).await?;
    progress("the lake is filled; scenes are planted");
    let planting = Instant::now();
    plant(&server, &places, options, i64::try_from(now)?).await?;
    await_drained(&server, &token, &tenants).await?;
    let (cases, hosts) = opened(&server, &token, &tenants, options.detections).await?;
    let opened_secs = planting.elapsed().as_secs_f64();
    progress(&format!("{} cases are open after {opened_secs:.1} s", cases.len()));

    // Cold: nothing of what was asked before is kept.
    server.restart()?;
    let agent = agent(&server, &token).await?;
    let (most, rest) = cases.split_at(cases.len() * 4 / 5);
    let (started, cpu) = (Instant::now(), server.cpu_secs_whole()?);
    let runs = start_all(&server, &token, &agent, most).await?;
    let full = ended(&server, &token, &runs).await?;
    let (wall, cpu) = (started.elapsed().as_secs_f64(), server.cpu_secs_whole()? - cpu);
    let rate = float(full.len()) / full.span_secs().max(f64::EPSILON);
    progress(&format!("{} verdicts in {wall:.1} s; now at half that rate", full.len()));
    let runs = start_paced(&server, &token, &agent, rest, rate / 2.0).await?;
    let half = ended(&server, &token, &runs).await?;
    let calls = calls(&server, &token, &runs).await?;
    let documented = documented(&server, &token, &cases).await?;
    Ok(json!({
        "events": options.events,
        "tenants": options.tenants,
        "detections": options.detections,
        "cases": cases.len(),
        "verdicts_per_s": round(rate),
        "cpu_ms_per_verdict": round(cpu * 1000.0 / float(full.len())),
        "p95_ms": round(half.p95_ms()),
        "p95_ms_at_full_rate": round(full.p95_ms()),
        "peak_rss_mb": round(server.memory_mb("VmHWM:")?),
        "citations_per_verdict": documented.citations,
        "citations_min": documented.fewest,
        "citations_resolved": documented.resolved,
        "citations_tried": documented.tried,
        "verdicts": documented.verdicts,
        "distinct_entities": hosts,
        "steps_per_run": round(full.steps()),
        "ms_per_call": calls,
        "model_overhead": Value::Null,
    }))
}

/// Plant the scenes over all tenants, in the hour before now.
async fn plant(server: &Served, places: &[Place], options: &Options, now: i64) -> anyhow::Result<()> {
    let per_tenant = options.detections.div_ceil(u64::from(options.tenants));
    let (mut number, mut stream) = (0, TcpStream::connect(&server.address).await?);
    for place in places {
        let mut body = Vec::new();
        for _ in 0..per_tenant.min(options.detections - number) {
            let back = i64::try_from(number % 3_000)? * 1000;
            Scene { number, millis: now * 1000 - 60_000 - back }.write(&mut body);
            number += 1;
        }
        if !body.is_empty() {
            feed::send(&mut stream, place, &body).await?;
        }
    }
    progress(&format!("{} records planted", number * planted::RECORDS));
    Ok(())
}

/// Wait until every detection is in a case; the cases, and how many hosts they name.
async fn opened(
    server: &Served,
    token: &str,
    tenants: &[String],
    detections: u64,
) -> anyhow::Result<(Vec<Opened>, usize)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = server.call("GET", "/metrics", token, "").await?;
        let metric = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        let (told, waiting) = (metric("posse_case_findings_total "), metric("posse_case_findings_waiting "));
        if waiting == Some(0.0) && told.is_some_and(|told| told >= float(usize::try_from(detections).unwrap_or(0))) {
            break;
        }
        if Instant::now() > deadline {
            bail!("of {detections} detections only {told:?} came to cases, {waiting:?} wait");
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let (mut cases, mut hosts) = (Vec::new(), BTreeSet::new());
    for tenant in tenants {
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/cases?tenant={tenant}&limit=100{cursor}");
            let page: Value = serde_json::from_str(&server.call("GET", &path, token, "").await?)?;
            for case in part(&page, "/items").as_array().into_iter().flatten() {
                let id = part(case, "/id").as_str().context("a case has an id")?;
                cases.push(Opened { tenant: tenant.clone(), case: id.to_owned() });
                hosts.extend(
                    part(case, "/hosts").as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned),
                );
            }
            match part(&page, "/next_cursor").as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
    }
    Ok((cases, hosts.len()))
}

/// The shipped triage agent at the provider, active.
async fn agent(server: &Served, token: &str) -> anyhow::Result<String> {
    let me: Value = serde_json::from_str(&server.call("GET", "/v1/me", token, "").await?)?;
    let owner = part(&me, "/principal").as_str().context("the caller is somebody")?;
    let made = json!({ "name": "triage", "purpose": "judges cases", "owner": owner }).to_string();
    let agent =
        text_field(&server.call("POST", "/v1/agents", token, &made).await?, "id").context("an agent has an id")?;
    server.call("PUT", &format!("/v1/agents/{agent}/charter"), token, "{}").await?;
    server.call("POST", &format!("/v1/agents/{agent}/activate"), token, "{}").await?;
    let given = json!({ "principal": agent, "role": "investigator" }).to_string();
    server.call("POST", "/v1/assignments", token, &given).await?;
    Ok(agent)
}

fn start_request(token: &str, agent: &str, one: &Opened) -> Vec<u8> {
    let body = json!({ "agent": agent, "tenant": one.tenant, "case": one.case }).to_string();
    request("POST", "/v1/runs", token, &body)
}

/// Start a run on each case, as fast as the server takes them; their ids.
async fn start_all(server: &Served, token: &str, agent: &str, cases: &[Opened]) -> anyhow::Result<Vec<String>> {
    let next = Arc::new(AtomicUsize::new(0));
    let cases: Arc<[Opened]> = cases.into();
    let mut tasks = Vec::new();
    for _ in 0..CLIENTS {
        let (address, cases, next) = (server.address.clone(), cases.clone(), next.clone());
        let (token, agent) = (token.to_owned(), agent.to_owned());
        tasks.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(&address).await?;
            let (mut buffer, mut runs) = (Vec::new(), Vec::new());
            while let Some(one) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                tokio::io::AsyncWriteExt::write_all(&mut stream, &start_request(&token, &agent, one)).await?;
                let answer = super::load::answer(&mut stream, &mut buffer).await?;
                runs.push(text_field(&answer, "id").context("a run has an id")?);
            }
            anyhow::Ok(runs)
        }));
    }
    let mut runs = Vec::new();
    for task in tasks {
        runs.extend(task.await??);
    }
    Ok(runs)
}

/// Start a run on each case, one every so often.
async fn start_paced(
    server: &Served,
    token: &str,
    agent: &str,
    cases: &[Opened],
    per_second: f64,
) -> anyhow::Result<Vec<String>> {
    let mut stream = TcpStream::connect(&server.address).await?;
    let (mut buffer, mut runs) = (Vec::new(), Vec::new());
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second.max(0.1)));
    for one in cases {
        ticks.tick().await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, &start_request(token, agent, one)).await?;
        let answer = super::load::answer(&mut stream, &mut buffer).await?;
        runs.push(text_field(&answer, "id").context("a run has an id")?);
    }
    Ok(runs)
}

/// Runs that ended: when each was asked for and when it was done, by the platform's clock, and its steps.
struct Ended(Vec<(Timestamp, Timestamp, u64)>);

impl Ended {
    fn len(&self) -> usize {
        self.0.len()
    }

    /// From the first that was asked for to the last that was done.
    fn span_secs(&self) -> f64 {
        let first = self.0.iter().map(|one| one.0).min().unwrap_or_default();
        self.0.iter().map(|one| one.1).max().unwrap_or_default().since(first).as_secs_f64()
    }

    fn p95_ms(&self) -> f64 {
        let mut times: Vec<Duration> = self.0.iter().map(|one| one.1.since(one.0)).collect();
        times.sort_unstable();
        times.get(times.len() * 95 / 100).copied().unwrap_or_default().as_secs_f64() * 1000.0
    }

    fn steps(&self) -> f64 {
        let steps: u64 = self.0.iter().map(|one| one.2).sum();
        float(usize::try_from(steps).unwrap_or(usize::MAX)) / float(self.0.len().max(1))
    }
}

/// Wait until all have ended; one that did not do what it was to do ends the bench.
async fn ended(server: &Served, token: &str, runs: &[String]) -> anyhow::Result<Ended> {
    let deadline = Instant::now() + PATIENCE;
    let mut all = Vec::with_capacity(runs.len());
    let mut stream = TcpStream::connect(&server.address).await?;
    let mut buffer = Vec::new();
    // The last that was started tells when it is worth asking for each.
    for run in runs.last().into_iter().chain(runs) {
        loop {
            let asked = request("GET", &format!("/v1/runs/{run}"), token, "");
            tokio::io::AsyncWriteExt::write_all(&mut stream, &asked).await?;
            let told: Value = serde_json::from_str(&super::load::answer(&mut stream, &mut buffer).await?)?;
            let time = |field: &str| {
                anyhow::Ok(told.get(field).and_then(Value::as_str).context("a run has times")?.parse::<Timestamp>()?)
            };
            match part(&told, "/state").as_str() {
                Some("done") => {
                    all.push((
                        time("created_at")?,
                        time("updated_at")?,
                        part(&told, "/spent/steps").as_u64().unwrap_or(0),
                    ));
                    break;
                }
                Some("queued" | "running") if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                _ => bail!("a run did not do what it was to do: {told}"),
            }
        }
    }
    // It was asked for twice.
    all.truncate(runs.len());
    Ok(Ended(all))
}

/// How long each operation took within a run, from call to reply, in the mean of some runs at half the rate.
async fn calls(server: &Served, token: &str, runs: &[String]) -> anyhow::Result<Value> {
    let mut times = std::collections::BTreeMap::<String, (Duration, u32)>::new();
    for run in runs.iter().rev().take(40) {
        let path = format!("/v1/runs/{run}/transcript?limit=1000");
        let page: Value = serde_json::from_str(&server.call("GET", &path, token, "").await?)?;
        let mut asked: Option<(String, Timestamp)> = None;
        for step in part(&page, "/items").as_array().into_iter().flatten() {
            let at: Timestamp = part(step, "/at").as_str().context("a step has a time")?.parse()?;
            match part(step, "/kind").as_str() {
                Some("called") => {
                    let operation = part(step, "/entry/operation").as_str().unwrap_or("?");
                    asked = Some((operation.to_owned(), at));
                }
                Some("replied") => {
                    if let Some((operation, from)) = asked.take() {
                        let (time, count) = times.entry(operation).or_default();
                        *time += at.since(from);
                        *count += 1;
                    }
                }
                _ => {}
            }
        }
    }
    let mean = |(time, count): (Duration, u32)| round(time.as_secs_f64() * 1000.0 / f64::from(count.max(1)));
    Ok(json!(
        times.into_iter().map(|(operation, one)| (operation, mean(one))).collect::<std::collections::BTreeMap<_, _>>()
    ))
}

/// What the verdicts rest on.
struct Documented {
    citations: f64,
    fewest: usize,
    resolved: usize,
    tried: usize,
    verdicts: Value,
}

/// Read back what was concluded of each case; of every fiftieth each cited event is fetched.
async fn documented(server: &Served, token: &str, cases: &[Opened]) -> anyhow::Result<Documented> {
    let (mut citations, mut fewest, mut resolved, mut tried) = (0, usize::MAX, 0, 0);
    let mut verdicts = std::collections::BTreeMap::<String, u64>::new();
    for (place, one) in cases.iter().enumerate() {
        let path = format!("/v1/cases/{}", one.case);
        let told: Value = serde_json::from_str(&server.call("GET", &path, token, "").await?)?;
        let concluded = part(&told, "/case/conclusion");
        let verdict =
            part(concluded, "/verdict").as_str().with_context(|| format!("case {} has no verdict", one.case))?;
        *verdicts.entry(verdict.to_owned()).or_default() += 1;
        let claims = part(concluded, "/claims").as_array().into_iter().flatten();
        let cited: Vec<&Value> =
            claims.flat_map(|claim| part(claim, "/citations").as_array().into_iter().flatten()).collect();
        citations += cited.len();
        fewest = fewest.min(cited.len());
        if place % 50 == 0 {
            for cite in cited {
                let Some(event) = part(cite, "/event").as_str() else { continue };
                tried += 1;
                let path = format!("/v1/events/id/{event}?tenant={}", one.tenant);
                let found = server.call("GET", &path, token, "").await?;
                let quotes = part(cite, "/quotes").as_array().into_iter().flatten().filter_map(Value::as_str);
                let whole = found.replace("\\\\", "\\");
                resolved += usize::from(quotes.into_iter().all(|quote| found.contains(quote) || whole.contains(quote)));
            }
        }
    }
    let verdicts = json!(verdicts);
    let citations = round(float(citations) / float(cases.len().max(1)));
    Ok(Documented { citations, fewest, resolved, tried, verdicts })
}

/// What stands at a place of a document; nothing is null.
fn part<'a>(value: &'a Value, place: &str) -> &'a Value {
    value.pointer(place).unwrap_or(&Value::Null)
}

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// To three digits behind the point.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

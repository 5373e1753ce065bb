//! The whole line, told from the stage to the proof: what the sensor saw, what rules found, what triage concluded with which
//! evidence, what an agent did alone, what a person approved, what was undone, what was refused. Each step is looked at from
//! outside: by the kernel, by a connection, by the record.

use super::attack::{Attack, MOVES, lay_out, second_stage};
use super::cast::{Cast, TENANTS};
use super::janitor::{Janitor, identity};
use super::platform::{Platform, list, text, until};
use super::report::{Failed, Report, Step, millis};
use super::stage::{Actor, Shell, Stage};
use super::{Options, Sabotage};
use anyhow::{Context as _, ensure};
use sensor::ProcessGuid;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long the sensor and the platform may take for one thing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What every demo has, live or recorded.
pub(crate) struct Ground {
    pub(crate) stage: Stage,
    pub(crate) platform: Platform,
    pub(crate) cast: Cast,
    pub(crate) server: Actor,
    /// The agents' ids.
    pub(crate) triage: String,
    pub(crate) containment: String,
    /// The sensor's id.
    pub(crate) sensor_id: String,
}

/// Everything that plays live.
pub(crate) struct World {
    pub(crate) ground: Ground,
    pub(crate) sensor: Actor,
    /// The attack's server on loopback: it hears the beacon, and hears it end.
    pub(crate) listener: Actor,
    /// What stands beyond the host, for as long as the demo runs.
    _outside: Actor,
    port: u16,
    shell: Shell,
}

impl std::ops::Deref for World {
    type Target = Ground;

    fn deref(&self) -> &Ground {
        &self.ground
    }
}

/// What came of the attack.
pub(crate) struct Seen {
    /// The case.
    pub(crate) case: String,
    /// The beacon.
    pub(crate) beacon: ProcessGuid,
    /// When the beacon was started.
    pub(crate) begun: Instant,
}

/// Play it to its end.
pub(crate) async fn play(options: &Options, report: &mut Report, janitor: &Janitor) -> Result<(), Failed> {
    let mut world = set_up(options, report, janitor).await?;
    let seen = attack(options, report, janitor, &mut world).await?;
    super::triage::conclude(report, &world, &seen.case, seen.begun).await?;
    super::respond::contain(options, report, &world, &seen).await?;
    super::investigate::investigate(options, report, &world, &seen.case).await?;
    super::proof::misbehave(report, &world, &seen.case).await?;
    super::proof::count(report, &world).await?;
    super::proof::verify(report, &mut world.ground).await
}

/// Platform, people and agents on a stage.
pub(crate) async fn found(
    options: &Options,
    report: &mut Report,
    janitor: &Janitor,
    stage: Stage,
) -> Result<Ground, Failed> {
    let (server, platform) = report
        .step("platform_started", async {
            let approval_secs = if options.sabotage == Some(Sabotage::ApprovalWithheld) { 4 } else { 900 };
            let config = format!("approval_ttl_secs = {approval_secs}\n");
            let (server, url) =
                stage.serve(&options.listen, &config, &super::investigate::variables(options), janitor)?;
            Ok(((server, Platform::at(&url)?), format!("`posse serve` listens on {url}")))
        })
        .await?;
    let cast = report
        .step("tenants_made", async {
            let cast = Cast::make(&platform, stage.first_token()?).await?;
            Ok((cast, format!("{}; ada answers for {}, rae responds there", TENANTS.join(", "), TENANTS[0])))
        })
        .await?;
    let (triage, containment) = report.step("agents_chartered", charter(&platform, &cast)).await?;
    Ok(Ground { stage, platform, cast, server, triage, containment, sensor_id: String::new() })
}

async fn set_up(options: &Options, report: &mut Report, janitor: &Janitor) -> Result<World, Failed> {
    report.chapter("1. The stage: a host of its own, a provider with three tenants, people and agents");
    let id = options.id.clone();
    let stage = report
        .step("stage_set", async {
            let stage = Stage::set(id, janitor)?;
            lay_out(&stage)?;
            let cgroup = if stage.cgroup.is_some() { "a cgroup" } else { "no cgroup (the host lets us make none)" };
            let told = format!("`{}`: a folder, {cgroup}, two network namespaces", stage.host);
            Ok((stage, told))
        })
        .await?;
    let mut ground = found(options, report, janitor, stage).await?;
    let stage = &ground.stage;
    let (listener, port, outside, shell) = report
        .step("attacker_waits", async {
            let payload = second_stage(stage);
            let (listener, port) = stage.listen(&stage.namespace, "127.0.0.1:0", &payload, janitor)?;
            let outside = stage.stand_outside(janitor)?;
            ensure!(stage.reaches_outside(), "the namespace does not reach the other one");
            let shell = Shell::start(stage, janitor)?;
            let pid = shell.actor.child.id();
            Ok(((listener, port, outside, shell), format!("shell {pid} in its cgroup and namespace")))
        })
        .await?;
    let below = shell.actor.child.id();
    let (sensor, sensor_id, mode) = report.step("sensor_enrolled", enrol(options, &ground, below, janitor)).await?;
    report.figure("sensor_mode", mode);
    ground.sensor_id = sensor_id;
    Ok(World { ground, sensor, listener, _outside: outside, port, shell })
}

/// The provider writes each agent once; it may work in every tenant, and act in the attacked one.
async fn charter(platform: &Platform, cast: &Cast) -> anyhow::Result<((String, String), String)> {
    let triage = cast.agent(platform, "triage", None, &["investigator"], &cast.tenants).await?;
    let roles = ["responder_with_approval", "responder_within_case"];
    let containment = cast.agent(platform, "containment", None, &roles, &cast.tenants).await?;
    Ok(((triage, containment), "triage and containment, each defined once for all three tenants".to_owned()))
}

async fn enrol(
    options: &Options,
    ground: &Ground,
    below: u32,
    janitor: &Janitor,
) -> anyhow::Result<((Actor, String, String), String)> {
    let Ground { stage, platform, cast, .. } = ground;
    let path = format!("/v1/tenants/{}/sensors", cast.tenant());
    let made = platform.post(&cast.ada.token, &path, &json!({ "name": stage.host, "tags": ["env=staging"] })).await?;
    let id = text(&made, "/sensor/id").to_owned();
    stage.enrol(&platform.url, text(&made, "/credential/secret"))?;
    let nft = if options.sabotage == Some(Sabotage::NftMissing) { "/nonexistent/nft" } else { "nft" };
    let sensor = stage.sense(below, nft, janitor)?;
    let heard = until("the sensor says how it fares", PATIENCE, || async {
        ensure!(super::janitor::lives(&sensor.guid), "the sensor ended: {}", stage.last_words());
        let now = platform.get(&cast.ada.token, &format!("/v1/sensors/{id}")).await?;
        Ok((!list(&now, "/health/sources").is_empty()).then_some(now))
    })
    .await?;
    let modes: Vec<&str> = list(&heard, "/health/sources").iter().map(|one| text(one, "/mode")).collect();
    ensure!(text(&heard, "/host/hostname") == stage.host, "the sensor tells of another host");
    let told = format!("`posse sensor run` sees by {}", modes.join(" and "));
    let mode = modes.first().copied().unwrap_or_default().to_owned();
    Ok(((sensor, id, mode), told))
}

async fn attack(options: &Options, report: &mut Report, janitor: &Janitor, world: &mut World) -> Result<Seen, Failed> {
    report.chapter("2. The attack: real processes, in a cgroup and a namespace that go away");
    if options.sabotage == Some(Sabotage::RuleOff) {
        report.step("rule_switched_off", switch_off(world)).await?;
    }
    if options.sabotage == Some(Sabotage::SensorKilled) {
        report
            .step("sensor_killed", async {
                let killed = sensor::kill(&world.sensor.guid, true)?;
                Ok(((), format!("{} processes of the sensor were ended", killed.killed.len())))
            })
            .await?;
    }
    // One after the other without a pause, as a script of an attacker would.
    let (mut begun, mut stays) = (Vec::new(), None);
    for step in &MOVES {
        begun.push(Instant::now());
        let mut attack = Attack { stage: &world.ground.stage, shell: &mut world.shell, port: world.port };
        let pid = report
            .step(step.name, async {
                let (pid, seen) = attack.go(step.name)?;
                Ok((pid, format!("{}: {seen}", step.about)))
            })
            .await?;
        stays = stays.or(pid);
    }
    let Some(last) = begun.last().copied() else { return Err(Failed) };
    let beacon = report.step("beacon_heard", hear(world, janitor, stays)).await?;
    detect(report, world, &begun).await?;
    let case = report.step("case_opened", case_of(world)).await?;
    if let Some(file) = &options.record {
        report.step("recording_kept", super::recorded::keep(world, file)).await?;
    }
    Ok(Seen { case, beacon, begun: last })
}

async fn hear(world: &World, janitor: &Janitor, pid: Option<u32>) -> anyhow::Result<(ProcessGuid, String)> {
    let pid = pid.context("no step left a process behind")?;
    let beacon = identity(pid).context("the beacon ended by itself")?;
    janitor.tell_process(pid)?;
    world.listener.line("beacon", PATIENCE)?;
    let told = format!("process {beacon} called");
    Ok((beacon, told))
}

/// Look over the API until the rule of every step has found something; each is timed from the start of its own step.
pub(crate) async fn detect(report: &mut Report, world: &Ground, begun: &[Instant]) -> Result<(), Failed> {
    let path = format!("/v1/detections?tenant={}&limit=200", world.cast.tenant());
    let since = Instant::now();
    let mut noticed: Vec<Option<(u64, Value)>> = vec![None; MOVES.len()];
    let mut fault = "nothing was found".to_owned();
    while noticed.iter().any(Option::is_none) && since.elapsed() < PATIENCE {
        match world.platform.get(&world.cast.rae.token, &path).await {
            Ok(found) => {
                for ((step, begun), seen) in MOVES.iter().zip(begun).zip(&mut noticed) {
                    let own = list(&found, "/items").iter().find(|one| text(one, "/title") == step.rule);
                    if let (None, Some(own)) = (&seen, own) {
                        *seen = Some((millis(*begun), own.clone()));
                    }
                }
            }
            Err(error) => fault = format!("{error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let all: Vec<u64> = noticed.iter().flatten().map(|(ms, _)| *ms).collect();
    report.figure("detect_ms", all.iter().copied().max());
    report.figure("detect_ms_by_step", all.clone());
    for (step, seen) in MOVES.iter().zip(noticed) {
        let step = match seen {
            Some((ms, found)) => {
                let techniques: Vec<&str> = list(&found, "/techniques").iter().filter_map(Value::as_str).collect();
                let detail = format!("{}: {} ({})", text(&found, "/severity"), step.rule, techniques.join(", "));
                Step { name: step.noticed, ok: true, ms, detail }
            }
            None => {
                let detail = format!("rule `{}` did not find it within {} s: {fault}", step.rule, PATIENCE.as_secs());
                Step { name: step.noticed, ok: false, ms: millis(since), detail }
            }
        };
        report.note(step);
    }
    if all.len() == MOVES.len() { Ok(()) } else { Err(Failed) }
}

/// The one case that holds what was found on the demo's host.
pub(crate) async fn case_of(world: &Ground) -> anyhow::Result<(String, String)> {
    let path = format!("/v1/cases?tenant={}", world.cast.tenant());
    let last = std::cell::RefCell::new(Vec::new());
    let case = until("one case holds what all five rules found", PATIENCE, || async {
        let found = world.platform.get(&world.cast.rae.token, &path).await?;
        let rules = |case: &Value| -> Vec<String> {
            list(case, "/rules").iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let cases = list(&found, "/items");
        *last.borrow_mut() = cases.iter().map(rules).collect();
        let whole = |case: &&Value| MOVES.iter().all(|step| rules(case).iter().any(|rule| rule == step.rule));
        Ok(cases.iter().find(whole).cloned())
    })
    .await
    .with_context(|| format!("cases hold {:?}", last.borrow()))?;
    let detections = case.get("detections").and_then(Value::as_u64).unwrap_or_default();
    let told = format!("{} ({}), {detections} detections", text(&case, "/title"), text(&case, "/severity"));
    Ok((text(&case, "/id").to_owned(), told))
}

/// Sabotage: the rule of the last step does not run in this tenant.
pub(crate) async fn switch_off(world: &Ground) -> anyhow::Result<((), String)> {
    let rule = MOVES.last().map_or("", |step| step.rule);
    let (token, tenant) = (&world.cast.ada.token, world.cast.tenant());
    let packs = world.platform.get(token, &format!("/v1/packs?tenant={tenant}&limit=100")).await?;
    let pack = list(&packs, "/items").iter().map(|pack| text(pack, "/id")).next().context("no pack ships")?;
    let content = world.platform.get(token, &format!("/v1/packs/{pack}?limit=1000")).await?;
    let shipped = list(&content, "/items").iter().find(|one| text(one, "/title") == rule).context("the rule ships")?;
    let off = json!({ "off": [text(shipped, "/sigma_id")] });
    world.platform.put(token, &format!("/v1/tenants/{tenant}/packs/{pack}"), &off).await?;
    Ok(((), format!("`{rule}` is off in {}", TENANTS[0])))
}

//! Without root no sensor can run here: then a recording is sent in its place, made by this sensor during an earlier demo on
//! a Linux host (`posse demo --record FILE`). Detection, case, triage, approval and proof are as real as ever; nothing of this
//! host is seen or contained, and every line that could be taken for it says so.

use super::platform::{list, text, until};
use super::report::{Failed, Report};
use super::story::{Ground, PATIENCE, World, case_of, detect, found, switch_off};
use super::triage::{ended, run_of};
use super::{Janitor, Options, Sabotage, Stage};
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::io::Write as _;
use std::time::Instant;

/// What our sensor saw of the attack, one record a line.
const RECORDING: &str = include_str!("recording.ndjson");
/// A policy for a program to propose.
const POLICY: &str = "@id(\"production-stays\")\n@summary(\"nobody deletes a production tenant\")\n\
forbid(principal, action == Posse::Action::\"tenant.delete\", resource)\n\
when { context.tenant_tags.contains(\"env=prod\") };\n";

/// Play what can be played.
pub(crate) async fn play(options: &Options, report: &mut Report, janitor: &Janitor) -> Result<(), Failed> {
    report.figure("sensor_mode", "recording");
    report
        .chapter("1. The stage, without root: no sensor can run, so a recording by our own sensor stands in its place");
    let id = options.id.clone();
    let stage = report
        .step("stage_set", async {
            if let Some(sabotage @ (Sabotage::SensorKilled | Sabotage::NftMissing)) = options.sabotage {
                bail!("{sabotage:?} wants a live sensor, and that takes root");
            }
            Ok((
                Stage::bare(id, janitor)?,
                "a folder; no namespace, no sensor, nothing of this host is looked at".to_owned(),
            ))
        })
        .await?;
    let mut ground = found(options, report, janitor, stage).await?;
    if options.sabotage == Some(Sabotage::RuleOff) {
        report.step("rule_switched_off", switch_off(&ground)).await?;
    }
    report.chapter("2. The attack, as it was recorded");
    let begun = Instant::now();
    let sent = report.step("recording_sent", send(&ground)).await?;
    ground.sensor_id = sent;
    detect(report, &ground, &[begun; super::attack::MOVES.len()]).await?;
    let case = report.step("case_opened", case_of(&ground)).await?;
    super::triage::conclude(report, &ground, &case, begun).await?;
    report.chapter(
        "4. Containment: the recorded host is not here, and an agent may not act on what is not in its evidence",
    );
    report.step("response_declined", decline(&ground, &case)).await?;
    report.step("approved", approve(options, &ground)).await?;
    super::investigate::investigate(options, report, &ground, &case).await?;
    super::proof::misbehave(report, &ground, &case).await?;
    super::proof::count(report, &ground).await?;
    super::proof::verify(report, &mut ground).await
}

/// Send the recording as a shipper would; the id of a sensor that was invited and never came.
async fn send(ground: &Ground) -> anyhow::Result<(String, String)> {
    let (platform, tenant, token) = (&ground.platform, ground.cast.tenant(), &ground.cast.ada.token);
    let sources = format!("/v1/tenants/{tenant}/sources");
    platform
        .post(token, &sources, &json!({ "name": "recording", "description": "made by our sensor earlier" }))
        .await?;
    let key = platform.post(token, &format!("{sources}/recording/keys"), &json!({ "ttl_secs": 3600 })).await?;
    platform.send(text(&key, "/credential/secret"), "/v1/ingest/recording", RECORDING.as_bytes()).await?;
    let invited = json!({ "name": ground.stage.host, "tags": ["env=staging"] });
    let invited = platform.post(token, &format!("/v1/tenants/{tenant}/sensors"), &invited).await?;
    let told = format!("{} records by our own sensor, sent unchanged", RECORDING.lines().count());
    Ok((text(&invited, "/sensor/id").to_owned(), told))
}

/// The agent finds no sensor on the recorded host, does nothing and says why.
async fn decline(ground: &Ground, case: &str) -> anyhow::Result<((), String)> {
    let run = run_of(ground, &ground.containment, case).await?;
    let run = ended(ground, &run, &["done"]).await?;
    let reason = text(&run, "/outputs/reason").to_owned();
    ensure!(reason.contains("no sensor"), "the agent says `{reason}`");
    let path = format!("/v1/actions?tenant={}", ground.cast.tenant());
    let actions = ground.platform.get(&ground.cast.rae.token, &path).await?;
    ensure!(list(&actions, "/items").is_empty(), "something was done to a host");
    Ok(((), format!("the agent did nothing: {reason}")))
}

/// An approval that needs no host: a program wants a policy to bind, a person says yes.
async fn approve(options: &Options, ground: &Ground) -> anyhow::Result<((), String)> {
    let (platform, first) = (&ground.platform, &ground.cast.first);
    let key = platform.post(first, "/v1/service-keys", &json!({ "name": "release-pipeline" })).await?;
    let program = text(&key, "/service_key/id").to_owned();
    ensure!(!program.is_empty(), "a key has an id: {key}");
    platform.post(first, "/v1/assignments", &json!({ "principal": program, "role": "provider_admin" })).await?;
    let token = text(&key, "/credential/secret");
    let policy = json!({ "name": "production-stays", "text": POLICY });
    let policy = platform.post(token, "/v1/policies", &policy).await?;
    let policy = format!("/v1/policies/{}", text(&policy, "/id"));
    let asked = platform.try_call(token, "POST", &format!("{policy}/activate"), Some(&json!({}))).await?;
    ensure!(asked.status == 202, "a program's wish did not wait: {}", asked.problem());
    let approval = format!("/v1/approvals/{}", text(&asked.body, "/approval"));
    let shown = platform.get(first, &approval).await?;
    let yes = json!({ "digest": text(&shown, "/digest"), "comment": "read and agreed" });
    // A key's approval is not given by whoever was shown its secret: somebody else is needed.
    let dana = ground.cast.administrator(platform, "dana").await?;
    if options.sabotage != Some(Sabotage::ApprovalWithheld) {
        platform.post(&dana, &format!("{approval}/approve"), &yes).await?;
    }
    let state = until("the proposal ends", PATIENCE, || async {
        let now = platform.get(first, &approval).await?;
        let state = text(&now, "/state").to_owned();
        Ok((!["pending", "approved"].contains(&state.as_str())).then_some(state))
    })
    .await?;
    ensure!(state == "executed", "nobody approved; the approval is `{state}`");
    let bound = platform.get(first, &policy).await?;
    ensure!(text(&bound, "/state") == "active", "the policy does not bind");
    Ok(((), "dana let a program's policy bind, after she was asked".to_owned()))
}

/// `posse demo --record FILE`: keep what the sensor sent, for those who have no root.
pub(crate) async fn keep(world: &World, file: &std::path::Path) -> anyhow::Result<((), String)> {
    let sql = "SELECT raw FROM events WHERE class_uid IN (1001, 1007, 4001) ORDER BY time LIMIT 10000";
    let rows = world.platform.rows(&world.cast.rae.token, world.cast.tenant(), sql).await?;
    let mut out = std::fs::File::create(file).with_context(|| format!("`{}` cannot be written", file.display()))?;
    let mut lines: Vec<&str> = rows.iter().map(|row| text(row, "/raw")).collect();
    let number = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap_or_default();
        record.get("Sequence").and_then(Value::as_u64).unwrap_or_default()
    };
    lines.sort_by_key(|line| number(line));
    for line in &lines {
        writeln!(out, "{}", line.trim())?;
    }
    Ok(((), format!("{} records are in `{}`", lines.len(), file.display())))
}

//! What keeps agents honest: one that leaves its charter is refused with the gate's own words, and the record of all of it is
//! verified by a program that never spoke to the platform.

use super::platform::{list, text};
use super::report::{Failed, Report};
use super::story::Ground;
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// An agent that may only read its case, though its roles are those of a responder.
const DRIFTER: &str = "---\n\
name: drifter\n\
purpose: Reads one case and says what it is about.\n\
operations: [action.kill_process, case.get, case.list, role.assign]\n\
model: default\n\
budgets: { steps: 20, tokens: 1000, seconds: 60, actions: 5 }\n\
tenants: { all: true }\n\
triggers: [{ on: api }]\n\
autonomy: { default: act }\n\
---\n\
You read one case and say what it is about.\n";

/// What a misbehaving agent tries, and how the gate must answer.
struct Attempt {
    about: &'static str,
    method: &'static str,
    path: String,
    body: Option<Value>,
    statuses: &'static [u16],
    says: &'static str,
}

/// Let an agent try to leave its charter, its tenant and its rights.
pub(crate) async fn misbehave(report: &mut Report, world: &Ground, case: &str) -> Result<(), Failed> {
    report.chapter("5. An agent that misbehaves");
    let credential = report
        .step("misbehaving_agent", async {
            let (platform, cast) = (&world.platform, &world.cast);
            let roles = ["responder_with_approval", "responder_within_case"];
            let own = [cast.tenant().to_owned()];
            let agent = cast.agent(platform, "drifter", Some(DRIFTER), &roles, &own).await?;
            let body = json!({ "tenant": cast.tenant(), "case": case });
            let path = format!("/v1/agents/{agent}/run-credentials");
            let issued = platform.post(&cast.first, &path, &body).await?;
            let token = text(&issued, "/credential/secret").to_owned();
            let file = platform.get(&token, &format!("/v1/cases/{case}")).await?;
            ensure!(text(&file, "/case/id") == case, "it does not even see its case");
            Ok(((agent, token), "an outside agent with a run's credential, bound to this tenant and case".to_owned()))
        })
        .await?;
    for told in report.step("misbehaviour_refused", refuse(world, &credential)).await? {
        report.detail(&told);
    }
    Ok(())
}

fn attempts(world: &Ground, agent: &str) -> Vec<Attempt> {
    let cut = json!({ "sensor": world.sensor_id, "reason": "the event told me to" });
    let demo = super::janitor::identity(std::process::id()).map(|guid| guid.to_string()).unwrap_or_default();
    vec![
        Attempt {
            about: "isolates the host, which its charter does not list",
            method: "POST",
            path: format!("/v1/sensors/{}/isolate", world.sensor_id),
            body: Some(cut),
            statuses: &[403],
            says: "charter",
        },
        Attempt {
            about: "reads the cases of another tenant",
            method: "GET",
            path: format!("/v1/cases?tenant={}", world.cast.other_tenant()),
            body: None,
            statuses: &[403, 404],
            says: "",
        },
        Attempt {
            about: "makes itself an administrator, which a careless charter lists",
            method: "POST",
            path: "/v1/assignments".to_owned(),
            body: Some(json!({ "principal": agent, "role": "tenant_admin", "tenant": world.cast.tenant() })),
            statuses: &[403],
            says: "",
        },
        Attempt {
            about: "ends a process that its case is not about (this program)",
            method: "POST",
            path: format!("/v1/sensors/{}/kill-process", world.sensor_id),
            body: Some(json!({ "sensor": world.sensor_id, "process": demo, "reason": "the event told me to" })),
            statuses: &[202],
            says: "",
        },
    ]
}

async fn refuse(world: &Ground, (agent, token): &(String, String)) -> anyhow::Result<(Vec<String>, String)> {
    let mut refused = Vec::new();
    for attempt in attempts(world, agent) {
        let mut body = attempt.body.clone();
        if let Some(fields) = body.as_mut().and_then(Value::as_object_mut) {
            // What stands in the path stands nowhere else.
            fields.remove("sensor");
        }
        let answer = world.platform.try_call(token, attempt.method, &attempt.path, body.as_ref()).await?;
        let said = if answer.status == 202 {
            format!("202 waits for a person as {}, and is not done", text(&answer.body, "/approval"))
        } else {
            answer.problem()
        };
        ensure!(attempt.statuses.contains(&answer.status), "it {}: {said}", attempt.about);
        ensure!(said.contains(attempt.says), "it {}: {said}", attempt.about);
        refused.push(format!("it {}: {said}", attempt.about));
    }
    if world.stage.live {
        ensure!(!world.stage.tables()?.iter().any(|table| table.contains("posse")), "the host was cut off");
    }
    let told = format!("all {} attempts came to nothing, each on the record", refused.len());
    Ok((refused, told))
}

/// Count what there is.
pub(crate) async fn count(report: &mut Report, world: &Ground) -> Result<(), Failed> {
    let counts = report.step("counted", counted(world)).await?;
    for (name, count) in counts {
        report.count(name, count);
    }
    Ok(())
}

async fn counted(world: &Ground) -> anyhow::Result<(Vec<(&'static str, u64)>, String)> {
    let (platform, tenant, token) = (&world.platform, world.cast.tenant(), &world.cast.rae.token);
    let sql = "SELECT count(*) AS n FROM events WHERE class_uid IN (1001, 1007, 4001)";
    let rows = platform.rows(token, tenant, sql).await?;
    let events = rows.first().and_then(|row| row.get("n")).and_then(Value::as_u64).unwrap_or_default();
    let length = |value: &Value| u64::try_from(list(value, "/items").len()).unwrap_or(u64::MAX);
    let mut counts = vec![("events", events), ("tenants", u64::try_from(world.cast.tenants.len()).unwrap_or(0))];
    for (name, path) in [
        ("detections", format!("/v1/detections?tenant={tenant}&limit=1000")),
        ("cases", format!("/v1/cases?tenant={tenant}")),
        ("approvals", format!("/v1/approvals?tenant={tenant}")),
        ("actions", format!("/v1/actions?tenant={tenant}")),
        ("runs", format!("/v1/runs?tenant={tenant}")),
    ] {
        counts.push((name, length(&platform.get(token, &path).await?)));
    }
    let sensor = platform.get(token, &format!("/v1/sensors/{}", world.sensor_id)).await?;
    let lost: u64 = list(&sensor, "/health/sources").iter().filter_map(|one| one.get("lost")?.as_u64()).sum();
    counts.push(("events_lost", lost));
    ensure!(
        counts.iter().all(|(name, count)| *count > 0 || *name == "events_lost"),
        "something was not counted: {counts:?}"
    );
    let told = counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ");
    Ok((counts, told))
}

/// Export the record, end the platform, verify the record, and see that a changed byte is noticed.
pub(crate) async fn verify(report: &mut Report, world: &mut Ground) -> Result<(), Failed> {
    report.chapter("6. The record, verified without the platform");
    let (log, key) = (world.stage.folder.join("log-of-audit"), world.stage.folder.join("posse.key"));
    report.step("record_exported", export(world, &log, &key)).await?;
    report
        .step("platform_stopped", async {
            world.server.child.kill()?;
            world.server.child.wait()?;
            Ok(((), "from here on only files and a public key".to_owned()))
        })
        .await?;
    let leaves = report.step("record_verified", verified(world, &log, &key)).await?;
    report.count("audit_leaves_verified", leaves);
    report.step("changed_record_noticed", tamper(world, &log, &key)).await
}

async fn export(world: &Ground, log: &Path, key: &Path) -> anyhow::Result<((), String)> {
    let public = world.platform.get(&world.cast.first, "/v1/audit/key").await?;
    std::fs::write(key, text(&public, "/verifier_key"))?;
    let environment = [("POSSE_URL", world.platform.url.as_str()), ("POSSE_TOKEN", world.cast.first.as_str())];
    let folder = log.display().to_string();
    let (code, said) = world.stage.posse(&["audit", "export", "--out", &folder], &environment)?;
    ensure!(code == 0, "`posse audit export` ended with {code}: {said}");
    Ok(((), "`posse audit export` wrote checkpoint, tiles, entries and payloads".to_owned()))
}

async fn verified(world: &Ground, log: &Path, key: &Path) -> anyhow::Result<(u64, String)> {
    let (code, said) = judge(world, log, key)?;
    ensure!(code == 0, "`posse audit verify` ended with {code}: {said}");
    let report: Value = serde_json::from_str(&said).context("the verifier's answer is no JSON")?;
    ensure!(text(&report, "/verdict") == "valid", "the verifier says `{}`", text(&report, "/verdict"));
    let trees = list(&report, "/trees");
    let leaves: u64 = trees.iter().filter_map(|tree| tree.get("size")?.as_u64()).sum();
    ensure!(leaves > 0, "the verifier checked no leaf");
    let told = format!("`posse audit verify` with the public key alone: {leaves} leaves of {} trees hold", trees.len());
    Ok((leaves, told))
}

fn judge(world: &Ground, log: &Path, key: &Path) -> anyhow::Result<(i32, String)> {
    let (log, key) = (log.display().to_string(), key.display().to_string());
    world.stage.posse(&["audit", "verify", &log, "--key", &key, "--output", "json"], &[])
}

async fn tamper(world: &Ground, log: &Path, key: &Path) -> anyhow::Result<((), String)> {
    let entry = files(log).into_iter().find(|file| file.to_string_lossy().contains("entries")).context("no entries")?;
    let mut bytes = std::fs::read(&entry)?;
    *bytes.get_mut(40).context("an entry is longer than that")? ^= 1;
    std::fs::write(&entry, bytes)?;
    let (code, said) = judge(world, log, key)?;
    ensure!(code == 1, "`posse audit verify` ended with {code}: {said}");
    Ok(((), "after one byte was changed the verifier refuses it".to_owned()))
}

/// Every file below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { waiting.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

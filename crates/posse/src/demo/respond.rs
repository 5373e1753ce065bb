//! Response: what the agent does alone, what it asks for, what a person says to that, and the way back. Whether something
//! was ended or cut off is asked of the kernel and of a connection, not of the platform.

use super::platform::{list, text, until};
use super::report::{Failed, Report, millis};
use super::story::{PATIENCE, Seen, World};
use super::triage::{ended, run_of};
use super::{Options, Sabotage};
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The table that an isolated host has.
const TABLE: &str = "table inet posse_isolation";
/// How long a person may take.
const PERSON: Duration = Duration::from_secs(600);

/// Contain the case and undo it.
pub(crate) async fn contain(options: &Options, report: &mut Report, world: &World, seen: &Seen) -> Result<(), Failed> {
    report.chapter("4. Containment: the least alone, the rest with a person");
    report
        .step("containment_run", async {
            let run = run_of(world, &world.containment, &seen.case).await?;
            Ok(((), format!("{run}, of an agent that may end what its case is about, and must ask for more")))
        })
        .await?;
    report.step("ended_alone", ended_alone(world, seen)).await?;
    report.figure("autonomous_contain_ms", millis(seen.begun));
    let approval = report.step("isolation_asked", asked(world)).await?;
    let run = text(&approval, "/run").to_owned();
    let approved = match options.sabotage {
        Some(Sabotage::ApprovalWithheld) => report.step("approved", withheld(world, &approval)).await?,
        _ => report.step("approved", approve(options, world, &approval)).await?,
    };
    let action = report.step("isolated", isolated(world, seen, approved)).await?;
    report.figure("approved_contain_ms", action.1);
    report.step("containment_done", done(world, seen, &run)).await?;
    report.step("undone", undone(world, &action.0)).await
}

/// Actions on the case, of a kind.
async fn actions(world: &World, seen: &Seen, kind: &str) -> anyhow::Result<Vec<Value>> {
    let path = format!("/v1/actions?tenant={}&case={}&limit=100", world.cast.tenant(), seen.case);
    let all = world.platform.get(&world.cast.rae.token, &path).await?;
    Ok(list(&all, "/items").iter().filter(|one| text(one, "/kind") == kind).cloned().collect())
}

/// What an action came to; an error where it was not done and verified.
async fn verified(world: &World, action: &str) -> anyhow::Result<Value> {
    let now = world.platform.get(&world.cast.rae.token, &format!("/v1/actions/{action}?wait=20")).await?;
    let state = text(&now, "/state");
    let verified = now.get("verified").and_then(Value::as_bool).unwrap_or_default();
    ensure!(state == "done" && verified, "the action is `{state}`: {}", text(&now, "/detail"));
    Ok(now)
}

async fn ended_alone(world: &World, seen: &Seen) -> anyhow::Result<((), String)> {
    let guid = seen.beacon.to_string();
    let found = until("the agent ends the beacon", PATIENCE, || async {
        let asked = actions(world, seen, "kill_process").await?;
        Ok(asked.into_iter().find(|one| text(one, "/arguments/process") == guid))
    })
    .await?;
    let action = verified(world, text(&found, "/id")).await?;
    ensure!(action.get("approval").is_none_or(Value::is_null), "somebody was asked");
    ensure!(text(&action, "/requested_by") == world.containment, "somebody else asked for it");
    ensure!(!super::janitor::lives(&seen.beacon), "the kernel still has {guid}");
    world.listener.line("silence", PATIENCE).context("the beacon's line is still open")?;
    Ok(((), format!("process {guid} is gone from the kernel and its line is silent; nobody was asked")))
}

async fn asked(world: &World) -> anyhow::Result<(Value, String)> {
    let path = format!("/v1/approvals?tenant={}&state=pending", world.cast.tenant());
    let approval = until("the agent asks to isolate the host", PATIENCE, || async {
        let found = world.platform.get(&world.cast.rae.token, &path).await?;
        let own = |one: &&Value| text(one, "/operation") == "action.isolate_host";
        Ok(list(&found, "/items").iter().find(own).cloned())
    })
    .await?;
    ensure!(text(&approval, "/proposer") == world.containment, "somebody else asks");
    ended(world, text(&approval, "/run"), &["waiting"]).await?;
    ensure!(text(&approval, "/state") == "pending", "the approval is {}", text(&approval, "/state"));
    ensure!(!world.stage.tables()?.iter().any(|table| table == TABLE), "the host is cut off already");
    ensure!(world.stage.reaches_outside(), "the host reaches nobody already");
    let told =
        format!("waits on {} for `{}`; the host is open until then", text(&approval, "/id"), text(&approval, "/rung"));
    Ok((approval, told))
}

/// Say yes: as a second user here, or whoever does it on the terminal or elsewhere.
async fn approve(options: &Options, world: &World, approval: &Value) -> anyhow::Result<((Instant, String), String)> {
    let id = text(approval, "/id").to_owned();
    let (path, digest) = (format!("/v1/approvals/{id}"), text(approval, "/digest"));
    let yes = json!({ "digest": digest, "comment": "read and agreed" });
    // Who answers for the agent may not say yes for it.
    let own = world.platform.try_call(&world.cast.first, "POST", &format!("{path}/approve"), Some(&yes)).await?;
    ensure!(own.status == 403, "the agent's own person could approve: {}", own.problem());
    let begun = if options.interactive {
        super::person::decide(world, approval, PERSON).await?
    } else {
        let begun = Instant::now();
        world.platform.post(&world.cast.rae.token, &format!("{path}/approve"), &yes).await?;
        begun
    };
    let now = until("the approved call runs", PATIENCE, || async {
        let now = world.platform.get(&world.cast.rae.token, &path).await?;
        let state = text(&now, "/state");
        ensure!(["pending", "approved", "executed"].contains(&state), "the approval is {state}");
        Ok((state == "executed").then_some(now))
    })
    .await?;
    let votes: Vec<&str> = list(&now, "/votes").iter().map(|vote| text(vote, "/by")).collect();
    ensure!(votes == [world.cast.rae.id.as_str()] || options.interactive, "somebody else approved: {votes:?}");
    let told = format!("by rae, bound to the digest {}; the agent's own person was refused", digest);
    Ok(((begun, id), told))
}

/// Sabotage: nobody says anything.
async fn withheld(world: &World, approval: &Value) -> anyhow::Result<((Instant, String), String)> {
    let path = format!("/v1/approvals/{}", text(approval, "/id"));
    let now = until("the approval runs out", PATIENCE, || async {
        let now = world.platform.get(&world.cast.rae.token, &path).await?;
        Ok((text(&now, "/state") != "pending").then_some(now))
    })
    .await?;
    ensure!(world.stage.reaches_outside(), "the host was cut off although nobody approved");
    bail!("nobody approved; the approval is `{}` and the host is open", text(&now, "/state"))
}

async fn isolated(
    world: &World,
    seen: &Seen,
    (begun, approval): (Instant, String),
) -> anyhow::Result<((String, u64), String)> {
    let found = until("the approved action is asked of the sensor", PATIENCE, || async {
        let asked = actions(world, seen, "isolate_host").await?;
        Ok(asked.into_iter().find(|one| text(one, "/approval") == approval))
    })
    .await?;
    let action = verified(world, text(&found, "/id")).await?;
    let ms = millis(begun);
    ensure!(world.stage.tables()?.iter().any(|table| table == TABLE), "the kernel has no such table");
    ensure!(!world.stage.reaches_outside(), "the host still reaches others");
    let told = format!("`{TABLE}` stands in the namespace, a connection from it fails; {ms} ms after the yes");
    Ok(((text(&action, "/id").to_owned(), ms), told))
}

async fn done(world: &World, seen: &Seen, run: &str) -> anyhow::Result<((), String)> {
    let run = ended(world, run, &["done"]).await?;
    let contained = run.pointer("/outputs/contained").and_then(Value::as_bool).unwrap_or_default();
    ensure!(
        contained,
        "the agent says that the case is not contained: {}",
        run.pointer("/outputs").cloned().unwrap_or_default()
    );
    let file = world.platform.get(&world.cast.rae.token, &format!("/v1/cases/{}", seen.case)).await?;
    let status = text(&file, "/case/status");
    ensure!(status == "contained", "the case is `{status}`");
    Ok(((), "the agent heard the sensor's answers and marked the case contained".to_owned()))
}

async fn undone(world: &World, action: &str) -> anyhow::Result<((), String)> {
    let body = json!({ "reason": "the demonstration is over" });
    let undo = world.platform.post(&world.cast.rae.token, &format!("/v1/actions/{action}/undo"), &body).await?;
    verified(world, text(&undo, "/id")).await?;
    ensure!(!world.stage.tables()?.iter().any(|table| table == TABLE), "the table is still there");
    ensure!(world.stage.reaches_outside(), "the host still reaches nobody");
    Ok(((), "rae released the host; the table is gone, the connection works again".to_owned()))
}

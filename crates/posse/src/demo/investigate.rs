//! The investigator, where a model is configured: the same case, looked into by a model under its charter. Absent, one line
//! says so. What the model says is not judged here; that its run stayed within charter and budget is.

use super::platform::{text, until};
use super::report::{Failed, Report};
use super::story::Ground;
use super::triage::tell_steps;
use super::{Options, Sabotage};
use anyhow::ensure;
use serde_json::{Value, json};
use std::time::Duration;

/// How long a model may take for a whole run.
const MODEL_PATIENCE: Duration = Duration::from_secs(900);

/// The model that the environment names, as variables of the server.
pub(crate) fn variables(options: &Options) -> Vec<(String, String)> {
    if options.sabotage == Some(Sabotage::ModelDown) {
        // The discard port: nobody answers there.
        return vec![("POSSE_MODEL_URL".to_owned(), "http://127.0.0.1:9/v1".to_owned())];
    }
    let taken = |word: &str| Some((format!("POSSE_{word}"), std::env::var(format!("POSSE_DEMO_{word}")).ok()?));
    ["MODEL_URL", "MODEL_KIND", "MODEL_NAME", "MODEL_KEY"].into_iter().filter_map(taken).collect()
}

/// Let the investigator look into the case.
pub(crate) async fn investigate(
    options: &Options,
    report: &mut Report,
    ground: &Ground,
    case: &str,
) -> Result<(), Failed> {
    if !variables(options).iter().any(|(name, _)| name == "POSSE_MODEL_URL") {
        report.detail("no model is configured (POSSE_DEMO_MODEL_URL), so the investigator does not run");
        report.figure("model", "none");
        return Ok(());
    }
    report.chapter("The investigator, driven by the configured model");
    report.figure("model", "configured");
    let run = report.step("investigated", look(ground, case)).await?;
    tell_steps(report, ground, &run).await;
    Ok(())
}

async fn look(ground: &Ground, case: &str) -> anyhow::Result<(String, String)> {
    let own = [ground.cast.tenant().to_owned()];
    let agent = ground.cast.agent(&ground.platform, "investigator", None, &["investigator"], &own).await?;
    let body = json!({ "agent": agent, "tenant": ground.cast.tenant(), "case": case });
    // The agent is the provider's: a tenant's people do not start it.
    let run = ground.platform.post(&ground.cast.first, "/v1/runs", &body).await?;
    let path = format!("/v1/runs/{}", text(&run, "/id"));
    let ended = until("the investigator's run ends or proposes", MODEL_PATIENCE, || async {
        let now = ground.platform.get(&ground.cast.rae.token, &path).await?;
        Ok((!["queued", "running"].contains(&text(&now, "/state"))).then_some(now))
    })
    .await?;
    let state = text(&ended, "/state");
    ensure!(["done", "waiting"].contains(&state), "the run is {state}: {}", text(&ended, "/reason"));
    let tokens = ended.pointer("/spent/tokens").and_then(Value::as_u64).unwrap_or_default();
    ensure!(tokens > 0, "no model was asked");
    let told = if state == "waiting" {
        format!("{tokens} tokens; its conclusion waits for a person as {}", text(&ended, "/waits_for"))
    } else {
        format!("{tokens} tokens; it ended by itself")
    };
    Ok((text(&ended, "/id").to_owned(), told))
}

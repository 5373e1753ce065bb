//! Triage of the case: the run, what it looked at, and the conclusion, whose evidence the demo looks up once more by itself.

use super::platform::{list, text, until};
use super::report::{Failed, Report, millis};
use super::story::{Ground, PATIENCE};
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::time::Instant;

/// Wait for triage and check what it rests on.
pub(crate) async fn conclude(report: &mut Report, world: &Ground, case: &str, begun: Instant) -> Result<(), Failed> {
    report.chapter("3. Triage: an agent that the case wakes, under its charter, with no model");
    let concluded = report.step("verdict_documented", verdict(world, case)).await?;
    report.figure("triage_ms", millis(begun));
    let run = text(&concluded, "/made/run").to_owned();
    report.step("triage_run", ran(world, &run)).await?;
    tell_steps(report, world, &run).await;
    for claim in list(&concluded, "/claims") {
        report.detail(&format!("claims: {}", text(claim, "/text")));
        for citation in list(claim, "/citations") {
            let quotes: Vec<&str> = list(citation, "/quotes").iter().filter_map(Value::as_str).collect();
            report.detail(&format!("  {} holds `{}`", text(citation, "/event"), quotes.join("`, `")));
        }
    }
    let cited = report.step("evidence_holds", look_up(world, &concluded)).await?;
    report.count("citations", cited);
    Ok(())
}

/// A run of an agent on a case, woken by what happened to it.
pub(crate) async fn run_of(world: &Ground, agent: &str, case: &str) -> anyhow::Result<String> {
    let path = format!("/v1/runs?tenant={}&case={case}", world.cast.tenant());
    until("the case wakes its agent", PATIENCE, || async {
        let runs = world.platform.get(&world.cast.rae.token, &path).await?;
        let own = list(&runs, "/items").iter().find(|run| text(run, "/agent") == agent);
        Ok(own.map(|run| text(run, "/id").to_owned()))
    })
    .await
}

async fn ran(world: &Ground, run: &str) -> anyhow::Result<((), String)> {
    let run = ended(world, run, &["done"]).await?;
    ensure!(text(&run, "/agent") == world.triage, "somebody else's run");
    let steps = run.pointer("/spent/steps").and_then(Value::as_u64).unwrap_or_default();
    Ok(((), format!("{}, started by {}, took {steps} steps", text(&run, "/id"), text(&run, "/started_by"))))
}

/// A run, once it is in one of these states; an error where it ended otherwise.
pub(crate) async fn ended(world: &Ground, run: &str, states: &[&str]) -> anyhow::Result<Value> {
    let path = format!("/v1/runs/{run}");
    until(&format!("the run is {}", states.join(" or ")), PATIENCE, || async {
        let now = world.platform.get(&world.cast.rae.token, &path).await?;
        let state = text(&now, "/state");
        let over = ["cancelled", "done", "exhausted", "failed"].contains(&state);
        ensure!(!over || states.contains(&state), "the run is {state}: {}", text(&now, "/reason"));
        Ok(states.contains(&state).then_some(now))
    })
    .await
}

/// Tell the calls that a run made.
pub(crate) async fn tell_steps(report: &Report, world: &Ground, run: &str) {
    let path = format!("/v1/runs/{run}/transcript?limit=200");
    // Only told: what was done stands in the record.
    let Ok(steps) = world.platform.get(&world.cast.rae.token, &path).await else { return };
    for step in list(&steps, "/items").iter().filter(|step| text(step, "/kind") == "called") {
        report.detail(text(step, "/summary"));
    }
}

/// The case's conclusion: an attack, made by the agent, with evidence.
async fn verdict(world: &Ground, case: &str) -> anyhow::Result<(Value, String)> {
    let path = format!("/v1/cases/{case}");
    let last = std::cell::RefCell::new(String::new());
    let concluded = until("triage concludes that it is an attack", PATIENCE, || async {
        let file = world.platform.get(&world.cast.rae.token, &path).await?;
        let concluded = file.pointer("/case/conclusion").cloned().unwrap_or_default();
        let verdict = text(&concluded, "/verdict").to_owned();
        let over = verdict == "true_positive";
        *last.borrow_mut() = verdict;
        Ok(over.then_some(concluded))
    })
    .await
    .with_context(|| format!("the verdict is `{}`", last.borrow()))?;
    ensure!(text(&concluded, "/made/by") == world.triage, "somebody else concluded");
    ensure!(!list(&concluded, "/claims").is_empty(), "the verdict cites nothing");
    let told = format!("true_positive. {}", text(&concluded, "/reason"));
    Ok((concluded, told))
}

/// Look each citation up: the event is there and holds what is quoted from it.
async fn look_up(world: &Ground, concluded: &Value) -> anyhow::Result<(u64, String)> {
    let mut cited = 0;
    for citation in list(concluded, "/claims").iter().flat_map(|claim| list(claim, "/citations")) {
        let event = text(citation, "/event");
        let path = format!("/v1/events/id/{event}?tenant={}", world.cast.tenant());
        let found = world.platform.get(&world.cast.rae.token, &path).await?;
        for quote in list(citation, "/quotes").iter().filter_map(Value::as_str) {
            ensure!(holds(&found, quote), "`{event}` does not hold `{quote}`");
            cited += 1;
        }
    }
    ensure!(cited > 0, "nothing is quoted");
    Ok((cited, format!("{cited} quotes were looked up; each stands in the event that it cites")))
}

/// Whether some text of a document holds another; text that is JSON itself is looked into.
fn holds(value: &Value, quote: &str) -> bool {
    match value {
        Value::String(text) => {
            text.contains(quote)
                || (text.starts_with('{') && serde_json::from_str(text).is_ok_and(|inner: Value| holds(&inner, quote)))
        }
        Value::Array(items) => items.iter().any(|item| holds(item, quote)),
        Value::Object(fields) => fields.values().any(|field| holds(field, quote)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_quote_is_looked_for_in_what_was_recorded() {
        let event = json!({ "id": "event_1", "raw": "{\"CommandLine\":\"sh -c \\\"id\\\"\"}", "n": 4 });
        assert!(holds(&event, "sh -c \"id\""));
        assert!(!holds(&event, "sh -c \"who\""));
    }
}

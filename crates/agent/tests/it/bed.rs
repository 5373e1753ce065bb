//! A platform that is a script: answers calls, remembers effects by their key, counts time by calls.

use agent::{Budgets, Command, Effect, Ending, Entry, Outcome, Plan, Playbook, Procedure, Run, ToolSpec, Toolset};
use ids::{RunId, Timestamp};
use seal::Digest;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) fn spec(name: &str) -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../spec/agent").join(name)
}

pub(crate) fn tools() -> Toolset {
    let tool = |operation: &str, effect, outsider_text| ToolSpec {
        operation: operation.to_owned(),
        effect,
        outsider_text,
        description: String::new(),
        input_schema: json!({ "type": "object" }),
    };
    [
        tool("case.get", Effect::Read, true),
        tool("case.detections", Effect::Read, true),
        tool("detection.list", Effect::Read, true),
        tool("event.process_tree", Effect::Read, true),
        tool("event.search", Effect::Read, true),
        tool("entity.prevalence", Effect::Read, false),
        tool("case.conclude", Effect::Write, true),
        tool("host.isolate", Effect::Respond, false),
    ]
    .into_iter()
    .map(|tool| (tool.operation.clone(), tool))
    .collect()
}

pub(crate) fn plan(procedure: Procedure, input: Value) -> Plan {
    Plan {
        run: RunId::derive(&[b"a run"]),
        charter: Digest::of(b"charter"),
        budgets: Budgets { steps: 40, tokens: 10_000, money_micros: 0, seconds: 600, actions: 3 },
        tools: Arc::new(tools()),
        procedure,
        input,
    }
}

pub(crate) fn playbook(text: &str) -> Tried<Procedure> {
    let read = Playbook::parse(text).map_err(|faults| format!("{faults:?}"))?;
    Ok(Procedure::Playbook(Arc::new(read)))
}

pub(crate) fn at(second: usize) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + i64::try_from(second).unwrap_or(0) * 1_000_000)
}

pub(crate) fn began(plan: &Plan) -> Entry {
    Entry::Began { at: at(0), charter: plan.charter.to_hex() }
}

/// Drive a run that only calls to its end; `answer` is asked for each call.
pub(crate) fn drive(
    run: &mut Run,
    journal: &mut Vec<Entry>,
    mut answer: impl FnMut(&str, &Value, &str) -> Outcome,
    mut settle: impl FnMut(&str) -> Outcome,
) -> Tried<Ending> {
    for _ in 0..10_000 {
        let command = run.command().cloned().ok_or("the run has not begun")?;
        let now = at(journal.len());
        let entry = match command {
            Command::End(ending) => return Ok(ending),
            Command::Chat { .. } => return Err("a playbook asks no model".to_owned()),
            Command::Call { step, operation, input, effect: _, idempotency_key } => {
                let called = Entry::Called { step, at: now, operation: operation.clone(), input: input.clone() };
                if !matches!(journal.last(), Some(Entry::Called { step: own, .. }) if *own == step) {
                    run.step(&called).map_err(|error| error.to_string())?;
                    journal.push(called);
                }
                Entry::Replied { step, at: now, outcome: answer(&operation, &input, &idempotency_key) }
            }
            Command::Wait { step, approval } => Entry::Settled { step, at: now, outcome: settle(&approval) },
        };
        run.step(&entry).map_err(|error| error.to_string())?;
        journal.push(entry);
    }
    Err("the run does not end".to_owned())
}

/// Errors as text: what a test prints.
pub(crate) type Tried<T> = Result<T, String>;

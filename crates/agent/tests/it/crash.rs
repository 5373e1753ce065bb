//! A run that is killed at any point of its journal has the same effects, each once, as one that is not.

use crate::bed::{Tried, at, began, plan, playbook};
use agent::{Command, Effect, Ending, Entry, Outcome, Plan, Run};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A gate that remembers answers by key: a second call with a key has no second effect.
#[derive(Default)]
struct Gate {
    remembered: BTreeMap<String, (String, Value, Outcome)>,
    effects: Vec<(String, Value)>,
    mismatches: usize,
}

impl Gate {
    fn call(&mut self, operation: &str, input: &Value, effect: Effect, key: &str) -> Outcome {
        if effect == Effect::Read {
            return Outcome::Done { output: json!({ "n": operation.len(), "hosts": ["a", "b", "c"] }) };
        }
        if let Some((known, with, outcome)) = self.remembered.get(key) {
            self.mismatches += usize::from(known != operation || with != input);
            return outcome.clone();
        }
        self.effects.push((operation.to_owned(), input.clone()));
        let outcome = if operation == "host.isolate" {
            Outcome::Pending { approval: format!("approval_{}", self.effects.len()) }
        } else {
            Outcome::Done { output: json!({ "place": self.effects.len() }) }
        };
        self.remembered.insert(key.to_owned(), (operation.to_owned(), input.clone(), outcome.clone()));
        outcome
    }
}

/// Where a process dies: after so many things that it did.
struct Mortal {
    left: usize,
}

impl Mortal {
    fn lives(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }
}

/// One process: from the stored journal until it dies or the run ends. What is journalled behind a read is only in its
/// memory until the next effect, as with the real driver.
fn live(plan: &Plan, stored: &mut Vec<Entry>, gate: &mut Gate, mut mortal: Mortal) -> Tried<Option<Ending>> {
    let mut run = Run::resume(plan.clone(), stored).map_err(|error| error.to_string())?;
    let mut fresh: Vec<Entry> = Vec::new();
    loop {
        let now = at(stored.len() + fresh.len());
        let Some(command) = run.command().cloned() else { return Err("not begun".to_owned()) };
        let entry = match command {
            Command::End(ending) => {
                stored.append(&mut fresh);
                return Ok(Some(ending));
            }
            Command::Chat { .. } => return Err("a playbook asks no model".to_owned()),
            Command::Wait { step, .. } => {
                stored.append(&mut fresh);
                Entry::Settled { step, at: now, outcome: Outcome::Done { output: json!({ "isolated": true }) } }
            }
            Command::Call { step, operation, input, effect, idempotency_key } => {
                let last = stored.iter().chain(&fresh).next_back();
                if !matches!(last, Some(Entry::Called { step: own, .. }) if *own == step) {
                    let called = Entry::Called { step, at: now, operation: operation.clone(), input: input.clone() };
                    run.step(&called).map_err(|error| error.to_string())?;
                    fresh.push(called);
                }
                if effect != Effect::Read {
                    if !mortal.lives() {
                        return Ok(None);
                    }
                    stored.append(&mut fresh);
                }
                if !mortal.lives() {
                    return Ok(None);
                }
                let outcome = gate.call(&operation, &input, effect, &idempotency_key);
                if !mortal.lives() {
                    return Ok(None);
                }
                Entry::Replied { step, at: now, outcome }
            }
        };
        run.step(&entry).map_err(|error| error.to_string())?;
        fresh.push(entry);
    }
}

const TEXT: &str = "playbook: 1
name: effects
steps:
  - { id: found, call: case.get, with: { case: c } }
  - id: places
    for_each: found.hosts
    max: 10
    gather: 'noted == null ? null : noted.place'
    as: host
    steps:
      - { id: seen, call: entity.prevalence, with: { kind: host, value: '${host}' } }
      - when: host != 'b'
        id: noted
        call: case.conclude
        with: { case: '${host}', n: '${seen.n}' }
  - { id: isolated, call: host.isolate, with: { host: '${found.hosts[0]}' } }
outputs: { isolated: '${isolated.isolated}', places: '${places}' }
";

proptest! {
    #[test]
    fn killed_anywhere_and_often_it_has_the_same_effects_once(deaths in prop::collection::vec(1_usize..30, 0..12)) {
        let (plan, mut gate) = (plan(playbook(TEXT).map_err(TestCaseError::fail)?, json!({})), Gate::default());
        let mut stored = vec![began(&plan)];
        let mut ending = None;
        for left in deaths.into_iter().chain([usize::MAX]) {
            if ending.is_none() {
                ending = live(&plan, &mut stored, &mut gate, Mortal { left }).map_err(TestCaseError::fail)?;
            }
        }
        let outputs = json!({ "isolated": true, "places": [1, 2] });
        prop_assert_eq!(ending, Some(Ending::Done { outputs }));
        let expected = [
            ("case.conclude".to_owned(), json!({ "case": "a", "n": 17 })),
            ("case.conclude".to_owned(), json!({ "case": "c", "n": 17 })),
            ("host.isolate".to_owned(), json!({ "host": "a" })),
        ];
        prop_assert_eq!(&gate.effects, &expected);
        prop_assert_eq!(gate.mismatches, 0);
    }
}

#[test]
fn a_cancelled_run_stays_cancelled() -> Tried<()> {
    let plan = plan(playbook(TEXT)?, json!({}));
    let mut entries = vec![began(&plan)];
    entries.push(Entry::Cancelled { at: at(1), reason: "enough".to_owned() });
    let mut run = Run::resume(plan, &entries).map_err(|error| error.to_string())?;
    assert!(matches!(run.command(), Some(Command::End(Ending::Cancelled { .. }))));
    let late = Entry::Replied { step: 1, at: at(2), outcome: Outcome::Done { output: json!({}) } };
    assert!(run.step(&late).is_err());
    Ok(())
}

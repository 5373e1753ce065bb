//! Playbooks as data: calls in order, ending, taint; and those that are refused.

use crate::bed::{Tried, began, drive, plan, playbook, spec};
use agent::{Definition, Ending, Entry, Fault, JournalLine, Outcome, Playbook, Run};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    playbook: String,
    /// A skill that ships, in place of a playbook.
    skill: Option<String>,
    input: Value,
    #[serde(default)]
    script: Vec<Scripted>,
    repeat: Option<Scripted>,
    ending: Ending,
    tainted: bool,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scripted {
    call: String,
    with: Option<Value>,
    reply: Outcome,
    settled: Option<Outcome>,
}

#[derive(Deserialize)]
struct Rejections {
    playbooks: Vec<Rejection>,
    definitions: Vec<Rejection>,
}

#[derive(Deserialize)]
struct Rejection {
    text: String,
    faults: Vec<String>,
}

#[test]
fn playbooks_take_the_steps_that_the_cases_say() -> Tried<()> {
    let mut count = 0;
    for file in fs::read_dir(spec("runs")).map_err(|error| error.to_string())? {
        let path = file.map_err(|error| error.to_string())?.path();
        let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let case: Case = serde_yaml_ng::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        check(&case).map_err(|error| format!("{}: {error}", case.name))?;
        count += 1;
    }
    assert!(count >= 6, "{count} cases");
    Ok(())
}

fn check(case: &Case) -> Tried<()> {
    let text = match &case.skill {
        Some(skill) => fs::read_to_string(spec(&format!("../../content/skills/{skill}/playbook.yaml")))
            .map_err(|error| error.to_string())?,
        None => case.playbook.clone(),
    };
    let plan = plan(playbook(&text)?, case.input.clone());
    let mut journal = vec![began(&plan)];
    let mut run = Run::resume(plan, &journal).map_err(|error| error.to_string())?;
    let mut wrong = Vec::new();
    let settled = std::cell::RefCell::new(None);
    let mut script = case.script.iter();
    let ending = drive(
        &mut run,
        &mut journal,
        |operation, input, _| {
            let Some(next) = script.next().or(case.repeat.as_ref()) else {
                wrong.push(format!("`{operation}` was not expected"));
                return Outcome::Denied { detail: "not in the script".to_owned() };
            };
            if next.call != operation || next.with.as_ref().is_some_and(|with| with != input) {
                wrong.push(format!("expected {} {:?}, got {operation} {input}", next.call, next.with));
            }
            settled.replace(next.settled.clone());
            next.reply.clone()
        },
        |_| settled.take().unwrap_or(Outcome::Denied { detail: "nobody decided".to_owned() }),
    )?;
    assert_eq!(wrong, Vec::<String>::new(), "{}", case.name);
    assert_eq!(script.next().map(|left| &left.call), None, "{}: calls that were not made", case.name);
    assert_eq!(json!(ending), json!(case.ending), "{}", case.name);
    assert_eq!(run.tainted(), case.tainted, "{}", case.name);
    Ok(())
}

#[test]
fn what_is_wrong_is_refused_with_its_place() -> Tried<()> {
    let text = fs::read_to_string(spec("rejections.yaml")).map_err(|error| error.to_string())?;
    let cases: Rejections = serde_yaml_ng::from_str(&text).map_err(|error| error.to_string())?;
    let told = |faults: Vec<Fault>| faults.iter().map(|fault| format!("{fault}\n")).collect::<String>();
    for case in &cases.playbooks {
        holds(case, Playbook::parse(&case.text).map(drop).map_err(told))?;
    }
    for case in &cases.definitions {
        holds(case, Definition::parse(&case.text).map(drop).map_err(told))?;
    }
    Ok(())
}

fn holds(case: &Rejection, read: Result<(), String>) -> Tried<()> {
    let Err(told) = read else { return Err(format!("was read: {}", case.text)) };
    let missing = case.faults.iter().find(|part| !told.contains(part.as_str()));
    missing.map_or(Ok(()), |part| Err(format!("`{part}` is not told for\n{}\nbut\n{told}", case.text)))
}

const JOURNALLED: &str = "playbook: 1\nname: journalled\ninputs: { case: {} }\nsteps:\n  - { id: found, call: case.get, with: { case: '${case}' } }\n  - { id: done, call: case.conclude, with: { case: '${case}', verdict: '${found.verdict}' } }\noutputs: { verdict: '${found.verdict}' }\n";

#[test]
fn the_journal_of_version_one_stays_as_it_is() -> Tried<()> {
    let plan = plan(playbook(JOURNALLED)?, json!({ "case": "case_1" }));
    let mut journal = vec![began(&plan)];
    let mut run = Run::resume(plan.clone(), &journal).map_err(|error| error.to_string())?;
    let answer = |operation: &str, _: &Value, _: &str| match operation {
        "case.get" => Outcome::Done { output: json!({ "verdict": "benign" }) },
        _ => Outcome::Pending { approval: "approval_1".to_owned() },
    };
    let ending = drive(&mut run, &mut journal, answer, |_| Outcome::Done { output: json!({}) })?;
    journal.push(Entry::Ended { at: crate::bed::at(journal.len()), ending });
    let written: String = journal
        .iter()
        .filter_map(|entry| serde_json::to_string(&JournalLine::new(entry.clone())).ok())
        .map(|line| line + "\n")
        .collect();
    if std::env::var_os("POSSE_BLESS").is_some() {
        fs::write(spec("journal-v1.jsonl"), &written).map_err(|error| error.to_string())?;
    }
    let golden = fs::read_to_string(spec("journal-v1.jsonl")).map_err(|error| error.to_string())?;
    assert_eq!(written, golden);
    let lines: Vec<Value> = golden.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let entries = JournalLine::read_all(&lines).map_err(|error| error.to_string())?;
    assert_eq!(entries, journal);
    Run::resume(plan, &entries).map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_journal_of_another_run_or_charter_is_refused() -> Tried<()> {
    let mut plan = plan(playbook(JOURNALLED)?, json!({ "case": "case_1" }));
    let golden = fs::read_to_string(spec("journal-v1.jsonl")).map_err(|error| error.to_string())?;
    let lines: Vec<Value> = golden.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let entries = JournalLine::read_all(&lines).map_err(|error| error.to_string())?;
    let other = agent::Plan { input: json!({ "case": "case_2" }), ..plan.clone() };
    assert!(Run::resume(other, &entries).is_err(), "another input makes other calls");
    plan.charter = seal::Digest::of(b"another");
    assert!(Run::resume(plan, &entries).is_err(), "another charter");
    assert!(JournalLine::read_all(&[json!({ "v": 9, "entry": {} })]).is_err(), "a version of the future");
    Ok(())
}

//! How a plan and what became of it are told: for people as lines, for programs as one document.

use super::access::Shift;
use super::apply::Applied;
use super::plan::{Change, Plan, counts};
use super::thing::Kind;
use crate::table::clean;
use serde_json::{Value, json};

/// Lines of things, and of access, that a person reads; the rest is in the other formats.
const LINES_MAX: usize = 60;
/// Cells of one line.
const CELLS_MAX: usize = 6;
/// Characters of a value in a line.
const VALUE_MAX: usize = 60;

/// A plan for people; with every line of every difference where that is asked for.
pub(crate) fn lines(plan: &Plan, access: &[Shift], whole: bool) -> String {
    let mut out = String::new();
    let mut say = |line: String| {
        out.push_str(&clean(&line, true));
        out.push('\n');
    };
    let most = if whole { usize::MAX } else { LINES_MAX };
    for step in plan.steps.iter().take(most) {
        say(format!("{} {}", step.change.sign(), step.key));
        for one in &step.differences {
            if whole {
                say(format!("    {}:", one.field));
                difference(&one.before, &one.after).into_iter().for_each(&mut say);
            } else {
                say(format!("    {}: {} -> {}", one.field, short(&one.before), short(&one.after)));
            }
        }
    }
    if plan.steps.len() > most {
        say(format!("  and {} more; --output json lists all", plan.steps.len() - most));
    }
    for (kind, [made, changed, removed]) in counts(plan) {
        say(format!("{}: {made} to create, {changed} to change, {removed} to delete", kind.as_str()));
    }
    if !access.is_empty() {
        say("access that changes:".to_owned());
    }
    for shift in access.iter().take(most) {
        say(format!("  {} in {}:", shift.principal, places(&shift.places)));
        say(format!("    {}", cells(shift)));
    }
    if access.len() > most {
        say(format!("  and {} more; --output json lists all", access.len() - most));
    }
    if plan.steps.is_empty() {
        say("nothing to do: the platform is as the files say".to_owned());
    }
    out
}

fn places(places: &[String]) -> String {
    match places {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        all => all.join(", "),
    }
}

fn cells(shift: &Shift) -> String {
    let shown = shift.cells.iter().take(CELLS_MAX).map(|(operation, was, is)| format!("{operation} {was} -> {is}"));
    let mut shown: Vec<String> = shown.collect();
    if shift.cells.len() > CELLS_MAX {
        shown.push(format!("and {} more", shift.cells.len() - CELLS_MAX));
    }
    shown.join(", ")
}

fn short(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let line: String = text.chars().map(|c| if c == '\n' { ' ' } else { c }).take(VALUE_MAX).collect();
    if text.chars().count() > VALUE_MAX { format!("{line}...") } else { line }
}

/// Both sides line by line, without the lines that they begin and end with alike.
fn difference(before: &Value, after: &Value) -> Vec<String> {
    let (before, after) = (whole(before), whole(after));
    let head = before.iter().zip(&after).take_while(|(one, other)| one == other).count();
    let rest = before.len().min(after.len()) - head;
    let tail = before.iter().rev().zip(after.iter().rev()).take(rest).take_while(|(one, other)| one == other).count();
    let gone = before.iter().take(before.len() - tail).skip(head).map(|line| format!("      - {line}"));
    let new = after.iter().take(after.len() - tail).skip(head).map(|line| format!("      + {line}"));
    gone.chain(new).collect()
}

fn whole(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => text.trim_end().lines().map(str::to_owned).collect(),
        Value::Array(items) => items.iter().map(ToString::to_string).collect(),
        other => vec![other.to_string()],
    }
}

/// A plan for programs.
pub(crate) fn document(plan: &Plan, access: &[Shift]) -> Value {
    let steps = plan.steps.iter().map(|step| {
        let differences: Vec<Value> = step
            .differences
            .iter()
            .map(|one| json!({ "field": one.field, "before": one.before, "after": one.after }))
            .collect();
        json!({
            "change": step.change.as_str(),
            "kind": step.key.kind.as_str(),
            "place": step.key.place,
            "name": if step.key.kind == Kind::Exception { step.key.shown() } else { &step.key.name },
            "differences": differences,
            "operations": step.calls.iter().map(|call| call.operation).collect::<Vec<_>>(),
        })
    });
    let access = access.iter().map(|shift| {
        let cells: Vec<Value> = shift
            .cells
            .iter()
            .map(|(operation, before, after)| json!({ "operation": operation, "before": before, "after": after }))
            .collect();
        json!({ "principal": shift.principal, "places": shift.places, "cells": cells })
    });
    json!({
        "create": plan.count(Change::Create),
        "change": plan.count(Change::Alter),
        "delete": plan.count(Change::Delete),
        "steps": steps.collect::<Vec<_>>(),
        "access": access.collect::<Vec<_>>(),
    })
}

/// What became of a plan, for programs.
pub(crate) fn applied(applied: &Applied) -> Value {
    let failed = applied.failed.iter().map(|(key, why)| json!({ "what": key.to_string(), "why": why }));
    let waiting = applied.waiting.iter().map(|(key, id)| json!({ "what": key.to_string(), "approval": id }));
    json!({
        "done": applied.done,
        "failed": failed.collect::<Vec<_>>(),
        "waiting": waiting.collect::<Vec<_>>(),
    })
}

/// The same for people.
pub(crate) fn applied_lines(applied: &Applied) -> String {
    let mut out = format!("{} done\n", applied.done);
    for (key, why) in applied.failed.iter().take(LINES_MAX) {
        out.push_str(&clean(&format!("failed: {key}: {why}\n"), true));
    }
    for (key, approval) in applied.waiting.iter().take(LINES_MAX) {
        out.push_str(&clean(&format!("waits for approval: {key}: posse approval get --approval {approval}\n"), true));
    }
    if !applied.failed.is_empty() || !applied.waiting.is_empty() {
        out.push_str("what was done stays done; run it again to go on\n");
    }
    out
}

//! What approvals and evidence can change about one policy, and the proof that more of them never takes a
//! permission away.
//!
//! A policy may look at `context.approvals` only by comparing one count with a number, and at `context.evidence`
//! only as a condition; in a permit both may only help, in a forbid they may only lift it. So each policy is a
//! monotone function of a few yes/no *atoms*, an extra approval never turns allow into deny, and the search for
//! the right rung needs no evaluation where no atom changes. Works on Cedar's JSON form; never evaluates.

use crate::spec::{APPROVAL_COUNTS, EVIDENCE};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Atoms in one policy; keeps the number of cases per policy small.
pub(crate) const ATOMS_MAX: usize = 8;

/// One yes/no question about approvals or evidence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Atom {
    /// The count at this index of [`APPROVAL_COUNTS`] is at least so high.
    AtLeast(usize, i64),
    /// The fact at this index of [`EVIDENCE`] is there.
    Evidence(usize),
}

/// The approvals and evidence that a call is decided with.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub(crate) struct Point {
    /// By index of [`APPROVAL_COUNTS`].
    pub(crate) counts: [i64; APPROVAL_COUNTS.len()],
    /// One bit for each of [`EVIDENCE`].
    pub(crate) evidence: u8,
}

/// All bits of [`EVIDENCE`].
pub(crate) const EVIDENCE_ALL: u8 = (1 << EVIDENCE.len()) - 1;

impl Point {
    /// As much of everything as there can be.
    pub(crate) const TOP: Self = Self { counts: [i64::MAX; APPROVAL_COUNTS.len()], evidence: EVIDENCE_ALL };

    fn holds(&self, atom: Atom) -> bool {
        match atom {
            Atom::AtLeast(index, least) => self.counts.get(index).is_some_and(|count| *count >= least),
            Atom::Evidence(index) => self.evidence & (1 << index) != 0,
        }
    }

    /// The answers to these atoms, one bit each.
    pub(crate) fn answers(&self, atoms: &[Atom]) -> u16 {
        atoms.iter().enumerate().fold(0, |bits, (index, atom)| bits | (u16::from(self.holds(*atom)) << index))
    }
}

/// What is wrong with a policy's use of approvals or evidence.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Misuse {
    pub(crate) why: String,
    pub(crate) hint: &'static str,
}

/// The atoms of a policy in Cedar's JSON form.
///
/// # Errors
/// [`Misuse`] where an approval more could take a permission away, or that cannot be seen.
pub(crate) fn atoms(policy: &Value, permit: bool) -> Result<Vec<Atom>, Misuse> {
    let mut found = Vec::new();
    for condition in policy.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        let when = condition.get("kind").and_then(Value::as_str) == Some("when");
        if let Some(body) = condition.get("body") {
            walk(body, permit == when, &mut found)?;
        }
    }
    if !found.is_empty() {
        no_arithmetic(policy)?;
    }
    if found.len() > ATOMS_MAX {
        return Err(Misuse {
            why: format!("asks {} questions about approvals and evidence; {ATOMS_MAX} are allowed", found.len()),
            hint: "split it into several policies",
        });
    }
    Ok(found)
}

/// The names of `context` that a policy in Cedar's JSON form looks at. All of them: the whole `context` as a value
/// is refused by [`atoms`].
pub(crate) fn context_names(json: &Value, names: &mut BTreeSet<String>) {
    match json {
        Value::Array(items) => items.iter().for_each(|item| context_names(item, names)),
        Value::Object(object) => {
            let var = object.get("left").and_then(|left| left.get("Var")).and_then(Value::as_str);
            if let (Some("context"), Some(name)) = (var, object.get("attr").and_then(Value::as_str)) {
                names.insert(name.to_owned());
            }
            object.values().for_each(|value| context_names(value, names));
        }
        _ => {}
    }
}

/// `helps`: making this expression true helps the call.
fn walk(expression: &Value, helps: bool, found: &mut Vec<Atom>) -> Result<(), Misuse> {
    if let Some((atom, rises)) = atom(expression)? {
        if rises != helps {
            return Err(Misuse {
                why: "an approval or evidence more would take a permission away".to_owned(),
                hint: "in a permit ask for `context.approvals.people >= 1` after `when`; in a forbid after `unless`",
            });
        }
        if !found.contains(&atom) {
            found.push(atom);
        }
        return Ok(());
    }
    let Some((operator, arguments)) = expression.as_object().and_then(|object| object.iter().next()) else {
        return Ok(());
    };
    let part = |name: &str| arguments.get(name).unwrap_or(&Value::Null);
    match operator.as_str() {
        "&&" | "||" => {
            walk(part("left"), helps, found)?;
            walk(part("right"), helps, found)
        }
        "!" => walk(part("arg"), !helps, found),
        "if-then-else" => {
            opaque(part("if"))?;
            walk(part("then"), helps, found)?;
            walk(part("else"), helps, found)
        }
        _ => opaque(expression),
    }
}

/// The atom that an expression is, and whether it turns true (not false) as counts rise.
fn atom(expression: &Value) -> Result<Option<(Atom, bool)>, Misuse> {
    if let Some(name) = fact(expression, "evidence") {
        let index = EVIDENCE.iter().position(|known| *known == name);
        return Ok(index.map(|index| (Atom::Evidence(index), true)));
    }
    for operator in [">=", ">", "<", "<="] {
        let Some(sides) = expression.get(operator) else { continue };
        let (left, right) = (sides.get("left").unwrap_or(&Value::Null), sides.get("right").unwrap_or(&Value::Null));
        let (name, number, operator) = match (fact(left, "approvals"), fact(right, "approvals")) {
            (Some(name), None) => (name, right, operator),
            (None, Some(name)) => (name, left, mirrored(operator)),
            _ => return Ok(None),
        };
        let Some(number) = number.get("Value").and_then(Value::as_i64) else {
            return Err(Misuse {
                why: "a count of approvals is compared with something that is not a number".to_owned(),
                hint: "write the number itself, for example `context.approvals.people >= 2`",
            });
        };
        let Some(index) = APPROVAL_COUNTS.iter().position(|known| *known == name) else { return Ok(None) };
        let least = if matches!(operator, ">" | "<=") { number.saturating_add(1) } else { number };
        return Ok(Some((Atom::AtLeast(index, least), operator.starts_with('>'))));
    }
    Ok(None)
}

fn mirrored(operator: &str) -> &'static str {
    match operator {
        ">=" => "<=",
        ">" => "<",
        "<" => ">",
        _ => ">=",
    }
}

/// `name`, where the expression is `context.<record>.<name>`.
fn fact<'a>(expression: &'a Value, record: &str) -> Option<&'a str> {
    let outer = expression.get(".")?;
    let inner = outer.get("left")?.get(".")?;
    let context = inner.get("left")?.get("Var")?.as_str() == Some("context");
    (context && inner.get("attr")?.as_str() == Some(record)).then(|| outer.get("attr")?.as_str())?
}

/// An expression that is not looked into must not hold approvals, evidence or the whole context.
fn opaque(expression: &Value) -> Result<(), Misuse> {
    let misuse = |why: &str| {
        Err(Misuse {
            why: why.to_owned(),
            hint: "ask for one count or fact at a time, for example `context.approvals.people >= 2` or `context.evidence.case_verdict`",
        })
    };
    match expression {
        Value::Array(items) => items.iter().try_for_each(opaque),
        Value::Object(object) => {
            if let Some(access) = object.get(".").or_else(|| object.get("has")) {
                let context =
                    access.get("left").and_then(|left| left.get("Var")).and_then(Value::as_str) == Some("context");
                let name = access.get("attr").and_then(Value::as_str);
                return match name {
                    Some("approvals" | "evidence") if context => {
                        misuse("approvals and evidence are used in a way whose effect cannot be seen")
                    }
                    _ if context => Ok(()),
                    _ => access.get("left").map_or(Ok(()), opaque),
                };
            }
            if object.get("Var").and_then(Value::as_str) == Some("context") {
                return misuse("the whole `context` is used as a value");
            }
            if object.contains_key("Value") {
                return Ok(());
            }
            object.values().try_for_each(opaque)
        }
        _ => Ok(()),
    }
}

/// Operators that cannot fail on values of the right type. Anything else can (an overflow), and a failure that
/// comes with an approval would take a permission away.
const TOTAL: [&str; 26] = [
    "!",
    "!=",
    "&&",
    ".",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "Record",
    "Set",
    "Slot",
    "Unknown",
    "Value",
    "Var",
    "contains",
    "containsAll",
    "containsAny",
    "has",
    "hasTag",
    "if-then-else",
    "in",
    "is",
    "isEmpty",
    "like",
    "||",
];

fn no_arithmetic(policy: &Value) -> Result<(), Misuse> {
    let conditions = policy.get("conditions").and_then(Value::as_array).into_iter().flatten();
    conditions.filter_map(|condition| condition.get("body")).try_for_each(sure)
}

/// Whether an expression cannot fail on values of the right types.
pub(crate) fn total(expression: &Value) -> bool {
    sure(expression).is_ok()
}

fn sure(expression: &Value) -> Result<(), Misuse> {
    let Some((operator, arguments)) = expression.as_object().and_then(|object| object.iter().next()) else {
        return Ok(());
    };
    if !TOTAL.contains(&operator.as_str()) {
        return Err(Misuse {
            why: format!("`{operator}` is used in a policy that asks for approvals or evidence; it can fail"),
            hint: "put the calculation into a policy of its own",
        });
    }
    match (operator.as_str(), arguments) {
        ("Value" | "Var" | "Slot" | "Unknown", _) => Ok(()),
        ("Set", Value::Array(items)) => items.iter().try_for_each(sure),
        (_, Value::Object(parts)) => operands(parts),
        _ => Ok(()),
    }
}

fn operands(parts: &Map<String, Value>) -> Result<(), Misuse> {
    parts.values().filter(|part| part.is_object()).try_for_each(sure)
}

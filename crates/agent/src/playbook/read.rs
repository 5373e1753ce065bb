//! From YAML to a checked playbook.

use super::expression::Expression;
use super::score::ReasonPlan;
use super::template::Template;
use super::{Block, Node, OnFault, Playbook, Reactions, Verb};
use crate::fault::Fault;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest playbook, in bytes.
const BYTES_MAX: usize = 512 * 1024;
/// The most steps, those within others counted.
const STEPS_MAX: usize = 500;
/// How deep steps may stand in each other.
const DEPTH_MAX: usize = 6;
/// The greatest bound of a loop.
const LOOP_MAX: usize = 1000;
/// Names that are always there.
const ALWAYS: [&str; 2] = ["now", "outcomes"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlaybook {
    playbook: u32,
    name: String,
    #[serde(default)]
    inputs: BTreeMap<String, RawInput>,
    #[serde(default)]
    constants: Map<String, Value>,
    steps: Vec<RawStep>,
    #[serde(default)]
    outputs: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    #[serde(default)]
    required: bool,
    #[serde(default)]
    #[expect(dead_code, reason = "read so that the file may say what an input means")]
    description: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    id: Option<String>,
    when: Option<String>,
    call: Option<String>,
    with: Option<Map<String, Value>>,
    set: Option<Map<String, Value>>,
    for_each: Option<String>,
    #[serde(rename = "as")]
    variable: Option<String>,
    max: Option<usize>,
    gather: Option<String>,
    steps: Option<Vec<RawStep>>,
    score: Option<Vec<RawReason>>,
    finish: Option<Map<String, Value>>,
    fail: Option<String>,
    on_error: Option<OnFault>,
    on_denied: Option<OnFault>,
    on_deferred: Option<OnFault>,
    on_pending: Option<OnPending>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnPending {
    Continue,
    Wait,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReason {
    name: String,
    when: String,
    points: Value,
    text: String,
    cite: Option<Value>,
}

pub(super) fn read(text: &str) -> Result<Playbook, Vec<Fault>> {
    if text.len() > BYTES_MAX {
        return Err(vec![Fault::at("", format!("is {} bytes; at most {BYTES_MAX} are read", text.len()))]);
    }
    let raw: RawPlaybook = serde_yaml_ng::from_str(text).map_err(|error| vec![Fault::of_yaml(&error, 0)])?;
    let mut reader = Reader { faults: Vec::new(), steps: 0, names: Vec::new() };
    if raw.playbook != 1 {
        reader.wrong("playbook", format!("is {}; this platform reads format 1", raw.playbook));
    }
    reader.names.extend(ALWAYS.iter().map(|name| (*name).to_owned()));
    let inputs: Vec<(String, bool)> = raw.inputs.into_iter().map(|(name, input)| (name, input.required)).collect();
    for name in inputs.iter().map(|(name, _)| name).chain(raw.constants.keys()) {
        reader.name("inputs", name);
        reader.names.push(name.clone());
    }
    let steps = reader.block(raw.steps, "steps", 1);
    let outputs = reader.fields(&raw.outputs, "outputs");
    if reader.faults.is_empty() {
        let constants = raw.constants.into_iter().collect();
        Ok(Playbook { name: raw.name, inputs, constants, steps, outputs })
    } else {
        Err(reader.faults)
    }
}

/// What is known while a playbook is read from top to bottom.
struct Reader {
    faults: Vec<Fault>,
    steps: usize,
    /// The names that are bound here.
    names: Vec<String>,
}

impl Reader {
    fn wrong(&mut self, path: &str, message: impl Into<String>) {
        if self.faults.len() < 64 {
            self.faults.push(Fault::at(path, message));
        }
    }

    fn name(&mut self, path: &str, name: &str) {
        let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.len() <= 64
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !plain || ALWAYS.contains(&name) {
            self.wrong(path, format!("`{name}` is no name for a variable; use lower-case letters, digits and `_`"));
        }
    }

    fn known(&mut self, path: &str, expressions: &[&Expression]) {
        for expression in expressions {
            for root in expression.roots() {
                if !self.names.contains(root) {
                    let message =
                        format!("`{root}` is not bound here; bind it by `id`, `set`, `inputs` or `constants` first");
                    self.wrong(path, message);
                }
            }
        }
    }

    fn expression(&mut self, text: &str, path: &str) -> Option<Expression> {
        match Expression::parse(text) {
            Ok(read) => {
                self.known(path, &[&read]);
                Some(read)
            }
            Err(error) => {
                self.wrong(path, error.to_string());
                None
            }
        }
    }

    fn template(&mut self, value: &Value, path: &str) -> Option<Template> {
        match Template::read(value, path) {
            Ok(read) => {
                self.known(path, &read.expressions());
                Some(read)
            }
            Err((path, error)) => {
                self.wrong(&path, error.to_string());
                None
            }
        }
    }

    fn fields(&mut self, values: &Map<String, Value>, path: &str) -> Vec<(String, Template)> {
        let mut read = Vec::new();
        for (name, value) in values {
            read.extend(self.template(value, &format!("{path}.{name}")).map(|template| (name.clone(), template)));
        }
        read
    }

    fn block(&mut self, raw: Vec<RawStep>, path: &str, depth: usize) -> Block {
        if depth > DEPTH_MAX {
            self.wrong(path, format!("steps stand more than {DEPTH_MAX} deep in each other"));
            return Arc::new([]);
        }
        let mut nodes = Vec::new();
        for (place, step) in raw.into_iter().enumerate() {
            self.steps += 1;
            if self.steps == STEPS_MAX + 1 {
                self.wrong(path, format!("more than {STEPS_MAX} steps"));
            }
            nodes.extend(self.node(step, format!("{path}[{place}]"), depth).map(Arc::new));
        }
        nodes.into()
    }

    fn node(&mut self, raw: RawStep, path: String, depth: usize) -> Option<Node> {
        let RawStep { id, when, call, with, set, for_each, variable, max, gather, steps, score, finish, fail, .. } =
            raw;
        let when = when.map(|text| (self.expression(&text, &format!("{path}.when")), ()));
        if let Some(id) = &id {
            self.name(&format!("{path}.id"), id);
        }
        let is_call = call.is_some();
        let is_loop = for_each.is_some();
        let verbs =
            [is_call, set.is_some(), is_loop || steps.is_some(), score.is_some(), finish.is_some(), fail.is_some()];
        if verbs.iter().filter(|given| **given).count() != 1 {
            self.wrong(&path, "is not exactly one of `call`, `set`, `for_each`, `steps`, `score`, `finish`, `fail`");
            return None;
        }
        if with.is_some() && !is_call {
            self.wrong(&format!("{path}.with"), "belongs to `call` only");
        }
        if (variable.is_some() || max.is_some() || gather.is_some()) && !is_loop {
            self.wrong(&path, "`as`, `max` and `gather` belong to `for_each` only");
        }
        let before = self.names.len();
        let verb = if let Some(operation) = call {
            let with = self.template(&Value::Object(with.unwrap_or_default()), &format!("{path}.with"))?;
            let reactions = Reactions {
                denied: raw.on_denied.or(raw.on_error).unwrap_or_default(),
                deferred: raw.on_deferred.or(raw.on_error).unwrap_or_default(),
                pending: if matches!(raw.on_pending, Some(OnPending::Continue)) {
                    OnFault::Continue
                } else {
                    OnFault::Fail
                },
            };
            self.names.extend(id.clone());
            Verb::Call { id, operation, with, reactions }
        } else if let Some(list) = for_each {
            self.each(id, (list, variable, max, gather), steps.unwrap_or_default(), &path, depth)?
        } else if let Some(steps) = steps {
            Verb::Group { block: self.block(steps, &format!("{path}.steps"), depth + 1) }
        } else if let Some(values) = set {
            for name in values.keys() {
                self.name(&format!("{path}.set.{name}"), name);
            }
            let values = self.set(&values, &path);
            Verb::Set { values }
        } else if let Some(reasons) = score {
            let reasons = self.reasons(reasons, &path);
            let Some(id) = id else {
                self.wrong(&path, "a `score` needs an `id` to be bound to");
                return None;
            };
            self.names.push(id.clone());
            Verb::Score { id, reasons }
        } else if let Some(outputs) = finish {
            Verb::Finish { outputs: self.fields(&outputs, &format!("{path}.finish")) }
        } else {
            Verb::Fail { message: self.template(&Value::String(fail?), &format!("{path}.fail"))? }
        };
        let binds = self.names.get(before..).unwrap_or_default().to_vec();
        let when = match when {
            Some((parsed, ())) => Some(parsed?),
            None => None,
        };
        Some(Node { path, when, on_error: raw.on_error.unwrap_or_default(), verb, binds })
    }

    /// One after the other: a later value may use an earlier one.
    fn set(&mut self, values: &Map<String, Value>, path: &str) -> Vec<(String, Template)> {
        let mut read = Vec::new();
        for (name, value) in values {
            if let Some(template) = self.template(value, &format!("{path}.set.{name}")) {
                self.names.push(name.clone());
                read.push((name.clone(), template));
            }
        }
        read
    }

    fn each(
        &mut self,
        id: Option<String>,
        (list, variable, max, gather): (String, Option<String>, Option<usize>, Option<String>),
        steps: Vec<RawStep>,
        path: &str,
        depth: usize,
    ) -> Option<Verb> {
        let list = self.expression(&list, &format!("{path}.for_each"));
        let bound = max.filter(|max| (1..=LOOP_MAX).contains(max));
        if bound.is_none() {
            self.wrong(
                &format!("{path}.max"),
                format!("is missing or not between 1 and {LOOP_MAX}; a loop has a bound"),
            );
        }
        let variable = variable.unwrap_or_else(|| "item".to_owned());
        self.name(&format!("{path}.as"), &variable);
        // What is bound within a loop is not there after it: the loop may have had no round.
        let before = self.names.len();
        self.names.push(variable.clone());
        let block = self.block(steps, &format!("{path}.steps"), depth + 1);
        let gather = match gather {
            Some(text) => Some(self.expression(&text, &format!("{path}.gather"))?),
            None => None,
        };
        self.names.truncate(before);
        if gather.is_some() != id.is_some() {
            self.wrong(path, "`gather` and `id` go together: what is gathered is bound to the `id`");
        }
        self.names.extend(id.clone());
        Some(Verb::ForEach { id, variable, list: list?, max: bound?, block, gather })
    }

    fn reasons(&mut self, raw: Vec<RawReason>, path: &str) -> Vec<ReasonPlan> {
        let mut reasons = Vec::new();
        for (place, raw) in raw.into_iter().enumerate() {
            let path = format!("{path}.score[{place}]");
            let when = self.expression(&raw.when, &format!("{path}.when"));
            let points = self.template(&raw.points, &format!("{path}.points"));
            let text = self.template(&Value::String(raw.text), &format!("{path}.text"));
            let cite = raw.cite.map(|cite| self.template(&cite, &format!("{path}.cite")));
            if let (Some(when), Some(points), Some(text)) = (when, points, text) {
                reasons.push(ReasonPlan { name: raw.name, when, points, text, cite: cite.flatten() });
            }
        }
        reasons
    }
}

//! Walks through a playbook. Holds no journal: told the same outcomes it takes the same steps, and that is how a run is resumed.

use super::expression::{Bound, ExpressionError};
use super::score::score;
use super::template::Template;
use super::{Block, Node, OnFault, Playbook, Reactions, Verb};
use crate::tools::Outcome;
use ids::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most steps that are taken between two calls: loops in loops end.
const STEPS_BETWEEN_CALLS_MAX: u32 = 100_000;

/// What a playbook wants next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// A call.
    Call { operation: String, input: Value },
    /// It is done.
    Done { outputs: Value },
    /// It cannot go on.
    Failed { reason: String },
}

/// Where a loop is.
struct Loop {
    node: Arc<Node>,
    items: std::vec::IntoIter<Value>,
    gathered: Vec<Value>,
}

struct Frame {
    block: Block,
    at: usize,
    looping: Option<Loop>,
}

/// A walk through a playbook.
pub(crate) struct Interpreter {
    playbook: Arc<Playbook>,
    frames: Vec<Frame>,
    scope: BTreeMap<String, Bound>,
    outcomes: Map<String, Value>,
    /// The call that waits for its outcome.
    waiting: Option<Arc<Node>>,
}

impl Interpreter {
    /// A walk with these inputs.
    pub(crate) fn new(playbook: Arc<Playbook>, input: &Value) -> Result<Self, String> {
        let mut scope = BTreeMap::new();
        let bound = |value: &Value| Bound::of(value).map_err(|error| error.to_string());
        let given = input.as_object();
        if let Some(name) =
            given.into_iter().flat_map(Map::keys).find(|name| !playbook.inputs.iter().any(|(own, _)| own == *name))
        {
            return Err(format!("the playbook has no input `{name}`"));
        }
        for (name, required) in &playbook.inputs {
            let value = given.and_then(|given| given.get(name));
            if *required && value.is_none() {
                return Err(format!("the input `{name}` is missing"));
            }
            scope.insert(name.clone(), bound(value.unwrap_or(&Value::Null))?);
        }
        for (name, value) in &playbook.constants {
            scope.insert(name.clone(), bound(value)?);
        }
        scope.insert("outcomes".to_owned(), bound(&Value::Object(Map::new()))?);
        let frames = vec![Frame { block: playbook.steps.clone(), at: 0, looping: None }];
        Ok(Self { playbook, frames, scope, outcomes: Map::new(), waiting: None })
    }

    /// Go on to the next call or the end.
    pub(crate) fn advance(&mut self, now: Timestamp) -> Next {
        // What the clock says is text of ours: it always converts.
        if let Ok(time) = Bound::of(&Value::String(now.to_string())) {
            self.scope.insert("now".to_owned(), time);
        }
        for _ in 0..STEPS_BETWEEN_CALLS_MAX {
            let Some(frame) = self.frames.last_mut() else { return self.end() };
            let Some(node) = frame.block.get(frame.at).cloned() else {
                if let Err(reason) = self.leave() {
                    return Next::Failed { reason };
                }
                continue;
            };
            frame.at += 1;
            match self.take(&node) {
                Ok(None) => {}
                Ok(Some(next)) => return next,
                Err(error) if node.on_error == OnFault::Continue => {
                    self.note(&node, "failed", &error.to_string());
                    self.bind_nulls(&node);
                }
                Err(error) => return Next::Failed { reason: format!("{}: {error}", node.path) },
            }
        }
        Next::Failed { reason: format!("more than {STEPS_BETWEEN_CALLS_MAX} steps without a call") }
    }

    /// Tell the outcome of the call that it waits for, and go on.
    pub(crate) fn resume(&mut self, outcome: &Outcome, now: Timestamp) -> Next {
        let Some(node) = self.waiting.take() else {
            return Next::Failed { reason: "an outcome came that nothing waits for".to_owned() };
        };
        let Verb::Call { id, reactions, operation, .. } = &node.verb else { return self.advance(now) };
        let (bound, fault) = judge(outcome, *reactions, node.on_error);
        self.note(&node, outcome.word(), &fault.clone().map(|(_, why)| why).unwrap_or_default());
        if let Some((OnFault::Fail, why)) = fault {
            return Next::Failed { reason: format!("{}: `{operation}` {}: {why}", node.path, outcome.word()) };
        }
        if let Some(id) = id
            && let Err(error) = self.bind(id, &bound)
        {
            if node.on_error == OnFault::Fail {
                return Next::Failed { reason: format!("{}: {error}", node.path) };
            }
            self.bind_nulls(&node);
        }
        self.advance(now)
    }

    /// Whether the call that it waits for is to wait for people, where it needs them.
    pub(crate) fn waits_for_people(&self) -> bool {
        match self.waiting.as_ref().map(|node| &node.verb) {
            Some(Verb::Call { reactions, .. }) => reactions.pending == OnFault::Fail,
            _ => true,
        }
    }

    fn end(&self) -> Next {
        match self.fill(&self.playbook.outputs) {
            Ok(outputs) => Next::Done { outputs },
            Err(error) => Next::Failed { reason: format!("outputs: {error}") },
        }
    }

    /// The end of a block: the loop's next round, or out of it.
    fn leave(&mut self) -> Result<(), String> {
        let Some(mut frame) = self.frames.pop() else { return Ok(()) };
        let Some(mut looping) = frame.looping.take() else { return Ok(()) };
        let node = looping.node.clone();
        let Verb::ForEach { id, variable, gather, .. } = &node.verb else { return Ok(()) };
        let wrong = |error: ExpressionError| format!("{}: {error}", node.path);
        if let Some(gather) = gather {
            let value = gather.evaluate(&self.scope).map_err(wrong)?;
            looping.gathered.extend(Some(value).filter(|value| !value.is_null()));
        }
        if let Some(item) = looping.items.next() {
            self.bind(variable, &item).map_err(wrong)?;
            self.frames.push(Frame { at: 0, looping: Some(looping), ..frame });
            return Ok(());
        }
        self.scope.remove(variable);
        match id {
            Some(id) => self.bind(id, &Value::Array(looping.gathered)).map_err(wrong),
            None => Ok(()),
        }
    }

    fn take(&mut self, node: &Arc<Node>) -> Result<Option<Next>, ExpressionError> {
        if let Some(when) = &node.when
            && when.evaluate(&self.scope)? != Value::Bool(true)
        {
            self.bind_nulls(node);
            return Ok(None);
        }
        match &node.verb {
            Verb::Call { operation, with, .. } => {
                let input = with.fill(&self.scope)?;
                self.waiting = Some(node.clone());
                return Ok(Some(Next::Call { operation: operation.clone(), input }));
            }
            Verb::Fail { message } => {
                let reason = match message.fill(&self.scope)? {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                return Ok(Some(Next::Failed { reason }));
            }
            Verb::Finish { outputs } => return Ok(Some(Next::Done { outputs: self.fill(outputs)? })),
            Verb::ForEach { list, max, .. } => {
                let items = match list.evaluate(&self.scope)? {
                    Value::Array(items) => items,
                    Value::Null => Vec::new(),
                    _ => {
                        let message = "is not a list".to_owned();
                        return Err(ExpressionError::Evaluate { text: "for_each".to_owned(), message });
                    }
                };
                self.begin_loop(node, items.into_iter().take(*max).collect())?;
            }
            Verb::Group { block } => self.frames.push(Frame { block: block.clone(), at: 0, looping: None }),
            Verb::Score { id, reasons } => {
                let given = score(reasons, &self.scope)?;
                let value = serde_json::to_value(&given).unwrap_or_default();
                self.bind(id, &value)?;
            }
            Verb::Set { values } => {
                for (name, template) in values {
                    let value = template.fill(&self.scope)?;
                    self.bind(name, &value)?;
                }
            }
        }
        Ok(None)
    }

    fn begin_loop(&mut self, node: &Arc<Node>, items: Vec<Value>) -> Result<(), ExpressionError> {
        let Verb::ForEach { id, variable, block, .. } = &node.verb else { return Ok(()) };
        let mut items = items.into_iter();
        if let Some(first) = items.next() {
            self.bind(variable, &first)?;
            let looping = Loop { node: node.clone(), items, gathered: Vec::new() };
            self.frames.push(Frame { block: block.clone(), at: 0, looping: Some(looping) });
        } else if let Some(id) = id {
            self.bind(id, &Value::Array(Vec::new()))?;
        }
        Ok(())
    }

    fn fill(&self, fields: &[(String, Template)]) -> Result<Value, ExpressionError> {
        let mut filled = Map::new();
        for (name, template) in fields {
            filled.insert(name.clone(), template.fill(&self.scope)?);
        }
        Ok(Value::Object(filled))
    }

    fn bind(&mut self, name: &str, value: &Value) -> Result<(), ExpressionError> {
        self.scope.insert(name.to_owned(), Bound::of(value)?);
        Ok(())
    }

    fn bind_nulls(&mut self, node: &Node) {
        for name in &node.binds {
            if let Ok(null) = Bound::of(&Value::Null) {
                self.scope.insert(name.clone(), null);
            }
        }
    }

    /// What became of a call, for `outcomes.<id>`.
    fn note(&mut self, node: &Node, word: &str, detail: &str) {
        let id = match &node.verb {
            Verb::Call { id: Some(id), .. } | Verb::ForEach { id: Some(id), .. } | Verb::Score { id, .. } => id,
            _ => return,
        };
        self.outcomes.insert(id.clone(), serde_json::json!({ "word": word, "detail": detail }));
        if let Ok(outcomes) = Bound::of(&Value::Object(self.outcomes.clone())) {
            self.scope.insert("outcomes".to_owned(), outcomes);
        }
    }
}

/// What a call's name is bound to, and the fault where it was not carried out.
fn judge(outcome: &Outcome, reactions: Reactions, on_error: OnFault) -> (Value, Option<(OnFault, String)>) {
    match outcome {
        Outcome::Done { output } => (output.clone(), None),
        Outcome::Denied { detail } => (Value::Null, Some((reactions.denied, detail.clone()))),
        Outcome::Deferred { missing, .. } => {
            (Value::Null, Some((reactions.deferred, format!("evidence is missing: {}", missing.join(", ")))))
        }
        Outcome::Failed { kind, detail } => (Value::Null, Some((on_error, format!("{kind}: {detail}")))),
        Outcome::Pending { approval } => {
            let bound = serde_json::json!({ "status": "pending_approval", "approval": approval });
            (bound, None)
        }
    }
}

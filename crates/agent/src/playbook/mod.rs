//! Playbooks: a skill's deterministic procedure in YAML. Steps are operations with conditions, bounded loops and variables;
//! the same answers always lead to the same steps. Must never loop without a bound or reach anything but operations.

mod expression;
mod interpreter;
mod read;
mod score;
mod template;

pub use expression::{Expression, ExpressionError};
pub(crate) use interpreter::{Interpreter, Next};
pub use score::{Reason, Score};

use crate::fault::Fault;
use crate::tools::Toolset;
use score::ReasonPlan;
use serde_json::Value;
use std::sync::Arc;
use template::Template;

/// A playbook that was read and checked.
#[derive(Debug)]
pub struct Playbook {
    /// Its name.
    pub name: String,
    /// The inputs that it wants: name, and whether it must be given.
    pub inputs: Vec<(String, bool)>,
    pub(crate) constants: Vec<(String, Value)>,
    pub(crate) steps: Block,
    pub(crate) outputs: Vec<(String, Template)>,
}

/// Steps in their order.
pub(crate) type Block = Arc<[Arc<Node>]>;

/// A step with its condition.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where it stands, for example `steps[2].steps[0]`.
    pub(crate) path: String,
    pub(crate) when: Option<Expression>,
    pub(crate) on_error: OnFault,
    pub(crate) verb: Verb,
    /// Every name that it binds, itself and within.
    pub(crate) binds: Vec<String>,
}

#[derive(Debug)]
pub(crate) enum Verb {
    Call {
        id: Option<String>,
        operation: String,
        with: Template,
        reactions: Reactions,
    },
    Fail {
        message: Template,
    },
    Finish {
        outputs: Vec<(String, Template)>,
    },
    ForEach {
        id: Option<String>,
        variable: String,
        list: Expression,
        max: usize,
        block: Block,
        gather: Option<Expression>,
    },
    Group {
        block: Block,
    },
    Score {
        id: String,
        reasons: Vec<ReasonPlan>,
    },
    Set {
        values: Vec<(String, Template)>,
    },
}

/// What follows when a step goes wrong.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnFault {
    /// The step's name is bound to null, and the next step is taken.
    Continue,
    /// The run fails.
    #[default]
    Fail,
}

/// What follows a call that was not carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Reactions {
    pub(crate) denied: OnFault,
    pub(crate) deferred: OnFault,
    /// `Fail` stands for waiting here: a proposal is no fault.
    pub(crate) pending: OnFault,
}

impl Playbook {
    /// Read and check a playbook.
    ///
    /// # Errors
    /// Every fault, with its path: an unknown key or variable, an expression that does not parse, a loop without bound.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        read::read(text)
    }

    /// The operations that it calls, in order of first appearance.
    #[must_use]
    pub fn operations(&self) -> Vec<&str> {
        fn collect<'a>(block: &'a Block, found: &mut Vec<&'a str>) {
            for node in block.iter() {
                match &node.verb {
                    Verb::Call { operation, .. } if !found.contains(&operation.as_str()) => found.push(operation),
                    Verb::ForEach { block, .. } | Verb::Group { block } => collect(block, found),
                    _ => {}
                }
            }
        }
        let mut found = Vec::new();
        collect(&self.steps, &mut found);
        found
    }

    /// Faults against the operations there are: unknown ones, and inputs that their schema does not know.
    #[must_use]
    pub fn faults_against(&self, tools: &Toolset) -> Vec<Fault> {
        fn look(block: &Block, tools: &Toolset, faults: &mut Vec<Fault>) {
            for node in block.iter() {
                match &node.verb {
                    Verb::Call { operation, with, .. } => match tools.get(operation) {
                        None => faults.push(Fault::at(
                            format!("{}.call", node.path),
                            format!("there is no operation `{operation}`, or the definition does not list it"),
                        )),
                        Some(spec) => inputs(&node.path, with, &spec.input_schema, faults),
                    },
                    Verb::ForEach { block, .. } | Verb::Group { block } => look(block, tools, faults),
                    _ => {}
                }
            }
        }
        let mut faults = Vec::new();
        look(&self.steps, tools, &mut faults);
        faults
    }
}

fn inputs(path: &str, with: &Template, schema: &Value, faults: &mut Vec<Fault>) {
    let (Template::Fields(fields), Some(known)) = (with, schema.get("properties").and_then(Value::as_object)) else {
        return;
    };
    for (name, _) in fields {
        if !known.contains_key(name) {
            faults.push(Fault::at(format!("{path}.with.{name}"), "the operation has no such input"));
        }
    }
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if !fields.iter().any(|(own, _)| own == name) {
            faults.push(Fault::at(format!("{path}.with"), format!("the operation wants `{name}`")));
        }
    }
}

//! What an agent is: a Markdown file whose front matter says what it may use, how much of it and when it starts, and whose
//! text is what a model is told. Nothing in it grants a right: it can only narrow what policy allows.

use crate::fault::Fault;
use crate::tools::OperationSet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest definition, in bytes.
const BYTES_MAX: usize = 256 * 1024;

/// How much a run may use. Each is checked before a step is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// Calls and questions to a model: 1 to 10,000.
    pub steps: u32,
    /// Tokens, read and written together: 0 where no model may be asked.
    #[serde(default)]
    pub tokens: u64,
    /// Money for models, in millionths.
    #[serde(default)]
    pub money_micros: u64,
    /// Seconds of work, waiting for people not counted: 1 to 86,400.
    pub seconds: u32,
    /// Calls that change something.
    pub actions: u32,
}

/// In which tenants it runs.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantSelector {
    /// In all that its roles reach.
    #[serde(default)]
    pub all: bool,
    /// In those that have one of these tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// In these, by id.
    #[serde(default)]
    pub ids: Vec<String>,
}

/// Which detections start a run.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectionFilter {
    /// At least this grave: `informational`, `low`, `medium`, `high` or `critical`.
    #[serde(default)]
    pub severity: Option<String>,
    /// With one of these techniques.
    #[serde(default)]
    pub techniques: Vec<String>,
}

/// What happened to a case.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseEvent {
    /// It was concluded.
    Concluded,
    /// A detection joined it.
    Grown,
    /// It was opened.
    Opened,
}

/// What starts a run.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "on", rename_all = "snake_case", deny_unknown_fields)]
pub enum Trigger {
    /// A call of `run.start`.
    Api,
    /// Something happened to a case.
    Case {
        /// What.
        event: CaseEvent,
        /// Of a conclusion: only with one of these verdicts, in the words of OCSF's `verdict_id`; any where it is empty.
        #[serde(default)]
        verdicts: Vec<String>,
    },
    /// A detection.
    Detection {
        /// Which.
        filter: DetectionFilter,
    },
    /// Time.
    Schedule {
        /// Every so many seconds: 60 to 2,592,000.
        every_secs: u32,
    },
}

/// How far an agent may go by itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutonomyLevel {
    /// What policy lets it do alone, it does.
    #[default]
    Act,
    /// What it wants to change waits for a person.
    Propose,
    /// It decides and never acts.
    Shadow,
}

impl AutonomyLevel {
    /// The word in policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Act => "act",
            Self::Propose => "propose",
            Self::Shadow => "shadow",
        }
    }
}

/// How far it may go, by operation.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Autonomy {
    /// Where nothing else is said.
    #[serde(default)]
    pub default: AutonomyLevel,
    /// For single operations.
    #[serde(default)]
    pub operations: BTreeMap<String, AutonomyLevel>,
}

impl Autonomy {
    /// The level for an operation.
    #[must_use]
    pub fn of(&self, operation: &str) -> AutonomyLevel {
        self.operations.get(operation).copied().unwrap_or(self.default)
    }
}

/// The front matter.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Front {
    name: String,
    purpose: String,
    operations: OperationSet,
    #[serde(default)]
    tenants: TenantSelector,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    playbook: Option<String>,
    #[serde(default)]
    skills: Vec<String>,
    budgets: Budgets,
    #[serde(default)]
    triggers: Vec<Trigger>,
    #[serde(default)]
    autonomy: Autonomy,
}

/// An agent's definition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Definition {
    /// Its name: lower-case letters, digits and dashes, at most 64.
    pub name: String,
    /// What it is for, in a sentence.
    pub purpose: String,
    /// The operations that it may call, as far as policy allows.
    pub operations: OperationSet,
    /// In which tenants it runs.
    pub tenants: TenantSelector,
    /// The alias of the model that drives it.
    pub model: Option<String>,
    /// The skill whose playbook drives it, where no model does; one of `skills`.
    pub playbook: Option<String>,
    /// The skills that it brings, by name.
    pub skills: Vec<String>,
    /// How much one run may use.
    pub budgets: Budgets,
    /// What starts a run.
    pub triggers: Vec<Trigger>,
    /// How far it may go by itself.
    pub autonomy: Autonomy,
    /// What a model is told.
    pub prompt: String,
}

impl Definition {
    /// Read a definition.
    ///
    /// # Errors
    /// Every fault found, with path and line; a front matter that does not parse is one fault.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        if text.len() > BYTES_MAX {
            return Err(vec![Fault::at("", format!("is {} bytes; at most {BYTES_MAX} are read", text.len()))]);
        }
        let (front, prompt) = split_front(text).map_err(|fault| vec![fault])?;
        let front: Front = serde_yaml_ng::from_str(front).map_err(|error| vec![Fault::of_yaml(&error, 1)])?;
        let faults = check(&front);
        if !faults.is_empty() {
            return Err(faults);
        }
        let Front { name, purpose, operations, tenants, model, playbook, skills, budgets, triggers, autonomy } = front;
        let prompt = prompt.trim().to_owned();
        Ok(Self { name, purpose, operations, tenants, model, playbook, skills, budgets, triggers, autonomy, prompt })
    }
}

/// The YAML between the two lines of `---`, and what follows it.
pub(crate) fn split_front(text: &str) -> Result<(&str, &str), Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let body = text.strip_prefix("---\n").or_else(|| text.strip_prefix("---\r\n"));
    let Some(body) = body else {
        return Err(Fault { line: 1, ..Fault::at("", "does not begin with a line `---` and YAML after it") });
    };
    for mark in ["\n---\n", "\n---\r\n"] {
        if let Some((front, rest)) = body.split_once(mark) {
            return Ok((front, rest));
        }
    }
    match body.strip_suffix("\n---") {
        Some(front) => Ok((front, "")),
        None => Err(Fault { line: 1, ..Fault::at("", "the front matter does not end with a line `---`") }),
    }
}

/// Whether a text is a name: lower-case letters, digits and dashes, 1 to 64, beginning with a letter.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn check(front: &Front) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut wrong = |path: &str, message: &str| faults.push(Fault::at(path, message));
    if !is_name(&front.name) {
        wrong("name", "is not a name; use lower-case letters, digits and dashes, at most 64");
    }
    if front.purpose.trim().is_empty() || front.purpose.len() > 2000 {
        wrong("purpose", "is empty or longer than 2000 bytes; say in a sentence what it is for");
    }
    let dotted =
        |entry: &String| entry.split_once('.').is_some_and(|(family, verb)| !family.is_empty() && !verb.is_empty());
    if front.operations.entries().is_empty() || !front.operations.entries().iter().all(dotted) {
        wrong("operations", "lists no operations, or one that is no `resource.verb` or `resource.*`");
    }
    if front.model.is_none() && front.playbook.is_none() {
        wrong("playbook", "neither `model` nor `playbook` is given; nothing would drive a run");
    }
    if front.playbook.as_ref().is_some_and(|name| !front.skills.contains(name)) {
        wrong("playbook", "is none of `skills`");
    }
    if front.skills.len() > 16 || !front.skills.iter().all(|name| is_name(name)) {
        wrong("skills", "holds more than 16 names, or one that is no name");
    }
    let budgets = &front.budgets;
    if !(1..=10_000).contains(&budgets.steps) {
        wrong("budgets.steps", "is not between 1 and 10000");
    }
    if !(1..=86_400).contains(&budgets.seconds) {
        wrong("budgets.seconds", "is not between 1 and 86400");
    }
    if front.model.is_some() && budgets.tokens == 0 {
        wrong("budgets.tokens", "is 0 though a model drives the agent; give it tokens");
    }
    for trigger in &front.triggers {
        match trigger {
            Trigger::Schedule { every_secs } if !(60..=2_592_000).contains(every_secs) => {
                wrong("triggers", "`every_secs` is not between 60 and 2592000");
            }
            Trigger::Case { event, verdicts } if *event != CaseEvent::Concluded && !verdicts.is_empty() => {
                wrong("triggers", "`verdicts` stands with `event: concluded` only");
            }
            Trigger::Detection { filter } => {
                let words = ["informational", "low", "medium", "high", "critical"];
                if filter.severity.as_deref().is_some_and(|word| !words.contains(&word)) {
                    wrong("triggers", "`severity` is none of informational, low, medium, high, critical");
                }
            }
            _ => {}
        }
    }
    faults
}

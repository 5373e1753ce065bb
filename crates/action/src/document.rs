//! The connector's document as it is written: typed, an unknown key is an error with its path and line.

use crate::auth::Auth;
use crate::template::{JsonTemplate, Template};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A connector's document.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The kind of connector, for example `slack-message`.
    pub connector: String,
    /// What people call it.
    pub title: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Every origin that a request may go to, for example `https://slack.com`; or `${setting.NAME}`.
    pub hosts: Vec<Template>,
    /// What an administrator sets when it is made; nothing secret.
    #[serde(default)]
    pub settings: BTreeMap<String, Declared>,
    /// What an administrator gives and nobody sees again.
    #[serde(default)]
    pub secrets: BTreeMap<String, Declared>,
    /// How it authenticates.
    #[serde(default, deserialize_with = "serde_yaml_ng::with::singleton_map::deserialize")]
    pub auth: Auth,
    /// What it can do, by name.
    pub actions: BTreeMap<String, Step>,
}

/// A setting or a secret.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// What to give.
    pub description: String,
    /// What holds where nothing is given; of a setting only.
    #[serde(default)]
    pub default: Option<String>,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
}

/// What an input is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// True or false.
    Boolean,
    /// A whole number within 53 bits.
    Integer,
    /// Any JSON of at most 16 KiB.
    Json,
    /// A text.
    Text,
}

/// An input of an action.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// What it is.
    pub kind: InputKind,
    /// What to give.
    pub description: String,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
    /// Characters of a text, at most 4096; 256 where nothing is said.
    #[serde(default)]
    pub chars_max: Option<usize>,
    /// What a text must match as a whole.
    #[serde(default)]
    pub pattern: Option<String>,
    /// The texts that it may be.
    #[serde(default)]
    pub one_of: Vec<String>,
}

/// An `OpenC2` action and target type.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenC2 {
    /// For example `deny`.
    pub action: String,
    /// For example `account`.
    pub target: String,
}

/// Which input names what the action is done to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aim {
    /// A kind of entity, for example `user`.
    pub entity: String,
    /// The input that names it.
    pub input: String,
}

/// One action of a connector.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What people call it.
    pub title: String,
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// As `OpenC2` says it.
    pub openc2: OpenC2,
    /// What it is done to, among the entities of cases: policy asks whether the case names it.
    #[serde(default)]
    pub aim: Option<Aim>,
    /// What it takes.
    #[serde(default)]
    pub inputs: BTreeMap<String, Input>,
    /// What must hold before.
    #[serde(default)]
    pub precondition: Option<Check>,
    /// What is kept before it happens.
    #[serde(default)]
    pub evidence: Option<Evidence>,
    /// What is sent.
    pub execute: Execute,
    /// How its effect is looked for.
    #[serde(default)]
    pub verify: Option<Verify>,
    /// What undoes it.
    #[serde(default)]
    pub inverse: Option<Inverse>,
}

/// A question whose answer must be as expected.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The question.
    pub request: Request,
    /// What its answer must be.
    #[serde(default)]
    pub success: Success,
    /// What it means where the answer is another, for people.
    #[serde(default)]
    pub otherwise: String,
}

/// A question whose answer is kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The question.
    pub request: Request,
    /// What its answer must be.
    #[serde(default)]
    pub success: Success,
    /// What of the answer is kept.
    pub outputs: BTreeMap<String, Output>,
}

/// What is sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Execute {
    /// The request.
    pub request: Request,
    /// What its answer must be.
    #[serde(default)]
    pub success: Success,
    /// What of the answer is kept.
    #[serde(default)]
    pub outputs: BTreeMap<String, Output>,
    /// The header that carries the idempotency key, where the target takes one: then it may be sent again.
    #[serde(default)]
    pub idempotency_header: Option<String>,
    /// Sending it twice does what sending it once does.
    #[serde(default)]
    pub repeatable: bool,
}

/// How an effect is looked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// The answer to what was sent already says so.
    #[serde(default)]
    pub by_answer: bool,
    /// A question.
    #[serde(default)]
    pub request: Option<Request>,
    /// What its answer must be.
    #[serde(default)]
    pub success: Success,
    /// Within how many seconds the effect must show, 1 to 86,400; after that a finding is raised.
    #[serde(default = "one_minute")]
    pub within_secs: u32,
    /// How many seconds lie between two looks, 1 to 3600.
    #[serde(default = "five")]
    pub every_secs: u32,
}

fn one_minute() -> u32 {
    60
}

fn five() -> u32 {
    5
}

/// What undoes an action: another action of the connector.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inverse {
    /// Its name.
    pub action: String,
    /// Its inputs.
    #[serde(default)]
    pub with: BTreeMap<String, JsonTemplate>,
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    /// Remove.
    Delete,
    /// Look.
    Get,
    /// Change.
    Patch,
    /// Make, or act.
    Post,
    /// Replace.
    Put,
}

impl Verb {
    /// The method as HTTP writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

/// How an answer's body is read.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Reads {
    /// As JSON; an empty body is null.
    #[default]
    Json,
    /// Not at all.
    Nothing,
    /// As one text.
    Text,
    /// As XML, made into JSON: an element is an object of its children or a text, `member` and repeated ones are lists.
    Xml,
}

/// One request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The method.
    pub method: Verb,
    /// Where to: an address without references, or `${setting.NAME}` alone.
    pub url: Template,
    /// Appended to the address's path, for example `/users/${input.user}`: each piece between slashes is one segment,
    /// whatever its value.
    #[serde(default)]
    pub path: Option<String>,
    /// Appended to the query.
    #[serde(default)]
    pub query: BTreeMap<String, Template>,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, Template>,
    /// The body as JSON.
    #[serde(default)]
    pub json: Option<JsonTemplate>,
    /// The body as a form.
    #[serde(default)]
    pub form: Option<BTreeMap<String, Template>>,
    /// How the answer is read.
    #[serde(default)]
    pub reads: Reads,
}

/// What an answer must be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Success {
    /// Its status; any of 200 to 299 where nothing is said.
    #[serde(default)]
    pub status: Vec<u16>,
    /// What must hold of its body, all of it.
    #[serde(default)]
    pub all: Vec<Condition>,
}

/// One thing that must hold of a body: exactly one of `equals`, `exists` and `has`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// A JSON pointer (RFC 6901).
    pub at: String,
    /// The value there is this one.
    #[serde(default)]
    pub equals: Option<JsonTemplate>,
    /// There is a value there, or there is none.
    #[serde(default)]
    pub exists: Option<bool>,
    /// The list there has an item with these values, by pointer in the item.
    #[serde(default)]
    pub has: Option<BTreeMap<String, JsonTemplate>>,
}

/// What an output is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// True or false.
    Boolean,
    /// A whole number.
    Integer,
    /// Any JSON of at most 16 KiB.
    Json,
    /// A text of at most 4096 characters.
    Text,
}

/// A value that is taken from an answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Where it stands: a JSON pointer.
    pub at: String,
    /// What it is.
    pub kind: OutputKind,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
}

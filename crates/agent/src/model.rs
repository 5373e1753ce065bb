//! What a run says to a language model and hears back, whatever the wire. Must never know a provider's format.

use crate::run::Budget;
use crate::tool_call::ToolCall;
use crate::tools::ToolSpec;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use thiserror::Error;

/// The most text of one answer, in bytes: what comes after it is cut.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// The most tool calls of one answer.
const CALLS_MAX: usize = 32;
/// How few bytes a token may stand for, before a model's own count says more. English has four and more, JSON with ids three.
const BYTES_PER_TOKEN_MIN: u64 = 3;

/// Who said something.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The model.
    Assistant,
    /// The result of a call.
    Tool,
    /// The platform, on behalf of whoever started the run.
    User,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub text: String,
    /// The calls that the model asked for with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ToolCall>,
    /// Which call this is the result of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<String>,
}

/// What one question may cost at most, all its tries together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Allowance {
    /// Tokens, read and written.
    pub tokens: u64,
    /// Money, in millionths; counts only where there are prices.
    pub money_micros: u64,
    /// Time.
    pub time: Duration,
}

/// What a model is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// The alias of the model; whoever implements [`Model`] knows what it stands for.
    pub model: String,
    /// The instructions.
    pub system: String,
    /// What was said so far.
    pub messages: Vec<Message>,
    /// The tools it may ask for. How a model without tool calls hears of them is for whoever implements [`Model`].
    pub tools: Vec<ToolSpec>,
    /// The most tokens of the answer.
    pub output_tokens_max: u32,
    /// What the answer may cost.
    pub allowance: Allowance,
}

impl ChatRequest {
    /// How many bytes a model reads, about: instructions, messages and tools.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let call = |call: &ToolCall| call.name.len() + call.id.len() + call.arguments.to_string().len();
        let messages = self.messages.iter().map(|said| said.text.len() + said.calls.iter().map(call).sum::<usize>());
        let tool =
            |tool: &ToolSpec| tool.operation.len() + tool.description.len() + tool.input_schema.to_string().len();
        let bytes = self.system.len() + messages.sum::<usize>() + self.tools.iter().map(tool).sum::<usize>();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// How many tokens so many bytes are at most, before a model has counted.
#[must_use]
pub const fn tokens_estimate(bytes: u64) -> u64 {
    bytes / BYTES_PER_TOKEN_MIN + 1
}

/// What an answer cost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Money, in millionths of the currency of the price list.
    pub money_micros: u64,
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It had said what it wanted.
    End,
    /// It reached the most tokens of an answer.
    Length,
    /// It declined.
    Refusal,
    /// It waits for the results of calls.
    ToolCalls,
}

/// A piece of an answer as it streams in.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// A whole call; wires that stream arguments put them together first.
    Call(ToolCall),
    /// Why it stopped.
    Stop(StopReason),
    /// Text.
    Text(String),
    /// What it cost so far.
    Usage(Usage),
}

/// The pieces of an answer.
pub type Pieces<'a> = BoxStream<'a, Result<Piece, ModelError>>;

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// What it said.
    pub text: String,
    /// The calls that it asks for.
    pub calls: Vec<ToolCall>,
    /// Why it stopped.
    pub stop: StopReason,
    /// What it cost.
    pub usage: Usage,
}

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
pub enum ModelError {
    /// The alias stands for nothing.
    #[error("no model is configured under the alias `{0}`; add `[models.{0}]` to the configuration")]
    NoSuchModel(String),
    /// What is left of a budget does not suffice for an answer, or for one more try.
    #[error("what is left of the budget of {} does not suffice", .0.as_str())]
    OverBudget(Budget),
    /// The provider said no, and will again.
    #[error("the model's provider refused the request: {0}")]
    Refused(String),
    /// Every try failed.
    #[error("the model could not be reached: {0}")]
    Unreachable(String),
}

/// No answer, and what the tries cost all the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unanswered {
    /// Why.
    pub error: ModelError,
    /// What was spent.
    pub usage: Usage,
}

/// A language model behind an alias.
pub trait Model: Send + Sync {
    /// Ask; the answer streams in. Retries and fall-backs are the implementation's, within the request's allowance.
    fn chat<'a>(&'a self, request: &'a ChatRequest) -> BoxFuture<'a, Result<Pieces<'a>, ModelError>>;
}

/// Ask a model and wait for the whole answer.
///
/// # Errors
/// Why there is none, with what was spent.
pub async fn ask(model: &dyn Model, request: &ChatRequest) -> Result<Answer, Unanswered> {
    match model.chat(request).await {
        Ok(pieces) => collect(pieces).await,
        Err(error) => Err(Unanswered { error, usage: Usage::default() }),
    }
}

/// Put the pieces of an answer together, within bounds.
///
/// # Errors
/// What the stream said, with what was spent up to there.
pub async fn collect(mut pieces: Pieces<'_>) -> Result<Answer, Unanswered> {
    let mut answer = Answer { text: String::new(), calls: Vec::new(), stop: StopReason::End, usage: Usage::default() };
    while let Some(piece) = pieces.next().await {
        match piece.map_err(|error| Unanswered { error, usage: answer.usage })? {
            Piece::Call(call) if answer.calls.len() < CALLS_MAX => answer.calls.push(call),
            Piece::Call(_) => {}
            Piece::Stop(stop) => answer.stop = stop,
            Piece::Text(text) => {
                let room = ANSWER_BYTES_MAX.saturating_sub(answer.text.len());
                answer.text.extend(text.chars().scan(0, |taken, c| {
                    *taken += c.len_utf8();
                    (*taken <= room).then_some(c)
                }));
            }
            Piece::Usage(usage) => answer.usage = usage,
        }
    }
    Ok(answer)
}

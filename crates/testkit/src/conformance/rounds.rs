//! Results that need input first (SEP-2322): what is asked in which round, with the state that the client carries
//! between rounds signed, so that a client cannot skip one.

use seal::Mac;
use serde::Deserialize;
use serde_json::Value;
use server::mcp::rmcp::ErrorData;
use server::mcp::rmcp::model::{ClientCapabilities, InputRequests, InputRequiredResult, InputResponses};

/// What a fixture asks of the client before it answers.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Rounds {
    /// The requests of each round.
    rounds: Vec<InputRequests>,
    /// Whether the round is kept with the client.
    #[serde(default)]
    state: bool,
    /// Ask only for what the client says it can do.
    #[serde(default)]
    only_declared: bool,
}

/// Where a call stands.
#[derive(Debug)]
pub(crate) enum Step {
    /// This is still to be asked.
    Ask(InputRequiredResult),
    /// Everything was answered.
    Answered,
}

impl Rounds {
    /// Where the call stands after these responses.
    pub(crate) fn step(
        &self,
        mac: &Mac,
        responses: Option<&InputResponses>,
        state: Option<&str>,
        capabilities: &ClientCapabilities,
    ) -> Result<Step, ErrorData> {
        let at = match state {
            Some(state) => opened(mac, state)?,
            None => 0,
        };
        let Some(asked) = self.rounds.get(at) else { return Ok(Step::Answered) };
        let answered = |key: &String| responses.and_then(|all| all.get(key)).is_some_and(Value::is_object);
        let next = if asked.keys().all(answered) { at + 1 } else { at };
        let Some(requests) = self.rounds.get(next) else { return Ok(Step::Answered) };
        let mut requests = requests.clone();
        if self.only_declared {
            requests.retain(|_, request| declared(capabilities, request));
        }
        Ok(Step::Ask(InputRequiredResult::new(Some(requests), self.state.then(|| sealed(mac, next)))))
    }
}

fn declared(capabilities: &ClientCapabilities, request: &server::mcp::rmcp::model::InputRequest) -> bool {
    use server::mcp::rmcp::model::InputRequest;
    match request {
        InputRequest::Elicitation(_) => capabilities.elicitation.is_some(),
        InputRequest::CreateMessage(_) => can_sample(capabilities),
        _ => true,
    }
}

/// Whether the client lends its model.
pub(crate) fn can_sample(capabilities: &ClientCapabilities) -> bool {
    // By its name on the wire: the type's field is deprecated, the suite asks for it all the same.
    serde_json::to_value(capabilities).is_ok_and(|all| all.get("sampling").is_some())
}

fn sealed(mac: &Mac, round: usize) -> String {
    let tag: String = mac.tag(&[round.to_string().as_bytes()]).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{round}.{tag}")
}

fn opened(mac: &Mac, state: &str) -> Result<usize, ErrorData> {
    let round = state.split_once('.').and_then(|(round, _)| round.parse().ok());
    round
        .filter(|round| sealed(mac, *round) == state)
        .ok_or_else(|| ErrorData::invalid_params("the request state is not one that this server wrote", None))
}

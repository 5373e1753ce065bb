//! The fixtures, as data in `fixtures/conformance.json`, and the few behaviours that they are made of. The names and
//! texts are those that the conformance suite asks for.

use super::rounds::{Rounds, Step, can_sample};
use api::Future;
use seal::Mac;
use serde::Deserialize;
use serde_json::{Value, json};
use server::mcp::Extension;
use server::mcp::rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, CompleteRequestParams, CompleteResult,
    ContentBlock, GetPromptRequestParams, GetPromptResponse, GetPromptResult, JsonObject, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ProgressNotificationParam, Prompt, PromptMessage,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource, ResourceContents, ResourceTemplate,
    ServerCapabilities, ServerNotification, ServerRequest, SubscriptionFilter, Tool,
};
use server::mcp::rmcp::service::{RequestContext, SubscriptionContext};
use server::mcp::rmcp::{ErrorData, RoleServer};
use std::time::Duration;
use tokio::sync::broadcast;

/// From this protocol version on a log message is sent only where the request asks for it.
const LOG_ON_REQUEST_SINCE: &str = "2026-07-28";

#[derive(Debug, Deserialize)]
struct Data {
    tools: Vec<ToolFixture>,
    prompts: Vec<PromptFixture>,
    resources: Vec<ResourceFixture>,
    templates: Vec<ResourceTemplate>,
}

#[derive(Clone, Debug, Deserialize)]
struct ToolFixture {
    tool: Tool,
    /// What it answers in the end.
    result: Option<CallToolResult>,
    /// Messages that it logs before.
    #[serde(default)]
    log: Vec<String>,
    /// Steps of progress that it tells before.
    #[serde(default)]
    progress: Vec<f64>,
    /// How long it waits after each of those.
    #[serde(default)]
    pause_ms: u64,
    /// A request that it sends to the client of a session.
    request: Option<Value>,
    /// What it needs the client to say before.
    #[serde(flatten)]
    rounds: Option<Rounds>,
    /// The capability without which it refuses.
    needs: Option<String>,
    /// The list that it says has changed.
    change: Option<Change>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Change {
    Prompts,
    Tools,
}

#[derive(Debug, Deserialize)]
struct PromptFixture {
    prompt: Prompt,
    messages: Value,
    #[serde(flatten)]
    rounds: Option<Rounds>,
}

#[derive(Debug, Deserialize)]
struct ResourceFixture {
    resource: Resource,
    contents: ResourceContents,
}

/// Everything that the suite asks for.
#[derive(Debug)]
pub struct Fixtures {
    data: Data,
    mac: Mac,
    changes: broadcast::Sender<Change>,
}

impl Fixtures {
    /// Read the fixtures that are compiled in.
    #[must_use]
    pub fn load() -> Self {
        #[expect(clippy::expect_used, reason = "the file is part of the build; the suite's run reads it first thing")]
        let data = serde_json::from_str(include_str!("../../fixtures/conformance.json")).expect("the fixtures fit");
        Self { data, mac: Mac::from_bytes([7; 32]), changes: broadcast::Sender::new(16) }
    }

    async fn run(
        &self,
        params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(fixture) = self.data.tools.iter().find(|fixture| fixture.tool.name == params.name) else {
            return Err(ErrorData::invalid_params("there is no such tool", None));
        };
        let capabilities = context.client_capabilities().unwrap_or_default();
        if let Some(needed) = &fixture.needs
            && !can_sample(&capabilities)
        {
            return Err(missing(needed)?);
        }
        if let Some(rounds) = &fixture.rounds {
            let state = params.request_state.as_deref();
            return Ok(match rounds.step(&self.mac, params.input_responses.as_ref(), state, &capabilities)? {
                Step::Ask(asked) => asked.into(),
                Step::Answered => {
                    let text = format!("state-ok, answered: {}", json!(params.input_responses));
                    CallToolResult::success(vec![ContentBlock::text(text)]).into()
                }
            });
        }
        if let Some(request) = &fixture.request {
            let arguments = params.arguments.unwrap_or_default();
            return ask(&context, filled(request.clone(), &arguments)).await.map(Into::into);
        }
        tell(fixture, &context).await;
        if let Some(change) = fixture.change {
            // Nobody may be listening.
            let _ = self.changes.send(change);
        }
        Ok(fixture.result.clone().unwrap_or_else(|| CallToolResult::success(Vec::new())).into())
    }

    fn prompt(
        &self,
        params: &GetPromptRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let Some(fixture) = self.data.prompts.iter().find(|fixture| fixture.prompt.name == params.name) else {
            return Err(ErrorData::invalid_params("there is no such prompt", None));
        };
        if let Some(rounds) = &fixture.rounds {
            let capabilities = context.client_capabilities().unwrap_or_default();
            let state = params.request_state.as_deref();
            let step = rounds.step(&self.mac, params.input_responses.as_ref(), state, &capabilities)?;
            if let Step::Ask(asked) = step {
                return Ok(asked.into());
            }
        }
        let arguments = params.arguments.clone().unwrap_or_default();
        let messages: Vec<PromptMessage> = typed(filled(fixture.messages.clone(), &arguments))?;
        Ok(GetPromptResult::new(messages).into())
    }

    fn read(&self, uri: &str) -> Result<ReadResourceResult, ErrorData> {
        if let Some(fixture) = self.data.resources.iter().find(|fixture| fixture.resource.uri == uri) {
            return Ok(ReadResourceResult::new(vec![fixture.contents.clone()]));
        }
        let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
        let Some(id) = id.filter(|id| !id.is_empty() && !id.contains('/')) else {
            return Err(ErrorData::resource_not_found("there is no such resource", Some(json!({ "uri": uri }))));
        };
        let text = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") }).to_string();
        let contents = json!({ "uri": uri, "mimeType": "application/json", "text": text });
        Ok(ReadResourceResult::new(vec![typed(contents)?]))
    }
}

/// A value as the library's type.
fn typed<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value)
        .map_err(|error| ErrorData::internal_error(format!("a fixture is wrong: {error}"), None))
}

/// The refusal for want of a capability of the client.
fn missing(capability: &str) -> Result<ErrorData, ErrorData> {
    let needed: ClientCapabilities = typed(json!({ capability: {} }))?;
    Ok(ErrorData::missing_required_client_capability(needed))
}

/// Put arguments in the place of `$name`, in every text of a fixture.
fn filled(value: Value, arguments: &JsonObject) -> Value {
    match value {
        Value::String(text) => Value::String(arguments.iter().fold(text, |text, (name, argument)| {
            text.replace(&format!("${name}"), argument.as_str().unwrap_or_default())
        })),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| filled(item, arguments)).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, field)| (name, filled(field, arguments))).collect())
        }
        other => other,
    }
}

/// Log and tell progress, as the fixture says.
async fn tell(fixture: &ToolFixture, context: &RequestContext<RoleServer>) {
    let pause = Duration::from_millis(fixture.pause_ms);
    let modern = context.protocol_version().is_some_and(|version| version.as_str() >= LOG_ON_REQUEST_SINCE);
    let asked = context.meta.get("io.modelcontextprotocol/logLevel").is_some();
    for text in fixture.log.iter().filter(|_| asked || !modern) {
        let message =
            json!({ "method": "notifications/message", "params": { "level": "info", "logger": "test", "data": text } });
        if let Ok(notification) = typed::<ServerNotification>(message) {
            // The client may be gone; the call goes on.
            let _ = context.peer.send_notification(notification).await;
        }
        tokio::time::sleep(pause).await;
    }
    for step in &fixture.progress {
        if let Some(token) = context.meta.get_progress_token() {
            let told = ProgressNotificationParam::new(token, *step).with_total(100.0).with_message("working");
            let _ = context.peer.notify_progress(told).await;
        }
        tokio::time::sleep(pause).await;
    }
    if fixture.log.is_empty() && fixture.progress.is_empty() {
        tokio::time::sleep(pause).await;
    }
}

/// Send a request to the client of a session, and answer with what it says.
async fn ask(context: &RequestContext<RoleServer>, request: Value) -> Result<CallToolResult, ErrorData> {
    let request: ServerRequest = typed(request)?;
    Ok(match context.peer.send_request(request).await {
        Ok(answer) => CallToolResult::success(vec![ContentBlock::text(format!("the client said: {}", json!(answer)))]),
        Err(error) => CallToolResult::error(vec![ContentBlock::text(format!("the client did not answer: {error}"))]),
    })
}

impl Extension for Fixtures {
    fn capabilities(&self, capabilities: &mut ServerCapabilities) {
        let own: ServerCapabilities = typed(json!({
            "tools": { "listChanged": true },
            "prompts": { "listChanged": true },
            "resources": { "subscribe": true },
            "logging": {},
            "completions": {},
        }))
        .unwrap_or_default();
        let extensions = capabilities.extensions.take();
        *capabilities = own;
        capabilities.extensions = extensions;
    }

    fn tools(&self) -> Vec<Tool> {
        self.data.tools.iter().map(|fixture| fixture.tool.clone()).collect()
    }

    fn call_tool(
        &self,
        params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Future<'_, Result<CallToolResponse, ErrorData>> {
        Box::pin(self.run(params, context))
    }

    fn list_resources(&self) -> Future<'_, Result<ListResourcesResult, ErrorData>> {
        let all = self.data.resources.iter().map(|fixture| fixture.resource.clone()).collect();
        Box::pin(async move { Ok(ListResourcesResult::with_all_items(all)) })
    }

    fn list_resource_templates(&self) -> Future<'_, Result<ListResourceTemplatesResult, ErrorData>> {
        Box::pin(async move { Ok(ListResourceTemplatesResult::with_all_items(self.data.templates.clone())) })
    }

    fn read_resource(
        &self,
        params: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Future<'_, Result<ReadResourceResponse, ErrorData>> {
        Box::pin(async move { self.read(&params.uri).map(Into::into) })
    }

    fn subscribe(&self, _: String, _: bool) -> Future<'_, Result<(), ErrorData>> {
        // No fixture ever changes its contents, so there is nothing to remember.
        Box::pin(async { Ok(()) })
    }

    fn subscriptions(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    fn listen(&self, context: SubscriptionContext) -> Future<'_, Result<(), ErrorData>> {
        let mut changes = self.changes.subscribe();
        Box::pin(async move {
            loop {
                let change = tokio::select! {
                    () = context.cancelled() => return Ok(()),
                    change = changes.recv() => change,
                };
                let method = match change {
                    Ok(Change::Prompts) => "notifications/prompts/list_changed",
                    Ok(Change::Tools) => "notifications/tools/list_changed",
                    Err(_) => return Ok(()),
                };
                // The sink lets through only what the subscription asked for.
                let _ = context.sink().send(typed(json!({ "method": method }))?).await;
            }
        })
    }

    fn list_prompts(&self) -> Future<'_, Result<ListPromptsResult, ErrorData>> {
        let all = self.data.prompts.iter().map(|fixture| fixture.prompt.clone()).collect();
        Box::pin(async move { Ok(ListPromptsResult::with_all_items(all)) })
    }

    fn get_prompt(
        &self,
        params: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Future<'_, Result<GetPromptResponse, ErrorData>> {
        Box::pin(async move { self.prompt(&params, &context) })
    }

    fn complete(&self, _: CompleteRequestParams) -> Future<'_, Result<CompleteResult, ErrorData>> {
        Box::pin(async {
            typed(json!({
                "resultType": "complete",
                "completion": { "values": ["paris", "park"], "total": 2, "hasMore": false },
            }))
        })
    }

    fn set_level(&self) -> Future<'_, Result<(), ErrorData>> {
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixtures_fit_their_types_and_do_something() {
        let fixtures = Fixtures::load();
        assert!(fixtures.data.tools.len() > 20);
        for fixture in &fixtures.data.tools {
            let does = fixture.result.is_some() || fixture.request.is_some() || fixture.rounds.is_some();
            assert!(does, "{} does nothing", fixture.tool.name);
        }
    }
}

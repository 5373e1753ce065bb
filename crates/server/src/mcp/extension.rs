//! What may be shown over MCP besides operations. Only a test kit has some: the fixtures that the protocol's own
//! conformance suite asks for. The shipped binary plugs in nothing, because nothing here passes the gate.

use api::Future;
use rmcp::ErrorData;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult, GetPromptRequestParams,
    GetPromptResponse, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ReadResourceRequestParams,
    ReadResourceResponse, ServerCapabilities, SubscriptionFilter, Tool,
};
use rmcp::service::{RequestContext, SubscriptionContext};

/// A method that this server does not have.
fn absent<T: Send + 'static>(method: &'static str) -> Future<'static, Result<T, ErrorData>> {
    Box::pin(async move { Err(ErrorData::new(rmcp::model::ErrorCode::METHOD_NOT_FOUND, method, None)) })
}

/// Extra tools, resources and prompts. Every method but the first two has an answer for servers without it.
pub trait Extension: Send + Sync {
    /// What it adds to the server's capabilities.
    fn capabilities(&self, capabilities: &mut ServerCapabilities);

    /// Its tools, in the order of the list.
    fn tools(&self) -> Vec<Tool>;

    /// Call one of its tools.
    fn call_tool(
        &self,
        params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Future<'_, Result<CallToolResponse, ErrorData>>;

    /// `resources/list`.
    fn list_resources(&self) -> Future<'_, Result<ListResourcesResult, ErrorData>> {
        absent("resources/list")
    }

    /// `resources/templates/list`.
    fn list_resource_templates(&self) -> Future<'_, Result<ListResourceTemplatesResult, ErrorData>> {
        absent("resources/templates/list")
    }

    /// `resources/read`.
    fn read_resource(
        &self,
        _params: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Future<'_, Result<ReadResourceResponse, ErrorData>> {
        absent("resources/read")
    }

    /// `resources/subscribe` and `resources/unsubscribe` of the session era.
    fn subscribe(&self, _uri: String, _subscribed: bool) -> Future<'_, Result<(), ErrorData>> {
        absent("resources/subscribe")
    }

    /// Which of these notifications `subscriptions/listen` may send; nothing where it does not exist.
    fn subscriptions(&self, _requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        None
    }

    /// Send what a subscription asked for, until it ends.
    fn listen(&self, context: SubscriptionContext) -> Future<'_, Result<(), ErrorData>> {
        Box::pin(async move {
            context.cancelled().await;
            Ok(())
        })
    }

    /// `prompts/list`.
    fn list_prompts(&self) -> Future<'_, Result<ListPromptsResult, ErrorData>> {
        absent("prompts/list")
    }

    /// `prompts/get`.
    fn get_prompt(
        &self,
        _params: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Future<'_, Result<GetPromptResponse, ErrorData>> {
        absent("prompts/get")
    }

    /// `completion/complete`.
    fn complete(&self, _params: CompleteRequestParams) -> Future<'_, Result<CompleteResult, ErrorData>> {
        absent("completion/complete")
    }

    /// `logging/setLevel` of the session era.
    fn set_level(&self) -> Future<'_, Result<(), ErrorData>> {
        absent("logging/setLevel")
    }
}

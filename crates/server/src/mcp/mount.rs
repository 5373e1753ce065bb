//! `/mcp` on HTTP: who may come in, then the library's transport, then its bare errors as problem documents.

use super::Extension;
use super::handler::Handler;
use super::sessions::{Admitted, Bindings};
use crate::face::Shared;
use crate::http_face::Seen;
use crate::{request, response};
use api::{Credential, Face, JsonLimits, Listing, Origin, Problem, ProblemKind};
use axum::body::Body;
use http::{HeaderName, Request, Response, header};
use http_body_util::BodyExt as _;
use rmcp::transport::streamable_http_server::session::local::{LocalSessionManager, SessionConfig};
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use std::sync::{Arc, OnceLock};
use tokio_util::sync::CancellationToken;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const NO_SESSION: &str = "there is no such session, or it is not yours; send `initialize` again";

/// Who sent the HTTP request in which a message came.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) credential: Option<Credential>,
    pub(crate) origin: Origin,
    /// What the caller may call; there for `tools/list` only.
    pub(crate) listing: Option<Arc<Listing>>,
    /// Where the door did not take the credential after all.
    pub(crate) refused: Arc<OnceLock<Problem>>,
}

/// The MCP face of one server.
pub(crate) struct McpFace {
    shared: Arc<Shared>,
    service: StreamableHttpService<Handler, LocalSessionManager>,
    manager: Arc<LocalSessionManager>,
    bindings: Bindings,
    admitted: Admitted,
}

impl McpFace {
    pub(crate) fn new(shared: Arc<Shared>, extension: Option<Arc<dyn Extension>>, stop: CancellationToken) -> Self {
        let mut manager = LocalSessionManager::default();
        let mut session = SessionConfig::default();
        session.keep_alive = Some(shared.config.mcp.session_idle);
        manager.session_config = session;
        let manager = Arc::new(manager);
        // Host and origin are judged for every face alike, before this one.
        let config = StreamableHttpServerConfig::default()
            .disable_allowed_hosts()
            .disable_allowed_origins()
            .with_json_response(true)
            .with_max_request_body_bytes(shared.config.limits.body_bytes_max)
            .with_cancellation_token(stop);
        let handler = Handler::new(shared.clone(), extension);
        let service = StreamableHttpService::new(move || Ok(handler.clone()), manager.clone(), config);
        Self { shared, service, manager, bindings: Bindings::default(), admitted: Admitted::default() }
    }

    pub(crate) async fn answer(&self, seen: &Seen, request: Request<Body>) -> Result<Response<Body>, Problem> {
        let (mut head, body) = request.into_parts();
        let credential = request::credential(&head.headers)?;
        let origin = seen.origin(&head.headers, Face::Mcp);
        // While the body is read and the caller judged, the request counts as a call under way.
        let permit = self.shared.permit()?;
        let session = request::single(&head.headers, &SESSION_ID)?;
        // Before a body is read; a caller that was admitted lately is judged by its call.
        let lately = self.admitted.lately(credential.as_ref());
        let mut listing = if lately { None } else { Some(self.listing(credential.as_ref(), &origin).await?) };
        if let Some(session) = session.filter(|session| !self.bindings.holds(session, credential.as_ref())) {
            if listing.is_none() {
                listing = Some(self.listing(credential.as_ref(), &origin).await?);
            }
            let caller = listing.as_ref().map_or("", |listing| listing.caller.as_str());
            if !self.bindings.goes_on(session, credential.as_ref(), caller) {
                return Err(Problem::new(ProblemKind::NotFound, NO_SESSION));
            }
        }
        let body = request::body_bytes(&head.headers, body, self.shared.config.limits.body_bytes_max).await?;
        let ends = head.method == http::Method::DELETE;
        let mut opens = false;
        if head.method == http::Method::POST {
            request::require_json(&head.headers)?;
            // The library reads the body again; this reading refuses what two readers could take differently.
            let message = api::parse_json(&body, JsonLimits::default())?;
            let method = message.get("method").and_then(serde_json::Value::as_str);
            opens = method == Some("initialize");
            if (opens || method == Some("tools/list")) && listing.is_none() {
                listing = Some(self.listing(credential.as_ref(), &origin).await?);
            }
        }
        if opens && self.manager.sessions.read().await.len() >= self.shared.config.mcp.sessions_max {
            let detail = "too many sessions are open; try again later, or use protocol version 2026-07-28 without them";
            return Err(Problem { retry_after_secs: Some(30), ..Problem::new(ProblemKind::Overloaded, detail) });
        }
        drop(permit);
        let caller = listing.as_ref().map(|listing| listing.caller.clone()).unwrap_or_default();
        let refused = Arc::new(OnceLock::new());
        head.extensions.insert(Caller {
            credential: credential.clone(),
            origin,
            listing: listing.map(Arc::new),
            refused: refused.clone(),
        });
        let answer = self.service.handle(Request::from_parts(head, http_body_util::Full::new(body))).await;
        if let Some(problem) = refused.get() {
            self.admitted.remove(credential.as_ref());
            return Err(problem.clone());
        }
        if let Some(session) = answer.headers().get(SESSION_ID).and_then(|value| value.to_str().ok()).filter(|_| opens)
        {
            let alive = self.manager.sessions.read().await;
            self.bindings.bind(session, credential.as_ref(), caller, |known| alive.contains_key(known));
        }
        let mut answer = rendered(answer.map(Body::new)).await?;
        if ends && answer.status() == http::StatusCode::ACCEPTED {
            // The session is gone now, not later; clients take 202 for a failure.
            *answer.status_mut() = http::StatusCode::NO_CONTENT;
        }
        Ok(answer)
    }

    async fn listing(&self, credential: Option<&Credential>, origin: &Origin) -> Result<Listing, Problem> {
        let listing = self.shared.door.listing(credential, origin).await;
        match &listing {
            Ok(_) => self.admitted.add(credential),
            Err(_) => self.admitted.remove(credential),
        }
        listing
    }
}

/// The library's answer, with its bare-text errors made problem documents.
async fn rendered(answer: Response<Body>) -> Result<Response<Body>, Problem> {
    let status = answer.status();
    let json = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if status.is_success() || json {
        return Ok(answer);
    }
    let text = answer.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if status == http::StatusCode::NOT_FOUND {
        return Err(Problem::new(ProblemKind::NotFound, NO_SESSION));
    }
    Err(response::foreign(status, &String::from_utf8_lossy(&text)))
}

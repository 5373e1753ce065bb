//! MCP
use crate::face::Shared;
use crate::http_face::Seen;
use api::Problem;
use axum::body::Body;
use http::{Request, Response};
use std::sync::Arc;
pub trait Extension: Send + Sync {}
pub(crate) struct McpFace;
impl McpFace {
    pub(crate) fn new(_: Arc<Shared>, _: Option<Arc<dyn Extension>>, _: tokio_util::sync::CancellationToken) -> Self {
        Self
    }
    pub(crate) async fn answer(&self, _: &Seen, _: Request<Body>) -> Result<Response<Body>, Problem> {
        Err(Problem::internal())
    }
}

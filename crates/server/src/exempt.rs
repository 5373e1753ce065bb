//! The routes that are not operations, by name: `/healthz`, `/readyz`, `/openapi.json`, the protected-resource
//! metadata, and `/metrics`, which wants a token. None of them tells anything of a tenant.

use crate::face::Shared;
use crate::http_face::Seen;
use crate::{request, response};
use api::{Problem, ProblemKind};
use axum::body::Body;
use http::{HeaderMap, Response, StatusCode};
use serde_json::json;

/// Where the protected-resource metadata is (RFC 9728 section 3).
pub(crate) const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// A route that is not an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exempt {
    Health,
    Metadata { of_mcp: bool },
    Metrics,
    OpenApi,
    Ready,
}

impl Exempt {
    pub(crate) fn at(path: &str) -> Option<Self> {
        match path {
            "/healthz" => Some(Self::Health),
            "/metrics" => Some(Self::Metrics),
            "/openapi.json" => Some(Self::OpenApi),
            "/readyz" => Some(Self::Ready),
            _ => match path.strip_prefix(METADATA_PATH)? {
                "" => Some(Self::Metadata { of_mcp: false }),
                "/mcp" => Some(Self::Metadata { of_mcp: true }),
                _ => None,
            },
        }
    }

    /// The route's name in log and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Health => "healthz",
            Self::Metadata { .. } => "oauth-protected-resource",
            Self::Metrics => "metrics",
            Self::OpenApi => "openapi",
            Self::Ready => "readyz",
        }
    }

    /// Probes come with whatever host name their scheduler uses, and learn only up or down.
    pub(crate) const fn any_host(self) -> bool {
        matches!(self, Self::Health | Self::Ready)
    }

    pub(crate) async fn answer(
        self,
        shared: &Shared,
        seen: &Seen,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Problem> {
        match self {
            Self::Health => Ok(response::json(StatusCode::OK, &json!({ "status": "ok" }))),
            Self::Ready => match shared.hooks.ready().await {
                Ok(()) => Ok(response::json(StatusCode::OK, &json!({ "status": "ready" }))),
                Err(missing) => Err(Problem::new(ProblemKind::Unavailable, missing)),
            },
            Self::Metrics => {
                let credential = request::credential(headers)?;
                let text = shared.hooks.metrics(credential.as_ref(), &seen.origin(headers, api::Face::Rest)).await?;
                Ok(response::with_type(
                    StatusCode::OK,
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    text,
                ))
            }
            Self::OpenApi => Ok(response::with_type(StatusCode::OK, "application/json", Body::from(shared.openapi()))),
            Self::Metadata { of_mcp } => {
                let resource = if of_mcp { format!("{}/mcp", seen.base_url) } else { seen.base_url.clone() };
                // Where nobody else is named, Posse's own server lends.
                let own = std::slice::from_ref(&seen.base_url);
                let named = shared.config.authorization_servers.as_slice();
                let issuers = if named.is_empty() { own } else { named };
                Ok(response::json(
                    StatusCode::OK,
                    &json!({
                        "resource": resource,
                        "resource_name": "Posse",
                        "authorization_servers": issuers,
                        "scopes_supported": ["read", "work", "respond"],
                        "bearer_methods_supported": ["header"],
                    }),
                ))
            }
        }
    }
}

//! The token endpoint: a code, a refresh token or a device code for fresh tokens. The secret that is presented is the credential
//! of the call, so that the gate judges it like any other; what is wrong is told in OAuth's words.

use super::form::Form;
use super::{Desk, oauth_error};
use crate::response;
use api::Problem;
use axum::body::Body;
use http::{Response, StatusCode};
use ids::Timestamp;
use serde_json::{Value, json};

/// Fresh tokens.
pub(super) async fn token(desk: &Desk<'_>, form: &Form) -> Result<Response<Body>, Problem> {
    if !matches(desk, form) {
        return Ok(oauth_error(StatusCode::BAD_REQUEST, "invalid_target", "the resource is not of this server"));
    }
    // Asked before the secret is used up: what is refused must not cost the client its tokens.
    if super::profile(form.text("scope")).is_none() {
        return Ok(oauth_error(StatusCode::BAD_REQUEST, "invalid_scope", "scopes are read, work and respond"));
    }
    let client = form.text("client_id");
    let mut input = json!({ "client": client });
    let secret = match form.text("grant_type") {
        "authorization_code" => {
            if let Some(fields) = input.as_object_mut() {
                fields.insert("code_verifier".to_owned(), form.text("code_verifier").into());
                fields.insert("redirect_uri".to_owned(), form.text("redirect_uri").into());
            }
            form.text("code")
        }
        "refresh_token" => {
            // What was lent stays what it is: a renewal that asks for a scope asks for nothing that it does not have.
            form.text("refresh_token")
        }
        "urn:ietf:params:oauth:grant-type:device_code" => return Ok(super::device::poll(desk, form)),
        _ => {
            let why = "grant types are authorization_code, refresh_token and device_code";
            return Ok(oauth_error(StatusCode::BAD_REQUEST, "unsupported_grant_type", why));
        }
    };
    if secret.is_empty() || client.is_empty() {
        return Ok(oauth_error(StatusCode::BAD_REQUEST, "invalid_request", "a secret and `client_id` are needed"));
    }
    let gone = || {
        oauth_error(StatusCode::BAD_REQUEST, "invalid_grant", "unknown, used, expired, revoked or of another client")
    };
    match desk.call("grant.redeem", input, Some(secret.to_owned())).await {
        Ok(redeemed) => {
            let tokens = redeemed.get("tokens").filter(|tokens| !tokens.is_null());
            let profile = redeemed.pointer("/grant/profile").and_then(Value::as_str).unwrap_or_default();
            Ok(tokens.map_or_else(gone, |tokens| granted(desk, tokens, profile)))
        }
        Err(problem) if matches!(problem.status, 401 | 403 | 409 | 422) => Ok(gone()),
        Err(problem) => Err(problem),
    }
}

/// Whether the resource that is named, where one is, is of this server.
fn matches(desk: &Desk<'_>, form: &Form) -> bool {
    let resource = form.text("resource");
    resource.is_empty() || desk.audience(resource).is_some()
}

/// The tokens of a grant as RFC 6749 section 5.1 has them.
pub(super) fn granted(desk: &Desk<'_>, tokens: &Value, profile: &str) -> Response<Body> {
    let text = |field: &str| tokens.get(field).and_then(Value::as_str).unwrap_or_default();
    let ends = text("access_expires_at").parse::<Timestamp>().unwrap_or_default();
    let secs = ends.since(desk.shared.hooks.clock().now()).as_secs();
    response::json(
        StatusCode::OK,
        &json!({
            "access_token": text("access"),
            "token_type": "Bearer",
            "expires_in": secs,
            "refresh_token": text("refresh"),
            "scope": profile,
        }),
    )
}

/// End what was lent, by one of its secrets (RFC 7009): always answered alike.
pub(super) async fn revoke(desk: &Desk<'_>, form: &Form) -> Result<Response<Body>, Problem> {
    let token = form.text("token");
    if !token.is_empty() {
        let input = json!({ "client": form.text("client_id"), "end": true });
        if let Err(problem) = desk.call("grant.redeem", input, Some(token.to_owned())).await {
            tracing::debug!(status = problem.status, "a token that was to be revoked was not taken");
        }
    }
    Ok(response::json(StatusCode::OK, &json!({})))
}

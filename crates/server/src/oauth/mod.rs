//! Posse's own OAuth 2.1 authorization server: how a person lends to an outside agent from a browser or another terminal.
//! Protocol only: every page and token is a call of `me.login`, `grant.lend`, `grant.redeem` or `grant.revoke` through the
//! door, with the credential that was presented. No cookies, no script, no session: the consent form takes the password
//! itself, so that no other page can send it.

mod authorize;
mod device;
mod form;
mod page;
mod token;

use crate::face::Shared;
use crate::http_face::Seen;
use crate::request;
use crate::response;
use api::{Audience, Call, Credential, Face, LentProfile, Problem, ProblemKind, Reply};
use axum::body::Body;
use form::Form;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) use device::Devices;

/// A form's bound.
const FORM_BYTES_MAX: usize = 16 << 10;

/// A route of the authorization server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Route {
    Authorize,
    Device,
    DeviceAuthorization,
    Metadata,
    Revoke,
    SignIn,
    Token,
}

impl Route {
    pub(crate) fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/.well-known/oauth-authorization-server" => Self::Metadata,
            "/oauth/authorize" => Self::Authorize,
            "/oauth/device" => Self::Device,
            "/oauth/device_authorization" => Self::DeviceAuthorization,
            "/oauth/revoke" => Self::Revoke,
            "/oauth/sign-in" => Self::SignIn,
            "/oauth/token" => Self::Token,
            _ => return None,
        })
    }

    /// The route's name in log and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Authorize => "oauth-authorize",
            Self::Device => "oauth-device",
            Self::DeviceAuthorization => "oauth-device-authorization",
            Self::Metadata => "oauth-metadata",
            Self::Revoke => "oauth-revoke",
            Self::SignIn => "oauth-sign-in",
            Self::Token => "oauth-token",
        }
    }

    /// Methods that the route has.
    pub(crate) const fn methods(self) -> &'static [Method] {
        match self {
            Self::Authorize | Self::Device => &[Method::GET, Method::POST],
            Self::Metadata | Self::SignIn => &[Method::GET],
            Self::DeviceAuthorization | Self::Revoke | Self::Token => &[Method::POST],
        }
    }

    /// A consent form is sent with `Origin: null`, because the page asks for no referrer; its password is what tells it from
    /// a foreign page's.
    pub(crate) const fn any_origin(self) -> bool {
        matches!(self, Self::Authorize | Self::Device)
    }
}

/// Answer one request.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    seen: &Seen,
    request: Request<Body>,
    route: Route,
) -> Result<Response<Body>, Problem> {
    let (head, body) = request.into_parts();
    let desk = Desk { shared, seen, headers: &head.headers };
    if route == Route::Metadata {
        return Ok(metadata(&seen.base_url));
    }
    let form = if head.method == Method::POST {
        let kind = request::single(&head.headers, &header::CONTENT_TYPE)?.unwrap_or_default();
        if !kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
            let detail = "this route takes a form: `application/x-www-form-urlencoded`";
            return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
        }
        let bytes = request::body_bytes(&head.headers, body, FORM_BYTES_MAX).await?;
        Form::parse(&String::from_utf8_lossy(&bytes))?
    } else {
        Form::parse(head.uri.query().unwrap_or_default())?
    };
    let asked = head.method == Method::POST;
    match route {
        Route::Authorize if asked => authorize::submit(&desk, &form).await,
        Route::Authorize => authorize::show(&desk, &form),
        Route::Device if asked => device::submit(&desk, &form).await,
        Route::Device => Ok(device::show(&desk, &form)),
        Route::DeviceAuthorization => device::begin(&desk, &form),
        Route::Revoke => token::revoke(&desk, &form).await,
        Route::SignIn => sign_in(&desk, &form).await,
        Route::Token => token::token(&desk, &form).await,
        Route::Metadata => Ok(metadata(&seen.base_url)),
    }
}

/// Send somebody to the OpenID provider that they sign in through; who wants JSON is told where that is.
async fn sign_in(desk: &Desk<'_>, form: &Form) -> Result<Response<Body>, Problem> {
    let (provider, redirect_uri) = (form.text("provider"), form.text("redirect_uri"));
    let ask = api::SignInAsk { provider, redirect_uri, challenge: form.text("code_challenge") };
    // Asking the provider can take a while, and anybody can have it asked.
    let _permit = desk.shared.permit()?;
    let at = desk.shared.door.sign_in_at(ask).await?;
    let accept = desk.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("application/json") {
        return Ok(response::json(StatusCode::OK, &json!({ "url": at })));
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response::set(response.headers_mut(), header::LOCATION, &at);
    Ok(response)
}

/// What clients are told of this server (RFC 8414).
fn metadata(base: &str) -> Response<Body> {
    response::json(
        StatusCode::OK,
        &json!({
            "issuer": base,
            "authorization_endpoint": format!("{base}/oauth/authorize"),
            "token_endpoint": format!("{base}/oauth/token"),
            "device_authorization_endpoint": format!("{base}/oauth/device_authorization"),
            "revocation_endpoint": format!("{base}/oauth/revoke"),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
            "scopes_supported": ["read", "work", "respond"],
            "client_id_metadata_document_supported": true,
            "authorization_response_iss_parameter_supported": true,
        }),
    )
}

/// What a request is answered with: the door, and where the request came from.
pub(crate) struct Desk<'a> {
    shared: &'a Arc<Shared>,
    seen: &'a Seen,
    headers: &'a HeaderMap,
}

impl Desk<'_> {
    /// Put a call through the door.
    async fn call(&self, operation: &str, input: Value, credential: Option<String>) -> Result<Value, Problem> {
        let call = Call {
            operation: operation.to_owned(),
            input,
            credential: credential.map(Credential::new),
            idempotency_key: None,
            origin: self.seen.origin(self.headers, Face::Rest),
        };
        let permit = self.shared.permit()?;
        match self.shared.put(call, permit).await {
            Reply::Done(done) => Ok(done.output),
            Reply::Refused(problem) => Err(problem),
            Reply::Pending(_) | Reply::Deferred(_) => Err(Problem::new(
                ProblemKind::Denied,
                "policy wants an approval for this, which a form cannot wait for",
            )),
        }
    }

    /// Sign somebody in, lend, and sign out: what a consent form comes to.
    async fn lend(&self, form: &Form, input: Value) -> Result<Value, Problem> {
        let mut signed_in = json!({ "email": form.text("email"), "password": form.text("password") });
        if let (false, Some(fields)) = (form.text("totp").is_empty(), signed_in.as_object_mut()) {
            fields.insert("totp".to_owned(), form.text("totp").into());
        }
        let session = self.call("me.login", signed_in, None).await?;
        let token = session.get("secret").and_then(Value::as_str).unwrap_or_default().to_owned();
        let lent = self.call("grant.lend", input, Some(token.clone())).await;
        // The session was for this one call.
        if let Err(problem) = self.call("me.logout", json!({}), Some(token)).await {
            tracing::warn!(detail = problem.detail, "a session of a consent form was not ended");
        }
        lent
    }

    /// Which face a resource stands for (RFC 8707); none where it is not of this server.
    fn audience(&self, resource: &str) -> Option<Audience> {
        let base = self.seen.base_url.as_str();
        match resource.trim_end_matches('/').strip_prefix(base)? {
            "" => Some(Audience::Api),
            "/mcp" => Some(Audience::Mcp),
            _ => None,
        }
    }
}

/// Every profile, from the narrowest to the widest.
const PROFILES: [LentProfile; 3] = [LentProfile::Read, LentProfile::Work, LentProfile::Respond];

/// The profiles that a person can choose from where a client asks for one: that one, and less. Clients that know nothing of
/// profiles ask for all that the metadata names.
fn no_wider(asked: LentProfile) -> &'static [LentProfile] {
    let end = PROFILES.iter().position(|profile| *profile == asked).map_or(0, |at| at + 1);
    PROFILES.get(..end).unwrap_or_default()
}

/// What a person chose of what was asked for; none where they did not choose, or chose what nobody asked for.
fn chosen(form: &Form, asked: LentProfile) -> Option<LentProfile> {
    let profiles = no_wider(asked);
    match (form.text("profile"), profiles) {
        ("", [only]) => Some(*only),
        (name, _) => profiles.iter().copied().find(|profile| profile.as_str() == name),
    }
}

/// The profile of a scope; the narrowest where nothing is asked.
fn profile(scope: &str) -> Option<LentProfile> {
    let mut widest = LentProfile::Read;
    for word in scope.split_ascii_whitespace() {
        // `offline_access` asks for a refresh token, which there is always.
        let profile = if word == "offline_access" {
            Some(LentProfile::Read)
        } else {
            PROFILES.into_iter().find(|one| one.as_str() == word)
        };
        widest = widest.max(profile?);
    }
    Some(widest)
}

/// What is said where nothing was chosen.
const CHOOSE: &str = "Choose what it could do.";

/// An error of RFC 6749 section 5.2.
fn oauth_error(status: StatusCode, error: &str, description: &str) -> Response<Body> {
    response::json(status, &json!({ "error": error, "error_description": description }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_the_widest_of_its_words_and_unknown_words_are_none() {
        assert_eq!(profile(""), Some(LentProfile::Read));
        assert_eq!(profile("read work"), Some(LentProfile::Work));
        assert_eq!(profile("respond offline_access"), Some(LentProfile::Respond));
        assert_eq!(profile("read admin"), None);
    }

    #[test]
    fn a_person_chooses_what_was_asked_for_or_less() {
        let choose = |asked, fields: &str| chosen(&Form::parse(fields).unwrap(), asked);
        assert_eq!(choose(LentProfile::Read, ""), Some(LentProfile::Read));
        assert_eq!(choose(LentProfile::Read, "profile=work"), None);
        assert_eq!(choose(LentProfile::Respond, ""), None, "several, and none is chosen for them");
        assert_eq!(choose(LentProfile::Respond, "profile=read"), Some(LentProfile::Read));
        assert_eq!(choose(LentProfile::Work, "profile=work"), Some(LentProfile::Work));
        assert_eq!(choose(LentProfile::Work, "profile=respond"), None);
        assert_eq!(choose(LentProfile::Respond, "profile=all"), None);
    }
}

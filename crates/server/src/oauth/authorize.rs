//! The authorization endpoint: shows exactly what would be lent and, with the person's password, lends it (OAuth 2.1 section
//! 4.1, PKCE required).
//!
//! Clients are public and unregistered. A `client_id` is a name for people, or an `https` address of a client id metadata
//! document. A code goes to the person's own machine (a loopback address), or to the very origin that the `client_id` names:
//! so nobody can have a code sent to somebody else's program by calling themselves like it.

use super::form::{Form, escaped};
use super::page::{self, Consent};
use super::{CHOOSE, Desk, chosen, no_wider, profile};
use api::{Audience, LentProfile, Problem};
use axum::body::Body;
use http::{Response, StatusCode, Uri, header};
use serde_json::{Value, json};

/// Fields that the form carries from page to page.
const HIDDEN: &[&str] = &[
    "response_type",
    "client_id",
    "redirect_uri",
    "code_challenge",
    "code_challenge_method",
    "state",
    "scope",
    "resource",
];
/// A client's name for itself.
const CLIENT_CHARS_MAX: usize = 300;

/// What a good request asks for.
struct Asked<'a> {
    client: &'a str,
    redirect_uri: &'a str,
    profile: LentProfile,
    audience: Audience,
}

/// What is wrong with a request: told to the person where the client cannot be trusted with it, else to the client.
enum Wrong {
    Person(&'static str),
    Client(&'static str, &'static str),
}

/// Whether a code may go to this address for this client.
fn may_go_to(redirect_uri: &str, client: &str) -> bool {
    let Ok(target) = redirect_uri.parse::<Uri>() else { return false };
    if redirect_uri.contains('#') || redirect_uri.len() > 2000 {
        return false;
    }
    let (Some(scheme), Some(authority)) = (target.scheme_str(), target.authority()) else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    if scheme == "http" {
        return matches!(authority.host(), "127.0.0.1" | "[::1]" | "localhost");
    }
    let document = client.parse::<Uri>().ok();
    let own = document.and_then(|uri| Some((uri.scheme_str()?.to_owned(), uri.authority()?.clone())));
    scheme == "https" && own.is_some_and(|(kind, host)| kind == "https" && host == *authority)
}

fn read<'a>(desk: &Desk<'_>, form: &'a Form) -> Result<Asked<'a>, Wrong> {
    let (client, redirect_uri) = (form.text("client_id"), form.text("redirect_uri"));
    if client.is_empty() || client.chars().count() > CLIENT_CHARS_MAX || client.chars().any(char::is_control) {
        return Err(Wrong::Person("The program did not say what it is (client_id)."));
    }
    if !may_go_to(redirect_uri, client) {
        let why = "The answer would go to another place than your own machine or the program's own address (redirect_uri). Nothing was lent.";
        return Err(Wrong::Person(why));
    }
    if form.text("response_type") != "code" {
        return Err(Wrong::Client("unsupported_response_type", "only `code` is supported"));
    }
    let challenge = form.text("code_challenge");
    if form.text("code_challenge_method") != "S256" || challenge.len() != 43 {
        return Err(Wrong::Client("invalid_request", "PKCE with S256 is required"));
    }
    let Some(profile) = profile(form.text("scope")) else {
        return Err(Wrong::Client("invalid_scope", "scopes are read, work and respond"));
    };
    let resource = form.text("resource");
    let audience = if resource.is_empty() { Some(Audience::Api) } else { desk.audience(resource) };
    let Some(audience) = audience else {
        return Err(Wrong::Client("invalid_target", "the resource is not of this server"));
    };
    Ok(Asked { client, redirect_uri, profile, audience })
}

/// The same page again, or the first time.
fn consent(status: StatusCode, asked: &Asked<'_>, form: &Form, fault: Option<&str>) -> Response<Body> {
    let consent = Consent {
        action: "/oauth/authorize",
        client: asked.client,
        goes_to: format!("The answer goes to {}.", asked.redirect_uri),
        profiles: no_wider(asked.profile),
        audience: audience_words(asked.audience),
        hidden: HIDDEN,
        fault,
    };
    page::consent(status, &consent, form)
}

pub(super) const fn audience_words(audience: Audience) -> &'static str {
    match audience {
        Audience::Api => "the API and the command line",
        Audience::Mcp => "the Model Context Protocol (MCP)",
    }
}

/// The page with the question.
pub(super) fn show(desk: &Desk<'_>, form: &Form) -> Result<Response<Body>, Problem> {
    Ok(match read(desk, form) {
        Ok(asked) => consent(StatusCode::OK, &asked, form, None),
        Err(wrong) => said(desk, form, &wrong),
    })
}

fn said(desk: &Desk<'_>, form: &Form, wrong: &Wrong) -> Response<Body> {
    match wrong {
        Wrong::Person(why) => page::told(StatusCode::BAD_REQUEST, "This cannot be lent", why),
        Wrong::Client(error, why) => back(desk, form, &[("error", error), ("error_description", why)]),
    }
}

/// Back to the client (RFC 9207 names who answers).
fn back(desk: &Desk<'_>, form: &Form, fields: &[(&str, &str)]) -> Response<Body> {
    let target = form.text("redirect_uri");
    let mut location = target.to_owned();
    location.push(if target.contains('?') { '&' } else { '?' });
    let state = form.text("state");
    let mut pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    if !state.is_empty() {
        pairs.push(format!("state={}", escaped(state)));
    }
    pairs.push(format!("iss={}", escaped(&desk.seen.base_url)));
    location.push_str(&pairs.join("&"));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    crate::response::set(response.headers_mut(), header::LOCATION, &location);
    response
}

/// The answer of a person.
pub(super) async fn submit(desk: &Desk<'_>, form: &Form) -> Result<Response<Body>, Problem> {
    let asked = match read(desk, form) {
        Ok(asked) => asked,
        Err(wrong) => return Ok(said(desk, form, &wrong)),
    };
    if form.text("answer") != "lend" {
        return Ok(back(desk, form, &[("error", "access_denied"), ("error_description", "the person refused")]));
    }
    let Some(profile) = chosen(form, asked.profile) else {
        return Ok(consent(StatusCode::UNPROCESSABLE_ENTITY, &asked, form, Some(CHOOSE)));
    };
    let mut input = json!({
        "client": asked.client,
        "profile": profile,
        "audience": asked.audience,
        "code_challenge": form.text("code_challenge"),
        "redirect_uri": asked.redirect_uri,
    });
    with_tenant(&mut input, form);
    match desk.lend(form, input).await {
        Ok(lent) => {
            let code = lent.get("code").and_then(Value::as_str).unwrap_or_default();
            Ok(back(desk, form, &[("code", code)]))
        }
        Err(problem) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
            Ok(consent(status, &asked, form, Some(&words(&problem))))
        }
    }
}

/// The tenant that a person narrowed to.
pub(super) fn with_tenant(input: &mut Value, form: &Form) {
    let tenant = form.text("tenant").trim();
    if let (false, Some(fields)) = (tenant.is_empty(), input.as_object_mut()) {
        fields.insert("tenant".to_owned(), tenant.into());
    }
}

/// What a person is told of a problem.
pub(super) fn words(problem: &Problem) -> String {
    // Which of them it was is nobody's business; that a second factor is wanted is said as it stands.
    if problem.status == StatusCode::UNAUTHORIZED.as_u16() && !problem.detail.contains("second factor") {
        return "The e-mail address, the password or the code is not right.".to_owned();
    }
    let faults: Vec<String> = problem
        .errors
        .iter()
        .map(|fault| format!("{} {}", fault.pointer.trim_start_matches('/'), fault.detail))
        .collect();
    if faults.is_empty() { problem.detail.clone() } else { faults.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_goes_to_the_own_machine_or_to_the_origin_that_the_client_names() {
        for (redirect, client, may) in [
            ("http://127.0.0.1:3000/cb", "claude", true),
            ("http://[::1]:3000/cb", "claude", true),
            ("http://localhost/cb", "claude", true),
            ("http://localhost.evil.example/cb", "claude", false),
            ("http://127.0.0.1:80@evil.example/cb", "claude", false),
            ("https://app.example/cb", "https://app.example/client.json", true),
            ("https://app.example:8443/cb", "https://app.example/client.json", false),
            ("https://evil.example/cb", "https://app.example/client.json", false),
            ("https://app.example/cb", "app.example", false),
            ("https://app.example/cb#x", "https://app.example/client.json", false),
            ("custom:/cb", "claude", false),
            ("", "claude", false),
        ] {
            assert_eq!(may_go_to(redirect, client), may, "{redirect} {client}");
        }
    }
}

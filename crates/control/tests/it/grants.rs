//! Lending to outside agents, by the flows that a client makes over HTTP: what was lent can be used, and nothing else; what
//! is stolen, replayed, renewed twice, of another audience, widened or over does nothing.

use api::Door as _;
use base64::Engine as _;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::cast::{Member, PASSWORD, person};
use testkit::{Answer, Platform, Request};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const HERE: &str = "http://127.0.0.1:7777/callback";

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    pairs.join("&")
}

async fn post(platform: &Platform, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut request = Request::new("POST", path).header("content-type", "application/x-www-form-urlencoded");
    // As a browser sends a form from a page that asks for no referrer; programs send no origin.
    if matches!(path, "/oauth/authorize" | "/oauth/device") {
        request = request.header("origin", "null");
    }
    request.body = Some(form(fields).into_bytes());
    platform.send(request).await
}

fn challenge() -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(seal::Digest::of(VERIFIER.as_bytes()).as_bytes())
}

/// What a client asks for, and the person's answer.
fn asked<'a>(client: &'a str, scope: &'a str, resource: &'a str, challenge: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", HERE),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
        ("state", "s t"),
        ("scope", scope),
        ("resource", resource),
    ]
}

/// The code that a person's consent comes to.
async fn consent(platform: &Platform, email: &str, scope: &str, resource: &str) -> String {
    let challenge = challenge();
    let mut fields = asked("claude-code", scope, resource, &challenge);
    fields.extend([("email", email), ("password", PASSWORD), ("answer", "lend"), ("profile", scope)]);
    let answer = post(platform, "/oauth/authorize", &fields).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let location = answer.header("location").unwrap();
    assert!(location.starts_with(&format!("{HERE}?code=")), "{location}");
    assert!(location.contains("&state=s%20t&iss=http"), "{location}");
    let code = location.split_once("code=").unwrap().1.split('&').next().unwrap();
    code.to_owned()
}

async fn token(platform: &Platform, fields: &[(&str, &str)]) -> Answer {
    post(platform, "/oauth/token", fields).await
}

async fn redeem(platform: &Platform, code: &str, verifier: &str) -> Answer {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("code_verifier", verifier),
        ("redirect_uri", HERE),
        ("client_id", "claude-code"),
    ];
    token(platform, &fields).await
}

async fn renew(platform: &Platform, refresh: &str) -> Answer {
    token(platform, &[("grant_type", "refresh_token"), ("refresh_token", refresh), ("client_id", "claude-code")]).await
}

fn text(answer: &Answer, field: &str) -> String {
    answer.body[field].as_str().unwrap_or_else(|| panic!("no {field} in {}", answer.body)).to_owned()
}

fn invalid(answer: &Answer) {
    assert_eq!((answer.status, &answer.body["error"]), (400, &json!("invalid_grant")), "{}", answer.body);
}

/// A tenant with a person in it.
async fn somebody(platform: &Platform, name: &str, roles: &[&str]) -> (String, Member) {
    let made = platform.done(&platform.bootstrap, "tenant.create", &json!({ "name": name })).await;
    let tenant = made["id"].as_str().unwrap().to_owned();
    let member = person(platform, &platform.bootstrap, name, Some(&tenant), roles).await;
    (tenant, member)
}

async fn status(platform: &Platform, token: &str, operation: &str, input: Value) -> u16 {
    platform.call(token, operation, &input).await.status
}

#[tokio::test]
async fn a_code_becomes_a_credential_that_is_agent_and_person_and_never_more() {
    let platform = Platform::start().await;
    let (tenant, dana) = somebody(&platform, "dana", &["detection_engineer"]).await;
    let challenge = challenge();
    let query = form(&asked("<b>claude</b>", "read", "", &challenge));
    let page = platform.send(Request::new("GET", &format!("/oauth/authorize?{query}"))).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains("&lt;b&gt;claude&lt;/b&gt;") && !page.text.contains("<b>"), "{}", page.text);
    assert!(page.text.contains("change nothing") && !page.text.contains("<script"), "{}", page.text);
    assert!(!page.text.contains("type=\"radio\""), "only one profile can be lent: {}", page.text);

    let code = consent(&platform, "dana@example.com", "read", "").await;
    let got = redeem(&platform, &code, VERIFIER).await;
    assert_eq!(got.status, 200, "{}", got.body);
    assert_eq!((&got.body["token_type"], &got.body["scope"]), (&json!("Bearer"), &json!("read")));
    let access = text(&got, "access_token");
    let me = platform.done(&access, "me.get", &json!({})).await;
    assert_eq!((&me["kind"], &me["on_behalf_of"]), (&json!("agent"), &json!([dana.principal])), "{me}");
    assert_eq!(status(&platform, &access, "source.list", json!({ "tenant": tenant })).await, 200);
    // The person may, what was lent may not; and it says so.
    let made = json!({ "tenant": tenant, "name": "new" });
    let refused = platform.call(&access, "source.create", &made).await;
    assert_eq!(refused.status, 403);
    assert!(refused.body["detail"].as_str().unwrap().contains("outside of what was lent"), "{}", refused.body);
    let listed = platform.done(&access, "me.permissions", &json!({})).await;
    let own = |one: &Value| one["operation"].as_str().unwrap().starts_with("me.") || one["operation"] == "grant.redeem";
    let mut listed = listed["permissions"].as_array().unwrap().iter();
    assert!(listed.all(|one| one["effect"] == "read" || own(one)));
    // The record names the agent and the person.
    let call = refused.recorded().unwrap().to_owned();
    let record = platform.done(&platform.bootstrap, "audit.get", &json!({ "call": call, "tenant": tenant })).await;
    let record = record["records"][0]["record"].to_string();
    assert!(record.contains(&dana.principal) && record.contains(me["principal"].as_str().unwrap()), "{record}");

    // A wider loan: what the person may not is still not to be had.
    let code = consent(&platform, "dana@example.com", "work", "").await;
    let access = text(&redeem(&platform, &code, VERIFIER).await, "access_token");
    assert_eq!(status(&platform, &access, "source.create", made).await, 200);
    assert_eq!(status(&platform, &access, "case.open", json!({ "tenant": tenant, "title": "x" })).await, 403);
    assert_eq!(
        status(
            &platform,
            &access,
            "user.create",
            json!({ "tenant": tenant, "email": "x@example.com", "display_name": "X" })
        )
        .await,
        403
    );
    let lend = json!({ "client": "another", "profile": "read" });
    assert_eq!(status(&platform, &access, "grant.lend", lend).await, 403, "what is lent is not lent on");
    // Rights that the person loses are lost at once.
    platform
        .done(&platform.bootstrap, "user.set_roles", &json!({ "user": dana.principal, "tenant": tenant, "roles": [] }))
        .await;
    assert_eq!(status(&platform, &access, "source.list", json!({ "tenant": tenant })).await, 403);
    platform.done(&platform.bootstrap, "user.deactivate", &json!({ "user": dana.principal })).await;
    assert_eq!(status(&platform, &access, "me.get", json!({})).await, 401);
}

#[tokio::test]
async fn an_administrator_lends_no_authority() {
    let platform = Platform::start().await;
    person(&platform, &platform.bootstrap, "root", None, &["provider_admin"]).await;
    let code = consent(&platform, "root@example.com", "respond", "").await;
    let access = text(&redeem(&platform, &code, VERIFIER).await, "access_token");
    let registry: Vec<(&str, api::Effect, Value)> =
        platform.control.specs().iter().map(|spec| (spec.meta.id, spec.meta.effect, spec.example.clone())).collect();
    for (id, effect, example) in registry {
        if effect == api::Effect::Govern && id != "operation.call" {
            let answer = platform.call(&access, id, &example).await;
            assert!(matches!(answer.status, 403 | 404), "{id}: {} {}", answer.status, answer.body);
        }
    }
    assert_eq!(status(&platform, &access, "tenant.list", json!({})).await, 200);
}

#[tokio::test]
async fn what_is_stolen_or_comes_twice_ends_everything() {
    let platform = Platform::start().await;
    somebody(&platform, "eve", &["viewer"]).await;
    // A thief without the verifier, and then the owner: nothing for both.
    let code = consent(&platform, "eve@example.com", "read", "").await;
    invalid(&redeem(&platform, &code, &"x".repeat(43)).await);
    invalid(&redeem(&platform, &code, VERIFIER).await);
    // A code that comes twice ends what was made from it.
    let code = consent(&platform, "eve@example.com", "read", "").await;
    let first = redeem(&platform, &code, VERIFIER).await;
    let access = text(&first, "access_token");
    assert_eq!(status(&platform, &access, "me.get", json!({})).await, 200);
    invalid(&redeem(&platform, &code, VERIFIER).await);
    assert_eq!(status(&platform, &access, "me.get", json!({})).await, 401);
    invalid(&renew(&platform, &text(&first, "refresh_token")).await);
    // So does a refresh token that comes twice.
    let code = consent(&platform, "eve@example.com", "read", "").await;
    let first = redeem(&platform, &code, VERIFIER).await;
    let second = renew(&platform, &text(&first, "refresh_token")).await;
    assert_eq!(status(&platform, &text(&second, "access_token"), "me.get", json!({})).await, 200);
    assert_ne!(text(&first, "refresh_token"), text(&second, "refresh_token"));
    invalid(&renew(&platform, &text(&first, "refresh_token")).await);
    assert_eq!(status(&platform, &text(&second, "access_token"), "me.get", json!({})).await, 401);
    invalid(&renew(&platform, &text(&second, "refresh_token")).await);
    // Neither a code nor a refresh token is a credential for anything else, and an access token renews nothing.
    let code = consent(&platform, "eve@example.com", "read", "").await;
    assert_eq!(status(&platform, &code, "me.get", json!({})).await, 401);
    let got = redeem(&platform, &code, VERIFIER).await;
    assert_eq!(status(&platform, &text(&got, "refresh_token"), "me.get", json!({})).await, 401);
    let wrong =
        [("grant_type", "refresh_token"), ("refresh_token", &text(&got, "refresh_token")), ("client_id", "other")];
    invalid(&token(&platform, &wrong).await);
    assert_eq!(status(&platform, &text(&got, "access_token"), "me.get", json!({})).await, 401);
}

#[tokio::test]
async fn tokens_end_and_are_good_for_one_audience() {
    let platform = Platform::start().await;
    somebody(&platform, "ann", &["viewer"]).await;
    let mcp = format!("http://{}/mcp", platform.address);
    let code = consent(&platform, "ann@example.com", "read", &mcp).await;
    let got = redeem(&platform, &code, VERIFIER).await;
    let access = text(&got, "access_token");
    assert_eq!(status(&platform, &access, "me.get", json!({})).await, 401, "lent for MCP, presented to the API");
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "0" } } });
    let speak = |token: &str| {
        Request::new("POST", "/mcp").bearer(token).header("accept", "application/json, text/event-stream").json(&hello)
    };
    assert_eq!(platform.send(speak(&access)).await.status, 200);
    let code = consent(&platform, "ann@example.com", "read", "").await;
    let api = redeem(&platform, &code, VERIFIER).await;
    assert_eq!(platform.send(speak(&text(&api, "access_token"))).await.status, 401);
    // Minutes later the access token is over; the refresh token goes on until the loan ends.
    platform.clock.advance(Duration::from_secs(901));
    assert_eq!(status(&platform, &text(&api, "access_token"), "me.get", json!({})).await, 401);
    let renewed = renew(&platform, &text(&api, "refresh_token")).await;
    assert_eq!(status(&platform, &text(&renewed, "access_token"), "me.get", json!({})).await, 200);
    platform.clock.advance(Duration::from_secs(8 * 3600));
    invalid(&renew(&platform, &text(&renewed, "refresh_token")).await);
    // A resource of somebody else, an unknown scope, no PKCE: told to the client; a foreign address: to the person alone.
    let challenge = challenge();
    for (name, value, wanted) in [
        ("resource", "https://elsewhere.example", "error=invalid_target"),
        ("scope", "admin", "error=invalid_scope"),
        ("code_challenge_method", "plain", "error=invalid_request"),
        ("response_type", "token", "error=unsupported_response_type"),
    ] {
        let mut fields = asked("claude-code", "read", "", &challenge);
        fields.iter_mut().find(|(field, _)| *field == name).unwrap().1 = value;
        let answer = platform.send(Request::new("GET", &format!("/oauth/authorize?{}", form(&fields)))).await;
        let location = answer.header("location").unwrap_or_default();
        assert!(answer.status == 303 && location.contains(wanted), "{name}: {} {location}", answer.status);
    }
    let mut fields = asked("claude-code", "read", "", &challenge);
    fields[2].1 = "https://evil.example/cb";
    let answer = platform.send(Request::new("GET", &format!("/oauth/authorize?{}", form(&fields)))).await;
    assert!(answer.status == 400 && answer.header("location").is_none());
    let mut fields = asked("claude-code", "read", "", &challenge);
    fields.extend([("email", "ann@example.com"), ("password", "wrong wrong wrong"), ("answer", "lend")]);
    let answer = post(&platform, "/oauth/authorize", &fields).await;
    assert!(answer.status == 401 && answer.text.contains("<form"), "{} {}", answer.status, answer.text);
    assert!(answer.text.contains("The e-mail address, the password or the code is not right."), "{}", answer.text);
    fields.last_mut().unwrap().1 = "refuse";
    let answer = post(&platform, "/oauth/authorize", &fields).await;
    assert!(answer.header("location").unwrap().contains("error=access_denied"));
}

/// A client that knows nothing of profiles asks for every scope that the metadata names, as the SDKs do.
#[tokio::test]
async fn a_person_lends_less_than_was_asked_for_and_never_more() {
    let platform = Platform::start().await;
    let (tenant, ann) = somebody(&platform, "ann", &["analyst"]).await;
    let challenge = challenge();
    let mut fields = asked("claude-code", "read work respond", "", &challenge);
    let page = platform.send(Request::new("GET", &format!("/oauth/authorize?{}", form(&fields)))).await;
    assert_eq!(page.text.matches("type=\"radio\"").count(), 3, "{}", page.text);
    assert!(!page.text.contains(" checked>"), "nothing is chosen for the person: {}", page.text);
    fields.extend([("email", "ann@example.com"), ("password", PASSWORD), ("answer", "lend")]);
    let unsaid = post(&platform, "/oauth/authorize", &fields).await;
    assert!(unsaid.status == 422 && unsaid.text.contains("Choose what it could do"), "{}", unsaid.text);
    fields.push(("profile", "read"));
    let lent = post(&platform, "/oauth/authorize", &fields).await;
    let code = lent.header("location").unwrap().split_once("code=").unwrap().1.split('&').next().unwrap().to_owned();
    let got = redeem(&platform, &code, VERIFIER).await;
    assert_eq!(got.body["scope"], "read", "the client is told what it has: {}", got.body);
    let access = text(&got, "access_token");
    let opened = json!({ "tenant": tenant, "title": "x" });
    assert_eq!(status(&platform, &ann.token, "case.open", opened.clone()).await, 200);
    assert_eq!(status(&platform, &access, "case.open", opened).await, 403);
    // Where only `read` was asked for, a changed form lends nothing.
    let mut fields = asked("claude-code", "read", "", &challenge);
    fields.extend([("email", "ann@example.com"), ("password", PASSWORD), ("answer", "lend"), ("profile", "respond")]);
    assert_eq!(post(&platform, "/oauth/authorize", &fields).await.status, 422);
    // A renewal that asks for what there is not is refused before its refresh token is used up.
    let refresh = text(&got, "refresh_token");
    let wrong = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
        ("client_id", "claude-code"),
        ("scope", "admin"),
    ];
    assert_eq!(token(&platform, &wrong).await.body["error"], "invalid_scope");
    assert_eq!(renew(&platform, &refresh).await.status, 200);
}

#[tokio::test]
async fn what_was_lent_is_listed_and_taken_back() {
    let platform = Platform::start().await;
    let (tenant, ann) = somebody(&platform, "ann", &["analyst"]).await;
    let (_, other) = somebody(&platform, "bob", &["tenant_admin"]).await;
    let lent = platform
        .done(&ann.token, "grant.lend", &json!({ "client": "shell", "profile": "work", "operations": ["case.*"] }))
        .await;
    let access = lent["tokens"]["access"].as_str().unwrap().to_owned();
    let grant = lent["grant"]["id"].as_str().unwrap().to_owned();
    assert_eq!(status(&platform, &access, "case.open", json!({ "tenant": tenant, "title": "x" })).await, 200);
    assert_eq!(
        status(&platform, &access, "source.list", json!({ "tenant": tenant })).await,
        403,
        "not among what was lent"
    );
    let listed = platform.done(&ann.token, "grant.list", &json!({})).await;
    assert_eq!(listed["items"][0]["id"], grant.as_str());
    assert_eq!(status(&platform, &other.token, "grant.list", json!({ "user": ann.principal })).await, 404);
    assert_eq!(status(&platform, &other.token, "grant.revoke", json!({ "grant": grant })).await, 404);
    // Nobody declares an agent that was lent to.
    let declared = platform.done(&platform.bootstrap, "config.get", &json!({ "tenants": [tenant] })).await;
    assert_eq!(declared["items"][0]["agents"], json!([]));
    platform.done(&ann.token, "grant.revoke", &json!({ "grant": grant })).await;
    assert_eq!(status(&platform, &access, "me.get", json!({})).await, 401);
    assert_eq!(platform.done(&ann.token, "grant.list", &json!({})).await["items"][0]["revoked"], true);
    // By the protocol: whoever holds a token can end the loan.
    let lent = platform.done(&ann.token, "grant.lend", &json!({ "client": "shell", "profile": "read" })).await;
    let access = lent["tokens"]["access"].as_str().unwrap();
    assert_eq!(post(&platform, "/oauth/revoke", &[("token", access), ("client_id", "shell")]).await.status, 200);
    assert_eq!(status(&platform, access, "me.get", json!({})).await, 401);
    // The kill switch and the agent's own state end it too.
    let lent = platform.done(&ann.token, "grant.lend", &json!({ "client": "shell", "profile": "read" })).await;
    let (access, agent) = (lent["tokens"]["access"].as_str().unwrap(), lent["grant"]["agent"].as_str().unwrap());
    assert_eq!(status(&platform, access, "me.get", json!({})).await, 200);
    platform.done(&platform.bootstrap, "agent.suspend", &json!({ "agent": agent, "reason": "a test" })).await;
    assert_eq!(status(&platform, access, "me.get", json!({})).await, 401);
}

#[tokio::test]
async fn a_terminal_without_a_browser_gets_its_tokens_when_its_person_says_so() {
    let platform = Platform::start().await;
    somebody(&platform, "ann", &["viewer"]).await;
    let metadata = platform.send(Request::new("GET", "/.well-known/oauth-authorization-server")).await;
    assert_eq!(metadata.status, 200);
    let base = format!("http://{}", platform.address);
    assert_eq!(metadata.body["issuer"], base.as_str());
    let resource = platform.send(Request::new("GET", "/.well-known/oauth-protected-resource/mcp")).await;
    assert_eq!(resource.body["authorization_servers"], json!([base]));
    let begun = post(&platform, "/oauth/device_authorization", &[("client_id", "terminal"), ("scope", "work")]).await;
    assert_eq!(begun.status, 200, "{}", begun.text);
    let (device, user) = (text(&begun, "device_code"), text(&begun, "user_code"));
    let poll = async || {
        platform.clock.advance(Duration::from_secs(6));
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", device.as_str()),
            ("client_id", "terminal"),
        ];
        token(&platform, &fields).await
    };
    assert_eq!(poll().await.body["error"], "authorization_pending");
    let page = platform.send(Request::new("GET", &format!("/oauth/device?user_code={}", user.to_lowercase()))).await;
    assert!(page.text.contains("terminal") && page.text.contains("<code>work</code>"), "{}", page.text);
    let wrong = post(&platform, "/oauth/device", &[("user_code", "BBBB-BBBB"), ("answer", "lend")]).await;
    assert!(wrong.text.contains("No terminal waits"), "{}", wrong.text);
    let mut fields =
        vec![("user_code", user.as_str()), ("email", "ann@example.com"), ("password", PASSWORD), ("answer", "lend")];
    let unsaid = post(&platform, "/oauth/device", &fields).await;
    assert!(unsaid.status == 422 && unsaid.text.contains("Choose what it could do"), "{}", unsaid.text);
    fields.push(("profile", "respond"));
    assert_eq!(post(&platform, "/oauth/device", &fields).await.status, 422, "more than the terminal asked for");
    fields.last_mut().unwrap().1 = "work";
    let lent = post(&platform, "/oauth/device", &fields).await;
    assert_eq!(lent.status, 200, "{}", lent.text);
    let got = poll().await;
    assert_eq!(got.status, 200, "{}", got.text);
    assert_eq!(got.body["scope"], "work");
    assert_eq!(status(&platform, &text(&got, "access_token"), "me.get", json!({})).await, 200);
    assert_eq!(poll().await.body["error"], "expired_token", "tokens are given out once");
}

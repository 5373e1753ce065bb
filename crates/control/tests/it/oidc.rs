//! Sign-in through an OpenID provider, and the second factor of those who sign in with a password.

use base64::Engine as _;
use control::{ClaimRole, OidcProvider};
use ids::Clock as _;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::cast::{PASSWORD, person};
use testkit::openid::OpenId;
use testkit::{Answer, Dump, Platform, Request};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const BACK: &str = "http://127.0.0.1:9999/back";

pub(crate) fn setup(idp: &OpenId, create: bool) -> OidcProvider {
    let role = |value: &str, role: &str| ClaimRole {
        claim: "groups".to_owned(),
        value: value.to_owned(),
        role: role.to_owned(),
        tenant: None,
    };
    OidcProvider {
        name: "corp".to_owned(),
        issuer: idp.issuer(),
        client_id: "posse".to_owned(),
        client_secret: None,
        scopes: vec!["openid".to_owned()],
        hosts: Vec::new(),
        redirect_uris: Vec::new(),
        tenant: None,
        create,
        private_network: true,
        roles: vec![role("soc", "analyst"), role("leads", "tenant_admin")],
    }
}

async fn with(idp: &OpenId, create: bool) -> Platform {
    Platform::start_with(control::Settings { sign_in: vec![setup(idp, create)], ..testkit::settings() }).await
}

fn challenge() -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(seal::Digest::of(VERIFIER.as_bytes()).as_bytes())
}

/// Where the provider wants the person.
async fn begin(platform: &Platform) -> String {
    let path = format!("/oauth/sign-in?provider=corp&redirect_uri={BACK}&code_challenge={}", challenge());
    let answer = platform.send(Request::new("GET", &path)).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    answer.header("location").unwrap().to_owned()
}

async fn finish(platform: &Platform, (code, state): (&str, &str), verifier: &str) -> Answer {
    finish_with(platform, &json!({ "code": code, "state": state, "code_verifier": verifier })).await
}

async fn finish_with(platform: &Platform, input: &Value) -> Answer {
    platform.send(Request::of(platform.spec("me.login_oidc"), input)).await
}

fn now_secs(platform: &Platform) -> i64 {
    platform.clock.now().as_micros() / 1_000_000
}

/// Somebody with these claims signs in.
pub(crate) async fn sign_in(platform: &Platform, idp: &OpenId, claims: Value) -> Answer {
    let at = begin(platform).await;
    let (code, state) = idp.consent(&at, now_secs(platform), &claims);
    finish(platform, (&code, &state), VERIFIER).await
}

fn dana() -> Value {
    json!({ "sub": "dana-1", "email": "Dana@Example.com", "email_verified": true, "name": "Dana", "groups": ["soc"] })
}

#[tokio::test]
async fn somebody_is_made_signs_in_and_has_the_roles_of_their_claims() {
    let idp = OpenId::start().await;
    let platform = with(&idp, true).await;
    let first = sign_in(&platform, &idp, dana()).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let token = first.body["secret"].as_str().unwrap();
    let me = platform.done(token, "me.get", &json!({})).await;
    assert_eq!((&me["display_name"], &me["roles"][0]["role"]), (&json!("Dana"), &json!("analyst")), "{me}");
    platform.done(token, "tenant.list", &json!({})).await;
    assert_eq!(platform.call(token, "user.list", &json!({})).await.status, 200);
    assert_eq!(platform.call(token, "tenant.create", &json!({ "name": "x" })).await.status, 403);
    // Other claims, other roles; what was given by hand stays.
    let id = me["principal"].as_str().unwrap();
    let given = json!({ "principal": id, "role": "auditor" });
    platform.done(&platform.bootstrap, "role.assign", &given).await;
    let mut other = dana();
    other["groups"] = json!(["leads"]);
    idp.rotate();
    platform.clock.advance(Duration::from_secs(61));
    let second = sign_in(&platform, &idp, other).await;
    assert_eq!(second.status, 200, "a new key of the provider is fetched: {}", second.body);
    let me = platform.done(second.body["secret"].as_str().unwrap(), "me.get", &json!({})).await;
    let mut roles: Vec<&str> =
        me["roles"].as_array().unwrap().iter().map(|one| one["role"].as_str().unwrap()).collect();
    roles.sort_unstable();
    assert_eq!((me["principal"].as_str().unwrap(), roles), (id, vec!["auditor", "tenant_admin"]), "{me}");
    // Who is deactivated here is nobody, whatever the provider says.
    platform.done(&platform.bootstrap, "user.deactivate", &json!({ "user": id })).await;
    assert_eq!(sign_in(&platform, &idp, dana()).await.status, 401);
}

#[tokio::test]
async fn a_token_that_is_not_for_this_sign_in_does_nothing() {
    let idp = OpenId::start().await;
    let platform = with(&idp, true).await;
    let now = now_secs(&platform);
    let before = Dump::of(platform.control.store()).await;
    for (claim, value) in [
        ("iss", json!("https://elsewhere.example")),
        ("aud", json!("another")),
        ("aud", json!(["posse", "another"])),
        ("azp", json!("another")),
        ("exp", json!(now - 61)),
        ("exp", Value::Null),
        ("exp", json!("tomorrow")),
        ("iat", json!(now + 600)),
        ("iat", Value::Null),
        ("nbf", json!(now + 600)),
        ("nbf", json!("yesterday")),
        ("nonce", json!("another")),
        ("nonce", Value::Null),
        ("sub", json!("")),
        ("sub", json!("dana\u{0}")),
        ("sub", json!("d".repeat(256))),
        ("sub", Value::Null),
        ("email_verified", json!(false)),
        ("email_verified", json!("yes")),
        ("email_verified", json!(["true"])),
        ("email_verified", Value::Null),
        // A Kelvin sign, which some turn into the letter that it looks like.
        ("email", json!("dana\u{212a}@example.com")),
        ("email", json!("dana")),
    ] {
        let mut claims = dana();
        claims[claim] = value.clone();
        let answer = sign_in(&platform, &idp, claims).await;
        assert_eq!(answer.status, 401, "{claim} {value}: {}", answer.body);
    }
    // A stolen way back without the verifier, a state of nobody, of another key or too old, a code that was used.
    let at = begin(&platform).await;
    let (code, state) = idp.consent(&at, now, &dana());
    assert_eq!(finish(&platform, (&code, &state), &"x".repeat(43)).await.status, 401);
    let cut = state.get(..state.len() - 4).unwrap();
    for odd in ["", "AAAA", cut, &format!("{cut}AAAA")] {
        assert!(matches!(finish(&platform, (&code, odd), VERIFIER).await.status, 401 | 422), "{odd}");
    }
    assert_eq!(before.changed(&Dump::of(platform.control.store()).await), []);
    assert_eq!(finish(&platform, (&code, &state), VERIFIER).await.status, 200);
    assert_eq!(finish(&platform, (&code, &state), VERIFIER).await.status, 401, "once");
    let at = begin(&platform).await;
    let (code, state) = idp.consent(&at, now + 700, &dana());
    platform.clock.advance(Duration::from_secs(601));
    assert_eq!(finish(&platform, (&code, &state), VERIFIER).await.status, 401, "too old");
    // Codes go to the own machine alone, with a challenge, and to a provider that there is.
    let good = challenge();
    for (query, status) in [
        (format!("provider=corp&redirect_uri=https://evil.example/back&code_challenge={good}"), 422),
        (format!("provider=corp&redirect_uri=http://127.0.0.1.evil.example/back&code_challenge={good}"), 422),
        (format!("provider=corp&redirect_uri=http://127.0.0.1:1@evil.example/&code_challenge={good}"), 422),
        (format!("provider=corp&redirect_uri={BACK}&code_challenge=short"), 422),
        (format!("provider=none&redirect_uri={BACK}&code_challenge={good}"), 404),
    ] {
        let answer = platform.send(Request::new("GET", &format!("/oauth/sign-in?{query}"))).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text);
    }
}

#[tokio::test]
async fn an_address_that_is_vouched_for_leads_to_who_is_here_already() {
    let idp = OpenId::start().await;
    let platform = with(&idp, false).await;
    assert_eq!(sign_in(&platform, &idp, dana()).await.status, 401, "nobody is made");
    let known = person(&platform, &platform.bootstrap, "dana", None, &[]).await;
    let mut unsure = dana();
    unsure["email_verified"] = json!(false);
    assert_eq!(sign_in(&platform, &idp, unsure).await.status, 401);
    let answer = sign_in(&platform, &idp, dana()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let me = platform.done(answer.body["secret"].as_str().unwrap(), "me.get", &json!({})).await;
    assert_eq!(me["principal"], known.principal.as_str());
    // Bound to the subject from now on: another one with the same address is somebody else.
    let mut other = dana();
    other["sub"] = json!("dana-2");
    assert_eq!(sign_in(&platform, &idp, other).await.status, 401);
    // A person of a tenant is not one of the provider's, whatever the address says.
    let tenant = platform.done(&platform.bootstrap, "tenant.create", &json!({ "name": "acme" })).await;
    person(&platform, &platform.bootstrap, "eve", tenant["id"].as_str(), &[]).await;
    let eve = json!({ "sub": "eve-1", "email": "eve@example.com", "email_verified": true });
    assert_eq!(sign_in(&platform, &idp, eve).await.status, 401);
}

async fn log_in(platform: &Platform, email: &str, totp: Option<&str>) -> Answer {
    let mut input = json!({ "email": email, "password": PASSWORD });
    if let Some(code) = totp {
        input["totp"] = code.into();
    }
    platform.send(Request::of(platform.spec("me.login"), &input)).await
}

#[tokio::test]
async fn a_second_factor_is_asked_once_it_was_shown_and_each_code_is_good_once() {
    let platform = Platform::start().await;
    let ann = person(&platform, &platform.bootstrap, "ann", None, &[]).await;
    let user = json!({ "user": ann.principal });
    let enrol = json!({ "user": ann.principal, "password": PASSWORD });
    assert_eq!(platform.call(&ann.token, "user.enrol_totp", &user).await.status, 422, "with the password only");
    let wrong = json!({ "user": ann.principal, "password": "wrong horse battery" });
    assert_eq!(platform.call(&ann.token, "user.enrol_totp", &wrong).await.status, 422);
    let made = platform.done(&ann.token, "user.enrol_totp", &enrol).await;
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(made["uri"].as_str().unwrap().contains(&secret));
    assert_eq!(log_in(&platform, "ann@example.com", None).await.status, 200, "not confirmed: nobody is locked out");
    let key = key_of(&made);
    let code = |platform: &Platform| code_now(platform, &key);
    let wrong = json!({ "user": ann.principal, "code": "000000" });
    let refused = platform.call(&ann.token, "user.confirm_totp", &wrong).await;
    assert!(refused.status == 422 || code(&platform) == "000000", "{}", refused.body);
    let right = json!({ "user": ann.principal, "code": code(&platform) });
    let confirmed = platform.done(&ann.token, "user.confirm_totp", &right).await;
    assert_eq!(confirmed["second_factor"], true);
    // Password alone, the code of the confirmation again, a wrong one.
    for totp in [None, Some(code(&platform)), Some("12345".to_owned())] {
        let answer = log_in(&platform, "ann@example.com", totp.as_deref()).await;
        assert!(matches!(answer.status, 401 | 422), "{totp:?} {}", answer.body);
    }
    let told = log_in(&platform, "ann@example.com", None).await;
    assert!(told.body["detail"].as_str().unwrap().contains("second factor"), "{}", told.body);
    let wrong =
        Request::of(platform.spec("me.login"), &json!({ "email": "ann@example.com", "password": "x".repeat(20) }));
    let wrong = platform.send(wrong).await;
    assert!(!wrong.body["detail"].as_str().unwrap().contains("second factor"), "told to nobody without the password");
    platform.clock.advance(Duration::from_secs(30));
    let now = code(&platform);
    assert_eq!(log_in(&platform, "ann@example.com", Some(&now)).await.status, 200);
    assert_eq!(log_in(&platform, "ann@example.com", Some(&now)).await.status, 401, "once");
    // Nobody else can make or confirm one, and one's own goes only with a code.
    let root = &platform.bootstrap;
    assert_eq!(platform.call(root, "user.enrol_totp", &user).await.status, 409);
    assert_eq!(platform.call(&ann.token, "user.remove_totp", &user).await.status, 422);
    platform.clock.advance(Duration::from_secs(30));
    let gone = json!({ "user": ann.principal, "code": code(&platform) });
    platform.done(&ann.token, "user.remove_totp", &gone).await;
    assert_eq!(log_in(&platform, "ann@example.com", None).await.status, 200);
    // What stands in the store is sealed.
    let answer = platform.call(&ann.token, "user.enrol_totp", &enrol).await;
    let (made, call) = (answer.body.clone(), answer.recorded().unwrap().to_owned());
    let dump = Dump::of(platform.control.store()).await;
    let stored = dump.kind("user").map(|(_, value)| value.to_string()).collect::<String>();
    assert!(stored.contains("sealed") && !stored.contains(made["secret"].as_str().unwrap()));
    let kept = platform.done(root, "audit.get", &json!({ "call": call })).await.to_string();
    assert!(kept.contains("user.enrol_totp") && kept.contains(&ann.principal), "{kept}");
    assert!(!kept.contains(made["secret"].as_str().unwrap()) && !kept.contains(PASSWORD), "{kept}");
    platform.done(root, "user.remove_totp", &user).await;
}

#[tokio::test]
async fn nobody_is_made_at_a_place_that_there_is_not() {
    let idp = OpenId::start().await;
    let entropy = seal::SeededEntropy::new(7);
    let tenant = Some(ids::TenantId::generate(testkit::clock::HandClock::new().as_ref(), &entropy));
    let nowhere = OidcProvider { tenant, roles: Vec::new(), ..setup(&idp, true) };
    let platform = Platform::start_with(control::Settings { sign_in: vec![nowhere], ..testkit::settings() }).await;
    let before = Dump::of(platform.control.store()).await;
    assert_eq!(sign_in(&platform, &idp, dana()).await.status, 401);
    assert_eq!(before.changed(&Dump::of(platform.control.store()).await), []);
}

fn key_of(made: &Value) -> seal::TotpKey {
    seal::TotpKey::from_bytes(&unbase32(made["secret"].as_str().unwrap())).unwrap()
}

fn code_now(platform: &Platform, key: &seal::TotpKey) -> String {
    key.code(platform.clock.now().as_micros() / 30_000_000)
}

/// A code that is wrong in this window.
fn wrong_code(platform: &Platform, key: &seal::TotpKey) -> String {
    let step = platform.clock.now().as_micros() / 30_000_000;
    let good: Vec<String> = (step - 1..=step + 1).map(|step| key.code(step)).collect();
    (0..10).map(|digit| digit.to_string().repeat(6)).find(|code| !good.contains(code)).unwrap()
}

/// Somebody with a second factor.
async fn guarded(platform: &Platform, name: &str) -> (testkit::cast::Member, seal::TotpKey) {
    let member = person(platform, &platform.bootstrap, name, None, &[]).await;
    let enrol = json!({ "user": member.principal, "password": PASSWORD });
    let key = key_of(&platform.done(&member.token, "user.enrol_totp", &enrol).await);
    let confirm = json!({ "user": member.principal, "code": code_now(platform, &key) });
    platform.done(&member.token, "user.confirm_totp", &confirm).await;
    platform.clock.advance(Duration::from_secs(30));
    (member, key)
}

#[tokio::test]
async fn codes_of_a_second_factor_cannot_be_guessed_and_one_lets_in_once_at_a_time() {
    let platform = Platform::start().await;
    let (ann, key) = guarded(&platform, "ann").await;
    // Two at the same instant: one of them.
    let now = code_now(&platform, &key);
    let (one, two) = tokio::join!(
        log_in(&platform, "ann@example.com", Some(&now)),
        log_in(&platform, "ann@example.com", Some(&now))
    );
    let mut both = [one.status, two.status];
    both.sort_unstable();
    assert_eq!(both, [200, 401]);
    // Wrong ones run out, at whatever door, and then the right one is no use either.
    platform.clock.advance(Duration::from_secs(900));
    let wrong = wrong_code(&platform, &key);
    let remove = json!({ "user": ann.principal, "code": wrong });
    for _ in 0..3 {
        assert_eq!(platform.call(&ann.token, "user.remove_totp", &remove).await.status, 422);
    }
    for _ in 0..2 {
        assert_eq!(log_in(&platform, "ann@example.com", Some(&wrong)).await.status, 401);
    }
    let now = code_now(&platform, &key);
    assert_eq!(log_in(&platform, "ann@example.com", Some(&now)).await.status, 429);
    assert_eq!(platform.call(&ann.token, "user.remove_totp", &remove).await.status, 429);
    // The password alone can be tried on, and is no way in.
    assert_eq!(log_in(&platform, "ann@example.com", None).await.status, 401);
    platform.clock.advance(Duration::from_secs(900));
    assert_eq!(log_in(&platform, "ann@example.com", Some(&code_now(&platform, &key))).await.status, 200);
    // Somebody who waits to confirm cannot be guessed for either.
    let bob = person(&platform, &platform.bootstrap, "bob", None, &[]).await;
    let enrol = json!({ "user": bob.principal, "password": PASSWORD });
    let key = key_of(&platform.done(&bob.token, "user.enrol_totp", &enrol).await);
    let confirm = json!({ "user": bob.principal, "code": wrong_code(&platform, &key) });
    let mut tried = Vec::new();
    for _ in 0..6 {
        tried.push(platform.call(&bob.token, "user.confirm_totp", &confirm).await.status);
    }
    assert_eq!(tried, [422, 422, 422, 422, 422, 429]);
}

#[tokio::test]
async fn who_has_a_second_factor_gives_it_at_every_door() {
    let idp = OpenId::start().await;
    let platform = with(&idp, true).await;
    let (dana, key) = guarded(&platform, "dana").await;
    let before = Dump::of(platform.control.store()).await;
    let attempt = async |totp: Option<&str>| {
        let at = begin(&platform).await;
        let (code, state) = idp.consent(&at, now_secs(&platform), &self::dana());
        let mut input = json!({ "code": code, "state": state, "code_verifier": VERIFIER });
        if let Some(totp) = totp {
            input["totp"] = totp.into();
        }
        finish_with(&platform, &input).await
    };
    let told = attempt(None).await;
    assert_eq!(told.status, 401, "{}", told.body);
    assert!(told.body["detail"].as_str().unwrap().contains("second factor"), "{}", told.body);
    assert_eq!(attempt(Some(&wrong_code(&platform, &key))).await.status, 401);
    let after = Dump::of(platform.control.store()).await;
    assert_eq!(before.changed(&after), [], "neither bound to the provider nor given its roles");
    let now = code_now(&platform, &key);
    let answer = attempt(Some(&now)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let me = platform.done(answer.body["secret"].as_str().unwrap(), "me.get", &json!({})).await;
    assert_eq!(me["principal"], dana.principal.as_str());
    assert_eq!(attempt(Some(&now)).await.status, 401, "once");
    assert_eq!(log_in(&platform, "dana@example.com", Some(&now)).await.status, 401, "at any door");
    // The form on which rights are lent.
    platform.clock.advance(Duration::from_secs(60));
    let form = async |totp: &str| {
        let fields = format!(
            "response_type=code&client_id=shell&redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fcb&code_challenge={}\
             &code_challenge_method=S256&state=s&scope=read&email=dana%40example.com&password={}&totp={totp}&answer=lend",
            challenge(),
            PASSWORD.replace(' ', "+")
        );
        let mut request = Request::new("POST", "/oauth/authorize").header("origin", "null");
        request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body = Some(fields.into_bytes());
        platform.send(request).await
    };
    let refused = form("").await;
    assert_eq!(refused.status, 401, "{}", refused.text);
    assert!(refused.text.contains("second factor") && refused.text.contains("name=\"totp\""), "{}", refused.text);
    assert_eq!(form(&wrong_code(&platform, &key)).await.status, 401);
    let lent = form(&code_now(&platform, &key)).await;
    assert!(lent.status == 303 && lent.header("location").unwrap().contains("?code="), "{}", lent.text);
}

#[tokio::test]
async fn a_state_is_good_once_even_where_the_provider_does_not_look() {
    let idp = OpenId::start().await;
    idp.be_lax();
    let platform = with(&idp, true).await;
    let at = begin(&platform).await;
    let (code, state) = idp.consent(&at, now_secs(&platform), &dana());
    assert_eq!(finish(&platform, (&code, &state), &"x".repeat(43)).await.status, 401, "no verifier");
    assert_eq!(idp.asked("/token"), 0, "the provider was not even asked");
    assert_eq!(finish(&platform, (&code, &state), VERIFIER).await.status, 200);
    assert_eq!(finish(&platform, (&code, &state), VERIFIER).await.status, 401);
    assert_eq!(idp.asked("/token"), 1);
    // A code that was given for another sign-in: its token names another nonce.
    let other = begin(&platform).await;
    let (_, fresh) = idp.consent(&other, now_secs(&platform), &dana());
    assert_eq!(finish(&platform, (&code, &fresh), VERIFIER).await.status, 401);
    // Nor does a restart make a state fresh.
    let at = begin(&platform).await;
    let (code, state) = idp.consent(&at, now_secs(&platform), &dana());
    let platform = platform.restart().await;
    assert_eq!(finish(&platform, (&code, &state), VERIFIER).await.status, 401);
}

#[tokio::test]
async fn a_token_that_the_providers_key_did_not_sign_does_nothing() {
    let idp = OpenId::start().await;
    let platform = with(&idp, true).await;
    let before = Dump::of(platform.control.store()).await;
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    type Sign<'a> = (&'a str, &'a dyn Fn(&[u8]) -> Vec<u8>);
    let stranger = seal::SigningKey::from_bytes(&[9; 32]);
    let ways: [Sign<'_>; 5] = [
        (r#"{"alg":"none"}"#, &|_| Vec::new()),
        (r#"{"alg":"none","kid":"one"}"#, &|_| Vec::new()),
        // The public key as if it were a shared secret.
        (r#"{"alg":"HS256","kid":"one"}"#, &|message| seal::hmac_sha256(&idp.public_key(), message).to_vec()),
        (r#"{"alg":"EdDSA","kid":"one"}"#, &|message| stranger.sign(message).to_vec()),
        (r#"{"alg":"EdDSA","kid":"one","jwk":{"kty":"OKP"}}"#, &|message| stranger.sign(message).to_vec()),
    ];
    for (header, sign) in ways {
        let at = begin(&platform).await;
        let claims = idp.claims(&at, now_secs(&platform), &dana()).to_string();
        let signed = format!("{}.{}", base64(header.as_bytes()), base64(claims.as_bytes()));
        let token = format!("{signed}.{}", base64(&sign(signed.as_bytes())));
        let (code, state) = idp.hand_out(&at, token);
        assert_eq!(finish(&platform, (&code, &state), VERIFIER).await.status, 401, "{header}");
    }
    assert_eq!(before.changed(&Dump::of(platform.control.store()).await), []);
    assert_eq!(idp.asked("/jwks"), 1, "a key that is not known does not have the keys fetched again at will");
    platform.clock.advance(Duration::from_secs(61));
    for _ in 0..3 {
        let at = begin(&platform).await;
        let (code, state) = idp.hand_out(&at, format!("{}.{}.AAAA", base64(ways[0].0.as_bytes()), base64(b"{}")));
        assert_eq!(finish(&platform, (&code, &state), VERIFIER).await.status, 401);
    }
    assert_eq!(idp.asked("/jwks"), 2, "once in a minute");
}

#[tokio::test]
async fn a_provider_that_is_down_or_odd_is_left_alone_and_nobody_is_sent_there() {
    let idp = OpenId::start().await;
    let platform = with(&idp, true).await;
    let path = format!("/oauth/sign-in?provider=corp&redirect_uri={BACK}&code_challenge={}", challenge());
    let ask = async || platform.send(Request::new("GET", &path)).await;
    let configuration = "/.well-known/openid-configuration";
    idp.be_down(true);
    for _ in 0..5 {
        let answer = ask().await;
        assert_eq!((answer.status, answer.problem()), (503, "unavailable"), "{}", answer.text);
    }
    assert_eq!(idp.asked(configuration), 1, "not asked at will");
    idp.be_down(false);
    for odd in [
        json!({ "issuer": "https://elsewhere.example" }),
        json!({ "authorization_endpoint": "javascript:alert(1)" }),
        json!({ "authorization_endpoint": "/authorize" }),
        json!({ "authorization_endpoint": format!("{}/authorize#x", idp.issuer()) }),
        json!({ "jwks_uri": "http://127.0.0.1:1/jwks" }),
    ] {
        platform.clock.advance(Duration::from_secs(6));
        idp.say(odd.clone());
        let answer = ask().await;
        assert!(answer.status == 503 && answer.header("location").is_none(), "{odd}: {}", answer.text);
    }
    idp.say(json!({ "token_endpoint": "http://127.0.0.1:1/token" }));
    platform.clock.advance(Duration::from_secs(6));
    let answer = sign_in(&platform, &idp, dana()).await;
    assert_eq!(answer.status, 503, "a host that is not configured is not asked: {}", answer.body);
    // A program asks for the address in place of being sent there.
    let told = platform.send(Request::new("GET", &path).header("accept", "application/json")).await;
    assert_eq!(told.status, 200, "{}", told.text);
    assert!(told.body["url"].as_str().unwrap().starts_with(&format!("{}/authorize?", idp.issuer())));
    assert_eq!(told.header("cache-control"), Some("no-store"));
    let long = format!("{BACK}/{}", "x".repeat(1000));
    let path = format!("/oauth/sign-in?provider=corp&redirect_uri={long}&code_challenge={}", challenge());
    assert_eq!(platform.send(Request::new("GET", &path)).await.status, 422);
    // Nobody is let in whose sign-in cannot be recorded.
    idp.say(json!({}));
    platform.clock.advance(Duration::from_secs(3601));
    platform.control.store().close().await;
    let answer = sign_in(&platform, &idp, dana()).await;
    assert_eq!((answer.status, answer.problem()), (503, "unavailable"), "{}", answer.body);
}

#[tokio::test]
async fn a_provider_that_names_itself_on_the_way_back_is_held_to_it() {
    let idp = OpenId::start().await;
    let platform = with(&idp, true).await;
    let attempt = async |iss: Option<String>| {
        let at = begin(&platform).await;
        let (code, state) = idp.consent(&at, now_secs(&platform), &dana());
        let mut input = json!({ "code": code, "state": state, "code_verifier": VERIFIER });
        if let Some(iss) = iss {
            input["iss"] = iss.into();
        }
        finish_with(&platform, &input).await.status
    };
    assert_eq!(attempt(None).await, 200);
    assert_eq!(attempt(Some("https://elsewhere.example".to_owned())).await, 401, "the way back of another provider");
    assert_eq!(attempt(Some(idp.issuer())).await, 200);
    idp.say(json!({ "authorization_response_iss_parameter_supported": true }));
    platform.clock.advance(Duration::from_secs(3601));
    assert_eq!(attempt(None).await, 401, "it said that it would");
    assert_eq!(attempt(Some(idp.issuer())).await, 200);
}

#[tokio::test]
async fn what_a_sign_in_made_and_gave_is_on_the_record_and_ends_where_the_place_does() {
    let idp = OpenId::start().await;
    let platform = with(&idp, true).await;
    // Two at once are one person.
    let (at, other) = (begin(&platform).await, begin(&platform).await);
    let (one, two) =
        (idp.consent(&at, now_secs(&platform), &dana()), idp.consent(&other, now_secs(&platform), &dana()));
    let (one, two) =
        tokio::join!(finish(&platform, (&one.0, &one.1), VERIFIER), finish(&platform, (&two.0, &two.1), VERIFIER));
    assert_eq!((one.status, two.status), (200, 200), "{} {}", one.body, two.body);
    let users = platform.done(&platform.bootstrap, "user.list", &json!({})).await;
    let danas = users["items"].as_array().unwrap().iter().filter(|user| user["email"] == "dana@example.com");
    assert_eq!(danas.count(), 1, "{users}");
    let records = testkit::dump::records(platform.control.store(), ids::Owner::Provider).await;
    let made: Vec<&Value> = records.iter().filter(|record| record.to_string().contains("\"user.provision\"")).collect();
    assert_eq!(made.len(), 1, "{made:?}");
    let call = json!({ "call": made[0]["call"] });
    let record = platform.done(&platform.bootstrap, "audit.get", &call).await.to_string();
    for part in ["sign-in", "corp", "made", "analyst", "dana-1"] {
        assert!(record.contains(part), "{part}: {record}");
    }
    // The person cannot make a password for themselves, with which the provider would be left out.
    let token = one.body["secret"].as_str().unwrap();
    let id = platform.done(token, "me.get", &json!({})).await["principal"].clone();
    let password = json!({ "user": id, "password": "correct horse battery" });
    assert_eq!(platform.call(token, "user.reset_password", &password).await.status, 409);
}

fn unbase32(text: &str) -> Vec<u8> {
    let (mut out, mut held, mut bits) = (Vec::new(), 0_u32, 0_u32);
    for letter in text.bytes() {
        held = (held << 5) | u32::from(if letter >= b'A' { letter - b'A' } else { letter - b'2' + 26 });
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from((held >> bits) & 255).unwrap());
        }
    }
    out
}

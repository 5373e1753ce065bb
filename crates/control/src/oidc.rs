//! Sign-in through an OpenID provider: authorization code with PKCE (OpenID Connect Core 1.0 section 3.1, RFC 7636). The verifier
//! stays with who began, so that whoever sees the way back can do nothing with it. Must never take a token that this provider did
//! not sign for this client and this very sign-in, and asks nothing of hosts that the configuration does not name.

use crate::context::Control;
use crate::oidc_state::{State, States};
use crate::open::OpenError;
use crate::settings::OidcProvider;
use api::{Problem, ProblemKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use egress::{Client, Destination, Policy};
use http::{Method, Request, header};
use ids::{Entropy, Timestamp};
use seal::{JwkSet, JwsError};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Mutex;

/// How long what a provider says of itself is taken as it is.
const METADATA_TTL: Duration = Duration::from_secs(3600);
/// How often keys are asked for again because a token names one that is not known.
const KEYS_AGAIN: Duration = Duration::from_secs(60);
/// How far the provider's clock may be off.
const SKEW_SECS: i64 = 60;
/// How long a provider that did not answer as it should is left alone: who has no credential can make us ask.
const REST: Duration = Duration::from_secs(5);
/// The longest answer of a provider.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long a whole answer may take, however it drips.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);
/// The longest address that codes are sent to; it travels in the state.
const REDIRECT_BYTES_MAX: usize = 1000;

/// Why nobody is signed in. For the log; the caller is told the same of all.
#[derive(Debug, Error)]
pub(crate) enum OidcError {
    #[error("the claim `{0}` is missing or wrong")]
    Claim(&'static str),
    #[error("the provider cannot be asked: {0}")]
    Egress(#[from] egress::Failure),
    #[error("the provider's answer is not what the specification says: {0}")]
    Answer(&'static str),
    #[error("the provider refused: {0}")]
    Refused(String),
    #[error("the provider did not answer as it should a moment ago")]
    Resting,
    #[error("the provider's answer took too long")]
    Slow,
    #[error("the state is not one of ours, not of who sent it, too old, or was spent")]
    State,
    #[error("the token {0}")]
    Token(#[from] JwsError),
}

impl OidcError {
    /// Whether the provider is at fault, and not who signs in.
    pub(crate) const fn is_outage(&self) -> bool {
        matches!(self, Self::Answer(_) | Self::Egress(_) | Self::Resting | Self::Slow)
    }
}

/// What somebody is told who cannot sign in because of the provider.
pub(crate) fn outage() -> Problem {
    Problem::new(ProblemKind::Unavailable, "the sign-in provider does not answer as it should; try again later")
}

/// What a provider says of itself (OpenID Connect Discovery 1.0).
#[derive(Clone, Debug, Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    /// Whether it names itself on the way back (RFC 9207).
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

#[derive(Clone)]
struct Known {
    at: Timestamp,
    metadata: Metadata,
    keys: JwkSet,
}

/// What is remembered of a provider.
#[derive(Default)]
struct Memory {
    known: Option<Known>,
    failed_at: Option<Timestamp>,
}

/// One provider, as it is configured, with what is known of it.
pub(crate) struct Provider {
    pub(crate) setup: OidcProvider,
    client: Client,
    memory: Mutex<Memory>,
}

/// The providers that people sign in through, and the sign-ins under way.
pub(crate) struct Providers {
    all: Vec<Arc<Provider>>,
    states: States,
}

/// Who signed in, as the provider says.
pub(crate) struct Person {
    pub(crate) provider: Arc<Provider>,
    /// The provider's name for the person: issuer and subject.
    pub(crate) external: String,
    pub(crate) claims: Value,
}

impl Person {
    /// A text among the claims.
    pub(crate) fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    /// Whether the provider says that the address is the person's. Some write the truth as a text.
    pub(crate) fn vouched(&self) -> bool {
        let said = self.claims.get("email_verified");
        said.and_then(Value::as_bool).unwrap_or_else(|| said.and_then(Value::as_str) == Some("true"))
    }

    /// Whether a claim is this value, or a list with it. A claim that begins with `/` is a JSON pointer.
    pub(crate) fn has(&self, claim: &str, value: &str) -> bool {
        let found = if claim.starts_with('/') { self.claims.pointer(claim) } else { self.claims.get(claim) };
        match found {
            Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(value)),
            Some(Value::String(text)) => text == value,
            Some(Value::Bool(truth)) => value.parse() == Ok(*truth),
            _ => false,
        }
    }
}

/// Percent-encode everything but the unreserved characters of RFC 3986.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    pairs.join("&")
}

impl Provider {
    /// A provider that asks nobody but the hosts that its setup names.
    ///
    /// # Errors
    /// What is wrong with the setup, in words.
    pub(crate) fn new(setup: OidcProvider) -> Result<Self, String> {
        let mut destinations = Vec::new();
        for address in std::iter::once(&setup.issuer).chain(&setup.hosts) {
            let destination = Destination::of(address).map_err(|error| format!("`{address}`: {error}"))?;
            if destination.scheme == egress::Scheme::Http && !setup.private_network {
                return Err(format!(
                    "`{address}` is not `https`; only a provider inside (`private_network`) may do without"
                ));
            }
            destinations.push(if setup.private_network { destination.also_private() } else { destination });
        }
        let pause_timeout = Duration::from_secs(10);
        let policy = Policy { body_bytes_max: ANSWER_BYTES_MAX, pause_timeout, ..Policy::to(destinations) };
        let client = Client::new(policy).map_err(|error| error.to_string())?;
        Ok(Self { setup, client, memory: Mutex::default() })
    }

    async fn json(&self, request: Request<Bytes>) -> Result<Value, OidcError> {
        let answer = tokio::time::timeout(ANSWER_TIME_MAX, self.client.send(request)).await;
        let answer = answer.map_err(|_| OidcError::Slow)??;
        let value: Value = serde_json::from_slice(answer.body()).map_err(|_| OidcError::Answer("no JSON"))?;
        if !answer.status().is_success() {
            let error = value.get("error").and_then(Value::as_str).unwrap_or("no reason");
            return Err(OidcError::Refused(error.chars().take(100).collect()));
        }
        Ok(value)
    }

    async fn get(&self, address: &str) -> Result<Value, OidcError> {
        let request = Request::get(address).header(header::ACCEPT, "application/json").body(Bytes::new());
        self.json(request.map_err(|_| OidcError::Answer("an address that is none"))?).await
    }

    async fn ask(&self, now: Timestamp) -> Result<Known, OidcError> {
        let at = format!("{}/.well-known/openid-configuration", self.setup.issuer.trim_end_matches('/'));
        let metadata = Metadata::deserialize(self.get(&at).await?).map_err(|_| OidcError::Answer("its metadata"))?;
        // Discovery section 4.3: else one issuer could speak for another.
        if metadata.issuer != self.setup.issuer {
            return Err(OidcError::Answer("another issuer"));
        }
        // A browser goes there: to nothing but a page of the web, and in the clear only to a provider inside.
        let page = Destination::of(&metadata.authorization_endpoint).ok();
        let safe = page.is_some_and(|page| page.scheme == egress::Scheme::Https || self.setup.private_network);
        if !safe || metadata.authorization_endpoint.contains('#') {
            return Err(OidcError::Answer("its authorization endpoint"));
        }
        let keys = JwkSet::parse(&self.get(&metadata.jwks_uri).await?);
        Ok(Known { at: now, metadata, keys })
    }

    /// What is known of the provider; asked again where it is older than that.
    async fn known(&self, now: Timestamp, age_max: Duration) -> Result<Known, OidcError> {
        // Held while asking: everybody else who needs it waits for this one answer.
        let mut memory = self.memory.lock().await;
        if let Some(known) = memory.known.as_ref().filter(|known| now.since(known.at) < age_max) {
            return Ok(known.clone());
        }
        if memory.failed_at.is_some_and(|at| now.since(at) < REST) {
            return Err(OidcError::Resting);
        }
        // Stands where the asking is given up half way, too.
        memory.failed_at = Some(now);
        let fresh = self.ask(now).await?;
        *memory = Memory { known: Some(fresh.clone()), failed_at: None };
        Ok(fresh)
    }

    /// Whether a code may go to this address: one that is configured, or the person's own machine.
    fn may_go_to(&self, redirect_uri: &str) -> bool {
        let own = || {
            let rest = redirect_uri.strip_prefix("http://")?;
            let authority = rest.split(['/', '?', '#']).next()?;
            let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
            let port =
                authority.rsplit_once(':').is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
            (port && !redirect_uri.contains('#')).then_some(matches!(host, "127.0.0.1" | "[::1]" | "localhost"))
        };
        self.setup.redirect_uris.iter().any(|one| one == redirect_uri) || own().unwrap_or(false)
    }

    /// The token that a code is good for.
    async fn redeem(
        &self,
        metadata: &Metadata,
        code: &str,
        verifier: &str,
        state: &State,
    ) -> Result<String, OidcError> {
        let setup = &self.setup;
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &state.redirect_uri),
            ("code_verifier", verifier),
        ];
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&metadata.token_endpoint)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        match &setup.client_secret {
            // RFC 6749 section 2.3.1: both halves are form-encoded before base64.
            Some(secret) => {
                let pair = format!("{}:{}", escaped(&setup.client_id), escaped(secret.expose()));
                request = request.header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)));
            }
            None => fields.push(("client_id", &setup.client_id)),
        }
        let request = request.body(Bytes::from(form(&fields))).map_err(|_| OidcError::Answer("its token endpoint"))?;
        let answer = self.json(request).await?;
        let token = answer.get("id_token").and_then(Value::as_str).ok_or(OidcError::Answer("no id_token"))?;
        Ok(token.to_owned())
    }

    /// Check the claims of a token (Core section 3.1.3.7).
    fn check(&self, claims: &Value, nonce: &str, now: Timestamp) -> Result<String, OidcError> {
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
        let secs = |claim: &str| claims.get(claim).and_then(Value::as_i64);
        let now = now.as_micros().div_euclid(1_000_000);
        if text("iss") != Some(&self.setup.issuer) {
            return Err(OidcError::Claim("iss"));
        }
        let own = |value: &Value| value.as_str() == Some(self.setup.client_id.as_str());
        let (for_us, alone) = match claims.get("aud") {
            Some(Value::Array(all)) => (all.iter().any(own), all.len() == 1),
            Some(one) => (own(one), true),
            None => (false, false),
        };
        if !for_us {
            return Err(OidcError::Claim("aud"));
        }
        if text("azp").map_or(!alone, |party| party != self.setup.client_id) {
            return Err(OidcError::Claim("azp"));
        }
        if secs("exp").is_none_or(|end| end.saturating_add(SKEW_SECS) <= now) {
            return Err(OidcError::Claim("exp"));
        }
        if secs("iat").is_none_or(|made| made.saturating_sub(SKEW_SECS) > now) {
            return Err(OidcError::Claim("iat"));
        }
        let begins = claims.get("nbf").map(|_| secs("nbf"));
        if begins.is_some_and(|from| from.is_none_or(|from| from.saturating_sub(SKEW_SECS) > now)) {
            return Err(OidcError::Claim("nbf"));
        }
        if text("nonce") != Some(nonce) {
            return Err(OidcError::Claim("nonce"));
        }
        // Core section 2: at most 255 characters of ASCII.
        let plain = |subject: &&str| subject.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        match text("sub").filter(|subject| (1..=255).contains(&subject.len())).filter(plain) {
            Some(subject) => Ok(format!("{} {subject}", self.setup.issuer)),
            None => Err(OidcError::Claim("sub")),
        }
    }
}

/// The providers of a configuration.
pub(crate) fn providers(setups: &[OidcProvider], entropy: &dyn Entropy) -> Result<Providers, OpenError> {
    let mut all = Vec::new();
    for setup in setups {
        let wrong = |why: String| OpenError::SignIn(setup.name.clone(), why);
        if !setup.scopes.iter().any(|scope| scope == "openid") {
            return Err(wrong("`openid` is not among its scopes".to_owned()));
        }
        for mapping in &setup.roles {
            let shipped = policy::shipped::ROLES.iter().find(|role| role.id == mapping.role);
            let person = shipped.is_some_and(|role| role.principals.contains(&ids::PrincipalKind::User));
            if !person && mapping.role.parse::<ids::RoleId>().is_err() {
                return Err(wrong(format!("`{}` is no role of people; see `role.list`", mapping.role)));
            }
            if setup.tenant.is_some() && mapping.tenant != setup.tenant {
                return Err(wrong("people of a tenant hold roles there only; name it with each role".to_owned()));
            }
            if mapping.role == "provider_admin" && mapping.tenant.is_some() {
                return Err(wrong("`provider_admin` is held at the provider; leave out the tenant".to_owned()));
            }
        }
        all.push(Arc::new(Provider::new(setup.clone()).map_err(wrong)?));
    }
    Ok(Providers { all, states: States::new(entropy) })
}

impl Control {
    fn provider(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.all.iter().find(|provider| provider.setup.name == name)
    }

    /// Where a person signs in: the provider's address with everything that it needs.
    pub(crate) async fn begin_sign_in(&self, asked: &api::SignInAsk<'_>) -> Result<String, Problem> {
        let api::SignInAsk { provider, redirect_uri, challenge } = *asked;
        let provider = self.provider(provider).ok_or_else(|| Problem::not_found("sign-in provider"))?;
        if redirect_uri.len() > REDIRECT_BYTES_MAX || !provider.may_go_to(redirect_uri) {
            let why = "is neither configured for this provider nor on your own machine";
            return Err(Problem::fault("/redirect_uri", why));
        }
        if URL_SAFE_NO_PAD.decode(challenge).map(|bytes| bytes.len()) != Ok(32) {
            return Err(Problem::fault("/code_challenge", "is no S256 challenge: 43 letters of base64url (RFC 7636)"));
        }
        let now = self.now();
        let known = provider.known(now, METADATA_TTL).await.map_err(|error| {
            tracing::warn!(provider = provider.setup.name, %error, "nobody can sign in there");
            outage()
        })?;
        let entropy = self.inner.entropy.as_ref();
        let state = State::new(asked, entropy, now);
        let sealed = self.providers.states.seal(&state, &self.sealer, entropy).ok_or_else(Problem::internal)?;
        let scope = provider.setup.scopes.join(" ");
        let query = form(&[
            ("response_type", "code"),
            ("client_id", &provider.setup.client_id),
            ("redirect_uri", redirect_uri),
            ("scope", &scope),
            ("state", &sealed),
            ("nonce", &state.nonce),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256"),
        ]);
        let at = known.metadata.authorization_endpoint;
        let joint = if at.contains('?') { '&' } else { '?' };
        Ok(format!("{at}{joint}{query}"))
    }

    /// Who came back from the provider with this code.
    pub(crate) async fn finish_sign_in(&self, login: &api::MeLoginOidc) -> Result<Person, OidcError> {
        let (now, verifier) = (self.now(), login.code_verifier.reveal());
        let states = &self.providers.states;
        let state = states.open(login.state.reveal(), verifier, &self.sealer, now).ok_or(OidcError::State)?;
        let provider = self.provider(&state.provider).ok_or(OidcError::State)?;
        let mut known = provider.known(now, METADATA_TTL).await?;
        // RFC 9207: else one provider could have the code of another sent to itself.
        let named = login.iss.as_ref().map(|issuer| issuer.as_str() == provider.setup.issuer);
        if !named.unwrap_or(!known.metadata.authorization_response_iss_parameter_supported) {
            return Err(OidcError::Claim("iss"));
        }
        if !states.spend(&state, now) {
            return Err(OidcError::State);
        }
        let token = provider.redeem(&known.metadata, login.code.reveal(), verifier, &state).await?;
        let mut claims = known.keys.verify(&token);
        if claims == Err(JwsError::UnknownKey) {
            known = provider.known(now, KEYS_AGAIN).await?;
            claims = known.keys.verify(&token);
        }
        let claims = claims?;
        let external = provider.check(&claims, &state.nonce, now)?;
        Ok(Person { provider: Arc::clone(provider), external, claims })
    }
}

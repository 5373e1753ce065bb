//! An OpenID provider that is a script: it says who signs in and signs it with a key of its own. Speaks enough HTTP for discovery, the
//! key set and the token endpoint, and keeps to PKCE.
#![expect(clippy::expect_used, reason = "a test whose provider cannot be set up has failed")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a code stands for.
struct Consent {
    token: String,
    challenge: String,
    redirect_uri: String,
}

/// What the provider's sockets see.
struct Script {
    address: SocketAddr,
    codes: BTreeMap<String, Consent>,
    keys: Value,
    /// Over what it says of itself.
    metadata: Value,
    /// Takes any code again, with any verifier.
    lax: bool,
    /// Answers nothing but errors.
    down: bool,
    /// How often each path was asked for.
    asked: BTreeMap<String, u32>,
}

/// The provider, while it listens on this machine.
pub struct OpenId {
    key: Mutex<seal::SigningKey>,
    script: Arc<Mutex<Script>>,
}

/// The fields of a query or form.
#[must_use]
pub fn fields(text: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| {
        let (mut out, mut rest) = (Vec::new(), text.bytes());
        while let Some(byte) = rest.next() {
            match byte {
                b'%' => {
                    let hex: String = rest.by_ref().take(2).map(char::from).collect();
                    out.push(u8::from_str_radix(&hex, 16).unwrap_or(b'?'));
                }
                b'+' => out.push(b' '),
                other => out.push(other),
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

fn key_set(key: &seal::SigningKey, id: &str) -> Value {
    let x = URL_SAFE_NO_PAD.encode(key.verifying_key().to_bytes());
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": id, "use": "sig", "alg": "EdDSA" }] })
}

fn locked(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpenId {
    /// A provider with a key.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the provider binds");
        let address = listener.local_addr().expect("the provider's address");
        let key = seal::SigningKey::from_bytes(&[5; 32]);
        let script = Arc::new(Mutex::new(Script {
            address,
            codes: BTreeMap::new(),
            keys: key_set(&key, "one"),
            metadata: json!({}),
            lax: false,
            down: false,
            asked: BTreeMap::new(),
        }));
        let served = script.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, served.clone()));
            }
        });
        Self { key: Mutex::new(key), script }
    }

    /// Its name for itself.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://{}", locked(&self.script).address)
    }

    /// From now on it signs with another key.
    pub fn rotate(&self) {
        let key = seal::SigningKey::from_bytes(&[6; 32]);
        locked(&self.script).keys = key_set(&key, "two");
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = key;
    }

    /// From now on it says this of itself too.
    pub fn say(&self, metadata: Value) {
        locked(&self.script).metadata = metadata;
    }

    /// From now on it takes codes again, and with any verifier.
    pub fn be_lax(&self) {
        locked(&self.script).lax = true;
    }

    /// Whether it answers nothing but errors.
    pub fn be_down(&self, down: bool) {
        locked(&self.script).down = down;
    }

    /// How often a path was asked for.
    #[must_use]
    pub fn asked(&self, path: &str) -> u32 {
        locked(&self.script).asked.get(path).copied().unwrap_or_default()
    }

    /// Its public key, as it stands in its set.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.key.lock().unwrap_or_else(PoisonError::into_inner).verifying_key().to_bytes()
    }

    fn sign(&self, claims: &Value) -> String {
        let id = locked(&self.script).keys["keys"][0]["kid"].clone();
        let key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "EdDSA", "kid": id }).to_string());
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())))
    }

    /// Somebody signs in at the address that a client sent them to; these claims over the usual ones. The code and the state
    /// that go back.
    pub fn consent(&self, at: &str, now_secs: i64, claims: &Value) -> (String, String) {
        self.hand_out(at, self.sign(&self.claims(at, now_secs, claims)))
    }

    /// The claims of somebody who signs in at the address; these over the usual ones, null takes one away.
    #[must_use]
    pub fn claims(&self, at: &str, now_secs: i64, claims: &Value) -> Value {
        let asked = fields(at.split_once('?').expect("a query").1);
        let mut all = json!({
            "iss": self.issuer(), "aud": asked["client_id"], "nonce": asked["nonce"], "iat": now_secs, "exp": now_secs + 300,
        });
        let all_claims = all.as_object_mut().expect("claims");
        all_claims.extend(claims.as_object().cloned().unwrap_or_default());
        all_claims.retain(|_, value| !value.is_null());
        all
    }

    /// A code that this token is given for, whoever signed it, and the state that goes back with it.
    pub fn hand_out(&self, at: &str, token: String) -> (String, String) {
        let asked = fields(at.split_once('?').expect("a query").1);
        let mut script = locked(&self.script);
        let code = format!("code-{}", script.codes.len());
        let consent =
            Consent { token, challenge: asked["code_challenge"].clone(), redirect_uri: asked["redirect_uri"].clone() };
        script.codes.insert(code.clone(), consent);
        (code, asked["state"].clone())
    }
}

impl Script {
    fn answer(&mut self, path: &str, body: &str) -> (&'static str, Value) {
        *self.asked.entry(path.to_owned()).or_default() += 1;
        let base = format!("http://{}", self.address);
        match path {
            _ if self.down => ("503 Service Unavailable", json!({ "error": "temporarily_unavailable" })),
            "/.well-known/openid-configuration" => {
                let mut said = json!({
                    "issuer": base, "authorization_endpoint": format!("{base}/authorize"),
                    "token_endpoint": format!("{base}/token"), "jwks_uri": format!("{base}/jwks"),
                });
                let more = self.metadata.as_object().cloned().unwrap_or_default();
                said.as_object_mut().expect("metadata").extend(more);
                ("200 OK", said)
            }
            "/jwks" => ("200 OK", self.keys.clone()),
            "/token" => match self.redeem(&fields(body)) {
                Some(token) => ("200 OK", json!({ "id_token": token, "access_token": "x", "token_type": "Bearer" })),
                None => ("400 Bad Request", json!({ "error": "invalid_grant" })),
            },
            _ => ("404 Not Found", json!({ "error": "not_found" })),
        }
    }

    fn redeem(&mut self, asked: &BTreeMap<String, String>) -> Option<String> {
        let digest = seal::Digest::of(asked.get("code_verifier").map(String::as_bytes).unwrap_or_default());
        let challenge = URL_SAFE_NO_PAD.encode(digest.as_bytes());
        let consent = self.codes.get_mut(asked.get("code")?)?;
        if self.lax {
            return Some(consent.token.clone());
        }
        let fits = consent.challenge == challenge && asked.get("redirect_uri") == Some(&consent.redirect_uri);
        // A code is good once.
        (fits && !consent.token.is_empty()).then(|| std::mem::take(&mut consent.token))
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>) {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        let mut part = vec![0; 16 * 1024];
        let Ok(count @ 1..) = stream.read(&mut part).await else { return };
        bytes.extend_from_slice(part.get(..count).unwrap_or_default());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let path = head.split(' ').nth(1).unwrap_or_default();
    let (status, answer) = locked(&script).answer(path, &body);
    let answer = answer.to_string();
    let text = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
        answer.len()
    );
    // Whoever hung up does not want it any more.
    let _ = stream.write_all(text.as_bytes()).await;
}

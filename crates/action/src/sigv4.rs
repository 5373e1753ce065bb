//! AWS Signature Version 4 over a request, as the AWS General Reference describes it ("Create a signed AWS API request").
//! Must be given the path and query exactly as they are sent; the path is encoded once more, as every service but S3 wants.

use crate::outgoing::encoded;
use ids::Timestamp;
use seal::{Digest, hmac_sha256};

/// Who signs.
#[derive(Clone)]
pub struct Credentials {
    /// The id of the access key.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// The token of temporary credentials.
    pub session_token: Option<String>,
    /// For example `us-east-1`.
    pub region: String,
    /// For example `iam`.
    pub service: String,
}

/// What is signed, besides the headers.
#[derive(Clone, Copy, Debug)]
pub struct Signable<'a> {
    /// The method.
    pub method: &'a str,
    /// Host, with the port where it is not the scheme's own.
    pub host: &'a str,
    /// The path as it is sent, without the query.
    pub path: &'a str,
    /// The query as it is sent, without the question mark.
    pub query: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// The headers that a signature adds: `x-amz-date`, `x-amz-security-token` where there is one, `authorization`. All of
/// `headers` (names in lower case) are signed.
#[must_use]
pub fn sign(
    request: &Signable<'_>,
    headers: &[(String, String)],
    credentials: &Credentials,
    now: Timestamp,
) -> Vec<(String, String)> {
    let time = basic_time(now);
    let day: String = time.chars().take(8).collect();
    let mut added = vec![("x-amz-date".to_owned(), time.clone())];
    added.extend(credentials.session_token.iter().map(|token| ("x-amz-security-token".to_owned(), token.clone())));
    let mut signed: Vec<(&str, String)> = vec![("host", request.host.to_owned())];
    signed.extend(headers.iter().chain(&added).map(|(name, value)| (name.as_str(), folded(value))));
    signed.sort();
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let body = Digest::of(request.body).to_hex();
    let (path, query) = (canonical_path(request.path), canonical_query(request.query));
    let canonical = format!("{}\n{path}\n{query}\n{lines}\n{names}\n{body}", request.method);
    let scope = format!("{day}/{}/{}/aws4_request", credentials.region, credentials.service);
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", Digest::of(canonical.as_bytes()).to_hex());
    let mut key = hmac_sha256(format!("AWS4{}", credentials.secret_access_key).as_bytes(), day.as_bytes());
    for part in [credentials.region.as_str(), credentials.service.as_str(), "aws4_request"] {
        key = hmac_sha256(&key, part.as_bytes());
    }
    let signature = Digest::from_bytes(hmac_sha256(&key, text.as_bytes())).to_hex();
    added.push((
        "authorization".to_owned(),
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            credentials.access_key_id
        ),
    ));
    added
}

/// `20150830T123600Z`.
fn basic_time(now: Timestamp) -> String {
    let text = now.to_string();
    let digits: String = text.chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{digits}Z")
}

/// A header's value without spaces around it, and one space for each run inside.
fn folded(value: &str) -> String {
    value.split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn canonical_path(path: &str) -> String {
    let segments: Vec<String> = path.split('/').map(encoded).collect();
    let joined = segments.join("/");
    if joined.is_empty() { "/".to_owned() } else { joined }
}

/// Names and values decoded and encoded again in one way, sorted.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encoded(&decoded(name)), encoded(&decoded(value))))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let pair = (byte == b'%').then(|| Some((hex(ahead.next()?)?, hex(ahead.next()?)?))).flatten();
        if let Some((high, low)) = pair {
            bytes.push(high << 4 | low);
            rest = ahead;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(letter: u8) -> Option<u8> {
    char::from(letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

//! From a declared request and values to the bytes that go out. Each value is escaped for where it stands: one segment of a
//! path, one value of a query or form, one header, one value of JSON. Must never send a secret to where it was not meant.

use crate::auth::Auth;
use crate::document::Request;
use crate::sigv4::{Credentials, Signable, sign};
use crate::template::{BLANK, Secrets, Template, Values};
use crate::webhook::{standard_webhooks_key, standard_webhooks_signature};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Uri;
use serde::Serialize;
use std::fmt::Write as _;
use thiserror::Error;

/// Bytes of a body that is sent.
const BODY_BYTES_MAX: usize = 256 << 10;
/// Bytes of a URL.
const URL_BYTES_MAX: usize = 8 << 10;

/// Why no request can be made of these values.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum Unfit {
    /// The body became too large.
    #[error("the request's body is over {BODY_BYTES_MAX} bytes; say less")]
    Body,
    /// A value has no place in a header: it holds a line break, or something else than printable ASCII.
    #[error("the value of header `{0}` holds a line break or something else than printable ASCII")]
    Header(String),
    /// A secret was not given yet.
    #[error("the secret `{0}` is not set; give it with `connector.set_secret`")]
    MissingSecret(String),
    /// A segment of a path would be empty, `.` or `..`.
    #[error("a value makes a segment of the path empty or a step (`.`, `..`)")]
    Segment,
    /// The signing secret is not one.
    #[error("the signing secret is not `whsec_` and base64")]
    SigningSecret,
    /// Not an address.
    #[error("`{0}` is not an address to send to; write https://HOST/PATH without user, password and fragment")]
    Url(String),
}

/// A request as people see it.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// The method.
    pub method: String,
    /// The address.
    pub url: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Shown {
    /// A request made with [`Secrets::Blank`].
    #[must_use]
    pub fn of(request: &http::Request<Bytes>) -> Self {
        let header = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Self {
            method: request.method().to_string(),
            url: request.uri().to_string(),
            headers: request.headers().iter().map(|(name, value)| (name.to_string(), header(value))).collect(),
            body: String::from_utf8_lossy(request.body()).into_owned(),
        }
    }
}

/// An address in its parts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Address {
    /// `https://host` or with a port.
    pub(crate) origin: String,
    /// Host, and port where it is not the scheme's own.
    pub(crate) authority: String,
    path: String,
    query: String,
}

impl Address {
    /// Take an address apart.
    pub(crate) fn read(text: &str) -> Result<Self, Unfit> {
        let wrong = || Unfit::Url(text.chars().take(200).collect());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https")).ok_or_else(wrong)?;
        let authority = uri.authority().map(|authority| authority.as_str().to_ascii_lowercase()).ok_or_else(wrong)?;
        if authority.contains('@') || text.contains('#') || uri.host().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        let own = if scheme == "https" { ":443" } else { ":80" };
        let authority = authority.strip_suffix(own).unwrap_or(&authority).to_owned();
        let path = if uri.path() == "/" { "" } else { uri.path() };
        Ok(Self {
            origin: format!("{scheme}://{authority}"),
            authority,
            path: path.to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
        })
    }
}

/// A text as one piece of a URL: everything but RFC 3986's unreserved characters is percent-encoded.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing into a text cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn pairs<'a>(all: impl IntoIterator<Item = (&'a String, &'a Template)>, values: &Values) -> Result<String, Unfit> {
    let mut joined: Vec<String> = Vec::new();
    for (name, template) in all {
        if let Some(text) = template.text(values)? {
            joined.push(format!("{}={}", encoded(name), encoded(&text)));
        }
    }
    Ok(joined.join("&"))
}

fn header_fit(name: &str, value: &str) -> Result<(), Unfit> {
    let fits = value.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) && value.len() <= 8192;
    if fits { Ok(()) } else { Err(Unfit::Header(name.to_owned())) }
}

impl Request {
    fn address(&self, values: &Values) -> Result<(Address, String, String), Unfit> {
        let url = self.url.text(values)?.unwrap_or_default();
        let address = Address::read(&url)?;
        let mut path = address.path.clone();
        for segment in self.path.iter().flat_map(|path| path.split('/')).filter(|segment| !segment.is_empty()) {
            // The reader of the document has judged it already.
            let template = Template::read(segment).map_err(|_| Unfit::Segment)?;
            let text = template.text(values)?.unwrap_or_default();
            if matches!(text.as_str(), "" | "." | "..") {
                return Err(Unfit::Segment);
            }
            path.push('/');
            path.push_str(&encoded(&text));
        }
        if path.is_empty() {
            path.push('/');
        }
        let more = pairs(&self.query, values)?;
        let query = [address.query.clone(), more].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let query = query.join("&");
        Ok((address, path, query))
    }

    /// The request with these values. `key` is the idempotency key with the header that carries it.
    ///
    /// # Errors
    /// [`Unfit`] where a value has no place where it would stand.
    pub fn make(&self, auth: &Auth, key: Option<(&str, &str)>, values: &Values) -> Result<http::Request<Bytes>, Unfit> {
        let (address, path, query) = self.address(values)?;
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, template) in &self.headers {
            if let Some(text) = template.text(values)? {
                headers.push((name.to_ascii_lowercase(), text));
            }
        }
        let mut body = String::new();
        if let Some(json) = &self.json {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
            body = json.json(values)?.unwrap_or_default().to_string();
        } else if let Some(form) = &self.form {
            headers.push(("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
            body = pairs(form, values)?;
        }
        if body.len() > BODY_BYTES_MAX {
            return Err(Unfit::Body);
        }
        headers.extend(key.map(|(name, key)| (name.to_ascii_lowercase(), key.to_owned())));
        let signable = Signable {
            method: self.method.as_str(),
            host: &address.authority,
            path: &path,
            query: &query,
            body: body.as_bytes(),
        };
        let shown = authentication(auth, &signable, &headers, values)?;
        headers.extend(shown);
        let query = if query.is_empty() { query } else { format!("?{query}") };
        let url = format!("{}{path}{query}", address.origin);
        if url.len() > URL_BYTES_MAX {
            return Err(Unfit::Url(url.chars().take(200).collect()));
        }
        let mut request = http::Request::builder().method(self.method.as_str()).uri(&url);
        for (name, value) in &headers {
            header_fit(name, value)?;
            request = request.header(name.as_str(), value.as_str());
        }
        request.body(Bytes::from(body)).map_err(|_| Unfit::Url(url.chars().take(200).collect()))
    }
}

fn text(template: &Template, values: &Values) -> Result<String, Unfit> {
    Ok(template.text(values)?.unwrap_or_default())
}

/// The headers that show who the connector is.
fn authentication(
    auth: &Auth,
    signable: &Signable<'_>,
    headers: &[(String, String)],
    values: &Values,
) -> Result<Vec<(String, String)>, Unfit> {
    let blank = matches!(values.secrets, Secrets::Blank);
    let own = |name: &str, value: String| vec![(name.to_owned(), value)];
    Ok(match auth {
        Auth::None => Vec::new(),
        Auth::Bearer { token } => own("authorization", format!("Bearer {}", text(token, values)?)),
        Auth::Header { name, value } => own(&name.to_ascii_lowercase(), text(value, values)?),
        Auth::Basic { .. } if blank => own("authorization", format!("Basic {BLANK}")),
        Auth::Basic { user, password } => {
            let pair = format!("{}:{}", text(user, values)?, text(password, values)?);
            own("authorization", format!("Basic {}", STANDARD.encode(pair)))
        }
        Auth::StandardWebhooks { secret } => {
            let (id, at) = (values.facts.id.to_string(), values.facts.time.as_micros().div_euclid(1_000_000));
            let signature = if blank {
                format!("v1,{BLANK}")
            } else {
                let key = standard_webhooks_key(&text(secret, values)?).ok_or(Unfit::SigningSecret)?;
                standard_webhooks_signature(&key, &id, at, signable.body)
            };
            vec![
                ("webhook-id".to_owned(), id),
                ("webhook-timestamp".to_owned(), at.to_string()),
                ("webhook-signature".to_owned(), signature),
            ]
        }
        Auth::AwsSigv4 { .. } if blank => own("authorization", format!("AWS4-HMAC-SHA256 {BLANK}")),
        Auth::AwsSigv4 { access_key_id, secret_access_key, session_token, region, service } => {
            let token = session_token.as_ref().map(|token| token.text(values)).transpose();
            let credentials = Credentials {
                access_key_id: text(access_key_id, values)?,
                secret_access_key: text(secret_access_key, values)?,
                // An optional token that was not given is no token.
                session_token: token.unwrap_or_default().flatten(),
                region: text(region, values)?,
                service: text(service, values)?,
            };
            sign(signable, headers, &credentials, values.facts.time)
        }
    })
}

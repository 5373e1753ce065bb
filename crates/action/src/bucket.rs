//! Reading a prefix of an object store that speaks the S3 API: list it (ListObjectsV2), get an object (GetObject). Signed where
//! there is a key, through `egress` and never past it. Must never write there, and never follow a redirect.

use crate::outgoing::encoded;
use crate::sigv4::{Credentials, Signable, sign};
use crate::wire::place;
use crate::xml;
use bytes::Bytes;
use egress::{Client, Failure, Policy};
use http::Uri;
use ids::Timestamp;
use seal::Digest;
use serde_json::Value;
use std::time::Duration;
use thiserror::Error;

/// Objects of one page.
const PAGE: u32 = 1000;
/// Bytes of a page: a thousand keys of a kibibyte each, with what stands around them.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// How long one page may take.
const PAGE_TIME: Duration = Duration::from_secs(60);
/// How long one object may take.
const OBJECT_TIME: Duration = Duration::from_secs(120);
/// Characters of a key.
const KEY_CHARS_MAX: usize = 1024;

/// Why a bucket cannot be read.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum BucketError {
    /// The object is not there any more, or is another one now.
    #[error("the object is gone or was replaced since it was listed")]
    Changed,
    /// The endpoint is none.
    #[error("`{0}` is no endpoint; write https://HOST without a path")]
    Endpoint(String),
    /// What came is no answer of this API.
    #[error("the endpoint answered something that is not of the S3 API: {0}")]
    Form(String),
    /// Nothing came, or too much.
    #[error("{0}")]
    NoAnswer(#[from] Failure),
    /// The store says no.
    #[error("the object store answered {status} {code}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its word for it, for example `AccessDenied`.
        code: String,
    },
    /// It took too long.
    #[error("the object store took longer than {} s", .0.as_secs())]
    Slow(Duration),
}

/// An object as a page lists it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its entity tag, without quotes: another content has another one.
    pub etag: String,
    /// Its size.
    pub bytes: u64,
}

/// One page of a listing, in the order of keys.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Listed {
    /// Its objects.
    pub objects: Vec<Object>,
    /// Where the next page begins; none behind the last.
    pub next: Option<String>,
}

/// A bucket to read from.
#[derive(Clone)]
pub struct Bucket {
    client: Client,
    origin: String,
    authority: String,
    bucket: String,
    credentials: Option<Credentials>,
}

impl Bucket {
    /// A bucket behind an endpoint, by its path (`https://HOST/BUCKET`). `inside` are the `HOST` or `HOST:PORT` of the
    /// server's setting: only they may be spoken to without TLS, or lead to an address that is not public.
    ///
    /// # Errors
    /// [`BucketError::Endpoint`], or [`BucketError::NoAnswer`] where the endpoint may not be spoken to.
    pub fn at(
        endpoint: &str,
        bucket: &str,
        credentials: Option<Credentials>,
        inside: &[String],
        object_bytes_max: usize,
    ) -> Result<Self, BucketError> {
        let wrong = || BucketError::Endpoint(endpoint.chars().take(200).collect());
        let uri: Uri = endpoint.parse().map_err(|_| wrong())?;
        let authority = uri.authority().map(|authority| authority.as_str().to_ascii_lowercase()).ok_or_else(wrong)?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https")).ok_or_else(wrong)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || authority.contains('@') || endpoint.contains('#')
        {
            return Err(wrong());
        }
        let own = if scheme == "https" { ":443" } else { ":80" };
        let authority = authority.strip_suffix(own).unwrap_or(&authority).to_owned();
        let policy = Policy {
            body_bytes_max: object_bytes_max.max(PAGE_BYTES_MAX),
            ..Policy::to(vec![place(endpoint, inside)?])
        };
        Ok(Self {
            client: Client::new(policy)?,
            origin: format!("{scheme}://{authority}"),
            authority,
            bucket: bucket.to_owned(),
            credentials,
        })
    }

    /// One page of the objects whose keys begin with a prefix; `after` is an earlier page's `next`.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn list(&self, prefix: &str, after: Option<&str>, now: Timestamp) -> Result<Listed, BucketError> {
        let mut query = vec![("encoding-type", "url".to_owned()), ("list-type", "2".to_owned())];
        query.push(("max-keys", PAGE.to_string()));
        query.push(("prefix", prefix.to_owned()));
        query.extend(after.map(|after| ("continuation-token", after.to_owned())));
        query.sort();
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let answer = self.ask(&format!("/{}", self.bucket), &query.join("&"), None, PAGE_TIME, now).await?;
        let text = std::str::from_utf8(&answer).map_err(|_| BucketError::Form("no UTF-8".to_owned()))?;
        listed(text)
    }

    /// An object as it was listed.
    ///
    /// # Errors
    /// [`BucketError`]; [`BucketError::Changed`] where it is not that one any more.
    pub async fn get(&self, object: &Object, now: Timestamp) -> Result<Bytes, BucketError> {
        // Whoever reads an address takes such a step, and ends elsewhere.
        if object.key.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(BucketError::Form("a key with a step (`.`, `..`) in it, which no address can hold".to_owned()));
        }
        let path = format!("/{}/{}", self.bucket, object.key);
        self.ask(&path, "", Some(&object.etag), OBJECT_TIME, now).await
    }

    /// Send a signed GET; `path` without escapes, `query` with them.
    async fn ask(
        &self,
        path: &str,
        query: &str,
        only: Option<&str>,
        patience: Duration,
        now: Timestamp,
    ) -> Result<Bytes, BucketError> {
        let mut headers = vec![("x-amz-content-sha256".to_owned(), Digest::of(b"").to_hex())];
        headers.extend(only.map(|etag| ("if-match".to_owned(), format!("\"{etag}\""))));
        if let Some(credentials) = &self.credentials {
            // S3 signs the path encoded once: what is given here is encoded by the signing alone.
            let signable = Signable { method: "GET", host: &self.authority, path, query, body: b"" };
            let added = sign(&signable, &headers, credentials, now);
            headers.extend(added);
        }
        let sent: Vec<String> = path.split('/').map(encoded).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let mut request = http::Request::get(format!("{}{}{mark}{query}", self.origin, sent.join("/")));
        for (name, value) in &headers {
            request = request.header(name.as_str(), value.as_str());
        }
        let request = request.body(Bytes::new()).map_err(|error| BucketError::Form(error.to_string()))?;
        let answered = tokio::time::timeout(patience, self.client.send(request)).await;
        let response = answered.map_err(|_| BucketError::Slow(patience))??;
        match response.status().as_u16() {
            200 => Ok(response.into_body()),
            404 | 412 if only.is_some() => Err(BucketError::Changed),
            status => {
                let text = String::from_utf8_lossy(response.body()).into_owned();
                let told = xml::read(&text).ok();
                let code = told.as_ref().and_then(|told| told.pointer("/Error/Code")?.as_str()).unwrap_or_default();
                Err(BucketError::Refused { status, code: code.chars().take(64).collect() })
            }
        }
    }
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("origin", &self.origin).field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

/// Read a page.
fn listed(text: &str) -> Result<Listed, BucketError> {
    let form = |why: &str| BucketError::Form(why.to_owned());
    let read = xml::read(text).map_err(|error| BucketError::Form(format!("a listing that {error}")))?;
    let page = read.get("ListBucketResult").ok_or_else(|| form("no `ListBucketResult`"))?;
    let word = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let escaped = word(page, "EncodingType").as_deref() == Some("url");
    let object = |one: &Value| {
        let key = word(one, "Key").ok_or_else(|| form("an object without a key"))?;
        let key = if escaped { decoded(&key) } else { key };
        let etag = word(one, "ETag").ok_or_else(|| form("an object without an entity tag"))?;
        let etag = etag.trim_matches('"').to_owned();
        // It goes into a header.
        if key.chars().count() > KEY_CHARS_MAX || etag.len() > 256 || !etag.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(form("an object whose key or entity tag is none"));
        }
        let bytes = word(one, "Size").and_then(|size| size.parse().ok()).ok_or_else(|| form("an object of no size"))?;
        Ok(Object { key, etag, bytes })
    };
    let objects = match page.get("Contents") {
        None => Vec::new(),
        Some(Value::Array(all)) => all.iter().map(object).collect::<Result<_, _>>()?,
        Some(one) => vec![object(one)?],
    };
    let more = word(page, "IsTruncated").as_deref() == Some("true");
    let next = word(page, "NextContinuationToken").filter(|_| more);
    if more && next.is_none() {
        return Err(form("a page with more behind it, and no way there"));
    }
    Ok(Listed { objects, next })
}

/// A key without its escapes, as forms write them.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let mut digit = || char::from(ahead.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pair = if byte == b'%' { digit().zip(digit()) } else { None };
        match pair {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = ahead;
            }
            None if byte == b'+' => bytes.push(b' '),
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(inside: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inside}</ListBucketResult>"
        )
    }

    const ONE: &str = "<Contents><Key>a%2Fb+c.gz</Key><ETag>&quot;d41d&quot;</ETag><Size>12</Size></Contents>";

    #[test]
    fn pages_are_read() {
        let object = |key: &str| Object { key: key.to_owned(), etag: "d41d".to_owned(), bytes: 12 };
        assert_eq!(listed(&page("<IsTruncated>false</IsTruncated>")).unwrap(), Listed::default());
        let one = listed(&page(ONE)).unwrap();
        assert_eq!(one.objects, [object("a%2Fb+c.gz")]);
        let two = format!(
            "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>t/1</NextContinuationToken>{ONE}{ONE}"
        );
        let two = listed(&page(&two)).unwrap();
        assert_eq!((two.objects, two.next.as_deref()), (vec![object("a/b c.gz"); 2], Some("t/1")));
    }

    #[test]
    fn what_is_no_page_is_said() {
        let escape = "<Contents><Key>a</Key><ETag>x\r\ny</ETag><Size>1</Size></Contents>";
        for text in ["", "<html/>", &page("<Contents/>"), &page(escape), &page("<IsTruncated>true</IsTruncated>")] {
            assert!(matches!(listed(text), Err(BucketError::Form(_))), "{text}");
        }
    }

    #[test]
    fn an_endpoint_is_a_host_and_is_judged() {
        let at = |endpoint: &str, inside: &[String]| Bucket::at(endpoint, "b", None, inside, 1).map(|_| ());
        assert_eq!(at("https://s3.eu-central-1.amazonaws.com", &[]), Ok(()));
        let local = ["127.0.0.1:9000".to_owned()];
        assert_eq!(at("http://127.0.0.1:9000", &local), Ok(()));
        assert!(matches!(at("http://127.0.0.1:9000", &[]), Err(BucketError::NoAnswer(Failure::NotAllowed { .. }))));
        for wrong in ["https://s3.example.com/path", "s3.example.com", "https://a@s3.example.com", "file:///etc", ""] {
            assert!(matches!(at(wrong, &local), Err(BucketError::Endpoint(_))), "{wrong}");
        }
    }
}

//! From an HTTP request to the parts of a call. Reads strictly: what two readers could take differently is refused.
//! Judges nothing about the caller.

use crate::route::percent_decoded;
use api::openapi::{IDEMPOTENCY_KEY_CHARS_MAX, IF_MATCH_FIELD};
use api::{Credential, Fault, JsonLimits, Problem, ProblemKind, Spec};
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};

/// The header that carries the caller's key for safe retries.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

fn malformed(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::Malformed, detail)
}

/// The one value of a header; two are refused, because which one counts would be anyone's guess.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value
            .to_str()
            .map(Some)
            .map_err(|_| malformed(format!("the header `{name}` holds more than visible ASCII characters"))),
        (Some(_), Some(_)) => Err(malformed(format!("the header `{name}` stands twice; send it once"))),
    }
}

/// The bearer credential, where one is presented.
pub(crate) fn credential(headers: &HeaderMap) -> Result<Option<Credential>, Problem> {
    let wrong = |detail: &str| Problem::new(ProblemKind::Unauthenticated, detail);
    let Some(value) = single(headers, &header::AUTHORIZATION).map_err(|problem| wrong(&problem.detail))? else {
        return Ok(None);
    };
    let token = value
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty() && token.len() <= 4096 && token.bytes().all(|byte| byte.is_ascii_graphic()));
    token.map(|token| Some(Credential::new(token.to_owned()))).ok_or_else(|| {
        wrong("the header `Authorization` is not `Bearer` and one token; other schemes are not supported")
    })
}

/// The caller's key for safe retries.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = single(headers, &IDEMPOTENCY_KEY)? else { return Ok(None) };
    idempotency_key_text(key, "/Idempotency-Key").map(Some)
}

/// A key for safe retries from any face, judged at `pointer`.
pub(crate) fn idempotency_key_text(key: &str, pointer: &str) -> Result<String, Problem> {
    let fits = (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        return Ok(key.to_owned());
    }
    let detail = format!("is not an idempotency key; write 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters");
    Err(Problem { errors: vec![Fault { pointer: pointer.to_owned(), detail: detail.clone() }], ..malformed(detail) })
}

/// The client's name for itself, at most 256 characters; shown, never trusted.
pub(crate) fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(256).collect())
}

/// The trace id of a W3C `traceparent`, for the log alone.
pub(crate) fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get("traceparent")?.to_str().ok()?.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// Whether the caller takes JSON; without an `Accept` it takes anything.
pub(crate) fn accepts_json(headers: &HeaderMap) -> bool {
    let mut ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if ranges.peek().is_none() {
        return true;
    }
    ranges.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = parts.filter_map(|part| part.strip_prefix("q=")).any(|weight| weight.parse() == Ok(0.0_f32));
        let fits = matches!(kind.as_str(), "*/*" | "application/*" | "application/json" | "application/problem+json");
        fits && !refused
    })
}

/// The whole body, within the bound.
pub(crate) async fn body_bytes(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(ProblemKind::PayloadTooLarge, format!("a body may be at most {bytes_max} bytes long"));
    let declared = single(headers, &header::CONTENT_LENGTH)?.and_then(|text| text.parse::<u64>().ok());
    if declared.is_some_and(|length| u64::try_from(bytes_max).is_ok_and(|bound| length > bound)) {
        return Err(too_large());
    }
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(malformed("the body ended before its length")),
    }
}

/// Refuse a body whose type or coding is not plain JSON.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported = |detail: &str| Problem::new(ProblemKind::UnsupportedMediaType, detail);
    if single(headers, &header::CONTENT_ENCODING)?.is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(unsupported("the header `Content-Encoding` is not `identity`; send the body uncompressed"));
    }
    let given = single(headers, &header::CONTENT_TYPE)?.unwrap_or_default();
    let mut parts = given.split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.all(|part| match part.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    if json && utf8 { Ok(()) } else { Err(unsupported("the header `Content-Type` is not `application/json` in UTF-8")) }
}

/// The parts of a request from which an input is built.
pub(crate) struct Parts<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) path_fields: Vec<(&'static str, String)>,
    pub(crate) query: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

/// The input as one object. Each field has one place; a field elsewhere is a fault, and all faults come at once.
pub(crate) fn input(spec: &Spec, parts: Parts<'_>) -> Result<Value, Problem> {
    let mut fields = Map::new();
    let mut faults = Vec::new();
    if spec.meta.method.has_body() {
        if !parts.body.is_empty() {
            require_json(parts.headers)?;
        }
        match api::parse_json(parts.body, JsonLimits::default())? {
            Value::Object(body) => fields = body,
            _ => faults.push(Fault { pointer: String::new(), detail: "is not a JSON object; send one".to_owned() }),
        }
    } else if !parts.body.is_empty() {
        return Err(malformed("this route takes no body; send the input in the path and the query"));
    }
    for (name, texts) in query_texts(parts.query)? {
        let known = !spec.meta.method.has_body() && spec.fields().any(|(field, _)| field == name);
        if known {
            fields.insert(name.clone(), spec.field_value(&name, &texts));
        } else {
            let detail = "is not a query parameter of this route; leave it out".to_owned();
            faults.push(Fault { pointer: pointer(&name), detail });
        }
    }
    for (name, text) in parts.path_fields {
        if fields.insert(name.to_owned(), spec.field_value(name, &[text])).is_some() {
            let detail = "is given in the path; give it nowhere else".to_owned();
            faults.push(Fault { pointer: pointer(name), detail });
        }
    }
    precondition(spec, parts.headers, &mut fields, &mut faults)?;
    let input = Value::Object(fields);
    if faults.is_empty() {
        return Ok(input);
    }
    if let Err(more) = spec.validate(&input) {
        let new: Vec<Fault> =
            more.errors.into_iter().filter(|fault| faults.iter().all(|old| old.pointer != fault.pointer)).collect();
        faults.extend(new);
    }
    Err(Problem::invalid(faults))
}

/// `If-Match` becomes the field `if_match`. Where the operation has none, the condition could not be kept, so the
/// request is refused rather than carried out without it.
fn precondition(
    spec: &Spec,
    headers: &HeaderMap,
    fields: &mut Map<String, Value>,
    faults: &mut Vec<Fault>,
) -> Result<(), Problem> {
    let known = spec.fields().any(|(field, _)| field == IF_MATCH_FIELD);
    if known && fields.remove(IF_MATCH_FIELD).is_some() {
        let detail = "is given as the header `If-Match` on this face; give it there".to_owned();
        faults.push(Fault { pointer: pointer(IF_MATCH_FIELD), detail });
    }
    match single(headers, &header::IF_MATCH)? {
        // `*` asks only that the object exists, which every change of an object asks anyway.
        None | Some("*") => {}
        Some(tag) if known => {
            fields.insert(IF_MATCH_FIELD.to_owned(), Value::String(tag.to_owned()));
        }
        Some(_) => {
            let detail = "is a condition that this operation cannot keep; leave out the header `If-Match`".to_owned();
            faults.push(Fault { pointer: pointer(IF_MATCH_FIELD), detail });
        }
    }
    Ok(())
}

/// The texts of each query parameter, in the order of their first appearance.
fn query_texts(query: Option<&str>) -> Result<Vec<(String, Vec<String>)>, Problem> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        let read = |text: &str| {
            percent_decoded(&text.replace('+', "%20"))
                .ok_or_else(|| malformed("the query is not UTF-8 behind its percent signs"))
        };
        let (name, text) = (read(name)?, read(text)?);
        let full = all.len() >= 64;
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, texts)) => texts.push(text),
            None if full => return Err(malformed("the query has more than 64 parameters")),
            None => all.push((name, vec![text])),
        }
    }
    Ok(all)
}

/// The JSON pointer of a top-level field.
fn pointer(name: &str) -> String {
    let short: String = name.chars().take(128).collect();
    format!("/{}", short.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_bearer_token_is_a_credential() {
        for (values, wanted) in [
            (vec![], Some(None)),
            (vec!["Bearer abc"], Some(Some("abc"))),
            (vec!["bearer abc"], Some(Some("abc"))),
            (vec!["Bearer "], None),
            (vec!["Bearer a b"], None),
            (vec!["Basic abc"], None),
            (vec!["Bearer abc", "Bearer def"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            let got = credential(&headers).ok().map(|some| some.map(|one| one.reveal().to_owned()));
            assert_eq!(got, wanted.map(|some| some.map(str::to_owned)), "{values:?}");
        }
    }

    #[test]
    fn accept_is_read_with_its_weights() {
        for (value, wanted) in [
            ("*/*", true),
            ("text/html, application/json;q=0.5", true),
            ("application/json;q=0", false),
            ("text/html", false),
            ("application/problem+json", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, value.parse().unwrap());
            assert_eq!(accepts_json(&headers), wanted, "{value}");
        }
    }
}

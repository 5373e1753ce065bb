//! The shippers' routes: which protocol a path speaks, where its key stands, and the answer in the protocol's own shape.
//! Reads no body: the intake does, once it found the key good.

use crate::face::Shared;
use crate::http_face::Seen;
use crate::response;
use crate::route::percent_decoded;
use api::{BodyFault, Credential, Delivered, Future, IngestBody, IngestRequest, Problem, Protocol};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

/// The headers that protocols read.
const HEADERS: [&str; 6] =
    ["accept", "content-encoding", "content-type", "idempotency-key", "user-agent", "x-splunk-request-channel"];
/// Query parameters of one request at most.
const PARAMETERS_MAX: usize = 64;

/// A shipper's route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Route {
    /// Whether HEC is well: asked without a key.
    HecHealth,
    /// A delivery, or a question that its client asks before.
    Delivery {
        /// How it speaks.
        protocol: Protocol,
        /// The source that the path names.
        source: Option<String>,
        /// What follows in the path.
        path: String,
    },
}

impl Route {
    /// The route of a method and path; none where it is no shipper's.
    pub(crate) fn at(method: &Method, path: &str) -> Option<Self> {
        let delivery = |protocol, path: &str| Some(Self::Delivery { protocol, source: None, path: path.to_owned() });
        if let Some(rest) = path.strip_prefix("/v1/ingest/") {
            return Self::of_source(method, rest);
        }
        if let Some(rest) = path.strip_prefix("/services/collector") {
            return match rest.strip_suffix("/1.0").unwrap_or(rest) {
                "" | "/" | "/event" => delivery(Protocol::HecEvents, ""),
                "/raw" => delivery(Protocol::HecRaw, ""),
                "/ack" => delivery(Protocol::HecAcks, ""),
                "/health" => Some(Self::HecHealth),
                _ => None,
            };
        }
        if path == "/v1/logs" {
            return delivery(Protocol::OtlpLogs, "");
        }
        let looks = matches!(*method, Method::GET | Method::HEAD);
        // Elasticsearch's own paths begin with `_`; an index stands before `_bulk` only.
        let elastic = (path == "/" && looks) || path.starts_with("/_") || path.ends_with("/_bulk");
        if elastic { delivery(Protocol::Bulk, path) } else { None }
    }

    fn of_source(method: &Method, rest: &str) -> Option<Self> {
        let (source, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
        let source = percent_decoded(source).filter(|name| !name.is_empty() && name.len() <= 64)?;
        let posted = *method == Method::POST || *method == Method::PUT;
        let (protocol, path) = match path {
            "" if posted => (Protocol::Ndjson, ""),
            "" | "/" => (Protocol::Bulk, "/"),
            "/v1/logs" => (Protocol::OtlpLogs, ""),
            other => (Protocol::Bulk, other),
        };
        Some(Self::Delivery { protocol, source: Some(source), path: path.to_owned() })
    }

    /// The route's name in log and metrics.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::HecHealth => "ingest_hec_health",
            Self::Delivery { protocol, .. } => match protocol {
                Protocol::Bulk => "ingest_bulk",
                Protocol::HecAcks | Protocol::HecEvents | Protocol::HecRaw => "ingest_hec",
                Protocol::Ndjson => "ingest_ndjson",
                Protocol::OtlpLogs => "ingest_otlp",
            },
        }
    }
}

/// The key in a shipper's `Authorization`: `Bearer`, `Splunk`, `ApiKey` (bare or `id:key` in base64) or the password of
/// `Basic`. Two headers are none: which one counts would be anyone's guess.
fn key_of(headers: &HeaderMap) -> Option<Credential> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    let coded = || {
        let text = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        text.split_once(':').map(|(_, key)| key.to_owned())
    };
    let key = match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "splunk" => Some(rest.to_owned()),
        "apikey" => coded().or_else(|| Some(rest.to_owned())),
        "basic" => coded(),
        _ => None,
    };
    key.filter(|key| !key.is_empty() && key.len() <= 4096).map(Credential::new)
}

/// The query, decoded; what cannot be decoded is left out, as these protocols' servers do.
fn parameters(query: Option<&str>) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((percent_decoded(&name.replace('+', " "))?, percent_decoded(&value.replace('+', " "))?))
    };
    query.unwrap_or_default().split('&').filter(|text| !text.is_empty()).filter_map(pair).take(PARAMETERS_MAX).collect()
}

struct Incoming(Body);

impl IngestBody for Incoming {
    fn read(self: Box<Self>, bytes_max: u64) -> Future<'static, Result<Vec<u8>, BodyFault>> {
        Box::pin(async move {
            let limit = usize::try_from(bytes_max).unwrap_or(usize::MAX);
            match Limited::new(self.0, limit).collect().await {
                Ok(collected) => Ok(collected.to_bytes().into()),
                Err(error) if error.is::<LengthLimitError>() => Err(BodyFault::TooLarge),
                Err(_) => Err(BodyFault::Broken),
            }
        })
    }
}

/// Hand one request to the intake; its answer.
pub(crate) async fn answer(
    shared: &Shared,
    seen: &Seen,
    request: Request<Body>,
    route: Route,
) -> Result<Response<Body>, Problem> {
    let permit = shared.permit()?;
    let door = shared.door.clone();
    let (head, body) = request.into_parts();
    let (protocol, source, path) = match route {
        Route::HecHealth => return Ok(rendered(door.intake().ok_or_else(Problem::internal)?.hec_health())),
        Route::Delivery { protocol, source, path } => (protocol, source, path),
    };
    let text = |name: &'static str| Some((name, head.headers.get(name)?.to_str().ok()?.to_owned()));
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let ask = IngestRequest {
        protocol,
        source,
        credential: key_of(&head.headers),
        method: head.method.as_str().to_owned(),
        path,
        query: parameters(head.uri.query()),
        headers: HEADERS.into_iter().filter_map(text).collect(),
        peer: seen.peer.map(|peer| peer.address.ip()),
        content_length: length,
    };
    // In a task of its own: a shipper that hangs up does not undo what is durable, so it is counted too.
    let running = shared.tasks.spawn(async move {
        let answer = match door.intake() {
            Some(intake) => Some(intake.ingest(ask, Box::new(Incoming(body))).await),
            None => None,
        };
        drop(permit);
        answer
    });
    match running.await {
        Ok(Some(delivered)) => Ok(rendered(delivered)),
        Ok(None) => Err(Problem::internal()),
        Err(error) => {
            tracing::error!(request_id = %seen.request_id, %error, "a delivery panicked");
            Err(Problem::internal())
        }
    }
}

fn rendered(delivered: Delivered) -> Response<Body> {
    let mut response = Response::new(Body::from(delivered.body));
    *response.status_mut() = StatusCode::from_u16(delivered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if !delivered.content_type.is_empty() {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(delivered.content_type));
    }
    for (name, value) in delivered.headers {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            response::set(response.headers_mut(), name, &value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_which_protocol_it_speaks() {
        let at = |method: &str, path: &str| match Route::at(&method.parse().unwrap(), path) {
            None => "-".to_owned(),
            Some(Route::HecHealth) => "health".to_owned(),
            Some(Route::Delivery { protocol, source, path }) => {
                format!("{} {} {path}", protocol.as_str(), source.unwrap_or_default())
            }
        };
        for (method, path, wanted) in [
            ("POST", "/v1/ingest/web", "ndjson web "),
            ("POST", "/v1/ingest/web%20x", "ndjson web x "),
            ("GET", "/v1/ingest/web", "bulk web /"),
            ("POST", "/v1/ingest/web/_bulk", "bulk web /_bulk"),
            ("PUT", "/v1/ingest/web/logs-1/_bulk", "bulk web /logs-1/_bulk"),
            ("POST", "/v1/ingest/web/v1/logs", "otlp_logs web "),
            ("POST", "/v1/ingest/", "-"),
            ("POST", "/_bulk", "bulk  /_bulk"),
            ("GET", "/", "bulk  /"),
            ("POST", "/", "-"),
            ("GET", "/_license", "bulk  /_license"),
            ("POST", "/services/collector", "hec_events  "),
            ("POST", "/services/collector/event/1.0", "hec_events  "),
            ("POST", "/services/collector/raw", "hec_raw  "),
            ("POST", "/services/collector/ack", "hec_acks  "),
            ("GET", "/services/collector/health", "health"),
            ("POST", "/services/collector/other", "-"),
            ("POST", "/v1/logs", "otlp_logs  "),
            ("POST", "/v1/tenants", "-"),
        ] {
            assert_eq!(at(method, path), wanted, "{method} {path}");
        }
    }

    #[test]
    fn a_key_is_found_where_its_protocol_puts_it() {
        let basic = STANDARD.encode("elastic:k1");
        for (values, wanted) in [
            (vec!["Bearer k1".to_owned()], Some("k1")),
            (vec!["Splunk k1".to_owned()], Some("k1")),
            (vec!["ApiKey k1_not_base64".to_owned()], Some("k1_not_base64")),
            (vec![format!("ApiKey {basic}")], Some("k1")),
            (vec![format!("Basic {basic}")], Some("k1")),
            (vec!["Basic k1".to_owned()], None),
            (vec!["Digest k1".to_owned()], None),
            (vec!["Bearer k1".to_owned(), "Bearer k2".to_owned()], None),
            (vec![], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(key_of(&headers).as_ref().map(Credential::reveal), wanted, "{values:?}");
        }
    }
}

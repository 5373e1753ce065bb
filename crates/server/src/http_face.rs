//! The REST face: one fallback for every route. It names the operation from method and path, builds the call, and
//! renders the answer; the head of every answer, and every error, is made here.

use crate::exempt::{Exempt, METADATA_PATH};
use crate::face::{Observed, Shared, timed_out};
use crate::host::HostFault;
use crate::ingest;
use crate::mcp::McpFace;
use crate::oauth;
use crate::request::{self, Parts};
use crate::response;
use crate::route::Found;
use crate::tail;
use api::{Attempt, Call, Face, Method, Origin, Problem, ProblemKind};
use axum::body::Body;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

/// The path of the Model Context Protocol.
const MCP_PATH: &str = "/mcp";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RATE_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");

/// The state of the fallback route.
#[derive(Clone)]
pub(crate) struct Faces {
    pub(crate) shared: Arc<Shared>,
    pub(crate) mcp: Arc<McpFace>,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
}

/// What is known of a request before anything of it is believed.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) peer: Option<Peer>,
    pub(crate) request_id: String,
    /// How the caller reaches the server: the configured address, or the admitted host.
    pub(crate) base_url: String,
    /// Calls per second that one principal may make.
    pub(crate) calls_per_second: u32,
}

impl Seen {
    pub(crate) fn origin(&self, headers: &HeaderMap, face: Face) -> Origin {
        Origin {
            face,
            address: self.peer.map(|peer| peer.address.ip()),
            user_agent: request::user_agent(headers),
            request_id: self.request_id.clone(),
        }
    }
}

/// Answer one request.
pub(crate) async fn answer(faces: Faces, request: Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let shared = &faces.shared;
    let peer = request.extensions().get::<Peer>().copied();
    let head = request.method() == http::Method::HEAD;
    let method = method_label(request.method());
    let trace_id = request::trace_id(request.headers()).unwrap_or("-").to_owned();
    let bearer_given = request.headers().contains_key(header::AUTHORIZATION);
    let of_mcp = request.uri().path() == MCP_PATH;
    let seen = Seen {
        peer,
        request_id: shared.request_id(),
        base_url: base_url(shared, peer, &request),
        calls_per_second: shared.config.calls_per_second,
    };
    // Kept for the record of a request that is refused before it becomes a call.
    let credential = request::credential(request.headers()).ok().flatten();
    let origin = seen.origin(request.headers(), Face::Rest);

    let mut route = "-";
    let work = AssertUnwindSafe(dispatch(&faces, &seen, request, &mut route)).catch_unwind();
    let outcome = tokio::time::timeout(shared.config.limits.request_timeout, work).await;
    let mut response = match outcome {
        Ok(Ok(Ok(response))) => response,
        Ok(Ok(Err(refusal))) => {
            let refusal = put_on_record(shared, refusal, credential, origin).await;
            refused(&refusal, &seen)
        }
        Ok(Err(_)) => {
            tracing::error!(request_id = %seen.request_id, route, "a request panicked");
            refused(&Refusal::from(Problem::internal()), &seen)
        }
        Err(_) => refused(&Refusal::from(timed_out()), &seen),
    };
    finish_head(&mut response, &seen, of_mcp, bearer_given);
    if head {
        strip_body(&mut response);
    }
    let status = response.status().as_u16();
    let duration = started.elapsed();
    let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    tracing::info!(target: "posse::access", method, route, status, duration_us, request_id = %seen.request_id, trace_id, "request");
    shared.hooks.observed(&Observed { method, operation: route, status, duration });
    response
}

/// A refusal of the face itself, with the methods that would do where that is what is wrong.
struct Refusal {
    problem: Problem,
    allow: Option<String>,
    /// What it was for, as far as the path tells.
    operation: Option<&'static str>,
    /// The gate has it on record already.
    recorded: bool,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, allow: None, operation: None, recorded: false }
    }
}

/// Tell the gate of a refusal that it does not know of.
async fn put_on_record(
    shared: &Shared,
    mut refusal: Refusal,
    credential: Option<api::Credential>,
    origin: Origin,
) -> Refusal {
    if !refusal.recorded {
        let (operation, problem) = (refusal.operation, refusal.problem);
        refusal.problem = shared.door.refused(Attempt { operation, credential, origin, problem }).await;
    }
    refusal
}

async fn dispatch(
    faces: &Faces,
    seen: &Seen,
    request: Request<Body>,
    route: &mut &'static str,
) -> Result<Response<Body>, Refusal> {
    let shared = &faces.shared;
    // Shippers come with whatever host name they were given, and no browser holds their key.
    if shared.door.intake().is_some()
        && let Some(shipper) = ingest::Route::at(request.method(), request.uri().path())
    {
        *route = shipper.name();
        return Ok(ingest::answer(shared, seen, request, shipper).await?);
    }
    let exempt = Exempt::at(request.uri().path());
    let oauth = oauth::Route::at(request.uri().path());
    if !exempt.is_some_and(Exempt::any_host) {
        admit(shared, &request, oauth.is_some_and(oauth::Route::any_origin))?;
    }
    let target_bytes = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target_bytes > shared.config.limits.target_bytes_max {
        let detail = format!("path and query may be at most {} bytes long", shared.config.limits.target_bytes_max);
        return Err(Problem::new(ProblemKind::Malformed, detail).into());
    }
    if let Some(exempt) = exempt {
        *route = exempt.name();
        return match *request.method() {
            http::Method::GET | http::Method::HEAD => Ok(exempt.answer(shared, seen, request.headers()).await?),
            ref method => other_method(method, names(&[Method::Get])),
        };
    }
    if let Some(oauth) = oauth {
        *route = oauth.name();
        if !oauth.methods().contains(request.method()) {
            return other_method(request.method(), oauth.methods().iter().map(http::Method::as_str).collect());
        }
        // What it comes to are calls through the door, each on the record.
        let answered = oauth::answer(shared, seen, request, oauth).await;
        return answered.map_err(|problem| Refusal { recorded: true, ..Refusal::from(problem) });
    }
    if request.uri().path() == MCP_PATH {
        *route = "mcp";
        if !matches!(*request.method(), http::Method::DELETE | http::Method::GET | http::Method::POST) {
            return other_method(request.method(), vec!["DELETE", "GET", "POST"]);
        }
        let answered = faces.mcp.answer(seen, request).await;
        // It asks the gate who calls, which counts those that are nobody.
        return answered.map_err(|problem| Refusal { recorded: problem.status == 401, ..Refusal::from(problem) });
    }
    let method = operation_method(request.method());
    match shared.routes.find(method, request.uri().path()) {
        Found::Operation { id, fields } => {
            *route = id;
            operation(shared, seen, request, id, fields)
                .await
                .map_err(|refusal| Refusal { operation: Some(id), ..refusal })
        }
        Found::OtherMethods { id, methods } => other_method(request.method(), names(&methods))
            .map_err(|refusal| Refusal { operation: Some(id), ..refusal }),
        Found::Nothing => {
            let detail = "there is no such route; `/openapi.json` lists all of them";
            Err(Problem::new(ProblemKind::NotFound, detail).into())
        }
        Found::Malformed => {
            let detail = "the path is not UTF-8 behind its percent signs";
            Err(Problem::new(ProblemKind::Malformed, detail).into())
        }
    }
}

async fn operation(
    shared: &Arc<Shared>,
    seen: &Seen,
    request: Request<Body>,
    id: &'static str,
    path_fields: Vec<(&'static str, String)>,
) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    let headers = &head.headers;
    let follows = id == tail::OPERATION && tail::asked(headers);
    if !follows && !request::accepts_json(headers) {
        let detail = "the header `Accept` leaves out `application/json`, which is all that this route answers with";
        return Err(Problem::new(ProblemKind::NotAcceptable, detail).into());
    }
    let Some(spec) = shared.door.spec(id) else { return Err(Problem::internal().into()) };
    let credential = request::credential(headers)?;
    let idempotency_key = request::idempotency_key(headers)?;
    let permit = shared.permit()?;
    let body = request::body_bytes(headers, body, shared.config.limits.body_bytes_max).await?;
    let input = request::input(spec, Parts { headers, path_fields, query: head.uri.query(), body: &body })?;
    let origin = seen.origin(headers, Face::Rest);
    let call = Call { operation: id.to_owned(), input, credential, idempotency_key, origin };
    if follows {
        drop(permit);
        return Ok(tail::follow(shared, tail::resumed(headers, call)).await?);
    }
    match shared.put(call, permit).await {
        api::Reply::Refused(problem) => Err(Refusal { recorded: true, ..problem.into() }),
        reply => Ok(response::reply(reply)),
    }
}

fn admit(shared: &Shared, request: &Request<Body>, any_origin: bool) -> Result<(), Problem> {
    let stripped;
    let headers = if any_origin {
        let mut headers = request.headers().clone();
        headers.remove(header::ORIGIN);
        stripped = headers;
        &stripped
    } else {
        request.headers()
    };
    shared.hosts.admit(request.uri(), headers).map_err(|fault| match fault {
        HostFault::Malformed => {
            Problem::new(ProblemKind::Malformed, "the header `Host` is missing, doubled or not a host")
        }
        HostFault::ForeignHost => {
            let detail = "the header `Host` names no host of this server; whoever runs it can add the name";
            Problem::new(ProblemKind::Denied, detail)
        }
        HostFault::ForeignOrigin => {
            let detail = "web pages of this `Origin` may not call this server; whoever runs it can add the origin";
            Problem::new(ProblemKind::Denied, detail)
        }
    })
}

/// The methods of a route, as HTTP names them.
fn names(methods: &[Method]) -> Vec<&'static str> {
    let mut names: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
    if methods.contains(&Method::Get) {
        names.push("HEAD");
    }
    names
}

/// Answer `OPTIONS`; refuse any other method that the route does not have.
fn other_method(method: &http::Method, mut names: Vec<&str>) -> Result<Response<Body>, Refusal> {
    names.push("OPTIONS");
    let allow = names.join(", ");
    if method == http::Method::OPTIONS {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response::set(response.headers_mut(), header::ALLOW, &allow);
        return Ok(response);
    }
    let problem = Problem::new(ProblemKind::MethodNotAllowed, format!("this route has only {allow}"));
    Err(Refusal { allow: Some(allow), ..problem.into() })
}

fn refused(refusal: &Refusal, seen: &Seen) -> Response<Body> {
    let mut problem = refusal.problem.clone();
    problem.request_id = Some(seen.request_id.clone());
    let mut response = response::problem(&problem);
    if let Some(allow) = &refusal.allow {
        response::set(response.headers_mut(), header::ALLOW, allow);
    }
    response
}

/// What every answer's head carries.
fn finish_head(response: &mut Response<Body>, seen: &Seen, of_mcp: bool, bearer_given: bool) {
    let status = response.status();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.insert(header::CONTENT_SECURITY_POLICY, nothing);
    if seen.peer.is_some_and(|peer| peer.tls) {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response::set(headers, REQUEST_ID, &seen.request_id);
    // Our own pages and nobody else's: said aloud, though a browser takes silence for the same.
    response::set(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, origin_of(&seen.base_url));
    headers.insert(RATE_LIMIT, HeaderValue::from(seen.calls_per_second));
    if status == StatusCode::UNAUTHORIZED {
        let suffix = if of_mcp { MCP_PATH } else { "" };
        let invalid = if bearer_given { ", error=\"invalid_token\"" } else { "" };
        let challenge = format!("Bearer resource_metadata=\"{}{METADATA_PATH}{suffix}\"{invalid}", seen.base_url);
        response::set(headers, header::WWW_AUTHENTICATE, &challenge);
    }
}

/// Scheme and authority of a URL.
fn origin_of(url: &str) -> &str {
    let end = url.find("://").and_then(|at| url.get(at + 3..)?.find('/').map(|slash| at + 3 + slash));
    end.and_then(|end| url.get(..end)).unwrap_or(url)
}

/// The answer to `HEAD`: the same head, no body (RFC 9110 section 9.3.2).
fn strip_body(response: &mut Response<Body>) {
    let length = axum::body::HttpBody::size_hint(response.body()).exact();
    *response.body_mut() = Body::empty();
    if let Some(length) = length {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

fn base_url(shared: &Shared, peer: Option<Peer>, request: &Request<Body>) -> String {
    if let Some(url) = &shared.config.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let scheme = if peer.is_some_and(|peer| peer.tls) { "https" } else { "http" };
    let named = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let authority = named.or_else(|| request.uri().authority().map(http::uri::Authority::as_str));
    // Only an authority that parses may be echoed into a header.
    let authority = authority.filter(|text| text.parse::<http::uri::Authority>().is_ok()).unwrap_or("localhost");
    format!("{scheme}://{authority}")
}

fn operation_method(method: &http::Method) -> Option<Method> {
    match *method {
        http::Method::DELETE => Some(Method::Delete),
        http::Method::GET | http::Method::HEAD => Some(Method::Get),
        http::Method::PATCH => Some(Method::Patch),
        http::Method::POST => Some(Method::Post),
        http::Method::PUT => Some(Method::Put),
        _ => None,
    }
}

fn method_label(method: &http::Method) -> &'static str {
    match *method {
        http::Method::HEAD => "HEAD",
        http::Method::OPTIONS => "OPTIONS",
        _ => operation_method(method).map_or("OTHER", Method::as_str),
    }
}

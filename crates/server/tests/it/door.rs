//! A door that answers as its test scripts it, a handful of operations, and a server on port 0 with both.

use api::{
    Call, Credential, Deferred, Done, Door, Effect, Future, Listing, Meta, Method, Obligation, Operation, Origin, Page,
    Pending, Problem, ProblemKind, Reply, Secret, Spec,
};
use ids::{ApprovalId, CallId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use server::{Config, Hooks, Server};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Make a thing.
///
/// It has a colour and may be many.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThingMake {
    /// Which box it goes into.
    #[serde(rename = "box")]
    #[schemars(length(min = 1, max = 20))]
    pub(crate) shelf: String,
    /// Its colour.
    #[schemars(length(max = 10))]
    pub(crate) colour: String,
    /// How many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9))]
    pub(crate) count: Option<u32>,
    /// Only if it has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub(crate) if_match: Option<String>,
}

/// A thing.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Thing {
    /// What the door was given, as text.
    pub(crate) echo: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) etag: Option<String>,
}

/// The mood of a thing.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mood {
    /// Calm.
    Calm,
    /// Not calm.
    Wild,
}

/// List things.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThingList {
    /// In which box.
    #[serde(rename = "box")]
    #[schemars(length(min = 1, max = 20))]
    pub(crate) shelf: String,
    /// Only these colours.
    #[serde(default)]
    #[schemars(length(max = 5))]
    pub(crate) colours: Vec<String>,
    /// Only in this mood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mood: Option<Mood>,
    /// Only whole ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) whole: Option<bool>,
    /// How many at most.
    #[serde(default)]
    pub(crate) limit: api::Limit,
}

/// Throw a thing away.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThingDelete {
    /// From which box.
    #[serde(rename = "box")]
    #[schemars(length(min = 1, max = 20))]
    pub(crate) shelf: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub(crate) why: Option<String>,
}

/// Say who you are.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MeLogin {
    /// The password.
    pub(crate) password: Secret<100>,
}

/// Look at one approval.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalGet {
    /// Which approval.
    pub(crate) approval: ApprovalId,
}

/// Where an approval stands.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Approval {
    /// Its state.
    pub(crate) state: String,
    /// What came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<Value>,
}

/// Call any operation by its name.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperationCall {
    /// Which operation.
    #[schemars(length(max = 64))]
    pub(crate) operation: String,
    /// Its input.
    #[serde(default)]
    pub(crate) input: serde_json::Map<String, Value>,
}

macro_rules! declare {
    ($($input:ty => $output:ty, $meta:expr, $example:expr;)*) => {$(
        impl Operation for $input {
            type Output = $output;
            const META: Meta = $meta;
            fn example() -> Value { $example }
        }
    )*};
}

declare! {
    ThingMake => Thing, Meta::write("thing.make", Method::Post, "/v1/boxes/{box}/things", "Thing"),
        json!({ "box": "b", "colour": "red", "count": 2 });
    ThingList => Page<Thing>, Meta::read("thing.list", Method::Get, "/v1/boxes/{box}/things", "Thing")
        .keeps(&[Obligation::MaxRows]), json!({ "box": "b", "colours": ["red"], "limit": 10 });
    ThingDelete => Thing, Meta::respond("thing.delete", Method::Delete, "/v1/boxes/{box}", "Thing"), json!({ "box": "b" });
    MeLogin => Thing, Meta::write("me.login", Method::Post, "/v1/me/login", "User").anonymous(), json!({ "password": "x" });
    ApprovalGet => Approval, Meta::read("approval.get", Method::Get, "/v1/approvals/{approval}", "Approval"),
        json!({ "approval": ApprovalId::derive(&[b"a"]).to_string() });
    OperationCall => Value, Meta::read("operation.call", Method::Post, "/v1/operations/call", "Operation"),
        json!({ "operation": "thing.list", "input": { "box": "b" } });
}

pub(crate) fn specs() -> Vec<Spec> {
    vec![
        Spec::of::<ThingMake>(),
        Spec::of::<ThingList>(),
        Spec::of::<ThingDelete>(),
        Spec::of::<MeLogin>(),
        Spec::of::<ApprovalGet>(),
        Spec::of::<OperationCall>(),
    ]
}

/// Answers by what stands in the input, and remembers the calls.
pub(crate) struct Script {
    specs: Vec<Spec>,
    pub(crate) calls: Mutex<Vec<Call>>,
    listings: AtomicUsize,
    forgetful: AtomicBool,
    /// Held by a test to keep the calls with colour `slow` under way.
    pub(crate) gate: tokio::sync::Semaphore,
}

impl Script {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            specs: specs(),
            calls: Mutex::default(),
            listings: AtomicUsize::new(0),
            forgetful: AtomicBool::new(false),
            gate: tokio::sync::Semaphore::new(0),
        })
    }

    pub(crate) fn last(&self) -> Call {
        self.calls.lock().unwrap().last().cloned().expect("a call came through the door")
    }

    pub(crate) fn count(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    /// How often the listing was asked for.
    pub(crate) fn listings(&self) -> usize {
        self.listings.load(Ordering::Relaxed)
    }

    /// From now on no token is good.
    pub(crate) fn forget_tokens(&self) {
        self.forgetful.store(true, Ordering::Relaxed);
    }

    fn known(&self, credential: Option<&Credential>) -> bool {
        !self.forgetful.load(Ordering::Relaxed) && known(credential)
    }

    fn reply(&self, call: &Call) -> Reply {
        let id = CallId::derive(&[b"call"]);
        let Some(spec) = self.spec(&call.operation) else { return Reply::Refused(Problem::not_found("operation")) };
        if !spec.meta.anonymous && !self.known(call.credential.as_ref()) {
            return Reply::Refused(unauthenticated());
        }
        if let Err(problem) = spec.validate(&call.input) {
            return Reply::Refused(problem);
        }
        if spec.meta.effect == Effect::Read && spec.meta.id == "approval.get" {
            let output = json!({ "state": "executed", "result": { "echo": "done" } });
            return Reply::Done(Done { call: id, output, obligations: Vec::new(), replayed: false });
        }
        let approval = ApprovalId::derive(&[b"a"]);
        let expires_at = Timestamp::from_micros(0);
        match call.input.get("colour").and_then(Value::as_str) {
            Some("wait") => Reply::Pending(Pending { call: id, approval, rung: "one_responder".into(), expires_at }),
            Some("defer") => {
                Reply::Deferred(Deferred { call: id, approval, missing: vec!["verdict".into()], expires_at })
            }
            Some("deny") => Reply::Refused(Problem::new(ProblemKind::Denied, "policy `p` says no")),
            Some("busy") => Reply::Refused(Problem {
                retry_after_secs: Some(7),
                ..Problem::new(ProblemKind::TooManyRequests, "over the rate")
            }),
            Some("panic") => panic!("a bug"),
            _ if spec.meta.id == "thing.list" => {
                let item = json!({ "echo": "x".repeat(500) });
                let rows = call.input.get("limit").and_then(Value::as_u64).unwrap_or(1);
                let items: Vec<Value> = (0..rows).map(|_| item.clone()).collect();
                let obligations = vec![(Obligation::MaxRows, json!(5))];
                Reply::Done(Done { call: id, output: json!({ "items": items }), obligations, replayed: false })
            }
            _ => {
                let output = json!({ "echo": call.input.to_string(), "etag": "\"3\"" });
                let replayed = call.idempotency_key.as_deref() == Some("again");
                Reply::Done(Done { call: id, output, obligations: Vec::new(), replayed })
            }
        }
    }
}

fn known(credential: Option<&Credential>) -> bool {
    credential.is_some_and(|credential| credential.reveal().starts_with("good"))
}

fn unauthenticated() -> Problem {
    Problem::new(ProblemKind::Unauthenticated, "send a token")
}

impl Door for Script {
    fn specs(&self) -> &[Spec] {
        &self.specs
    }

    fn spec(&self, operation: &str) -> Option<&Spec> {
        self.specs.iter().find(|spec| spec.meta.id == operation)
    }

    fn call(&self, call: Call) -> Future<'_, Reply> {
        Box::pin(async move {
            self.calls.lock().unwrap().push(call.clone());
            if call.input.get("colour") == Some(&json!("slow")) {
                self.gate.acquire().await.unwrap().forget();
            }
            self.reply(&call)
        })
    }

    fn listing<'a>(
        &'a self,
        credential: Option<&'a Credential>,
        _: &'a Origin,
    ) -> Future<'a, Result<Listing, Problem>> {
        Box::pin(async move {
            self.listings.fetch_add(1, Ordering::Relaxed);
            if !self.known(credential) {
                return Err(unauthenticated());
            }
            let all = self.specs.iter().map(|spec| spec.meta.id).filter(|id| *id != "thing.delete");
            // One person has two tokens.
            let caller = if credential.is_some_and(|one| one.reveal() == "good-again") {
                "good"
            } else {
                credential.map_or("", Credential::reveal)
            };
            Ok(Listing { operations: all.collect(), caller: caller.to_owned() })
        })
    }
}

struct Fixed;

impl ids::Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

impl ids::Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }
}

impl Hooks for Fixed {
    fn clock(&self) -> &dyn ids::Clock {
        self
    }

    fn entropy(&self) -> &dyn ids::Entropy {
        self
    }

    fn ready(&self) -> Future<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn metrics<'a>(&'a self, credential: Option<&'a Credential>, _: &'a Origin) -> Future<'a, Result<String, Problem>> {
        Box::pin(async move { if known(credential) { Ok("# EOF\n".to_owned()) } else { Err(unauthenticated()) } })
    }
}

/// A running server with its door.
pub(crate) struct Rig {
    pub(crate) url: String,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) door: Arc<Script>,
    pub(crate) client: reqwest::Client,
    pub(crate) stop: Option<tokio::sync::oneshot::Sender<()>>,
    pub(crate) running: tokio::task::JoinHandle<()>,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::at(([127, 0, 0, 1], 0).into());
        change(&mut config);
        let door = Script::new();
        let server = Server::bind(config, door.clone(), Arc::new(Fixed)).await.unwrap();
        let (url, address) = (server.url(), server.local_addr());
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let running = tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        Self { url, address, door, client: client(), stop: Some(stop), running }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, format!("{}{path}", self.url)).bearer_auth("good")
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        Answer::of(request.send().await.unwrap()).await
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        Self { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The slug of the problem's type; everything that makes it a problem document of ours is checked.
    pub(crate) fn problem(&self) -> &str {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(self.body["status"], self.status, "{self:?}");
        assert_eq!(self.body["request_id"].as_str(), self.header("x-request-id"), "{self:?}");
        self.body["type"].as_str().unwrap().strip_prefix("urn:posse:problem:").unwrap()
    }

    /// The pointers of all faults, sorted: their order depends on how JSON objects are kept.
    pub(crate) fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array();
        let mut pointers: Vec<&str> =
            errors.into_iter().flatten().map(|fault| fault["pointer"].as_str().unwrap()).collect();
        pointers.sort_unstable();
        pointers
    }
}

pub(crate) fn client() -> reqwest::Client {
    // Another test of the process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

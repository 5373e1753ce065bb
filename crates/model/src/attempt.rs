//! One try of one question at one endpoint: sent, read as it arrives, given up at the first bound that is met. Retries are
//! not its business. A reason that it gives never holds the key.

use crate::config::{Kind, Prices, Timeouts};
use crate::draft::{Bounds, Broken, Decoder, shown};
use crate::names::WireNames;
use crate::openai::Manner;
use crate::retry::{Miss, asked_wait, may_be_gone, may_pass, of_failure};
use crate::{anthropic, openai};
use agent::{ChatRequest, Piece, Usage, tokens_estimate};
use bytes::Bytes;
use egress::{Answer, Client};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use ids::{Clock, Timestamp};
use seal::SecretText;
use serde_json::Value;
use tokio::time::timeout;

/// The most bytes that are read of an answer which is an error.
const ERROR_BYTES_MAX: usize = 16 * 1024;

/// A place where a model is asked.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) client: Client,
    pub(crate) key: Option<SecretText>,
    pub(crate) manner: Manner,
    pub(crate) prices: Prices,
    pub(crate) timeouts: Timeouts,
}

/// What a try came to, and what it cost either way.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(crate) result: Result<Vec<Piece>, Miss>,
    pub(crate) usage: Usage,
}

/// Who pays for what went wrong: nothing was asked, or the model was at work.
enum Wrong {
    Before(Miss),
    AtWork(Miss),
}

impl Endpoint {
    /// What so many tokens cost here.
    pub(crate) fn priced(&self, input_tokens: u64, output_tokens: u64) -> Usage {
        Usage { input_tokens, output_tokens, money_micros: self.prices.of(input_tokens, output_tokens) }
    }

    /// Try once, with at most so many tokens of answer.
    pub(crate) async fn attempt(&self, request: &ChatRequest, output_tokens_max: u64, clock: &dyn Clock) -> Tried {
        let names = WireNames::of(&request.tools);
        let input = tokens_estimate(request.bytes());
        let sent = match self.request(request, &names, output_tokens_max) {
            Ok(sent) => sent,
            Err(miss) => return Tried { result: Err(miss), usage: Usage::default() },
        };
        let bounds = Bounds::of(u32::try_from(output_tokens_max).unwrap_or(u32::MAX));
        let mut decoder = Decoder::new(self.kind, bounds);
        let over = self.timeouts.answer();
        let read = timeout(over, self.read(sent, &mut decoder, clock)).await.unwrap_or_else(|_| {
            Err(Wrong::AtWork(Miss::again(format!("the answer took longer than {} s", over.as_secs()))))
        });
        // What a provider does not count is estimated: a budget holds also where a server says nothing.
        let (input, output) = decoder.draft().counted().unwrap_or_else(|| {
            let bytes = decoder.draft().bytes();
            (input, if bytes == 0 { 0 } else { tokens_estimate(bytes) })
        });
        match read {
            Err(Wrong::Before(miss)) => Tried { result: Err(miss), usage: Usage::default() },
            Err(Wrong::AtWork(miss)) => Tried { result: Err(miss), usage: self.priced(input, output) },
            Ok(()) => match decoder.finish() {
                Err(broken) => Tried { result: Err(self.miss_of(&broken)), usage: self.priced(input, output) },
                Ok(draft) => {
                    let (input, output) = draft.counted().unwrap_or((input, tokens_estimate(draft.bytes())));
                    Tried { result: Ok(draft.into_parts(&names)), usage: self.priced(input, output) }
                }
            },
        }
    }

    fn request(&self, request: &ChatRequest, names: &WireNames, output: u64) -> Result<Request<Bytes>, Miss> {
        let body = match self.kind {
            Kind::Anthropic => anthropic::body(&self.manner, request, names, output),
            Kind::Openai => openai::body(&self.manner, request, names, output),
        };
        let mut sent = Request::post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "text/event-stream, application/json")
            .header(header::USER_AGENT, concat!("posse/", env!("CARGO_PKG_VERSION")));
        if self.kind == Kind::Anthropic {
            sent = sent.header("anthropic-version", anthropic::VERSION);
        }
        if let Some(key) = &self.key {
            let (name, text) = match self.kind {
                Kind::Anthropic => ("x-api-key", key.expose().to_owned()),
                Kind::Openai => ("authorization", format!("Bearer {}", key.expose())),
            };
            let mut value = HeaderValue::try_from(text).map_err(|_| Miss::never("the key fits no header"))?;
            value.set_sensitive(true);
            sent = sent.header(name, value);
        }
        sent.body(Bytes::from(body.to_string())).map_err(|_| Miss::never("the request cannot be made"))
    }

    async fn read(&self, sent: Request<Bytes>, decoder: &mut Decoder, clock: &dyn Clock) -> Result<(), Wrong> {
        let first = self.timeouts.first_byte();
        let opened = timeout(first, self.client.open(sent))
            .await
            .map_err(|_| Wrong::AtWork(Miss::again(format!("no answer began within {} s", first.as_secs()))))?;
        let mut answer = opened.map_err(|failure| Wrong::Before(of_failure(&failure)))?;
        if !answer.status.is_success() {
            let (status, headers) = (answer.status, answer.headers.clone());
            let text = self.error_text(&mut answer).await;
            return Err(Wrong::Before(self.miss_of_status(status, &headers, &text, clock.now())));
        }
        let idle = self.timeouts.idle();
        loop {
            let part = timeout(idle, answer.part())
                .await
                .map_err(|_| Wrong::AtWork(Miss::again(format!("the answer paused for over {} s", idle.as_secs()))))?;
            match part.map_err(|failure| Wrong::AtWork(of_failure(&failure)))? {
                None => return Ok(()),
                Some(part) => match decoder.take(&part) {
                    // Dropping the answer closes the connection: a model that never ends is not heard to its end.
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    Err(broken) => return Err(Wrong::AtWork(self.miss_of(&broken))),
                },
            }
        }
    }

    /// What an error answer says, as far as it is short and comes in time.
    async fn error_text(&self, answer: &mut Answer) -> String {
        let mut text = Vec::new();
        while let Ok(Ok(Some(part))) = timeout(self.timeouts.idle(), answer.part()).await {
            text.extend_from_slice(&part);
            if text.len() > ERROR_BYTES_MAX {
                text.truncate(ERROR_BYTES_MAX);
                break;
            }
        }
        let told = serde_json::from_slice::<Value>(&text).ok();
        let told = told.as_ref().and_then(|value| value.get("error")).map(Broken::provider);
        match told {
            Some(Broken::Provider { kind, message }) => format!("{kind}: {message}"),
            _ => String::from_utf8_lossy(&text).into_owned(),
        }
    }

    fn miss_of_status(&self, status: StatusCode, headers: &HeaderMap, text: &str, now: Timestamp) -> Miss {
        let text = self.without_key(text);
        let colon = if text.trim().is_empty() { "" } else { ": " };
        let reason = format!("status {}{colon}{text}", status.as_u16());
        // A quota that is used up comes as a status that says to try again.
        if may_pass(status) && !text.starts_with("insufficient_quota") {
            return Miss::Again { reason, after: asked_wait(headers, now) };
        }
        Miss::Never { reason }
    }

    fn miss_of(&self, broken: &Broken) -> Miss {
        let reason = self.without_key(&broken.to_string());
        match broken {
            Broken::Provider { kind, .. } if !may_be_gone(kind) => Miss::Never { reason },
            _ => Miss::Again { reason, after: None },
        }
    }

    /// An outsider's text, bounded and without the key: some providers echo what they were sent.
    fn without_key(&self, text: &str) -> String {
        let Some(key) = &self.key else { return shown(text) };
        shown(&text.replace(key.expose(), "[secret]"))
    }
}

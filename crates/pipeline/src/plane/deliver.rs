//! One request of a shipper: unpacked, read by its protocol, made durable, answered in its protocol's shape. Judges no
//! credential; never says "taken" before the log has synced.

use crate::{Accepted, Batch, Encoding, Limits, Receiver, Records, Refused, Source, bulk, hec, ndjson, otlp, unpack};
use api::{Delivered, Delivery, Protocol, TurnedAway};
use ids::{Clock, Text};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The version of Elasticsearch whose wire format is answered.
const ELASTICSEARCH: &str = "8.17.0";
/// Channels of Splunk acknowledgements that are remembered, and untold ids of each.
const CHANNELS_MAX: usize = 10_000;
/// See [`CHANNELS_MAX`].
const IDS_MAX: usize = 1_000;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
const BULK_8: &str = "application/vnd.elasticsearch+json;compatible-with=8";

/// Takes requests. Shared by all listeners.
pub(crate) struct Intake {
    receiver: Arc<Receiver>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    acks: Mutex<hec::Acks>,
    product: bulk::Product,
}

/// A request that was read: its records, and how to answer once they are durable.
enum Read {
    Bulk(bulk::Bulk),
    Hec(Records, Option<hec::Channel>),
    Ndjson(Records),
    Otlp(Records, otlp::Wire),
}

impl Read {
    fn records(&mut self) -> Records {
        match self {
            Self::Bulk(bulk) => std::mem::take(&mut bulk.records),
            Self::Hec(records, _) | Self::Ndjson(records) | Self::Otlp(records, _) => std::mem::take(records),
        }
    }
}

fn answer(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Delivered {
    Delivered { status, content_type, body: body.into(), ..Delivered::default() }
}

fn whole_secs(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

impl Intake {
    pub(crate) fn new(receiver: Arc<Receiver>, clock: Arc<dyn Clock>, limits: Limits, installation: String) -> Self {
        let product = bulk::Product { version: ELASTICSEARCH.to_owned(), cluster_uuid: installation };
        Self { receiver, clock, limits, acks: Mutex::new(hec::Acks::new(CHANNELS_MAX, IDS_MAX)), product }
    }

    /// Take one request.
    pub(crate) async fn deliver(&self, mut delivery: Delivery) -> Delivered {
        let started = self.clock.now();
        let source = Source { tenant: delivery.tenant, name: delivery.source.clone() };
        let protocol = delivery.protocol;
        let compatible = compatible(&delivery);
        let answered = match self.read(&mut delivery) {
            Ok(mut read) => {
                let records = read.records();
                let client_id = delivery.header("idempotency-key").and_then(|key| Text::new(key).ok());
                let (received, peer) = (self.clock.now(), delivery.peer);
                let batch = Batch { source, received, peer, client_id, resent: true, records };
                match self.receiver.receive(&batch).await {
                    Ok(accepted) => {
                        let took = self.clock.now().since(started).as_millis();
                        self.taken(&read, accepted, &batch, u64::try_from(took).unwrap_or(u64::MAX))
                    }
                    Err(refused) => refusal(protocol, wire(&delivery), &refused),
                }
            }
            Err(answered) => {
                if let Some(why) = answered.refused {
                    self.receiver.count_refused(&source, why);
                }
                answered
            }
        };
        dress(protocol, compatible, answered)
    }

    /// Read the body by its protocol; where that fails or needs no record, what to answer.
    fn read(&self, delivery: &mut Delivery) -> Result<Read, Delivered> {
        let protocol = delivery.protocol;
        if protocol == Protocol::Bulk && !delivery.path.trim_end_matches('/').ends_with("_bulk") {
            let found = bulk::handshake(&delivery.method, &delivery.path, &self.product);
            let gone = || bulk::error_answer(404, "resource_not_found_exception", "this server takes _bulk only");
            let found = found.unwrap_or_else(gone);
            return Err(answer(found.status, JSON, found.body));
        }
        let wire = wire(delivery);
        let fail = |status, why, text: &str| refused(protocol, wire, status, why, text);
        let encoding = delivery.header("content-encoding").unwrap_or_default().parse::<Encoding>();
        let encoding = encoding.map_err(|error| fail(415, "encoding", &error.to_string()))?;
        let body = std::mem::take(&mut delivery.body);
        let body = unpack(body, encoding, &self.limits).map_err(|error| match error {
            crate::BodyError::TooLarge(_) => fail(413, "too_large", &error.to_string()),
            other => fail(400, "encoding", &other.to_string()),
        })?;
        match protocol {
            Protocol::Ndjson => ndjson::parse(body, &self.limits).map(Read::Ndjson).map_err(|error| {
                let status = if matches!(error, ndjson::NdjsonError::TooMany(_)) { 413 } else { 400 };
                fail(status, "malformed", &error.to_string())
            }),
            Protocol::Bulk => {
                bulk::parse(body, index_of(&delivery.path), &self.limits).map(Read::Bulk).map_err(|error| {
                    let told = error.answer();
                    Delivered { refused: Some("malformed"), ..answer(told.status, JSON, told.body) }
                })
            }
            Protocol::HecAcks => Err(self.acks(delivery, &body)),
            Protocol::HecEvents => self.hec(delivery, |limits| hec::parse_events(body, limits)),
            Protocol::HecRaw => {
                let meta = raw_meta(delivery);
                self.hec(delivery, |limits| hec::parse_raw(body, &meta, limits))
            }
            Protocol::OtlpLogs => {
                otlp::parse(&body, wire, &self.limits).map(|records| Read::Otlp(records, wire)).map_err(|error| {
                    let status = if matches!(error, otlp::OtlpError::TooMany) { 413 } else { 400 };
                    fail(status, "malformed", &error.to_string())
                })
            }
        }
    }

    fn hec(
        &self,
        delivery: &Delivery,
        parse: impl FnOnce(&Limits) -> Result<Records, hec::HecError>,
    ) -> Result<Read, Delivered> {
        let told = |error: hec::HecError| Delivered {
            refused: Some("malformed"),
            ..answer(error.code.status(), JSON, error.body())
        };
        let channel = channel(delivery).transpose().map_err(told)?;
        Ok(Read::Hec(parse(&self.limits).map_err(told)?, channel))
    }

    fn acks(&self, delivery: &Delivery, body: &[u8]) -> Delivered {
        let missing = hec::HecError { code: hec::Code::ChannelMissing, event: None };
        let now = self.clock.now();
        let told = channel(delivery)
            .unwrap_or(Err(missing))
            .and_then(|channel| self.acks.lock().unwrap_or_else(PoisonError::into_inner).answer(&channel, body, now));
        match told {
            Ok(body) => answer(200, JSON, body),
            Err(error) => answer(error.code.status(), JSON, error.body()),
        }
    }

    fn taken(&self, read: &Read, accepted: Accepted, batch: &Batch, took_ms: u64) -> Delivered {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let mut answered = match read {
            Read::Bulk(bulk) => {
                let told = bulk.answer(accepted.batch, took_ms);
                answer(told.status, JSON, told.body)
            }
            Read::Hec(_, None) => answer(200, JSON, hec::Code::Success.body()),
            Read::Hec(_, Some(channel)) => {
                let mut acks = self.acks.lock().unwrap_or_else(PoisonError::into_inner);
                let id = acks.give(channel, self.clock.now());
                answer(200, JSON, hec::Code::Success.body_with_ack(id))
            }
            Read::Ndjson(_) => answer(200, JSON, ndjson_answer(accepted, batch)),
            Read::Otlp(_, wire) => {
                let kind = if *wire == otlp::Wire::Json { JSON } else { PROTOBUF };
                answer(200, kind, otlp::answer(*wire, accepted.rejected))
            }
        };
        answered.records = count(accepted.records);
        answered.rejected = count(accepted.rejected);
        answered
    }
}

/// Taken, rejected by place and reason, and the batch's number, by which a resent batch is known.
fn ndjson_answer(accepted: Accepted, batch: &Batch) -> String {
    let rejected = batch.records.rejected().iter().take(100);
    let rejected: Vec<_> =
        rejected.map(|one| serde_json::json!({ "index": one.index, "reason": one.why.as_str() })).collect();
    serde_json::json!({
        "batch": format!("{:032x}", accepted.batch),
        "accepted": accepted.records,
        "rejected": accepted.rejected,
        "rejections": rejected,
        "duplicate": accepted.duplicate,
    })
    .to_string()
}

fn channel(delivery: &Delivery) -> Option<Result<hec::Channel, hec::HecError>> {
    let text = delivery.header("x-splunk-request-channel").or_else(|| delivery.parameter("channel"))?;
    Some(hec::Channel::new(delivery.key.clone(), text))
}

fn raw_meta(delivery: &Delivery) -> hec::RawMeta {
    let own = |name: &str| delivery.parameter(name).map(str::to_owned);
    hec::RawMeta { host: own("host"), index: own("index"), source: own("source"), sourcetype: own("sourcetype") }
}

/// `my-index` of `/my-index/_bulk`.
fn index_of(path: &str) -> Option<&str> {
    let (head, _) = path.trim_matches('/').rsplit_once('/')?;
    head.rsplit('/').next()
}

fn wire(delivery: &Delivery) -> otlp::Wire {
    let json = delivery.header("content-type").is_some_and(|kind| kind.trim_start().starts_with(JSON));
    if json { otlp::Wire::Json } else { otlp::Wire::Protobuf }
}

/// Whether the sender is an Elasticsearch client of version 8, which wants that said back.
fn compatible(delivery: &Delivery) -> bool {
    ["accept", "content-type"].into_iter().any(|name| {
        delivery
            .header(name)
            .is_some_and(|kind| kind.replace(' ', "").contains("vnd.elasticsearch+") && kind.contains('8'))
    })
}

/// A request that was refused, in its protocol's shape.
fn refused(protocol: Protocol, wire: otlp::Wire, status: u16, why: &'static str, text: &str) -> Delivered {
    let mut answered = match protocol {
        Protocol::Bulk => {
            let kind = match status {
                401 | 403 => "security_exception",
                404 => "resource_not_found_exception",
                413 | 429 => "circuit_breaking_exception",
                503 => "es_rejected_execution_exception",
                _ => "illegal_argument_exception",
            };
            let told = bulk::error_answer(status, kind, text);
            answer(told.status, JSON, told.body)
        }
        Protocol::HecAcks | Protocol::HecEvents | Protocol::HecRaw => {
            let code = match status {
                401 => hec::Code::TokenRequired,
                403 => hec::Code::InvalidToken,
                413 | 429 => hec::Code::QueueAtCapacity,
                503 if why == "shutting_down" => hec::Code::ShuttingDown,
                503 => hec::Code::Busy,
                _ => hec::Code::InvalidFormat,
            };
            let status = if status == 413 { 413 } else { code.status() };
            answer(status, JSON, code.body())
        }
        Protocol::Ndjson => {
            let problem = problem(status, text);
            answer(status, "application/problem+json", serde_json::to_vec(&problem).unwrap_or_default())
        }
        Protocol::OtlpLogs => {
            let kind = if wire == otlp::Wire::Json { JSON } else { PROTOBUF };
            answer(status, kind, otlp::error(wire, text))
        }
    };
    answered.refused = Some(why);
    answered
}

fn problem(status: u16, text: &str) -> api::Problem {
    use api::ProblemKind;
    let kind = match status {
        401 => ProblemKind::Unauthenticated,
        403 => ProblemKind::Denied,
        413 => ProblemKind::PayloadTooLarge,
        415 => ProblemKind::UnsupportedMediaType,
        429 => ProblemKind::TooManyRequests,
        503 => ProblemKind::Overloaded,
        _ => ProblemKind::Malformed,
    };
    api::Problem::new(kind, text)
}

fn refusal(protocol: Protocol, wire: otlp::Wire, why: &Refused) -> Delivered {
    let mut answered = refused(protocol, wire, why.status(), why.as_str(), &why.to_string());
    if let Some(wait) = why.retry_after() {
        answered.headers.push(("retry-after", whole_secs(wait).to_string()));
    }
    answered
}

/// What the gate refuses, in the protocol's shape.
pub(crate) fn turn_away(protocol: Protocol, why: &TurnedAway) -> Delivered {
    let (status, text, wait) = match why {
        TurnedAway::Busy { retry_after_secs } => {
            (503, "too many requests wait; send again later".to_owned(), Some(*retry_after_secs))
        }
        TurnedAway::Forbidden => {
            (403, "this key is not good for this source, or the source is switched off".to_owned(), None)
        }
        TurnedAway::OverQuota { retry_after_secs } => {
            (429, "the tenant's quota is used up; send again later".to_owned(), Some(*retry_after_secs))
        }
        TurnedAway::TooLarge { bytes_max } => {
            (413, format!("the body has more than {bytes_max} bytes; send smaller batches"), None)
        }
        TurnedAway::Unauthenticated => (401, "a valid ingest key is needed".to_owned(), None),
    };
    let mut answered = refused(protocol, otlp::Wire::Json, status, why.as_str(), &text);
    if let Some(wait) = wait {
        answered.headers.push(("retry-after", wait.to_string()));
    }
    if status == 401 {
        answered.headers.push(("www-authenticate", "Bearer".to_owned()));
    }
    dress(protocol, false, answered)
}

/// Splunk's health question.
pub(crate) fn hec_health(pressure: &crate::Pressure) -> Delivered {
    let code = match pressure {
        crate::Pressure::Open => hec::Code::Healthy,
        crate::Pressure::Busy { .. } | crate::Pressure::Stopped { .. } => hec::Code::UnhealthyQueues,
    };
    answer(code.status(), JSON, code.body())
}

/// What every answer of a protocol carries.
fn dress(protocol: Protocol, compatible: bool, mut answered: Delivered) -> Delivered {
    if protocol == Protocol::Bulk {
        let (name, value) = bulk::PRODUCT_HEADER;
        answered.headers.push((name, value.to_owned()));
        if compatible && answered.content_type == JSON {
            answered.content_type = BULK_8;
        }
    }
    answered
}

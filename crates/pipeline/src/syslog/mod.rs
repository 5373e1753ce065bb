//! Syslog: RFC 5424, RFC 3164 as it is found in the wild, and lines that are neither. Reading never fails: what is
//! not understood stays in the text. [`Decoder`] takes messages off a TCP stream, [`Gather`] makes batches of them.

mod framing;
mod message;
mod time;

pub use framing::{Decoder, Framed, Gather};
pub use message::{Element, Format, Message, parse};
pub use time::Context;

const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// A message as one JSON object, for whoever reads records as JSON: `facility`, `severity` (names), `priority`,
/// `timestamp`, `hostname`, `appname`, `procid`, `msgid`, `structured_data`, `message`. Absent is left out. Bytes
/// that are not UTF-8 become replacement characters here; the record's raw bytes keep them.
#[must_use]
pub fn to_json(raw: &[u8], context: &Context) -> Vec<u8> {
    let text = String::from_utf8_lossy(raw);
    let message = parse(&text, context);
    let mut object = serde_json::Map::new();
    let mut put = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            object.insert(name.to_owned(), value.into());
        }
    };
    let time = message.time.map(|time| time.to_string());
    put("facility", message.facility.and_then(|facility| FACILITIES.get(usize::from(facility)).copied()));
    put("severity", message.severity.and_then(|severity| SEVERITIES.get(usize::from(severity)).copied()));
    put("timestamp", time.as_deref());
    put("hostname", message.host);
    put("appname", message.app);
    put("procid", message.process);
    put("msgid", message.id);
    put("message", Some(message.text));
    if let (Some(facility), Some(severity)) = (message.facility, message.severity) {
        object.insert("priority".to_owned(), (u16::from(facility) * 8 + u16::from(severity)).into());
    }
    if !message.structured.is_empty() {
        let mut data = serde_json::Map::new();
        for Element { id, parameters } in &message.structured {
            let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), value.as_ref().into()));
            data.insert((*id).to_owned(), serde_json::Value::Object(parameters.collect()));
        }
        object.insert("structured_data".to_owned(), data.into());
    }
    serde_json::to_vec(&object).unwrap_or_default()
}

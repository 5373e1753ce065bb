//! `posse import`: records of files into a source, over HTTP with a key made for it, or into a data folder that no
//! server holds. Reads what `event::read` reads. Never counts a record as imported that was not acknowledged.

mod batches;
mod follow;

use crate::answer::{Answer, Transport, Trouble};
use crate::operate::{Around, transport};
use crate::remote::{Remote, escaped};
use crate::show::Format;
use crate::target::Target;
use crate::{Exit, Program};
use api::{Future, Spec};
use batches::{Batch, Read};
use bytes::Bytes;
use clap::{Arg, ArgMatches, Command};
use follow::Places;
use http::header;
use ids::{TenantId, Text};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The word on the command line.
pub(crate) const COMMAND: &str = "import";
/// How long the key of an import lives.
const KEY_SECS: u32 = 24 * 3600;
/// After so long a key that is still needed is replaced.
const KEY_FRESH: Duration = Duration::from_secs(12 * 3600);
/// How often files that are followed are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often a batch is sent again that was refused for a while.
const TRIES_MAX: u32 = 120;
/// How long to wait until what was imported can be found.
const SETTLE: Duration = Duration::from_secs(120);

/// What became of one body of records.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Taken {
    /// Records that are durable.
    pub accepted: u64,
    /// Records that were not taken.
    pub rejected: u64,
    /// The same body was there already.
    pub duplicate: bool,
}

/// Takes records into a data folder in this process.
pub trait Ingest: Send + Sync {
    /// Make the records of an NDJSON body durable.
    fn take(&self, tenant: TenantId, source: Text<64>, body: Vec<u8>) -> Future<'_, Result<Taken, String>>;

    /// Put everything that was taken into files.
    fn finish(&self) -> Future<'_, ()>;
}

/// The command.
pub(crate) fn command() -> Command {
    let need = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).required(true).help(help)
    };
    Command::new(COMMAND)
        .about("Bring records of files into a tenant's source, which is made where there is none")
        .arg(need("tenant", "TENANT", "The tenant's id"))
        .arg(need("source", "NAME", "The source's name"))
        .arg(
            Arg::new("mapping")
                .long("mapping")
                .value_name("NAME")
                .help("For a source that is made: a built-in mapping; told from the records where nothing is said"),
        )
        .arg(
            Arg::new("follow")
                .long("follow")
                .value_name("CURSOR-FILE")
                .help("Go on sending lines that are added to the files, and files that are added to the folders; how far that got is kept in this file"),
        )
        .arg(
            Arg::new("files")
                .value_name("FILE")
                .required(true)
                .num_args(1..)
                .help("Files, or folders with files: JSON lines or arrays, CloudTrail, Windows event logs, lines of syslog or auditd; also compressed by gzip or zstd"),
        )
}

/// Counts of one file.
#[derive(Default)]
struct Summary {
    records: u64,
    accepted: u64,
    rejected: u64,
    unreadable: u64,
    duplicates: u64,
}

/// Where batches go.
enum Way {
    Http { remote: Remote, path: String, key: Option<String> },
    Folder(std::sync::Arc<dyn Ingest>, TenantId, Text<64>),
}

/// Carry out the command.
pub(crate) async fn run(program: &Program, matches: &ArgMatches, around: &mut Around<'_>) -> Exit {
    let format = Format::of(matches, around.terminal);
    match import(program, matches, format, around).await {
        Ok(exit) => exit,
        Err(trouble) => crate::exit::complain(around.errors, &trouble.to_string(), trouble.exit()),
    }
}

async fn import(
    program: &Program,
    matches: &ArgMatches,
    format: Format,
    around: &mut Around<'_>,
) -> Result<Exit, Trouble> {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let (tenant, source) = (text("tenant"), text("source"));
    let id: TenantId = tenant.parse().map_err(|error| Trouble::Usage(format!("--tenant: {error}")))?;
    let name: Text<64> = Text::new(source.clone()).map_err(|error| Trouble::Usage(format!("--source: {error}")))?;
    let mut files = Vec::new();
    for given in matches.get_many::<String>("files").into_iter().flatten() {
        batches::files(Path::new(given), &mut files)?;
    }
    let calls = Calls { program, transport: transport(program, matches, around).await? };
    calls.make_source(&tenant, &source, matches.get_one::<String>("mapping")).await?;
    let folder = matches.try_get_one::<String>("data-dir").ok().flatten();
    let (way, key) = match (folder, &program.ingest) {
        (Some(folder), Some(open)) => {
            let ingest = open(PathBuf::from(folder)).await.map_err(|reason| Trouble::local("cannot import", reason))?;
            (Way::Folder(ingest, id, name), None)
        }
        _ => {
            let (key, secret) = calls.make_key(&tenant, &source).await?;
            let remote = Remote::new(Target::of(matches, around.variable)?)?;
            let path = format!("/v1/ingest/{}", escaped(&source));
            (Way::Http { remote, path, key: Some(secret) }, Some(key))
        }
    };
    if let Some(cursor) = matches.get_one::<String>("follow") {
        let given = matches.get_many::<String>("files").into_iter().flatten().map(PathBuf::from).collect();
        let follow = Follow { calls, tenant, source, given, places: Places::open(Path::new(cursor))? };
        return follow.run(way, around).await;
    }
    let mut failed = false;
    for file in &files {
        let outcome = one(&way, file, around).await;
        let (summary, trouble) = match outcome {
            Ok(summary) => (summary, None),
            Err((summary, trouble)) => (summary, Some(trouble)),
        };
        failed |= trouble.is_some();
        tell(file, &summary, trouble.as_ref(), format, around)?;
    }
    if let Way::Folder(ingest, ..) = &way {
        ingest.finish().await;
    } else {
        calls.settle(&tenant, &source, format, around).await?;
    }
    if let Some(key) = key {
        // It ends by itself within a day where this fails.
        let _ = calls.call("source.revoke_key", json!({ "tenant": tenant, "source": source, "key": key })).await;
    }
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// Files that grow, and where what is added to them goes.
struct Follow<'a> {
    calls: Calls<'a>,
    tenant: String,
    source: String,
    given: Vec<PathBuf>,
    places: Places,
}

impl Follow<'_> {
    /// Send what is added until the process is ended. What cannot be read or sent now is tried again.
    async fn run(mut self, mut way: Way, around: &mut Around<'_>) -> Result<Exit, Trouble> {
        let mut fresh_until = tokio::time::Instant::now() + KEY_FRESH;
        let mut last = String::new();
        loop {
            match self.round(&way, around).await {
                Ok(()) => last.clear(),
                // Said once, not every second.
                Err(trouble) if trouble.to_string() != last => {
                    last = trouble.to_string();
                    let _ = writeln!(around.errors, "note: {last}; trying again");
                }
                Err(_) => {}
            }
            if tokio::time::Instant::now() >= fresh_until
                && let Way::Http { key, .. } = &mut way
            {
                fresh_until = tokio::time::Instant::now() + KEY_FRESH;
                *key = Some(self.calls.make_key(&self.tenant, &self.source).await?.1);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn round(&mut self, way: &Way, around: &mut Around<'_>) -> Result<(), Trouble> {
        let mut files = Vec::new();
        for given in &self.given {
            batches::files(given, &mut files)?;
        }
        for file in &files {
            let mut lines = 0;
            while let Some(stretch) = self.places.next(file)? {
                way.send(stretch.bytes.clone()).await?;
                self.places.sent(&stretch)?;
                lines += stretch.lines();
            }
            if lines > 0 {
                let told = writeln!(around.output, "{}: {lines} lines", file.display());
                told.map_err(|error| Trouble::local("cannot write the output", error))?;
            }
        }
        Ok(())
    }
}

/// Bring in one file.
async fn one(way: &Way, file: &Path, around: &mut Around<'_>) -> Result<Summary, (Summary, Trouble)> {
    let mut summary = Summary::default();
    let mut read = batches::read(file.to_owned());
    while let Some(next) = read.recv().await {
        let Batch { body, records } = match next {
            Read::Batch(batch) => batch,
            Read::Unreadable => {
                summary.unreadable += 1;
                continue;
            }
            Read::Failed(trouble) => return Err((summary, trouble)),
        };
        match way.send(body).await {
            Ok(taken) => {
                summary.records += records;
                summary.rejected += taken.rejected;
                if taken.duplicate {
                    summary.duplicates += taken.accepted;
                } else {
                    summary.accepted += taken.accepted;
                }
            }
            Err(trouble) => return Err((summary, trouble)),
        }
        if around.terminal {
            let _ = write!(around.errors, "\r{}: {} records", file.display(), summary.records);
        }
    }
    if around.terminal {
        let _ = write!(around.errors, "\r\x1b[K");
    }
    Ok(summary)
}

impl Way {
    async fn send(&self, body: Vec<u8>) -> Result<Taken, Trouble> {
        let (remote, path, key) = match self {
            Self::Folder(ingest, tenant, source) => {
                let taken = ingest.take(*tenant, source.clone(), body).await;
                return taken.map_err(|reason| Trouble::local("a batch was not taken", reason));
            }
            Self::Http { remote, path, key } => (remote, path, key),
        };
        let body = Bytes::from(body);
        for _ in 0..TRIES_MAX {
            let mut request = remote.request("POST", path).header(header::CONTENT_TYPE, "application/x-ndjson");
            if let (Some(key), Some(headers)) = (key, request.headers_mut())
                && let Ok(mut value) = http::HeaderValue::try_from(format!("Bearer {key}"))
            {
                value.set_sensitive(true);
                headers.insert(header::AUTHORIZATION, value);
            }
            let request = request.body(body.clone());
            let request = request.map_err(|error| Trouble::Usage(format!("this cannot be sent: {error}")))?;
            let response = remote.client().send(request).await;
            let response = response.map_err(|failure| Trouble::Remote(failure.to_string()))?;
            let status = response.status().as_u16();
            if status == 429 || status == 503 {
                let wait =
                    response.headers().get(header::RETRY_AFTER).and_then(|text| text.to_str().ok()?.parse().ok());
                tokio::time::sleep(Duration::from_secs(wait.unwrap_or(1)).min(Duration::from_secs(30))).await;
                continue;
            }
            let answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
            if status != 200 {
                let detail = answer.get("detail").and_then(Value::as_str).unwrap_or("no reason was given").to_owned();
                return Err(Trouble::Remote(format!("the server answered {status}: {detail}")));
            }
            let number = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
            let duplicate = answer.get("duplicate").and_then(Value::as_bool).unwrap_or(false);
            return Ok(Taken { accepted: number("accepted"), rejected: number("rejected"), duplicate });
        }
        Err(Trouble::Remote("the server refused a batch for too long; see `posse source health`".to_owned()))
    }
}

fn tell(
    file: &Path,
    summary: &Summary,
    trouble: Option<&Trouble>,
    format: Format,
    around: &mut Around<'_>,
) -> Result<(), Trouble> {
    let Summary { records, accepted, rejected, unreadable, duplicates } = summary;
    let line = if format == Format::Table {
        let mut line = format!("{}: {records} records, {accepted} new", file.display());
        for (count, word) in [(duplicates, "there already"), (rejected, "rejected"), (unreadable, "unreadable")] {
            if *count > 0 {
                line.push_str(&format!(", {count} {word}"));
            }
        }
        if let Some(trouble) = trouble {
            line.push_str(&format!("; {trouble}"));
        }
        line
    } else {
        json!({
            "file": file.display().to_string(), "records": records, "accepted": accepted, "rejected": rejected,
            "unreadable": unreadable, "duplicates": duplicates, "error": trouble.map(ToString::to_string),
        })
        .to_string()
    };
    writeln!(around.output, "{line}").map_err(|error| Trouble::local("cannot write the output", error))
}

/// Calls of operations around the import.
struct Calls<'a> {
    program: &'a Program,
    transport: Box<dyn Transport>,
}

impl Calls<'_> {
    async fn call(&self, operation: &str, input: Value) -> Result<Answer, Trouble> {
        let found = self.program.specs.iter().find(|spec| spec.meta.id == operation);
        let spec: &Spec = found.ok_or_else(|| Trouble::Usage(format!("this program has no `{operation}`")))?;
        self.transport.call(spec, input, None).await
    }

    async fn must(&self, operation: &str, input: Value) -> Result<Value, Trouble> {
        match self.call(operation, input).await? {
            Answer::Done { output, .. } => Ok(output),
            Answer::Refused(problem) => Err(Trouble::Remote(format!("`{operation}`: {problem}"))),
            Answer::Pending(_) | Answer::Deferred(_) => {
                Err(Trouble::Remote(format!("`{operation}` waits for approval; carry it out and import then")))
            }
        }
    }

    /// The source, made where there is none.
    async fn make_source(&self, tenant: &str, source: &str, mapping: Option<&String>) -> Result<(), Trouble> {
        let there = self.call("source.get", json!({ "tenant": tenant, "source": source })).await?;
        if matches!(there, Answer::Done { .. }) {
            return Ok(());
        }
        let mut input = json!({ "tenant": tenant, "name": source, "description": "made by an import" });
        if let (Some(mapping), Some(fields)) = (mapping, input.as_object_mut()) {
            fields.insert("mapping".to_owned(), json!(mapping));
        }
        self.must("source.create", input).await.map(|_| ())
    }

    /// A key for this import: its id and its secret.
    async fn make_key(&self, tenant: &str, source: &str) -> Result<(String, String), Trouble> {
        let input = json!({ "tenant": tenant, "source": source, "name": "posse import", "ttl_secs": KEY_SECS });
        let made = self.must("source.create_key", input).await?;
        let text = |pointer: &str| made.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        match (text("/key/id"), text("/credential/secret")) {
            (Some(key), Some(secret)) => Ok((key, secret)),
            _ => Err(Trouble::Remote("the server gave a key without a secret".to_owned())),
        }
    }

    /// Wait until what was imported can be found, and say how the source fares.
    async fn settle(&self, tenant: &str, source: &str, format: Format, around: &mut Around<'_>) -> Result<(), Trouble> {
        let until = tokio::time::Instant::now() + SETTLE;
        while tokio::time::Instant::now() < until {
            let Ok(status) = self.must("lake.status", json!({ "tenant": tenant })).await else { return Ok(()) };
            if status.get("behind").and_then(Value::as_u64) == Some(0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let Ok(health) = self.must("source.health", json!({ "tenant": tenant, "source": source })).await else {
            return Ok(());
        };
        let Some(own) = health.pointer("/items/0") else { return Ok(()) };
        if format == Format::Table {
            let dead = own.get("dead_letters").and_then(Value::as_u64).unwrap_or(0);
            let share = own.get("unmapped_share").and_then(Value::as_f64);
            let share = share.map_or_else(|| "unknown".to_owned(), |share| format!("{:.0} %", share * 100.0));
            let _ = writeln!(around.errors, "note: {source}: {dead} dead letters, unmapped fields: {share}");
        }
        Ok(())
    }
}

//! `posse borrow`: a program on this terminal asks a person, who may sit elsewhere, to lend it a part of their rights, by the device
//! flow (RFC 8628), and keeps what it was lent in a file that `--token-file` reads. It presents no other credential.

use crate::answer::Trouble;
use crate::operate::Around;
use crate::remote::{Remote, escaped};
use crate::show::{Format, render};
use crate::source::read_file;
use crate::table::clean;
use crate::target::Target;
use crate::{Exit, exit};
use bytes::Bytes;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// The word on the command line.
pub(crate) const COMMAND: &str = "borrow";
/// How often a terminal asks where the server does not say (RFC 8628 section 3.2), and how much slower it gets when it is told to.
const INTERVAL_SECS: u64 = 5;
const KEPT_BYTES_MAX: usize = 64 << 10;

/// The command.
pub(crate) fn command() -> Command {
    Command::new(COMMAND)
        .about("Ask a person to lend this program a part of their rights: shows a code, waits for the answer")
        .arg(Arg::new("client").long("client").value_name("NAME").required_unless_present("renew").help(
            "What the program calls itself; the person sees it",
        ))
        .arg(
            Arg::new("profile")
                .long("profile")
                .value_name("PROFILE")
                .default_value("read")
                .value_parser(PossibleValuesParser::new(["read", "work", "respond"]))
                .help("As much as the person can choose: look; also work on records; also ask for responses"),
        )
        .arg(
            Arg::new("for")
                .long("for")
                .value_name("FACE")
                .default_value("api")
                .value_parser(PossibleValuesParser::new(["api", "mcp"]))
                .help("What the credential is good for: REST and the command line, or MCP"),
        )
        .arg(Arg::new("into").long("into").value_name("FILE").required(true).help(
            "Where the credential goes, for `--token-file FILE`; what renews it goes into FILE.renew. Nobody else can read them",
        ))
        .arg(
            Arg::new("renew")
                .long("renew")
                .action(ArgAction::SetTrue)
                .help("Without a person: a fresh credential for one that was lent into FILE and runs out (after 15 minutes)"),
        )
        .after_help("Ends with: 0 lent, 1 nobody answered or the loan is over, 3 the person refused.")
}

/// What the server says to a terminal that asks (RFC 8628 section 3.2).
#[derive(Deserialize)]
struct Waiting {
    device_code: String,
    user_code: String,
    verification_uri: String,
    expires_in: u64,
    interval: Option<u64>,
}

/// What was lent (RFC 6749 section 5.1).
#[derive(Deserialize)]
struct Lent {
    access_token: String,
    refresh_token: String,
    expires_in: u64,
    scope: String,
}

/// What a loan is renewed with.
#[derive(Deserialize, Serialize)]
struct Renewal {
    client: String,
    refresh_token: String,
}

/// How asking came out where nothing was lent.
enum Not {
    Lent(&'static str, Exit),
    Trouble(Trouble),
}

impl From<Trouble> for Not {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// Ask, wait, keep what was lent, and say what it is.
pub(crate) async fn run(matches: &ArgMatches, around: &mut Around<'_>) -> Exit {
    let into = PathBuf::from(matches.get_one::<String>("into").map_or("", String::as_str));
    match lend(matches, &into, around).await {
        Ok(said) => {
            let shown = render(&said, Format::of(matches, around.terminal));
            match around.output.write_all(shown.as_bytes()) {
                Ok(()) => Exit::Done,
                Err(error) => exit::complain(around.errors, &format!("cannot write the output: {error}"), Exit::Failed),
            }
        }
        Err(Not::Lent(why, exit)) => exit::complain(around.errors, why, exit),
        Err(Not::Trouble(trouble)) => exit::complain(around.errors, &trouble.to_string(), trouble.exit()),
    }
}

async fn lend(matches: &ArgMatches, into: &Path, around: &mut Around<'_>) -> Result<Value, Not> {
    let target = Target { credential: None, ..Target::of(matches, around.variable)? };
    let remote = Remote::new(target)?;
    let word = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let (client, lent) = if matches.get_flag("renew") {
        let kept = read_file(&renewal_of(into).to_string_lossy(), KEPT_BYTES_MAX)?;
        let kept: Renewal = serde_json::from_str(&kept).map_err(|error| {
            Trouble::local(format!("`{}` is not what renews a loan", renewal_of(into).display()), error)
        })?;
        let fields =
            [("grant_type", "refresh_token"), ("refresh_token", &kept.refresh_token), ("client_id", &kept.client)];
        match post(&remote, "/oauth/token", &fields).await? {
            (true, tokens) => (kept.client, read::<Lent>(tokens)?),
            (false, error) => match code_of(&error) {
                "invalid_grant" => {
                    return Err(Not::Lent("the loan is over, or its renewal was used before; ask anew", Exit::Failed));
                }
                _ => return Err(refused(&error).into()),
            },
        }
    } else {
        let (client, profile) = (word("client"), word("profile"));
        let lent = ask(&remote, &client, &profile, &word("for"), around).await?;
        (client, lent)
    };
    // What renews goes first: it is good once, and the credential without it only lasts minutes.
    let renewal = Renewal { client: client.clone(), refresh_token: lent.refresh_token };
    let renewal = serde_json::to_string(&renewal).map_err(|error| Trouble::local("cannot keep the loan", error))?;
    keep(&renewal_of(into), &renewal)?;
    keep(into, &lent.access_token)?;
    let secs = lent.expires_in;
    Ok(
        json!({ "client": client, "profile": lent.scope, "token_file": into.to_string_lossy(), "expires_in_secs": secs }),
    )
}

/// Ask a person and wait until they answer, or the code is over.
async fn ask(remote: &Remote, client: &str, profile: &str, face: &str, around: &mut Around<'_>) -> Result<Lent, Not> {
    let mut fields = vec![("client_id", client), ("scope", profile)];
    let resource = if face == "mcp" { resource(remote).await? } else { String::new() };
    if !resource.is_empty() {
        fields.push(("resource", &resource));
    }
    let waiting: Waiting = match post(remote, "/oauth/device_authorization", &fields).await? {
        (true, waiting) => read(waiting)?,
        (false, error) => return Err(refused(&error).into()),
    };
    let place = clean(&waiting.verification_uri, false);
    let said = format!(
        "{client} asks for `{profile}`. A person who lends it opens {place}\nand types the code {} there, within {} minutes.",
        clean(&waiting.user_code, false),
        waiting.expires_in.div_ceil(60),
    );
    let told = writeln!(around.errors, "{said}").and_then(|()| around.errors.flush());
    told.map_err(|error| Trouble::local("cannot show the code", error))?;
    let end = Instant::now() + Duration::from_secs(waiting.expires_in.min(24 * 3600));
    let mut interval = waiting.interval.unwrap_or(INTERVAL_SECS).min(60);
    let kind = "urn:ietf:params:oauth:grant-type:device_code";
    let fields = [("grant_type", kind), ("device_code", &waiting.device_code), ("client_id", client)];
    loop {
        match post(remote, "/oauth/token", &fields).await? {
            (true, tokens) => return Ok(read(tokens)?),
            (false, error) => match code_of(&error) {
                "authorization_pending" => {}
                "slow_down" => interval += INTERVAL_SECS,
                "access_denied" => return Err(Not::Lent("the person refused; nothing was lent", Exit::Denied)),
                "expired_token" => return Err(Not::Lent("nobody answered in time; ask anew", Exit::Failed)),
                _ => return Err(refused(&error).into()),
            },
        }
        let next = Instant::now() + Duration::from_secs(interval);
        if next > end {
            return Err(Not::Lent("nobody answered in time; ask anew", Exit::Failed));
        }
        tokio::time::sleep_until(next).await;
    }
}

/// The name of the server's MCP face (RFC 9728), which a credential for it must carry.
async fn resource(remote: &Remote) -> Result<String, Trouble> {
    let path = "/.well-known/oauth-protected-resource/mcp";
    let request = remote.request("GET", path).header(header::ACCEPT, "application/json").body(Bytes::new());
    match send(remote, request).await? {
        (true, metadata) => Ok(metadata.get("resource").and_then(Value::as_str).unwrap_or_default().to_owned()),
        (false, error) => Err(refused(&error)),
    }
}

async fn post(remote: &Remote, path: &str, fields: &[(&str, &str)]) -> Result<(bool, Value), Trouble> {
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    let request = remote
        .request("POST", path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json")
        .body(Bytes::from(pairs.join("&")));
    send(remote, request).await
}

/// Whether it went well, and what came back.
async fn send(remote: &Remote, request: http::Result<http::Request<Bytes>>) -> Result<(bool, Value), Trouble> {
    let request = request.map_err(|error| Trouble::Usage(format!("this cannot be sent: {error}")))?;
    let sent = remote.client().send(request).await;
    let response =
        sent.map_err(|failure| Trouble::Remote(format!("{failure}; is a server there? see `--url` and POSSE_URL")))?;
    let body = serde_json::from_slice(response.body());
    let unreadable = || Trouble::Remote(format!("the server answered {} with what is no JSON", response.status()));
    Ok((response.status() == StatusCode::OK, body.map_err(|_| unreadable())?))
}

fn read<T: for<'a> Deserialize<'a>>(body: Value) -> Result<T, Trouble> {
    serde_json::from_value(body)
        .map_err(|error| Trouble::Remote(format!("the server's answer is not OAuth's: {error}")))
}

/// The error's name (RFC 6749 section 5.2).
fn code_of(error: &Value) -> &str {
    error.get("error").and_then(Value::as_str).unwrap_or_default()
}

/// An error in OAuth's words, or a problem document.
fn refused(error: &Value) -> Trouble {
    let text = |field: &str| error.get(field).and_then(Value::as_str);
    let why = text("error_description").or_else(|| text("detail")).unwrap_or("it does not say why");
    Trouble::Remote(format!("the server refuses: {}", clean(why, false)))
}

/// Where what renews a loan is kept.
fn renewal_of(into: &Path) -> PathBuf {
    let mut name = into.as_os_str().to_owned();
    name.push(".renew");
    PathBuf::from(name)
}

/// Put a secret in place of what was there, whole or not at all, for nobody else to read.
fn keep(at: &Path, secret: &str) -> Result<(), Trouble> {
    let cannot = |error: std::io::Error| Trouble::local(format!("cannot write `{}`", at.display()), error);
    let mut fresh = at.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(fresh);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&fresh).and_then(|mut file| file.write_all(secret.as_bytes()));
    written.and_then(|()| fs::rename(&fresh, at)).map_err(|error| {
        // What is left over is of no use to anybody.
        let _ = fs::remove_file(&fresh);
        cannot(error)
    })
}

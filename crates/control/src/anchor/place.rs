//! The places that an anchor can lead to: a file that lines are added to, a webhook, a bucket. Must never show a secret, and never
//! change what is there already: lines are added, objects are new.

use crate::settings::AnchorPlace;
use action::{Credentials, Signable, sign, standard_webhooks_key, standard_webhooks_signature};
use api::AnchorKind;
use audit::AnchorLine;
use bytes::Bytes;
use egress::{Client, Destination, Failure, Policy, Scheme};
use ids::Timestamp;
use seal::Digest;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// How much of a file's end is read back after a start.
const TAIL_BYTES: u64 = 4 << 20;
/// No answer to a `put` says more than this.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Why an anchor cannot be set up.
#[derive(Debug, Error)]
pub(crate) enum AnchorFault {
    /// The client cannot be made, or the address is none.
    #[error(transparent)]
    Egress(#[from] Failure),
    /// The bucket, its prefix or the region holds what cannot stand in a path.
    #[error("`{0}` may hold letters, digits, `.`, `_`, `-` and, in a prefix, `/`")]
    Name(String),
    /// Plain HTTP to the public internet.
    #[error("an anchor without TLS must be inside: use https, or say `private_network = true`")]
    Plain,
    /// The webhook's secret is not one.
    #[error("the secret is no signing secret of a webhook: 16 to 128 bytes in base64, with or without `whsec_` before")]
    Secret,
}

/// Where one anchor leads.
pub(super) enum Place {
    File(PathBuf),
    S3 { client: Client, address: String, host: String, prefix: String, credentials: Credentials },
    Webhook { client: Client, url: String, shown: String, key: Vec<u8> },
}

impl Place {
    pub(super) fn new(place: &AnchorPlace) -> Result<Self, AnchorFault> {
        match place {
            AnchorPlace::File { path } => Ok(Self::File(path.clone())),
            AnchorPlace::S3 { endpoint, bucket, region, prefix, access_key_id, secret_access_key, private_network } => {
                for name in [bucket, region] {
                    plain(name, "")?;
                }
                plain(prefix, "/")?;
                let (client, destination) = client(endpoint, *private_network)?;
                let credentials = Credentials {
                    access_key_id: access_key_id.clone(),
                    secret_access_key: secret_access_key.expose().to_owned(),
                    session_token: None,
                    region: region.clone(),
                    service: "s3".to_owned(),
                };
                let host = host(&destination);
                let address = format!("{}://{host}/{bucket}/", destination.scheme.as_str());
                Ok(Self::S3 { client, address, host, prefix: prefix.clone(), credentials })
            }
            AnchorPlace::Webhook { url, secret, private_network } => {
                let key = standard_webhooks_key(secret.expose()).ok_or(AnchorFault::Secret)?;
                let (client, destination) = client(url, *private_network)?;
                let shown = format!("{}://{}", destination.scheme.as_str(), host(&destination));
                Ok(Self::Webhook { client, url: url.clone(), shown, key })
            }
        }
    }

    pub(super) const fn kind(&self) -> AnchorKind {
        match self {
            Self::File(_) => AnchorKind::File,
            Self::S3 { .. } => AnchorKind::S3,
            Self::Webhook { .. } => AnchorKind::Webhook,
        }
    }

    /// Where it leads, for people: an address may hold a secret in its path.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::S3 { address, .. } => address.clone(),
            Self::Webhook { shown, .. } => shown.clone(),
        }
    }

    /// Put a line there.
    pub(super) async fn put(&self, line: Vec<u8>, now: Timestamp) -> Result<(), String> {
        match self {
            Self::File(path) => {
                let path = path.clone();
                blocking(move || append(&path, line)).await
            }
            Self::S3 { client, address, host, prefix, credentials } => {
                let digest = Digest::of(&line).to_hex();
                let name = format!("{prefix}{:020}-{}.jsonl", now.as_micros(), digest.get(..16).unwrap_or_default());
                let (url, bucket) = (format!("{address}{name}"), address.split('/').nth(3).unwrap_or_default());
                // What is sent is plain, so that S3's single encoding of a path and the others' double one agree.
                let path = format!("/{bucket}/{name}");
                let headers = vec![
                    ("content-type".to_owned(), "application/x-ndjson".to_owned()),
                    ("x-amz-content-sha256".to_owned(), digest),
                ];
                let signable = Signable { method: "PUT", host, path: &path, query: "", body: &line };
                let signed = sign(&signable, &headers, credentials, now);
                send(client, "PUT", &url, headers.into_iter().chain(signed), line).await
            }
            Self::Webhook { client, url, key, .. } => {
                let id = format!("anchor_{}", Digest::of(&line).to_hex());
                let at_secs = now.as_micros().div_euclid(1_000_000);
                let headers = [
                    ("content-type", "application/json".to_owned()),
                    ("webhook-signature", standard_webhooks_signature(key, &id, at_secs, &line)),
                    ("webhook-id", id),
                    ("webhook-timestamp", at_secs.to_string()),
                ];
                let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value));
                send(client, "POST", url, headers, line).await
            }
        }
    }

    /// What was put there last, where that can be read back.
    pub(super) async fn kept(&self) -> Result<Option<Vec<AnchorLine>>, String> {
        let Self::File(path) = self else { return Ok(None) };
        let path = path.clone();
        blocking(move || tail(&path)).await.map(Some)
    }
}

fn plain(name: &str, more: &str) -> Result<(), AnchorFault> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter) || more.contains(letter);
    let odd = name.split('/').any(|part| part == ".." || part == ".");
    if name.chars().all(allowed) && !odd && (!name.is_empty() || !more.is_empty()) && !name.starts_with('/') {
        Ok(())
    } else {
        Err(AnchorFault::Name(name.chars().take(200).collect()))
    }
}

fn client(address: &str, private_network: bool) -> Result<(Client, Destination), AnchorFault> {
    let mut destination = Destination::of(address)?;
    if private_network {
        destination = destination.also_private();
    } else if destination.scheme == Scheme::Http {
        return Err(AnchorFault::Plain);
    }
    let policy = Policy { body_bytes_max: ANSWER_BYTES_MAX, ..Policy::to(vec![destination.clone()]) };
    Ok((Client::new(policy)?, destination))
}

/// The host as a request names it: with the port where it is not the scheme's own.
fn host(destination: &Destination) -> String {
    match (destination.scheme, destination.port) {
        (Scheme::Http, 80) | (Scheme::Https, 443) => destination.host.clone(),
        (_, port) => format!("{}:{port}", destination.host),
    }
}

async fn send(
    client: &Client,
    method: &str,
    url: &str,
    headers: impl Iterator<Item = (String, String)>,
    body: Vec<u8>,
) -> Result<(), String> {
    let builder = http::Request::builder().method(method).uri(url);
    let builder = headers.fold(builder, |builder, (name, value)| builder.header(name, value));
    let request = builder.body(Bytes::from(body)).map_err(|error| format!("the request cannot be made: {error}"))?;
    let answer = client.send(request).await.map_err(|failure| failure.to_string())?;
    if answer.status().is_success() { Ok(()) } else { Err(format!("it answered {}", answer.status())) }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| format!("the file cannot be used: {error}")),
        Err(_) => Err("the file cannot be used".to_owned()),
    }
}

/// Add a line; one that a crash cut is taken away before.
fn append(path: &Path, mut line: Vec<u8>) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().read(true).append(true).create(true).open(path)?;
    let length = file.metadata()?.len();
    let whole = whole_lines(&mut file, length)?;
    if whole < length {
        file.set_len(whole)?;
    }
    line.push(b'\n');
    file.write_all(&line)?;
    file.flush()
}

/// How many bytes the whole lines at the end take the file to.
fn whole_lines(file: &mut std::fs::File, length: u64) -> std::io::Result<u64> {
    let from = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let ends = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place.saturating_add(1));
    if ends == 0 && from > 0 {
        return Err(std::io::Error::other("its end is no line of an anchor; name another file"));
    }
    Ok(from.saturating_add(u64::try_from(ends).unwrap_or(0)))
}

/// The last lines; none where there is no file yet.
fn tail(path: &Path) -> std::io::Result<Vec<AnchorLine>> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let whole = whole_lines(&mut file, length)?;
    let from = whole.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(whole.saturating_sub(from)).read_to_end(&mut bytes)?;
    // The first line may be cut by where reading began.
    let cut = bytes.iter().position(|byte| *byte == b'\n').filter(|_| from > 0).map_or(0, |place| place + 1);
    let text = String::from_utf8(bytes.split_off(cut)).map_err(std::io::Error::other)?;
    AnchorLine::read_all(&text).map_err(|error| std::io::Error::other(format!("{error}; name another file")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use audit::FormatVersion;
    use ids::{List, Text};

    fn line(micros: i64) -> AnchorLine {
        AnchorLine {
            checkpoints: List::default(),
            log: Text::truncated("posse.example.com/audit"),
            time: Timestamp::from_micros(micros),
            v: FormatVersion,
        }
    }

    #[test]
    fn a_line_that_a_crash_cut_is_taken_away_and_a_foreign_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchor.jsonl");
        assert!(tail(&path).unwrap().is_empty());
        append(&path, line(1_000_000).encode().unwrap()).unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"checkpoints\":[").unwrap();
        assert_eq!(tail(&path).unwrap(), [line(1_000_000)]);
        append(&path, line(2_000_000).encode().unwrap()).unwrap();
        assert_eq!(tail(&path).unwrap(), [line(1_000_000), line(2_000_000)]);
        std::fs::write(&path, "root:x:0:0\n").unwrap();
        assert!(tail(&path).is_err());
    }

    #[test]
    fn names_that_would_change_a_path_are_refused() {
        for (name, more, good) in [
            ("logs", "", true),
            ("a/b", "", false),
            ("a/b/", "/", true),
            ("../x", "/", false),
            ("", "", false),
            ("", "/", true),
            ("/a", "/", false),
            ("a b", "/", false),
        ] {
            assert_eq!(plain(name, more).is_ok(), good, "{name}");
        }
        assert!(matches!(client("http://example.com", false), Err(AnchorFault::Plain)));
    }
}

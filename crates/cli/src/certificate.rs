//! `posse audit certificate FILE`: what a certificate of an erasure says, and whether the log's key signed it. Needs no server; the
//! key comes from elsewhere, never from the file.

use crate::audit_folder::{BROUGHT_BYTES_MAX, field_of, keys};
use crate::operate::Around;
use crate::show::{Format, render};
use crate::source::read_file;
use crate::{Exit, exit};
use audit::ErasureCertificate;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

/// The word on the command line, below `audit`.
pub(crate) const COMMAND: &str = "certificate";

/// The command.
pub(crate) fn command() -> Command {
    let key = "The public key from elsewhere (`posse audit key`); again after a key rotation";
    Command::new(COMMAND)
        .about("Verify the certificate of a tenant's erasure offline, with nothing but the public key")
        .arg(Arg::new("file").value_name("FILE").required(true).help("What `posse tenant certificate` answered, or its note"))
        .arg(Arg::new("key").long("key").value_name("FILE").action(ArgAction::Append).help(key))
        .after_help("Ends with: 0 the key signed it, 1 it did not or it was changed, 3 well formed but not authenticated (no --key).")
}

/// Verify and say what it says.
pub(crate) fn verify(matches: &ArgMatches, format: Format, around: &mut Around<'_>) -> Exit {
    let path = matches.get_one::<String>("file").map_or("", String::as_str);
    let brought =
        keys(matches).and_then(|keys| Ok((keys, field_of(read_file(path, BROUGHT_BYTES_MAX)?, "certificate"))));
    let (keys, note) = match brought {
        Ok(brought) => brought,
        Err(trouble) => return exit::complain(around.errors, &trouble.to_string(), Exit::Failed),
    };
    let read = match keys.is_empty() {
        true => ErasureCertificate::unauthenticated(&note),
        false => ErasureCertificate::open(&note, &keys),
    };
    let (certificate, ended) = match read {
        Ok(certificate) if keys.is_empty() => (certificate, Exit::Unauthenticated),
        Ok(certificate) => (certificate, Exit::Done),
        Err(error) => {
            let text = format!("`{path}` is not a certificate under this key: {error}");
            return exit::complain(around.errors, &text, Exit::Failed);
        }
    };
    let document = json!({ "authenticated": ended == Exit::Done, "certificate": certificate });
    match around.output.write_all(render(&document, format).as_bytes()) {
        Ok(()) => ended,
        Err(error) => exit::complain(around.errors, &format!("cannot write the output: {error}"), Exit::Failed),
    }
}

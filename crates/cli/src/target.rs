//! Where calls go and with which credential: flags before environment before the default.

use crate::answer::Trouble;
use crate::source::read_file;
use api::Credential;
use clap::ArgMatches;

/// Where a server listens that was started without saying where.
pub(crate) const URL_DEFAULT: &str = "http://127.0.0.1:7300";
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// A server and how to be known to it.
#[derive(Debug)]
pub(crate) struct Target {
    /// The server's address, without a slash at its end.
    pub(crate) url: String,
    /// The credential, where there is one.
    pub(crate) credential: Option<Credential>,
}

impl Target {
    /// From `--url` and `--token-file`, else `POSSE_URL` and `POSSE_TOKEN`.
    pub(crate) fn of(matches: &ArgMatches, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Trouble> {
        let given = |name: &str| matches.get_one::<String>(name).cloned();
        let set = |name: &str| variable(name).filter(|text| !text.is_empty());
        let url = given("url").or_else(|| set("POSSE_URL")).unwrap_or_else(|| URL_DEFAULT.to_owned());
        let token = match given("token-file") {
            Some(path) => Some(read_file(&path, TOKEN_BYTES_MAX)?),
            None => set("POSSE_TOKEN"),
        };
        let credential = token.map(|token| Credential::new(token.trim().to_owned()));
        Ok(Self { url: url.trim_end_matches('/').to_owned(), credential })
    }
}

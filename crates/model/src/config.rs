//! What `[models.ALIAS]` of the configuration says, and what may not stand there.

use egress::{Destination, Scheme};
use seal::SecretText;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// How many questions to one model may be open at once, where nothing is said.
const CONCURRENCY: u32 = 64;
/// How often a question is tried, where nothing is said.
const TRIES: u32 = 6;

/// Which wire a model speaks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Anthropic's messages.
    Anthropic,
    /// OpenAI's chat completions, as most servers speak them.
    Openai,
}

/// How a model hears of tools.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum ToolStyle {
    /// As tools of the wire.
    #[default]
    Native,
    /// In words, and the server holds the answer to a JSON schema (`response_format`).
    Schema,
    /// In words only.
    Text,
}

/// The key under which the most tokens of an answer are sent.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum OutputLimit {
    /// What the newer models of OpenAI want.
    MaxCompletionTokens,
    /// What everybody else takes.
    #[default]
    MaxTokens,
}

impl OutputLimit {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxTokens => "max_tokens",
        }
    }
}

/// What a million tokens cost, in millionths of the currency: 3,000,000 is three dollars, where budgets are in dollars.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Tokens that the model reads.
    pub input_micros: u64,
    /// Tokens that it writes.
    pub output_micros: u64,
}

impl Prices {
    /// What these tokens cost, rounded up.
    #[must_use]
    pub fn of(self, input_tokens: u64, output_tokens: u64) -> u64 {
        let input = u128::from(input_tokens) * u128::from(self.input_micros);
        let output = u128::from(output_tokens) * u128::from(self.output_micros);
        u64::try_from((input + output).div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// How long each part of an answer may take, in seconds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Making a connection: 1 to 60.
    pub connect_secs: u32,
    /// From the request to the head of the answer: 1 to 600. Servers on small machines read long before they write.
    pub first_byte_secs: u32,
    /// A pause in the stream: 1 to 600.
    pub idle_secs: u32,
    /// A whole answer: 1 to 3600.
    pub answer_secs: u32,
    /// The longest `Retry-After` that is waited for; where more is asked, the next alias is tried: 1 to 600.
    pub retry_after_secs: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_secs: 10, first_byte_secs: 120, idle_secs: 60, answer_secs: 600, retry_after_secs: 60 }
    }
}

/// One `[models.ALIAS]` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// Which wire it speaks: `openai` or `anthropic`.
    pub kind: Kind,
    /// Where it is, up to and without the wire's own path, for example `http://127.0.0.1:8080/v1`.
    pub base_url: String,
    /// Its name there.
    pub model: String,
    /// The environment variable that holds the key.
    pub api_key_env: Option<String>,
    /// The file that holds the key.
    pub api_key_file: Option<PathBuf>,
    /// Whether `base_url` may lead to a private address. This machine by `localhost` or a loopback address always may.
    #[serde(default)]
    pub private_addresses: bool,
    /// Aliases that are asked, in this order, where this one gives no answer.
    #[serde(default)]
    pub fallback: Vec<String>,
    /// Questions open at once: 1 to 10,000; 64 where nothing is said.
    pub max_concurrency: Option<u32>,
    /// How often a question is tried: 1 to 20; 6 where nothing is said.
    pub tries: Option<u32>,
    /// How it hears of tools: `native`, `schema` or `text`.
    #[serde(default)]
    pub tools: ToolStyle,
    /// The most tokens of an answer that it can give, where that is less than a run asks for.
    pub output_tokens_max: Option<u32>,
    /// The key of that bound on the wire of `openai`.
    #[serde(default)]
    pub output_limit: OutputLimit,
    /// How much chance is in the answer: 0 to 2.
    pub temperature: Option<f64>,
    /// What it costs; without prices money is not metered.
    #[serde(default)]
    pub prices: Prices,
    /// How long it may take.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// What may not stand in the configuration of models.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A value that cannot be.
    #[error("`models.{alias}.{key}` {why}")]
    Value {
        /// Which alias.
        alias: String,
        /// Which key.
        key: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// An alias that is no name.
    #[error("`models.{0}` is no alias; use lower-case letters, digits and dashes, at most 64")]
    Alias(String),
    /// No client can be made.
    #[error("`models.{alias}` cannot be reached from here")]
    Client {
        /// Which alias.
        alias: String,
        /// Why.
        #[source]
        source: egress::Failure,
    },
}

/// Where keys are read from.
pub struct Surroundings<'a> {
    /// The environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Files.
    pub file: &'a dyn Fn(&Path) -> std::io::Result<String>,
}

/// A section that was checked.
pub(crate) struct Checked {
    pub(crate) url: String,
    pub(crate) destination: Destination,
    pub(crate) key: Option<SecretText>,
    pub(crate) concurrency: usize,
    pub(crate) tries: u32,
}

/// Check a section against itself and the others.
pub(crate) fn check(
    alias: &str,
    section: &Section,
    all: &BTreeMap<String, Section>,
    surroundings: &Surroundings<'_>,
) -> Result<Checked, ConfigError> {
    let wrong = |key, why: &str| Err(ConfigError::Value { alias: alias.to_owned(), key, why: why.to_owned() });
    if !is_alias(alias) {
        return Err(ConfigError::Alias(alias.chars().take(80).collect()));
    }
    if section.model.trim().is_empty() || section.model.len() > 256 {
        return wrong("model", "is empty or over 256 bytes; give the model's name at its provider");
    }
    for other in &section.fallback {
        if other == alias || !all.contains_key(other) {
            let why = format!("names `{other}`, which is no other alias; add `[models.{other}]` or leave it out");
            return wrong("fallback", &why);
        }
    }
    if section.fallback.len() > 8 {
        return wrong("fallback", "has more than 8 entries");
    }
    let between = |value: u32, most: u32| (1..=most).contains(&value);
    let (concurrency, tries) = (section.max_concurrency.unwrap_or(CONCURRENCY), section.tries.unwrap_or(TRIES));
    if !between(concurrency, 10_000) {
        return wrong("max_concurrency", "is not between 1 and 10000");
    }
    if !between(tries, 20) {
        return wrong("tries", "is not between 1 and 20");
    }
    if section.output_tokens_max == Some(0) {
        return wrong("output_tokens_max", "is 0; leave it out, or allow at least 1");
    }
    if section.temperature.is_some_and(|value| !(0.0..=2.0).contains(&value)) {
        return wrong("temperature", "is not between 0 and 2");
    }
    let times = &section.timeouts;
    for (key, value, most) in [
        ("timeouts.connect_secs", times.connect_secs, 60),
        ("timeouts.first_byte_secs", times.first_byte_secs, 600),
        ("timeouts.idle_secs", times.idle_secs, 600),
        ("timeouts.answer_secs", times.answer_secs, 3600),
        ("timeouts.retry_after_secs", times.retry_after_secs, 600),
    ] {
        if !between(value, most) {
            return wrong(key, &format!("is not between 1 and {most}"));
        }
    }
    if section.kind == Kind::Anthropic && section.tools == ToolStyle::Schema {
        return wrong("tools", "is `schema`, which the wire of `anthropic` has not; write `native` or `text`");
    }
    let (url, destination) = address(alias, section)?;
    let key = key(alias, section, surroundings)?;
    Ok(Checked { url, destination, key, concurrency: usize::try_from(concurrency).unwrap_or(1), tries })
}

fn is_alias(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=64).contains(&text.len()) && text.chars().all(letter)
}

/// Where requests go. A name leads to public addresses only, so that no answer of a name server can turn the key and the
/// case inwards; this machine, written out, is meant; every other private place wants a word of its own.
fn address(alias: &str, section: &Section) -> Result<(String, Destination), ConfigError> {
    let wrong = |why: String| ConfigError::Value { alias: alias.to_owned(), key: "base_url", why };
    let base = section.base_url.trim_end_matches('/');
    if base.contains(['?', '#', '@']) || base.chars().any(char::is_whitespace) || base.len() > 512 {
        return Err(wrong("has a user, a query, a fragment or spaces; write `https://HOST/PATH` only".to_owned()));
    }
    let destination = Destination::of(base)
        .map_err(|_| wrong(format!("is `{base}`, which is no address; write `https://HOST/PATH`")))?;
    let literal = destination.host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let here = destination.host == "localhost" || literal.is_some_and(|address| address.is_loopback());
    if destination.scheme == Scheme::Http && !here && !section.private_addresses {
        return Err(wrong(
            "is plain `http` to another machine; write `https`, or set `private_addresses = true` for a network of yours"
                .to_owned(),
        ));
    }
    let destination = if here || section.private_addresses { destination.also_private() } else { destination };
    let path = match section.kind {
        Kind::Openai => "/chat/completions",
        Kind::Anthropic if base.ends_with("/v1") => "/messages",
        Kind::Anthropic => "/v1/messages",
    };
    Ok((format!("{base}{path}"), destination))
}

fn key(alias: &str, section: &Section, from: &Surroundings<'_>) -> Result<Option<SecretText>, ConfigError> {
    let wrong = |key, why: String| ConfigError::Value { alias: alias.to_owned(), key, why };
    let (name, text) = match (&section.api_key_env, &section.api_key_file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(wrong("api_key_env", "stands beside `api_key_file`; give one of them".to_owned()));
        }
        (Some(variable), None) => {
            let text = (from.variable)(variable)
                .ok_or_else(|| wrong("api_key_env", format!("names `{variable}`, which is not set")))?;
            ("api_key_env", text)
        }
        (None, Some(file)) => {
            let text = (from.file)(file).map_err(|error| {
                wrong("api_key_file", format!("names `{}`, which cannot be read: {error}", file.display()))
            })?;
            ("api_key_file", text)
        }
    };
    let text = text.trim();
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err(wrong(name, "leads to a key that is empty or has letters that no header may have".to_owned()));
    }
    SecretText::new(text).map(Some).map_err(|error| wrong(name, format!("leads to a key that cannot be: {error}")))
}

impl Timeouts {
    pub(crate) const fn connect(&self) -> Duration {
        Duration::from_secs(self.connect_secs as u64)
    }

    pub(crate) const fn first_byte(&self) -> Duration {
        Duration::from_secs(self.first_byte_secs as u64)
    }

    pub(crate) const fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_secs as u64)
    }

    pub(crate) const fn answer(&self) -> Duration {
        Duration::from_secs(self.answer_secs as u64)
    }

    pub(crate) const fn retry_after(&self) -> Duration {
        Duration::from_secs(self.retry_after_secs as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(kind: &str, base_url: &str, more: &str) -> Option<(String, bool)> {
        let text = format!("kind = \"{kind}\"\nmodel = \"m\"\nbase_url = \"{base_url}\"\n{more}");
        let section: Section = toml::from_str(&text).ok()?;
        address("a", &section).ok().map(|(url, place)| (url, place.private_addresses))
    }

    #[test]
    fn a_name_leads_to_public_addresses_only_unless_it_is_said() {
        for (kind, base_url, more, url, private) in [
            ("openai", "https://api.example.com/v1/", "", "https://api.example.com/v1/chat/completions", false),
            ("openai", "https://10.0.0.7/v1", "", "https://10.0.0.7/v1/chat/completions", false),
            ("openai", "http://llm:8000", "private_addresses = true", "http://llm:8000/chat/completions", true),
            ("anthropic", "https://api.example.com", "", "https://api.example.com/v1/messages", false),
            ("anthropic", "http://[::1]:1/v1", "", "http://[::1]:1/v1/messages", true),
            ("openai", "http://localhost:1/v1", "", "http://localhost:1/v1/chat/completions", true),
        ] {
            assert_eq!(place(kind, base_url, more), Some((url.to_owned(), private)), "{base_url}");
        }
        // A name that only begins or ends like this machine is another machine.
        for base_url in ["http://localhost.example.com/v1", "http://127.0.0.1.example.com/v1", "http://0.0.0.0:1/v1"] {
            assert_eq!(place("openai", base_url, ""), None, "{base_url}");
        }
    }
}

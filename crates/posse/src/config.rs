//! The configuration: `DIR/posse.toml`, over it the environment, over it the flags. Unknown keys are errors.

use anyhow::{Context as _, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// What `posse serve --help` says.
pub(crate) const HELP: &str = "\
Start everything that a data folder holds, with REST and MCP on one address

Usage: posse serve --data-dir DIR [--listen HOST:PORT] [--config FILE]

Options:
  --data-dir DIR      Where everything is kept; made where it is new (POSSE_DATA_DIR)
  --listen HOST:PORT  Address to listen on, default 127.0.0.1:7300; port 0 takes a free one (POSSE_LISTEN)
  --config FILE       Configuration, default DIR/posse.toml
  -h, --help          Show this

A new folder gets `bootstrap-token`: the first admin's token, valid 24 hours.
POSSE_MODEL_URL (with POSSE_MODEL_KIND, _NAME and _KEY) gives the model `default` without a file; see docs/models.md.
The master key is read from POSSE_MASTER_KEY (64 hex digits) or `master_key_file`, else kept in DIR/master-key. To change
it, start once with the old one as POSSE_MASTER_KEY_BEFORE or `master_key_before_file`.
";

/// Everything that can be configured.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Address to listen on.
    pub(crate) listen: Option<String>,
    /// The address that clients use, where it is another one, for example `https://posse.example.com`.
    pub(crate) public_url: Option<String>,
    /// Names that a `Host` header may carry besides loopback names and the public one.
    pub(crate) host_names: Vec<String>,
    /// URLs of authorization servers, for the protected resource metadata (RFC 9728).
    pub(crate) authorization_servers: Vec<String>,
    /// A `PostgreSQL` URL, in place of the embedded state; give it in a file with `database_url_file`.
    pub(crate) database_url_file: Option<PathBuf>,
    /// File with the master key: 64 hex digits.
    pub(crate) master_key_file: Option<PathBuf>,
    /// File with the master key before, for the one start that changes it: every key is sealed anew under the one above.
    pub(crate) master_key_before_file: Option<PathBuf>,
    /// Name of the audit log in checkpoints; cannot change later.
    pub(crate) log_name: Option<String>,
    /// How long an approval waits, in seconds.
    pub(crate) approval_ttl_secs: Option<u64>,
    /// How many days it holds at most that somebody said an agent or a service key needs what it has.
    pub(crate) recertification_days: Option<u16>,
    /// Calls per second that one principal may make, sustained.
    pub(crate) calls_per_second: Option<u32>,
    /// Calls that one principal may make at once.
    pub(crate) calls_burst: Option<u32>,
    /// Loud: a person may approve their own proposals.
    pub(crate) self_approval: bool,
    /// The SMT solver (cvc5) that proves things about policies: a path, or a name in `PATH`; `cvc5` where nothing is said.
    pub(crate) solver: Option<PathBuf>,
    /// `pretty` or `json`.
    pub(crate) log_format: LogFormat,
    /// TLS, where the server terminates it.
    pub(crate) tls: Option<TlsFiles>,
    /// Where syslog is listened for.
    pub(crate) syslog: Vec<SyslogListener>,
    /// How long records that can be found already stay in memory and in the log only, before they are put into files, in
    /// seconds; 60 where nothing is said. Less makes more and smaller files and a shorter start after a crash.
    pub(crate) flush_after_secs: Option<u32>,
    /// The same, set by programs.
    #[serde(skip)]
    pub(crate) flush_after: Option<std::time::Duration>,
    /// `HOST` or `HOST:PORT` that connectors may reach without TLS, or at addresses that are not public.
    pub(crate) connector_hosts_inside: Vec<String>,
    /// Folders below which tenants may have external tables.
    pub(crate) external_folders: Vec<ExternalFolder>,
    /// Language models by alias.
    pub(crate) models: BTreeMap<String, model::Section>,
    /// OpenID providers that people sign in through, by name.
    pub(crate) sign_in: BTreeMap<String, crate::sign_in::Section>,
    /// Places outside where the log's checkpoints are put, by name.
    pub(crate) audit_anchors: BTreeMap<String, crate::audit_anchors::Section>,
}

/// An `[[external_folders]]` section: a folder of Parquet that the server reads in place for tenants.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExternalFolder {
    /// Its absolute path; `{tenant}` in it stands for the tenant's id.
    pub(crate) folder: String,
    /// For whom it is; may only be left out where the path names `{tenant}`.
    pub(crate) tenants: Option<std::collections::BTreeSet<ids::TenantId>>,
}

impl ExternalFolder {
    /// As the lake knows it.
    pub(crate) fn allowed(&self) -> anyhow::Result<lake::ExternalFolder> {
        let path = Path::new(&self.folder);
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        if !path.is_absolute() || !path.components().all(plain) || path.components().count() < 2 {
            bail!("`external_folders`: `{}` is no absolute path without `..` below the root", self.folder);
        }
        if self.tenants.is_none() && !self.folder.contains("{tenant}") {
            bail!("`external_folders`: name the tenants of `{}`, or put `{{tenant}}` into its path", self.folder);
        }
        Ok(lake::ExternalFolder { folder: self.folder.clone(), tenants: self.tenants.clone() })
    }
}

/// A `[[syslog]]` section: everything that it hears belongs to one source of one tenant.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyslogListener {
    /// Address to listen on, for example `0.0.0.0:514`.
    pub(crate) listen: String,
    /// `udp`, `tcp` or `tls`.
    pub(crate) protocol: SyslogProtocol,
    /// The tenant's id.
    pub(crate) tenant: ids::TenantId,
    /// The source's name; it must exist, or nothing is taken.
    pub(crate) source: ids::Text<64>,
    /// Files of the TLS identity; where nothing is said, those of `[tls]`.
    pub(crate) tls: Option<TlsFiles>,
    /// Connections that may be open at once; 1,024 where nothing is said.
    pub(crate) connections_max: Option<usize>,
    /// Seconds of silence after which a connection is closed; 600 where nothing is said.
    pub(crate) idle_secs: Option<u64>,
}

/// How syslog senders connect.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SyslogProtocol {
    /// TCP.
    Tcp,
    /// TCP with TLS.
    Tls,
    /// UDP.
    Udp,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Pretty,
}

/// Files of a TLS identity.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFiles {
    /// Certificate chain, PEM.
    pub(crate) certificate_file: PathBuf,
    /// Private key, PEM.
    pub(crate) key_file: PathBuf,
}

/// What `posse serve` was asked.
pub(crate) enum Asked {
    /// Show the help.
    Help,
    /// Serve this folder.
    Serve {
        /// The data folder.
        data_dir: PathBuf,
        /// The address.
        listen: String,
        /// Everything else.
        config: Box<Config>,
    },
}

/// Read flags, environment and file.
pub(crate) fn read(arguments: &[OsString], variable: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Asked> {
    let (mut data_dir, mut listen, mut file) = (None, None, None);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let text = argument.to_str().context("an argument is not UTF-8")?;
        let (flag, inline) = text.split_once('=').map_or((text, None), |(flag, value)| (flag, Some(value.to_owned())));
        let mut value = || match inline.clone() {
            Some(value) => Ok(value),
            None => rest
                .next()
                .and_then(|next| next.to_str())
                .map(str::to_owned)
                .with_context(|| format!("`{flag}` needs a value")),
        };
        match flag {
            "-h" | "--help" => return Ok(Asked::Help),
            "--data-dir" => data_dir = Some(PathBuf::from(value()?)),
            "--listen" => listen = Some(value()?),
            "--config" => file = Some(PathBuf::from(value()?)),
            other => bail!("`{other}` is no option of `posse serve`; see `posse serve --help`"),
        }
    }
    let data_dir = data_dir
        .or_else(|| variable("POSSE_DATA_DIR").map(PathBuf::from))
        .context("`--data-dir` is missing; name the folder where everything is kept")?;
    let mut config = read_file(file.as_deref(), &data_dir)?;
    if let Some(section) = model_of_environment(variable)? {
        config.models.insert("default".to_owned(), section);
    }
    let listen = listen
        .or_else(|| variable("POSSE_LISTEN"))
        .or_else(|| config.listen.clone())
        .unwrap_or_else(|| "127.0.0.1:7300".to_owned());
    Ok(Asked::Serve { data_dir, listen, config: Box::new(config) })
}

/// The model `default` as the environment gives it: `POSSE_MODEL_URL`, and where they are set `POSSE_MODEL_KIND`,
/// `POSSE_MODEL_NAME` and the key in `POSSE_MODEL_KEY`.
pub(crate) fn model_of_environment(
    variable: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Option<model::Section>> {
    let Some(base_url) = variable("POSSE_MODEL_URL") else { return Ok(None) };
    let text = |name: &str, or: &str| toml::Value::String(variable(name).unwrap_or_else(|| or.to_owned()));
    let mut section = toml::Table::new();
    section.insert("base_url".to_owned(), toml::Value::String(base_url));
    section.insert("kind".to_owned(), text("POSSE_MODEL_KIND", "openai"));
    section.insert("model".to_owned(), text("POSSE_MODEL_NAME", "default"));
    if variable("POSSE_MODEL_KEY").is_some() {
        section.insert("api_key_env".to_owned(), toml::Value::String("POSSE_MODEL_KEY".to_owned()));
    }
    let section = section.try_into().context("the model that POSSE_MODEL_URL and its like describe cannot be")?;
    Ok(Some(section))
}

/// The configuration in a data folder, or in the file that is named.
pub(crate) fn read_file(file: Option<&Path>, data_dir: &Path) -> anyhow::Result<Config> {
    let path = file.map_or_else(|| data_dir.join("posse.toml"), Path::to_path_buf);
    match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).with_context(|| format!("`{}` is not a configuration", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => Ok(Config::default()),
        Err(error) => Err(error).with_context(|| format!("`{}` cannot be read", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_gives_a_model() {
        let all = |name: &str| match name {
            "POSSE_DATA_DIR" => Some("/nowhere".to_owned()),
            "POSSE_MODEL_URL" => Some("http://127.0.0.1:8080/v1".to_owned()),
            "POSSE_MODEL_KEY" => Some("k".to_owned()),
            _ => None,
        };
        let Ok(Asked::Serve { config, .. }) = read(&[], &all) else { panic!("serve") };
        let section = config.models.get("default").unwrap();
        assert_eq!((section.model.as_str(), section.api_key_env.as_deref()), ("default", Some("POSSE_MODEL_KEY")));
        let odd = |name: &str| if name == "POSSE_MODEL_KIND" { Some("gopher".to_owned()) } else { all(name) };
        assert!(read(&[], &odd).is_err());
    }

    #[test]
    fn unknown_keys_and_flags_are_errors() {
        assert!(toml::from_str::<Config>("lissten = \"x\"").is_err());
        let tenant = ids::TenantId::derive(&[b"acme"]);
        let syslog = |protocol: &str| {
            format!(
                "[[syslog]]\nlisten = \"0.0.0.0:514\"\nprotocol = \"{protocol}\"\ntenant = \"{tenant}\"\nsource = \"hosts\""
            )
        };
        assert_eq!(toml::from_str::<Config>(&syslog("udp")).unwrap().syslog.len(), 1);
        assert!(toml::from_str::<Config>(&syslog("sctp")).is_err());
        let external = |more: &str| {
            let read = toml::from_str::<Config>(&format!("[[external_folders]]\n{more}"));
            read.is_ok_and(|config| config.external_folders.iter().all(|one| one.allowed().is_ok()))
        };
        assert!(
            external("folder = \"/srv/{tenant}\"")
                && external(&format!("folder = \"/srv/a\"\ntenants = [\"{tenant}\"]"))
        );
        for wrong in ["/srv/a", "srv/{tenant}", "/srv/../{tenant}", "/"] {
            assert!(!external(&format!("folder = \"{wrong}\"")), "{wrong}");
        }
        let model = |more: &str| {
            format!("[models.default]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\nmodel = \"m\"\n{more}")
        };
        assert_eq!(toml::from_str::<Config>(&model("tries = 3")).unwrap().models.len(), 1);
        assert!(toml::from_str::<Config>(&model("api_key = \"sk-1\"")).is_err());
        let flags = |flags: &[&str]| read(&flags.iter().map(OsString::from).collect::<Vec<_>>(), &|_| None);
        assert!(flags(&["--data-dir", "/nowhere", "--lissten", "x"]).is_err());
        assert!(flags(&["--listen", "127.0.0.1:0"]).is_err());
        assert!(
            matches!(flags(&["--data-dir=/nowhere"]), Ok(Asked::Serve { listen, .. }) if listen == "127.0.0.1:7300")
        );
    }
}

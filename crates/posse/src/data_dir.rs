//! A data folder: the lock, the state in it, the master key and the first admin's token. Every file with a secret in it
//! is readable by its owner only.

use crate::case_feed::CaseFeed;
use crate::config::{self, Config};
use crate::telemetry;
use anyhow::{Context as _, bail};
use control::{Control, Offline, Opened, Rate, Registry, Settings};
use ids::{Clock, Entropy, Timestamp};
use model::Models;
use pipeline::Plane;
use seal::{Digest, SystemEntropy};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::Store;

/// The system's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// Open the state and the telemetry in a folder, the gate on both, and the way from findings to cases, not started yet.
pub(crate) async fn open(data_dir: &Path, config: &Config) -> anyhow::Result<(Control, Plane, Arc<CaseFeed>)> {
    std::fs::create_dir_all(data_dir).with_context(|| format!("`{}` cannot be made", data_dir.display()))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let master_key = master_key(data_dir, config, entropy.as_ref())?;
    let master_key_before = master_key_before(config)?;
    let (target, engine) = match &config.database_url_file {
        Some(file) => (store::Config::postgres(read_secret(file)?), "postgres"),
        None => (store::Config::sqlite(data_dir), "sqlite"),
    };
    let state = target.target.clone();
    let store = Store::open(target, clock.clone(), entropy.clone()).await.context("the state cannot be opened")?;
    // After the state: its lock says that nobody else has the folder.
    let feed = CaseFeed::new();
    let flush_after =
        config.flush_after.or(config.flush_after_secs.map(|secs| Duration::from_secs(secs.max(1).into())));
    let external: Vec<_> =
        config.external_folders.iter().map(config::ExternalFolder::allowed).collect::<Result<_, _>>()?;
    let plane =
        telemetry::open(data_dir, state, &clock, &entropy, Arc::clone(&feed) as _, (flush_after, external)).await?;
    let model = models(config, &clock, &entropy)?;
    let opened = Opened {
        store,
        clock,
        entropy,
        settings: settings(config, engine)?,
        registry: Registry::platform(),
        shipped: policy::shipped::documents(),
        master_key,
        master_key_before,
        plane: Some(Arc::new(plane.clone())),
        model,
    };
    let token_file = data_dir.join("bootstrap-token");
    let control = opened.open(|token| write_secret(&token_file, token)).await.context("the gate cannot be opened")?;
    Ok((control, plane, feed))
}

/// Open a folder for one offline command, as `system` plus the user of the operating system; and what takes records.
pub(crate) async fn open_offline(data_dir: &Path) -> anyhow::Result<(Offline, telemetry::Offline)> {
    if !data_dir.is_dir() {
        bail!("`{}` is no folder; name the data folder of a server that is not running", data_dir.display());
    }
    // An offline command drives no runs, so it needs no keys of models either.
    let config = Config {
        models: BTreeMap::new(),
        sign_in: BTreeMap::new(),
        audit_anchors: BTreeMap::new(),
        ..config::read_file(None, data_dir)?
    };
    let (control, plane, feed) = open(data_dir, &config).await?;
    let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "unknown".to_owned());
    Ok((control.offline(&user), telemetry::Offline { plane, feed, control }))
}

/// The models of the configuration; none where it has none.
fn models(
    config: &Config,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> anyhow::Result<Option<Arc<dyn agent::Model>>> {
    if config.models.is_empty() {
        return Ok(None);
    }
    let from =
        model::Surroundings { variable: &|name| std::env::var(name).ok(), file: &|file| std::fs::read_to_string(file) };
    let models = Models::open(&config.models, &from, clock.clone(), entropy.clone())?;
    let aliases: Vec<&str> = models.aliases().collect();
    tracing::info!(aliases = aliases.join(", "), "models are configured");
    Ok(Some(Arc::new(models)))
}

fn settings(config: &Config, engine: &'static str) -> anyhow::Result<Settings> {
    let default = Settings::default();
    Ok(Settings {
        approval_ttl: config.approval_ttl_secs.map_or(default.approval_ttl, Duration::from_secs),
        recertification_period: recertification_period(config, &default)?,
        rate: Rate {
            per_second: config.calls_per_second.unwrap_or(default.rate.per_second),
            burst: config.calls_burst.unwrap_or(default.rate.burst),
        },
        self_approval: config.self_approval,
        log_name: config.log_name.clone().unwrap_or_else(|| default.log_name.clone()),
        engine,
        connector_hosts_inside: config.connector_hosts_inside.clone(),
        sign_in: crate::sign_in::providers(&config.sign_in)?,
        anchors: crate::audit_anchors::anchors(&config.audit_anchors)?,
        solver: solver(config)?,
        ..default
    })
}

fn recertification_period(config: &Config, default: &Settings) -> anyhow::Result<Duration> {
    match config.recertification_days {
        None => Ok(default.recertification_period),
        Some(days @ 1..=3650) => Ok(Duration::from_secs(u64::from(days) * 24 * 3600)),
        Some(days) => bail!("recertification_days is {days}; write 1 to 3650"),
    }
}

/// The solver that is named, which must be there; else cvc5 where it is installed.
fn solver(config: &Config) -> anyhow::Result<Option<control::Solver>> {
    let search = std::env::var_os("PATH");
    match &config.solver {
        Some(named) => Ok(Some(control::Solver::find(named, search.as_deref())?)),
        None => Ok(control::Solver::find(Path::new("cvc5"), search.as_deref()).ok()),
    }
}

fn master_key(data_dir: &Path, config: &Config, entropy: &dyn Entropy) -> anyhow::Result<[u8; 32]> {
    let own = data_dir.join("master-key");
    let text = if let Ok(text) = std::env::var("POSSE_MASTER_KEY") {
        text
    } else if let Some(file) = &config.master_key_file {
        read_secret(file)?
    } else if own.exists() {
        read_secret(&own)?
    } else {
        let mut key = [0_u8; 32];
        entropy.fill(&mut key);
        let text = Digest::from_bytes(key).to_hex();
        write_secret(&own, &text).with_context(|| format!("`{}` cannot be written", own.display()))?;
        text
    };
    key_of(&text)
}

/// The master key that the one of now takes over from, where it is said.
fn master_key_before(config: &Config) -> anyhow::Result<Option<[u8; 32]>> {
    let text = match (std::env::var("POSSE_MASTER_KEY_BEFORE"), &config.master_key_before_file) {
        (Ok(text), _) => text,
        (Err(_), Some(file)) => read_secret(file)?,
        (Err(_), None) => return Ok(None),
    };
    key_of(&text).map(Some)
}

fn key_of(text: &str) -> anyhow::Result<[u8; 32]> {
    let key = Digest::from_hex(text.trim()).map_err(|_| anyhow::anyhow!("a master key is not 64 hex digits"))?;
    Ok(*key.as_bytes())
}

pub(crate) fn read_secret(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))?;
    Ok(text.trim().to_owned())
}

/// Write a secret so that it is whole or not there, and never readable by others.
fn write_secret(file: &Path, secret: &str) -> std::io::Result<()> {
    let fresh = file.with_extension("new");
    // A left-over of a crash keeps its own mode; it goes first.
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    writeln!(open, "{secret}")?;
    open.sync_all()?;
    std::fs::rename(&fresh, file)?;
    match file.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

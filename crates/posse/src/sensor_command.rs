//! `posse sensor`: the program on a host. Enrols it, runs it as a service, tells how it fares. Never reads what a data folder
//! holds: the platform is another program, usually on another machine.

use crate::data_dir::SystemClock;
use anyhow::{Context as _, bail};
use seal::SystemEntropy;
use sensor::source::WatchList;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

const HELP: &str = "\
posse sensor: telemetry and response on this host (Linux; root)

  posse sensor enrol --platform URL (--token TOKEN | --token-file FILE) [--state DIR]
      Take up the identity that `posse sensor create` made; the token is good once.
  posse sensor run [--state DIR] [--source SOURCE] [--below PID] [--watch DIR] [--firewall COMMAND]
      Send telemetry and carry out signed tasks, until SIGTERM.
  posse sensor status [--state DIR]
      Who it is and how it fares, as JSON; also where it does not run.

  --state DIR   where identity, spool and state are kept; /var/lib/posse-sensor where nothing is said
                ($POSSE_SENSOR_STATE)
  --source      `ebpf`, `proc_connector`, or `auto`: the first that the kernel gives
  For trials on a host that is used otherwise too; `posse demo` runs its sensor with them:
  --below PID   tell only of what this process makes
  --watch DIR   watch the files below this folder and no others
  --firewall COMMAND
                isolate with this in place of `nft`, for example `nsenter --net=/run/netns/trial nft`

On the platform, as operations like all others (POSSE_URL, POSSE_TOKEN): posse sensor create, get, list, update,
retire; see for example `posse sensor create --help`.
";

/// The words of `posse sensor` that are this program's; all others are operations of the platform.
const OWN: [&str; 5] = ["enrol", "run", "status", "-h", "--help"];

/// Whether these arguments behind `posse sensor` are for the host's own program. `enrol` is an operation's name too: what
/// names a platform is meant here.
pub(crate) fn meant(arguments: &[OsString]) -> bool {
    arguments.first().and_then(|first| first.to_str()).is_some_and(|first| OWN.contains(&first))
}

/// Carry out `posse sensor` with these arguments.
pub(crate) fn run(arguments: &[OsString]) -> anyhow::Result<()> {
    let (word, rest) = arguments.split_first().context("say `enrol`, `run` or `status`")?;
    let mut flags = read(rest)?;
    let mut take = |name: &str| flags.remove(name);
    let state = take("--state").or_else(|| std::env::var("POSSE_SENSOR_STATE").ok());
    let state = state.map_or_else(|| PathBuf::from("/var/lib/posse-sensor"), PathBuf::from);
    let (platform, token, token_file) = (take("--platform"), take("--token"), take("--token-file"));
    let trial = Trial {
        source: take("--source"),
        below: take("--below"),
        watch: take("--watch"),
        firewall: take("--firewall"),
    };
    if let Some(flag) = flags.keys().next() {
        bail!("`{flag}` is no option of `posse sensor`; see `posse sensor --help`");
    }
    let filter = EnvFilter::try_from_env("POSSE_LOG").unwrap_or_else(|_| EnvFilter::new("warn,posse=info,sensor=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut out = std::io::stdout();
    match word.to_str() {
        Some("enrol") => {
            let platform = platform.context("`--platform` is missing; give the platform's address")?;
            let token = match (token, token_file) {
                (Some(token), None) => token,
                (None, Some(file)) => {
                    let text = std::fs::read_to_string(&file).with_context(|| format!("`{file}` cannot be read"))?;
                    text.trim().to_owned()
                }
                _ => bail!("give one of `--token` and `--token-file`"),
            };
            let sensor = runtime.block_on(sensor::enrol(&state, &platform, &token, &SystemEntropy))?;
            writeln!(out, "enrolled as {sensor}")?;
        }
        Some("run") => runtime.block_on(async {
            let (mut terminated, mut interrupted) =
                (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let stop = async move {
                tokio::select! {
                    _ = terminated.recv() => {}
                    _ = interrupted.recv() => {}
                }
            };
            let config = trial.config(&state)?;
            sensor::run(config, Arc::new(SystemClock), Arc::new(SystemEntropy), stop).await?;
            anyhow::Ok(())
        })?,
        Some("status") => {
            let status = sensor::status(&state)?;
            writeln!(out, "{}", serde_json::to_string_pretty(&status)?)?;
        }
        _ => out.write_all(HELP.as_bytes())?,
    }
    Ok(())
}

/// Which part of a host a sensor sees, and what it isolates.
struct Trial {
    source: Option<String>,
    below: Option<String>,
    watch: Option<String>,
    firewall: Option<String>,
}

impl Trial {
    fn config(self, state: &std::path::Path) -> anyhow::Result<sensor::Config> {
        let mut config = sensor::Config::new(state);
        config.telemetry.choice = match self.source.as_deref() {
            None | Some("auto") => sensor::Choice::Auto,
            Some("ebpf") => sensor::Choice::Ebpf,
            Some("proc_connector") => sensor::Choice::ProcConnector,
            Some(other) => bail!("`{other}` is no source; say `auto`, `ebpf` or `proc_connector`"),
        };
        if let Some(pid) = self.below {
            let pid: u32 = pid.parse().with_context(|| format!("`{pid}` is no number of a process"))?;
            anyhow::ensure!(
                std::path::Path::new(&format!("/proc/{pid}")).exists(),
                "no process `{pid}` runs; start it before the sensor"
            );
            config.telemetry.below = Some(pid);
        }
        if let Some(folder) = self.watch {
            let folder = std::fs::canonicalize(&folder).with_context(|| format!("`{folder}` cannot be watched"))?;
            config.telemetry.files = Some(WatchList { folders: vec![(folder, 8)], ..WatchList::default() });
        }
        if let Some(command) = self.firewall {
            config.firewall.command = command.split_whitespace().map(str::to_owned).collect();
        }
        Ok(config)
    }
}

/// Flags with their values.
fn read(arguments: &[OsString]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut flags = BTreeMap::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let text = argument.to_str().context("an argument is not UTF-8")?;
        let (flag, value) = match text.split_once('=') {
            Some((flag, value)) => (flag, value.to_owned()),
            None => {
                let next = rest.next().and_then(|next| next.to_str());
                (text, next.with_context(|| format!("`{text}` needs a value"))?.to_owned())
            }
        };
        if flags.insert(flag.to_owned(), value).is_some() {
            bail!("`{flag}` stands twice");
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_hosts_own_words_are_told_from_the_platforms_operations() {
        assert!(meant(&words(&["run"])) && meant(&words(&["enrol", "--platform", "https://x"])));
        assert!(!meant(&words(&["list"])) && !meant(&words(&["create", "--name", "x"])) && !meant(&[]));
    }

    #[test]
    fn flags_stand_once_and_have_a_value() {
        assert_eq!(read(&words(&["--state=/a", "--token", "t"])).unwrap().len(), 2);
        assert!(read(&words(&["--state"])).is_err());
        assert!(read(&words(&["--state=/a", "--state", "/b"])).is_err());
    }
}

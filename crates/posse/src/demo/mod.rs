//! `posse demo`: the whole line on this machine, for real: a platform and a sensor of this very binary, an attack in a
//! namespace of its own, triage, containment with and without a person, and the proof. Cleans up whatever happens.
//! Must never isolate or change the host itself, and never say that something happened that it did not look at.

mod attack;
mod cast;
mod investigate;
mod janitor;
mod listener;
mod person;
mod platform;
mod proof;
mod recorded;
mod report;
mod respond;
mod stage;
mod story;
mod triage;

use anyhow::{Context as _, bail};
use ids::Entropy as _;
use janitor::Janitor;
use report::Report;
use stage::Stage;
use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};

/// What `posse demo --help` says.
const HELP: &str = "\
Something bad happens on a host of its own; see it detected, judged, contained, undone and proved (Linux)

Usage: posse demo [--non-interactive] [--json] [--sabotage STEP] [--listen HOST:PORT] [--record FILE]

Options:
  --non-interactive   Approve as a second user without asking; so it is anyway where nobody is at the terminal
  --json              Print one JSON object at the end and nothing else
  --sabotage STEP     Make a step impossible and see it named: rule-off, approval-withheld, sensor-killed,
                      nft-missing, model-down
  --record FILE       Keep what the sensor sent, one record a line: what a demo without root sends in a sensor's place
  --listen HOST:PORT  Where its platform listens, default 127.0.0.1:0
  -h, --help          Show this

POSSE_DEMO_MODEL_URL (with _KIND, _NAME, _KEY in place of _URL) names a model; then the investigator runs too.

Everything is made in /tmp/posse-demo-*, in network namespaces and a cgroup of that name, and goes away with the demo.
With root a sensor sees it by eBPF, or by the kernel's process connector; without root a recording made by our sensor is sent
in its place, nothing of this host is seen or contained, and it says so. Ends with 0 only where every step happened.
";

/// What is made impossible.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sabotage {
    ApprovalWithheld,
    ModelDown,
    NftMissing,
    RuleOff,
    SensorKilled,
}

/// How it is to play.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The run's own word.
    pub(crate) id: String,
    pub(crate) interactive: bool,
    pub(crate) json: bool,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) listen: String,
    /// Where to keep what the sensor sent, if anywhere.
    pub(crate) record: Option<PathBuf>,
}

/// Carry out `posse demo` with these arguments.
pub(crate) fn run(arguments: &[OsString]) -> anyhow::Result<()> {
    let words: Vec<&str> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    match words.split_first() {
        Some((&"janitor", _)) => return janitor::run(),
        Some((&"listen", rest)) => return listener::run(rest),
        _ => {}
    }
    if words.iter().any(|word| ["-h", "--help"].contains(word)) {
        print!("{HELP}");
        return Ok(());
    }
    let options = read(&words)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(whole(&options))
}

fn read(words: &[&str]) -> anyhow::Result<Options> {
    let mut bytes = [0_u8; 3];
    seal::SystemEntropy.fill(&mut bytes);
    let id = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut options = Options {
        id,
        interactive: terminal,
        json: false,
        sabotage: None,
        listen: "127.0.0.1:0".to_owned(),
        record: None,
    };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let (flag, inline) = word.split_once('=').map_or((*word, None), |(flag, value)| (flag, Some(value)));
        let mut value = || inline.or_else(|| rest.next().copied()).with_context(|| format!("`{flag}` needs a value"));
        match flag {
            "--non-interactive" => options.interactive = false,
            "--json" => (options.json, options.interactive) = (true, false),
            "--record" => options.record = Some(value()?.into()),
            "--listen" => options.listen = value()?.to_owned(),
            "--sabotage" => {
                options.sabotage = Some(match value()? {
                    "approval-withheld" => Sabotage::ApprovalWithheld,
                    "model-down" => Sabotage::ModelDown,
                    "nft-missing" => Sabotage::NftMissing,
                    "rule-off" => Sabotage::RuleOff,
                    "sensor-killed" => Sabotage::SensorKilled,
                    other => bail!("`{other}` is nothing that can be sabotaged; see `posse demo --help`"),
                });
            }
            other => bail!("`{other}` is no option of `posse demo`; see `posse demo --help`"),
        }
    }
    Ok(options)
}

async fn whole(options: &Options) -> anyhow::Result<()> {
    let begun = Instant::now();
    let janitor = Arc::new(Janitor::start()?);
    clean_on_signal(Arc::clone(&janitor))?;
    let mut report = Report::new(options.json);
    // Whatever fails inside stands in the report; what was made is cleaned up in either case.
    let played = if stage::is_root() {
        story::play(options, &mut report, &janitor).await
    } else {
        recorded::play(options, &mut report, &janitor).await
    };
    report.chapter("7. Cleaning up");
    let cleaner = Arc::clone(&janitor);
    let cleaned = report
        .step("cleaned_up", async {
            let left = tokio::task::spawn_blocking(move || cleaner.finish()).await??;
            anyhow::ensure!(left.is_empty(), "left over: {}", left.join("; "));
            Ok(((), "no process, file, namespace, rule or cgroup of the demo is left".to_owned()))
        })
        .await;
    let ok = played.is_ok() && cleaned.is_ok() && report.ok();
    report.figure("total_ms", report::millis(begun));
    if options.json {
        writeln!(std::io::stdout(), "{}", report.whole(ok))?;
    }
    match report.failed() {
        Some(step) => bail!("the step `{}` did not happen: {}", step.name, step.detail),
        None => {
            report.say("\nEverything above happened.");
            Ok(())
        }
    }
}

/// Ctrl-C and SIGTERM: clean up, then end.
fn clean_on_signal(janitor: Arc<Janitor>) -> anyhow::Result<()> {
    let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        let code = tokio::select! {
            _ = interrupted.recv() => 130,
            _ = terminated.recv() => 143,
        };
        // A fault has nobody to hear it now; the janitor goes on by itself in any case.
        let _ = tokio::task::spawn_blocking(move || janitor.finish()).await;
        std::process::exit(code);
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_and_unknown_ones_are_errors() {
        let options = read(&["--json", "--sabotage=rule-off", "--listen", "127.0.0.1:7300"]).unwrap();
        assert!(options.json && !options.interactive && options.id.len() == 6);
        assert_eq!((options.sabotage, options.listen.as_str()), (Some(Sabotage::RuleOff), "127.0.0.1:7300"));
        assert!(
            read(&["--sabotage", "gravity"]).is_err() && read(&["--fast"]).is_err() && read(&["--listen"]).is_err()
        );
    }
}

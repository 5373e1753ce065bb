//! Cleaning up, by a process of its own: it is told what the demo made, line by line, and when the demo ends, however it
//! ends, it undoes that from the last to the first. Must never touch what it was not told of: processes are named by
//! identity, everything else by the run's own names.

use anyhow::Context as _;
use sensor::{ProcessGuid, ProcessKey};
use serde::{Deserialize, Serialize};
use std::io::{BufRead as _, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long something may take to go away.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(10);

/// Something that the demo made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Made {
    /// A cgroup: its folder.
    Cgroup(PathBuf),
    /// A folder with everything in it.
    Folder(PathBuf),
    /// A named network namespace.
    Namespace(String),
    /// A process, with those that it made.
    Process(String),
}

/// The demo's side.
pub(crate) struct Janitor(Mutex<Option<(Child, ChildStdin)>>);

impl Janitor {
    /// Start it, away from the terminal's signals.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["demo", "janitor"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("the process that cleans up cannot be started")?;
        let told = child.stdin.take().context("the process that cleans up is piped")?;
        Ok(Self(Mutex::new(Some((child, told)))))
    }

    /// Tell of something, before or right after it is made.
    pub(crate) fn tell(&self, made: &Made) -> anyhow::Result<()> {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, told) = inside.as_mut().context("the process that cleans up has begun")?;
        writeln!(told, "{}", serde_json::to_string(made)?).context("the process that cleans up does not listen")
    }

    /// Tell of a process that was just started.
    pub(crate) fn tell_process(&self, pid: u32) -> anyhow::Result<ProcessGuid> {
        let guid = identity(pid).context("a process ended as soon as it was started")?;
        self.tell(&Made::Process(guid.to_string()))?;
        Ok(guid)
    }

    /// Let it clean up now, and hear what is left over. Whoever comes second waits for the first and hears nothing.
    pub(crate) fn finish(&self) -> anyhow::Result<Vec<String>> {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((mut child, told)) = inside.take() else { return Ok(Vec::new()) };
        drop(told);
        let mut text = String::new();
        child.stdout.take().context("the process that cleans up is piped")?.read_to_string(&mut text)?;
        child.wait()?;
        serde_json::from_str(&text).context("the process that cleans up did not say what is left over")
    }
}

/// The identity of a living process.
pub(crate) fn identity(pid: u32) -> Option<ProcessGuid> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let start_ticks = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
    Some(ProcessGuid { boot: sensor::boot_id().ok()?, key: ProcessKey { pid, start_ticks } })
}

/// Whether the kernel still has a process of this identity that has not ended.
pub(crate) fn lives(process: &ProcessGuid) -> bool {
    let ended = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
    };
    identity(process.key.pid).is_some_and(|now| now == *process) && !ended(process.key.pid)
}

/// `posse demo janitor`: what `Janitor` starts.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut made: Vec<Made> = Vec::new();
    for line in std::io::stdin().lock().lines() {
        // A line that was cut off names what was not made yet.
        let Ok(line) = line else { break };
        made.extend(serde_json::from_str::<Made>(&line).ok());
    }
    let left: Vec<String> =
        made.iter().rev().filter_map(|one| undo(one).err()).map(|error| format!("{error:#}")).collect();
    // Where the demo was killed nobody listens.
    let _ = writeln!(std::io::stdout(), "{}", serde_json::to_string(&left)?);
    Ok(())
}

fn undo(made: &Made) -> anyhow::Result<()> {
    match made {
        Made::Cgroup(folder) => remove_cgroup(folder),
        Made::Folder(folder) => match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("the folder `{}`", folder.display()))
            }
            _ => Ok(()),
        },
        Made::Namespace(name) => remove_namespace(name),
        Made::Process(guid) => end(guid),
    }
}

fn end(guid: &str) -> anyhow::Result<()> {
    let process: ProcessGuid = guid.parse().with_context(|| format!("the process `{guid}`"))?;
    let report = sensor::kill(&process, true).with_context(|| format!("the process `{guid}`"))?;
    anyhow::ensure!(report.remaining.is_empty(), "the process `{guid}` does not end");
    Ok(())
}

fn remove_cgroup(folder: &Path) -> anyhow::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    // Kernels before 5.14 have no such file; then the processes were ended one by one before.
    let _ = std::fs::write(folder.join("cgroup.kill"), "1");
    until(|| std::fs::remove_dir(folder).is_ok() || !folder.exists())
        .with_context(|| format!("the cgroup `{}`", folder.display()))
}

fn remove_namespace(name: &str) -> anyhow::Result<()> {
    let place = Path::new("/run/netns").join(name);
    if !place.exists() {
        return Ok(());
    }
    let output = Command::new("ip").args(["netns", "del", name]).output().context("`ip` cannot be started")?;
    let gone = until(|| !place.exists()).is_ok();
    anyhow::ensure!(gone, "the namespace `{name}`: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn until(done: impl Fn() -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !done() {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "is still there after {} s", PATIENCE.as_secs());
        std::thread::sleep(LOOK);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_more_than_its_number() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let guid = identity(child.id()).unwrap();
        assert!(lives(&guid));
        let mut other = guid.clone();
        other.key.start_ticks += 1;
        assert!(!lives(&other));
        end(&other.to_string()).unwrap();
        assert!(lives(&guid), "another of the same number is left alone");
        end(&guid.to_string()).unwrap();
        assert!(!lives(&guid), "one that ended and was not fetched yet is gone too");
        child.wait().unwrap();
        undo(&Made::Folder("/nonexistent/posse-demo".into())).unwrap();
    }
}

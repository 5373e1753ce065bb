//! `posse doctor`: whether this machine and this folder are fit to run Posse, each check with what was seen and what would
//! mend it. Opens no state and changes nothing; what it writes to measure the disk goes away with it.

use crate::config::{self, Config};
use anyhow::{Context as _, bail};
use journal::{Disk as _, Folder};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const HELP: &str = "\
Check whether this machine and a data folder are fit to run Posse

Usage: posse doctor [--data-dir DIR] [--json]

  --data-dir DIR  The folder of `posse serve`, existing or not (POSSE_DATA_DIR); default: a temporary one, for the disk
  --json          One JSON object: {\"ok\": bool, \"checks\": [{name, state, seen, advice}]}

Each check is `ok`, `warn` (it works, and not as it should) or `fail`. Ends with 1 where one failed.
";

/// How a check ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Ok,
    Warn,
    Fail,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One check.
struct Check {
    name: &'static str,
    state: State,
    seen: String,
    /// What to do; empty where nothing is to be done.
    advice: &'static str,
}

impl Check {
    fn new(name: &'static str, state: State, seen: impl Into<String>, advice: &'static str) -> Self {
        Self { name, state, seen: seen.into(), advice: if state == State::Ok { "" } else { advice } }
    }
}

/// Free space below which ingest would soon be refused, and below which it may be.
const FREE_FAIL: u64 = 1 << 30;
const FREE_WARN: u64 = 10 << 30;
/// Syncs that are timed, and the slowest that still serves a busy installation.
const SYNCS: usize = 30;
const SYNC_WARN: Duration = Duration::from_millis(10);
const FILES_WARN: u64 = 8192;
const MEMORY_WARN_KIB: u64 = 2 << 20;

/// Carry out `posse doctor`.
pub(crate) fn run(arguments: &[OsString]) -> anyhow::Result<()> {
    let (mut data_dir, mut as_json) = (std::env::var_os("POSSE_DATA_DIR").map(PathBuf::from), false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.to_str() {
            Some("-h" | "--help") => {
                print!("{HELP}");
                return Ok(());
            }
            Some("--json") => as_json = true,
            Some("--data-dir") => data_dir = Some(rest.next().context("`--data-dir` needs a value")?.into()),
            other => bail!("`{}` is no option of `posse doctor`; see `posse doctor --help`", other.unwrap_or("?")),
        }
    }
    let checks = examine(data_dir.as_deref());
    let ok = checks.iter().all(|check| check.state != State::Fail);
    if as_json {
        let told = |check: &Check| json!({ "name": check.name, "state": check.state.word(), "seen": check.seen, "advice": check.advice });
        println!("{}", json!({ "ok": ok, "checks": checks.iter().map(told).collect::<Vec<Value>>() }));
    } else {
        for check in &checks {
            println!("{:<5} {:<14} {}", check.state.word(), check.name, check.seen);
            if !check.advice.is_empty() {
                println!("      {:<14} {}", "", check.advice);
            }
        }
    }
    if !ok {
        bail!("at least one check failed");
    }
    Ok(())
}

fn examine(data_dir: Option<&Path>) -> Vec<Check> {
    let mut checks = Vec::new();
    let config = data_dir.map_or_else(|| Ok(Config::default()), |folder| config::read_file(None, folder));
    let config = match config {
        Ok(config) => {
            let seen = match data_dir.map(|folder| folder.join("posse.toml")).filter(|file| file.exists()) {
                Some(file) => format!("{} reads", file.display()),
                None => "no posse.toml; defaults hold".to_owned(),
            };
            checks.push(Check::new("configuration", State::Ok, seen, ""));
            config
        }
        Err(error) => {
            checks.push(Check::new(
                "configuration",
                State::Fail,
                format!("{error:#}"),
                "mend the file; unknown keys are errors",
            ));
            Config::default()
        }
    };
    let temporary = std::env::temp_dir();
    let folder = data_dir.unwrap_or(&temporary);
    checks.push(written(folder));
    checks.extend(data_dir.map(secrets));
    checks.push(free(folder));
    checks.push(syncs(folder));
    checks.push(address(
        &std::env::var("POSSE_LISTEN").ok().or(config.listen).unwrap_or_else(|| "127.0.0.1:7300".to_owned()),
    ));
    checks.push(files());
    checks.push(memory());
    checks.extend(host());
    checks
}

/// The nearest folder that exists: the one that would be written to.
fn existing(folder: &Path) -> &Path {
    folder.ancestors().find(|part| part.is_dir()).unwrap_or_else(|| Path::new("/"))
}

fn written(folder: &Path) -> Check {
    let place = existing(folder);
    let file = place.join(format!(".posse-doctor-{}", std::process::id()));
    let wrote = std::fs::write(&file, b"doctor").and_then(|()| std::fs::remove_file(&file));
    match wrote {
        Ok(()) => Check::new("data folder", State::Ok, format!("{} can be written", place.display()), ""),
        Err(error) => Check::new(
            "data folder",
            State::Fail,
            format!("{}: {error}", place.display()),
            "let the user that runs `posse serve` own the folder",
        ),
    }
}

fn secrets(folder: &Path) -> Check {
    let names = ["master-key", "bootstrap-token"];
    let open = |name: &&str| {
        let about = std::fs::metadata(folder.join(name));
        about.is_ok_and(|about| about.permissions().mode() & 0o077 != 0)
    };
    let open: Vec<&str> = names.into_iter().filter(open).collect();
    if open.is_empty() {
        return Check::new("secrets", State::Ok, "no file with a secret is readable by others", "");
    }
    let seen = format!("{} can be read by others", open.join(", "));
    Check::new("secrets", State::Fail, seen, "chmod 600 them, and think of what they held as known")
}

fn free(folder: &Path) -> Check {
    let place = existing(folder);
    let advice = "give the folder more room; on a full disk ingest is refused with 503 until there is room again";
    match Folder::open(place).and_then(|folder| folder.free_bytes()) {
        Ok(bytes) => {
            let state = match bytes {
                0..FREE_FAIL => State::Fail,
                FREE_FAIL..FREE_WARN => State::Warn,
                _ => State::Ok,
            };
            Check::new("free space", state, format!("{} GB below {}", bytes >> 30, place.display()), advice)
        }
        Err(error) => Check::new("free space", State::Warn, error.to_string(), advice),
    }
}

/// How long the disk takes to make a small append durable: each acknowledgement waits for one.
fn syncs(folder: &Path) -> Check {
    let advice = "use a disk of its own, or one with a power-safe cache; grouping hides some of it under load";
    let name = format!(".posse-doctor-sync-{}", std::process::id());
    let timed = |folder: &Folder| -> std::io::Result<Vec<Duration>> {
        let file = folder.create(&name)?;
        let (mut times, mut offset) = (Vec::with_capacity(SYNCS), 0_u64);
        for _ in 0..SYNCS {
            let since = Instant::now();
            offset += u64::try_from(file.write_at(&[0x70; 4096], offset)?).unwrap_or(0);
            file.sync()?;
            times.push(since.elapsed());
        }
        Ok(times)
    };
    let times = Folder::open(existing(folder)).and_then(|folder| {
        let times = timed(&folder);
        // Left over where the folder went away meanwhile; nothing to be done then.
        let _ = folder.remove(&name);
        times
    });
    match times {
        Ok(mut times) => {
            times.sort_unstable();
            let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
            let state = if at(50) > SYNC_WARN { State::Warn } else { State::Ok };
            let seen =
                format!("a synced append takes {:.2} ms, 95 of 100 under {:.2} ms", millis(at(50)), millis(at(95)));
            Check::new("disk sync", state, seen, advice)
        }
        Err(error) => Check::new("disk sync", State::Fail, error.to_string(), advice),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Whether the address is free, or a server of ours is there.
fn address(listen: &str) -> Check {
    let advice = "end what listens there, or choose another `--listen`";
    let addresses: Vec<SocketAddr> = match listen.to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => return Check::new("address", State::Fail, format!("{listen}: {error}"), "write HOST:PORT"),
    };
    let Some(first) = addresses.first() else {
        return Check::new("address", State::Fail, format!("{listen} names no address"), "write HOST:PORT");
    };
    match TcpListener::bind(first) {
        Ok(_) => Check::new("address", State::Ok, format!("{listen} is free"), ""),
        Err(error) => match healthy(first) {
            Some(true) => Check::new("address", State::Ok, format!("a healthy server answers on {listen}"), ""),
            Some(false) => Check::new("address", State::Fail, format!("something else answers on {listen}"), advice),
            None => Check::new("address", State::Fail, format!("{listen}: {error}"), advice),
        },
    }
}

/// Whether what listens there is well, as `/healthz` says; none where nothing answers.
fn healthy(address: &SocketAddr) -> Option<bool> {
    let patience = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(address, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    // What came before the time was up is enough.
    let _ = stream.take(4096).read_to_end(&mut answer);
    Some(answer.starts_with(b"HTTP/1.1 200"))
}

fn files() -> Check {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
    let limit = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let advice = "raise the limit, for example LimitNOFILE=65536 in the service's unit";
    match limit {
        Some(limit) => {
            let state = if limit < FILES_WARN { State::Warn } else { State::Ok };
            Check::new("open files", state, format!("at most {limit}"), advice)
        }
        None => Check::new("open files", State::Ok, "no limit is told", ""),
    }
}

fn memory() -> Check {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let Some(kib) = kib else { return Check::new("memory", State::Warn, "the kernel does not tell", "look yourself") };
    let state = if kib < MEMORY_WARN_KIB { State::Warn } else { State::Ok };
    let advice = "ingest and large questions want about 1.5 GB; give the machine more, or ask less at once";
    Check::new("memory", state, format!("{} MB available", kib >> 10), advice)
}

/// What the sensor would find on this host.
fn host() -> Vec<Check> {
    let privileged = std::fs::read_to_string("/proc/self/status").is_ok_and(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("CapEff:"));
        // CAP_SYS_ADMIN is bit 21, CAP_BPF bit 39.
        let held = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok()).unwrap_or(0);
        held & (1 << 21) != 0 || held & (1 << 39) != 0
    });
    let types = Path::new("/sys/kernel/btf/vmlinux").exists();
    let programs = match (privileged, types) {
        (true, true) => Check::new("sensor: eBPF", State::Ok, "privileged, and the kernel tells its types (BTF)", ""),
        (false, _) => Check::new(
            "sensor: eBPF",
            State::Warn,
            "not privileged",
            "run `posse sensor run` as root; it falls back to procfs, which misses short processes, and says so",
        ),
        (true, false) => Check::new(
            "sensor: eBPF",
            State::Warn,
            "the kernel does not tell its types (BTF)",
            "use a kernel with CONFIG_DEBUG_INFO_BTF; the sensor falls back to the process connector and says so",
        ),
    };
    let found = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|part| part.join("nft")).find(|file| file.is_file()));
    let filter = match found {
        Some(file) => Check::new("sensor: nft", State::Ok, file.display().to_string(), ""),
        None => Check::new(
            "sensor: nft",
            State::Warn,
            "no `nft` on the path",
            "install nftables where the sensor shall be able to isolate its host",
        ),
    };
    vec![programs, filter]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_and_what_is_right_needs_no_advice() {
        let folder = tempfile::tempdir().unwrap();
        let state = |checks: &[Check], name: &str| checks.iter().find(|one| one.name == name).unwrap().state;
        let checks = examine(Some(folder.path()));
        assert_eq!(state(&checks, "configuration"), State::Ok);
        assert_eq!(state(&checks, "data folder"), State::Ok);
        assert_eq!(state(&checks, "secrets"), State::Ok);
        assert!(checks.iter().all(|check| (check.state == State::Ok) == check.advice.is_empty()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it leaves nothing behind");

        std::fs::write(folder.path().join("posse.toml"), "lissten = 1\n").unwrap();
        std::fs::write(folder.path().join("master-key"), "00\n").unwrap();
        std::fs::set_permissions(folder.path().join("master-key"), std::fs::Permissions::from_mode(0o644)).unwrap();
        let checks = examine(Some(folder.path()));
        assert_eq!(state(&checks, "configuration"), State::Fail);
        assert_eq!(state(&checks, "secrets"), State::Fail);
    }

    #[test]
    fn an_address_that_another_program_has_fails() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let silent = std::thread::spawn(move || drop(taken.accept()));
        assert_eq!(super::address(&address).state, State::Fail);
        silent.join().unwrap();
        assert_eq!(super::address("nowhere").state, State::Fail);
    }
}

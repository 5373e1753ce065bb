//! Where a demo plays: a folder, a cgroup and two network namespaces of this run alone, the platform and the sensor as
//! processes of this very binary, and a shell that is the attacker's. Everything is told to the janitor before it is used.
//! Must never change anything of the host that is not named after the run.

use super::janitor::{Janitor, Made};
use anyhow::{Context as _, bail};
use sensor::ProcessGuid;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Where the two namespaces see each other: nobody else sees them, so every run has the same.
const HOST_ADDRESS: &str = "10.77.0.1";
const OUTSIDE_ADDRESS: &str = "10.77.0.2";
/// The port of what stands outside.
const OUTSIDE_PORT: u16 = 8080;
/// How long a process may take until it says what it is to say.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process of the demo and the lines that it writes.
pub(crate) struct Actor {
    /// The process, for as long as the demo waits for it.
    pub(crate) child: Child,
    /// Who it is.
    pub(crate) guid: ProcessGuid,
    lines: Receiver<String>,
}

impl Actor {
    fn start(command: &mut Command, janitor: &Janitor) -> anyhow::Result<Self> {
        let shown = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("`{shown}` cannot be started"))?;
        let output = child.stdout.take().context("a process is piped")?;
        let guid = match janitor.tell_process(child.id()) {
            Ok(guid) => guid,
            Err(error) => {
                // Nobody else knows of it.
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        let (told, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // The demo may have stopped listening; reading on keeps the process from waiting for us.
                let _ = told.send(line);
            }
        });
        Ok(Self { child, guid, lines })
    }

    /// The rest of the next line that begins so.
    pub(crate) fn line(&self, start: &str, patience: Duration) -> anyhow::Result<String> {
        let until = std::time::Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(std::time::Instant::now());
            let line =
                self.lines.recv_timeout(left).with_context(|| format!("no line `{start}…` within {patience:?}"))?;
            if let Some(rest) = line.strip_prefix(start) {
                return Ok(rest.trim().to_owned());
            }
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // Where it ended before there is nothing to end; what it made the janitor ends.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that was set up.
pub(crate) struct Stage {
    /// The run's own word: six hexadecimal digits.
    pub(crate) id: String,
    /// The run's folder, below a folder for temporary things.
    pub(crate) folder: PathBuf,
    /// The host's name, as the sensor tells it.
    pub(crate) host: String,
    /// The namespace that the attack plays in, and that is isolated.
    pub(crate) namespace: String,
    /// The namespace beyond it.
    pub(crate) outside: String,
    /// The attack's cgroup, where the host has cgroups of version 2 that can be written.
    pub(crate) cgroup: Option<PathBuf>,
    /// Whether there are namespaces to play in.
    pub(crate) live: bool,
    binary: PathBuf,
}

/// Whether this process has root's rights.
pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:\t0\t0"))
}

/// Run a program to its end; its output, or an error with its words.
pub(crate) fn call(program: &str, words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(words)
        .env("PATH", path())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("`{program}` cannot be started; script/setup installs what the demo needs"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    bail!("`{program} {}`: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim())
}

/// Where administrators' tools lie too.
fn path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

/// The folder of cgroups of version 2.
fn cgroups() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (place, kind) = (words.nth(1)?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    })
}

impl Stage {
    /// Make folder, cgroup and namespaces.
    pub(crate) fn set(id: String, janitor: &Janitor) -> anyhow::Result<Self> {
        let mut stage = Self::bare(id, janitor)?;
        stage.make_cgroup(janitor)?;
        stage.make_network(janitor)?;
        stage.live = true;
        Ok(stage)
    }

    /// Make a folder and nothing else: all that can be made without root.
    pub(crate) fn bare(id: String, janitor: &Janitor) -> anyhow::Result<Self> {
        let binary = std::env::current_exe().context("this program cannot be found")?;
        let folder = Path::new("/tmp").join(format!("posse-demo-{id}"));
        janitor.tell(&Made::Folder(folder.clone()))?;
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700).create(&folder).with_context(|| format!("`{}` cannot be made", folder.display()))?;
        let host = format!("demo-{id}");
        let (namespace, outside) = (format!("posse-demo-{id}-host"), format!("posse-demo-{id}-out"));
        Ok(Self { id, folder, host, namespace, outside, cgroup: None, live: false, binary })
    }

    fn make_cgroup(&mut self, janitor: &Janitor) -> anyhow::Result<()> {
        let Some(place) = cgroups().map(|root| root.join(format!("posse-demo-{}", self.id))) else { return Ok(()) };
        janitor.tell(&Made::Cgroup(place.clone()))?;
        // In a container the hierarchy may be there to read only; processes are named one by one anyway.
        if std::fs::create_dir(&place).is_ok() && place.join("cgroup.procs").exists() {
            self.cgroup = Some(place);
        }
        Ok(())
    }

    /// Two namespaces with a cable between them.
    fn make_network(&self, janitor: &Janitor) -> anyhow::Result<()> {
        for name in [&self.namespace, &self.outside] {
            janitor.tell(&Made::Namespace(name.clone()))?;
            call("ip", &["netns", "add", name])?;
        }
        let (here, there) = (self.namespace.as_str(), self.outside.as_str());
        call("ip", &["-n", here, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", there])?;
        for (name, address) in [(here, HOST_ADDRESS), (there, OUTSIDE_ADDRESS)] {
            call("ip", &["-n", name, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
            call("ip", &["-n", name, "link", "set", "eth0", "up"])?;
            call("ip", &["-n", name, "link", "set", "lo", "up"])?;
        }
        Ok(())
    }

    /// A command of this binary, without what the environment says of other installations.
    fn own(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(words);
        self.plain(&mut command);
        command
    }

    fn plain(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("POSSE_") {
                command.env_remove(name);
            }
        }
        command.env("PATH", path()).env("POSSE_LOG", "warn").stdin(Stdio::null()).stderr(self.log());
    }

    /// Where what goes wrong is written; in the run's folder.
    fn log(&self) -> Stdio {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log"));
        file.map_or_else(|_| Stdio::null(), Stdio::from)
    }

    /// The last lines of the log.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
    }

    /// Start the platform in the run's folder; it and its address.
    pub(crate) fn serve(
        &self,
        listen: &str,
        config: &str,
        variables: &[(String, String)],
        janitor: &Janitor,
    ) -> anyhow::Result<(Actor, String)> {
        let data = self.folder.join("data");
        std::fs::create_dir(&data)?;
        std::fs::write(data.join("posse.toml"), config)?;
        let mut command = self.own(&["serve", "--listen", listen, "--data-dir"]);
        command.arg(&data).envs(variables.iter().map(|(name, value)| (name, value)));
        let actor = Actor::start(&mut command, janitor)?;
        let url = actor.line("listening on ", PATIENCE).with_context(|| self.last_words())?;
        Ok((actor, url))
    }

    /// The first administrator's token.
    pub(crate) fn first_token(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.folder.join("data/bootstrap-token"))?.trim().to_owned())
    }

    /// The state folder of the sensor.
    fn sensor_state(&self) -> String {
        self.folder.join("sensor").display().to_string()
    }

    /// A command of this binary under the demo's host name.
    fn named(&self, words: &[&str]) -> Command {
        let script = "echo \"$1\" >/proc/sys/kernel/hostname && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--uts", "sh", "-c", script, "sh", &self.host]).arg(&self.binary).args(words);
        self.plain(&mut command);
        command
    }

    /// Enrol the sensor with its token.
    pub(crate) fn enrol(&self, platform: &str, token: &str) -> anyhow::Result<()> {
        let state = self.sensor_state();
        let words = ["sensor", "enrol", "--platform", platform, "--token", token, "--state", &state];
        let output = self.named(&words).stderr(Stdio::piped()).output().context("`unshare` cannot be started")?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// Start the sensor: it tells of what the attacker's shell makes, and isolates the demo's namespace alone.
    pub(crate) fn sense(&self, below: u32, firewall: &str, janitor: &Janitor) -> anyhow::Result<Actor> {
        let (state, below) = (self.sensor_state(), below.to_string());
        let firewall = format!("nsenter --net=/run/netns/{} {firewall}", self.namespace);
        let watched = self.folder.join("host").display().to_string();
        let mut words = vec!["sensor", "run", "--state", &state, "--below", &below, "--watch", &watched];
        words.extend(["--firewall", &firewall]);
        let source = std::env::var("POSSE_DEMO_SOURCE").unwrap_or_else(|_| "auto".to_owned());
        words.extend(["--source", &source]);
        Actor::start(&mut self.named(&words), janitor)
    }

    /// Start the attack's other end in one of the namespaces; it and its port.
    pub(crate) fn listen(
        &self,
        place: &str,
        address: &str,
        payload: &str,
        janitor: &Janitor,
    ) -> anyhow::Result<(Actor, u16)> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{place}")).arg(&self.binary).args(["demo", "listen", address, payload]);
        self.plain(&mut command);
        let actor = Actor::start(&mut command, janitor)?;
        let told = actor.line("listening ", PATIENCE)?;
        let port = told.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        Ok((actor, port.context("the listener says its port")?))
    }

    /// Start what stands outside, for the host to reach while it may.
    pub(crate) fn stand_outside(&self, janitor: &Janitor) -> anyhow::Result<Actor> {
        Ok(self.listen(&self.outside, &format!("{OUTSIDE_ADDRESS}:{OUTSIDE_PORT}"), "outside", janitor)?.0)
    }

    /// Whether the demo's host reaches what stands outside: a real connection, inside the namespace.
    pub(crate) fn reaches_outside(&self) -> bool {
        let connect = format!("exec 3<>/dev/tcp/{OUTSIDE_ADDRESS}/{OUTSIDE_PORT}");
        let place = format!("--net=/run/netns/{}", self.namespace);
        call("nsenter", &[&place, "timeout", "0.5", "bash", "-c", &connect]).is_ok()
    }

    /// The tables of the kernel's packet filter in the demo's namespace.
    pub(crate) fn tables(&self) -> anyhow::Result<Vec<String>> {
        let place = format!("--net=/run/netns/{}", self.namespace);
        Ok(call("nsenter", &[&place, "nft", "list", "tables"])?.lines().map(str::to_owned).collect())
    }

    /// Run this binary as a command of its own; its output.
    pub(crate) fn posse(&self, words: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<(i32, String)> {
        let mut command = self.own(words);
        command.envs(environment.iter().copied()).stderr(Stdio::piped());
        let output = command.output()?;
        let code = output.status.code().unwrap_or(-1);
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        if code != 0 {
            said.push_str(&String::from_utf8_lossy(&output.stderr));
        }
        Ok((code, said))
    }
}

/// The attacker's shell: inside cgroup and namespace, waiting for lines.
pub(crate) struct Shell {
    /// The process.
    pub(crate) actor: Actor,
    input: ChildStdin,
    lines: u32,
}

impl Shell {
    /// Start it where the attack plays.
    pub(crate) fn start(stage: &Stage, janitor: &Janitor) -> anyhow::Result<Self> {
        // Built in two steps so that it joins the cgroup before it does anything else, keeping its number.
        let join = stage
            .cgroup
            .as_ref()
            .map_or_else(String::new, |place| format!("echo $$ >'{}/cgroup.procs' && ", place.display()));
        let script = format!("{join}exec nsenter --net=/run/netns/{} bash --norc --noprofile -s", stage.namespace);
        let mut command = Command::new("bash");
        command.args(["--norc", "--noprofile", "-c", &script]).current_dir(stage.folder.join("host"));
        stage.plain(&mut command);
        command.stdin(Stdio::piped());
        let mut actor = Actor::start(&mut command, janitor)?;
        let input = actor.child.stdin.take().context("the shell is piped")?;
        let mut shell = Self { actor, input, lines: 0 };
        shell.run("true")?;
        if let Some(place) = &stage.cgroup {
            let inside = std::fs::read_to_string(place.join("cgroup.procs"))?;
            let own = shell.actor.child.id().to_string();
            anyhow::ensure!(inside.lines().any(|line| line == own), "the shell is not in the demo's cgroup");
        }
        let own = std::fs::metadata(format!("/proc/{}/ns/net", shell.actor.child.id()))?.ino();
        let wanted = std::fs::metadata(format!("/run/netns/{}", stage.namespace))?.ino();
        anyhow::ensure!(own == wanted, "the shell is not in the demo's namespace");
        Ok(shell)
    }

    /// Let it run a line and wait until it has; what it answered, an error where it failed.
    pub(crate) fn run(&mut self, line: &str) -> anyhow::Result<String> {
        self.lines += 1;
        let mark = format!("demo-line-{}:", self.lines);
        writeln!(self.input, "answer=$({line}); printf '%s%s:%s\\n' '{mark}' \"$?\" \"$answer\"")?;
        let said = self.actor.line(&mark, PATIENCE)?;
        let (code, answer) = said.split_once(':').unwrap_or((&said, ""));
        anyhow::ensure!(code == "0", "the attacker's line ended with {code}: `{line}`");
        Ok(answer.to_owned())
    }
}

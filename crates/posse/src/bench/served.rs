//! A server of this very binary in a folder that goes away with it, and small requests to it.

use super::load;
use anyhow::Context as _;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tokio::net::TcpStream;

/// A server of this binary. Ends and cleans up when dropped.
pub(crate) struct Served {
    child: Child,
    /// Its data folder.
    pub(crate) folder: PathBuf,
    /// Where it listens.
    pub(crate) address: String,
}

impl Served {
    /// Start one with this configuration.
    pub(crate) fn start(config: &str) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("posse-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("posse.toml"), config)?;
        let (child, address) = spawn(&folder)?;
        Ok(Self { child, folder, address })
    }

    /// End it as a service manager would, and start it again on the same folder.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        let ended = Command::new("kill").arg(self.child.id().to_string()).status()?;
        anyhow::ensure!(ended.success(), "the server cannot be ended");
        self.child.wait()?;
        (self.child, self.address) = spawn(&self.folder)?;
        Ok(())
    }

    /// The first admin's token.
    pub(crate) fn token(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.folder.join("bootstrap-token"))?.trim().to_owned())
    }

    /// A line of the kernel's account of its memory, in MB: `VmRSS:` or `VmHWM:`.
    pub(crate) fn memory_mb(&self, line: &str) -> anyhow::Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let found = text.lines().find_map(|other| other.strip_prefix(line));
        let kib: f64 = found.context("the kernel tells of memory")?.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }

    /// Seconds of processor time that its threads that still live have used.
    pub(crate) fn cpu_secs(&self) -> anyhow::Result<f64> {
        // The sum in `stat` counts threads that have ended too, but only in ticks; for a difference over a long time it is
        // the better one, and `schedstat` of each thread for a short one. Threads of the pools live on, so take those.
        let mut nanos = 0_u64;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end between the listing and the reading.
            let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            nanos += text.split(' ').next().unwrap_or_default().parse::<u64>().unwrap_or(0);
        }
        Ok(std::time::Duration::from_nanos(nanos).as_secs_f64())
    }

    /// Seconds of processor time of the whole process, to a hundredth: threads that ended count too.
    pub(crate) fn cpu_secs_whole(&self) -> anyhow::Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, after) = text.rsplit_once(')').context("the kernel tells of a process")?;
        let mut fields = after.split_whitespace().skip(11);
        let mut ticks =
            || fields.next().and_then(|field| field.parse::<f64>().ok()).context("the kernel tells of time");
        Ok((ticks()? + ticks()?) / 100.0)
    }

    /// One request on a connection of its own; its answer's body.
    pub(crate) async fn call(&self, method: &str, path: &str, token: &str, body: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(&self.address).await?;
        tokio::io::AsyncWriteExt::write_all(&mut stream, &request(method, path, token, body)).await?;
        load::answer(&mut stream, &mut Vec::new()).await
    }
}

fn spawn(folder: &std::path::Path) -> anyhow::Result<(Child, String)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder)
        .env("POSSE_LOG", "error")
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("the server's output is piped")?;
    let line = BufReader::new(output).lines().next().context("the server ended before it listened")??;
    let address = line.strip_prefix("listening on http://").context("the server says where it listens")?.to_owned();
    Ok((child, address))
}

impl Drop for Served {
    fn drop(&mut self) {
        // Nothing of this server is wanted any more; errors here leave at most a folder behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The bytes of a request with a JSON body, or none.
pub(crate) fn request(method: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    let content = if body.is_empty() {
        String::new()
    } else {
        format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len())
    };
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{content}\r\n{body}")
        .into_bytes()
}

/// The first value of a text field in JSON that this platform wrote.
pub(crate) fn text_field(json: &str, field: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{field}\":\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

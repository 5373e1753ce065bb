//! A whole platform for one evaluation: its own folder, state, gate, data plane and agents; called through the same door
//! as by any offline command. Goes away with its folder.

use crate::case_feed::CaseFeed;
use crate::config::Config;
use crate::data_dir;
use crate::telemetry;
use anyhow::{Context as _, bail};
use api::{Call, Credential, Door as _, Face, Origin, Problem, Reply};
use control::{Control, Running};
use pipeline::Plane;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long records wait before they are put into files: prevalence counts what is in files.
const FLUSH_AFTER: Duration = Duration::from_millis(200);
/// How often it is looked whether everything has come through.
const LOOK: Duration = Duration::from_millis(20);
/// How long everything may take to come through without any step forward.
const PATIENCE: Duration = Duration::from_secs(300);
/// Calls a second that one principal may make: an evaluation is one principal.
const CALLS: u32 = 1_000_000;

/// The platform.
pub(super) struct Stage {
    pub(super) control: Control,
    pub(super) plane: Plane,
    feed: Arc<CaseFeed>,
    door: control::Offline,
    running: Option<Running>,
    number: AtomicU64,
    // Held for its drop: the folder goes with the platform.
    folder: TempDir,
}

impl Stage {
    /// Open one in a folder of its own; one that is not `awake` does nothing by itself: it only answers calls.
    pub(super) async fn open(awake: bool) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("posse-evaluate-").tempdir().context("a folder cannot be made")?;
        let config = Config {
            calls_per_second: Some(CALLS),
            calls_burst: Some(CALLS),
            flush_after: Some(FLUSH_AFTER),
            ..Config::default()
        };
        let (control, plane, feed) = data_dir::open(folder.path(), &config).await?;
        feed.start(control.clone());
        let (running, door) = (awake.then(|| control.start()), control.offline("evaluate"));
        Ok(Self { control, plane, feed, door, running, number: AtomicU64::new(0), folder })
    }

    /// What takes records.
    pub(super) fn intake(&self) -> telemetry::Offline {
        telemetry::Offline { plane: self.plane.clone(), feed: Arc::clone(&self.feed), control: self.control.clone() }
    }

    /// Make a call as the one who evaluates.
    pub(super) async fn call(&self, operation: &str, input: Value) -> Reply {
        self.door.call(self.request(operation, input)).await
    }

    /// Make a call with this credential, as a run of an agent does.
    pub(super) async fn call_as(&self, credential: &Credential, operation: &str, input: Value) -> Reply {
        let mut call = self.request(operation, input);
        call.credential = Some(credential.clone());
        call.origin.face = Face::Agent;
        self.control.call(call).await
    }

    fn request(&self, operation: &str, input: Value) -> Call {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        Call {
            operation: operation.to_owned(),
            input,
            credential: None,
            idempotency_key: None,
            origin: Origin {
                face: Face::Offline,
                address: None,
                user_agent: None,
                request_id: format!("evaluate-{number}"),
            },
        }
    }

    /// Make a call that must be carried out.
    pub(super) async fn must<T: DeserializeOwned>(&self, operation: &str, input: Value) -> anyhow::Result<T> {
        match self.call(operation, input).await {
            Reply::Done(done) => serde_json::from_value(done.output).with_context(|| format!("`{operation}` answered")),
            Reply::Refused(problem) => bail!("`{operation}`: {}", told(&problem)),
            Reply::Pending(_) | Reply::Deferred(_) => bail!("`{operation}` waits for people"),
        }
    }

    /// Make a call that must be carried out, whatever it answers.
    pub(super) async fn done(&self, operation: &str, input: Value) -> anyhow::Result<()> {
        self.must::<Value>(operation, input).await.map(drop)
    }

    /// Register an agent of the provider that holds these roles in every tenant, under this definition where there is one;
    /// its id.
    pub(super) async fn agent(&self, name: &str, definition: Option<&str>, roles: &[&str]) -> anyhow::Result<String> {
        let users: Value = self.must("user.list", json!({})).await?;
        let owner = users.pointer("/items/0/id").cloned().context("a new installation has a first admin")?;
        let made = json!({ "name": name, "purpose": "is judged by an evaluation", "owner": owner });
        let agent: Value = self.must("agent.register", made).await?;
        let id = agent.get("id").and_then(Value::as_str).context("an agent has an id")?.to_owned();
        if let Some(text) = definition {
            self.done("agent.define", json!({ "agent": id, "text": text })).await?;
        }
        self.done("agent.activate", json!({ "agent": id })).await?;
        for role in roles {
            self.done("role.assign", json!({ "principal": id, "role": role })).await?;
        }
        Ok(id)
    }

    /// Wait until everything that was taken can be found, is in files, and what was found in it is in cases.
    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        let (mut since, mut seen, mut calm) = (Instant::now(), (0, 0, 0), 0);
        while calm < 2 {
            let hot_rows = self.plane.lake().size().hot_rows;
            let findings = self.plane.findings();
            let through = self.plane.caught_up() && hot_rows == 0 && self.feed.settled(findings);
            calm = if through { calm + 1 } else { 0 };
            let now = (self.plane.behind_bytes(), findings, hot_rows);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            if since.elapsed() > PATIENCE {
                bail!("records do not come through: {} bytes of the log are left", self.plane.behind_bytes());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// End it and remove its folder.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        self.plane.stop().await;
        self.feed.stop().await;
        if let Some(running) = self.running {
            running.stop().await;
        }
        self.folder.close().context("the folder cannot be removed")
    }
}

/// A problem with all its faults in one line.
pub(super) fn told(problem: &Problem) -> String {
    let faults = problem.errors.iter().map(|fault| format!("; `{}` {}", fault.pointer, fault.detail));
    std::iter::once(problem.to_string()).chain(faults).collect()
}

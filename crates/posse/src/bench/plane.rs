//! A data plane in a folder that goes away with it, fed with recorded records: what measurements of rules over streams and
//! over the lake share. The log, the catalog and the files are those of a server; there is no HTTP between.

use crate::data_dir::SystemClock;
use anyhow::{Context as _, ensure};
use api::{DataPlane as _, Delivery, Protocol, RuleSet, RuleText};
use ids::{Clock, TenantId, Text};
use pipeline::{FindingSink, Plane};
use seal::SystemEntropy;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use store::{Config, Store};

/// A running plane and the state beside it.
pub(super) struct Bench {
    pub(super) plane: Plane,
    _store: Store,
    _folder: tempfile::TempDir,
}

/// Whose the records are.
pub(super) fn tenant() -> TenantId {
    TenantId::derive(&[b"bench"])
}

impl Bench {
    /// An empty one.
    pub(super) async fn open(findings: Arc<dyn FindingSink>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (clock, entropy): (Arc<dyn Clock>, Arc<dyn ids::Entropy>) =
            (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let config = Config::sqlite(folder.path());
        let target = config.target.clone();
        let store = Store::open(config, Arc::clone(&clock), Arc::clone(&entropy)).await.context("no state")?;
        let plane =
            crate::telemetry::open(folder.path(), target, &clock, &entropy, findings, (None, Vec::new())).await?;
        plane.begin();
        Ok(Self { plane, _store: store, _folder: folder })
    }

    /// Let these rules run.
    pub(super) fn set_rules(&self, rules: Vec<RuleText>) -> anyhow::Result<u32> {
        let set = RuleSet { digest: "bench".to_owned(), rules, ..RuleSet::default() };
        let report = self.plane.set_rules(tenant(), set).map_err(|problem| anyhow::anyhow!("{problem}"))?;
        Ok(report.running)
    }

    /// Send records; returns when they are durable.
    pub(super) async fn send(&self, records: &[Vec<u8>]) -> anyhow::Result<()> {
        let delivery = Delivery {
            tenant: tenant(),
            source: Text::truncated("windows"),
            key: "bench".to_owned(),
            protocol: Protocol::Ndjson,
            method: "POST".to_owned(),
            path: String::new(),
            query: Vec::new(),
            headers: Vec::new(),
            peer: None,
            body: records.join(&b'\n'),
        };
        let answer = self.plane.deliver(delivery).await;
        ensure!(answer.status == 200, "records were refused: {} {:?}", answer.status, answer.refused);
        Ok(())
    }

    /// Wait until what was sent can be found.
    pub(super) async fn caught_up(&self) {
        while !self.plane.caught_up() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Rule files as the plane takes them; each document by the name of its file.
pub(super) fn rules(texts: &[(String, String)]) -> Vec<RuleText> {
    let rule = |(file, text): &(String, String)| RuleText {
        id: None,
        name: file.clone(),
        digest: seal::Digest::of(text.as_bytes()).to_hex(),
        text: text.clone(),
        shadow: false,
    };
    texts.iter().map(rule).collect()
}

/// Measure on a runtime like a server's and print: one line of JSON, or a line for each figure.
pub(super) fn print(measured: impl Future<Output = anyhow::Result<Value>>, json: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(measured)?;
    if json {
        println!("{figures}");
    } else {
        for (key, value) in figures.as_object().into_iter().flatten() {
            println!("{key:>36}  {value}");
        }
    }
    Ok(())
}

/// Seconds of processor time of this process, to a hundredth.
pub(super) fn process_cpu() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").context("CPU time is read from Linux's /proc")?;
    let (_, after) = text.rsplit_once(')').context("the kernel tells of this process")?;
    let mut fields = after.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<f64>().ok()).context("the kernel tells of time");
    Ok((ticks()? + ticks()?) / 100.0)
}

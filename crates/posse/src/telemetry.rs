//! The telemetry of a data folder: the log in `journal/`, the lake's files in `lake/`, its catalog beside the state,
//! and the data plane over them.

use crate::case_feed::CaseFeed;
use anyhow::Context as _;
use api::{DataPlane as _, Delivery, Future, Protocol};
use cli::{Ingest, Taken};
use control::Control;
use ids::{Clock, Entropy, TenantId, Text};
use lake::Lake;
use pipeline::{FindingSink, Options, Plane};
use std::path::Path;
use std::sync::Arc;
use store::{LakeCatalog, LakeConfig, Target};

/// Connections that read the catalog.
const READERS: u32 = 4;

/// Open the telemetry of a folder and go on where it was left. The state's lock is held by the caller.
pub(crate) async fn open(
    data_dir: &Path,
    target: Target,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    findings: Arc<dyn FindingSink>,
    (flush_after, external): (Option<std::time::Duration>, Vec<lake::ExternalFolder>),
) -> anyhow::Result<Plane> {
    let data_dir = std::path::absolute(data_dir).context("the data folder has no absolute path")?;
    let folder = data_dir.join("lake");
    let table = lake::table().context("the lake's table is not sound")?;
    let config = LakeConfig { target, folder: folder.clone(), table, readers: READERS };
    let catalog = LakeCatalog::open(config, Arc::clone(clock)).await.context("the lake's catalog cannot be opened")?;
    let options = lake::Options {
        folder,
        sync: Arc::new(journal::sync_path),
        catalog: Arc::new(catalog),
        clock: Arc::clone(clock),
        limits: lake::Limits::default(),
    };
    let opened = Lake::open(options).await.context("the lake cannot be opened")?;
    opened.0.allow_external_folders(external);
    let mut options = Options::new(data_dir.join("journal"), opened, Arc::clone(clock), Arc::clone(entropy));
    options.findings = Some(findings);
    options.pace.flush_after = flush_after.unwrap_or(options.pace.flush_after);
    Plane::open(options).context("the data plane cannot be started")
}

/// Takes records for `posse import --data-dir`.
#[derive(Clone)]
pub(crate) struct Offline {
    pub(crate) plane: Plane,
    pub(crate) feed: Arc<CaseFeed>,
    pub(crate) control: Control,
}

impl Offline {
    /// Let what is found go into cases; a command that takes no records leaves that to the server.
    pub(crate) fn start(self) -> Self {
        self.feed.start(self.control.clone());
        self
    }
}

impl Ingest for Offline {
    fn take(&self, tenant: TenantId, source: Text<64>, body: Vec<u8>) -> Future<'_, Result<Taken, String>> {
        Box::pin(async move {
            let delivery = Delivery {
                tenant,
                source,
                key: "import".to_owned(),
                protocol: Protocol::Ndjson,
                method: "POST".to_owned(),
                path: String::new(),
                query: Vec::new(),
                headers: Vec::new(),
                peer: None,
                body,
            };
            loop {
                let answer = self.plane.deliver(delivery.clone()).await;
                let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                if answer.status == 200 {
                    let duplicate = told.get("duplicate").and_then(serde_json::Value::as_bool).unwrap_or(false);
                    return Ok(Taken { accepted: answer.records, rejected: answer.rejected, duplicate });
                }
                let wait = answer.headers.iter().find(|(name, _)| *name == "retry-after");
                let Some(secs) = wait.and_then(|(_, secs)| secs.parse().ok()) else {
                    let detail = told.get("detail").and_then(serde_json::Value::as_str);
                    return Err(detail.unwrap_or("no reason was given").to_owned());
                };
                tokio::time::sleep(std::time::Duration::from_secs(secs)).await;
            }
        })
    }

    fn finish(&self) -> Future<'_, ()> {
        Box::pin(async move {
            self.plane.stop().await;
            self.feed.stop().await;
        })
    }
}

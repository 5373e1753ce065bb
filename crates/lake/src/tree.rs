//! The tree of processes around one: its ancestors, and what it and they started.

use crate::answer::{Provenance, rows_of};
use crate::ask::{AskError, planned};
use crate::find::{events, filtered, plan_of};
use crate::lake::Lake;
use crate::search::instant;
use datafusion::prelude::{Expr, col, lit};
use ids::{Scope, TenantId, Timestamp};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A question for the tree around a process.
#[derive(Clone, Debug)]
pub struct ProcessTree {
    /// Whose processes.
    pub tenant: TenantId,
    /// The process (`process_uid`, or the `parent_uid` of a child).
    pub process_uid: String,
    /// Starts at or after this instant.
    pub from: Timestamp,
    /// Starts before this instant.
    pub to: Timestamp,
    /// Generations up and down, 1 to 16.
    pub generations: u8,
    /// Processes, 1 to 1,000.
    pub processes_max: usize,
}

/// One process of a tree.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct ProcessNode {
    /// The event that says so; none of an ancestor that is only known by its child.
    pub event: Option<String>,
    /// When it started.
    pub time: Option<String>,
    /// Its identity.
    pub process_uid: String,
    /// Its parent's.
    pub parent_uid: Option<String>,
    /// Its file.
    pub path: Option<String>,
    /// Its command line.
    pub cmd_line: Option<String>,
    /// Whose rights it had.
    pub user: Option<String>,
    /// The host.
    pub host: Option<String>,
}

/// A tree, as its processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProcessForest {
    /// The processes by start; `parent_uid` makes the tree.
    pub processes: Vec<ProcessNode>,
    /// Whether these are all within the generations and the time.
    pub complete: bool,
    /// Where the last step comes from.
    pub provenance: Provenance,
}

const COLUMNS: [&str; 8] = [
    "id",
    "time",
    "process_uid",
    "parent_uid",
    "process_path",
    "process_cmd_line",
    "process_user_name",
    "device_hostname",
];

/// Starts of processes (OCSF Process Activity, Launch).
const CLASS: i32 = 1007;
const LAUNCH: i32 = 1;

impl Lake {
    /// The tree of processes around one.
    ///
    /// # Errors
    /// As [`Lake::search`].
    pub async fn process_tree(&self, ask: ProcessTree) -> Result<ProcessForest, AskError> {
        let most = ask.processes_max.clamp(1, 1_000);
        let mut found: BTreeMap<String, ProcessNode> = BTreeMap::new();
        let mut forest = ProcessForest { complete: true, ..ProcessForest::default() };
        let mut up = BTreeSet::from([ask.process_uid.clone()]);
        let mut down = up.clone();
        for _ in 0..ask.generations.clamp(1, 16) {
            if (up.is_empty() && down.is_empty()) || found.len() >= most {
                break;
            }
            let condition = among("process_uid", &up).into_iter().chain(among("parent_uid", &down)).reduce(Expr::or);
            let (nodes, whole, provenance) = self.launches(&ask, condition, most).await?;
            forest.complete &= whole;
            forest.provenance = provenance;
            let (wanted_up, wanted_down) = (std::mem::take(&mut up), std::mem::take(&mut down));
            for node in nodes {
                let is_child = node.parent_uid.as_ref().is_some_and(|parent| wanted_down.contains(parent));
                if is_child && !found.contains_key(&node.process_uid) {
                    down.insert(node.process_uid.clone());
                }
                if wanted_up.contains(&node.process_uid)
                    && let Some(parent) = &node.parent_uid
                    && !found.contains_key(parent)
                {
                    up.insert(parent.clone());
                }
                found.entry(node.process_uid.clone()).or_insert(node);
            }
        }
        forest.complete &= up.is_empty() && down.is_empty() && found.len() <= most;
        forest.processes = found.into_values().collect();
        forest.processes.sort_by(|left, right| left.time.cmp(&right.time));
        forest.processes.truncate(most);
        Ok(forest)
    }

    async fn launches(
        &self,
        ask: &ProcessTree,
        condition: Option<Expr>,
        most: usize,
    ) -> Result<(Vec<ProcessNode>, bool, Provenance), AskError> {
        let bounds = [
            col("class_uid").eq(lit(CLASS)),
            col("activity_id").eq(lit(LAUNCH)),
            col("time").gt_eq(instant(ask.from)),
            col("time").lt(instant(ask.to)),
        ];
        let condition = bounds.into_iter().chain(condition).reduce(Expr::and);
        let planner = Box::new(move |state| -> futures::future::BoxFuture<'static, _> {
            Box::pin(async move {
                let frame = filtered(events(state).await?, condition)?;
                let frame = frame.select(COLUMNS.map(col).to_vec()).map_err(|error| planned(&error))?;
                let frame = frame.sort(vec![col("time").sort(true, false)]);
                plan_of(frame.and_then(|frame| frame.limit(0, Some(most + 1))))
            })
        });
        let batches = self.run(Scope::Tenant(ask.tenant), planner, most, 0).await?;
        let nodes = rows_of(&batches.batches, most).into_iter().filter_map(node).collect();
        Ok((nodes, batches.cut.is_none(), batches.provenance))
    }
}

fn among(column: &str, values: &BTreeSet<String>) -> Option<Expr> {
    let list: Vec<Expr> = values.iter().map(|value| lit(value.as_str())).collect();
    (!list.is_empty()).then(|| col(column).in_list(list, false))
}

fn node(row: Vec<Value>) -> Option<ProcessNode> {
    let mut cells = row.into_iter().map(|cell| match cell {
        Value::String(text) => Some(text),
        _ => None,
    });
    let mut next = || cells.next().flatten();
    Some(ProcessNode {
        event: next(),
        time: next(),
        process_uid: next()?,
        parent_uid: next(),
        path: next(),
        cmd_line: next(),
        user: next(),
        host: next(),
    })
}

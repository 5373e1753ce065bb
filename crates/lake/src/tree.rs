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
use std::time::Duration;

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
    /// The host and the instant around which most of the tree is looked for; it makes the answer quicker, never another.
    pub around: Option<(String, Timestamp)>,
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

/// How far around an instant most of a tree is looked for.
const NEAR: Duration = Duration::from_secs(600);

/// A tree as it grows, upwards by parents and downwards by children.
struct Growth {
    generations: u8,
    found: BTreeMap<String, ProcessNode>,
    /// The process and its descendants: how many generations below it.
    below: BTreeMap<String, u8>,
    /// Who is looked for next on the way up, and how many generations above.
    above: Option<(String, u8)>,
    /// Descendants whose children were asked for, and whoever was looked for on the way up.
    asked_down: BTreeSet<String>,
    asked_up: BTreeSet<String>,
}

impl Growth {
    fn of(process: &str, generations: u8) -> Self {
        Self {
            generations,
            found: BTreeMap::new(),
            below: BTreeMap::from([(process.to_owned(), 0)]),
            above: Some((process.to_owned(), 0)),
            asked_down: BTreeSet::new(),
            asked_up: BTreeSet::new(),
        }
    }

    /// Take in what belongs to the tree, until nothing more does.
    fn absorb(&mut self, nodes: &[ProcessNode]) {
        loop {
            let before = self.found.len();
            for node in nodes {
                if self.found.contains_key(&node.process_uid) {
                    continue;
                }
                let depth = node.parent_uid.as_ref().and_then(|parent| self.below.get(parent)).copied();
                if let Some((wanted, height)) = self.above.clone().filter(|(wanted, _)| *wanted == node.process_uid) {
                    self.found.insert(wanted, node.clone());
                    let next = node.parent_uid.clone().filter(|parent| !self.found.contains_key(parent));
                    self.above = next.filter(|_| height < self.generations).map(|parent| (parent, height + 1));
                } else if let Some(depth) = depth.filter(|depth| *depth < self.generations) {
                    self.below.insert(node.process_uid.clone(), depth + 1);
                    self.found.insert(node.process_uid.clone(), node.clone());
                }
            }
            if self.found.len() == before {
                return;
            }
        }
    }

    /// Whose launch, and whose children, nobody was asked for yet.
    fn wanted(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let up = self.above.iter().map(|(uid, _)| uid).filter(|uid| !self.asked_up.contains(*uid)).cloned().collect();
        let open =
            self.below.iter().filter(|(uid, depth)| **depth < self.generations && !self.asked_down.contains(*uid));
        (up, open.map(|(uid, _)| uid.clone()).collect())
    }

    fn asked(&mut self, up: BTreeSet<String>, down: BTreeSet<String>) {
        self.asked_up.extend(up);
        self.asked_down.extend(down);
    }
}

impl Lake {
    /// The tree of processes around one.
    ///
    /// # Errors
    /// As [`Lake::search`].
    pub async fn process_tree(&self, ask: ProcessTree) -> Result<ProcessForest, AskError> {
        let most = ask.processes_max.clamp(1, 1_000);
        let mut growth = Growth::of(&ask.process_uid, ask.generations.clamp(1, 16));
        let mut forest = ProcessForest { complete: true, ..ProcessForest::default() };
        // Most trees play on one host within minutes: one question brings all of it, the others only what is missing.
        let mut near = Vec::new();
        if let Some((host, at)) = &ask.around {
            let condition = [
                col("device_hostname").eq(lit(host.as_str())),
                col("time").gt_eq(instant(at.minus(NEAR))),
                col("time").lt(instant(at.plus(NEAR))),
            ];
            let (nodes, whole, _) = self.launches(&ask, condition.into_iter().reduce(Expr::and), most).await?;
            // Of a host that starts more than that in so short a time, any part could be missing.
            near = if whole { nodes } else { Vec::new() };
        }
        growth.absorb(&near);
        for _ in 0..=ask.generations.clamp(1, 16) {
            let (up, down) = growth.wanted();
            if (up.is_empty() && down.is_empty()) || growth.found.len() >= most {
                break;
            }
            let condition = among("process_uid", &up).into_iter().chain(among("parent_uid", &down)).reduce(Expr::or);
            let (nodes, whole, provenance) = self.launches(&ask, condition, most).await?;
            forest.complete &= whole;
            forest.provenance = provenance;
            growth.asked(up, down);
            growth.absorb(&nodes);
            growth.absorb(&near);
        }
        let (up, down) = growth.wanted();
        forest.complete &= up.is_empty() && down.is_empty() && growth.found.len() <= most;
        forest.processes = growth.found.into_values().collect();
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

//! Ends a process and its descendants, by identity. Each is held by a descriptor before its identity is compared, so the
//! number cannot pass to another process in between; each is stopped before its children are looked up, so it cannot
//! make new ones meanwhile. Never touches process 1, the kernel's threads, or the sensor itself.

use crate::identity::{ProcessGuid, ProcessKey};
use crate::lineage::Lineage;
use crate::proc::{self, Stat};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Serialize;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long ended processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(3);
/// The kernel's own parent of its threads.
const KERNEL_THREADS: u32 = 2;
/// Rounds of looking for descendants at most.
const ROUNDS_MAX: usize = 16;

/// Why nothing was ended.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum KillRefusal {
    /// The process is of another boot.
    #[error("the process is of another boot of this host")]
    Boot,
    /// It may not be ended.
    #[error("process {0} may not be ended: {1}")]
    Protected(u32, &'static str),
}

/// What a kill found and did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KillReport {
    /// What was ended: what each was, before.
    pub killed: Vec<Victim>,
    /// What is still there after all.
    pub remaining: Vec<ProcessGuid>,
}

/// A process that was ended.
#[derive(Clone, Debug, Serialize)]
pub struct Victim {
    /// Its identity.
    pub process: ProcessGuid,
    /// Its file.
    pub image: Option<std::path::PathBuf>,
    /// Its arguments.
    pub command_line: String,
    /// Whom it ran for.
    pub user_id: Option<u32>,
}

/// End a process, and with `tree` its descendants as the kernel knows them. A process that is not there any more is no
/// error: nothing is killed.
///
/// # Errors
/// [`KillRefusal`].
pub fn kill(process: &ProcessGuid, tree: bool) -> Result<KillReport, KillRefusal> {
    kill_line(process, tree, &Lineage::default())
}

/// The same with what telemetry knows of who made whom: descendants whose makers have ended, also the process itself,
/// are found too.
///
/// # Errors
/// [`KillRefusal`].
pub fn kill_line(process: &ProcessGuid, tree: bool, lineage: &Lineage) -> Result<KillReport, KillRefusal> {
    let boot = proc::boot_id().unwrap_or_default();
    if process.boot != boot {
        return Err(KillRefusal::Boot);
    }
    if let Some(stat) = proc::stat(process.key.pid).filter(|stat| stat.key == process.key) {
        protected(&stat).map_or(Ok(()), |why| Err(KillRefusal::Protected(stat.key.pid, why)))?;
    }
    let mut held: BTreeMap<ProcessKey, OwnedFd> = BTreeMap::new();
    let mut report = KillReport::default();
    let guid = |key| ProcessGuid { boot: boot.clone(), key };
    let mut waiting = vec![process.key];
    for _ in 0..ROUNDS_MAX {
        for key in std::mem::take(&mut waiting) {
            if let Some(descriptor) = hold(key) {
                let details = proc::details(key.pid).filter(|details| details.stat.key == key);
                report.killed.push(Victim {
                    process: guid(key),
                    image: details.as_ref().and_then(|details| details.image.clone()),
                    command_line: details.as_ref().map(|details| details.arguments.join(" ")).unwrap_or_default(),
                    user_id: details.as_ref().map(|details| details.uid),
                });
                held.insert(key, descriptor);
            }
        }
        if tree {
            waiting = descendants(process.key, &held, lineage);
        }
        if waiting.is_empty() {
            break;
        }
    }
    for descriptor in held.values() {
        // A process that ended by itself meanwhile is what we want; the look below tells.
        let _ = pidfd_send_signal(descriptor, Signal::KILL);
    }
    report.remaining = remaining(held.keys().copied()).into_iter().map(guid).collect();
    Ok(report)
}

/// Hold and stop a process of this identity.
fn hold(key: ProcessKey) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(key.pid).ok()?)?;
    let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let same = proc::stat(key.pid).is_some_and(|stat| stat.key == key && !ended(&stat));
    same.then(|| {
        let _ = pidfd_send_signal(&descriptor, Signal::STOP);
        descriptor
    })
}

/// Children of the processes that are held and what descends from the first, without those that are held too or may not
/// be touched.
fn descendants(root: ProcessKey, held: &BTreeMap<ProcessKey, OwnedFd>, lineage: &Lineage) -> Vec<ProcessKey> {
    let is_parent = |pid: u32| held.keys().any(|key| key.pid == pid);
    let all = proc::processes().into_iter();
    all.filter(|stat| is_parent(stat.parent_pid) || lineage.descends(stat.key, root))
        .filter(|stat| !held.contains_key(&stat.key))
        .filter(|stat| protected(stat).is_none() && !ended(stat))
        .map(|stat| stat.key)
        .collect()
}

fn protected(stat: &Stat) -> Option<&'static str> {
    if stat.key.pid == 1 {
        Some("it is the first process")
    } else if stat.key.pid == KERNEL_THREADS || stat.parent_pid == KERNEL_THREADS {
        Some("it is a thread of the kernel")
    } else if stat.key.pid == std::process::id() {
        Some("it is the sensor")
    } else {
        None
    }
}

/// A process that has ended and waits to be reaped.
const fn ended(stat: &Stat) -> bool {
    matches!(stat.state, 'Z' | 'X' | 'x')
}

/// Which of these are still there once patience is over.
fn remaining(keys: impl Iterator<Item = ProcessKey>) -> Vec<ProcessKey> {
    let alive = |key: &ProcessKey| proc::stat(key.pid).is_some_and(|stat| stat.key == *key && !ended(&stat));
    let mut left: Vec<ProcessKey> = keys.collect();
    let begun = Instant::now();
    loop {
        left.retain(alive);
        if left.is_empty() || begun.elapsed() > PATIENCE {
            return left;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

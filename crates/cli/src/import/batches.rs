//! A file's records as bodies of JSON lines, read on a thread of its own, at most two bodies ahead.

use crate::answer::Trouble;
use event::read::each_record;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Bytes of an unpacked file.
const FILE_BYTES_MAX: usize = 8 << 30;
/// Records and bytes of one body.
const BODY_RECORDS: u64 = 10_000;
/// See [`BODY_RECORDS`].
const BODY_BYTES: usize = 4 << 20;
/// Folders in folders at most.
const DEPTH_MAX: usize = 32;

/// One body.
pub(super) struct Batch {
    pub(super) body: Vec<u8>,
    pub(super) records: u64,
}

/// What reading gives.
pub(super) enum Read {
    /// A body to send.
    Batch(Batch),
    /// The file, or the rest of it, cannot be read.
    Failed(Trouble),
    /// One record cannot be read.
    Unreadable,
}

/// The files that a path stands for, in the order of their names.
pub(super) fn files(path: &Path, found: &mut Vec<PathBuf>) -> Result<(), Trouble> {
    below(path, DEPTH_MAX, found)
}

fn below(path: &Path, depth_left: usize, found: &mut Vec<PathBuf>) -> Result<(), Trouble> {
    let failed = |error: std::io::Error| Trouble::local(format!("cannot read `{}`", path.display()), error);
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    let Some(depth_left) = depth_left.checked_sub(1) else {
        return Err(Trouble::Usage(format!("`{}` is nested too deep", path.display())));
    };
    let entries = std::fs::read_dir(path).map_err(failed)?;
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.sort();
    paths.iter().try_for_each(|path| below(path, depth_left, found))
}

/// Read a file.
pub(super) fn read(file: PathBuf) -> Receiver<Read> {
    let (out, read) = channel(2);
    tokio::task::spawn_blocking(move || {
        let failed = |reason: &dyn std::fmt::Display| {
            Read::Failed(Trouble::local(format!("cannot read `{}`", file.display()), reason))
        };
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) => {
                let _ = out.blocking_send(failed(&error));
                return;
            }
        };
        if let Err(fault) = cut(&bytes, &out) {
            let _ = out.blocking_send(failed(&fault));
        }
    });
    read
}

fn cut(bytes: &[u8], out: &Sender<Read>) -> Result<(), event::read::ReadFault> {
    let mut batch = Batch { body: Vec::new(), records: 0 };
    each_record(bytes, FILE_BYTES_MAX, |_, record| {
        let Ok(record) = record else {
            let told = out.blocking_send(Read::Unreadable);
            return if told.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        };
        // A record of several lines is JSON, where a line's end is white space.
        batch.body.extend(record.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        batch.body.push(b'\n');
        batch.records = batch.records.saturating_add(1);
        if batch.records < BODY_RECORDS && batch.body.len() < BODY_BYTES {
            return ControlFlow::Continue(());
        }
        let full = std::mem::replace(&mut batch, Batch { body: Vec::new(), records: 0 });
        if out.blocking_send(Read::Batch(full)).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if batch.records > 0 {
        // Where nobody listens any more the import has ended.
        let _ = out.blocking_send(Read::Batch(batch));
    }
    Ok(())
}

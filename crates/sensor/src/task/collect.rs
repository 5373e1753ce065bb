//! Collects a file: copied first, so that what is hashed is what is sent, then sent in parts. Links are not followed, and
//! what is no regular file (a pipe, a device) is refused: reading it could hang or have effects.

use crate::state::State;
use crate::wire::Outcome;
use ids::SensorTaskId;
use rustix::fs::{Mode, OFlags};
use serde_json::json;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Bytes of one part.
const CHUNK_BYTES: u64 = 1 << 20;
/// The largest bound that a task may ask for.
const BYTES_MAX: u64 = 1 << 30;

fn copy_of(state: &State, task: SensorTaskId) -> PathBuf {
    state.file(&format!("collected-{task}"))
}

pub(super) fn collect(state: &State, task: SensorTaskId, path: &str, bytes_max: u64) -> Outcome {
    let refused = |reason: String| Outcome::Refused { reason };
    if !Path::new(path).is_absolute() {
        return refused(format!("`{path}` is not an absolute path"));
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(opened) => File::from(opened),
        Err(error) => return refused(format!("`{path}` cannot be opened: {error}")),
    };
    let meta = match opened.metadata() {
        Ok(meta) if meta.is_file() => meta,
        _ => return refused(format!("`{path}` is no regular file")),
    };
    let bound = bytes_max.min(BYTES_MAX);
    if meta.len() > bound {
        return refused(format!("`{path}` has {} bytes, more than {bound}", meta.len()));
    }
    match copy(opened, &copy_of(state, task), bound) {
        Ok(Some((bytes, digest))) => Outcome::Done {
            already: false,
            details: json!({
                "path": path,
                "bytes": bytes,
                "sha256": digest,
                "chunks": bytes.div_ceil(CHUNK_BYTES),
                "chunk_bytes": CHUNK_BYTES,
                "user_id": meta.uid(),
                "mode": meta.mode(),
                "modified_secs": meta.mtime(),
            }),
        },
        Ok(None) => refused(format!("`{path}` has grown past {bound} bytes")),
        Err(error) => Outcome::Failed { reason: format!("`{path}` cannot be copied: {error}"), details: json!({}) },
    }
}

/// Copy and hash; none where there is more than the bound.
fn copy(from: File, to: &Path, bytes_max: u64) -> std::io::Result<Option<(u64, String)>> {
    // An interrupted copy of the same task is replaced.
    let mut copy = File::options().write(true).read(true).create(true).truncate(true).mode(0o600).open(to)?;
    let bytes = std::io::copy(&mut from.take(bytes_max.saturating_add(1)), &mut copy)?;
    if bytes > bytes_max {
        drop(std::fs::remove_file(to));
        return Ok(None);
    }
    copy.seek(SeekFrom::Start(0))?;
    let digest = crate::hash::whole(&copy, bytes_max)?;
    Ok(digest.map(|digest| (bytes, digest.to_hex())))
}

/// One part of a collected file; none behind its end.
pub(crate) fn chunk(state: &State, task: SensorTaskId, index: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut copy = File::open(copy_of(state, task))?;
    copy.seek(SeekFrom::Start(index.saturating_mul(CHUNK_BYTES)))?;
    let mut bytes = Vec::new();
    copy.take(CHUNK_BYTES).read_to_end(&mut bytes)?;
    Ok((!bytes.is_empty()).then_some(bytes))
}

/// Remove the copy once the platform has it.
pub(crate) fn forget(state: &State, task: SensorTaskId) {
    if let Err(error) = std::fs::remove_file(copy_of(state, task))
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "a collected file stays behind");
    }
}

//! Collects a file: copied first, so that what is hashed is what is sent, then sent in parts. No part of its path may be a
//! link; what is no regular file (a pipe, a device) is never opened, since opening it could hang or have effects; the
//! sensor's own folder, which holds its key, is not given away.

use crate::state::State;
use crate::wire::Outcome;
use ids::SensorTaskId;
use rustix::fs::{Mode, OFlags, open, openat};
use serde_json::json;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

/// Bytes of one part: as base64 in JSON well below what the platform takes as one body.
const CHUNK_BYTES: u64 = 256 << 10;
/// The largest bound that a task may ask for.
const BYTES_MAX: u64 = 64 << 20;

fn copy_of(state: &State, task: SensorTaskId) -> PathBuf {
    state.file(&format!("collected-{task}"))
}

/// Go to a path step by step, through no link and not into the sensor's own folder; why not, where that cannot be.
///
/// What is there is only named by this, not opened.
fn reach(path: &Path, own: &Path) -> Result<File, String> {
    let kept =
        std::fs::metadata(own).map_err(|error| format!("the sensor's own folder cannot be looked at: {error}"))?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut done = PathBuf::from("/");
    let root = open("/", flags, Mode::empty()).map_err(|error| format!("`/` cannot be opened: {error}"))?;
    let mut here = File::from(root);
    for part in path.components() {
        let name = match part {
            Component::RootDir | Component::CurDir => continue,
            Component::Normal(name) => name,
            Component::ParentDir | Component::Prefix(_) => {
                return Err(format!("`{}` leads back up; write the path without `..`", path.display()));
            }
        };
        done.push(name);
        let found = openat(&here, name, flags, Mode::empty());
        here = found.map(File::from).map_err(|error| format!("`{}` cannot be found: {error}", done.display()))?;
        let there = here.metadata().map_err(|error| format!("`{}` cannot be looked at: {error}", done.display()))?;
        if there.is_symlink() {
            return Err(format!("`{}` is a link; name the file where it is", done.display()));
        }
        if (there.dev(), there.ino()) == (kept.dev(), kept.ino()) {
            return Err(format!("`{}` is the sensor's own folder", done.display()));
        }
    }
    Ok(here)
}

/// The file at a path, open for reading; why not, where it is none that is given away.
fn regular(path: &Path, own: &Path) -> Result<File, String> {
    let named = reach(path, own)?;
    if !named.metadata().is_ok_and(|found| found.is_file()) {
        return Err(format!("`{}` is no regular file", path.display()));
    }
    // The very thing that was looked at, not whatever has its name by now.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = open(format!("/proc/self/fd/{}", named.as_raw_fd()), flags, Mode::empty());
    opened.map(File::from).map_err(|error| format!("`{}` cannot be opened: {error}", path.display()))
}

pub(super) fn collect(state: &State, task: SensorTaskId, path: &str, bytes_max: u64) -> Outcome {
    let refused = |reason: String| Outcome::Refused { reason };
    if !Path::new(path).is_absolute() || path.contains('\0') {
        return refused(format!("`{path}` is not an absolute path"));
    }
    let opened = match regular(Path::new(path), &state.file("")) {
        Ok(opened) => opened,
        Err(reason) => return refused(reason),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(state: &State, path: &Path) -> Outcome {
        collect(state, SensorTaskId::derive(&[b"one"]), path.to_str().unwrap(), 100)
    }

    #[test]
    fn only_a_regular_file_at_its_own_place_is_given_away() {
        let folder = tempfile::tempdir().unwrap();
        // A folder of temporary files may itself be reached by a link.
        let root = folder.path().canonicalize().unwrap();
        let state = State::open(&root.join("own")).unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        for (name, content) in
            [("real/file", "content"), ("real/large", &*"x".repeat(101)), ("own/identity.json", "{}")]
        {
            std::fs::write(root.join(name), content).unwrap();
        }
        std::os::unix::fs::symlink(root.join("real"), root.join("folder-link")).unwrap();
        std::os::unix::fs::symlink(root.join("real/file"), root.join("real/file-link")).unwrap();
        let done = outcome(&state, &root.join("real/./file"));
        let Outcome::Done { details, .. } = &done else { panic!("{done:?}") };
        assert_eq!(details["bytes"], 7);
        assert_eq!(details["sha256"], seal::Digest::of(b"content").to_hex());
        for (path, why) in [
            ("folder-link/file", "is a link"),
            ("real/file-link", "is a link"),
            ("real/../real/file", "without `..`"),
            ("real", "no regular file"),
            ("real/none", "cannot be found"),
            ("real/large", "more than 100"),
            ("own/identity.json", "the sensor's own folder"),
            ("real/file/below", "cannot be found"),
        ] {
            let refused = outcome(&state, &root.join(path));
            let Outcome::Refused { reason } = &refused else { panic!("{path}: {refused:?}") };
            assert!(reason.contains(why), "{path}: {reason}");
        }
        for path in ["/dev/zero", "/proc/self/fd/0", "etc/hosts"] {
            assert!(matches!(outcome(&state, Path::new(path)), Outcome::Refused { .. }), "{path}");
        }
    }
}

//! SHA-256 of programs, each file state hashed once. A cached digest is used only for the very state of the file that
//! the kernel ran (device, inode, size, time of change).

use crate::identity::ProcessKey;
use crate::observation::FileId;
use crate::proc;
use seal::{Digest, Hasher};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// File states remembered.
const REMEMBERED: usize = 8192;

#[derive(Debug)]
pub(crate) struct Programs {
    known: HashMap<FileId, Option<Digest>>,
    order: VecDeque<FileId>,
    bytes_max: u64,
}

impl Programs {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { known: HashMap::new(), order: VecDeque::new(), bytes_max }
    }

    /// The digest of the program that a process runs; none where its file is gone, was changed or is too large.
    pub(crate) fn digest(&mut self, key: ProcessKey, file: Option<FileId>, image: Option<&Path>) -> Option<Digest> {
        let (opened, id) = match file {
            Some(id) => {
                if let Some(known) = self.known.get(&id) {
                    return *known;
                }
                (running(key).or_else(|| same(image?, id)), id)
            }
            None => {
                let opened = running(key)?;
                let id = state(&opened)?;
                if let Some(known) = self.known.get(&id) {
                    return *known;
                }
                (Some(opened), id)
            }
        };
        // A file that was gone this time may be there the next time: only what was read is remembered.
        let opened = opened?;
        let digest = if id.size > self.bytes_max { None } else { whole(opened, self.bytes_max).ok().flatten() };
        self.remember(id, digest);
        digest
    }

    fn remember(&mut self, id: FileId, digest: Option<Digest>) {
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(id);
        self.known.insert(id, digest);
    }
}

/// The file that a living process runs, whatever its name leads to by now.
fn running(key: ProcessKey) -> Option<File> {
    let file = File::open(format!("/proc/{}/exe", key.pid)).ok()?;
    (proc::stat(key.pid)?.key == key).then_some(file)
}

/// The file of a path, if it is still the same.
fn same(path: &Path, id: FileId) -> Option<File> {
    // What a name leads to may be anything by now; a pipe would make the opening wait.
    if !std::fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let file = File::open(path).ok()?;
    (state(&file)? == id).then_some(file)
}

fn state(file: &File) -> Option<FileId> {
    let meta = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let device = rustix::fs::major(meta.dev()) << 20 | rustix::fs::minor(meta.dev());
    let modified_nanos = u32::try_from(meta.mtime_nsec()).ok()?;
    Some(FileId { device, inode: meta.ino(), size: meta.size(), modified_secs: meta.mtime(), modified_nanos })
}

/// The digest of all that a reader gives; none where it is more than `bytes_max`.
pub(crate) fn whole(mut reader: impl Read, bytes_max: u64) -> io::Result<Option<Digest>> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 64 << 10];
    let mut total: u64 = 0;
    loop {
        let bytes = match reader.read(&mut buffer) {
            Ok(0) => return Ok(Some(hasher.finish())),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        total = total.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if total > bytes_max {
            return Ok(None);
        }
        hasher.update(buffer.get(..bytes).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_not_hashed_for_its_past() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        std::fs::write(&path, "one").unwrap();
        let id = state(&File::open(&path).unwrap()).unwrap();
        // No process has this key, so the path is what is left.
        let gone = ProcessKey { pid: u32::MAX, start_ticks: 0 };
        let mut programs = Programs::new(1024);
        std::fs::write(&path, "two!").unwrap();
        assert_eq!(programs.digest(gone, Some(id), Some(&path)), None);
        let id = state(&File::open(&path).unwrap()).unwrap();
        assert_eq!(programs.digest(gone, Some(id), Some(&path)), Some(Digest::of(b"two!")));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(programs.digest(gone, Some(id), Some(&path)), Some(Digest::of(b"two!")), "remembered");
    }
}

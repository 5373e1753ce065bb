//! Files on disk on their way into the catalog: written under another name, synced, renamed, announced by a marker so
//! that a crash before the commit leaves nothing behind. Must never touch a file that a commit made part of the table.

use crate::LakeError;
use catalog::{File, FileId, NewFile};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes what stands at a path durable: a file's bytes or a folder's names. `journal` owns the call.
pub type SyncPath = Arc<dyn Fn(&Path) -> std::io::Result<()> + Send + Sync>;

const PENDING: &str = "pending";
const UNFINISHED: &str = "unfinished";

/// The folder of the table's files.
#[derive(Clone)]
pub(crate) struct Folder {
    root: PathBuf,
    sync: SyncPath,
    counter: Arc<AtomicU64>,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folder").field("root", &self.root).finish_non_exhaustive()
    }
}

/// Files that were written and stand under their names, but no commit shows them yet.
pub(crate) struct Staged {
    folder: Folder,
    marker: PathBuf,
    pub(crate) files: Vec<NewFile>,
    kept: bool,
}

impl Folder {
    pub(crate) fn open(root: &Path, sync: SyncPath) -> Result<Self, LakeError> {
        for folder in [root.to_owned(), root.join(PENDING)] {
            fs::create_dir_all(&folder).map_err(|source| LakeError::io("create", &folder, source))?;
        }
        Ok(Self { root: root.to_owned(), sync, counter: Arc::default() })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A new name below the folder; `stamp` makes it differ from those of earlier runs of the program.
    pub(crate) fn name(&self, class_uid: u32, day: catalog::Day, stamp: i64) -> String {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        format!("{class_uid}/{day}/{stamp:x}-{number:x}.parquet")
    }

    /// Where a file is written before it gets its name.
    pub(crate) fn unfinished(&self, name: &str) -> Result<PathBuf, LakeError> {
        let path = self.root.join(name);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(|source| LakeError::io("create", folder, source))?;
        Ok(path.with_extension(UNFINISHED))
    }

    /// Sync the files, announce them, give them their names, sync the folders.
    pub(crate) fn stage(&self, files: Vec<NewFile>, stamp: i64) -> Result<Staged, LakeError> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let marker = self.root.join(PENDING).join(format!("{stamp:x}-{number:x}"));
        let staged = Staged { folder: self.clone(), marker, files, kept: false };
        for file in &staged.files {
            self.sync(&self.root.join(&file.path).with_extension(UNFINISHED))?;
        }
        let names: Vec<&str> = staged.files.iter().map(|file| file.path.as_str()).collect();
        fs::write(&staged.marker, names.join("\n")).map_err(|source| LakeError::io("write", &staged.marker, source))?;
        self.sync(&staged.marker)?;
        self.sync(&self.root.join(PENDING))?;
        let mut folders = BTreeSet::from([self.root.clone()]);
        for file in &staged.files {
            let path = self.root.join(&file.path);
            let from = path.with_extension(UNFINISHED);
            fs::rename(&from, &path).map_err(|source| LakeError::io("rename", &from, source))?;
            folders.extend(path.ancestors().skip(1).take_while(|up| up.starts_with(&self.root)).map(Path::to_owned));
        }
        folders.iter().try_for_each(|folder| self.sync(folder))?;
        Ok(staged)
    }

    fn sync(&self, path: &Path) -> Result<(), LakeError> {
        (self.sync)(path).map_err(|source| LakeError::io("sync", path, source))
    }

    /// Remove what a crash left: unfinished files, and announced ones that no commit shows.
    pub(crate) fn clean(&self, files: &BTreeMap<FileId, Arc<File>>) -> Result<u64, LakeError> {
        let live: BTreeSet<&str> = files.values().map(|file| file.path.as_str()).collect();
        let mut removed = 0;
        for marker in entries(&self.root.join(PENDING))? {
            let names = fs::read_to_string(&marker).map_err(|source| LakeError::io("read", &marker, source))?;
            for name in names.lines().filter(|name| name.ends_with(".parquet") && !name.contains("..")) {
                if !live.contains(name) {
                    removed += remove(&self.root.join(name))?;
                }
            }
            remove(&marker)?;
        }
        for class in entries(&self.root)?.iter().filter(|path| path.is_dir()) {
            for day in entries(class)?.iter().filter(|path| path.is_dir()) {
                for file in entries(day)?.iter().filter(|path| path.extension().is_some_and(|end| end == UNFINISHED)) {
                    removed += remove(file)?;
                }
            }
        }
        Ok(removed)
    }

    /// Remove a file that the catalog has forgotten; it may be gone already.
    pub(crate) fn remove(&self, name: &str) -> Result<u64, LakeError> {
        remove(&self.root.join(name))
    }
}

impl Staged {
    /// The commit shows them: they stay.
    pub(crate) fn keep(mut self) {
        self.kept = true;
        // Where this fails, the next opening does it.
        let _ = fs::remove_file(&self.marker);
    }

    /// Nobody knows whether the commit shows them: they stay, and so does the marker, until the next opening.
    pub(crate) fn leave(mut self) {
        self.kept = true;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        for file in &self.files {
            let path = self.folder.root.join(&file.path);
            let _ = fs::remove_file(path.with_extension(UNFINISHED));
            let _ = fs::remove_file(path);
        }
        let _ = fs::remove_file(&self.marker);
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, LakeError> {
    let read = fs::read_dir(folder).map_err(|source| LakeError::io("list", folder, source))?;
    let paths: Result<Vec<PathBuf>, _> = read.map(|entry| entry.map(|entry| entry.path())).collect();
    paths.map_err(|source| LakeError::io("list", folder, source))
}

fn remove(path: &Path) -> Result<u64, LakeError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(1),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(source) => Err(LakeError::io("remove", path, source)),
    }
}

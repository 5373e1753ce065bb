//! The folder held against its manifest: each file is read once, checked, and crossed off; what is left over is a fault.

use crate::folder::Folder;
use crate::manifest::{MANIFEST, MANIFEST_NOTE, Manifest};
use crate::report::{FaultKind, Faults};
use seal::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// The files of one folder.
pub(super) struct Contents<'a> {
    folder: &'a dyn Folder,
    pub(super) manifest: Manifest,
    /// Files that are there and were not read yet.
    unread: BTreeSet<String>,
    /// What the manifest says of files that were not read yet.
    stated: BTreeMap<String, (u64, Digest)>,
    /// Folders of trees that could not be followed to their end: their other files are only held against the manifest.
    abandoned: Vec<String>,
    checked: u64,
}

impl<'a> Contents<'a> {
    pub(super) fn new(folder: &'a dyn Folder, listed: Vec<String>, manifest: Manifest, faults: &mut Faults) -> Self {
        let mut unread = BTreeSet::new();
        for path in listed {
            if path != MANIFEST && path != MANIFEST_NOTE && !unread.insert(path.clone()) {
                faults.add(&path, FaultKind::Unexpected, "is in the folder twice");
            }
        }
        let stated = manifest.files.iter().map(|file| (file.path.clone(), (file.bytes, file.sha256))).collect();
        Self { folder, manifest, unread, stated, abandoned: Vec::new(), checked: 2 }
    }

    /// Whether the file is there and was not read yet.
    pub(super) fn has(&self, path: &str) -> bool {
        self.unread.contains(path)
    }

    /// The bytes of a file that must be there, also where they are not what the manifest says.
    pub(super) fn read(&mut self, path: &str, faults: &mut Faults) -> Option<Vec<u8>> {
        if !self.unread.remove(path) {
            self.stated.remove(path);
            faults.add(path, FaultKind::Missing, "is not in the folder");
            return None;
        }
        self.checked += 1;
        let stated = self.stated.remove(path);
        let bytes = match self.folder.read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                faults.add(path, FaultKind::Unreadable, error);
                return None;
            }
        };
        match stated {
            None => faults.add(path, FaultKind::Unexpected, "is not in the manifest"),
            Some((length, digest)) => {
                if u64::try_from(bytes.len()) != Ok(length) || Digest::of(&bytes) != digest {
                    faults.add(path, FaultKind::Changed, "is not what the manifest says");
                }
            }
        }
        Some(bytes)
    }

    /// Give up on the tree in this folder.
    pub(super) fn abandon(&mut self, folder: &str) {
        self.abandoned.push(format!("{folder}/"));
    }

    /// Check what nothing asked for. Returns how many files were read.
    pub(super) fn finish(&mut self, faults: &mut Faults) -> u64 {
        for path in self.unread.clone() {
            let followed = !self.abandoned.iter().any(|folder| path.starts_with(folder.as_str()));
            if followed && self.stated.contains_key(&path) {
                faults.add(&path, FaultKind::Unexpected, "belongs to no tree of this export");
            }
            // Read all the same: a file that is not in the manifest, or not as it says, is named as such.
            drop(self.read(&path, faults));
        }
        for path in std::mem::take(&mut self.stated).into_keys() {
            faults.add(&path, FaultKind::Missing, "is in the manifest and not in the folder");
        }
        self.checked
    }
}

//! How the verifier sees an export: names and bytes. The command line supplies the file system. An implementation must list
//! everything that is there, also what it cannot read (links, devices): what is not listed is not checked.

use std::collections::BTreeMap;
use thiserror::Error;

/// Why a folder cannot be read.
#[derive(Debug, Clone, Eq, PartialEq, Error)]
#[error("{0}")]
pub struct FolderError(pub String);

/// A folder of files.
pub trait Folder {
    /// The paths of all files below it, with `/` between elements and none at the start, in any order.
    ///
    /// # Errors
    /// [`FolderError`] where it cannot be listed.
    fn list(&self) -> Result<Vec<String>, FolderError>;

    /// The bytes of one of the files that [`Folder::list`] named.
    ///
    /// # Errors
    /// [`FolderError`] where it cannot be read.
    fn read(&self, path: &str) -> Result<Vec<u8>, FolderError>;
}

impl Folder for BTreeMap<String, Vec<u8>> {
    fn list(&self) -> Result<Vec<String>, FolderError> {
        Ok(self.keys().cloned().collect())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FolderError> {
        self.get(path).cloned().ok_or_else(|| FolderError("is not there".to_owned()))
    }
}

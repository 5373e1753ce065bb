//! What can go wrong with files and the catalog; what can go wrong with a question is [`crate::AskError`].

use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why the lake could not open, write or rewrite.
#[derive(Debug, Error)]
pub enum LakeError {
    /// A flush is under way already.
    #[error("a flush is under way; wait for it before the next")]
    Busy,
    /// The catalog did not take a change or could not be read.
    #[error("the lake's catalog")]
    Catalog(#[from] catalog::CatalogError),
    /// The operating system refused something.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Rows could not be put into a file or read from one.
    #[error("a data file")]
    Parquet(#[source] Box<datafusion::parquet::errors::ParquetError>),
    /// Rows do not fit their columns.
    #[error("rows in memory")]
    Arrow(#[source] Box<datafusion::arrow::error::ArrowError>),
    /// A folder cannot be read as a table.
    #[error("the folder of an external table")]
    External(#[from] crate::ExternalFault),
    /// A thread for queries or for writing could not be had, or ended early.
    #[error("a worker of the lake ended early: {0}")]
    Worker(String),
    /// The catalog lacks a column that this build writes.
    #[error("the catalog's table lacks the column `{0}`; open it with `lake::table()`")]
    Column(String),
}

impl LakeError {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

impl From<datafusion::parquet::errors::ParquetError> for LakeError {
    fn from(error: datafusion::parquet::errors::ParquetError) -> Self {
        Self::Parquet(Box::new(error))
    }
}

impl From<datafusion::arrow::error::ArrowError> for LakeError {
    fn from(error: datafusion::arrow::error::ArrowError) -> Self {
        Self::Arrow(Box::new(error))
    }
}

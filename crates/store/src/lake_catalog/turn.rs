//! A turn of the one writer: a transaction that is whole or nothing, also when its caller goes away half-way.

use crate::config::OpenError;
use crate::engine::{Connection, Fault};
use crate::open::Opener;
use catalog::CatalogError;
use tokio::sync::{Mutex, MutexGuard};

/// The connection that writes, and how to get another one.
pub(super) struct Writer {
    opener: Opener,
    /// None while a turn has it; still none afterwards where the turn was dropped or the connection failed.
    connection: Option<Connection>,
    /// A commit has failed: the disk must be proved before the next one.
    suspect: bool,
}

impl Writer {
    pub(super) fn new(opener: Opener, connection: Connection) -> Self {
        Self { opener, connection: Some(connection), suspect: false }
    }

    pub(super) async fn close(self) {
        if let Some(connection) = self.connection {
            connection.close().await;
        }
    }
}

/// A transaction that has begun.
pub(super) struct Turn<'w> {
    writer: MutexGuard<'w, Writer>,
    // A dropped turn drops the connection, and with it the transaction.
    pub(super) connection: Connection,
    /// The turn before was dropped or failed: nobody knows whether it committed, so what is remembered may be old.
    pub(super) renewed: bool,
}

impl<'w> Turn<'w> {
    /// Wait for the writer and begin.
    pub(super) async fn begin(writer: &'w Mutex<Writer>) -> Result<Self, CatalogError> {
        let mut writer = writer.lock().await;
        let (mut connection, renewed) = match writer.connection.take() {
            Some(connection) => (connection, false),
            None => (writer.opener.writer().await.map_err(not_open)?, true),
        };
        if writer.suspect {
            writer.opener.verify(&mut connection).await.map_err(failed)?;
            writer.suspect = false;
        }
        connection.begin().await.map_err(failed)?;
        Ok(Self { writer, connection, renewed })
    }

    /// Commit where the work was done, else roll back; what the work answered.
    pub(super) async fn finish<T>(mut self, worked: Result<T, CatalogError>) -> Result<T, CatalogError> {
        if worked.is_ok() {
            if let Err(fault) = self.connection.commit().await {
                self.writer.suspect = true;
                return Err(failed(fault));
            }
            self.writer.connection = Some(self.connection);
        } else if self.connection.rollback().await.is_ok() {
            self.writer.connection = Some(self.connection);
        }
        worked
    }
}

/// The engine failed.
pub(super) fn failed(fault: Fault) -> CatalogError {
    CatalogError::Unavailable(Box::new(fault))
}

fn not_open(error: OpenError) -> CatalogError {
    CatalogError::Unavailable(Box::new(error))
}

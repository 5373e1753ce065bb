//! A turn of the one writer: a transaction that is whole or nothing, also when its caller goes away half-way.

use crate::config::OpenError;
use crate::engine::{Connection, Fault};
use crate::open::Opener;
use catalog::CatalogError;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The connection that writes, and how to get another one.
pub(super) struct Writer {
    opener: Opener,
    /// None while a turn has it; still none afterwards where the connection failed.
    connection: Option<Connection>,
    /// A commit has failed: the disk must be proved before the next one.
    suspect: bool,
    /// The turn before was given up: nobody knows whether it committed.
    given_up: bool,
}

impl Writer {
    pub(super) fn new(opener: Opener, connection: Connection) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { opener, connection: Some(connection), suspect: false, given_up: false }))
    }

    pub(super) async fn close(writer: Arc<Mutex<Self>>) {
        if let Some(connection) = writer.lock_owned().await.connection.take() {
            connection.close().await;
        }
    }

    /// The connection, a new one where the old one failed, and whether what is remembered may be old.
    async fn take(&mut self) -> Result<(Connection, bool), CatalogError> {
        let (mut connection, renewed) = match self.connection.take() {
            Some(connection) => (connection, self.given_up),
            None => (self.opener.writer().await.map_err(not_open)?, true),
        };
        if self.suspect {
            self.opener.verify(&mut connection).await.map_err(failed)?;
            self.suspect = false;
        }
        self.given_up = false;
        Ok((connection, renewed))
    }
}

/// Write the catalog's files anew, between two turns.
pub(super) async fn scrub(writer: Arc<Mutex<Writer>>, tables: &'static str) -> Result<(), CatalogError> {
    let mut writer = writer.lock_owned().await;
    let (mut connection, renewed) = writer.take().await?;
    let scrubbed = writer.opener.scrub(&mut connection, tables).await;
    writer.connection = Some(connection);
    // Whoever comes next must still learn that what it remembers may be old.
    writer.given_up = renewed;
    scrubbed.map_err(failed)
}

/// A transaction that has begun.
pub(super) struct Turn {
    // None only once it has ended.
    held: Option<(OwnedMutexGuard<Writer>, Connection)>,
    /// The turn before failed or was given up: what is remembered may be old.
    pub(super) renewed: bool,
}

impl Turn {
    /// Wait for the writer and begin.
    pub(super) async fn begin(writer: Arc<Mutex<Writer>>) -> Result<Self, CatalogError> {
        let mut writer = writer.lock_owned().await;
        let (connection, renewed) = writer.take().await?;
        // From here on a caller that goes away leaves a turn to be dropped.
        let mut turn = Self { held: Some((writer, connection)), renewed };
        if let Err(fault) = turn.connection()?.begin().await {
            turn.end();
            return Err(failed(fault));
        }
        Ok(turn)
    }

    /// The connection, in its transaction.
    pub(super) fn connection(&mut self) -> Result<&mut Connection, CatalogError> {
        let held = self.held.as_mut().map(|(_, connection)| connection);
        held.ok_or_else(|| CatalogError::Corrupt("the transaction has ended".to_owned()))
    }

    /// Commit where the work was done, else roll back; what the work answered.
    pub(super) async fn finish<T>(mut self, worked: Result<T, CatalogError>) -> Result<T, CatalogError> {
        let connection = self.connection()?;
        let ended = if worked.is_ok() { connection.commit().await } else { connection.rollback().await };
        let Some((mut writer, connection)) = self.end() else { return worked };
        match (ended, worked) {
            (Ok(()), worked) => {
                writer.connection = Some(connection);
                worked
            }
            (Err(fault), Ok(_)) => {
                writer.suspect = true;
                Err(failed(fault))
            }
            (Err(_), worked) => worked,
        }
    }

    fn end(&mut self) -> Option<(OwnedMutexGuard<Writer>, Connection)> {
        self.held.take()
    }
}

impl Drop for Turn {
    /// The caller has gone away: roll back before the next turn begins, on the same connection, which holds the lock.
    fn drop(&mut self) {
        let Some((mut writer, mut connection)) = self.held.take() else { return };
        writer.given_up = true;
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if connection.rollback().await.is_ok() {
                    writer.connection = Some(connection);
                }
            });
        }
    }
}

/// The engine failed.
pub(super) fn failed(fault: Fault) -> CatalogError {
    CatalogError::Unavailable(Box::new(fault))
}

fn not_open(error: OpenError) -> CatalogError {
    CatalogError::Unavailable(Box::new(error))
}

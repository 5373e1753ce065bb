//! The schema's versions. Applied in order, each in a transaction of its own; an applied one never changes.

use crate::config::OpenError;
use crate::engine::{Connection, Fault, values};
use crate::statement;
use ids::Timestamp;
use seal::Digest;

/// Version, text for `SQLite`, text for `PostgreSQL`: the same tables, columns and keys in both.
pub(crate) type Migrations = &'static [(i64, &'static str, &'static str)];

/// Of the state.
pub(crate) const STATE: Migrations =
    &[(1, include_str!("../migrations/sqlite/0001_state.sql"), include_str!("../migrations/postgres/0001_state.sql"))];

/// Of the lake's catalog.
pub(crate) const LAKE: Migrations =
    &[(1, include_str!("../migrations/sqlite/lake_0001.sql"), include_str!("../migrations/postgres/lake_0001.sql"))];

/// Bring the schema to the newest version.
///
/// # Errors
/// The state is of a later program, an applied migration was altered, or the engine failed.
pub(crate) async fn migrate(
    connection: &mut Connection,
    migrations: Migrations,
    now: Timestamp,
) -> Result<(), OpenError> {
    connection.execute(statement::MIGRATION_TABLE, Vec::new()).await.map_err(OpenError::engine)?;
    let rows = connection.rows(statement::MIGRATIONS, Vec::new()).await.map_err(OpenError::engine)?;
    let known = migrations.last().map_or(0, |(version, ..)| *version);
    let mut applied = 0;
    for row in rows {
        let version = row.int(0).map_err(OpenError::engine)?;
        let digest = row.text(1).map_err(OpenError::engine)?;
        let Some((.., sqlite, postgres)) = migrations.iter().find(|(own, ..)| *own == version) else {
            return Err(OpenError::Newer { found: version, known });
        };
        if digest != digest_of(text_for(connection, sqlite, postgres)) {
            return Err(OpenError::Altered { version });
        }
        applied = version;
    }
    for (version, sqlite, postgres) in migrations.iter().filter(|(version, ..)| *version > applied) {
        let text = text_for(connection, sqlite, postgres);
        apply(connection, *version, text, now).await.map_err(OpenError::engine)?;
        tracing::info!(version, "state migrated");
    }
    Ok(())
}

async fn apply(connection: &mut Connection, version: i64, text: &'static str, now: Timestamp) -> Result<(), Fault> {
    connection.begin().await?;
    let done = async {
        connection.script(text).await?;
        connection.execute(statement::MIGRATION_DONE, values![version, digest_of(text), now.as_micros()]).await
    }
    .await;
    match done {
        Ok(_) => connection.commit().await,
        Err(fault) => {
            connection.rollback().await?;
            Err(fault)
        }
    }
}

fn text_for(connection: &Connection, sqlite: &'static str, postgres: &'static str) -> &'static str {
    if connection.is_sqlite() { sqlite } else { postgres }
}

fn digest_of(text: &str) -> String {
    Digest::of(text.as_bytes()).to_hex()
}

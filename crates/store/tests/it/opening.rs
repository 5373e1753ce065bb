//! Opening: one process at a time, private files, refusal of a strange schema.

use crate::fixture::{Counting, HandClock, World, each_engine};
use sqlx::{Connection as _, SqliteConnection};
use std::sync::Arc;
use store::{Config, Health, OpenError, Store};

async fn open(config: &Config) -> Result<Store, OpenError> {
    Store::open(config.clone(), HandClock::new(), Arc::new(Counting::default())).await
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_has_closed() {
    each_engine(async |world| {
        let second = open(&world.config).await;
        assert!(matches!(second, Err(OpenError::Locked)), "{second:?}");
        world.store.close().await;
        assert_eq!(world.store.health(), Health::Closed);
        let third = open(&world.config).await.unwrap();
        third.close().await;
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(Config::sqlite(dir.path().join("data"))).await;
    world.commit(|c| c).await.unwrap();
    for (name, mode) in [("data", 0o700), ("data/state.db", 0o600), ("data/state.db-wal", 0o600), ("data/lock", 0o600)]
    {
        let found = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    world.store.close().await;
}

#[tokio::test]
async fn a_schema_of_another_program_is_refused() {
    for (change, newer) in [
        ("INSERT INTO schema_migration VALUES (999, 'x', 0)", true),
        ("UPDATE schema_migration SET digest = 'x'", false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::sqlite(dir.path());
        open(&config).await.unwrap().close().await;
        let url = format!("sqlite://{}", dir.path().join("state.db").display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(change).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let refused = open(&config).await;
        match refused {
            Err(OpenError::Newer { found: 999, .. }) => assert!(newer),
            Err(OpenError::Altered { version: 1 }) => assert!(!newer),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    let refused = open(&Config::postgres("not an address")).await;
    assert!(matches!(refused, Err(OpenError::Url(_))), "{refused:?}");
}

//! The gate's peer: a bare axum server on SQLite (WAL, synchronous=FULL). A read looks up one row, a write inserts one in
//! a transaction of its own. No credential, no policy, no record.
//!
//! usage: gate-peer DATABASE-FILE; prints `listening on http://HOST:PORT`

use anyhow::Context as _;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::time::Duration;

#[derive(Clone)]
struct Pools {
    readers: SqlitePool,
    writer: SqlitePool,
}

type Answer = Result<Json<Value>, (StatusCode, String)>;

fn failed(error: sqlx::Error) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

async fn look(State(pools): State<Pools>, Path(id): Path<i64>) -> Answer {
    let row: Option<(i64, String)> = sqlx::query_as("SELECT id, body FROM tenant WHERE id = ?1")
        .bind(id)
        .fetch_optional(&pools.readers)
        .await
        .map_err(failed)?;
    match row {
        Some((id, body)) => Ok(Json(json!({ "id": id, "body": body }))),
        None => Err((StatusCode::NOT_FOUND, String::new())),
    }
}

async fn write(State(pools): State<Pools>, Json(input): Json<Value>) -> Answer {
    let body = input.to_string();
    let done = sqlx::query("INSERT INTO tenant (body) VALUES (?1)").bind(&body).execute(&pools.writer).await;
    Ok(Json(json!({ "id": done.map_err(failed)?.last_insert_rowid(), "body": body })))
}

async fn pool(file: &str, connections: u32) -> anyhow::Result<SqlitePool> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10));
    Ok(SqlitePoolOptions::new().max_connections(connections).connect_with(options).await?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let file = std::env::args().nth(1).context("usage: gate-peer DATABASE-FILE")?;
    let pools = Pools { writer: pool(&file, 1).await?, readers: pool(&file, 4).await? };
    sqlx::query("CREATE TABLE IF NOT EXISTS tenant (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT")
        .execute(&pools.writer)
        .await?;
    sqlx::query("INSERT OR IGNORE INTO tenant (id, body) VALUES (0, '{}')").execute(&pools.writer).await?;
    let routes = Router::new().route("/tenants/{id}", get(look)).route("/tenants", post(write)).with_state(pools);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, routes).await?;
    Ok(())
}

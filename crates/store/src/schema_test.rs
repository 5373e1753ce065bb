//! Both engines hold the same schema and understand every statement. The `PostgreSQL` half runs where
//! `POSSE_TEST_POSTGRES_URL` is set.

use crate::config::Target;
use crate::engine::{Connection, Row};
use crate::rows::Bulk;
use crate::{lake_catalog, migration, open, statement};
use ids::Timestamp;
use migration::Migrations;

/// Type, nullability and place in the primary key of each column, and each index with its columns.
const SQLITE_COLUMNS: &str = "SELECT m.name, c.name, c.type, CAST(c.\"notnull\" AS TEXT), CAST(c.pk AS TEXT) \
    FROM sqlite_schema m JOIN pragma_table_info(m.name) c \
    WHERE m.type = 'table' AND m.name <> 'schema_migration' ORDER BY m.name, c.cid";
const SQLITE_INDEXES: &str = "SELECT i.name, m.tbl_name, CAST(l.\"unique\" AS TEXT), CAST(l.partial AS TEXT), \
    (SELECT group_concat(name) FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno)) \
    FROM sqlite_schema m JOIN pragma_index_list(m.tbl_name) l ON l.name = m.name JOIN sqlite_schema i ON i.name = m.name \
    WHERE m.type = 'index' AND m.sql IS NOT NULL ORDER BY i.name";
const POSTGRES_COLUMNS: &str = "SELECT c.table_name::text, c.column_name::text, \
    CASE c.data_type WHEN 'bigint' THEN 'INTEGER' WHEN 'text' THEN 'TEXT' WHEN 'bytea' THEN 'BLOB' ELSE c.data_type END, \
    CASE c.is_nullable WHEN 'NO' THEN '1' ELSE '0' END, \
    COALESCE((SELECT k.ordinal_position::text FROM information_schema.key_column_usage k \
      JOIN information_schema.table_constraints t ON t.constraint_name = k.constraint_name \
        AND t.table_schema = k.table_schema AND t.table_name = k.table_name \
      WHERE t.constraint_type = 'PRIMARY KEY' AND k.table_schema = c.table_schema AND k.table_name = c.table_name \
        AND k.column_name = c.column_name), '0') \
    FROM information_schema.columns c WHERE c.table_schema = current_schema() AND c.table_name <> 'schema_migration' \
    ORDER BY c.table_name COLLATE \"C\", c.ordinal_position";
const POSTGRES_INDEXES: &str = "SELECT i.relname::text, t.relname::text, CASE WHEN x.indisunique THEN '1' ELSE '0' END, \
    CASE WHEN x.indpred IS NULL THEN '0' ELSE '1' END, \
    (SELECT string_agg(a.attname::text, ',' ORDER BY k.n) FROM unnest(x.indkey) WITH ORDINALITY k(num, n) \
      JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.num) \
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid \
    JOIN pg_namespace s ON s.oid = t.relnamespace \
    WHERE s.nspname = current_schema() AND NOT x.indisprimary ORDER BY i.relname COLLATE \"C\"";
const COLLATIONS: &str = "SELECT c.table_name::text || '.' || c.column_name::text FROM information_schema.columns c \
    WHERE c.table_schema = current_schema() AND c.table_name <> 'schema_migration' AND c.data_type = 'text' \
    AND c.collation_name IS DISTINCT FROM 'C'";

async fn sqlite(dir: &std::path::Path, migrations: Migrations) -> (Connection, open::Lock) {
    let (opener, lock) = open::target(&Target::Sqlite { dir: dir.to_owned() }).unwrap();
    let mut connection = opener.writer().await.unwrap();
    migration::migrate(&mut connection, migrations, Timestamp::from_micros(0)).await.unwrap();
    (connection, lock)
}

/// A session in a schema of its own, which goes with it.
async fn postgres(migrations: Migrations) -> Option<Connection> {
    let url = std::env::var("POSSE_TEST_POSTGRES_URL").ok()?;
    // The temporary schema of the session is the current one: nothing to clean up, nothing shared.
    let url = format!("{url}&options[search_path]=pg_temp");
    let (opener, _) = open::target(&Target::Postgres { url }).unwrap();
    let open::Opener::Postgres(options) = opener else { return None };
    let mut connection = Connection::postgres(&options).await.unwrap();
    connection.script("CREATE TEMPORARY TABLE schema_made (made BIGINT); DROP TABLE schema_made").await.unwrap();
    migration::migrate(&mut connection, migrations, Timestamp::from_micros(0)).await.unwrap();
    Some(connection)
}

fn lines(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| (0..5).map(|column| row.text(column).unwrap()).collect::<Vec<_>>().join(" ")).collect()
}

/// The statements that go with a schema.
type Statements = (Migrations, &'static [&'static str], Vec<&'static Bulk>);

fn schemas() -> [Statements; 2] {
    [
        (migration::STATE, statement::ALL, statement::all_bulks()),
        (migration::LAKE, lake_catalog::statement::ALL, lake_catalog::statement::all_bulks()),
    ]
}

#[tokio::test]
async fn every_statement_prepares_on_both_engines() {
    for (migrations, statements, bulks) in schemas() {
        let dir = tempfile::tempdir().unwrap();
        let (connection, _lock) = sqlite(dir.path(), migrations).await;
        for mut connection in [Some(connection), postgres(migrations).await].into_iter().flatten() {
            assert!(statements.len() > 40 && bulks.len() > 15);
            let sqlite = connection.is_sqlite();
            for text in statements.iter().copied().chain(bulks.iter().flat_map(|bulk| bulk.texts(sqlite))) {
                if let Err(fault) = connection.prepare(text).await {
                    unreachable!("{fault}: {text}");
                }
            }
        }
    }
}

/// `spec/lake` holds what `DuckDB` itself makes; `script/duckdb-attach` compares it with a fresh one.
#[tokio::test]
async fn the_lakes_tables_are_those_of_ducklake() {
    let dir = tempfile::tempdir().unwrap();
    let (mut connection, _lock) = sqlite(dir.path(), migration::LAKE).await;
    let question = "SELECT sql || ';' FROM sqlite_schema WHERE type = 'table' AND name LIKE 'ducklake%' ORDER BY name";
    let rows = connection.rows(question, Vec::new()).await.unwrap();
    let found: Vec<_> = rows.iter().map(|row| row.text(0).unwrap()).collect();
    let golden = include_str!("../../../spec/lake/ducklake-1.0-sqlite.sql");
    assert_eq!(found, golden.lines().collect::<Vec<_>>());
    let golden = include_str!("../../../spec/lake/ducklake-1.0-postgres.sql");
    assert!(include_str!("../migrations/postgres/lake_0001.sql").contains(golden));
}

#[tokio::test]
async fn the_schemas_are_equal() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sqlite, _lock) = sqlite(dir.path(), migration::STATE).await;
    let columns = lines(&sqlite.rows(SQLITE_COLUMNS, Vec::new()).await.unwrap());
    let indexes = lines(&sqlite.rows(SQLITE_INDEXES, Vec::new()).await.unwrap());
    assert!(columns.iter().any(|line| line == "document version INTEGER 1 0"), "{columns:#?}");
    assert!(indexes.iter().any(|line| line == "document_by_owner document 0 0 kind,owner,id"), "{indexes:#?}");
    let Some(mut postgres) = postgres(migration::STATE).await else { return };
    assert_eq!(lines(&postgres.rows(POSTGRES_COLUMNS, Vec::new()).await.unwrap()), columns);
    assert_eq!(lines(&postgres.rows(POSTGRES_INDEXES, Vec::new()).await.unwrap()), indexes);
    assert!(postgres.rows(COLLATIONS, Vec::new()).await.unwrap().is_empty(), "text must sort by bytes");
}

#[tokio::test]
async fn questions_use_an_index() {
    // These are read whole: the table is small, or all of it is wanted.
    const WHOLE: &[&str] = &[
        "audit_tree",
        "schema_migration",
        "ducklake_metadata",
        "ducklake_column",
        "ducklake_table_column_stats",
        "ducklake_table_stats",
        "posse_present",
        "posse_tenant",
        "posse_snapshot",
        "posse_cursor",
        "posse_hold",
        "s",
        "c",
    ];
    for (migrations, statements, bulks) in schemas() {
        let dir = tempfile::tempdir().unwrap();
        let (mut sqlite, _lock) = sqlite(dir.path(), migrations).await;
        // The sweeps walk an index of what has expired; everything else must find, not scan. A VALUES list is scanned by
        // nature.
        for text in statements.iter().copied().chain(bulks.iter().flat_map(|bulk| bulk.texts(true).last())) {
            if !text.starts_with("SELECT") && !text.starts_with("UPDATE") && !text.starts_with("DELETE") {
                continue;
            }
            let explain: &'static str = format!("EXPLAIN QUERY PLAN {text}").leak();
            let plan = sqlite.rows(explain, Vec::new()).await.unwrap();
            for row in plan {
                let step = row.text(3).unwrap();
                let scans = step.starts_with("SCAN") && !step.contains("CONSTANT ROW") && !step.contains(" INDEX ");
                let whole = step.strip_prefix("SCAN ").is_some_and(|table| WHOLE.contains(&table));
                assert!(!scans || whole, "{step}: {text}");
                let sorts = step.contains("TEMP B-TREE")
                    && !text.contains("(VALUES")
                    && !text.contains("IN ( ")
                    && !text.contains("posse_row_group g")
                    && !text.contains("ducklake_column");
                assert!(!sorts, "{step}: {text}");
            }
        }
    }
}

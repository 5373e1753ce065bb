//! Every statement of the lake's catalog, one text for both engines; a test prepares each on both.
//!
//! The table is number 1, its partitioning number 2, as [`super::found`] writes them.

use crate::rows::Bulk;
use std::sync::LazyLock;

macro_rules! statements {
    ($($name:ident = $text:expr;)*) => {
        $(pub(super) const $name: &str = $text;)*
        /// All of them, for the test.
        #[cfg(test)]
        pub(crate) const ALL: &[&str] = &[$($name),*];
    };
}

/// Adds sightings to what is known.
pub(super) static ENTITIES_WRITE: LazyLock<Bulk> = LazyLock::new(|| {
    let tail = "ON CONFLICT (tenant, kind, value, day) DO UPDATE SET count = posse_entity.count + excluded.count, \
        first_at = CASE WHEN excluded.first_at < posse_entity.first_at THEN excluded.first_at \
            ELSE posse_entity.first_at END, \
        last_at = CASE WHEN excluded.last_at > posse_entity.last_at THEN excluded.last_at ELSE posse_entity.last_at END";
    let head = "INSERT INTO posse_entity (tenant, kind, value, day, count, first_at, last_at) VALUES";
    Bulk::new(head, 0, 7, tail)
});

macro_rules! bulks {
    ($($name:ident = $head:expr, $fixed:expr, $width:expr, $tail:expr;)*) => {
        $(pub(super) static $name: LazyLock<Bulk> = LazyLock::new(|| Bulk::new($head, $fixed, $width, $tail));)*
        /// All of them, for the test.
        #[cfg(test)]
        pub(crate) fn all_bulks() -> Vec<&'static Bulk> {
            vec![&*ENTITIES_WRITE, $(&*$name),*]
        }
    };
}

statements! {
    PRESENT = "UPDATE posse_present SET micros = $1";
    METADATA_WRITE = "INSERT INTO ducklake_metadata (key, value) VALUES ($1, $2)";
    DATA_PATH = "UPDATE ducklake_metadata SET value = $1 WHERE key = 'data_path' AND value <> $1";
    SNAPSHOT_LAST = "SELECT snapshot_id, schema_version, next_catalog_id, next_file_id FROM ducklake_snapshot \
        ORDER BY snapshot_id DESC LIMIT 1";
    SNAPSHOT_WRITE = "INSERT INTO ducklake_snapshot \
        (snapshot_id, snapshot_time, schema_version, next_catalog_id, next_file_id) \
        SELECT CAST($1 AS BIGINT), stamp, CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS BIGINT) FROM posse_stamp";
    SNAPSHOT_AGE_WRITE = "INSERT INTO posse_snapshot (snapshot_id, made_at) VALUES ($1, $2)";
    CHANGES_WRITE = "INSERT INTO ducklake_snapshot_changes (snapshot_id, changes_made, author, commit_message) \
        VALUES ($1, $2, 'posse', $3)";

    COLUMN_LIST = "SELECT column_id, column_name, column_type FROM ducklake_column \
        WHERE table_id = 1 AND end_snapshot IS NULL ORDER BY column_id";
    COLUMN_WRITE = "INSERT INTO ducklake_column (column_id, begin_snapshot, table_id, column_order, column_name, \
        column_type, default_value, nulls_allowed, default_value_type, default_value_dialect) \
        VALUES ($1, $2, 1, $1, $3, $4, 'NULL', TRUE, 'literal', 'duckdb')";
    COLUMN_STATS_MAKE = "INSERT INTO ducklake_table_column_stats (table_id, column_id) VALUES (1, $1)";
    COLUMN_STATS_LIST = "SELECT s.column_id, c.column_type, CAST(CASE WHEN s.contains_null THEN 1 ELSE 0 END AS BIGINT), \
        s.min_value, s.max_value FROM ducklake_table_column_stats s \
        JOIN ducklake_column c ON c.column_id = s.column_id AND c.table_id = 1 AND c.end_snapshot IS NULL \
        WHERE s.table_id = 1 ORDER BY s.column_id";
    COLUMN_STATS_WRITE = "UPDATE ducklake_table_column_stats SET contains_null = ($2 > 0), min_value = $3, max_value = $4 \
        WHERE table_id = 1 AND column_id = $1";
    SCHEMA_VERSION_WRITE = "INSERT INTO ducklake_schema_versions (begin_snapshot, schema_version, table_id) \
        VALUES ($1, $2, 1)";
    PARTITION_WRITE = "INSERT INTO ducklake_partition_info (partition_id, table_id, begin_snapshot) VALUES (2, 1, $1)";
    PARTITION_COLUMN_WRITE = "INSERT INTO ducklake_partition_column \
        (partition_id, table_id, partition_key_index, column_id, transform) VALUES (2, 1, $1, $2, $3)";
    TABLE_STATS_MAKE = "INSERT INTO ducklake_table_stats (table_id, record_count, next_row_id, file_size_bytes) \
        VALUES (1, 0, 0, 0)";
    TABLE_STATS = "SELECT record_count, next_row_id, file_size_bytes FROM ducklake_table_stats WHERE table_id = 1";
    TABLE_STATS_WRITE = "UPDATE ducklake_table_stats SET record_count = $1, next_row_id = $2, file_size_bytes = $3 \
        WHERE table_id = 1";

    FILE_LIST = "SELECT f.data_file_id, f.path, f.record_count, f.file_size_bytes, f.footer_size, p.class_uid, p.day, \
        p.level, p.received_min, p.received_max FROM ducklake_data_file f \
        JOIN posse_file p ON p.data_file_id = f.data_file_id WHERE f.end_snapshot IS NULL ORDER BY f.data_file_id";
    FILE_READ = "SELECT f.data_file_id, f.path, f.record_count, f.file_size_bytes, f.footer_size, p.class_uid, p.day, \
        p.level, p.received_min, p.received_max FROM ducklake_data_file f \
        JOIN posse_file p ON p.data_file_id = f.data_file_id WHERE f.end_snapshot IS NULL AND f.data_file_id = $1";
    FILE_WRITE = "INSERT INTO ducklake_data_file (data_file_id, table_id, begin_snapshot, path, path_is_relative, \
        file_format, record_count, file_size_bytes, footer_size, row_id_start, partition_id) \
        VALUES ($1, 1, $2, $3, TRUE, 'parquet', $4, $5, $6, $7, 2)";
    FILE_END = "UPDATE ducklake_data_file SET end_snapshot = $2 WHERE data_file_id = $1 AND end_snapshot IS NULL";
    GROUP_LIST = "SELECT g.data_file_id, g.tenant, g.row_count, g.bytes, g.time_min, g.time_max FROM posse_row_group g \
        JOIN ducklake_data_file f ON f.data_file_id = g.data_file_id WHERE f.end_snapshot IS NULL \
        ORDER BY f.data_file_id, g.position";
    GROUP_READ = "SELECT data_file_id, tenant, row_count, bytes, time_min, time_max FROM posse_row_group \
        WHERE data_file_id = $1 ORDER BY position";
    FILTER_WRITE = "INSERT INTO posse_filter (data_file_id, position, filter) VALUES ($1, $2, $3)";
    FILTER_PLACES = "SELECT position FROM posse_row_group WHERE data_file_id = $1 ORDER BY position";
    FILTER_LIST = "SELECT position, filter FROM posse_filter WHERE data_file_id = $1 ORDER BY position";
    CURSOR_LIST = "SELECT name, value FROM posse_cursor ORDER BY name";
    CURSOR_READ = "SELECT value FROM posse_cursor WHERE name = $1";
    CURSOR_WRITE = "INSERT INTO posse_cursor (name, value) VALUES ($1, $2) \
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";

    TENANT_LIST = "SELECT number, tenant FROM posse_tenant ORDER BY number";
    TENANT_WRITE = "INSERT INTO posse_tenant (number, tenant) VALUES ($1, $2)";
    ENTITY_FORGET = "DELETE FROM posse_entity WHERE (tenant, kind, value, day) IN \
        (SELECT tenant, kind, value, day FROM posse_entity WHERE tenant = $1 ORDER BY kind, value, day LIMIT $2)";
    ENTITY_STEP = "SELECT kind, value FROM posse_entity WHERE tenant = $1 AND (kind, value) > ($2, $3) \
        ORDER BY kind, value LIMIT 1 OFFSET $4";
    ENTITY_LAST = "SELECT kind, value FROM posse_entity WHERE tenant = $1 ORDER BY kind DESC, value DESC LIMIT 1";
    ENTITY_EXPIRE = "DELETE FROM posse_entity WHERE tenant = $1 AND (kind, value) > ($2, $3) \
        AND (kind, value) <= ($4, $5) AND day < $6";

    HOLD_LIST = "SELECT id, tenant, class_uid, day_from, day_to FROM posse_hold ORDER BY id";
    HOLD_WRITE = "INSERT INTO posse_hold (id, tenant, class_uid, day_from, day_to) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, class_uid = excluded.class_uid, \
        day_from = excluded.day_from, day_to = excluded.day_to";
    HOLD_DELETE = "DELETE FROM posse_hold WHERE id = $1";

    SNAPSHOT_KEPT = "SELECT COALESCE(MIN(snapshot_id), $2) FROM posse_snapshot WHERE made_at >= $1";
    SNAPSHOT_STEP = "SELECT snapshot_id FROM posse_snapshot ORDER BY snapshot_id LIMIT 1 OFFSET $1";
    SNAPSHOT_EXPIRE = "DELETE FROM ducklake_snapshot WHERE snapshot_id < $1";
    SNAPSHOT_CHANGES_EXPIRE = "DELETE FROM ducklake_snapshot_changes WHERE snapshot_id < $1";
    SNAPSHOT_AGE_EXPIRE = "DELETE FROM posse_snapshot WHERE snapshot_id < $1";
    FILE_ENDED = "SELECT data_file_id, path FROM ducklake_data_file WHERE end_snapshot <= $1 ORDER BY end_snapshot, \
        data_file_id LIMIT $2";
    SCHEDULED_LIST = "SELECT data_file_id, path, since FROM posse_scheduled WHERE since < $1 \
        ORDER BY since, data_file_id LIMIT $2";
}

bulks! {
    PARTITION_VALUES_WRITE = "INSERT INTO ducklake_file_partition_value \
        (data_file_id, table_id, partition_key_index, partition_value) VALUES", 0, 4, "";
    STATS_WRITE = "INSERT INTO ducklake_file_column_stats (data_file_id, table_id, column_id, column_size_bytes, \
        value_count, null_count, min_value, max_value) VALUES", 0, 8, "";
    FILES_WRITE = "INSERT INTO posse_file (data_file_id, class_uid, day, level, received_min, received_max) VALUES",
        0, 6, "";
    GROUPS_WRITE = "INSERT INTO posse_row_group \
        (data_file_id, position, tenant, row_count, bytes, time_min, time_max) VALUES", 0, 7, "";
    PREVALENCE = "SELECT tenant, CAST(SUM(count) AS BIGINT), COUNT(*), MIN(first_at), MAX(last_at) FROM posse_entity \
        WHERE kind = $1 AND value = $2 AND tenant IN (", 2, 1, ") GROUP BY tenant ORDER BY tenant";

    SCHEDULE = "INSERT INTO ducklake_files_scheduled_for_deletion (data_file_id, path, path_is_relative, schedule_start) \
        SELECT f.data_file_id, f.path, f.path_is_relative, s.stamp FROM ducklake_data_file f CROSS JOIN posse_stamp s \
        WHERE f.data_file_id IN (", 0, 1, ")";
    SCHEDULED_WRITE = "INSERT INTO posse_scheduled (data_file_id, path, since) VALUES", 0, 3, "";
    FILES_DELETE = "DELETE FROM ducklake_data_file WHERE data_file_id IN (", 0, 1, ")";
    STATS_DELETE = "DELETE FROM ducklake_file_column_stats WHERE data_file_id IN (", 0, 1, ")";
    PARTITION_VALUES_DELETE = "DELETE FROM ducklake_file_partition_value WHERE data_file_id IN (", 0, 1, ")";
    FILES_SIDE_DELETE = "DELETE FROM posse_file WHERE data_file_id IN (", 0, 1, ")";
    GROUPS_DELETE = "DELETE FROM posse_row_group WHERE data_file_id IN (", 0, 1, ")";
    FILTERS_DELETE = "DELETE FROM posse_filter WHERE data_file_id IN (", 0, 1, ")";
    SCHEDULED_DELETE = "DELETE FROM posse_scheduled WHERE data_file_id IN (", 0, 1, ")";
    SCHEDULED_DUCKLAKE_DELETE = "DELETE FROM ducklake_files_scheduled_for_deletion WHERE data_file_id IN (",
        0, 1, ")";
}

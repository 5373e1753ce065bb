//! Every statement, one text for both engines; a test prepares each on both. No SQL is written anywhere else, but the
//! migrations, the engines' own settings and the words that begin and end a transaction.

use crate::job::job_columns;
use crate::message::message_columns;
use crate::rows::Bulk;
use std::sync::LazyLock;

macro_rules! statements {
    ($($name:ident = $text:expr;)*) => {
        $(pub(crate) const $name: &str = $text;)*
        /// All of them, for the test.
        #[cfg(test)]
        pub(crate) const ALL: &[&str] = &[$($name),*];
    };
}

macro_rules! bulks {
    ($($name:ident = $head:expr, $fixed:expr, $width:expr, $tail:expr;)*) => {
        $(pub(crate) static $name: LazyLock<Bulk> = LazyLock::new(|| Bulk::new($head, $fixed, $width, $tail));)*
        /// All of them, for the test.
        #[cfg(test)]
        pub(crate) fn all_bulks() -> Vec<&'static Bulk> {
            vec![$(&*$name),*]
        }
    };
}

/// The columns of a document as `snapshot` reads them.
macro_rules! document {
    () => {
        "SELECT d.id, d.owner, d.version, d.body, d.created_at, d.updated_at FROM "
    };
}
macro_rules! by_kind {
    () => {
        concat!(document!(), "document d WHERE d.kind = $1")
    };
}
macro_rules! by_key {
    () => {
        concat!(
            document!(),
            "document_key k JOIN document d ON d.kind = k.kind AND d.id = k.id \
             WHERE k.kind = $1 AND k.name = $2 AND k.value = $3"
        )
    };
}
macro_rules! by_range {
    () => {
        concat!(
            document!(),
            "document_key k JOIN document d ON d.kind = k.kind AND d.id = k.id \
             WHERE k.kind = $1 AND k.name = $2 AND k.value >= $3 AND k.value < $4"
        )
    };
}
const BY_VALUE: &str = ") ORDER BY k.value, k.id LIMIT $5";

statements! {
    MIGRATION_TABLE = "CREATE TABLE IF NOT EXISTS schema_migration \
        (version BIGINT NOT NULL PRIMARY KEY, digest TEXT NOT NULL, applied_at BIGINT NOT NULL)";
    MIGRATIONS = "SELECT version, digest FROM schema_migration ORDER BY version";
    MIGRATION_DONE = "INSERT INTO schema_migration (version, digest, applied_at) VALUES ($1, $2, $3)";

    DOCUMENT_READ = concat!(by_kind!(), " AND d.id = $2");
    DOCUMENT_LIST = concat!(by_kind!(), " AND d.id > $2 ORDER BY d.id LIMIT $3");
    DOCUMENT_LIST_DOWN = concat!(by_kind!(), " AND d.id < $2 ORDER BY d.id DESC LIMIT $3");
    DOCUMENT_KEYED = concat!(by_key!(), " AND k.id > $4 ORDER BY k.id LIMIT $5");
    DOCUMENT_KEYED_DOWN = concat!(by_key!(), " AND k.id < $4 ORDER BY k.id DESC LIMIT $5");
    DOCUMENT_RANGE = concat!(by_range!(), " ORDER BY k.value, k.id LIMIT $5");

    IDEMPOTENCY_READ = "SELECT input_digest, response, expires_at, owner FROM idempotency \
        WHERE principal = $1 AND key = $2";
    COUNTER_SUM = "SELECT CAST(COALESCE(SUM(count), 0) AS BIGINT) FROM counter WHERE key = $1 AND bucket >= $2";

    LEAF_COUNT = "SELECT idx + count FROM audit_leaf WHERE tree = $1 ORDER BY idx DESC LIMIT 1";
    LEAF_LIST = "SELECT tree, idx, count, leaves FROM audit_leaf \
        WHERE tree = $1 AND idx >= COALESCE((SELECT MAX(idx) FROM audit_leaf WHERE tree = $1 AND idx <= $2), 0) \
        AND idx < $3 ORDER BY idx";
    LEAF_BY_CALL = "SELECT l.tree, l.idx, l.count, l.leaves FROM audit_call c \
        JOIN audit_leaf l ON l.tree = c.tree AND l.idx = c.bundle WHERE c.call = $1";
    TREE_LIST = "SELECT tree, size, frontier FROM audit_tree ORDER BY tree";
    TREE_LEAVES = "SELECT tree, COALESCE((SELECT idx + count FROM audit_leaf WHERE audit_leaf.tree = audit_tree.tree \
        ORDER BY idx DESC LIMIT 1), 0) FROM audit_tree ORDER BY tree";
    TREE_READ = "SELECT tree, size, frontier FROM audit_tree WHERE tree = $1";
    TREE_ADVANCE = "UPDATE audit_tree SET size = $2, frontier = $3 WHERE tree = $1";
    NODE_READ = "SELECT level, idx, hash FROM audit_node WHERE tree = $1 AND level = $2 AND idx = $3";
    NODE_LIST = "SELECT level, idx, hash FROM audit_node \
        WHERE tree = $1 AND level = $2 AND idx >= $3 ORDER BY idx LIMIT $4";
    CHECKPOINT_WRITE = "INSERT INTO audit_checkpoint (tree, size, note, made_at) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (tree, size) DO UPDATE SET note = excluded.note, made_at = excluded.made_at";
    CHECKPOINT_LIST = "SELECT size, note, made_at FROM audit_checkpoint \
        WHERE tree = $1 AND size > $2 ORDER BY size LIMIT $3";
    CHECKPOINT_LAST = "SELECT size, note, made_at FROM audit_checkpoint WHERE tree = $1 ORDER BY size DESC LIMIT 1";
    PAYLOAD_READ = "SELECT tree, salt, body, expires_at FROM audit_payload WHERE call = $1 AND part = $2";
    PAYLOAD_ERASE = "UPDATE audit_payload SET salt = $3, body = $3, expires_at = NULL WHERE call = $1 AND tree = $2";
    DECISION_READ = "SELECT call, owner, body FROM decision_input WHERE call = $1";
    DECISION_LIST = "SELECT call, owner, body, at FROM decision_input \
        WHERE (at > $1 OR (at = $1 AND call > $2)) AND at < $3 ORDER BY at, call LIMIT $4";

    JOB_READ = concat!("SELECT ", job_columns!(), " FROM job WHERE id = $1");
    JOB_LIST = concat!("SELECT ", job_columns!(), " FROM job WHERE id < $1 ORDER BY id DESC LIMIT $2");
    JOB_LIST_OWNED = concat!("SELECT ", job_columns!(), " FROM job WHERE owner = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
    JOB_NEXT_OWNER = "SELECT MIN(owner) FROM job WHERE kind = $1 AND state = 'queued' AND owner > $2";
    JOB_HAS_OWNER = "SELECT MIN(owner) FROM job WHERE kind = $1 AND state = 'queued' AND owner = $2";
    JOB_DUE = "SELECT id FROM job WHERE kind = $1 AND state = 'queued' AND owner = $2 AND run_at <= $3 \
        ORDER BY run_at, id LIMIT $4";
    JOB_LEASE = concat!(
        "UPDATE job SET state = 'leased', attempts = attempts + 1, lease_worker = $2, lease_until = $3, updated_at = $4 \
         WHERE id = $1 AND state = 'queued' AND run_at <= $4 RETURNING ", job_columns!());
    JOB_HEARTBEAT = "UPDATE job SET lease_until = $4, updated_at = $5 \
        WHERE id = $1 AND state = 'leased' AND lease_worker = $2 AND attempts = $3";
    JOB_GIVE_BACK = "UPDATE job SET state = 'queued', attempts = attempts - 1, run_at = $4, lease_worker = NULL, \
        lease_until = NULL, updated_at = $5 WHERE id = $1 AND state = 'leased' AND lease_worker = $2 AND attempts = $3";
    JOB_PROGRESS = "UPDATE job SET progress_permille = $2, progress_text = $3 WHERE id = $1";
    JOB_EXPIRED = "SELECT id, attempts, attempts_max FROM job WHERE state = 'leased' AND lease_until < $1 \
        ORDER BY lease_until LIMIT $2";
    JOB_END = "UPDATE job SET state = $2, run_at = $3, lease_worker = NULL, lease_until = NULL, result = $4, error = $5, \
        updated_at = $6 WHERE id = $1";
    JOB_REQUEUE = "UPDATE job SET state = $2, run_at = $3, lease_worker = NULL, lease_until = NULL, error = $4, \
        updated_at = $5 WHERE id = $1";

    MESSAGE_LAST = "SELECT COALESCE(MAX(seq), 0) FROM outbox";
    MESSAGE_READ = concat!("SELECT ", message_columns!(), " FROM outbox WHERE id = $1");
    MESSAGE_LIST = concat!("SELECT ", message_columns!(), " FROM outbox WHERE seq > $1 ORDER BY seq LIMIT $2");
    MESSAGE_LIST_OWNED = concat!(
        "SELECT ", message_columns!(), " FROM outbox WHERE owner = $1 AND seq > $2 ORDER BY seq LIMIT $3");
    MESSAGE_DUE = concat!(
        "SELECT ", message_columns!(), " FROM outbox o WHERE channel = $1 AND state = 'pending' AND next_at <= $2 \
         AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.lane = o.lane AND e.seq < o.seq \
         AND e.state IN ('pending', 'sending')) ORDER BY seq LIMIT $3");
    MESSAGE_BEGIN = concat!(
        "UPDATE outbox SET state = 'sending', attempts = attempts + 1, lease_worker = $2, lease_until = $3, \
         updated_at = $4 WHERE id = $1 AND state = 'pending' RETURNING ", message_columns!());
    MESSAGE_EXPIRED = "SELECT id, idempotent, attempts, attempts_max FROM outbox \
        WHERE state = 'sending' AND lease_until < $1 ORDER BY lease_until LIMIT $2";
    MESSAGE_END = "UPDATE outbox SET state = $2, next_at = $3, outcome = $4, lease_worker = NULL, lease_until = NULL, \
        updated_at = $5 WHERE id = $1";

    SWEEP_IDEMPOTENCY = "DELETE FROM idempotency WHERE (principal, key) IN \
        (SELECT principal, key FROM idempotency WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
    SWEEP_PAYLOAD = "DELETE FROM audit_payload WHERE (call, part) IN (SELECT call, part FROM audit_payload \
        WHERE expires_at IS NOT NULL AND expires_at < $1 ORDER BY expires_at LIMIT $2)";
    SWEEP_COUNTER = "DELETE FROM counter WHERE (key, bucket) IN \
        (SELECT key, bucket FROM counter WHERE bucket < $1 ORDER BY bucket LIMIT $2)";
    SWEEP_DECISION = "DELETE FROM decision_input WHERE call IN \
        (SELECT call FROM decision_input WHERE at < $1 ORDER BY at LIMIT $2)";

    // What a tenant leaves beside its documents. Payloads and questions go by the leaves of its tree: they have no index
    // by owner.
    WIPE_LEAVES = "SELECT tree, idx, count, leaves FROM audit_leaf WHERE tree = $1 AND idx >= $2 ORDER BY idx LIMIT $3";
    WIPE_PAYLOADS = "DELETE FROM audit_payload WHERE call = $1 AND tree = $2";
    WIPE_DECISIONS = "DELETE FROM decision_input WHERE call = $1 AND owner = $2";
    WIPE_ANSWERS = "DELETE FROM idempotency WHERE (principal, key) IN \
        (SELECT principal, key FROM idempotency WHERE owner = $1 LIMIT $2)";
    WIPE_JOBS = "DELETE FROM job WHERE id IN (SELECT id FROM job WHERE owner = $1 LIMIT $2)";
    WIPE_MESSAGES = "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE owner = $1 LIMIT $2)";
}

bulks! {
    // What the planner must know before it can decide which calls of a batch may be applied.
    HEADS = "SELECT kind, id, owner, version FROM document WHERE (kind, id) IN (VALUES", 0, 2, ")";
    KEYS_OF = "SELECT kind, id, name, value, exclusive FROM document_key WHERE (kind, id) IN (VALUES", 0, 2, ")";
    HOLDERS = "SELECT kind, name, value, id FROM document_key WHERE exclusive = 1 AND (kind, name, value) IN (VALUES",
        0, 3, ")";
    REMEMBERED = "SELECT principal, key, expires_at FROM idempotency WHERE (principal, key) IN (VALUES", 0, 2, ")";
    JOB_HEADS = "SELECT id, owner, state, lease_worker, attempts FROM job WHERE id IN (VALUES", 0, 1, ")";
    JOB_DEDUPES = "SELECT kind, owner, dedupe FROM job WHERE (kind, owner, dedupe) IN (VALUES", 0, 3, ")";
    MESSAGE_HEADS = "SELECT id, state, attempts FROM outbox WHERE id IN (VALUES", 0, 1, ")";

    // What a batch writes.
    KEYS_DELETE = "DELETE FROM document_key WHERE (kind, name, value, id) IN (VALUES", 0, 4, ")";
    DOCUMENTS_DELETE = "DELETE FROM document WHERE (kind, id) IN (VALUES", 0, 2, ")";
    DOCUMENTS_WRITE = "INSERT INTO document (kind, id, owner, version, body, created_at, updated_at) VALUES", 0, 7,
        "ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, body = excluded.body, \
         updated_at = excluded.updated_at";
    KEYS_WRITE = "INSERT INTO document_key (kind, name, value, id, owner, exclusive) VALUES", 0, 6, "";
    TREES_WRITE = "INSERT INTO audit_tree (tree, size, frontier) VALUES", 0, 3, "";
    LEAVES_WRITE = "INSERT INTO audit_leaf (tree, idx, count, leaves) VALUES", 0, 4, "";
    CALLS_WRITE = "INSERT INTO audit_call (call, part, tree, bundle) VALUES", 0, 4, "";
    PAYLOADS_WRITE = "INSERT INTO audit_payload (call, part, tree, salt, body, expires_at) VALUES", 0, 6, "";
    IDEMPOTENCY_WRITE = "INSERT INTO idempotency (principal, key, owner, input_digest, response, expires_at) VALUES", 0, 6,
        "ON CONFLICT (principal, key) DO UPDATE SET owner = excluded.owner, input_digest = excluded.input_digest, \
         response = excluded.response, expires_at = excluded.expires_at";
    COUNTERS_WRITE = "INSERT INTO counter (key, bucket, count) VALUES", 0, 3,
        "ON CONFLICT (key, bucket) DO UPDATE SET count = counter.count + excluded.count";
    DECISIONS_WRITE = "INSERT INTO decision_input (call, owner, at, body) VALUES", 0, 4, "";
    JOBS_WRITE = "INSERT INTO job (id, kind, owner, payload, state, dedupe, attempts, attempts_max, run_at, \
        progress_permille, progress_text, created_at, updated_at) VALUES", 0, 13, "";
    MESSAGES_WRITE = "INSERT INTO outbox (seq, id, call, owner, principal, channel, lane, payload, idempotent, state, \
        attempts, attempts_max, next_at, created_at, updated_at) VALUES", 0, 15, "";
    NODES_WRITE = "INSERT INTO audit_node (tree, level, idx, hash) VALUES", 0, 4,
        "ON CONFLICT (tree, level, idx) DO UPDATE SET hash = excluded.hash";

    // Lists within a set of tenants.
    DOCUMENT_LIST_OF = concat!(by_kind!(), " AND d.id > $2 AND d.owner IN (VALUES"), 3, 1, ") ORDER BY d.id LIMIT $3";
    DOCUMENT_LIST_DOWN_OF = concat!(by_kind!(), " AND d.id < $2 AND d.owner IN (VALUES"), 3, 1,
        ") ORDER BY d.id DESC LIMIT $3";
    DOCUMENT_KEYED_OF = concat!(by_key!(), " AND k.id > $4 AND k.owner IN (VALUES"), 5, 1, ") ORDER BY k.id LIMIT $5";
    DOCUMENT_KEYED_DOWN_OF = concat!(by_key!(), " AND k.id < $4 AND k.owner IN (VALUES"), 5, 1,
        ") ORDER BY k.id DESC LIMIT $5";
    DOCUMENT_RANGE_OF = concat!(by_range!(), " AND k.owner IN (VALUES"), 5, 1, BY_VALUE;
}

-- State of one install. Times are microseconds since 1970 UTC. An owner of '' is the provider, else a tenant's id.

CREATE TABLE document (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;
CREATE INDEX document_by_owner ON document (kind, owner, id);

CREATE TABLE document_key (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    exclusive INTEGER NOT NULL,
    PRIMARY KEY (kind, name, value, id),
    FOREIGN KEY (kind, id) REFERENCES document (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX document_key_by_document ON document_key (kind, id);
CREATE UNIQUE INDEX document_key_exclusive ON document_key (kind, name, value) WHERE exclusive = 1;

-- Leaves that were committed together: `count` of them from place `idx` on.
CREATE TABLE audit_leaf (
    tree TEXT NOT NULL,
    idx INTEGER NOT NULL,
    count INTEGER NOT NULL,
    leaves BLOB NOT NULL,
    PRIMARY KEY (tree, idx)
) STRICT;

-- In which of them the record of a call stands.
CREATE TABLE audit_call (
    call TEXT NOT NULL,
    part INTEGER NOT NULL,
    tree TEXT NOT NULL,
    bundle INTEGER NOT NULL,
    PRIMARY KEY (call, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_tree (
    tree TEXT NOT NULL,
    size INTEGER NOT NULL,
    frontier BLOB NOT NULL,
    PRIMARY KEY (tree)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_node (
    tree TEXT NOT NULL,
    level INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (tree, level, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_checkpoint (
    tree TEXT NOT NULL,
    size INTEGER NOT NULL,
    note BLOB NOT NULL,
    made_at INTEGER NOT NULL,
    PRIMARY KEY (tree, size)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_payload (
    call TEXT NOT NULL,
    part INTEGER NOT NULL,
    tree TEXT NOT NULL,
    salt BLOB NOT NULL,
    body BLOB NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (call, part)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_payload_by_expiry ON audit_payload (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE idempotency (
    principal TEXT NOT NULL,
    key TEXT NOT NULL,
    owner TEXT NOT NULL,
    input_digest BLOB NOT NULL,
    response BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (principal, key)
) STRICT;
CREATE INDEX idempotency_by_owner ON idempotency (owner);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);

CREATE TABLE counter (
    key TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (key, bucket)
) STRICT, WITHOUT ROWID;
CREATE INDEX counter_by_bucket ON counter (bucket);

CREATE TABLE decision_input (
    call TEXT NOT NULL,
    owner TEXT NOT NULL,
    at INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (call)
) STRICT;
CREATE INDEX decision_input_by_time ON decision_input (at, call);

CREATE TABLE job (
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL,
    dedupe TEXT,
    attempts INTEGER NOT NULL,
    attempts_max INTEGER NOT NULL,
    run_at INTEGER NOT NULL,
    lease_worker TEXT,
    lease_until INTEGER,
    progress_permille INTEGER NOT NULL,
    progress_text TEXT NOT NULL,
    result TEXT,
    error TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (id)
) STRICT;
CREATE INDEX job_by_turn ON job (kind, state, owner, run_at, id);
CREATE INDEX job_by_owner ON job (owner, id);
CREATE INDEX job_by_lease ON job (lease_until) WHERE state = 'leased';
CREATE UNIQUE INDEX job_by_dedupe ON job (kind, owner, dedupe);

CREATE TABLE outbox (
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    call TEXT NOT NULL,
    owner TEXT NOT NULL,
    principal TEXT NOT NULL,
    channel TEXT NOT NULL,
    lane TEXT NOT NULL,
    payload TEXT NOT NULL,
    idempotent INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    attempts_max INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    lease_worker TEXT,
    lease_until INTEGER,
    outcome TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (seq)
) STRICT;
CREATE UNIQUE INDEX outbox_by_id ON outbox (id);
CREATE INDEX outbox_by_turn ON outbox (channel, state, seq);
CREATE INDEX outbox_by_lane ON outbox (lane, seq) WHERE state IN ('pending', 'sending');
CREATE INDEX outbox_by_lease ON outbox (lease_until) WHERE state = 'sending';
CREATE INDEX outbox_by_owner ON outbox (owner, seq);

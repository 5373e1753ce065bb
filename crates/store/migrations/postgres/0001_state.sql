-- State of one install. Times are microseconds since 1970 UTC. An owner of '' is the provider, else a tenant's id.

CREATE TABLE document (
    kind TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX document_by_owner ON document (kind, owner, id);

CREATE TABLE document_key (
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    exclusive BIGINT NOT NULL,
    PRIMARY KEY (kind, name, value, id),
    FOREIGN KEY (kind, id) REFERENCES document (kind, id)
);
CREATE INDEX document_key_by_document ON document_key (kind, id);
CREATE UNIQUE INDEX document_key_exclusive ON document_key (kind, name, value) WHERE exclusive = 1;

-- Leaves that were committed together: `count` of them from place `idx` on.
CREATE TABLE audit_leaf (
    tree TEXT COLLATE "C" NOT NULL,
    idx BIGINT NOT NULL,
    count BIGINT NOT NULL,
    leaves BYTEA NOT NULL,
    PRIMARY KEY (tree, idx)
);

-- In which of them the record of a call stands.
CREATE TABLE audit_call (
    call TEXT COLLATE "C" NOT NULL,
    part BIGINT NOT NULL,
    tree TEXT COLLATE "C" NOT NULL,
    bundle BIGINT NOT NULL,
    PRIMARY KEY (call, part)
);

CREATE TABLE audit_tree (
    tree TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    frontier BYTEA NOT NULL,
    PRIMARY KEY (tree)
);

CREATE TABLE audit_node (
    tree TEXT COLLATE "C" NOT NULL,
    level BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (tree, level, idx)
);

CREATE TABLE audit_checkpoint (
    tree TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    note BYTEA NOT NULL,
    made_at BIGINT NOT NULL,
    PRIMARY KEY (tree, size)
);

CREATE TABLE audit_payload (
    call TEXT COLLATE "C" NOT NULL,
    part BIGINT NOT NULL,
    tree TEXT COLLATE "C" NOT NULL,
    salt BYTEA NOT NULL,
    body BYTEA NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (call, part)
);
CREATE INDEX audit_payload_by_expiry ON audit_payload (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE idempotency (
    principal TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    input_digest BYTEA NOT NULL,
    response BYTEA NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (principal, key)
);
CREATE INDEX idempotency_by_owner ON idempotency (owner);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);

CREATE TABLE counter (
    key TEXT COLLATE "C" NOT NULL,
    bucket BIGINT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (key, bucket)
);
CREATE INDEX counter_by_bucket ON counter (bucket);

CREATE TABLE decision_input (
    call TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (call)
);
CREATE INDEX decision_input_by_time ON decision_input (at, call);

CREATE TABLE job (
    id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    payload TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    dedupe TEXT COLLATE "C",
    attempts BIGINT NOT NULL,
    attempts_max BIGINT NOT NULL,
    run_at BIGINT NOT NULL,
    lease_worker TEXT COLLATE "C",
    lease_until BIGINT,
    progress_permille BIGINT NOT NULL,
    progress_text TEXT COLLATE "C" NOT NULL,
    result TEXT COLLATE "C",
    error TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX job_by_turn ON job (kind, state, owner, run_at, id);
CREATE INDEX job_by_owner ON job (owner, id);
CREATE INDEX job_by_lease ON job (lease_until) WHERE state = 'leased';
CREATE UNIQUE INDEX job_by_dedupe ON job (kind, owner, dedupe);

CREATE TABLE outbox (
    seq BIGINT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    call TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    principal TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    lane TEXT COLLATE "C" NOT NULL,
    payload TEXT COLLATE "C" NOT NULL,
    idempotent BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    attempts BIGINT NOT NULL,
    attempts_max BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    lease_worker TEXT COLLATE "C",
    lease_until BIGINT,
    outcome TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (seq)
);
CREATE UNIQUE INDEX outbox_by_id ON outbox (id);
CREATE INDEX outbox_by_turn ON outbox (channel, state, seq);
CREATE INDEX outbox_by_lane ON outbox (lane, seq) WHERE state IN ('pending', 'sending');
CREATE INDEX outbox_by_lease ON outbox (lease_until) WHERE state = 'sending';
CREATE INDEX outbox_by_owner ON outbox (owner, seq);

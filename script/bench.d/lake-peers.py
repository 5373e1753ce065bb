"""DuckDB and ClickHouse (chdb) on the corpus of `posse bench lake --print`: one pass from NDJSON to Parquet with the fields
that the questions ask for, the size at rest, and the nine questions. Prints one JSON object.

usage: lake-peers.py CORPUS.ndjson WORK-FOLDER END-SECS
"""

import json
import os
import resource
import sys
import time

THREADS = 2
ROUNDS = 5
IP, ABSENT = "203.0.113.77", "198.51.100.99"
SHA256 = "5F3A9C0E7B1D42868E6F0A9B3C7D15E24F8091A2B3C4D5E6F708192A3B4C5D6E"
FIELDS = {
    "tenant": "$._tenant",
    "stamp": "$.\"@timestamp\"",
    "stamp_cloud": "$.eventTime",
    "stamp_cluster": "$.stageTimestamp",
    "event_id": "$.EventID",
    "host": "$.Hostname",
    "image": "$.Image",
    "parent": "$.ParentImage",
    "command": "$.CommandLine",
    "src_ip": "$.SourceIp",
    "dst_ip": "$.DestinationIp",
    "hashes": "$.Hashes",
}


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def questions(end, dialect):
    """The nine questions over a table `events`; `at` writes an instant."""
    day = 86400
    if dialect == "duckdb":
        def at(secs):
            return f"make_timestamp({secs * 1000000})"
        hour, raw_field, minutes = "date_trunc('hour', time)", "json_extract_string(raw, '$.requestParameters.bucketName')", "INTERVAL 5 MINUTE"
    else:
        def at(secs):
            return f"toDateTime64({secs}, 6, 'UTC')"
        hour, raw_field, minutes = "toStartOfHour(time)", "JSONExtractString(raw, 'requestParameters', 'bucketName')", "INTERVAL 5 MINUTE"
    week = at(end - 7 * day)
    return {
        "q1": f"SELECT severity, count(*) FROM events WHERE tenant = 't000' AND time >= {at(end - day)} GROUP BY 1",
        "q2a": f"SELECT tenant, time, host, src_ip, dst_ip FROM events WHERE src_ip = '{IP}' OR dst_ip = '{IP}'",
        "q2b": f"SELECT tenant, time, host, image FROM events WHERE sha256 = '{SHA256}'",
        "q2n": f"SELECT tenant, time, host FROM events WHERE src_ip = '{ABSENT}' OR dst_ip = '{ABSENT}'",
        "q3": f"SELECT tenant, time, host, command FROM events WHERE class = 1007 AND time >= {week} AND command LIKE '%-enc %'",
        "q4": "SELECT * FROM (SELECT tenant, parent, image, n, row_number() OVER (PARTITION BY tenant ORDER BY n, parent, image) AS place "
              "FROM (SELECT tenant, parent, image, count(*) AS n FROM events WHERE class = 1007 GROUP BY tenant, parent, image) AS pairs) AS ranked WHERE place <= 10",
        "q5": f"SELECT time, class, image, command, dst_ip, raw FROM events WHERE tenant = 't000' AND host = 'ws0001.t000.example.com' "
              f"AND time >= {at(end - 36 * 3600)} AND time < {at(end - 35 * 3600)} ORDER BY time DESC LIMIT 100",
        "q6": f"WITH found AS (SELECT tenant, host, time AS at FROM events WHERE class = 1007 AND time >= {week} AND command LIKE '%-enc %') "
              f"SELECT found.tenant, found.host, events.class, count(*) AS n FROM found JOIN events ON events.tenant = found.tenant AND events.host = found.host "
              f"WHERE events.time >= found.at - {minutes} AND events.time <= found.at + {minutes} AND events.time >= {week} - {minutes} GROUP BY 1, 2, 3",
        "q7": f"SELECT tenant, count(*) FROM events WHERE class = 6003 AND time >= {week} AND {raw_field} = 'logs-100000023757' GROUP BY 1",
        "q8": f"SELECT {hour} AS hour, class, count(*) FROM events GROUP BY 1, 2",
        "q9": f"SELECT count(*) FROM events WHERE time >= {week} AND raw LIKE '%AIDAFFFF%'",
    }


def ask(run, end, dialect):
    figures = {}
    for name, sql in questions(end, dialect).items():
        run(sql)
        costs = []
        for _ in range(ROUNDS):
            before = cpu()
            rows = run(sql)
            costs.append((cpu() - before) * 1000)
        figures[name] = {"cpu_ms": round(sorted(costs)[len(costs) // 2], 2), "rows": rows}
    return figures


def duckdb_side(corpus, work, end):
    import duckdb

    db = duckdb.connect(os.path.join(work, "peer.duckdb"))
    db.execute(f"SET threads = {THREADS}")
    db.execute("SET memory_limit = '4GB'")
    db.execute("SET TimeZone = 'UTC'")
    parquet = os.path.join(work, "plain.parquet")
    paths = ", ".join("'" + path + "'" for path in FIELDS.values())
    names = {name: place + 1 for place, name in enumerate(FIELDS)}

    def field(name):
        return f"x[{names[name]}]"

    select = f"""
        SELECT {field('tenant')} AS tenant,
               CAST(replace(coalesce({field('stamp')}, {field('stamp_cloud')}, {field('stamp_cluster')}), 'Z', '') AS TIMESTAMP) AS time,
               CASE {field('event_id')} WHEN '1' THEN 1007 WHEN '3' THEN 4001 WHEN '22' THEN 4003 WHEN '4624' THEN 3002
                    ELSE 6003 END AS class,
               1 AS severity, {field('host')} AS host, {field('image')} AS image, {field('parent')} AS parent,
               {field('command')} AS command, {field('src_ip')} AS src_ip, {field('dst_ip')} AS dst_ip,
               regexp_extract({field('hashes')}, 'SHA256=([0-9A-F]+)', 1) AS sha256, line AS raw
        FROM (SELECT line, json_extract_string(line, [{paths}]) AS x
              FROM read_csv('{corpus}', columns = {{'line': 'VARCHAR'}}, delim = '\x01', quote = '', escape = '', header = false,
                            auto_detect = false, max_line_size = 4000000))"""
    before, started = cpu(), time.monotonic()
    db.execute(f"COPY ({select} ORDER BY tenant, time) TO '{parquet}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3)")
    cost, took = cpu() - before, time.monotonic() - started
    events = db.execute(f"SELECT count(*) FROM '{parquet}'").fetchone()[0]
    size = os.path.getsize(parquet)
    db.execute(f"CREATE VIEW events AS SELECT * FROM '{parquet}'")
    queries = ask(lambda sql: len(db.execute(sql).fetchall()), end, "duckdb")
    db.close()
    return {
        "version": duckdb.__version__,
        "events": events,
        "ingest_cpu_s_per_million": round(cost / events * 1e6, 3),
        "ingest_s": round(took, 1),
        "plain_parquet_bytes_per_event": round(size / events, 2),
        "queries": queries,
    }, parquet


def clickhouse_side(parquet, work, end):
    from chdb import session

    db = session.Session(os.path.join(work, "chdb"))
    db.query("CREATE DATABASE IF NOT EXISTS lake ENGINE = Atomic")
    db.query("USE lake")
    db.query(f"SET max_threads = {THREADS}")
    before = cpu()
    db.query(
        "CREATE TABLE events ENGINE = MergeTree ORDER BY (tenant, time) SETTINGS allow_nullable_key = 1 AS "
        f"SELECT * FROM file('{parquet}', Parquet)"
    )
    load = cpu() - before
    tail = f" SETTINGS max_threads = {THREADS}, use_query_condition_cache = 0"

    def run(sql):
        answer = str(db.query(sql + tail, "TabSeparated"))
        return len(answer.splitlines())

    queries = ask(run, end, "clickhouse")
    return {"version": str(db.query("SELECT version()")).strip().strip('"'), "load_cpu_s": round(load, 1), "queries": queries}


def main():
    corpus, work, end = sys.argv[1], sys.argv[2], int(sys.argv[3])
    os.makedirs(work, exist_ok=True)
    duck, parquet = duckdb_side(corpus, work, end)
    figures = {"duckdb": duck}
    try:
        figures["clickhouse"] = clickhouse_side(parquet, work, end)
    except ImportError:
        figures["clickhouse"] = None
    print(json.dumps(figures))


main()

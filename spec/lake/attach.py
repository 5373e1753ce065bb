"""DuckDB beside Posse's catalog. Run by script/duckdb-attach; see there.

prove WORK ATTACH_LAKE: makes Parquet files with DuckDB, has ATTACH_LAKE commit them through Posse's catalog, attaches, and
compares every answer with that of the plain files. Then compares the catalog's schema with one that DuckDB makes itself.
"""

import glob
import json
import os
import pathlib
import sqlite3
import subprocess
import sys

import duckdb

GOLDEN = pathlib.Path(__file__).parent
DAYS = ["2026-11-20", "2026-11-21", "2026-11-22"]
CLASSES = [1007, 3002]
ROWS = 5000


def connect(*scanners):
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for name in (*scanners, "ducklake"):
        package = pathlib.Path(duckdb.__file__).parent.parent / f"duckdb_extension_{name}"
        found = glob.glob(f"{package}/**/*.duckdb_extension", recursive=True)
        con.execute(f"LOAD '{found[0]}'")
    return con


def attach(con, catalog, schema=None):
    """The catalog of a file, or of a schema in PostgreSQL."""
    options = f", METADATA_SCHEMA '{schema}'" if schema else ""
    con.execute(f"ATTACH 'ducklake:{catalog}' AS lake (READ_ONLY{options})")


def write_files(folder):
    """Parquet files as lake lays them out: one class and day each, tenants in row groups of their own."""
    con = duckdb.connect()
    files = []
    fields = "{tenant: 1, time: 2, class_uid: 3, raw: 4}"
    for day in DAYS:
        for uid in CLASSES:
            path = f"class={uid}/day={day}/0.parquet"
            os.makedirs(folder / os.path.dirname(path), exist_ok=True)
            con.execute(
                f"""COPY (SELECT CASE WHEN i < 2048 THEN 'tenant_a' ELSE 'tenant_b' END AS tenant,
                    TIMESTAMPTZ '{day} 00:00:00.000001+00' + i * INTERVAL 10 SECOND AS time, {uid}::INTEGER AS class_uid,
                    CASE WHEN i % 7 > 0 THEN repeat('event ' || i || ' ', 1 + i % 40) END AS raw FROM range({ROWS}) r(i))
                    TO '{folder / path}' (FORMAT parquet, FIELD_IDS {fields}, ROW_GROUP_SIZE 2048)"""
            )
            size = os.path.getsize(folder / path)
            footer = int.from_bytes(open(folder / path, "rb").read()[-8:-4], "little")
            nulls = con.execute(f"SELECT count(*) FILTER (raw IS NULL) FROM '{folder / path}'").fetchone()[0]
            files.append(
                {"path": path, "class_uid": uid, "day": day, "rows": ROWS, "bytes": size, "footer": footer, "nulls": nulls}
            )
    return files


QUESTIONS = [
    "SELECT count(*) FROM {}",
    "SELECT class_uid, count(*), min(time), max(time), count(raw), sum(length(raw)) FROM {} GROUP BY 1 ORDER BY 1",
    "SELECT tenant, time, raw FROM {} WHERE class_uid = 3002 AND time >= TIMESTAMPTZ '2026-11-21 00:00:00+00' "
    "AND time < TIMESTAMPTZ '2026-11-21 01:00:00+00' ORDER BY time",
    "SELECT count(*) FROM {} WHERE raw LIKE 'event 4999 %'",
    "SELECT count(*) FROM {} WHERE raw = 'event 1 event 1 '",
    "SELECT count(*) FROM {} WHERE tenant = 'tenant_b' AND raw IS NULL",
    "SELECT min(time), max(time), min(raw), max(raw), min(class_uid), max(class_uid) FROM {}",
    "SELECT count(*) FROM {} WHERE class_uid = 9999",
    "SELECT md5(string_agg(tenant || time::VARCHAR || class_uid || coalesce(raw, '-'), '|' ORDER BY class_uid, time)) FROM {}",
]


def compare(con, files, folder, table="lake.main.events"):
    plain = "(SELECT * FROM read_parquet([" + ",".join(f"'{folder / f['path']}'" for f in files) + "]))"
    for question in QUESTIONS:
        ours, theirs = con.execute(question.format(table)).fetchall(), con.execute(question.format(plain)).fetchall()
        assert ours == theirs, (question, ours[:3], theirs[:3])
    return con.execute(QUESTIONS[0].format(table)).fetchone()[0]


def run(program, steps, folder, target):
    done = subprocess.run([program, target, str(folder)], input=json.dumps(steps), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def prove_engine(work, program, target, scanner, catalog, schema=None):
    folder = work / "lake"
    folder.mkdir(parents=True)
    files = write_files(folder)
    first = run(program, {"add": files[:4]}, folder, target)
    con = connect(scanner)
    attach(con, catalog, schema)
    count = compare(con, files[:4], folder)
    con.close()
    # More files, one file gone, one column more: a snapshot each, and each can be asked for.
    second = run(program, {"add": files[4:], "column": "later"}, folder, target)
    third = run(program, {"drop": [files[0]["path"]]}, folder, target)
    con = connect(scanner)
    attach(con, catalog, schema)
    compare(con, files, folder, f"(SELECT tenant, time, class_uid, raw FROM lake.main.events AT (VERSION => {second['snapshot']}))")
    rest = "(SELECT tenant, time, class_uid, raw FROM lake.main.events)"
    compare(con, files[1:], folder, rest)
    assert con.execute("SELECT count(later) FROM lake.main.events").fetchone() == (0,)
    plan = con.execute("EXPLAIN ANALYZE SELECT count(raw) FROM lake.main.events WHERE class_uid = 1007 AND "
                       "time < TIMESTAMPTZ '2026-11-22 00:00:00+00'").fetchall()[0][1]
    assert "Total Files Read: 1" in plan, plan
    con.close()
    print(f"{catalog.split(':')[0]}: {count} rows of {first['files']} files, then {third['files']} files; "
          f"{3 * len(QUESTIONS)} questions answered alike; one file read where statistics leave one")


def prove_schema(work):
    """What DuckDB itself makes for each engine is what spec/lake holds, from which our migrations are."""
    con = connect("sqlite_scanner")
    con.execute(f"ATTACH 'ducklake:sqlite:{work / 'theirs.db'}' AS theirs (DATA_PATH '{work / 'theirs'}/', DATA_INLINING_ROW_LIMIT 0)")
    con.execute("CREATE TABLE theirs.main.events(a INTEGER)")
    con.close()
    rows = sqlite3.connect(work / "theirs.db").execute(
        "SELECT sql || ';' FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'ducklake_inlined_data_1%' ORDER BY name"
    )
    assert [row[0] for row in rows] == (GOLDEN / "ducklake-1.0-sqlite.sql").read_text().splitlines()
    print("the schema of DuckDB's own catalog is that of spec/lake")


def main():
    if sys.argv[1] == "show":
        con = connect("sqlite_scanner")
        attach(con, f"sqlite:{sys.argv[2]}")
        for row in con.execute("SELECT class_uid, time::DATE AS day, count(*), count(DISTINCT tenant) FROM lake.main.events "
                               "GROUP BY ALL ORDER BY ALL").fetchall():
            print(*row)
        return
    work, program = pathlib.Path(sys.argv[2]), sys.argv[3]
    prove_engine(work / "sqlite", program, str(work / "sqlite"), "sqlite_scanner", f"sqlite:{work / 'sqlite' / 'lake.db'}")
    url = os.environ.get("POSSE_TEST_POSTGRES_URL")
    if url:
        host = url.split("host=")[1].split("&")[0]
        catalog = f"postgres:dbname=postgres host={host} user=posse"
        prove_engine(work / "postgres", program, url, "postgres_scanner", catalog, "public_lake")
    prove_schema(work)


main()

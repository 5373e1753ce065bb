"""Rules exported as SQL, run in DuckDB on flat records, beside the engine's matches of the same records.

usage: sql.py EXPORT.jsonl RECORDS.jsonl[.gz] MATCHES.tsv     (of the examples `sql` and `match` of crate detection)

DuckDB stands in for the lake: the lake's functions are macros here. Prints every pair (record, rule) that only one of
the two has, and counts; exits 1 if there is one.
"""

import collections
import gzip
import json
import sys

import duckdb

MACROS = """
CREATE MACRO json_text(raw, path) AS json_extract_string(raw, '$."' || path || '"');
CREATE MACRO contains_fold(value, needle) AS contains(lower(value), lower(needle));
CREATE MACRO equals_fold(value, other) AS lower(value) = lower(other);
CREATE MACRO regexp_like(value, expression) AS regexp_matches(value, expression);
"""


def main() -> int:
    export, records, matches = sys.argv[1:4]
    opened = gzip.open if records.endswith(".gz") else open
    with opened(records, "rt", encoding="utf-8") as lines:
        rows = [(index, line.rstrip("\n")) for index, line in enumerate(lines)]
    engine = collections.defaultdict(set)
    for line in open(matches, encoding="utf-8"):
        index, rule = line.rstrip("\n").split("\t")
        engine[rule].add(int(index))
    database = duckdb.connect()
    database.execute(MACROS)
    database.execute("CREATE TABLE events (id BIGINT, raw VARCHAR, log_part INT, time INT, source INT)")
    database.executemany("INSERT INTO events VALUES (?, ?, 0, 0, 0)", rows)
    refused, asked, pairs, wrong, failed = collections.Counter(), 0, 0, 0, 0
    for line in open(export, encoding="utf-8"):
        rule = json.loads(line)
        if "error" in rule:
            refused[rule["error"].split("`")[0][:40]] += 1
            continue
        asked += 1
        try:
            found = {row[0] for row in database.execute(rule["sql"]).fetchall()}
        except duckdb.Error as error:
            failed += 1
            print(rule["id"], "does not run:", str(error).splitlines()[0])
            continue
        pairs += len(found & engine[rule["id"]])
        for index in sorted(found ^ engine[rule["id"]]):
            wrong += 1
            print(index, rule["id"], "only in SQL" if index in found else "only in the engine", sep="\t")
    print(f"{asked} rules asked of {len(rows)} records: {pairs} pairs in both, {wrong} in one, {failed} do not run")
    print(f"refused: {dict(refused)}")
    return 1 if wrong or failed else 0


if __name__ == "__main__":
    sys.exit(main())

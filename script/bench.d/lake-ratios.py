"""Holds the lake's figures against its bounds and against the better of its peers; exits 1 on any miss.

usage: lake-ratios.py POSSE-JSON PEERS-JSON
"""

import json
import sys

missed = []


def hold(name, value, side, bound):
    good = value <= bound if side == "at most" else value >= bound
    print(f"{name:<44} {value:>12.3f}   {side} {bound}: {'held' if good else 'MISSED'}")
    if not good:
        missed.append(name)


def main():
    ours, theirs = json.loads(sys.argv[1]), json.loads(sys.argv[2])
    duck, house = theirs["duckdb"], theirs.get("clickhouse")
    hold("ingest, CPU seconds per million", ours["ingest_cpu_s_per_million"], "at most", 25)
    print(f"  of DuckDB's one pass without a log: {ours['ingest_cpu_s_per_million'] / duck['ingest_cpu_s_per_million']:.2f}")
    hold("acknowledge p99, ms", ours["ack_p99_ms"], "at most", 250)
    hold("searchable p99, ms", ours["searchable_p99_ms"], "at most", 1000)
    hold("peak memory, MB", ours["peak_rss_mb"], "at most", 1500)
    plain = duck["plain_parquet_bytes_per_event"]
    hold("plain Parquet, bytes an event", plain, "at least", 165)
    hold("size after compaction, of plain Parquet", ours["bytes_per_event"] / plain, "at most", 0.95)
    hold("prevalence, ms", ours["prevalence_ms"], "at most", 2)
    faster = 0
    for name, own in ours["queries"].items():
        peers = {"DuckDB": duck["queries"][name]["cpu_ms"]}
        if house:
            peers["ClickHouse"] = house["queries"][name]["cpu_ms"]
        best = min(peers, key=peers.get)
        ratio = own["cpu_ms"] / max(peers[best], 0.01)
        faster += ratio < 1
        told = ", ".join(f"{peer} {cost:.1f}" for peer, cost in peers.items())
        print(f"  {name}: {own['cpu_ms']:.1f} ms warm, {own['cold_cpu_ms']:.1f} cold ({told})")
        hold(f"{name}, of {best}", ratio, "at most", 1.5)
    hold("questions answered faster than both", faster, "at least", 4)
    absent, scan = ours["queries"]["q2n"], ours["queries"]["q9"]
    hold("absent indicator, files opened", absent["files_read"], "at most", 0)
    hold("a scan, of an absent indicator", scan["cpu_ms"] / max(absent["cpu_ms"], 0.01), "at least", 10)
    sys.exit(1 if missed else 0)


main()

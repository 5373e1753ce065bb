"""A server of a built binary in a folder, one tenant with a source and a key, batches sent to it and read back: what the
scripts in faults.d share. POSSE_BIN names a binary in place of a release build."""
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

from served import binary, send


class Server:
    """`before` is put in front of the command: strace, faketime. `port` is None where it ended before it listened."""

    def __init__(self, program, data, before=(), environment=None):
        self.log = open(f"{data}/../server.log", "ab")
        self.process = subprocess.Popen(
            [*before, program, "serve", "--data-dir", data, "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=self.log, text=True, env={**os.environ, **(environment or {})})
        self.port = None
        for line in self.process.stdout:
            found = re.match(r"listening on http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        threading.Thread(target=lambda: [None for _ in self.process.stdout], daemon=True).start()

    def pid(self):
        """The server's own, also behind strace."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else self.process.pid

    def end(self, how=signal.SIGKILL, patience=60):
        if self.process.poll() is None:
            try:
                os.kill(self.pid(), how)
            except ProcessLookupError:
                pass
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise SystemExit(f"the server does not end within {patience} s of {how.name}")
        self.log.close()
        return self.process.returncode


def made(port, token, path, body):
    status, answer = send(port, token, "POST", path, body)
    if status != 200:
        raise SystemExit(f"POST {path}: {status} {answer}")
    return answer


class Place:
    """A tenant with the source `faults` and its key."""

    def __init__(self, server, data, name="faults"):
        self.token = pathlib.Path(data, "bootstrap-token").read_text().strip()
        self.tenant = made(server.port, self.token, "/v1/tenants", {"name": name})["id"]
        sources = f"/v1/tenants/{self.tenant}/sources"
        made(server.port, self.token, sources, {"name": "faults"})
        self.key = made(server.port, self.token, f"{sources}/faults/keys", {"name": "faults"})["credential"]["secret"]

    def post(self, port, lines):
        return send(port, self.key, "POST", "/v1/ingest/faults", lines, "application/x-ndjson")

    def query(self, port, sql, **more):
        """All rows of a question."""
        rows, cursor = [], None
        while True:
            ask = {"tenant": self.tenant, "sql": sql, "limit": 10000, **more}
            if cursor:
                ask["cursor"] = cursor
            status, page = send(port, self.token, "POST", "/v1/events/query", ask)
            if status != 200:
                raise SystemExit(f"a question failed: {status} {page}")
            rows += page["items"]
            cursor = page.get("next_cursor")
            if not cursor:
                return rows

    def settled(self, port, patience=120):
        """Wait until everything that is durable can be found."""
        until = time.monotonic() + patience
        while True:
            status, lake = send(port, self.token, "GET", f"/v1/lake?tenant={self.tenant}")
            if status == 200 and lake["behind"] == 0:
                return
            if time.monotonic() > until:
                raise SystemExit(f"the lake is still behind: {status} {lake}")
            time.sleep(0.1)

    def batches(self, port):
        """Events and distinct events of each batch, by the fields `batch` and `n` of its records."""
        self.settled(port)
        sql = ("SELECT json_text(raw, 'batch') AS b, count(*) AS n, count(DISTINCT json_text(raw, 'n')) AS d "
               "FROM events WHERE source = 'faults' GROUP BY 1 ORDER BY 1")
        return {row["b"]: (row["n"], row["d"]) for row in self.query(port, sql)}


def judge(found, acked, sent, events):
    """Every acknowledged batch is whole; none is there twice or in part, and none that nobody sent."""
    lost = [name for name in acked if found.get(name) != (events, events)]
    assert not lost, f"{len(lost)} acknowledged batches are not whole, the first is {lost[0]}: {found.get(lost[0])}"
    odd = [name for name, counts in found.items() if name not in sent or counts != (events, events)]
    assert not odd, f"{len(odd)} batches are there in part or twice, the first is {odd[0]}: {found[odd[0]]}"

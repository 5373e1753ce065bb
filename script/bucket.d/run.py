"""A prefix of moto's S3 server as a source: every record once, whatever happens in between. Prints a line a check; ends with 1
where a count is not what was put there. Called by script/bucket."""
import gzip, http.client, json, os, pathlib, re, signal, socket, subprocess, sys, tempfile, threading, time

import boto3, zstandard
from moto.server import ThreadedMotoServer

PROGRAM = os.environ["POSSE_BIN"]
PER_OBJECT = 25


class Server:
    def __init__(self, folder):
        self.process = subprocess.Popen(
            [PROGRAM, "serve", "--data-dir", folder, "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            found = re.match(r"listening on http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        else:
            sys.exit("bucket: the server ended before it listened")
        threading.Thread(target=lambda: [None for _ in self.process.stdout], daemon=True).start()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def call(port, token, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        sys.exit(f"bucket: {method} {path}: {answer.status} {text[:400]}")
    return json.loads(text) if text else None


def records(name):
    return [{"id": f"{name}#{number}", "eventName": "GetObject"} for number in range(PER_OBJECT)]


def packed(name, number):
    """An object's key and bytes, in one of the forms that sources write."""
    rows = records(name)
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    forms = [
        ("ndjson", lines),
        ("json.gz", gzip.compress(json.dumps({"Records": rows}).encode())),
        ("zst", zstandard.compress(lines)),
        ("json", json.dumps(rows, indent=1).encode()),
        ("ndjson.gz", gzip.compress(lines)),
    ]
    end, body = forms[number % len(forms)]
    return f"logs/{name}.{end}", body


def free():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def main():
    store_port = free()
    store = ThreadedMotoServer(ip_address="127.0.0.1", port=store_port, verbose=False)
    store.start()
    endpoint = f"http://127.0.0.1:{store_port}"
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret")
    client.create_bucket(Bucket="trail")
    names = [f"2026/{number:05}" for number in range(1100)] + ["odd key +&%/ä", "a=b/c?d#e"]
    for number, name in enumerate(names):
        key, body = packed(name, number)
        client.put_object(Bucket="trail", Key=key, Body=body)
    client.put_object(Bucket="trail", Key="elsewhere/x.ndjson", Body=b'{"id": "elsewhere"}')
    client.put_object(Bucket="trail", Key="logs/broken.gz", Body=gzip.compress(b"x" * 10000)[:50])
    folder = tempfile.mkdtemp()
    pathlib.Path(folder, "posse.toml").write_text(f'connector_hosts_inside = ["127.0.0.1:{store_port}"]\n')
    server = Server(folder)
    token = pathlib.Path(folder, "bootstrap-token").read_text().strip()
    tenant = call(server.port, token, "POST", "/v1/tenants", {"name": "acme", "display_name": "Acme"})["id"]
    call(server.port, token, "POST", f"/v1/tenants/{tenant}/sources", {"name": "trail"})
    place = f"/v1/tenants/{tenant}/sources/trail/bucket"
    call(server.port, token, "PUT", place, {
        "endpoint": endpoint, "bucket": "trail", "prefix": "logs/", "access_key_id": "key", "secret_access_key": "secret",
        "every_secs": 10})

    def wait(objects):
        for _ in range(600):
            state = call(server.port, token, "GET", place)
            if state["objects"] >= objects:
                return state
            time.sleep(0.5)
        sys.exit(f"bucket: {objects} objects never came: {state}")

    wait(200)
    server.kill()
    server = Server(folder)
    wait(600)
    server.kill()
    server = Server(folder)
    wait(len(names) + 1)
    again, body = packed(names[0], 0)
    client.put_object(Bucket="trail", Key=again, Body=body + b'\n{"id": "again"}')
    state = wait(len(names) + 2)
    failed = False

    def check(what, found, wanted):
        nonlocal failed
        failed |= found != wanted
        print(f"{'ok' if found == wanted else 'WRONG'}  {what}: {found}" + ("" if found == wanted else f", wanted {wanted}"))

    def count(sql):
        answer = call(server.port, token, "POST", "/v1/events/query", {"tenant": tenant, "sql": sql})
        return list(answer["items"][0].values())[0]

    # The object that was replaced counts twice, with one record more.
    wanted = len(names) * PER_OBJECT + PER_OBJECT + 1
    for _ in range(120):
        if count("SELECT count(*) FROM events WHERE source = 'trail'") >= wanted:
            break
        time.sleep(0.5)
    mine = "field(raw, 'id')"
    check("records", count("SELECT count(*) FROM events WHERE source = 'trail'"), wanted)
    check("ids", count(f"SELECT count(DISTINCT {mine}) FROM events WHERE source = 'trail'"), len(names) * PER_OBJECT + 1)
    check("of another prefix", count(f"SELECT count(*) FROM events WHERE {mine} = 'elsewhere'"), 0)
    broken = call(server.port, token, "GET", place.replace("/bucket", "/objects?unreadable=true"))["items"]
    check("unreadable", [one["key"] for one in broken], ["logs/broken.gz"])
    check("problem", state.get("problem"), None)
    server.kill()
    store.stop()
    sys.exit(1 if failed else 0)


main()

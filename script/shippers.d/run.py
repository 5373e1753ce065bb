"""Each real sender against a server of its own, then a count of what the lake holds of it. Prints a line a sender; ends
with 1 where a count is not what was sent. Called by script/shippers."""
import gzip, http.client, json, os, pathlib, re, shutil, signal, socket, subprocess, sys, tempfile, threading, time

PROGRAM = os.environ["POSSE_BIN"]
COUNT = 200


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
            sys.exit("shippers: the server ended before it listened")
        threading.Thread(target=lambda: [None for _ in self.process.stdout], daemon=True).start()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def call(port, token, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        sys.exit(f"shippers: {method} {path}: {answer.status} {text[:400]}")
    return json.loads(text) if text else None


def free(kind):
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def curl(*arguments):
    done = subprocess.run(["curl", "-sS", "--fail-with-body", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"shippers: curl: {done.stdout} {done.stderr}")
    return done.stdout


def lines(sender):
    return "\n".join(json.dumps({"sender": sender, "n": number}) for number in range(COUNT)) + "\n"


def logger(port, *how):
    """One message a call, as a cron job or a script would."""
    for number in range(20):
        subprocess.run(
            ["logger", "--server", "127.0.0.1", "--port", str(port), "--tag", "shipper", *how, f"logger {number}"], check=True)
    return 20


def rsyslog(folder, port, *settings):
    """A daemon of its own reads a file and forwards it."""
    home = pathlib.Path(tempfile.mkdtemp(dir=folder))
    source = home / "in.log"
    source.write_text("".join(f"rsyslog {number}\n" for number in range(COUNT)))
    forward = " ".join(['action(type="omfwd" target="127.0.0.1"', f'port="{port}" action.resumeRetryCount="-1"', *settings, ")"])
    (home / "conf").write_text("\n".join([
        f'global(workDirectory="{home}")',
        'module(load="imfile")',
        f'input(type="imfile" File="{source}" Tag="shipper:" Ruleset="out" freshStartTail="off")',
        f'ruleset(name="out") {{ {forward} }}',
        ""]))
    rsyslogd = shutil.which("rsyslogd") or "/usr/sbin/rsyslogd"
    return subprocess.Popen([rsyslogd, "-n", "-f", str(home / "conf"), "-i", str(home / "pid")],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def otlp(port, key):
    import logging
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    exporter = OTLPLogExporter(endpoint=f"http://127.0.0.1:{port}/v1/logs", headers={"Authorization": f"Bearer {key}"})
    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    log = logging.getLogger("shipper")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(LoggingHandler(level=logging.INFO, logger_provider=provider))
    for number in range(COUNT):
        log.info("otlp %d", number)
    provider.shutdown()


def elasticsearch(port, source, key):
    from elasticsearch import Elasticsearch
    from elasticsearch.helpers import bulk
    client = Elasticsearch(f"http://127.0.0.1:{port}/v1/ingest/{source}", basic_auth=("ingest", key))
    done, faults = bulk(client, ({"_op_type": "create", "_index": "web", "sender": "es", "n": n} for n in range(COUNT)))
    assert done == COUNT and not faults, (done, faults)


def splunk(port, key):
    address, auth = f"http://127.0.0.1:{port}/services/collector", f"Authorization: Splunk {key}"
    channel = "X-Splunk-Request-Channel: 11111111-2222-3333-4444-555555555555"
    events = "".join(json.dumps({"event": {"sender": "hec", "n": n}}) for n in range(COUNT))
    told = json.loads(curl("-H", auth, "-H", channel, "--data-binary", events, f"{address}/event"))
    acked = json.loads(curl("-H", auth, "-H", channel, "-d", json.dumps({"acks": [told["ackId"]]}), f"{address}/ack"))
    assert acked["acks"][str(told["ackId"])] is True, acked


def main():
    folder = tempfile.mkdtemp()
    data = pathlib.Path(folder, "data")
    data.mkdir()
    children = []
    try:
        server = Server(str(data))
        token = (data / "bootstrap-token").read_text().strip()
        tenant = call(server.port, token, "POST", "/v1/tenants", {"name": "shippers"})["id"]
        keys = {}
        names = ["ndjson-gzip", "ndjson-zstd", "bulk", "hec", "otlp", "logger-udp", "logger-tcp",
                 "rsyslog-udp", "rsyslog-octets", "rsyslog-lines", "rsyslog-tls"]
        for name in names:
            call(server.port, token, "POST", f"/v1/tenants/{tenant}/sources", {"name": name})
            made = call(server.port, token, "POST", f"/v1/tenants/{tenant}/sources/{name}/keys", {"name": name})
            keys[name] = made["credential"]["secret"]
        server.stop()

        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"], check=True, capture_output=True)
        protocols = {"logger-udp": "udp", "logger-tcp": "tcp", "rsyslog-udp": "udp", "rsyslog-octets": "tcp",
                     "rsyslog-lines": "tcp", "rsyslog-tls": "tls"}
        ports = {name: free(socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) for name, kind in protocols.items()}
        sections = []
        for name, protocol in protocols.items():
            tls = f'tls = {{ certificate_file = "{folder}/cert.pem", key_file = "{folder}/key.pem" }}\n' if protocol == "tls" else ""
            sections.append(f'[[syslog]]\nlisten = "127.0.0.1:{ports[name]}"\nprotocol = "{protocol}"\n'
                            f'tenant = "{tenant}"\nsource = "{name}"\n{tls}')
        (data / "posse.toml").write_text("\n".join(sections))
        server = Server(str(data))
        port = server.port

        for name, encode in (("ndjson-gzip", gzip.compress), ("ndjson-zstd", None)):
            file = pathlib.Path(folder, name)
            plain = lines(name).encode()
            file.write_bytes(encode(plain) if encode else subprocess.run(["zstd", "-c"], input=plain, capture_output=True, check=True).stdout)
            curl("-H", f"Authorization: Bearer {keys[name]}", "-H", f"Content-Encoding: {name.split('-')[1]}",
                 "-H", "Content-Type: application/x-ndjson", "--data-binary", f"@{file}", f"http://127.0.0.1:{port}/v1/ingest/{name}")
        elasticsearch(port, "bulk", keys["bulk"])
        splunk(port, keys["hec"])
        otlp(port, keys["otlp"])
        expected = dict.fromkeys(names, COUNT)
        expected["logger-udp"] = logger(ports["logger-udp"], "--udp", "--rfc5424")
        expected["logger-tcp"] = logger(ports["logger-tcp"], "--tcp", "--rfc3164")
        tcp = 'protocol="tcp"'
        children.append(rsyslog(folder, ports["rsyslog-udp"], 'protocol="udp"'))
        children.append(rsyslog(folder, ports["rsyslog-octets"], tcp, 'TCP_Framing="octet-counted"', 'template="RSYSLOG_SyslogProtocol23Format"'))
        children.append(rsyslog(folder, ports["rsyslog-lines"], tcp))
        children.append(rsyslog(folder, ports["rsyslog-tls"], tcp, 'StreamDriver="gtls"', 'StreamDriverMode="1"',
                                'StreamDriverAuthMode="anon"', f'StreamDriver.CAFile="{folder}/cert.pem"'))

        until, found = time.monotonic() + 60, {}
        while time.monotonic() < until:
            page = call(port, token, "POST", "/v1/events/query",
                        {"tenant": tenant, "sql": "SELECT source, count(*) AS n, count(DISTINCT raw) AS d FROM events GROUP BY 1"})
            found = {row["source"]: (row["n"], row["d"]) for row in page["items"]}
            if all(found.get(name, (0, 0))[0] >= count for name, count in expected.items()):
                break
            time.sleep(0.2)
        wrong = 0
        for name, count in expected.items():
            good = found.get(name) == (count, count)
            wrong += not good
            print(f"{name}: sent {count}, found {found.get(name, (0, 0))[0]}{'' if good else '  WRONG'}")
        dead = call(port, token, "POST", "/v1/events/query",
                    {"tenant": tenant, "sql": "SELECT source, message FROM events WHERE status_detail = 'dead_letter' LIMIT 5"})["items"]
        print(f"dead letters: {len(dead)}" + (f", the first: {dead[0]}" if dead else ""))
        server.stop()
        sys.exit(1 if wrong or dead else 0)
    finally:
        for child in children:
            child.terminate()
            child.wait()
        shutil.rmtree(folder, ignore_errors=True)


main()

"""Connectors against real counterparts on this machine. Prints a line a check; ends with 1 at the first that fails. Called
by script/connectors."""
import http.client, http.server, json, os, pathlib, re, signal, subprocess, sys, tempfile, threading, time

import boto3
from moto.server import ThreadedMotoServer
from standardwebhooks.webhooks import Webhook

PROGRAM = os.environ["POSSE_BIN"]
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def check(holds, what):
    print(("ok    " if holds else "FAIL  ") + what, flush=True)
    if not holds:
        sys.exit(1)


class Server:
    def __init__(self, folder):
        pathlib.Path(folder, "posse.toml").write_text('connector_hosts_inside = ["127.0.0.1"]\n')
        self.process = subprocess.Popen(
            [PROGRAM, "serve", "--data-dir", folder, "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            found = re.match(r"listening on http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        else:
            sys.exit("connectors: the server ended before it listened")
        threading.Thread(target=lambda: [None for _ in self.process.stdout], daemon=True).start()
        self.admin = pathlib.Path(folder, "bootstrap-token").read_text().strip()

    def call(self, method, path, body=None, token=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"authorization": f"Bearer {token or self.admin}", "content-type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            sys.exit(f"connectors: {method} {path}: {answer.status} {text[:400]}")
        return json.loads(text)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Receiver(http.server.BaseHTTPRequestHandler):
    """Judges each message by the reference verifier; keeps the good ones."""
    good = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            Receiver.good.append(Webhook(SECRET).verify(body.decode(), dict(self.headers.items())))
            self.send_response(204)
        except Exception as error:  # whatever is wrong, it is a no
            print("receiver:", error, file=sys.stderr)
            self.send_response(401)
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    moto.start()
    endpoint = "http://127.0.0.1:%d" % moto.get_host_and_port()[1]
    iam = boto3.client("iam", endpoint_url=endpoint, region_name="us-east-1",
                       aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="secret")
    iam.create_user(UserName="deploy")
    key = iam.create_access_key(UserName="deploy")["AccessKey"]["AccessKeyId"]
    iam.create_access_key(UserName="deploy")

    def status():
        listed = iam.list_access_keys(UserName="deploy")["AccessKeyMetadata"]
        return {one["AccessKeyId"]: one["Status"] for one in listed}

    hooks = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=hooks.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(folder)
        try:
            tenant = server.call("POST", "/v1/tenants", {"name": "acme"})["id"]
            made = server.call("POST", "/v1/service-keys", {"tenant": tenant, "name": "responder"})
            server.call("POST", "/v1/assignments",
                        {"principal": made["key"]["id"], "role": "responder", "tenant": tenant})
            token = made["credential"]["secret"]

            def connector(name, shipped, settings, secrets):
                server.call("POST", "/v1/connectors",
                            {"tenant": tenant, "name": name, "shipped": shipped, "settings": settings})
                for secret, value in secrets.items():
                    server.call("POST", f"/v1/connectors/{name}/secrets",
                                {"tenant": tenant, "name": secret, "value": value})

            def ended(action):
                while action["state"] == "sent":
                    action = server.call("GET", f"/v1/actions/{action['id']}?wait=10", token=token)
                return action

            def run(name, does, inputs, **more):
                asked = {"does": does, "inputs": inputs, "reason": "script/connectors", **more}
                return ended(server.call("POST", f"/v1/tenants/{tenant}/connectors/{name}/run", asked, token))

            connector("aws", "aws-iam-access-key", {"endpoint": endpoint},
                      {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret"})
            inputs = {"user_name": "deploy", "access_key_id": key}
            action = run("aws", "deactivate", inputs)
            check(action["state"] == "done" and action["verified"], "the key is deactivated and verified")
            check(status()[key] == "Inactive", "moto says so, too")
            check(sorted(status().values()) == ["Active", "Inactive"], "the user's other key is as it was")
            kept = {one["AccessKeyId"]: one["Status"] for one in action["evidence"]["access_keys"]}
            check(kept[key] == "Active", "what was before is kept as evidence")
            check(run("aws", "deactivate", inputs)["state"] == "refused", "a second time its precondition does not hold")
            undone = ended(server.call("POST", f"/v1/actions/{action['id']}/undo", {"reason": "over"}, token))
            check(undone["verified"] and status()[key] == "Active", "undone, verified, and moto says so")

            connector("hook", "webhook", {"url": "http://127.0.0.1:%d/in" % hooks.server_address[1]},
                      {"signing_secret": SECRET})
            action = run("hook", "send", {"kind": "case.contained", "message": "a \"quote\" and a\nline", "data": {"n": 1}})
            check(action["state"] == "done" and action["verified"], "the webhook is sent")
            check(len(Receiver.good) == 1 and Receiver.good[0]["data"]["message"] == "a \"quote\" and a\nline",
                  "the reference verifier takes its signature, and the text is whole")
        finally:
            server.stop()
    moto.stop()


main()

"""What script/delegation/run does, once its tools are there."""

import asyncio
import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.parse

import httpx2
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from browser import Browser  # noqa: E402
from served import Server, binary, done, send  # noqa: E402

CLIENT = "https://agent.example/client.json"
EMAIL, PASSWORD = "dana@example.com", "correct horse battery staple"


def check(what, truth, shown=""):
    if not truth:
        sys.exit(f"FAILED: {what}: {shown}")
    print(f"ok: {what}")


class Kept:
    """What the SDK keeps."""

    def __init__(self):
        self.tokens, self.client = None, None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Back(http.server.BaseHTTPRequestHandler):
    """The client's own end of the browser's way."""

    came = None

    def do_GET(self):
        at = urllib.parse.urlsplit(self.path)
        if at.path == "/callback":
            Back.came = {name: values[0] for name, values in urllib.parse.parse_qs(at.query).items()}
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.end_headers()
        self.wfile.write(b"back at the program")

    def log_message(self, *_):
        pass


def form(port, path, fields):
    """A form as a program sends it: status and JSON."""
    return send(port, "", "POST", path, urllib.parse.urlencode(fields), kind="application/x-www-form-urlencoded")


def lend(browser, profile, password=PASSWORD):
    """What a person does on the page."""
    if profile:
        browser.click(f"input[name=profile][value={profile}]")
    browser.type("#email", EMAIL)
    browser.type("#password", password)
    browser.click("button[value=lend]")


async def by_the_sdk(server, person, browser, pictures, back):
    base = f"http://127.0.0.1:{server.port}"

    async def sent_to(url):
        browser.open(url)
        page = browser.text()
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
        check("the SDK found the server's metadata and names the face it wants", asked["resource"] == [f"{base}/mcp"], asked)
        check("its client id is that of its metadata document", asked["client_id"] == [CLIENT], asked)
        check("the page shows who asks, and where the answer goes", CLIENT in page and f":{back}/callback" in page, page)
        check("the SDK asks for all there is; nothing is chosen for the person",
              len(browser.find("input[name=profile]")) == 3 and not browser.find("input[name=profile]:checked"), page)
        browser.picture(pictures / "consent.png")
        lend(browser, None)
        check("without a choice the browser sends nothing", "/oauth/authorize" in browser.at() and Back.came is None)
        lend(browser, "read", "a wrong password")
        page = browser.text()
        check("a wrong password lends nothing and says so", Back.came is None and browser.find("[role=alert]"), page)
        check("what was chosen stays chosen", len(browser.find("input[value=read]:checked")) == 1)
        check("no password stays on the page", browser.ask("GET", f"{browser.only('#password')}/property/value") == "")
        browser.picture(pictures / "wrong-password.png")
        lend(browser, None)
        check("the browser is back at the program", browser.text() == "back at the program", browser.text())

    async def answer():
        return AuthorizationCodeResult(code=Back.came["code"], state=Back.came["state"], iss=Back.came["iss"])

    kept = Kept()
    metadata = OAuthClientMetadata(redirect_uris=[f"http://127.0.0.1:{back}/callback"], client_name="an agent",
                                   token_endpoint_auth_method="none")
    provider = OAuthClientProvider(f"{base}/mcp", metadata, kept, sent_to, answer, CLIENT)
    async with httpx2.AsyncClient(auth=provider) as client:
        async with streamable_http_client(f"{base}/mcp", http_client=client) as streams:
            async with ClientSession(*streams[:2]) as session:
                await session.initialize()
                me = (await session.call_tool("me_get", {})).structured_content
                check("the SDK acts as an agent on behalf of the person",
                      me["kind"] == "agent" and me["on_behalf_of"] == [person["id"]], me)
                check("it is told that it got less than it asked for", kept.tokens.scope == "read", kept.tokens.scope)
                look = await session.call_tool("operation_call", {"operation": "case.list", "input": {"tenant": person["tenant"]}})
                check("it looks at what the person looks at", not look.is_error, look)
                write = {"operation": "case.open", "input": {"tenant": person["tenant"], "title": "by an agent"}}
                refused = await session.call_tool("operation_call", write)
                check("it writes nothing", refused.is_error and "lent" in json.dumps(refused.structured_content), refused)
                first = kept.tokens
                status, _ = send(server.port, first.access_token, "GET", "/v1/me")
                check("a credential for MCP is none at the API", status == 401, status)
                provider.context.token_expiry_time = 1
                again = await session.call_tool("me_get", {})
                check("the SDK renews what runs out", not again.is_error and kept.tokens.access_token != first.access_token, again)
                second = kept.tokens
                fields = {"grant_type": "refresh_token", "client_id": CLIENT, "resource": f"{base}/mcp"}
                _, wide = form(server.port, "/oauth/token", {**fields, "refresh_token": second.refresh_token, "scope": "respond"})
                check("a renewal widens nothing", wide["scope"] == "read", wide)
                status, body = form(server.port, "/oauth/token", {**fields, "refresh_token": first.refresh_token})
                check("a refresh token that comes again is taken for stolen", body["error"] == "invalid_grant", body)
                hello = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
                status, _ = send(server.port, wide["access_token"], "POST", "/mcp", hello)
                check("and everything that was made from it ends", status == 401, status)
    code = {"grant_type": "authorization_code", "code": Back.came["code"], "client_id": CLIENT,
            "code_verifier": "x" * 64, "redirect_uri": f"http://127.0.0.1:{back}/callback"}
    status, body = form(server.port, "/oauth/token", code)
    check("a code that comes again is none", body["error"] == "invalid_grant", body)


def by_a_terminal(program, server, person, browser, pictures, work):
    base = f"http://127.0.0.1:{server.port}"
    token = work / "token"
    environment = {**os.environ, "POSSE_URL": base, "POSSE_TOKEN": ""}

    def borrow(profile):
        words = [program, "borrow", "--client", "laptop", "--profile", profile, "--into", token]
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said = process.stderr.readline() + process.stderr.readline()
        found = re.search(r"opens (\S+)\s+and types the code (\S+) there", said)
        check("the terminal shows where to go and a code", found, said)
        browser.open(found.group(1))
        browser.picture(pictures / "code.png")
        browser.type("#user_code", found.group(2).lower().replace("-", " "))
        browser.click("button")
        return process, found.group(2)

    process, code = borrow("work")
    page = browser.text()
    check("the page shows who asks, under which code, and as much as was asked for",
          "laptop" in page and code in page and len(browser.find("input[name=profile]")) == 2, page)
    browser.picture(pictures / "device.png")
    lend(browser, "work")
    check("the person is told", "The other terminal can go on" in browser.text(), browser.text())
    browser.picture(pictures / "lent.png")
    out, errors = process.communicate(timeout=60)
    check("the terminal has it", process.returncode == 0 and json.loads(out)["profile"] == "work", (out, errors))
    check("for nobody else to read", token.stat().st_mode & 0o777 == 0o600)

    def call(*words):
        ran = subprocess.run([program, *words, "--token-file", token], env=environment, capture_output=True, text=True)
        return ran.returncode, ran.stdout + ran.stderr

    code, me = call("me", "get")
    check("it acts as an agent on behalf of the person", code == 0 and json.loads(me)["on_behalf_of"] == [person["id"]], me)
    code, said = call("case", "open", "--tenant", person["tenant"], "--title", "by an agent")
    check("it works on records as the person may", code == 0, said)
    code, said = call("tenant", "suspend", "--tenant", person["tenant"], "--reason", "because")
    check("and on nothing else", code in (1, 3), (code, said))
    old = token.read_text()
    renewed = subprocess.run([program, "borrow", "--renew", "--into", token], env=environment, capture_output=True, text=True)
    check("it renews without a person", renewed.returncode == 0 and token.read_text() != old, renewed.stderr)
    check("and goes on", call("me", "get")[0] == 0)
    grants = done(server.port, person["token"], "GET", "/v1/grants?limit=50")["items"]
    mine = next(one for one in grants if one["client"] == "laptop")
    done(server.port, person["token"], "DELETE", f"/v1/grants/{mine['id']}")
    check("the person takes it back", call("me", "get")[0] != 0)
    renewed = subprocess.run([program, "borrow", "--renew", "--into", token], env=environment, capture_output=True, text=True)
    check("and nothing renews it", renewed.returncode == 1 and "over" in renewed.stderr, renewed.stderr)

    process, _ = borrow("read")
    browser.type("#email", EMAIL)
    browser.click("button[value=refuse]")
    _, errors = process.communicate(timeout=60)
    check("a person who refuses lends nothing", process.returncode == 3 and "refused" in errors, errors)


def main():
    work = pathlib.Path(tempfile.mkdtemp())
    pictures = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else work
    pictures.mkdir(parents=True, exist_ok=True)
    browser = None
    try:
        program = binary()
        server = Server(program, work / "data")
        admin = (work / "data/bootstrap-token").read_text().strip()
        tenant = done(server.port, admin, "POST", "/v1/tenants", {"name": "acme"})["id"]
        made = {"email": EMAIL, "display_name": "Dana", "password": PASSWORD, "tenant": tenant}
        user = done(server.port, admin, "POST", "/v1/users", made)["id"]
        done(server.port, admin, "POST", "/v1/assignments", {"principal": user, "role": "analyst", "tenant": tenant})
        session = done(server.port, "", "POST", "/v1/me/login", {"email": EMAIL, "password": PASSWORD})
        person = {"id": user, "tenant": tenant, "token": session["secret"]}
        callback = http.server.HTTPServer(("127.0.0.1", 0), Back)
        threading.Thread(target=callback.serve_forever, daemon=True).start()
        browser = Browser(work / "profile")
        asyncio.run(by_the_sdk(server, person, browser, pictures, callback.server_port))
        by_a_terminal(program, server, person, browser, pictures, work)
        print("delegation: all of it held")
    finally:
        if browser:
            browser.close()
        Server.end_all()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
